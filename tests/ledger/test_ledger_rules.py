"""The rules of the ledger one by one, as `docs/ledger.md` tells them."""

from __future__ import annotations

import ast
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from ledgers import HOME, Days, Till, check
from sqlalchemy import Engine, select, update

from audited import ANN
from databases import SQLITE
from ringback import clock
from ringback.access.permissions import PERMISSIONS, Role
from ringback.access.schemas import Principal
from ringback.audit import service as audit
from ringback.audit.catalogue import messages
from ringback.audit.queries import of_customer
from ringback.billing.entities.models import Account, Customer, Environment
from ringback.billing.ledger import book, commands, queries, rounding, service
from ringback.billing.ledger.errors import LedgerError, NotNow
from ringback.billing.ledger.models import Invoice, Xdr
from ringback.billing.ledger.options import COLLECTION_THRESHOLD
from ringback.billing.ledger.schemas import Line
from ringback.billing.ledger.settlement import SETTLEMENTS, due_of, settlement
from ringback.changes.service import changing
from ringback.configuration.models import ConfigurationApply, ConfigurationValue
from ringback.records.engine import reading, unit_of_work
from ringback.records.wall import EVERYWHERE

on_sqlite = pytest.mark.parametrize("database", [SQLITE])


@pytest.mark.parametrize(
    ("amount", "currency", "asked"),
    [("0.125", "USD", "0.13"), ("-0.125", "USD", "-0.13"), ("0.12499", "USD", "0.12"), ("2.5", "JPY", "3"),
     ("-2.5", "JPY", "-3"), ("1.0005", "KWD", "1.001"), ("0.00005", "CLF", "0.0001"), ("7", "XYZ", "7.00")],
)  # fmt: skip
def test_amounts_are_asked_for_at_the_places_of_their_currency(amount: str, currency: str, asked: str) -> None:
    assert str(rounding.rounded(Decimal(amount), currency)) == asked


TODAY = date(2026, 10, 10)


@on_sqlite
def test_the_settlement_in_sql_is_that_in_code(engine: Engine) -> None:
    till = Till(engine)
    with changing(engine, ANN, (HOME,)) as work:
        for state in ("draft", "issued", "void"):
            for total in range(-1, 4):
                for adjusted in (-2, 0, 1):
                    for allocated in (0, 1, 2):
                        for due_on in (date(2026, 10, 9), TODAY, None):
                            work.add(
                                Invoice(
                                    environment=HOME, customer_id=till.customer, state=state, currency="USD",
                                    total=Decimal(total), adjusted=Decimal(adjusted), allocated=Decimal(allocated),
                                    due_on=due_on, created_at=clock.now(), void_reason="", noticed="", details={},
                                )
                            )  # fmt: skip
    for threshold in (Decimal(0), Decimal(2)):
        with reading(engine, (HOME,)) as session:
            rows = session.execute(select(Invoice, queries.settlement_sql(TODAY, threshold))).all()
        assert len(rows) == 3 * 5 * 3 * 3 * 3
        assert {sql for _, sql in rows} == {"", *SETTLEMENTS} - ({"do_not_collect"} if not threshold else set())
        for invoice, sql in rows:
            assert settlement(invoice, TODAY, threshold) == sql


def test_a_payment_goes_to_what_is_due_first_or_to_what_it_names(engine: Engine, days: Days) -> None:
    till = Till(engine)
    first = till.invoice("10").invoice_id
    days.pass_(1)
    second, third = till.invoice("10").invoice_id, till.invoice("10").invoice_id
    assert first
    assert second
    assert third
    assert [each.id for each in till.pay("15").invoices] == [first, second]
    named = till.pay("12", (third,))
    assert [(each.id, each.due.after) for each in named.invoices] == [(third, Decimal(0))]
    assert named.unallocated.after == 2, "the rest is not spent on what was not named"
    assert till.invoice("1").invoices[0].due.after == 3
    check(engine)


def test_a_refund_takes_what_is_unallocated_then_what_was_settled_last(engine: Engine, days: Days) -> None:
    till = Till(engine)
    first = till.invoice("10").invoice_id
    days.pass_(1)
    second = till.invoice("10").invoice_id
    payment = till.pay("25").payment_id
    assert payment
    assert till.refund(payment, "5").invoices == ()
    assert [(each.id, each.due.after) for each in till.refund(payment, "4").invoices] == [(second, Decimal(4))]
    back = till.refund(payment)
    assert sorted((each.id, each.due.after) for each in back.invoices) == [
        (first, Decimal(10)),
        (second, Decimal(10)),
    ]
    with pytest.raises(NotNow, match="refunded already"):
        till.refund(payment)
    check(engine)


