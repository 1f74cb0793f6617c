"""A customer's money among 1 M xDRs: what its page asks for, beside a read of one xDR by its key; and posts a second.

A hundredth of the customers have a tenth of the xDRs. The page asks for the newest xDRs, where the customer stands, and how
the balance went in 30 days. BENCH_SCALE shrinks the ledger; BENCH_POSTGRES=URL of an empty database uses that instead of a
SQLite file.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from sqlalchemy import Engine, text, update

from ringback import clock
from ringback.audit import writer
from ringback.billing.entities.models import TYPES, Account, Customer
from ringback.billing.entities.service import create
from ringback.billing.ledger import queries
from ringback.billing.ledger.paging import Asked
from ringback.billing.ledger.service import pay, post_usage
from ringback.changes.schemas import Actor
from ringback.changes.service import changing, do_changing
from ringback.records import secrets
from ringback.records.engine import open_engine, reading, unit_of_work
from ringback.records.money import from_units
from ringback.records.schema import migrate, migrate_down
from ringback.records.wall import EVERYWHERE

XDRS = int(1_000_000 * float(os.environ.get("BENCH_SCALE", "1")))
CUSTOMERS = max(XDRS // 1000, 10)
DAYS = 90
ASKED, POSTED = 300, 400
MOST_MS = 100.0
HOME = "default"
COLUMNS = (
    "environment", "customer_id", "account_id", "kind", "service", "amount", "balance_after", "account_balance_after",
    "occurred_at", "recorded_at", "description", "session_key", "call_id", "conf_id", "caller", "called", "node", "prefix",
    "destination", "seconds", "charged_seconds", "cause",
)  # fmt: skip
ACTOR = Actor("user", "bench", "api")


def run() -> None:
    with tempfile.TemporaryDirectory(prefix="ringback-bench-") as folder:
        secrets.ring.use(Path(folder, "secrets.key"))
        writer.connect()
        engine = open_engine(os.environ.get("BENCH_POSTGRES") or f"sqlite:///{folder}/records.sqlite")
        migrate(engine)
        try:
            _measure(engine)
        finally:
            if engine.dialect.name == "postgresql":
                migrate_down(engine, "base")
            engine.dispose()


def _measure(engine: Engine) -> None:
    rng = random.Random(7)
    began = time.perf_counter()
    accounts = _fill(engine, rng)
    print(f"{XDRS:,} xDRs of {CUSTOMERS:,} customers in {time.perf_counter() - began:.0f} s, "
          f"{engine.dialect.name}, {os.cpu_count()} cores")  # fmt: skip
    customers = list(accounts)
    heavy = customers[: max(len(customers) // 100, 1)]
    now = clock.now()

    def of_any(ask: Callable[[int], object], among: list[int]) -> list[float]:
        return [_timed(lambda: ask(rng.choice(among))) for _ in range(ASKED)]

    def key(_: int) -> None:
        with reading(engine, (HOME,)) as session:
            queries.xdr(session, rng.randint(1, XDRS))

    def page(customer: int) -> None:
        with reading(engine, (HOME,)) as session:
            assert queries.xdrs(session, Asked(), customer_id=customer).rows

    def of_account(customer: int) -> None:
        with reading(engine, (HOME,)) as session:
            assert queries.xdrs(session, Asked({"kind": "charge"}), account_id=accounts[customer]).rows

    def whole(customer: int) -> None:
        with reading(engine, (HOME,)) as session:
            row = queries.customer(session, customer)
            queries.xdrs(session, Asked(), customer_id=customer)
            queries.summary(session, row, now.date(), Decimal(0))
            queries.history(session, now - timedelta(days=30), now, customer_id=customer)

    print(f"{'':40}{'p50 ms':>10}{'p95 ms':>10}")
    p95 = {}
    for name, ask, among in (
        ("an xDR by its key", key, customers), ("newest xDRs of a customer", page, customers),
        ("newest charges of an account", of_account, customers), ("all that the page asks for", whole, customers),
        ("the same, of customers with many", whole, heavy),
    ):  # fmt: skip
        found = sorted(of_any(ask, among))
        p95[name] = found[len(found) * 95 // 100]
        print(f"{name:40}{found[len(found) // 2]:10.1f}{p95[name]:10.1f}")
    print(f"  page p95 {p95['the same, of customers with many']:.1f} ms (target {MOST_MS:.0f})")
    for name, act in (
        ("rated sessions", _use(engine, accounts, rng)),
        ("payments, with their records", _pay(engine, customers, rng)),
    ):
        began = time.perf_counter()
        for number in range(POSTED):
            act(number)
        print(f"{name:40}{POSTED / (time.perf_counter() - began):10,.0f} a second, one after the other")


def _fill(engine: Engine, rng: random.Random) -> dict[int, int]:
    """Customer -> its account; those with many xDRs first."""
    accounts: dict[int, int] = {}
    with changing(engine, ACTOR, (HOME,)) as work:
        product = create(work, TYPES["product"], HOME, {"name": "Standard", "currency": "USD"}).id
        for number in range(CUSTOMERS):
            given = {"name": f"Customer {number}", "currency": "USD", "credit_limit": "1000000"}
            customer = create(work, TYPES["customer"], HOME, given).id
            of = {"id": f"1210{number:08}", "i_customer": customer, "i_product": product}
            accounts[customer] = create(work, TYPES["account"], HOME, of).id
    customers = list(accounts)
    heavy = customers[: max(len(customers) // 100, 1)]
    balances = dict.fromkeys(customers, 0)  # units
    first, step = clock.to_us(clock.now() - timedelta(days=DAYS)), DAYS * 86_400_000_000 // XDRS
    mark = "?" if engine.dialect.name == "sqlite" else "%s"
    statement = f"INSERT INTO xdrs ({', '.join(COLUMNS)}) VALUES ({', '.join([mark] * len(COLUMNS))})"
    for start in range(0, XDRS, 20_000):
        rows = []
        for number in range(start, min(start + 20_000, XDRS)):
            customer = rng.choice(heavy if number % 10 == 0 else customers)
            amount = rng.randint(0, 100_000)
            balances[customer] = after = balances[customer] + amount
            at = first + number * step
            rows.append(
                (
                    HOME, customer, accounts[customer], "charge", "voice", amount, after, after, at, at,
                    "Voice to 442079460123 (UK)", f"{number}", f"{number}@edge", "", "12103355787", "442079460123",
                    "edge", "44", "UK", 61, 120, "16",
                )
            )  # fmt: skip
        with unit_of_work(engine, EVERYWHERE) as work:
            work.connection().exec_driver_sql(statement, rows)
    with unit_of_work(engine, (HOME,)) as work:
        for customer, units in balances.items():
            balance = from_units(units)
            work.execute(update(Customer).where(Customer.id == customer).values(balance=balance))
            work.execute(update(Account).where(Account.id == accounts[customer]).values(balance=balance))
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE xdrs"))
    return accounts


def _use(engine: Engine, accounts: dict[int, int], rng: random.Random) -> Callable[[int], object]:
    ids = list(accounts.values())
    return lambda number: do_changing(
        engine, ACTOR, (HOME,),
        lambda work: post_usage(
            work, HOME, rng.choice(ids), Decimal("0.12345"), session_key=f"new {number}", service="voice", seconds=61,
            charged_seconds=120, called="442079460123",
        ),
    )  # fmt: skip


def _pay(engine: Engine, customers: list[int], rng: random.Random) -> Callable[[int], object]:
    return lambda number: do_changing(
        engine,
        ACTOR,
        (HOME,),
        lambda work: pay(work, HOME, rng.choice(customers), Decimal(number + 1), method="card"),
    )


def _timed(act: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1e3
