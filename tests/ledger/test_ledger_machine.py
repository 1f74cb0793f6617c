"""Any order of charges, payments, refunds, adjustments, invoices, voids and days: what must hold holds after each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from ledgers import HOME, Till, check
from sqlalchemy import Engine, func, select

from ringback import clock
from ringback.billing.entities.models import Customer
from ringback.billing.entities.pages_values import exponent
from ringback.billing.ledger import queries, service
from ringback.billing.ledger.errors import LedgerError, NotNow
from ringback.billing.ledger.idempotency import KEPT, fingerprint, once
from ringback.billing.ledger.models import Invoice, Payment, Xdr
from ringback.billing.ledger.settlement import settlement
from ringback.changes.service import do_changing
from ringback.records.engine import UnitOfWork, reading

AMOUNTS = st.integers(1, 9999)  # of the smallest unit of the currency
USAGE = st.decimals("0", "9.99999", places=5).map(str)
PICKS = st.integers(0, 10**6)
REFUSED = (LedgerError, NotNow)


class Ledger(RuleBasedStateMachine):
    engine: Engine
    now: list[int]
    count = 0

    def __init__(self) -> None:
        super().__init__()
        Ledger.count += 1
        currency = ("USD", "JPY", "KWD")[Ledger.count % 3]
        self.till = Till(self.engine, f"Customer {Ledger.count}", currency=currency)
        self.unit = Decimal(1).scaleb(-exponent(currency))
        self.sessions = 0
        self.commands: list[tuple[str, str, Any, int]] = []  # the last: when

    def pick(self, column: Any, number: int, *where: Any) -> int | None:
        of = column.class_.customer_id == self.till.customer
        with reading(self.engine, (HOME,)) as session:
            ids = session.scalars(select(column).where(of, *where).order_by(column)).all()
        return int(ids[number % len(ids)]) if ids else None

    def money(self, amount: int) -> str:
        return str(amount * self.unit)

    @rule(amount=AMOUNTS, funds=st.booleans(), named=PICKS | st.none())
    def pay(self, amount: int, funds: bool, named: int | None) -> None:
        invoice = self.pick(Invoice.id, named, Invoice.state == "issued") if named is not None and not funds else None
        self.till.pay(self.money(amount), (invoice,) if invoice else (), self.till.funds if funds else None)

    @rule(amount=AMOUNTS | st.none(), number=PICKS)
    def refund(self, amount: int | None, number: int) -> None:
        payment = self.pick(Payment.id, number)
        if payment is not None:
            try:
                self.till.refund(payment, None if amount is None else self.money(amount))
            except REFUSED:
                return

    @rule(amount=AMOUNTS, up=st.booleans(), number=PICKS | st.none(), funds=st.booleans())
    def adjust(self, amount: int, up: bool, number: int | None, funds: bool) -> None:
        invoice = self.pick(Invoice.id, number) if number is not None else None
        try:
            self.till.adjust(self.money(amount if up else -amount), invoice, self.till.funds if funds else None)
        except REFUSED:
            return

    @rule(amount=AMOUNTS, account=st.sampled_from(["", "account", "funds"]))
    def charge(self, amount: int, account: str) -> None:
        self.till.charge(self.money(amount), getattr(self.till, account) if account else None)

    @rule(amount=USAGE, funds=st.booleans(), again=st.booleans())
    def use(self, amount: str, funds: bool, again: bool) -> None:
        self.sessions += not again or not self.sessions
        key = f"{self.till.customer}-{self.sessions}"
        self.till.use(key, amount, self.till.funds if funds else None)
        assert self.till.use(key, amount) is None

    @rule(amounts=st.lists(AMOUNTS, max_size=2), collect=st.booleans(), issued=st.booleans())
    def invoice(self, amounts: list[int], collect: bool, issued: bool) -> None:
        try:
            self.till.invoice(*map(self.money, amounts), collect=collect, issued=issued)
        except REFUSED:
            return

    @rule(number=PICKS)
    def issue(self, number: int) -> None:
        draft = self.pick(Invoice.id, number, Invoice.state == "draft")
        if draft is not None:
            self.till.issue(draft)

    @rule(number=PICKS)
    def void(self, number: int) -> None:
        invoice = self.pick(Invoice.id, number)
        if invoice is not None:
            try:
                self.till.void(invoice)
            except REFUSED:
                return

    @rule(payment=PICKS, invoice=PICKS, amount=AMOUNTS | st.none())
    def allocate(self, payment: int, invoice: int, amount: int | None) -> None:
        ids = self.pick(Payment.id, payment, Payment.unallocated > 0), self.pick(Invoice.id, invoice)
        if ids[0] is not None and ids[1] is not None:
            try:
                self.till.allocate(ids[0], ids[1], None if amount is None else self.money(amount))
            except REFUSED:
                return

    @rule(days=st.integers(1, 20))
    def days_pass(self, days: int) -> None:
        self.now[0] += days * 86_400_000_000
        self.till.do(lambda work: service.notice_overdue(work, HOME))
        assert self.till.do(lambda work: service.notice_overdue(work, HOME)) == 0

    @rule(amount=AMOUNTS)
    def command(self, amount: int) -> None:
        """A payment with a key."""
        key = f"{self.till.customer}-{len(self.commands)}"
        text = self.money(amount)
        self.commands.append((key, text, self.sent(key, text), self.now[0]))

    @precondition(lambda self: self.commands)
    @rule(number=PICKS)
    def replayed(self, number: int) -> None:
        kept = [command for *command, at in self.commands if self.now[0] - at < KEPT / timedelta(microseconds=1)]
        if not kept:
            return
        key, amount, answer = kept[number % len(kept)]
        before = self.state()
        assert self.sent(key, amount) == answer
        assert self.state() == before

    def sent(self, key: str, amount: str) -> Any:
        def do(work: UnitOfWork) -> Any:
            def pay() -> tuple[int, dict[str, Any]]:
                done = service.pay(work, HOME, self.till.customer, Decimal(amount), method="cash")
                return 200, {"balance": str(done.balance.after)}

            return once(work, HOME, key, fingerprint("ann", "POST", "/pay", amount), pay)

        return do_changing(self.engine, self.till.actor, (HOME,), do)

    def state(self) -> Any:
        with reading(self.engine, (HOME,)) as session:
            return session.execute(select(func.count(Xdr.id), func.sum(Xdr.amount))).one()

    @invariant()
    def what_must_hold_holds(self) -> None:
        check(self.engine, self.till.customer)

    @invariant()
    def the_log_told_each_status_that_there_is(self) -> None:
        with reading(self.engine, (HOME,)) as session:
            today = queries.today(session, HOME)
            for each in session.scalars(select(Invoice).where(Invoice.customer_id == self.till.customer)):
                assert each.noticed == settlement(each, today)

    @invariant()
    def xdrs_lead_from_balance_to_balance(self) -> None:
        with reading(self.engine, (HOME,)) as session:
            balance = Decimal(0)
            for xdr in session.scalars(select(Xdr).where(Xdr.customer_id == self.till.customer).order_by(Xdr.id)):
                balance += xdr.amount
                assert xdr.balance_after == balance
            assert session.get_one(Customer, self.till.customer).balance == balance


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The microsecond that it is."""
    found = [clock.to_us(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=9))]
    monkeypatch.setattr(clock, "now_us", lambda: found[0])
    return found


def test_any_order_keeps_what_must_hold(engine: Engine, now: list[int]) -> None:
    Ledger.engine, Ledger.now = engine, now
    run_state_machine_as_test(
        Ledger,
        settings=settings(
            max_examples=10, stateful_step_count=20, deadline=None, database=None,
            suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate),
        ),
    )  # fmt: skip
