"""What tests of the ledger share: customers, commands by short names, and what must always hold."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, true

from audited import ANN, add_account, add_customer, add_product
from ringback import clock
from ringback.access.permissions import PERMISSIONS, Role
from ringback.access.schemas import Principal
from ringback.audit import service as audit
from ringback.audit.queries import of_customer
from ringback.billing.entities.models import Account, Customer
from ringback.billing.ledger import queries, service
from ringback.billing.ledger.checking import mismatches
from ringback.billing.ledger.models import Allocation, Billed, Invoice, Payment, Xdr
from ringback.billing.ledger.schemas import Effect, Line
from ringback.billing.ledger.settlement import due_of
from ringback.changes.schemas import Actor
from ringback.changes.service import do_changing
from ringback.records.engine import UnitOfWork, reading

HOME = "default"
READER = Principal("user", "ann", (HOME,), PERMISSIONS[Role.ADMINISTRATOR])
DAY_US = 86_400_000_000


class Days:
    """A clock that stands still until told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.us = clock.to_us(datetime(2026, 10, 1, 9, tzinfo=UTC))
        monkeypatch.setattr(clock, "now_us", lambda: self.us)

    def pass_(self, days: float) -> None:
        self.us += int(days * DAY_US)


class Till:
    """Commands on one customer."""

    def __init__(self, engine: Engine, name: str = "Jerry Price", actor: Actor = ANN, **more: object) -> None:
        self.engine, self.actor = engine, actor

        def make(work: UnitOfWork) -> tuple[int, int, int]:
            customer = add_customer(work, name, **more)
            product = add_product(work, f"Product of {name}")
            account = add_account(work, customer, product, f"a-{name}"[:64])
            funds = add_account(work, customer, product, f"f-{name}"[:64], billing_model="debit")
            return customer.id, account.id, funds.id

        self.customer, self.account, self.funds = self.do(make)

    def do(self, act: Callable[[UnitOfWork], Any]) -> Any:
        return do_changing(self.engine, self.actor, (HOME,), act)

    def pay(self, amount: str, invoices: tuple[int, ...] = (), account: int | None = None) -> Effect:
        return self._do(
            lambda work: service.pay(
                work, HOME, self.customer, Decimal(amount), method="card", invoices=invoices, account_id=account
            )
        )

    def refund(self, payment: int, amount: str | None = None) -> Effect:
        return self._do(lambda work: service.refund(work, HOME, payment, Decimal(amount) if amount else None))

    def allocate(self, payment: int, invoice: int, amount: str | None = None) -> Effect:
        of = None if amount is None else Decimal(amount)
        return self._do(lambda work: service.allocate(work, HOME, payment, invoice, of))

    def adjust(self, amount: str, invoice: int | None = None, account: int | None = None) -> Effect:
        return self._do(
            lambda work: service.adjust(
                work, HOME, self.customer, Decimal(amount), "Goodwill", invoice_id=invoice, account_id=account
            )
        )

    def charge(self, amount: str, account: int | None = None) -> Effect:
        return self._do(
            lambda work: service.charge(work, HOME, self.customer, Decimal(amount), "Modem", account_id=account)
        )

    def invoice(self, *amounts: str, collect: bool = False, issued: bool = True) -> Effect:
        lines = [Line(f"Line {place}", Decimal(amount)) for place, amount in enumerate(amounts, 1)]
        return self._do(
            lambda work: service.draft(work, HOME, self.customer, lines=lines, collect=collect, issued=issued)
        )

    def issue(self, invoice: int) -> Effect:
        return self._do(lambda work: service.issue(work, HOME, invoice))

    def void(self, invoice: int) -> Effect:
        return self._do(lambda work: service.void(work, HOME, invoice))

    def use(self, key: str, amount: str, account: int | None = None) -> Xdr | None:
        found: Xdr | None = self.do(
            lambda work: service.post_usage(
                work, HOME, account or self.account, Decimal(amount), session_key=key, service="voice", seconds=61,
                charged_seconds=120, called="4420", caller="1210",
            )
        )  # fmt: skip
        return found

    def _do(self, act: Callable[[UnitOfWork], Effect]) -> Effect:
        found: Effect = self.do(act)
        return found

    def told(self, most: int = 500) -> list[str]:
        """The customer's audit log, the oldest first."""
        return [
            each.sentence
            for each in audit.log_of(self.engine, READER, of_customer(HOME, self.customer), limit=most).records
        ][::-1]


def check(engine: Engine, *only: int) -> None:
    """The invariants of the ledger, by the product's own check and by sums of ours: of all customers, or of these."""
    with reading(engine, (HOME,)) as session:
        assert mismatches(session) == []
        for payment in session.scalars(select(Payment)):
            assert payment.unallocated >= 0
            assert payment.refunded >= 0
            assert payment.account_id is None or payment.amount == payment.unallocated + payment.refunded
        numbers = sorted(number for number in session.scalars(select(Invoice.number)) if number is not None)
        assert numbers == list(range(1, len(numbers) + 1))
        for customer in session.scalars(select(Customer).where(Customer.id.in_(only) if only else true())):
            asked = allocated = Decimal(0)
            for invoice in session.scalars(select(Invoice).where(Invoice.customer_id == customer.id)):
                assert invoice.allocated >= 0
                assert invoice.state == "issued" or not invoice.allocated
                asked += due_of(invoice)
                allocated += invoice.allocated
            summary = queries.summary(session, customer, queries.today(session, HOME), Decimal(0))
            funds = sum(session.scalars(
                select(Account.balance).where(Account.customer_id == customer.id, Account.billing_model == "debit")
            ), Decimal(0))  # fmt: skip
            drafted = session.scalar(
                select(func.sum(Xdr.amount)).join(Billed, Billed.xdr_id == Xdr.id)
                .join(Invoice, Invoice.id == Billed.invoice_id)
                .where(Invoice.state == "draft", Xdr.customer_id == customer.id)
            )  # fmt: skip
            unbilled = sum((each.amount for each in queries.unbilled(session, customer.id)), drafted or Decimal(0))
            assert summary.unbilled == unbilled
            # What is owed is on issued invoices or not billed yet; less what was paid ahead, and what accounts hold.
            assert customer.balance == asked + summary.unbilled - summary.unallocated + funds
            live = session.scalar(
                select(func.sum(Allocation.amount)).join(Payment, Payment.id == Allocation.payment_id)
                .where(Allocation.reversed_at.is_(None), Payment.customer_id == customer.id)
            )  # fmt: skip
            assert (live or 0) == allocated
