"""A customer's page of the audit log among millions of rows, beside a read by primary key and an empty page.

BENCH_AUDIT_ROWS (10,000,000, in steps of 900,000) rows over 180 days, evenly; of them 10,000 of one customer, 3 of another,
the rest of 50,000 more. Each question is asked of a store just opened (the first) and then again and again. The limits of
the same run: SQLite reading a row by its id from an open file of the store, an engine that answers a search of one empty
day. BENCH_AUDIT_ENGINES (sqlite,opensearch) names what is measured. BENCH_AUDIT_FOLDER keeps the SQLite store for another
run, BENCH_AUDIT_OPENSEARCH is the URL of a node that runs already. With BENCH_AUDIT_FILL_S a run only fills the store, for so
many seconds, and the next one goes on; every step adds to each day, so that a store is worth measuring after any of them.
"""

from __future__ import annotations

import math
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from scripts.opensearch.node import running

from ringback.events import DAY_US, AuditQuery, AuditRow, EventStore, open_store

ROWS = int(os.environ.get("BENCH_AUDIT_ROWS", "10000000"))
ENGINES = os.environ.get("BENCH_AUDIT_ENGINES", "sqlite,opensearch").split(",")
FOLDER = os.environ.get("BENCH_AUDIT_FOLDER", "")
OPENSEARCH = os.environ.get("BENCH_AUDIT_OPENSEARCH", "")
FILL_S = float(os.environ.get("BENCH_AUDIT_FILL_S", "inf"))
DAYS = 180
START_US = 1_779_753_600_000_000  # 2026-05-26T00:00:00Z
BATCH = 5000
HEAP_MIB = 1024
TIMES = 200
TARGET_MS = 100.0
BUSY, RARE = 1, 2  # customers
BUSY_ROWS, RARE_ROWS = 10_000, 3
STEP = DAYS * BATCH  # rows
CUSTOMERS = 50_000
PAGE = 50

_TYPES = ("account",) * 6 + (
    "customer",
    "customer",
    "connection",
    "cpe",
    "did_number",
    "sim_card",
    "product",
    "tariff",
)
_ACTIONS = ("changed",) * 6 + ("created", "created", "deleted", "read", "read", "payment.made")
_PROPERTIES = (
    "status",
    "credit_limit",
    "balance",
    "product",
    "name",
    "email",
    "blocked",
    "valid_until",
    "notes",
    "rate",
)
_FIRST = ("Amber", "Birch", "Cedar", "Delta", "Ember", "Fjord", "Grove", "Harbor", "Indigo", "Juniper")
_SECOND = ("Telecom", "Systems", "Foods", "Logistics", "Media", "Clinic", "Motors", "Partners", "Works", "Energy")

WHOLE = AuditQuery(("default",), START_US, START_US + DAYS * DAY_US)
QUESTIONS: dict[str, AuditQuery] = {
    f"customer of {BUSY_ROWS:,} rows": replace(WHOLE, customer_id=BUSY),
    f"customer of {RARE_ROWS} rows": replace(WHOLE, customer_id=RARE),
    "customer of none": replace(WHOLE, customer_id=CUSTOMERS * 2),
    "customer's payments": replace(WHOLE, customer_id=BUSY, actions=("payment.made",)),
    "newest of all": WHOLE,
    "reads of personal data": replace(WHOLE, kind="read", personal=True),
    "amounts from 900.00": replace(WHOLE, min_amount=90_000_000),
    "two words of names": replace(WHOLE, names="juniper clin*"),
    "a name that nobody has": replace(WHOLE, names="zwick"),
}


def run() -> None:
    for engine in ENGINES:
        with ExitStack() as stack:
            folder = FOLDER or stack.enter_context(tempfile.TemporaryDirectory(prefix="ringback-bench-"))
            if engine == "sqlite":
                url = f"sqlite:{folder}/audit-{ROWS}"
            elif OPENSEARCH:
                url = OPENSEARCH
            else:
                work = stack.enter_context(tempfile.TemporaryDirectory(prefix="ringback-bench-"))
                [node] = stack.enter_context(running(Path(work), heap_mib=HEAP_MIB, jvm=()))
                url = f"{node.url}?replicas=0&prefix=ringback-bench"
            _measure(engine, url)


def _measure(engine: str, url: str) -> None:
    store = open_store(url)
    print(f"{engine}: rows over {DAYS} days")
    _fill(store)
    if math.isfinite(FILL_S):
        return
    store.close()
    store = open_store(url)
    limit = _limits(engine, url, store)
    print(f"  {'':30}{'first ms':>10}{'p50 ms':>9}{'p95 ms':>9}{'of the limit':>14}{'rows':>7}")
    print(f"  {'limit':30}{limit[0]:10.2f}{limit[1]:9.2f}{limit[2]:9.2f}")
    for name, query in QUESTIONS.items():
        fresh = open_store(url)
        began = time.perf_counter()
        rows = len(fresh.search_audit(query, PAGE, deadline_s=60).rows)
        first = (time.perf_counter() - began) * 1000
        fresh.close()
        p50, p95 = _timed(lambda query=query: store.search_audit(query, PAGE, deadline_s=60))  # type: ignore[misc]
        told = (
            f"  {'within' if p95 <= TARGET_MS else 'ABOVE'} {TARGET_MS:g} ms"
            if name.startswith("customer of")
            else ""
        )
        print(f"  {name:30}{first:10.1f}{p50:9.2f}{p95:9.2f}{p50 / limit[1]:14.1f}{rows:7}{told}")
    cursor = store.search_audit(QUESTIONS[f"customer of {BUSY_ROWS:,} rows"], PAGE).cursor
    query = QUESTIONS[f"customer of {BUSY_ROWS:,} rows"]
    p50, p95 = _timed(lambda: store.search_audit(query, PAGE, cursor))
    print(f"  {'its second page':30}{'':10}{p50:9.2f}{p95:9.2f}{p50 / limit[1]:14.1f}")
    p50, p95 = _timed(lambda: store.count_audit(query), 5)
    print(f"  {'how many they are':30}{'':10}{p50:9.2f}{p95:9.2f}{p50 / limit[1]:14.1f}")
    store.close()


