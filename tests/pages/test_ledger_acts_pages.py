"""Acts on money: an act shows its effect, is done once, and is told when stale."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

import pytest
from browser_site import SLOW_MS, Site, Visit, no_sideways_scroll, prepared, serve
from money_console import NOW, Console, Money, hidden, shown
from playwright.sync_api import expect
from sqlalchemy import select

from goods import HOME, World
from ringback.billing.ledger import queries
from ringback.billing.ledger.models import Command, Payment
from ringback.billing.ledger.paging import Asked
from ringback.composition import compose
from ringback.records.engine import open_engine, reading


def test_a_payment_in_three_steps(clerk: Console, money: Money) -> None:
    invoice = money.invoice("100")
    path = f"/customers/{money.customer}/pay"
    assert 'value="100.00"' in clerk.get(path), "what is due stands there"
    said, sent = clerk.steps(path, amount="60", method="card", reference="Visa 4242")
    for words in ("owes 100.00 USD owes 40.00 USD", "Unpaid, 100.00 USD due Partially paid, 40.00 USD due",
                  "Nothing is done yet.", "Reference Visa 4242"):  # fmt: skip
        assert words in said, words
    assert money.balance() == 100
    assert sent["amount"] == "60"
    answer = clerk.post(path, {**sent, "step": "do"}, 303)
    location = answer.headers["location"]
    done = clerk.get(location)
    record = re.search(r'href="/audit/(\d+)"', done)
    assert record is not None
    assert int(record[1]) == money.records("payment.made")[0].id
    assert "owes 40.00 USD" in shown(done)
    assert f"Invoice {invoice}" in shown(done) or "Partially paid" in shown(done)
    assert money.balance() == 40
    # a double click, and the page that is sent again
    assert clerk.post(path, {**sent, "step": "do"}, 303).headers["location"].split("&")[0] == location.split("&")[0]
    assert money.balance() == 40
    assert len(money.records("payment.made")) == 1
    told = clerk.get(clerk.post(path, {**sent, "step": "do"}, 303).headers["location"])
    assert 'href="/audit/' in told
    other = clerk.post(path, {**sent, "amount": "7", "step": "do"}, 409).text
    assert "used already" in shown(other)
    assert "Begin anew" in shown(other)
    assert money.balance() == 40


def test_an_effect_that_is_stale_is_shown_again(clerk: Console, money: Money) -> None:
    money.invoice("100")
    path = f"/customers/{money.customer}/pay"
    _, sent = clerk.steps(path, amount="60", method="card")
    money.pay("70")
    text = clerk.post(path, {**sent, "step": "do"}, 409).text
    assert "Something moved since this was shown, so nothing was done." in shown(text)
    assert "owes 30.00 USD 30.00 USD in credit" in shown(text)
    assert money.balance() == 30
    clerk.post(path, {**hidden(text), "step": "do"}, 303)
    assert money.balance() == -30
    with reading(money.world.engine, (HOME,)) as session:
        assert len(session.scalars(select(Payment).where(Payment.customer_id == money.customer)).all()) == 2


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ({"amount": "", "method": "card"}, "Amount is needed."),
        ({"amount": "plenty", "method": "card"}, "an amount such as 12.50"),
        ({"amount": "-5", "method": "card"}, "The amount is more than zero."),
        ({"amount": "1.005", "method": "card"}, "more decimals than USD has"),
        ({"amount": "5", "method": ""}, "Method is needed."),
        ({"amount": "5", "method": "gold"}, "Method is one of"),
        ({"amount": "5", "method": "card", "account": "nobody"}, "There is no account nobody."),
        ({"amount": "5", "method": "card", "received_at": "soon"}, "no date and time"),
        ({"amount": "5", "method": "card", "received_at": "2999-01-01T10:00"}, "received now, or was before"),
    ],
)
def test_what_is_wrong_is_told_beside_the_field(
    clerk: Console, money: Money, typed: dict[str, str], says: str
) -> None:
    answer = clerk.post(f"/customers/{money.customer}/pay", {**typed, "step": "show"}, 422)
    assert says in shown(answer.text)
    assert 'aria-invalid="true"' in answer.text
    if typed["amount"] not in ("",):
        assert f'value="{typed["amount"]}"' in answer.text, "what was typed stays"
    clerk.post(f"/customers/{money.customer}/pay", {**typed, "step": "do"}, 422)
    assert money.balance() == 0


def test_back_from_the_effect_to_the_form(clerk: Console, money: Money) -> None:
    path = f"/customers/{money.customer}/charge"
    _, sent = clerk.steps(path, amount="9.5", description="Modem")
    page = clerk.post(path, {**sent, "step": "edit"}).text
    assert 'value="9.5"' in page
    assert 'value="Modem"' in page
    assert hidden(page)["key"] == sent["key"]


def test_a_top_up_of_funds(clerk: Console, money: Money) -> None:
    money.invoice("100")
    done = clerk.do(f"/customers/{money.customer}/pay", amount="20", method="cash", account=f"#{money.funds}")
    assert "owes 100.00 USD owes 80.00 USD" in done
    assert "20.00 USD available" in clerk.read(f"/accounts/{money.funds}/billing")
    assert "Unpaid" in clerk.read(f"/customers/{money.customer}/invoices")
    assert "20.00" in clerk.read(f"/accounts/{money.funds}/payments")


def test_adjust_refund_charge_and_invoice(clerk: Console, money: Money) -> None:
    customer = f"/customers/{money.customer}"
    assert "owes nothing owes 12.00 USD" in clerk.do(f"{customer}/charge", amount="12", description="Modem")
    said, _ = clerk.steps(f"{customer}/invoices/new", collect="yes", issue="yes", line_1="Cabling", amount_1="88")
    assert "The invoice not issued Unpaid, 100.00 USD due" in said
    done = clerk.do(f"{customer}/invoices/new", collect="yes", issue="yes", line_1="Cabling", amount_1="88")
    assert "owes 12.00 USD owes 100.00 USD" in done
    with reading(money.world.engine, (HOME,)) as session:
        invoice = queries.due(session, money.customer)[0].id
    said = clerk.do(f"/invoices/{invoice}/adjust", direction="credit", amount="30", description="Ticket 4711")
    assert "Unpaid, 100.00 USD due Unpaid, 70.00 USD due" in said
    more = clerk.do(f"{customer}/adjust", direction="more", amount="5", description="Found", invoice=str(invoice))
    assert "owes 70.00 USD owes 75.00 USD" in more
    paid = clerk.do(f"{customer}/pay", amount="80", method="card", invoices=str(invoice))
    assert "Unallocated payments 0.00 USD 5.00 USD" in paid
    payment = re.search(r"Payment (\d+)", paid)
    assert payment is not None
    refund = f"/payments/{payment[1]}/refund"
    assert "is more than what is left" in shown(clerk.post(refund, {"amount": "90", "step": "show"}, 422).text)
    back = clerk.do(refund, amount="80", reason="Charged back")
    assert "Paid, 0.00 USD due Unpaid, 75.00 USD due" in back
    assert "was refunded already" in shown(clerk.post(refund, {"amount": "1", "step": "show"}, 409).text)
    void = clerk.do(f"/invoices/{invoice}/void", reason="Wrong customer")
    assert "void, " in void
    assert "Wrong customer" in clerk.read(f"/invoices/{invoice}")
    assert money.balance() == 12, "what it had collected is still owed"


def test_what_is_unallocated_is_allocated(clerk: Console, money: Money) -> None:
    paid, other = money.invoice("10"), money.invoice("7")
    payment = money.pay("15", invoices=(paid,))
    path = f"/payments/{payment}/allocate"
    assert f'href="{path}"' in clerk.get(f"/payments/{payment}")
    assert "5.00 USD is unallocated. Invoice" in clerk.read(path)
    more = shown(clerk.post(path, {"invoice": str(other), "amount": "6", "step": "show"}, 422).text)
    assert "is more than what is unallocated of the payment: 5.00" in more
    done = clerk.do(path, invoice=str(other), amount="")
    assert "Unallocated payments 5.00 USD 0.00 USD" in done
    assert "Unpaid, 7.00 USD due Partially paid, 2.00 USD due" in done
    assert f'href="{path}"' not in clerk.get(f"/payments/{payment}")
    money.pay("2")
    assert "no invoice is due" in clerk.read(path)
    money.invoice("1")
    assert "Nothing of the payment is unallocated" in shown(
        clerk.post(path, {"invoice": str(other + 1), "step": "show"}, 409).text
    )
    assert [each.entity_id for each in money.records("payment.allocated")][:2] == [str(payment)] * 2


def test_a_draft_is_made_and_issued(clerk: Console, money: Money) -> None:
    customer = f"/customers/{money.customer}"
    nothing = clerk.post(f"{customer}/invoices/new", {"collect": "yes", "issue": "no", "step": "show"}, 409)
    assert "There is nothing to ask for" in shown(nothing.text)
    half = clerk.post(f"{customer}/invoices/new", {"line_1": "Modem", "issue": "no", "step": "show"}, 422)
    assert "Say how much" in shown(half.text)
    done = clerk.do(f"{customer}/invoices/new", collect="no", issue="no", line_1="Modem", amount_1="9")
    assert "a draft, 9.00 USD" in done
    assert "1 draft of an invoice waits" in clerk.read(f"{customer}/billing")
    with reading(money.world.engine, (HOME,)) as session:
        page = Asked({"customer": str(money.customer)})
        row = queries.invoices(session, page, NOW.date(), Decimal(0)).rows[0]
    early = clerk.post(f"/invoices/{row.id}/issue", {"due_on": "2020-01-01", "step": "show"}, 422)
    assert "cannot have been due before" in shown(early.text)
    issued = clerk.do(f"/invoices/{row.id}/issue", due_on="")
    assert "Unpaid, 9.00 USD due" in issued
    refused = clerk.post(f"/invoices/{row.id}/issue", {"step": "show"}, 409)
    assert "Only a draft is issued" in shown(refused.text)


def test_a_page_of_what_was_done_is_of_its_customer(clerk: Console, money: Money) -> None:
    _, sent = clerk.steps(f"/customers/{money.customer}/charge", amount="1", description="x")
    clerk.post(f"/customers/{money.customer}/charge", {**sent, "step": "do"}, 303)
    other = money.world.make("customer")
    clerk.get(f"/customers/{other}/billing/done?key={sent['key']}", 404)
    clerk.get(f"/customers/{money.customer}/billing/done?key=nothing", 404)
    with reading(money.world.engine, (HOME,)) as session:
        assert session.scalars(select(Command).where(Command.key == f"page {sent['key']}")).one()


# In a browser


@pytest.fixture(scope="module")
def till(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Money]]:
    settings = prepared(tmp_path_factory.mktemp("till"))
    compose(settings)
    engine = open_engine(settings.records_url)
    world = World(engine)
    money = Money(world, world.one("customer"), world.one("account"), world.make("account", billing_model="debit"))
    for place in range(300):
        money.call(f"many {place}", "0.35")
    money.invoice("100")
    for url in serve(settings):
        yield Site(url, {}, settings), money
    engine.dispose()


@pytest.mark.browser
@pytest.mark.timeout(300)
def test_a_payment_in_a_dialog_and_pages_on_a_phone(visit: Visit, till: tuple[Site, Money]) -> None:
    site, money = till
    page = visit(site=site)
    page.context.set_default_timeout(4 * SLOW_MS)
    page.goto(f"{site.url}/customers/{money.customer}/billing")
    page.get_by_role("link", name="Make payment").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Amount")).to_be_focused()
    dialog.get_by_label("Amount").fill("60")
    dialog.get_by_role("button", name="Show what it does").click()
    expect(dialog).to_contain_text("Partially paid, 40.00 USD due")
    dialog.get_by_role("button", name="Change it").click()
    expect(dialog.get_by_label("Amount")).to_have_value("60")
    dialog.get_by_role("button", name="Show what it does").click()
    dialog.get_by_role("button", name="Take the payment").dblclick()
    expect(page).to_have_url(re.compile(r"/billing/done\?"))
    expect(page.locator("main h2")).to_contain_text("Done")
    expect(page.get_by_role("link", name="Audit record")).to_be_visible()
    assert money.balance() == Decimal("145")
    phone = visit(site=site, width=390, dark=True)
    phone.context.set_default_timeout(4 * SLOW_MS)
    for path in ("billing", "xdrs", "invoices", "payments", "pay", "invoices/new"):
        phone.goto(f"{site.url}/customers/{money.customer}/{path}")
        assert no_sideways_scroll(phone), path
    for path in ("/invoices", "/invoices/1", "/payments/1", "/xdrs/1"):
        phone.goto(site.url + path)
        assert no_sideways_scroll(phone), path
