"""The ledger's API, as a program uses it: what it takes, what it refuses and why, keys of commands, and masks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from databases import at_once
from goods import ANN, HOME, World
from ringback.access.dependencies import require_login, require_user
from ringback.access.permissions import PERMISSIONS, Permission, Role
from ringback.access.schemas import Principal
from ringback.app import create_app
from ringback.audit.models import AuditRecord
from ringback.billing.ledger import service
from ringback.changes.service import do_changing
from ringback.records.engine import reading
from ringback.records.wall import EVERYWHERE
from ringback.settings import load_settings


def who(role: Role) -> Principal:
    return Principal("user", role.value, (HOME,), PERMISSIONS[role], 1, belongs_to=(HOME,))


class Site:
    """On SQLite: what both databases have to say alike is said by the other tests."""

    def __init__(self, client: TestClient) -> None:
        self.client, self.asks = client, who(Role.BILLING)
        app: Any = client.app
        app.dependency_overrides[require_login] = lambda: self.asks
        app.dependency_overrides[require_user] = lambda: self.asks
        self.engine = app.state.records
        self.world = World(self.engine)

    def call(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        answer = self.client.request(method, f"/api/v1/{path}", **more)
        assert answer.status_code == status, (answer.status_code, answer.text)
        return answer.json()

    def post(self, path: str, body: Any, status: int = 200, key: str = "", **more: Any) -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        return self.call("POST", path, status, json=body, headers=headers, **more)

    @contextmanager
    def asked_by(self, role: Role) -> Iterator[None]:
        before, self.asks = self.asks, who(role)
        yield
        self.asks = before


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    app = create_app(load_settings({}, data=tmp_path_factory.mktemp("ledger") / "data"))
    with TestClient(app, base_url="http://ringback.test") as client:
        yield Site(client)


@pytest.fixture
def customer(site: Site) -> int:
    site.world.forget()
    return site.world.one("customer")


CARD = {"method": "card"}


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"amount": "0", **CARD}, "amount", "more than zero"),
        ({"amount": "-5", **CARD}, "amount", "more than zero"),
        ({"amount": "1.005", **CARD}, "amount", "more decimals than USD has"),
        ({"amount": "99999999999", **CARD}, "amount", "too large"),
        ({"amount": 1.5, **CARD}, "amount", 'an amount is a text such as "12.50"'),
        ({"amount": "NaN", **CARD}, "amount", "an amount is a text"),
        ({"amount": "1e5", **CARD}, "amount", "an amount is a text"),
        ({"amount": True, **CARD}, "amount", "an amount is a text"),
        ({"amount": "5", "method": "gold"}, "method", "no method of payment"),
        ({"amount": "5", "method": "credit"}, "method", "no method of payment"),
        ({"amount": "5", **CARD, "account": 999}, "account", "no account 999"),
        ({"amount": "5", **CARD, "invoices": [999]}, "invoices", "no invoice 999"),
        ({"amount": "5", **CARD, "received_at": "2999-01-01T00:00:00Z"}, "received_at", "now, or was before"),
        ({"amount": "5", **CARD, "colour": "red"}, "colour", ""),
        ({**CARD}, "amount", ""),
    ],
)
def test_a_payment_that_is_none_is_refused(site: Site, customer: int, body: Any, field: str, says: str) -> None:
    told = site.post(f"customers/{customer}/payments", body, 422)
    assert told["field"] == field
    assert says in told["detail"]
    assert site.call("GET", f"customers/{customer}/balance")["balance"] == "0.00"


def test_nobody_else_is_found(site: Site, customer: int) -> None:
    for path, body in (
        ("customers/99999/payments", {"amount": "5", **CARD}), ("payments/99999/refund", {}),
        ("customers/99999/adjustments", {"amount": "-5", "description": "x"}), ("invoices/99999/void", {}),
        ("customers/99999/charges", {"amount": "5", "description": "x"}), ("invoices/99999/issue", {}),
        ("customers/99999/invoices", {"collect": True}), ("invoices/99999/adjust", {"amount": "-5", "description": "x"}),
        ("customers/99999999999999999999/payments", {"amount": "5", **CARD}),
    ):  # fmt: skip
        site.post(path, body, 404)
    for path in ("customers/99999/balance", "customers/99999/xdrs", "accounts/99999/xdrs", "xdrs/99999",
                 "customers/99999/payments", "payments/99999", "customers/99999/invoices", "invoices/99999"):  # fmt: skip
        site.call("GET", path, 404)


def test_a_key_makes_a_command_be_done_once(site: Site, customer: int) -> None:
    body = {"amount": "60", **CARD}
    first = site.post(f"customers/{customer}/payments", body, key="abc")
    assert site.post(f"customers/{customer}/payments", body, key="abc") == first
    assert site.post(f"customers/{customer}/payments", {"amount": "60", "comment": "", **CARD}, key="abc") == first
    assert site.post(f"customers/{customer}/payments", {"amount": "60.00", **CARD}, key="abc") == first
    other = site.post(f"customers/{customer}/payments", {"amount": "61", **CARD}, 409, key="abc")
    assert other["field"] == "Idempotency-Key"
    site.post(f"customers/{customer}/charges", {"amount": "60", "description": "x"}, 409, key="abc")
    with site.asked_by(Role.ADMINISTRATOR):
        site.post(f"customers/{customer}/payments", body, key="abc")  # the same user
    assert site.call("GET", f"customers/{customer}/balance")["balance"] == "-60.00"
    assert site.post(f"customers/{customer}/payments", body)["balance"]["after"] == "-120.00", "without a key: again"


def test_what_failed_is_tried_again_with_its_key(site: Site, customer: int) -> None:
    site.post(f"customers/{customer}/invoices", {"collect": True}, 409, key="try")
    site.post(f"customers/{customer}/charges", {"amount": "5", "description": "Modem"})
    assert site.post(f"customers/{customer}/invoices", {"collect": True}, key="try")["invoices"][0]["total"] == "5.00"


def test_one_key_at_once_is_done_once(site: Site, customer: int) -> None:
    path, body = f"customers/{customer}/payments", {"amount": "1", **CARD}
    answers = at_once(*[lambda: site.post(path, body, key=f"once-{customer}")] * 8)
    assert all(answer == answers[0] for answer in answers)
    assert site.call("GET", f"customers/{customer}/balance")["unallocated"] == "1.00"


def test_a_preview_is_what_the_command_does_and_does_nothing(site: Site, customer: int) -> None:
    site.post(f"customers/{customer}/invoices", {"lines": [{"description": "TV", "amount": "70"}]})
    with reading(site.engine, EVERYWHERE) as session:
        last = session.scalars(select(AuditRecord.id).order_by(AuditRecord.id.desc()).limit(1)).one()
    payment = {"amount": "100", **CARD}
    tried = site.post(f"customers/{customer}/payments/preview", payment)
    adjusted = site.post(f"customers/{customer}/adjustments/preview", {"amount": "-5", "description": "x"})
    assert adjusted["invoices"][0]["due"] == {"before": "70.00", "after": "65.00"}
    with reading(site.engine, EVERYWHERE) as session:
        assert session.scalars(select(AuditRecord.id).order_by(AuditRecord.id.desc()).limit(1)).one() == last
    done = site.post(f"customers/{customer}/payments", payment)
    assert (tried["i_payment"], tried["i_xdrs"]) == (None, [])
    ids: dict[str, Any] = {"i_payment": None, "i_xdrs": []}
    assert tried == done | ids
    assert done["unallocated"] == {"before": "0.00", "after": "30.00"}
    refund = f"payments/{done['i_payment']}/refund"
    tried = site.post(f"{refund}/preview", {"amount": "50"})
    assert tried["invoices"][0]["settlement"] == {"before": "paid", "after": "partially_paid"}
    assert tried == site.post(refund, {"amount": "50"}) | ids
    site.post(f"{refund}/preview", {"amount": "51"}, 422)


def test_what_is_unallocated_settles_an_invoice_that_is_chosen(site: Site, customer: int) -> None:
    paid, other = (
        site.post(f"customers/{customer}/invoices", {"lines": [{"description": "TV", "amount": amount}]})["i_invoice"]
        for amount in ("10", "7")
    )
    payment = site.post(f"customers/{customer}/payments", {"amount": "15", "invoices": [paid], **CARD})["i_payment"]
    path = f"payments/{payment}/allocate"
    tried = site.post(f"{path}/preview", {"invoice": other, "amount": "3"})
    assert tried["unallocated"] == {"before": "5.00", "after": "2.00"}
    assert site.call("GET", f"payments/{payment}")["unallocated"] == "5.00", "a preview changes nothing"
    done = site.post(path, {"invoice": other, "amount": "3"}, key=f"allocate-{other}")
    assert tried == done | {"i_payment": None, "i_invoice": None, "i_xdrs": []}
    assert (done["i_payment"], done["i_invoice"], done["i_xdrs"]) == (payment, other, [])
    assert site.post(path, {"invoice": other, "amount": "3"}, key=f"allocate-{other}") == done
    site.post(path, {"invoice": other}, 409, key=f"allocate-{other}")
    assert site.post(path, {"invoice": other})["invoices"][0]["due"] == {"before": "4.00", "after": "2.00"}
    site.post(path, {"invoice": other}, 409)
    assert site.post(path, {"invoice": 99999}, 422)["field"] == "invoice"
    assert site.post(path, {"amount": "1"}, 422)["field"] == "invoice"
    site.post("payments/99999/allocate", {"invoice": other}, 404)
    with site.asked_by(Role.SUPPORT):
        site.post(path, {"invoice": other}, 403)
        site.post(f"{path}/preview", {"invoice": other}, 403)
    told = site.call("GET", f"payments/{payment}")["allocations"]
    assert [(each["i_invoice"], each["amount"]) for each in told] == [
        (paid, "10.00"),
        (other, "3.00"),
        (other, "2.00"),
    ]


def test_an_invoice_lives(site: Site, customer: int) -> None:
    site.post(f"customers/{customer}/charges", {"amount": "5", "description": "Modem"})
    body = {"lines": [{"description": "TV", "amount": "10.00"}], "collect": True, "issue": False}
    draft = site.post(f"customers/{customer}/invoices", body)["i_invoice"]
    paper = site.client.get(f"/api/v1/invoices/{draft}/pdf")
    assert (paper.headers["content-type"], paper.content[:5]) == ("application/pdf", b"%PDF-")
    with site.asked_by(Role.READ_ONLY):
        assert "personal.read" in site.call("GET", f"invoices/{draft}/pdf", 403)["detail"]
    found = site.call("GET", f"invoices/{draft}")
    assert (found["state"], found["number"], found["settlement"], found["due"]) == ("draft", None, None, "0.00")
    assert [(line["description"], line["amount"]) for line in found["lines"]] == [("Modem", "5.00"), ("TV", "10.00")]
    site.post(f"invoices/{draft}/adjust", {"amount": "-1", "description": "x"}, 409)
    site.post(f"customers/{customer}/payments", {"amount": "1", "invoices": [draft], **CARD}, 422)
    done = site.post(f"invoices/{draft}/issue", {"due_on": "2999-01-01"})
    assert done["balance"] == {"before": "5.00", "after": "15.00"}
    site.post(f"invoices/{draft}/issue", {}, 409)
    other = site.post(f"customers/{customer}/invoices", {"lines": [{"description": "TV", "amount": "1"}]})[
        "i_invoice"
    ]
    numbers = [site.call("GET", f"invoices/{each}")["number"] for each in (draft, other)]
    assert numbers[1] == numbers[0] + 1
    site.post(f"customers/{customer}/payments", {"amount": "15", "invoices": [draft], **CARD})
    assert "is paid on it" in site.post(f"invoices/{draft}/void", {}, 409)["detail"]
    site.post(f"invoices/{other}/void", {"reason": "wrong customer"})
    assert "is void already" in site.post(f"invoices/{other}/void", {}, 409)["detail"]
    listed = site.call("GET", f"customers/{customer}/invoices?sort=-total")["invoices"]
    assert [(each["i_invoice"], each["state"], each["settlement"]) for each in listed] == [
        (draft, "issued", "paid"), (other, "void", None)
    ]  # fmt: skip
    xdrs = site.call("GET", f"customers/{customer}/xdrs?invoice={other}&sort=occurred_at")["xdrs"]
    assert [(each["kind"], each["amount"], each["corrects"]) for each in xdrs] == [
        ("charge", "1.00", None), ("correction", "-1.00", xdrs[0]["i_xdr"])
    ]  # fmt: skip
    modem = site.call("GET", f"customers/{customer}/xdrs?kind=charge&invoice={draft}&sort=occurred_at")["xdrs"][0]
    assert site.call("GET", f"xdrs/{modem['i_xdr']}")["billed_on"] == draft


def test_lists_go_on_page_by_page_in_any_order(site: Site, customer: int) -> None:
    for number in range(7):
        amount = f"{number % 3 + 1}"
        site.post(f"customers/{customer}/charges", {"amount": amount, "description": f"Charge {number}"})
        site.post(f"customers/{customer}/payments", {"amount": amount, **CARD})
        site.post(f"customers/{customer}/invoices", {"collect": True})
    for path, name, id_ in (
        ("xdrs", "xdrs", "i_xdr"),
        ("payments", "payments", "i_payment"),
        ("invoices", "invoices", "i_invoice"),
    ):
        sorts = {"xdrs": ["occurred_at"], "payments": ["id", "amount", "received_at"],
                 "invoices": ["id", "number", "total", "due", "issued_on", "due_on"]}[name]  # fmt: skip
        for sort in (each for one in sorts for each in (one, f"-{one}")):
            whole = [row[id_] for row in site.call("GET", f"customers/{customer}/{path}?sort={sort}")[name]]
            found: list[int] = []
            cursor: str | None = ""
            while cursor is not None:
                page = site.call("GET", f"customers/{customer}/{path}?sort={sort}&limit=2&cursor={cursor}")
                found += [row[id_] for row in page[name]]
                cursor = page["cursor"]
            assert found == whole, (path, sort)
            assert len(set(found)) == len(found) >= 7
        site.call("GET", f"customers/{customer}/{path}?sort=colour", 422)
        site.call("GET", f"customers/{customer}/{path}?cursor=abc", 422)
    history = site.call("GET", f"customers/{customer}/balance/history?points=1000")["points"]
    assert history[-1]["balance"] == site.call("GET", f"customers/{customer}/balance")["balance"]


def test_who_may_move_money_and_who_may_look(site: Site, customer: int) -> None:
    body = {"amount": "5", **CARD}
    for role in (Role.SUPPORT, Role.READ_ONLY, Role.NOC):
        with site.asked_by(role):
            assert "money.write" in site.post(f"customers/{customer}/payments", body, 403)["detail"]
            site.post(f"customers/{customer}/payments/preview", body, 403)
            site.call("GET", f"customers/{customer}/balance")
    for role in (Role.BILLING, Role.ADMINISTRATOR, Role.API):
        assert Permission.MONEY_WRITE in PERMISSIONS[role]


def test_with_whom_they_spoke_is_masked_and_reading_it_is_told(site: Site, customer: int) -> None:
    account = site.world.one("account")
    do_changing(
        site.engine, ANN, (HOME,),
        lambda work: service.post_usage(
            work, HOME, account, Decimal(1), session_key=f"s{account}", service="voice", caller="12103355787",
            called="442079460123", call_id="12103355787-7f3a@198.51.100.7",
        ),
    )  # fmt: skip
    for path in (f"customers/{customer}/xdrs", f"accounts/{account}/xdrs"):
        assert site.call("GET", f"{path}?service=data,messaging")["xdrs"] == []
        (found,) = site.call("GET", f"{path}?service=data,voice")["xdrs"]
        assert (found["caller"], found["called"]) == ("12103355787", "442079460123")
        with site.asked_by(Role.READ_ONLY):
            text = str(site.call("GET", path))
        for secret in ("12103355787", "442079460123", "100.7"):
            assert secret not in text
        assert "121xxxxxx87-7f3a@198.51.xxx.x" in text
    with reading(site.engine, EVERYWHERE) as session:
        reads = session.scalars(select(AuditRecord).where(AuditRecord.action == "xdrs.read")).all()
    assert [(each.entity_type, each.account_id) for each in reads] == [("customer", None), ("account", account)]


def test_who_reads_what_is_said_with_a_payment_is_told(site: Site, customer: int) -> None:
    said = {"reference": "Visa 4242", "comment": "his brother paid"}
    payment = site.post(f"customers/{customer}/payments", {"amount": "1", **said, **CARD})["i_payment"]

    def reads() -> int:
        with reading(site.engine, EVERYWHERE) as session:
            mine = AuditRecord.customer_id == customer, AuditRecord.action == "read"
            return len(session.scalars(select(AuditRecord).where(*mine)).all())

    with site.asked_by(Role.READ_ONLY):
        for path in (f"customers/{customer}/payments", f"payments/{payment}"):
            text = str(site.call("GET", path))
            assert "4242" not in text
            assert "brother" not in text
    assert reads() == 0
    assert site.call("GET", f"customers/{customer}/payments?method=cash")["payments"] == []
    assert reads() == 0, "nothing was said there"
    assert site.call("GET", f"customers/{customer}/payments")["payments"][0]["comment"] == "his brother paid"
    assert site.call("GET", f"payments/{payment}")["reference"] == "Visa 4242"
    assert reads() == 2


def test_the_first_answer_is_masked_for_who_sees_less_since(site: Site, customer: int) -> None:
    account = site.world.make("account", id="12103355787", billing_model="debit")
    path, body = f"customers/{customer}/payments", {"amount": "5", "account": account, **CARD}
    first = site.post(path, body, key="personal")
    assert first["accounts"][0]["id"] == "12103355787"
    before, site.asks = site.asks, replace(site.asks, permissions=site.asks.permissions - {Permission.PERSONAL_READ})
    again = site.post(path, body, key="personal")
    site.asks = before
    assert again["accounts"][0]["id"] == "121xxxxxx87"
    assert again["balance"] == first["balance"]


@pytest.mark.parametrize(
    "asked", ["xdrs?kind=usage", "xdrs?service=fax", "payments?method=gold", "invoices?state=sent", "invoices?settlement=late"]
)  # fmt: skip
def test_a_list_of_what_is_not_there_is_no_empty_list(site: Site, customer: int, asked: str) -> None:
    told = site.call("GET", f"customers/{customer}/{asked}", 422)
    assert told["field"] == asked.partition("?")[2].partition("=")[0]
    assert "is none of" in told["detail"]


def test_who_has_a_history_is_not_deleted(site: Site, customer: int) -> None:
    account = site.world.one("account")
    site.post(f"customers/{customer}/charges", {"amount": "5", "description": "Modem", "account": account})
    site.post(f"customers/{customer}/adjustments", {"amount": "-5", "description": "Back", "account": account})
    assert site.call("GET", f"customers/{customer}/balance")["balance"] == "0.00"
    told = site.call("DELETE", f"accounts/{account}", 409)
    assert "2 xDRs" in told["detail"]
    assert {"type": "xdr", "count": 2, "url": f"/api/v1/accounts/{account}/xdrs"} in told["uses"]
    assert "2 xDRs" in site.call("DELETE", f"customers/{customer}", 409)["detail"]
    named = site.world.make("account", id="on a draft only")
    line = {"description": "Modem", "amount": "5", "account": named}
    site.post(f"customers/{customer}/invoices", {"lines": [line, line], "issue": False})
    told = site.call("DELETE", f"accounts/{named}", 409)
    assert {"type": "invoice", "count": 1, "url": f"/api/v1/customers/{customer}/invoices"} in told["uses"]


def test_what_is_asked_twice_of_a_currency_without_decimals(site: Site) -> None:
    site.world.forget()
    yen = site.world.make("customer", currency="JPY")
    told = site.post(f"customers/{yen}/payments", {"amount": "1.5", **CARD}, 422)
    assert "more decimals than JPY has" in told["detail"]
    assert site.post(f"customers/{yen}/payments", {"amount": 100, **CARD})["balance"]["after"] == "-100"
