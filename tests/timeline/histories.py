"""Customers with a history: sessions in a real event store, money by the ledger's commands, changes recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from unittest.mock import patch

from sqlalchemy import Engine

from audited import ANN, add_account, add_customer, add_product
from ringback import clock
from ringback.access.permissions import PERMISSIONS, Role
from ringback.access.schemas import Principal
from ringback.billing.entities.models import Account
from ringback.billing.ledger import service
from ringback.billing.ledger.schemas import Effect, Line
from ringback.changes.service import do_changing
from ringback.events.store import Batch, EventStore, LegRow
from ringback.events.store import Role as Seen
from ringback.records.engine import UnitOfWork

HOME = "default"
SECOND = 1_000_000
NOON = 1_795_348_800_000_000  # 2026-11-22T12:00:00Z


def reader(role: Role = Role.ADMINISTRATOR) -> Principal:
    return Principal("user", role.value, (HOME,), PERMISSIONS[role], 1, belongs_to=(HOME,))


@contextmanager
def at(us: int) -> Iterator[None]:
    """The clock stands still."""
    with patch.object(clock, "now_us", lambda: us):
        yield


class History:
    """Of one customer with one account. What is done is done at the time that is given."""

    _made = 0

    def __init__(self, engine: Engine, events: EventStore, name: str = "Jerry Price", us: int = NOON) -> None:
        History._made += 1
        self.engine, self.events = engine, events
        self.number = f"1210335{History._made:04}"
        self._calls = 0

        def make(work: UnitOfWork) -> tuple[int, int]:
            customer = add_customer(work, f"{name} {self.number}")
            account = add_account(work, customer, add_product(work, f"Product {History._made}"), self.number)
            return customer.id, account.id

        self.customer, self.account = self._do(us, make)

    def charge(self, us: int, text: str = "Modem") -> None:
        self._do(
            us,
            lambda work: service.charge(work, HOME, self.customer, Decimal("1.5"), text, account_id=self.account),
        )

    def use(self, us: int, call_id: str, called: str = "18660333777", seconds: int = 120) -> None:
        self._do(
            us,
            lambda work: service.post_usage(
                work, HOME, self.account, Decimal("0.12"), session_key=f"{self.number} {call_id}", service="voice",
                seconds=61, charged_seconds=seconds, caller=self.number, called=called, call_id=call_id,
                rate=(1, "1866", "USA toll free"), ended_at=clock.from_us(us),
            ),
        )  # fmt: skip

    def pay(self, us: int, amount: str = "60") -> None:
        self._do(us, lambda work: service.pay(work, HOME, self.customer, Decimal(amount), method="card"))

    def invoice(self, us: int, amount: str = "100") -> int:
        line = [Line("Standard TV", Decimal(amount))]
        done: Effect = self._do(us, lambda work: service.draft(work, HOME, self.customer, lines=line, issued=True))
        assert done.invoice_id is not None
        return done.invoice_id

    def void(self, us: int, invoice: int) -> None:
        self._do(us, lambda work: service.void(work, HOME, invoice, "a mistake"))

    def block(self, us: int, blocked: bool = True) -> None:
        def do(work: UnitOfWork) -> None:
            work.get_one(Account, self.account).blocked = blocked

        self._do(us, do)

    def call(self, us: int, outcome: str = "failed", called: str = "18660333777", **more: Any) -> str:
        """Its Call-ID. A refused call, unless it is told otherwise."""
        self._calls += 1
        call_id = f"{self.number}-{self._calls}@198.51.100.7"
        row = LegRow(
            HOME, call_id, "call", "INVITE", us, us + SECOND, caller=self.number, called=called, outcome=outcome,
            code=403 if outcome == "failed" else 200, phrase="Forbidden" if outcome == "failed" else "OK",
            addresses=["198.51.100.7"], agents=["101"], messages=3,
            numbers={self.number: Seen.FROM, called: Seen.TO | Seen.REQUEST_URI}, **more,
        )  # fmt: skip
        self.events.write(Batch([row], []))
        return call_id

    def _do(self, us: int, act: Any) -> Any:
        with at(us):
            return do_changing(self.engine, ANN, (HOME,), act)
