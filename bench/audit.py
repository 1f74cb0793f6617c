"""The audit log: verification, Customer > Audit log among many records, the chain view of 500, on both databases.

A million records (BENCH_SCALE 10: ten; BENCH_DATABASES: one of the two) of one environment with right hashes: each of
20,000 customers has about fifty, one has 10,000 spread over all of them, and one tree has 500. Limits in the same run:
reading the same rows and hashing nothing; fetching one record by its key. Tables are filled past the product, by the
drivers' own bulk ways.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, cast

import orjson
from sqlalchemy import Engine, Table, insert, select, text

from ringback import clock
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.audit import service, verification
from ringback.audit.keys import AuditKeys
from ringback.audit.models import AuditRecord
from ringback.audit.queries import of_customer
from ringback.audit.verification import verify
from ringback.audit.writer import COLUMNS, NO_HASH, hash_of
from ringback.billing.entities.models import Customer
from ringback.records import secrets
from ringback.records.engine import UNTRACKED, open_engine, reading
from ringback.records.schema import migrate
from ringback.records.wall import EVERYWHERE

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

RECORDS = int(1_000_000 * float(os.environ.get("BENCH_SCALE", "1")))
DATABASES = os.environ.get("BENCH_DATABASES", "sqlite postgresql").split()
CUSTOMERS, BUSY, OF_BUSY = 20_000, 7, 10_000
TREE = 500
LOOKS = 100
BEGIN_US = 1_790_000_000_000_000
READER = Principal("user", "bench", ("default",), frozenset(Permission))


def run() -> None:
    with tempfile.TemporaryDirectory(prefix="ringback-bench-") as folder:
        secrets.ring.use(Path(folder, "secrets.key"))
        if "sqlite" in DATABASES:
            measure(f"sqlite:///{folder}/records.sqlite")
        if "postgresql" not in DATABASES:
            return
        from postgres_server import shared_server

        server = shared_server(Path(folder))
        if server is None:
            print("PostgreSQL is not installed: not measured")
            return
        admin = open_engine(server.render_as_string(hide_password=False))
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("CREATE DATABASE bench_audit"))
        admin.dispose()
        measure(server.set(database="bench_audit").render_as_string(hide_password=False))


def measure(url: str) -> None:
    engine = open_engine(url)
    migrate(engine)
    kind = engine.dialect.name
    began = time.perf_counter()
    root = fill(engine)
    print(f"{kind}: {RECORDS:,} records, filled in {time.perf_counter() - began:.0f} s", flush=True)
    verified(engine)
    limit = answers("limit: one record by its key", one_record(engine))
    answers("Customer > Audit log, 10,000 records, first page", customers_log(engine, BUSY, None), limit)
    answers("the same, a page from the middle", customers_log(engine, BUSY, RECORDS // 2), limit)
    answers("Customer > Audit log, about 50 records", customers_log(engine, None, None), limit)
    look, record_id = partial(service.chain, engine, READER), root + TREE // 2
    answers(f"chain view of {TREE} records", lambda: look(record_id), limit, looks=40)
    answers("the same, all of them told", lambda: look(record_id, all_shown=True), limit, looks=40)
    engine.dispose()


def verified(engine: Engine) -> None:
    began = time.process_time()
    last = count = 0
    with reading(engine, EVERYWHERE) as session:
        while rows := verification._rows(session, "default", last, verification.PAGE):
            last = rows[-1][verification._SEQ]
            count += len(rows)
    limit = count / (time.process_time() - began)
    began = time.process_time()
    result = verify(engine, "default", AuditKeys())
    rate = result.checked / (time.process_time() - began)
    assert result.is_whole, result.finding
    print(
        f"  verify                                            {rate:>10,.0f} records/s of processor time (target 50,000)"
    )
    print(f"  limit: reading the same rows alone                {limit:>10,.0f} records/s")


def answers(name: str, do: Callable[[], object], limit: float = 0.0, looks: int = LOOKS) -> float:
    """Median, in ms."""
    do()
    times = []
    for _ in range(looks):
        began = time.perf_counter()
        do()
        times.append((time.perf_counter() - began) * 1000)
    p95 = statistics.quantiles(times, n=20)[-1]
    median = statistics.median(times)
    beside = f", {median / limit:.0f} times the limit" if limit else ""
    print(f"  {name:50} median {median:7.1f} ms, p95 {p95:7.1f} ms{beside}")
    return median


def one_record(engine: Engine) -> Callable[[], object]:
    def look() -> object:
        with reading(engine, ("default",)) as session:
            return session.scalars(select(AuditRecord).where(AuditRecord.id == random.randint(1, RECORDS))).one()

    return look


def customers_log(engine: Engine, customer: int | None, before: int | None) -> Callable[[], object]:
    def look() -> object:
        who = customer or random.randint(10, CUSTOMERS)
        return service.log_of(engine, READER, of_customer("default", who), before=before, kind="change")

    return look


def fill(engine: Engine) -> int:
    """Returns the id of the tree's root."""
    rows = records()
    with engine.execution_options(**{UNTRACKED: True}).begin() as connection:
        now = clock.now()
        for first in range(1, CUSTOMERS + 1, 1000):
            customers = [
                {
                    "id": id_,
                    "environment": "default",
                    "name": f"Customer {id_}",
                    "currency": "USD",
                    "balance": Decimal(0),
                    "due_days": 14,
                    "created_at": now,
                }
                for id_ in range(first, first + 1000)
            ]
            connection.execute(insert(cast("Table", Customer.__table__)), customers)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        driver: Any = connection.connection.driver_connection
        names = ", ".join((*COLUMNS, "hash"))
        if engine.dialect.name == "sqlite":
            marks = ", ".join("?" * (len(COLUMNS) + 1))
            driver.executemany(f"INSERT INTO audit_records ({names}) VALUES ({marks})", rows)
        else:
            with driver.cursor().copy(f"COPY audit_records ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        connection.execute(
            text(
                "INSERT INTO audit_chains (environment, seq, hash, trimmed_seq, trimmed_hash) "
                "SELECT environment, seq, hash, 0, :none FROM audit_records WHERE seq = :last"
            ),
            {"last": RECORDS, "none": NO_HASH},
        )
    with engine.begin() as connection:
        connection.execute(text("ANALYZE audit_records"))
    return RECORDS // 3


def records() -> Iterator[tuple[Any, ...]]:
    """In the order of COLUMNS, and the hash."""
    root, before = RECORDS // 3, NO_HASH
    randomness = random.Random(1)
    every_busy = RECORDS // OF_BUSY
    for number in range(1, RECORDS + 1):
        customer = BUSY if number % every_busy == 0 else randomness.randint(10, CUSTOMERS)
        in_tree = root < number < root + TREE
        cause = root + (number - root - 1) // 4 if in_tree else None
        old = randomness.randrange(10_000) / 100
        values: list[Any] = [
            "default", number, number, BEGIN_US + number * 1_500_000, "customer", str(customer), f"Customer {customer}",
            number % 50 + 1, "changed", orjson.dumps({"credit_limit": [str(old), str(old + 10)]}).decode(), "{}", customer,
            None, None, None, None, "", "user", "7", f"user{number % 40}", "console", "192.0.2.7", f"{number:032x}", cause,
            root if in_tree else number, "", "",
        ]  # fmt: skip
        before = hash_of(before, values)
        yield (*values, before)
