"""A customer with money, and a console without scripts to look at it and act on it."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx2
from browser_site import PASSWORD
from sqlalchemy import select
from starlette.testclient import TestClient

from goods import ANN, HOME, World
from ringback.access.permissions import Role
from ringback.audit.models import AuditRecord
from ringback.billing.ledger import queries, service
from ringback.billing.ledger.schemas import Effect, Line
from ringback.changes.service import do_changing
from ringback.records.engine import reading

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


def console(world: World, role: Role) -> Console:
    client = TestClient(world.app, base_url="http://ringback.test")  # type: ignore[attr-defined]
    answer = client.post("/login", data={"name": role, "password": PASSWORD})
    assert answer.status_code == 200, answer.text[:200]
    token = re.search(r'name="csrf-token" content="([^"]+)"', client.get("/profile").text)
    assert token is not None
    return Console(client, {"csrf_token": token[1]})
