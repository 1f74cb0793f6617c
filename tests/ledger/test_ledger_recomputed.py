"""A thousand customers' histories, and what a straightforward script makes of them: the same to the last place.

The script below knows nothing of the product: it keeps lists, in whole units of 1/100000, and goes through them each time.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from ledgers import HOME
from sqlalchemy import Engine, select

from audited import ANN, add_account, add_customer, add_product
from databases import SQLITE
from ringback import clock
from ringback.billing.entities.models import Customer
from ringback.billing.ledger import queries, service
from ringback.billing.ledger.checking import mismatches
from ringback.billing.ledger.errors import LedgerError, NotNow
from ringback.billing.ledger.models import Invoice, Payment
from ringback.billing.ledger.schemas import Line
from ringback.billing.ledger.settlement import due_of, settlement
from ringback.changes.service import changing
from ringback.records.engine import UnitOfWork, reading

CUSTOMERS, STEPS = 1000, 6
pytestmark = [pytest.mark.parametrize("database", [SQLITE]), pytest.mark.timeout(300)]
CENT = 1000  # units


@dataclass
class Told:
    """An invoice, as the script keeps it."""

    total: int
    adjusted: int = 0
    paid: int = 0
    void: bool = False
    credit: list[Paid] = field(default_factory=list)  # what it gave beyond what was due

    def due(self) -> int:
        return 0 if self.void else self.total + self.adjusted - self.paid


@dataclass
class Paid:
    """A payment, as the script keeps it: what it settled, in order."""

    amount: int
    rest: int
    refunded: int = 0
    to: list[tuple[int, int]] = field(default_factory=list)  # place of the invoice, units


@dataclass
class Script:
    """Straightforward, and slow."""

    balance: int = 0
    open: list[int] = field(default_factory=list)  # charged, on no invoice
    invoices: list[Told] = field(default_factory=list)
    payments: list[Paid] = field(default_factory=list)
    collected: list[tuple[list[int], int]] = field(default_factory=list)  # of each invoice: charges, given lines

    def charge(self, amount: int) -> None:
        self.balance += amount
        self.open.append(amount)

    def spend(self, payment: Paid) -> None:
        for place, invoice in enumerate(self.invoices):
            part = min(payment.rest, invoice.due())
            if part > 0:
                payment.rest -= part
                invoice.paid += part
                payment.to.append((place, part))

    def pay(self, amount: int) -> None:
        self.balance -= amount
        self.payments.append(Paid(amount, amount))
        self.spend(self.payments[-1])

    def bill(self, given: int) -> None:
        exact = sum(self.open)
        cents, rest = divmod(exact, CENT)
        rounded = (cents + (rest * 2 >= CENT)) * CENT
        self.balance += rounded - exact + given
        self.invoices.append(Told(rounded + given))
        self.collected.append((self.open, given))
        self.open = []
        for payment in self.payments:
            self.spend(payment)

    def adjust(self, place: int, amount: int) -> None:
        """Less than zero."""
        invoice = self.invoices[place]
        self.balance += amount
        lowered = max(amount, -invoice.due())
        invoice.adjusted += lowered
        if amount < lowered:
            self.payments.append(Paid(lowered - amount, lowered - amount))
            invoice.credit.append(self.payments[-1])

    def refund(self, place: int, amount: int) -> None:
        payment = self.payments[place]
        self.balance += amount
        payment.refunded += amount
        from_rest = min(payment.rest, amount)
        payment.rest -= from_rest
        left = amount - from_rest
        while left:
            invoice, part = payment.to.pop()
            taken = min(part, left)
            self.invoices[invoice].paid -= taken
            left -= taken
            if taken < part:
                payment.to.append((invoice, part - taken))

    def void(self, place: int) -> None:
        invoice = self.invoices[place]
        charges, _ = self.collected[place]
        exact = sum(charges)
        self.balance -= invoice.total + invoice.adjusted - exact
        self.open = charges + self.open
        invoice.void = True


Ids = tuple[list[int], list[int]]  # of a customer's invoices, and payments


def units(text: str) -> int:
    return int(Decimal(text) * 100_000)


def amount(rng: random.Random, most: int = 90) -> str:
    return f"{rng.randint(1, most * 100) / 100:.2f}"


def live(
    rng: random.Random, script: Script, work: UnitOfWork, customer: int, account: int, key: str, ids: Ids
) -> None:
    """One more thing happens to a customer, in the ledger and in the script."""
    invoices, payments = ids
    done = None
    match rng.choice(["charge", "use", "use", "pay", "pay", "bill", "bill", "adjust", "refund", "void"]):
        case "charge":
            text = amount(rng)
            service.charge(work, HOME, customer, Decimal(text), "Modem")
            script.charge(units(text))
        case "use":
            text = f"{rng.randint(0, 900_000) / 100_000:.5f}"
            service.post_usage(work, HOME, account, Decimal(text), session_key=key, service="voice")
            script.charge(units(text))
        case "pay":
            text = amount(rng)
            done = service.pay(work, HOME, customer, Decimal(text), method="cash")
            script.pay(units(text))
        case "bill":
            text = amount(rng)
            done = service.draft(
                work, HOME, customer, lines=[Line("Fee", Decimal(text))], collect=bool(script.open), issued=True
            )
            script.bill(units(text))
        case "adjust" if invoices:
            place, text = rng.randrange(len(invoices)), amount(rng, 60)
            try:
                done = service.adjust(work, HOME, customer, -Decimal(text), "Goodwill", invoice_id=invoices[place])
                script.adjust(place, -units(text))
            except (LedgerError, NotNow):
                assert script.invoices[place].void
        case "refund" if payments:
            place = rng.randrange(len(payments))
            payment = script.payments[place]
            left = payment.amount - payment.refunded
            part = min(left, units(amount(rng)))
            if part:
                service.refund(work, HOME, payments[place], Decimal(part) / 100_000)
                script.refund(place, part)
        case "void" if invoices:
            place = rng.randrange(len(invoices))
            try:
                service.void(work, HOME, invoices[place])
                script.void(place)
            except NotNow:
                invoice = script.invoices[place]
                assert invoice.void or invoice.paid or any(each.refunded < each.amount for each in invoice.credit)
    if done is not None:
        invoices += [done.invoice_id] if done.invoice_id and done.invoice_id not in invoices else []
        payments += [done.payment_id] if done.payment_id else []


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.to_us(datetime(2026, 3, 1, 9, tzinfo=UTC))
    monkeypatch.setattr(clock, "now_us", lambda: now)


def test_a_thousand_histories_are_what_a_straightforward_script_says(engine: Engine, stopped: None) -> None:
    rng = random.Random(20260301)
    scripts: dict[int, Script] = {}
    for block in range(0, CUSTOMERS, 100):
        with changing(engine, ANN, (HOME,)) as work:
            product = add_product(work, f"Product {block}")
            for number in range(block, block + 100):
                customer = add_customer(work, f"Customer {number}")
                account = add_account(work, customer, product, f"{number}")
                script = scripts[customer.id] = Script()
                ids: Ids = [], []
                for step in range(rng.randint(3, STEPS)):
                    live(rng, script, work, customer.id, account.id, f"{number}-{step}", ids)
    with reading(engine, (HOME,)) as session:
        today = queries.today(session, HOME)
        assert mismatches(session) == []
        kinds: dict[str, int] = {}
        for customer in session.scalars(select(Customer).where(Customer.id.in_(scripts))):
            script = scripts[customer.id]
            invoices = session.scalars(
                select(Invoice).where(Invoice.customer_id == customer.id).order_by(Invoice.id)
            ).all()
            payments = session.scalars(
                select(Payment).where(Payment.customer_id == customer.id).order_by(Payment.id)
            ).all()
            assert units(str(customer.balance)) == script.balance, customer.id
            assert [units(str(due_of(each))) for each in invoices] == [each.due() for each in script.invoices]
            assert [units(str(each.unallocated)) for each in payments] == [each.rest for each in script.payments]
            found = queries.summary(session, customer, today, Decimal(0))
            assert units(str(found.unbilled)) == sum(script.open)
            assert units(str(found.due)) == sum(each.due() for each in script.invoices)
            for each in invoices:
                kinds[settlement(each, today)] = kinds.get(settlement(each, today), 0) + 1
    assert min(kinds.get(each, 0) for each in ("", "unpaid", "partially_paid", "paid")) > 20, kinds