def _fill(store: EventStore) -> None:
    began = time.monotonic()
    first = done = sum(segment.audits for segment in store.status().segments) // BATCH
    while done * BATCH < max(ROWS // STEP, 1) * STEP and time.monotonic() - began < FILL_S:
        store.write_audit(batch(done))
        done += 1
    seconds = time.monotonic() - began
    deadline = time.monotonic() + 120
    while True:  # an engine counts what it was given a moment later
        segments = store.status().segments
        held = sum(segment.audits for segment in segments)
        if held >= done * BATCH or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    rate = f"written at {(done - first) * BATCH / seconds:,.0f} rows/s, " if done > first else ""
    print(f"  {rate}{sum(segment.bytes for segment in segments) / held:.0f} B a row, {held:,} held", flush=True)


def batch(number: int) -> list[AuditRow]:
    """Of one day; the same with every run. Those of a step lie between those of the steps before."""
    chance = random.Random(number)
    step, day = divmod(number, DAYS)
    apart = DAY_US // BATCH
    first = START_US + day * DAY_US + step * apart // 16
    return [row(chance, number * BATCH + at, first + at * apart) for at in range(BATCH)]


def row(chance: random.Random, number: int, time_us: int) -> AuditRow:
    customer = chance.randrange(10, CUSTOMERS)
    if number < STEP and number % (STEP // BUSY_ROWS) == 7:
        customer = BUSY
    elif number < STEP and number % (STEP // RARE_ROWS) == 1000:
        customer = RARE
    account = customer * 4 + number % 4
    type_, action = chance.choice(_TYPES), chance.choice(_ACTIONS)
    entity = {"account": account, "customer": customer}.get(type_, chance.randrange(200_000))
    phone = f"1210{account:07}"
    name = f"{_FIRST[customer % 10]} {_SECOND[customer // 10 % 10]} {customer}"
    properties = tuple(sorted(chance.sample(_PROPERTIES, chance.choice((1, 1, 2, 3)))))
    paid = action == "payment.made"
    changes = ", ".join(f'"{each}": ["before {number % 97}", "after {number % 89}"]' for each in properties)
    return AuditRow(
        environment="default", id=number + 1, seq=number + 1, time_us=time_us, entity_type=type_,
        entity_id=str(entity), entity_name={"account": phone, "customer": name}.get(type_, f"{type_} {entity}"),
        action=action, properties=properties, realm=chance.choice(("console", "api", "task", "engine")),
        actor_kind="user", actor=f"user{chance.randrange(40)}", address=f"192.0.2.{chance.randrange(200)}",
        request_id=f"{chance.getrandbits(64):016x}", customer_id=customer, customer_name=name, account_id=account,
        account_name=phone, amount=chance.randrange(100_000_000) if paid else None, currency="EUR" if paid else "",
        message_key=f"{type_}.{action}", personal=action == "read",
        body=f'{{"id": {number + 1}, "seq": {number + 1}, "entity_type": "{type_}", "entity_id": "{entity}",'
        f' "version": 3, "changes": {{{changes}}}, "arguments": {{"customer": "{name}", "account": "{phone}"}},'
        f' "cause_id": {number - number % 3}, "root_id": {number - number % 9}, "reason": "", "comment": "",'
        f' "hash": "{chance.getrandbits(256):064x}"}}',
    )  # fmt: skip


def _limits(engine: str, url: str, store: EventStore) -> tuple[float, float, float]:
    """(first, p50, p95) in ms, of what no search can be quicker than."""
    if engine != "sqlite":
        empty = replace(WHOLE, start_us=START_US - 30 * DAY_US, end_us=START_US - 29 * DAY_US)
        return 0.0, *_timed(lambda: store.search_audit(empty, PAGE))
    path = max(Path(url.partition(":")[2]).glob("audit-*.sqlite"))
    connection = sqlite3.connect(path)
    ids = [id_ for (id_,) in connection.execute("SELECT id FROM audit LIMIT 20000")]
    turn = iter(random.Random(1).choices(ids, k=TIMES + 10))
    found = _timed(lambda: connection.execute("SELECT * FROM audit WHERE id = ?", (next(turn),)).fetchall())
    connection.close()
    return 0.0, *found


def _timed(ask: Callable[[], object], times: int = TIMES) -> tuple[float, float]:
    """p50 and p95 in ms."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken), statistics.quantiles(taken, n=20)[-1]
