"""Pages of money: what they show, to whom, and that looking is recorded."""

from __future__ import annotations

import csv
import html
import io
import re
from datetime import timedelta
from decimal import Decimal

import pytest
from money_console import NOW, Console, Money, console, shown
from pypdf import PdfReader

from goods import HOME, World
from ringback.access.permissions import Role
from ringback.billing.ledger import service
from ringback.billing.ledger.pages_plot import HEIGHT, plot
from ringback.billing.ledger.queries import Point
from ringback.web.formats import UTC as UTC_ZONE

# The balance


def test_a_balance_with_nothing_says_so(clerk: Console, money: Money) -> None:
    said = clerk.read(f"/customers/{money.customer}/billing")
    assert "owes nothing" in said
    assert "Nothing moved this balance yet" in said
    assert "Nothing is due." in said
    for part in ("xdrs", "invoices", "payments"):
        assert "Nothing here yet" in clerk.read(f"/customers/{money.customer}/{part}")
    assert "no funds available" in clerk.read(f"/accounts/{money.funds}/billing")
    clerk.get("/customers/999999/billing", 404)
    clerk.get("/accounts/999999/xdrs", 404)


def test_a_balance_in_words_in_figures_and_plotted(clerk: Console, money: Money) -> None:
    money.call("k1", "3.5")
    invoice = money.invoice("100")
    money.pay("60")
    page = clerk.get(f"/customers/{money.customer}/billing")
    said = shown(page)
    assert "owes 43.50 USD" in said
    for figure in ("Due on invoices 40.00 USD", "Of this overdue 0.00 USD", "Not invoiced yet 3.50 USD",
                   "Unallocated payments 0.00 USD", "Left to the credit limit no limit"):  # fmt: skip
        assert figure in said
    assert re.search(r'<path class="steps" d="M0 [\d.]+H[\d.]+V[\d.]+', page)
    assert re.search(r"43.50 USD owes 43.50 USD xDR \d+", said), "in the table under the plot"
    assert f'href="/invoices/{invoice}"' in page
    assert "Voice to 442079460101" in said
    of_account = clerk.read(f"/accounts/{money.account}/billing")
    assert "owes 3.50 USD" in of_account
    assert "Payment by card" not in of_account


def test_a_plot_goes_in_steps_and_begins_with_what_was_before() -> None:
    start, end = NOW - timedelta(days=10), NOW
    points = [Point(start - timedelta(days=5), Decimal(20), 1), Point(start + timedelta(days=5), Decimal(-20), 2)]
    drawn = plot(points, start, end, "USD", UTC_ZONE)
    assert drawn is not None
    assert drawn.line == "M0 10.0H0.0V10.0H500.0V140.0H1000"
    assert drawn.zero == HEIGHT / 2
    assert [step.words for step in drawn.steps] == ["owes 20.00 USD", "20.00 USD in credit"]
    assert drawn.ticks == ("10 Oct 2026", "13 Oct 2026", "15 Oct 2026", "18 Oct 2026", "20 Oct 2026")
    assert plot([], start, end, "USD", UTC_ZONE) is None
    limited = plot(points, start, end, "USD", UTC_ZONE, limit=Decimal(25))
    assert limited is not None
    assert "credit limit 25.00" in [guide.text for guide in limited.guides]


# Lists


def test_xdrs_are_filtered_paged_and_exported(clerk: Console, money: Money) -> None:
    for place in range(60):
        money.call(f"many {place}", "0.1")
    money.do(lambda work: service.charge(work, HOME, money.customer, Decimal(5), "=1+1", account_id=money.account))
    base = f"/customers/{money.customer}/xdrs"
    first = clerk.get(base)
    assert first.count('class="title-cell"') == 50
    following = re.search(r'href="([^"]+cursor=[^"]+)" rel="next"', first)
    assert following is not None
    assert clerk.get(html.unescape(following[1])).count('class="title-cell"') == 11
    assert clerk.get(f"{base}?service=voice&sort=occurred_at").count('class="title-cell"') == 50
    only = clerk.get(f"{base}?kind=charge&service=&call_id=many+3%40edge")
    assert only.count('class="title-cell"') == 1
    assert "Call-ID: many 3@edge" in shown(only)
    assert "Nothing matches" in clerk.read(f"{base}?service=iptv")
    assert "Nothing matches" in clerk.read(f"{base}?to=2020-01-01")
    account = f"{base}?account=%23{money.account}"
    assert clerk.get(account).count('class="title-cell"') == 50
    rows = list(csv.DictReader(io.StringIO(clerk.get(f"/customers/{money.customer}/xdrs.csv?kind=charge"))))
    assert len(rows) == 61
    assert rows[0]["description"] == "'=1+1", "no formula"
    assert Decimal(rows[0]["balance_after"]) == Decimal(11)
    assert rows[1]["called"] == "442079460101"
    assert len(list(csv.DictReader(io.StringIO(clerk.get(f"{base}.csv?service=voice"))))) == 60