@on_sqlite
def test_funds_are_spent_and_what_is_left_is_refunded(engine: Engine) -> None:
    till = Till(engine)
    payment = till.pay("10", account=till.funds).payment_id
    assert payment
    till.use("a", "3.33333", till.funds)
    till.invoice("5")
    assert till.pay("2", account=till.funds).invoices == (), "funds settle no invoice"
    with pytest.raises(NotNow):
        till.invoice(collect=True)
    with pytest.raises(LedgerError, match="pays in advance"):
        till.do(lambda work: service.draft(work, HOME, till.customer, lines=[Line("x", Decimal(1), till.funds)]))
    with pytest.raises(LedgerError, match=r"more than what is left of the payment: 8\.66"):
        till.refund(payment, "9")
    assert till.refund(payment).accounts[0].balance.after == Decimal("-0.00667")
    check(engine)


@on_sqlite
def test_a_credit_beyond_what_is_due_is_spent_later(engine: Engine) -> None:
    till = Till(engine)
    invoice = till.invoice("10").invoice_id
    over = till.adjust("-25", invoice)
    assert over.unallocated.after == 15
    assert over.invoices[0].settlement == ("unpaid", "paid")
    assert over.payment_id
    assert till.invoice("20").unallocated.after == 0
    with pytest.raises(LedgerError, match="names an invoice"):
        till.adjust("5")
    more = till.adjust("5", invoice)
    assert more.invoices[0].settlement == ("paid", "unpaid")
    check(engine)


@on_sqlite
def test_an_invoice_in_the_customers_favour_becomes_credit(engine: Engine) -> None:
    till = Till(engine)
    till.use("a", "2")
    with changing(engine, ANN, (HOME,)) as work:
        opened = book.Book(work, HOME, till.customer)
        opened.post("correction", Decimal(-7), "A call that was not theirs")
    made = till.invoice(collect=True)
    (invoice,) = made.invoices
    assert invoice.settlement[1] == "do_not_pay"
    assert [made.unallocated.after, made.balance.after] == [5, -5]
    with pytest.raises(NotNow, match=r"5\.00 USD of it became the customer's credit"):
        till.void(invoice.id)
    check(engine)


@on_sqlite
def test_void_takes_back_what_was_charged_and_frees_what_was_collected(engine: Engine) -> None:
    till = Till(engine)
    for number in range(3):
        till.use(f"{number}", "1.11111")
    made = till.invoice("10", collect=True)
    assert made.balance.after == Decimal("13.33")
    till.adjust("-3", made.invoice_id)
    gone = till.void(made.invoice_id or 0)
    assert [gone.balance.after, gone.invoices[0].due.after] == [Decimal("3.33333"), Decimal(0)]
    again = till.invoice(collect=True)
    assert again.balance.after == Decimal("3.33")
    with pytest.raises(NotNow, match="nothing was charged"):
        till.invoice(collect=True)
    with reading(engine, (HOME,)) as session:
        (line,) = queries.lines(session, again.invoice_id or 0)
        assert (line.description, line.quantity, line.seconds, line.amount) == (
            "Voice calls",
            3,
            360,
            Decimal("3.33"),
        )
    check(engine)


@on_sqlite
def test_what_is_collected_ends_with_the_period_in_the_environments_zone(engine: Engine, days: Days) -> None:
    with changing(engine, ANN, EVERYWHERE) as work:
        work.scalars(select(Environment).where(Environment.environment == HOME)).one().time_zone = "Europe/Prague"
    till = Till(engine)
    days.us = clock.to_us(datetime(2026, 9, 30, 21, 59, tzinfo=UTC))  # 23:59 there
    till.charge("1")
    days.pass_(1 / 1000)
    till.charge("2")
    made = till.do(
        lambda work: service.draft(work, HOME, till.customer, collect=True, period_to=date(2026, 9, 30), issued=True)
    )
    with reading(engine, (HOME,)) as session:
        invoice = queries.invoice(session, made.invoice_id)
        assert (invoice.total, invoice.issued_on) == (Decimal(1), date(2026, 10, 1))


