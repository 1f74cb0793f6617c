"""Where rules of the ledger meet: thresholds that move, credit that outlives its invoice, currencies of other places,
work that fails after a number was taken, and what is recorded late."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from ledgers import HOME, Days, Till, check
from pypdf import PdfReader
from sqlalchemy import Engine, select

from audited import ANN
from databases import SQLITE
from ringback import clock
from ringback.billing.entities.models import Customer, Environment
from ringback.billing.ledger import commands, pages_queries, queries, service
from ringback.billing.ledger.errors import LedgerError, LedgerNotFound, NotNow
from ringback.billing.ledger.idempotency import fingerprint, once
from ringback.billing.ledger.models import Invoice
from ringback.billing.ledger.options import COLLECTION_THRESHOLD
from ringback.billing.ledger.pdf import invoice_pdf
from ringback.billing.ledger.schemas import Effect, Line
from ringback.billing.ledger.settlement import settlement
from ringback.changes.service import changing
from ringback.configuration.models import ConfigurationApply, ConfigurationValue
from ringback.records.engine import UnitOfWork, reading, unit_of_work
from ringback.records.wall import EVERYWHERE

on_sqlite = pytest.mark.parametrize("database", [SQLITE])


def collect_above(engine: Engine, amount: str) -> None:
    with unit_of_work(engine, EVERYWHERE) as work:
        apply = ConfigurationApply(environment=HOME, applied_at=clock.now(), applied_by="ann", realm="cli", reason="")
        work.add(apply)
        work.flush()
        of = select(ConfigurationValue).where(ConfigurationValue.name == COLLECTION_THRESHOLD.name)
        row = work.scalars(of).one_or_none()
        if row is None:
            row = ConfigurationValue(environment=HOME, name=COLLECTION_THRESHOLD.name)
            work.add(row)
        row.value, row.apply_id = f'"{amount}"', apply.id


def settled(engine: Engine, invoice: int) -> str:
    with reading(engine, (HOME,)) as session:
        return queries.noticed(session, invoice)


def test_what_is_not_collected_is_a_matter_of_what_is_due(engine: Engine, days: Days) -> None:
    till = Till(engine)
    collect_above(engine, "10")
    invoice = till.invoice("70").invoice_id or 0
    assert till.pay("50").invoices[0].settlement == ("unpaid", "partially_paid")
    days.pass_(30)
    assert commands.notice(engine, ANN) == {HOME: 1}
    assert till.pay("10").invoices[0].settlement == ("overdue", "do_not_collect")
    assert commands.notice(engine, ANN) == {HOME: 0}
    with reading(engine, (HOME,)) as session:
        row = session.get_one(Customer, till.customer)
        found = queries.summary(session, row, queries.today(session, HOME), Decimal(10))
        assert [found.due, found.overdue] == [10, 0]
    collect_above(engine, "9.99")
    assert commands.notice(engine, ANN) == {HOME: 1}, "nobody but the option changed"
    assert settled(engine, invoice) == "overdue"
    collect_above(engine, "10")
    assert commands.notice(engine, ANN) == {HOME: 1}
    assert settled(engine, invoice) == "do_not_collect"
    check(engine)


@on_sqlite
def test_what_nobody_collects_is_asked_for_on_paper(engine: Engine, days: Days) -> None:
    collect_above(engine, "10")
    till = Till(engine)
    invoice = till.invoice("7").invoice_id or 0
    with reading(engine, (HOME,)) as session:
        whole = pages_queries.whole_invoice(session, HOME, invoice)
    assert whole.settlement == "do_not_collect"
    text = PdfReader(BytesIO(invoice_pdf(whole))).pages[0].extract_text().replace("\xa0", " ")
    assert "To be paid: 7.00 USD" in text
    assert "Unpaid. Please pay until 15 Oct 2026" in text


def test_many_that_are_not_collected_do_not_hide_one_that_is_overdue(engine: Engine, days: Days) -> None:
    collect_above(engine, "5")
    till = Till(engine)
    for _ in range(4):
        till.invoice("5")
    late = till.invoice("6").invoice_id or 0
    days.pass_(30)
    assert till.do(lambda work: service.notice_overdue(work, HOME, most=2)) == 1
    assert settled(engine, late) == "overdue"


@on_sqlite
def test_an_invoice_of_nothing_that_is_adjusted_upwards_is_to_be_paid(engine: Engine, days: Days) -> None:
    till = Till(engine)
    made = till.invoice("5", "-5")
    assert made.invoices[0].settlement == ("", "do_not_pay")
    more = till.adjust("3", made.invoice_id)
    assert more.invoices[0].settlement == ("do_not_pay", "unpaid")
    days.pass_(30)
    assert commands.notice(engine, ANN) == {HOME: 1}
    assert till.adjust("-3", made.invoice_id).invoices[0].settlement == ("overdue", "do_not_pay")
    check(engine)


def test_credit_of_an_invoice_goes_back_before_it_is_void(engine: Engine) -> None:
    till = Till(engine)
    invoice = till.invoice("10").invoice_id or 0
    payment = till.adjust("-25", invoice).payment_id or 0
    with pytest.raises(NotNow, match=r"15\.00 USD of it became the customer's credit, payment 1: refund that first"):
        till.void(invoice)
    till.refund(payment, "4")
    with pytest.raises(NotNow, match=r"11\.00 USD"):
        till.void(invoice)
    till.refund(payment)
    assert till.void(invoice).balance.after == 0, "as if it had never been"
    check(engine)


@on_sqlite
def test_an_invoice_in_the_customers_favour_is_void_when_its_credit_went_back(engine: Engine) -> None:
    till = Till(engine)
    till.use("a", "2")
    made = till.invoice("-7", collect=True)
    assert [made.balance.after, made.unallocated.after] == [-5, 5]
    with reading(engine, (HOME,)) as session:
        (payment,) = queries.unallocated_payments(session, till.customer)
    till.refund(payment.id)
    assert till.void(made.invoice_id or 0).balance.after == 2, "what it had collected"
    assert till.invoice(collect=True).invoices[0].due.after == 2
    check(engine)


@pytest.mark.parametrize(
    ("currency", "asked", "rest"), [("JPY", "34", "0.12963"), ("USD", "33.87", "-0.00037"), ("KWD", "33.870", "-0.00037")]
)  # fmt: skip
def test_what_is_asked_for_and_the_balance_agree_in_every_currency(
    engine: Engine, currency: str, asked: str, rest: str
) -> None:
    till = Till(engine, currency=currency)
    for number in range(3):
        till.use(f"{number}", "11.29012")
    till.use("last", "0.00001")
    made = till.invoice(collect=True)
    assert (str(made.balance.after), made.balance.after - made.balance.before) == (
        f"{Decimal(asked):.5f}",
        Decimal(rest),
    )
    assert till.pay(asked).invoices[0].settlement == ("unpaid", "paid")
    with pytest.raises(LedgerError, match=f"more decimals than {currency} has"):
        till.pay("0.0001")
    check(engine)


def test_a_number_that_was_taken_by_work_that_failed_is_given_again(engine: Engine) -> None:
    till = Till(engine)
    till.invoice("1")

    def fails(work: UnitOfWork) -> None:
        made = service.draft(work, HOME, till.customer, lines=[Line("x", Decimal(1))], issued=True)
        assert made.invoices[0].number == 2
        raise RuntimeError("no paper")

    with pytest.raises(RuntimeError, match="no paper"):
        till.do(fails)
    tried = service.preview(
        engine, ANN, HOME,
        lambda work: service.draft(work, HOME, till.customer, lines=[Line("x", Decimal(1))], issued=True),
    )  # fmt: skip
    assert tried.invoices[0].number == 2
    assert till.invoice("1").invoices[0].number == 2
    check(engine)


def test_numbers_and_keys_are_those_of_one_environment(engine: Engine) -> None:
    """Also for work that sees all of them."""
    with changing(engine, ANN, EVERYWHERE) as work:
        work.add(
            Environment(environment="other", name="Other", currency="USD", time_zone="UTC", created_at=clock.now())
        )
    till = Till(engine)
    till.invoice("1")

    def issue(environment: str) -> Effect:
        with changing(engine, ANN, EVERYWHERE) as work:
            customer = Customer(
                environment=environment, name="Jane", currency="USD", balance=Decimal(0), created_at=clock.now()
            )
            work.add(customer)
            work.flush()
            return service.draft(work, environment, customer.id, lines=[Line("x", Decimal(1))], issued=True)

    assert [issue("other").invoices[0].number, issue(HOME).invoices[0].number] == [1, 2]
    for environment in (HOME, "other"):

        def do(of: str = environment) -> tuple[int, dict[str, Any]]:
            return 200, {"of": of}

        with unit_of_work(engine, (environment,)) as work:
            assert once(work, environment, "key", fingerprint("ann", "POST", "/pay", 1), do) == do()


@on_sqlite
def test_a_draft_of_a_customer_who_was_closed_charges_nothing(engine: Engine) -> None:
    till = Till(engine)
    till.charge("5")
    given = till.invoice("10", issued=False).invoice_id or 0
    with changing(engine, ANN, (HOME,)) as work:
        work.get_one(Customer, till.customer).bill_status = "closed"
    with pytest.raises(NotNow, match="closed"):
        till.issue(given)
    assert till.invoice(collect=True).invoices[0].due.after == 5, "what was charged before is asked for"
    check(engine)


@on_sqlite
def test_funds_and_invoices_do_not_meet(engine: Engine) -> None:
    till = Till(engine)
    invoice = till.invoice("10").invoice_id or 0
    with pytest.raises(LedgerError, match="never invoiced") as refused:
        till.adjust("-5", invoice, till.funds)
    assert refused.value.field == "account"
    payment = till.pay("10", account=till.funds).payment_id or 0
    with pytest.raises(NotNow, match="settle no invoices"):
        till.allocate(payment, invoice)


def test_a_payment_is_allocated_by_hand(engine: Engine) -> None:
    till = Till(engine)
    paid, first, second = (till.invoice(each).invoice_id or 0 for each in ("10", "7", "5"))
    payment = till.pay("20", (paid,)).payment_id or 0
    part = till.allocate(payment, second, "2")
    assert [(each.id, each.due.after, each.settlement) for each in part.invoices] == [
        (second, Decimal(3), ("unpaid", "partially_paid"))
    ]
    assert [part.unallocated.before, part.unallocated.after, part.balance.after] == [10, 8, 2]
    assert till.told()[-3:] == [
        "2.00 of payment 1 went to invoice 3.",
        "Unallocated payments changed from 10.00 to 8.00 (decreased by 2.00). Source: allocation of a payment.",
        "Status of invoice 3 changed from Unpaid to Partially paid: 3.00 of 5.00 is due.",
    ]
    refusals: list[tuple[int, str | None, str]] = [
        (second, "4", "more than what is due of the invoice: 3.00"), (first, "9", "more than what is unallocated"),
        (first, "0", "more than zero"), (first, "0.001", "more decimals"), (999, None, "no invoice 999"),
    ]  # fmt: skip
    for invoice, amount, says in refusals:
        with pytest.raises(LedgerError, match=says):
            till.allocate(payment, invoice, amount)
    with pytest.raises(NotNow, match="nothing of the invoice is due"):
        till.allocate(payment, paid)
    assert till.allocate(payment, first).unallocated.after == 1
    assert till.allocate(payment, second).invoices[0].due.after == 2
    with pytest.raises(NotNow, match="Nothing of the payment is unallocated"):
        till.allocate(payment, second)
    other = Till(engine, "Somebody else").invoice("5").invoice_id or 0
    with pytest.raises(LedgerError, match=f"no invoice {other}"):
        till.allocate(payment, other)
    check(engine)


@on_sqlite
def test_who_pays_in_advance_can_spend_what_is_left(engine: Engine) -> None:
    till = Till(engine, balance_control="prepaid")
    till.pay("25")
    with reading(engine, (HOME,)) as session:
        row = session.get_one(Customer, till.customer)
        assert queries.summary(session, row, date(2026, 10, 1), Decimal(0)).credit == 25


@on_sqlite
def test_usage_of_nobody_is_refused_by_the_accounts_name(engine: Engine) -> None:
    till = Till(engine)
    with pytest.raises(LedgerNotFound, match="no account 999"):
        till.use("a", "1", 999)


def test_a_history_begins_with_the_balance_of_then_whatever_was_recorded_late(engine: Engine, days: Days) -> None:
    till = Till(engine)
    till.charge("10")
    days.pass_(40)
    received = clock.now() - timedelta(days=35)
    till.do(lambda work: service.pay(work, HOME, till.customer, Decimal(10), method="cheque", received_at=received))
    days.pass_(1)
    now = clock.now()
    with reading(engine, (HOME,)) as session:
        found = queries.history(session, now - timedelta(days=30), now, customer_id=till.customer)
    assert [each.balance for each in found] == [10, 0], "owed until it was recorded that it was paid"
    assert found[0].at < now - timedelta(days=30) < found[1].at


@on_sqlite
@pytest.mark.parametrize(
    ("zone", "over"), [("Pacific/Kiritimati", 10), ("Pacific/Pago_Pago", 35), ("Asia/Kathmandu", 18.25)]
)
def test_a_day_ends_when_it_ends_in_its_environment(engine: Engine, days: Days, zone: str, over: float) -> None:
    """`over`: hours after the last day began in UTC."""
    with changing(engine, ANN, EVERYWHERE) as work:
        work.scalars(select(Environment).where(Environment.environment == HOME)).one().time_zone = zone
    days.us = clock.to_us(datetime(2026, 10, 1, 11, tzinfo=UTC))
    till = Till(engine)
    invoice = till.do(
        lambda work: service.draft(
            work, HOME, till.customer, lines=[Line("x", Decimal(5))], issued=True, due_on=date(2026, 10, 5)
        )
    ).invoice_id
    end = clock.to_us(datetime(2026, 10, 5, tzinfo=UTC)) + int(over * 3600) * 1_000_000
    for us, expected in ((end - 1, "unpaid"), (end, "overdue")):
        days.us = us
        with reading(engine, (HOME,)) as session:
            day = queries.today(session, HOME)
            row = session.get_one(Invoice, invoice)
            sql = session.scalar(select(queries.settlement_sql(day, Decimal(0))).where(Invoice.id == invoice))
        assert settlement(row, day) == sql == expected