@pytest.mark.parametrize(
    ("query", "says"),
    [("kind=gold", "none of Charge"), ("from=yesterday", "is no day such as"), ("account=nobody", "no account nobody"),
     ("invoice=x", "is no id")],
)  # fmt: skip
def test_a_filter_that_is_none_is_told_beside_it(clerk: Console, money: Money, query: str, says: str) -> None:
    said = clerk.read(f"/customers/{money.customer}/xdrs?{query}", 400)
    assert says in said
    assert "Nothing was searched" in said


def test_a_cursor_of_elsewhere_shows_the_first_page(clerk: Console, money: Money) -> None:
    money.call("one", "1")
    said = clerk.read(f"/customers/{money.customer}/xdrs?cursor=nonsense")
    assert "cannot go on from there" in said
    assert "Voice to" in said


def test_invoices_of_all_customers_by_status(clerk: Console, money: Money) -> None:
    paid, unpaid = money.invoice("12"), money.invoice("34")
    money.pay("12", invoices=(paid,))
    draft = money.invoice("56", issued=False)
    name = f"/invoices?customer=%23{money.customer}"
    assert clerk.get(name).count('class="title-cell"') == 3
    for query, found in (("settlement=paid", paid), ("settlement=unpaid", unpaid), ("state=draft", draft)):
        text = clerk.get(f"{name}&{query}")
        assert text.count('class="title-cell"') == 1
        assert f'href="/invoices/{found}"' in text
    assert "Nothing matches" in clerk.read(f"{name}&settlement=overdue")
    assert clerk.get(f"{name}&due_from=2020-01-01&sort=-total").count('class="title-cell"') == 2
    assert clerk.get(f"/customers/{money.customer}/invoices?settlement=paid,unpaid").count('class="title-cell"') == 2


# One of each


def test_an_invoice_tells_how_what_is_due_came_about(clerk: Console, money: Money) -> None:
    invoice = money.invoice("60", "40")
    money.do(lambda work: service.adjust(work, HOME, money.customer, Decimal(-30), "Ticket 4711", invoice_id=invoice))
    payment = money.pay("60", reference="Visa 4242")
    said = clerk.read(f"/invoices/{invoice}")
    for words in ("Partially paid", "10.00 USD due on", "Lines 100.00", "Adjustments -30.00", "Paid -60.00",
                  "Due 10.00 USD", "Ticket 4711", f"Payment {payment}"):  # fmt: skip
        assert words in said, words
    money.do(lambda work: service.refund(work, HOME, payment, Decimal(25)))
    said = clerk.read(f"/invoices/{invoice}")
    assert "Due 35.00 USD" in said
    assert said.count(f"Payment {payment}") == 2, "what was taken back stays, and what is left of it"
    about = clerk.read(f"/payments/{payment}")
    for words in ("Partly refunded", "On invoices 35.00", "Unallocated 0.00", "Refunded 25.00", "Visa 4242"):
        assert words in about, words
    clerk.get("/invoices/999999", 404)
    clerk.get("/payments/999999", 404)
    clerk.get("/xdrs/999999", 404)


def test_an_xdr_leads_to_its_call_and_the_call_to_it(clerk: Console, money: Money) -> None:
    at = NOW
    xdr = money.call("traced", "0.05", started_at=at - timedelta(seconds=61), ended_at=at, cause="16")
    page = clerk.get(f"/xdrs/{xdr}")
    assert "call_id=traced%40edge&amp;from=2026-10-20T10%3A58%3A59" in page
    for words in ("12105550100", "442079460101", "Charged for 2 min 00 s", "on none yet",
                  "Why it ended Normal call clearing Q.850 cause 16", "USD of the account"):  # fmt: skip
        assert words in shown(page), words
    assert (
        clerk.client.get("/xdrs?call_id=traced%40edge", follow_redirects=False).headers["location"] == f"/xdrs/{xdr}"
    )
    assert "Nothing was charged" in clerk.read("/xdrs?call_id=unknown", 404)
    clerk.get("/xdrs", 400)