@on_sqlite
def test_overdue_is_told_once_when_the_day_is_over_there(engine: Engine, days: Days) -> None:
    with changing(engine, ANN, EVERYWHERE) as work:
        work.scalars(select(Environment).where(Environment.environment == HOME)).one().time_zone = "America/New_York"
    till = Till(engine, due_days=1)
    till.invoice("10")
    days.us = clock.to_us(datetime(2026, 10, 3, 3, 59, tzinfo=UTC))
    assert commands.notice(engine, ANN) == {HOME: 0}
    days.us = clock.to_us(datetime(2026, 10, 3, 4, 0, tzinfo=UTC))
    assert commands.notice(engine, ANN) == {HOME: 1}
    assert commands.notice(engine, ANN) == {HOME: 0}
    assert (
        till.told()[-1] == "Status of invoice 1 changed from Unpaid to Overdue: 10.00 of 10.00 was due on 2 Oct 2026."
    )


@on_sqlite
def test_what_the_day_did_is_told_before_what_a_command_did(engine: Engine, days: Days) -> None:
    till = Till(engine)
    till.invoice("10")
    days.pass_(30)
    till.pay("4")
    told = [each for each in till.told() if each.startswith("Status of invoice")]
    assert told == ["Status of invoice 1 changed from Unpaid to Overdue: 10.00 of 10.00 was due on 15 Oct 2026."]


@on_sqlite
def test_small_invoices_are_not_collected(engine: Engine, days: Days) -> None:
    till = Till(engine)
    with unit_of_work(engine, EVERYWHERE) as work:
        apply = ConfigurationApply(environment=HOME, applied_at=clock.now(), applied_by="ann", realm="cli", reason="")
        work.add(apply)
        work.flush()
        work.add(
            ConfigurationValue(environment=HOME, name=COLLECTION_THRESHOLD.name, value='"10"', apply_id=apply.id)
        )
    assert till.invoice("10").invoices[0].settlement[1] == "do_not_collect"
    assert till.invoice("10.01").invoices[0].settlement[1] == "unpaid"
    days.pass_(30)
    assert commands.notice(engine, ANN) == {HOME: 1}


@on_sqlite
def test_a_limit_that_is_reached_is_told_with_the_charge_that_reached_it(engine: Engine) -> None:
    till = Till(engine, credit_limit=Decimal(10))
    before = len(till.told())
    till.use("a", "9.99")
    assert len(till.told()) == before, "a charge is no audit record: its xDR is"
    xdr = till.use("b", "0.01")
    assert xdr
    assert till.told()[before:] == [
        f"Status of customer Jerry Price changed from Active to Credit exceeded. Source: charge for usage (xDR {xdr.id}).",
        f"Status of account a-Jerry Price changed from Active to Credit exceeded. Source: charge for usage (xDR {xdr.id}).",
    ]
    done = till.pay("5")
    assert done.status == ("credit_exceeded", "active")
    assert [(each.charging_id, each.status) for each in done.accounts] == [
        ("a-Jerry Price", ("credit_exceeded", "active"))
    ]


@on_sqlite
def test_an_alias_charges_what_it_stands_for(engine: Engine) -> None:
    till = Till(engine)
    with changing(engine, ANN, (HOME,)) as work:
        account = work.get_one(Account, till.account)
        alias = Account(
            environment=HOME, charging_id="alias", customer_id=till.customer, product_id=account.product_id,
            billing_model="alias", alias_of_id=account.id, balance=Decimal(0), created_at=clock.now(),
        )  # fmt: skip
        work.add(alias)
        work.flush()
    xdr = till.use("a", "1", alias.id)
    assert xdr
    assert xdr.account_id == till.account


@on_sqlite
def test_a_closed_customer_is_charged_nothing_and_may_pay(engine: Engine) -> None:
    till = Till(engine)
    till.invoice("10")
    with changing(engine, ANN, (HOME,)) as work:
        work.get_one(Customer, till.customer).bill_status = "closed"
    refused: list[Callable[[], object]] = [lambda: till.charge("1"), lambda: till.invoice("1")]
    for act in refused:
        with pytest.raises(NotNow, match="closed"):
            act()
    assert till.pay("10").balance.after == 0


