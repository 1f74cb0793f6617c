"""Story 2, the September invoice, as a program lives it: by the API alone, on a clock that stands still between the steps."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from actors import by_tester
from ringback import clock
from ringback.access.permissions import Permission
from ringback.access.tokens import create_token
from ringback.app import create_app
from ringback.audit.relay import rebuild
from ringback.billing.ledger.commands import notice
from ringback.changes.schemas import Actor
from ringback.settings import Settings, load_settings

pytestmark = pytest.mark.story2
OVERDUE = Actor("task", "overdue handling", "task", "312")


class Program:
    """With a token, on a day."""

    def __init__(self, client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        self.client, self.settings = client, settings
        self.now_us = clock.to_us(datetime(2026, 9, 1, 9, tzinfo=UTC))
        monkeypatch.setattr(clock, "now_us", lambda: self.now_us)
        with by_tester(client.app.state.records) as work:  # type: ignore[attr-defined]
            token = create_token(work, "crm", scopes=tuple(Permission))
        client.headers["Authorization"] = f"Bearer {token}"

    def on(self, month: int, day: int, hour: int = 9) -> None:
        self.now_us = clock.to_us(datetime(2026, month, day, hour, tzinfo=UTC))

    def post(self, path: str, body: dict[str, Any], status: int = 200) -> Any:
        answer = self.client.post(f"/api/v1/{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def get(self, path: str) -> Any:
        answer = self.client.get(f"/api/v1/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def audit(self, **asked: str) -> list[dict[str, Any]]:
        """What changed, the oldest first."""
        rebuild(self.settings)
        answer = self.client.get("/api/v1/audit", params={"kind": "change", **asked})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["records"]
        return found[::-1]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    settings = load_settings({}, data=tmp_path / "data")
    with TestClient(create_app(settings), base_url="http://ringback.test") as client:
        yield Program(client, settings, monkeypatch)


def test_the_september_invoice(program: Program) -> None:
    customer = program.post("customers", {"name": "Jerry Price", "currency": "USD", "due_days": 14}, 201)[
        "i_customer"
    ]
    product = program.post("products", {"name": "Standard TV", "currency": "USD"}, 201)["i_product"]
    program.post("accounts", {"id": "12103355787", "i_customer": customer, "i_product": product}, 201)
    program.on(9, 30)
    program.post(f"customers/{customer}/charges", {"amount": "79.50", "description": "Standard TV, September"})
    program.post(f"customers/{customer}/charges", {"amount": "20.50", "description": "14 calls"})

    program.on(10, 1)
    issued = program.post(
        f"customers/{customer}/invoices", {"collect": True, "period_from": "2026-09-01", "period_to": "2026-09-30"}
    )
    invoice = issued["i_invoice"]
    assert issued["balance"] == {"before": "100.00", "after": "100.00"}, "what it asks for was charged before"
    found = program.get(f"invoices/{invoice}")
    assert (found["total"], found["due"], found["settlement"]) == ("100.00", "100.00", "unpaid")
    assert (found["issued_on"], found["due_on"]) == ("2026-10-01", "2026-10-15")

    program.on(10, 5)
    body = {"amount": "-30.00", "description": "Two calls were charged twice (ticket 4711)"}
    tried = program.post(f"invoices/{invoice}/adjust/preview", body)
    assert tried["balance"] == {"before": "100.00", "after": "70.00"}
    assert program.get(f"customers/{customer}/balance")["balance"] == "100.00", "a preview changes nothing"
    adjusted = program.post(f"invoices/{invoice}/adjust", body)
    assert adjusted["balance"] == {"before": "100.00", "after": "70.00"}
    assert adjusted["invoices"][0]["due"] == {"before": "100.00", "after": "70.00"}

    program.on(10, 12)
    paid = program.post(
        f"customers/{customer}/payments", {"amount": "60.00", "method": "card", "reference": "Visa 4242"}
    )
    assert paid["balance"] == {"before": "70.00", "after": "10.00"}
    assert paid["invoices"][0]["settlement"] == {"before": "unpaid", "after": "partially_paid"}

    program.on(10, 15, hour=23)
    assert notice(program.client.app.state.records, OVERDUE) == {"default": 0}  # type: ignore[attr-defined]
    assert program.get(f"invoices/{invoice}")["settlement"] == "partially_paid", "its last day is not over"
    program.on(10, 16, hour=0)
    assert program.get(f"invoices/{invoice}")["settlement"] == "overdue"
    assert notice(program.client.app.state.records, OVERDUE) == {"default": 1}  # type: ignore[attr-defined]
    assert notice(program.client.app.state.records, OVERDUE) == {"default": 0}  # type: ignore[attr-defined]
    balance = program.get(f"customers/{customer}/balance")
    assert (balance["balance"], balance["due"], balance["overdue"]) == ("10.00", "10.00", "10.00")
    assert [row["i_invoice"] for row in program.get("invoices?settlement=overdue")["invoices"]] == [invoice]

    log = program.audit(**{"from": "2026-10-01T00:00:00Z", "to": "2026-11-01T00:00:00Z", "customer": str(customer)})
    assert [record["sentence"] for record in log] == [
        "Invoice 1 of 100.00 was issued to customer Jerry Price; it is due on 15 Oct 2026.",
        "Invoice 1 was adjusted by -30.00: Two calls were charged twice (ticket 4711) (xDR 3); 70.00 is due.",
        "Balance of customer Jerry Price changed from 100.00 to 70.00 (decreased by 30.00). Source: adjustment (xDR 3).",
        "Payment 1 of 60.00 by card was received from customer Jerry Price (xDR 4).",
        "60.00 of payment 1 went to invoice 1.",
        "Balance of customer Jerry Price changed from 70.00 to 10.00 (decreased by 60.00). Source: customer payment (xDR 4).",
        "Status of invoice 1 changed from Unpaid to Partially paid: 10.00 of 70.00 is due.",
        "Status of invoice 1 changed from Partially paid to Overdue: 10.00 of 70.00 was due on 15 Oct 2026.",
    ]
    issue, adjust, after_adjust, pay, allocated, after_pay, partly, overdue = log
    assert (adjust["cause_id"], after_adjust["cause_id"]) == (issue["id"], adjust["id"])
    assert {allocated["cause_id"], after_pay["cause_id"], partly["cause_id"]} == {pay["id"]}
    assert overdue["cause_id"] == partly["id"], "from overdue one walks to the payment that fell short"
    assert (overdue["actor"], overdue["root_id"]) == ("overdue handling", pay["id"])
    money = [(each["amount"], each["balance_before"], each["balance_after"]) for each in (adjust, pay)]
    assert money == [("-30.00000", "100.00000", "70.00000"), ("-60.00000", "70.00000", "10.00000")]
    chain = program.get(f"audit/{overdue['id']}/chain")
    assert [node["record"]["id"] for node in chain["nodes"] if node["relation"] == "cause"] == [
        pay["id"],
        partly["id"],
    ]


def test_a_payment_that_finds_nothing_to_settle(program: Program) -> None:
    customer = program.post("customers", {"name": "Jerry Price", "currency": "USD"}, 201)["i_customer"]
    program.post(f"customers/{customer}/payments", {"amount": "10", "method": "cash"})
    paid = program.post(f"customers/{customer}/payments", {"amount": "60.00", "method": "card"})
    assert paid["unallocated"] == {"before": "10.00", "after": "70.00"}
    program.on(9, 2)
    log = program.audit(action="unallocated.changed", customer=str(customer))
    xdr = paid["i_xdrs"][0]
    assert log[-1]["sentence"] == (
        f"Unallocated payments changed from 10.00 to 70.00 (increased by 60.00). Source: customer payment (xDR {xdr})."
    )