@pytest.mark.parametrize(("cause", "told"), [
    ("17", "User busy Q.850 cause 17"), ("487", "SIP 487 status code of the Reason header"), ("User-Request", "User-Request"),
    ("199", "199"), ("lost", "Nobody told of its end"),
])  # fmt: skip
def test_why_a_call_ended(clerk: Console, money: Money, cause: str, told: str) -> None:
    assert f"Why it ended {told} " in shown(clerk.get(f"/xdrs/{money.call(f'ended {cause}', '0.05', cause=cause)}"))


def test_the_document_of_an_invoice(clerk: Console, money: Money) -> None:
    world = money.world
    world.change("customer", money.customer, {"name": f"Žofie Nováková, Ωmega 中 {money.customer}", "city": "Praha",
                                              "address": "Elm Street 1"})  # fmt: skip
    invoice = money.invoice("1100.5", "4")
    money.do(lambda work: service.adjust(work, HOME, money.customer, Decimal(-30), "Goodwill", invoice_id=invoice))
    money.pay("60")
    world.change("customer", money.customer, {"name": f"Somebody else {money.customer}", "city": "Brno"})
    answer = clerk.client.get(f"/invoices/{invoice}/pdf")
    assert answer.headers["content-type"] == "application/pdf"
    reader = PdfReader(io.BytesIO(answer.content))
    text = " ".join(page.extract_text() for page in reader.pages).replace("\xa0", " ")
    number = re.search(r"Invoice (\d+)", text)
    assert number is not None
    for words in ("Žofie Nováková, Ωmega ?", "Praha", "Elm Street 1", "1 100.50", "Adjustment: Goodwill", "-30.00",
                  "To be paid: 1 014.50 USD", "does not have stand as"):  # fmt: skip
        assert words in text, words
    assert "Somebody else" not in text
    assert "Brno" not in text
    box = reader.pages[0].mediabox
    assert (round(box.width), round(box.height)) == (595, 842), "A4"
    draft = money.invoice(*["1"] * 80, issued=False)
    reader = PdfReader(io.BytesIO(clerk.client.get(f"/invoices/{draft}/pdf").content))
    assert len(reader.pages) > 1
    assert "This is a draft" in reader.pages[0].extract_text()
    assert "page 2 of" in reader.pages[1].extract_text()


# Who may


def test_who_may_not_act_sees_no_button_and_is_refused(world: World, money: Money) -> None:
    invoice, support = money.invoice("10"), console(world, Role.SUPPORT)
    payment = money.pay("4")
    page = support.get(f"/customers/{money.customer}/billing")
    assert "Make payment" not in page
    assert "Make void" not in support.get(f"/invoices/{invoice}")
    for path in (f"/customers/{money.customer}/pay", f"/customers/{money.customer}/adjust",
                 f"/customers/{money.customer}/charge", f"/customers/{money.customer}/invoices/new",
                 f"/payments/{payment}/refund", f"/payments/{payment}/allocate", f"/invoices/{invoice}/adjust",
                 f"/invoices/{invoice}/issue", f"/invoices/{invoice}/void"):  # fmt: skip
        assert "money.write" in support.read(path, 403)
        support.post(path, {"step": "do"}, 403)
    assert money.balance() == 6


def test_who_may_not_see_people_sees_masks(world: World, money: Money) -> None:
    xdr, invoice = money.call("masked", "1"), money.invoice("10")
    name = money.world.read("customer", money.customer).name
    number = money.world.read("account", money.account).charging_id
    reader = console(world, Role.READ_ONLY)
    for path in (f"/customers/{money.customer}/billing", f"/customers/{money.customer}/xdrs", f"/xdrs/{xdr}",
                 f"/invoices/{invoice}", f"/accounts/{money.account}/xdrs", "/invoices"):  # fmt: skip
        text = reader.get(path)
        assert "Personal data is masked" in text
        for secret in ("442079460101", "12105550100", f"{name}<", number, "@edge", "%40edge"):
            assert secret not in text, (path, secret)
    exported = reader.get(f"/customers/{money.customer}/xdrs.csv")
    assert "442079460101" not in exported
    assert "@edge" not in exported
    assert f"/accounts/{money.account}/sessions?from=" in reader.get(f"/xdrs/{xdr}")
    assert "personal.read" in reader.read(f"/invoices/{invoice}/pdf", 403)


def test_looking_at_numbers_is_recorded(clerk: Console, money: Money) -> None:
    money.call("seen", "1")
    clerk.get(f"/customers/{money.customer}/xdrs")
    assert len(money.records("xdrs.read")) == 1
    clerk.get(f"/customers/{money.customer}/xdrs.csv")
    assert len(money.records("xdrs.read")) == 2