@on_sqlite
def test_what_does_not_add_up_is_found(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    till = Till(engine)
    till.invoice("10")
    till.pay("4")
    assert commands.check(engine, (), as_json=False, say=print) == 0
    assert "the sum of its rows" in capsys.readouterr().out
    with unit_of_work(engine, (HOME,)) as work:
        work.execute(update(Customer).values(balance=Decimal(7)))
        work.execute(update(Xdr).where(Xdr.kind == "charge").values(account_id=till.account))
        work.execute(update(Invoice).values(total=Decimal(11), allocated=Decimal(3)))
    assert commands.check(engine, (HOME,), as_json=False, say=print) == 1
    said = capsys.readouterr().out
    for words in (
        "default: balance of customer 1 (Jerry Price) is 7.00000, its rows say 6.00000",
        "default: balance of account 1 (a-Jerry Price) is 0.00000, its rows say 10.00000",
        "default: allocated of invoice 1 (1) is 3.00000, its rows say 4.00000",
        "default: total of invoice 1 (1) is 11.00000, its rows say 10.00000",
    ):
        assert words in said
    assert commands.check(engine, (), as_json=True, say=print) == 1


@on_sqlite
def test_the_history_of_a_balance_begins_before_and_ends_with_what_it_is(engine: Engine, days: Days) -> None:
    till = Till(engine)
    for _ in range(20):
        till.charge("1")
        days.pass_(1)
    received = clock.now() - timedelta(days=8)
    till.do(
        lambda work: service.pay(work, HOME, till.customer, Decimal(5), method="cash", received_at=received)
    )  # recorded now: it moves the balance of today
    end = clock.now() + timedelta(seconds=1)
    with reading(engine, (HOME,)) as session:
        found = queries.history(session, end - timedelta(days=10), end, customer_id=till.customer, points=5)
        whole = queries.history(session, end - timedelta(days=100), end, customer_id=till.customer, points=1000)
        assert queries.history(session, end, end + timedelta(days=1), customer_id=till.customer) == whole[-1:]
        assert (
            queries.history(session, end - timedelta(days=50), end - timedelta(days=40), customer_id=till.customer)
            == []
        )
    assert [each.balance for each in whole] == [*range(1, 13), *range(14, 21), 15], "one of each piece of time"
    assert 3 <= len(found) <= 8
    assert found[0].at < end - timedelta(days=10)
    assert found[-1].balance == 15
    assert [each.xdr_id for each in found] == sorted(each.xdr_id for each in found)
    assert set(found) <= set(whole)


@on_sqlite
def test_an_issued_invoice_keeps_whom_it_was_issued_to(engine: Engine) -> None:
    till = Till(engine, address="1 Elm Street")
    invoice = till.invoice("10").invoice_id or 0
    with changing(engine, ANN, (HOME,)) as work:
        work.get_one(Customer, till.customer).address = "2 Oak Street"
    with reading(engine, (HOME,)) as session:
        found = queries.invoice(session, invoice)
        assert found.details == {"name": "Jerry Price", "address": "1 Elm Street"}
        assert due_of(found) == 10


@on_sqlite
def test_who_may_not_see_personal_data_reads_of_amounts_alone(engine: Engine) -> None:
    till = Till(engine, credit_limit=Decimal(10))
    till.charge("12", till.account)
    invoice = till.invoice(collect=True).invoice_id or 0
    till.adjust("-3", invoice)
    payment = till.pay("20").payment_id or 0
    till.refund(payment, "15")
    eve = Principal("user", "eve", (HOME,), PERMISSIONS[Role.READ_ONLY])
    told = audit.log_of(engine, eve, of_customer(HOME, till.customer))
    shown = repr([each for each in told.records if each.action != "created"])  # whose product bears the name here
    for word in ("Jerry", "Price", "Modem", "Goodwill"):
        assert word not in shown, word
    for words in (
        "12.00 was charged",
        "adjusted by -3.00",
        "15.00 of payment 1 was refunded",
        "Credit exceeded to Active",
    ):
        assert words in shown, words
    links = {each.entity_type: each.href for each in told.records}
    assert links["invoice"] == f"/invoices/{invoice}"
    assert links["payment"] == f"/payments/{payment}"
    assert links["xdr"].startswith("/xdrs/")


def test_every_action_that_is_told_has_its_sentence() -> None:
    folder = Path(service.__file__).parent
    told = {
        str(call.args[0].value)
        for path in folder.glob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and getattr(call.func, "attr", "") == "tell"
        and isinstance(call.args[0], ast.Constant)
    }
    assert len(told) >= 10
    assert told <= set(messages().sentences)
