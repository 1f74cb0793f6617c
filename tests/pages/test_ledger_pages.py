"""Pages of money: what they show, who may act, and that an act shows its effect, is done once, and is told when stale."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from argon2 import PasswordHasher
from browser_site import PASSWORD, SLOW_MS, Site, Visit, no_sideways_scroll, prepared, serve
from playwright.sync_api import expect
from pypdf import PdfReader
from sqlalchemy import select
from starlette.testclient import TestClient

from actors import by_tester
from goods import ANN, HOME, World
from ringback.access import passwords
from ringback.access.permissions import Role
from ringback.access.service import add_user
from ringback.app import create_app
from ringback.audit.models import AuditRecord
from ringback.billing.ledger import queries, service
from ringback.billing.ledger.models import Command, Payment
from ringback.billing.ledger.pages_plot import HEIGHT, plot
from ringback.billing.ledger.paging import Asked
from ringback.billing.ledger.queries import Point
from ringback.billing.ledger.schemas import Effect, Line
from ringback.changes.service import do_changing
from ringback.composition import compose
from ringback.records.engine import open_engine, reading
from ringback.settings import load_settings
from ringback.web.formats import UTC as UTC_ZONE

NOW = datetime(2026, 10, 20, 12, tzinfo=UTC)


def shown(text: str) -> str:
    """What somebody reads: without markup, spaces folded."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", text))).replace("\u202f", "")


@dataclass
class Console:
    """One reader's browser, without scripts."""

    client: TestClient
    csrf: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path)
        assert answer.status_code == status, (path, answer.status_code, shown(answer.text)[:400])
        return answer.text

    def read(self, path: str, status: int = 200) -> str:
        return shown(self.get(path, status))

    def post(self, path: str, data: Mapping[str, object], status: int = 200) -> httpx2.Response:
        answer = self.client.post(path, data=dict(data) | self.csrf, follow_redirects=False)
        assert answer.status_code == status, (path, answer.status_code, shown(answer.text)[:600])
        return answer

    def steps(self, path: str, **typed: object) -> tuple[str, dict[str, str]]:
        """To the second step: what it says, and what its form would send."""
        key = hidden(self.get(path))["key"]
        text = self.post(path, {**typed, "key": key, "step": "show"}).text
        return shown(text), hidden(text)

    def do(self, path: str, **typed: object) -> str:
        """All three steps: the last page."""
        _, sent = self.steps(path, **typed)
        answer = self.post(path, {**sent, "step": "do"}, 303)
        return self.read(answer.headers["location"])


def hidden(text: str) -> dict[str, str]:
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', text)
    return {name: html.unescape(value) for name, value in found if name not in ("csrf_token", "next")}


@dataclass
class Money:
    """A customer with an invoice of 100.00 and one account of each kind."""

    world: World
    customer: int
    account: int
    funds: int

    def do(self, act: Any) -> Effect:
        found: Effect = do_changing(self.world.engine, ANN, (HOME,), act)
        return found

    def invoice(self, *amounts: str, issued: bool = True, **more: Any) -> int:
        lines = [Line(f"Line {place}", Decimal(amount)) for place, amount in enumerate(amounts, 1)]
        done = self.do(lambda work: service.draft(work, HOME, self.customer, lines=lines, issued=issued, **more))
        return done.invoice_id or 0

    def pay(self, amount: str, **more: Any) -> int:
        done = self.do(lambda work: service.pay(work, HOME, self.customer, Decimal(amount), method="card", **more))
        return done.payment_id or 0

    def call(self, key: str, amount: str, **more: Any) -> int:
        made = do_changing(
            self.world.engine, ANN, (HOME,),
            lambda work: service.post_usage(
                work, HOME, self.account, Decimal(amount), session_key=key, service="voice", seconds=61,
                charged_seconds=120, caller="12105550100", called="442079460101", call_id=f"{key}@edge", **more,
            ),
        )  # fmt: skip
        assert made is not None
        return made.id

    def balance(self) -> Decimal:
        with reading(self.world.engine, (HOME,)) as session:
            return queries.customer(session, self.customer).balance

    def records(self, action: str) -> list[AuditRecord]:
        asked = select(AuditRecord).where(AuditRecord.action == action, AuditRecord.customer_id == self.customer)
        with reading(self.world.engine, (HOME,)) as session:
            return list(session.scalars(asked.order_by(AuditRecord.id)))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    settings = load_settings({}, data=tmp_path_factory.mktemp("money"))
    kept = passwords._hasher
    passwords._hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    with TestClient(create_app(settings), base_url="http://ringback.test") as client:
        engine = client.app.state.records  # type: ignore[attr-defined]
        with by_tester(engine) as work:
            for role in (Role.BILLING, Role.READ_ONLY, Role.SUPPORT):
                add_user(work, role, PASSWORD, role)
        made = World(engine)
        made.app = client.app  # type: ignore[attr-defined]
        yield made
    passwords._hasher = kept


def console(world: World, role: Role) -> Console:
    client = TestClient(world.app, base_url="http://ringback.test")  # type: ignore[attr-defined]
    answer = client.post("/login", data={"name": role, "password": PASSWORD})
    assert answer.status_code == 200, answer.text[:200]
    token = re.search(r'name="csrf-token" content="([^"]+)"', client.get("/profile").text)
    assert token is not None
    return Console(client, {"csrf_token": token[1]})


@pytest.fixture(scope="module")
def clerk(world: World) -> Console:
    """Of billing: may do everything with money."""
    return console(world, Role.BILLING)


@pytest.fixture
def money(world: World) -> Money:
    world.forget()
    customer = world.one("customer")
    return Money(world, customer, world.one("account"), world.make("account", billing_model="debit"))


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


# Acts


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
