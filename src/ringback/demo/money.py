"""What the demo's customers were charged and paid in the last weeks: invoices in each settlement, payments and their rests.

All by the ledger's services, each at its moment, so that balances have a history and the audit log tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from random import Random

from sqlalchemy import Engine, select

from ringback.billing.entities.models import Account, Customer, Rate, Tariff
from ringback.billing.ledger import queries, service
from ringback.billing.ledger.paging import Asked
from ringback.billing.ledger.schemas import Effect, Line
from ringback.changes.schemas import Actor
from ringback.changes.service import do_changing
from ringback.demo.cast import subscriber
from ringback.demo.entities import DEMO, at
from ringback.records.engine import UnitOfWork, reading
from ringback.records.tables import DEFAULT_ENVIRONMENT as HOME

PAST = timedelta(days=80)  # since when there are books
_OVERDUE = Actor("task", "overdue handling", "task")
_HOTEL = "Blue Ridge Hotel"
_CALLED = (
    ("442079460", "44"),
    ("493023125", "49"),
    ("1312555", "1"),
)  # beginnings of numbers, and prefixes of their rates

Do = Callable[[UnitOfWork], object]
Step = tuple[float, Do]  # days ago, what


class _Books:
    """Commands on customers by their names."""

    def __init__(self, customers: dict[str, int], accounts: dict[str, list[int]], rates: dict[str, Rate]) -> None:
        self.customers, self.accounts, self.rates = customers, accounts, rates

    def invoice(self, name: str, *lines: tuple[str, str], collect: bool = False, issued: bool = True) -> Do:
        given = [Line(what, Decimal(amount)) for what, amount in lines]
        return lambda work: service.draft(
            work, HOME, self.customers[name], lines=given, collect=collect, issued=issued
        )

    def pay(self, name: str, amount: str, method: str = "bank_transfer", reference: str = "") -> Do:
        return lambda work: service.pay(
            work, HOME, self.customers[name], Decimal(amount), method=method, reference=reference
        )

    def pay_all(self, name: str, method: str = "direct_debit") -> Do:
        def do(work: UnitOfWork) -> Effect | None:
            due = sum((each.total + each.adjusted - each.allocated for each in queries.due(work, self.customers[name])),
                      Decimal(0))  # fmt: skip
            return service.pay(work, HOME, self.customers[name], due, method=method) if due else None

        return do

    def fee(self, name: str, amount: str, what: str) -> Do:
        def do(work: UnitOfWork) -> None:
            for account in self.accounts[name]:
                service.charge(
                    work, HOME, self.customers[name], Decimal(amount), what, account_id=account, kind="fee"
                )

        return do

    def adjust(self, name: str, amount: str, what: str) -> Do:
        """Of the newest invoice of which something is due."""

        def do(work: UnitOfWork) -> Effect:
            id_ = self.customers[name]
            invoice = queries.due(work, id_)[-1]
            return service.adjust(work, HOME, id_, Decimal(amount), what, invoice_id=invoice.id)

        return do

    def calls(self, name: str, count: int, seed: int, days_ago: float, at_: datetime) -> Do:
        """As many of a day, rated."""

        def do(work: UnitOfWork) -> None:
            random = Random(seed)
            for nth in range(count):
                account = random.choice(self.accounts[name])
                begun, prefix = random.choice(_CALLED)
                rate = self.rates[prefix]
                seconds = random.randint(20, 1500)
                minutes = -(-seconds // 60)
                ended = at_ - timedelta(minutes=7 * (count - nth))
                caller = work.get_one(Account, account).charging_id
                service.post_usage(
                    work, HOME, account, minutes * rate.price_first, session_key=f"demo {name} {days_ago} {nth}",
                    service="voice", seconds=seconds, charged_seconds=minutes * 60,
                    rate=(rate.id, prefix, rate.destination), caller=caller,
                    called=f"{begun}{random.randint(100, 199):04}", node="pbx1",
                    started_at=ended - timedelta(seconds=seconds), ended_at=ended, cause="16",
                )  # fmt: skip

        return do


def make_money(engine: Engine, now: datetime) -> None:
    with reading(engine, (HOME,)) as session:
        customers = {row.name: row.id for row in session.scalars(select(Customer))}
        accounts: dict[str, list[int]] = {name: [] for name in customers}
        names = {id_: name for name, id_ in customers.items()}
        for row in session.scalars(select(Account).order_by(Account.id)):
            accounts[names[row.customer_id]].append(row.id)
        of_companies = select(Rate).join(Tariff, Tariff.id == Rate.tariff_id).where(Tariff.name == "Business voice")
        rates = {row.prefix: row for row in session.scalars(of_companies)}
    books = _Books(customers, accounts, rates)
    steps = [*_households(books), *_companies(books, now), *_looks()]
    for days_ago, do in sorted(steps, key=lambda step: -step[0]):
        actor = _OVERDUE if do is _look else DEMO
        with at(now - timedelta(days=days_ago)):
            do_changing(engine, actor, (HOME,), do)


def _households(books: _Books) -> Iterator[Step]:
    for place, index in enumerate((0, 1, 2, 3, 4, 6, 12, 56, 60)):
        name = subscriber(index).name
        for days_ago in (65.0, 35.0, 5.0):
            moment = days_ago - place / 100
            yield moment + 0.2, books.fee(name, "12.50", "Home Phone, monthly fee")
            yield moment, books.invoice(name, collect=True)
        if index in (0, 4, 12, 60):
            yield 60.0 - place / 100, books.pay_all(name, "card")
            yield 28.0 - place / 100, books.pay_all(name, "card")
    jane, agnes, limited = (subscriber(index).name for index in (1, 2, 3))
    yield 58.0, books.pay_all(jane)
    yield 34.5, books.invoice(jane, ("Installation of the line", "100"))
    yield 26.0, books.adjust(jane, "-30", "The technician came a day late")
    yield 24.0, books.pay(jane, "72.50", "bank_transfer", "INV September")
    yield 61.0, books.pay(agnes, "100", "bank_transfer", "Paid ahead for the year")
    yield 20.0, books.invoice(limited, ("Two desk phones", "79"))
    yield 3.0, books.invoice(subscriber(0).name, ("Number ported in", "5"), ("First port is free", "-5"))


def _companies(books: _Books, now: datetime) -> Iterator[Step]:
    northside, dental, third = "Northside Clinic", "Riverwalk Dental", subscriber(23).name
    for name, many in ((_HOTEL, 14), (northside, 4), (third, 3)):
        for day in range(69, 0, -7):
            moment = now - timedelta(days=day)
            yield float(day), books.calls(name, many, day, day, moment)
        for days_ago in (64.0, 34.0):
            yield days_ago + 0.2, books.fee(name, "24", "Business Line, monthly fee")
            yield days_ago, books.invoice(name, collect=True)
        yield 55.0, books.pay_all(name, "bank_transfer")
    yield 25.0, books.pay_all(third, "cheque")
    yield 22.0, partial(_refund_newest, books.customers[third])
    yield 27.0, books.pay_all(northside)
    yield 4.2, books.fee(_HOTEL, "24", "Business Line, monthly fee")
    yield 30.0, books.pay_all(_HOTEL)
    yield 4.0, books.invoice(_HOTEL, collect=True)
    yield 2.0, books.pay(_HOTEL, "120", "bank_transfer", "First part")
    yield 1.0, books.invoice(northside, ("Training of the reception", "150"), collect=True, issued=False)
    yield 50.0, books.invoice(dental, ("Cabling of the second floor", "480"))
    yield 48.0, partial(_void_newest, books.customers[dental])
    yield 47.0, books.invoice(dental, ("Cabling of the second floor", "420"))


def _looks() -> Iterator[Step]:
    """Each night somebody looks which invoices are past their date."""
    for day in range(66, -1, -6):
        yield day + 0.4, _look


def _look(work: UnitOfWork) -> int:
    return service.notice_overdue(work, HOME)


def _void_newest(customer_id: int, work: UnitOfWork) -> Effect:
    return service.void(work, HOME, queries.due(work, customer_id)[-1].id, "Asked for a floor too many")


def _refund_newest(customer_id: int, work: UnitOfWork) -> Effect:
    payment = queries.payments(work, Asked(limit=1), customer_id=customer_id).rows[0]
    return service.refund(work, HOME, payment.id, reason="The cheque bounced")
