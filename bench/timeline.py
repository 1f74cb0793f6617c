"""The timeline of a customer with a long history: its first page beside each of its sources alone.

100,000 xDRs, 10,000 changes and 10,000 sessions of one customer with three accounts over 30 days, and as many of others.
BENCH_SCALE shrinks them; BENCH_POSTGRES=URL of an empty database keeps records there instead of in a SQLite file. Sessions are
in the embedded event store. Each source alone is the limit of the same run: a page cannot be quicker than the slowest of them.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path

from sqlalchemy import Engine, insert, text

from ringback import clock
from ringback.access.permissions import PERMISSIONS, Role
from ringback.access.schemas import Principal
from ringback.audit import writer
from ringback.billing.entities.models import Account, Customer, Product
from ringback.billing.ledger.models import Xdr
from ringback.changes.schemas import Actor, Owner
from ringback.changes.service import changing, note
from ringback.events import DAY_US, Batch, EventStore, open_store
from ringback.events.store import LegRow
from ringback.events.store import Role as Seen
from ringback.records.engine import open_engine, unit_of_work
from ringback.records.schema import migrate, migrate_down
from ringback.sessions.books import Books
from ringback.sessions.diagnose import load_catalogue
from ringback.sessions.service import SessionService
from ringback.timeline import service
from ringback.timeline.schemas import Asked, Page, Piece, Source, Subject
from ringback.timeline.sources import sources_of

SCALE = float(os.environ.get("BENCH_SCALE", "1"))
XDRS, CHANGES, SESSIONS = int(100_000 * SCALE), int(10_000 * SCALE), int(10_000 * SCALE)
DAYS = 30
TIMES = 200
HOME = "default"
ANN = Actor("user", "ann", "console", "1", "192.0.2.7")
READER = Principal("user", "ann", (HOME,), PERMISSIONS[Role.ADMINISTRATOR], 1, belongs_to=(HOME,))


def run() -> None:
    writer.connect()
    with tempfile.TemporaryDirectory(prefix="ringback-bench-") as folder:
        engine = open_engine(os.environ.get("BENCH_POSTGRES") or f"sqlite:///{Path(folder) / 'records.sqlite'}")
        migrate(engine)
        events = open_store(f"sqlite:{Path(folder) / 'events'}")
        end_us = clock.now_us()
        began = time.perf_counter()
        try:
            subject = _fill(engine, events, end_us)
            print(f"{engine.dialect.name}; filled in {time.perf_counter() - began:.0f} s", flush=True)
            _measure(engine, events, subject, Asked(end_us - DAYS * DAY_US, end_us + DAY_US))
        finally:
            if engine.dialect.name == "postgresql":
                migrate_down(engine, "base")
            events.close()
            engine.dispose()


def _measure(engine: Engine, events: EventStore, subject: Subject, asked: Asked) -> None:
    sessions = SessionService(events, load_catalogue(None), books=Books(engine))

    def page(of: Asked, cursor: str = "") -> Page:
        return service.page(sources_of(engine, sessions, READER, subject), READER, subject, of, cursor=cursor)

    alone = {}
    print(f"  {'':36}{'p50 ms':>9}{'p95 ms':>9}{'rows':>7}")
    for source in sources_of(engine, sessions, READER, subject):
        alone[source.name] = _timed(partial(_newest, source, asked))
        _told(f"{source.name} alone", alone[source.name], len(_newest(source, asked).rows))
    slowest = max(p95 for _, p95 in alone.values())
    together = sum(p95 for _, p95 in alone.values())
    first = page(asked)
    taken = _timed(lambda: page(asked))
    _told(
        "first page",
        taken,
        len(first.rows),
        f"{taken[1] / slowest:.1f} of the slowest, {taken[1] / together:.1f} of all",
    )
    cursor = first.cursor or ""
    for _ in range(20):
        cursor = page(asked, cursor).cursor or ""
    _told("page 22", _timed(lambda: page(asked, cursor)), len(page(asked, cursor).rows))
    for words in ("exceeded 7)", "zebra"):
        searched = Asked(asked.start_us, asked.end_us, (), tuple(words.split()))
        found = page(searched)
        until = found.searched_until_us
        how_far = "" if until is None else f"{(clock.now_us() - until) / DAY_US:.1f} of {DAYS} days"
        _told(f"words: {words}", _timed(partial(page, searched), 5), len(found.rows), how_far)


def _newest(source: Source, asked: Asked) -> Piece:
    return source.rows(asked.start_us, asked.end_us, "", service.PAGE + 1)


def _fill(engine: Engine, events: EventStore, end_us: int) -> Subject:
    with changing(engine, ANN, (HOME,)) as work:
        now = clock.now()
        product = Product(name="Home", currency="USD", created_at=now)
        customers = [
            Customer(name=name, currency="USD", balance=Decimal(0), created_at=now) for name in ("Busy", "Other")
        ]
        work.add_all([product, *customers])
        work.flush()
        accounts = [
            Account(
                charging_id=f"1210335{number:04}", customer_id=customers[number % 2].id, product_id=product.id,
                balance=Decimal(0), created_at=now,
            )
            for number in range(6)
        ]  # fmt: skip
        work.add_all(accounts)
        work.flush()
        mine, ids = customers[0].id, [(each.customer_id, each.id, each.charging_id) for each in accounts]
    start_us, whole = end_us - DAYS * DAY_US, DAYS * DAY_US
    for begin in range(0, 2 * XDRS, 10_000):
        with unit_of_work(engine, (HOME,)) as work:
            work.execute(insert(Xdr), [_xdr(number, ids, start_us + whole * number // (2 * XDRS)) for number in
                                       range(begin, min(begin + 10_000, 2 * XDRS))])  # fmt: skip
    for begin in range(0, 2 * CHANGES, 1000):
        with changing(engine, ANN, (HOME,)) as work:
            for number in range(begin, min(begin + 1000, 2 * CHANGES)):
                customer, account, name = ids[number % 6]
                owner = Owner(HOME, customer, account)
                # Plain changes of one account in one unit of work would be one record.
                note(
                    work, "status.changed", "account", account, name, owner,
                    changes={"status_shown": ("active", "credit_exceeded")},
                    arguments={"source": "usage", "xdr": number % 97},
                )  # fmt: skip
    legs = [_leg(number, ids, start_us + whole * number // (2 * SESSIONS)) for number in range(2 * SESSIONS)]
    for begin in range(0, len(legs), 2000):
        events.write(Batch(legs[begin : begin + 2000], []))
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    return Subject(HOME, mine)


def _xdr(number: int, ids: list[tuple[int, int, str]], us: int) -> dict[str, object]:
    customer, account, name = ids[number % 6]
    return {
        "environment": HOME, "customer_id": customer, "account_id": account, "kind": "charge", "service": "voice",
        "amount": Decimal("0.12"), "balance_after": Decimal(number) / 100, "account_balance_after": Decimal(0),
        "occurred_at": clock.from_us(us), "recorded_at": clock.from_us(us), "session_key": f"key {number}",
        "description": "Voice to 18660333777 (USA toll free)", "call_id": f"call-{number}@198.51.100.7", "conf_id": "",
        "caller": name, "called": "18660333777", "node": "edge-1", "prefix": "1866", "destination": "USA toll free",
        "rate_id": 1, "seconds": 61, "charged_seconds": 120, "cause": "16",
    }  # fmt: skip


def _leg(number: int, ids: list[tuple[int, int, str]], us: int) -> LegRow:
    caller = ids[number % 6][2]
    return LegRow(
        HOME, f"call-{number}@198.51.100.7", "call", "INVITE", us, us + 30_000_000, caller=caller, called="18660333777",
        outcome="answered", code=200, phrase="OK", addresses=["198.51.100.7"], agents=["101"], messages=7,
        numbers={caller: Seen.FROM, "18660333777": Seen.TO}, keys={f"icid:{number}"},
    )  # fmt: skip


def _told(what: str, taken: tuple[float, float], rows: int, more: str = "") -> None:
    print(f"  {what:36}{taken[0]:9.2f}{taken[1]:9.2f}{rows:7}  {more}", flush=True)


def _timed(ask: Callable[[], object], times: int = TIMES) -> tuple[float, float]:
    """p50 and p95 in ms."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken), statistics.quantiles(taken, n=20)[-1]
