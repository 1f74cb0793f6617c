"""One of every entity type, made from nothing: what the tests of all types begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import undefer_group

from ringback.billing.entities.fields import SECRETS, EntityType
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.service import Given, change, create, delete
from ringback.changes.schemas import Actor
from ringback.changes.service import changing
from ringback.records.engine import UnitOfWork, reading
from ringback.records.wall import EVERYWHERE, Environments

ANN = Actor("user", "ann", "console", "1", "192.0.2.7", "r1")
BOB = Actor("user", "bob", "api", "2")
HOME = "default"
NAMES = sorted(TYPES)


_numbers = count(1)


class World:
    """Makes what an entity needs when it is needed, in one environment."""

    def __init__(self, engine: Engine, environment: str = HOME) -> None:
        self.engine = engine
        self.environment = environment
        self._made: dict[str, int] = {}

    def given(self, name: str, /, **more: object) -> dict[str, object]:
        """What makes one more entity of a type."""
        return _GIVEN[name](self, next(_numbers)) | more

    def one(self, name: str) -> int:
        """The id of the one that others link to."""
        if name not in self._made:
            self._made[name] = self.make(name)
        return self._made[name]

    def forget(self) -> None:
        """The next ones are made anew."""
        self._made.clear()

    def make(self, name: str, /, **more: object) -> int:
        given = self.given(name, **more)
        with changing(self.engine, ANN, self.environments(name)) as work:
            return create(work, TYPES[name], self.environment, given).id

    def environments(self, name: str) -> Environments:
        return EVERYWHERE if name == "environment" else (self.environment,)

    def change(self, name: str, id_: int, given: Given, version: int | None = None, actor: Actor = ANN) -> Any:
        with changing(self.engine, actor, self.environments(name)) as work:
            row, _ = change(work, TYPES[name], self.of(work, TYPES[name], id_), id_, given, version)
            return row

    def delete(self, name: str, id_: int, version: int | None = None) -> None:
        with changing(self.engine, ANN, self.environments(name)) as work:
            delete(work, TYPES[name], self.of(work, TYPES[name], id_), id_, version)

    def read(self, name: str, id_: int) -> Any:
        """Whole, with its secrets."""
        with reading(self.engine, self.environments(name)) as session:
            found: Any = session.get_one(TYPES[name].model, id_, options=[undefer_group(SECRETS)])
            return found

    def of(self, work: UnitOfWork, kind: EntityType, id_: int) -> str:
        return str(work.get_one(kind.model, id_).environment) if kind.name == "environment" else self.environment


def changed(name: str, world: World) -> dict[str, object]:
    """A change that every type can have made to what `given` makes."""
    every: dict[str, dict[str, object]] = {
        "account": {"role": "fax"}, "rating_entry": {"direction": "outgoing"}, "account_add_on": {"priority": 7},
        "account_commitment": {"fee": "19.99"}, "rate": {"price_first": "0.5", "forbidden": True},
        "did_number": {"area": "Prague"}, "sim_card": {"status": "reserved"}, "node": {"hostname": "edge.example.net"},
        "cpe": {"ports": 4}, "customer": {"company": "Acme", "credit_limit": "120.5"},
        "access_policy": {"attributes": {"Rate-Limit": "10M/2M"}}, "cpe_profile": {"parameters": {"codec": "alaw"}},
        "environment": {"time_zone": "Europe/Prague"}, "product": {"description": "For homes"},
        "tariff": {"description": "For homes"}, "connection": {"capacity": 30},
    }  # fmt: skip
    return every[name]


def luhn(digits: str) -> str:
    """With its check digit."""
    total = 0
    for place, figure in enumerate(reversed(digits)):
        value = int(figure) * (2 - place % 2)
        total += value - 9 if value > 9 else value
    return f"{digits}{-total % 10}"


def rows_of(found: Iterable[Any]) -> list[int]:
    return [row.id for row in found]


_GIVEN: dict[str, Callable[[World, int], dict[str, object]]] = {
    "environment": lambda w, n: {
        "name": f"Tenant {n}", "key": f"tenant-{n}", "currency": "EUR", "time_zone": "UTC",
    },
    "customer": lambda w, n: {
        "name": f"Customer {n}", "currency": "USD", "email": f"c{n}@example.net", "phone": f"+1 210 555 {n:04}",
        "first_name": "Jerry", "last_name": "Price", "notes": "Likes tea",
    },
    "product": lambda w, n: {"name": f"Product {n}", "currency": "USD", "subscription_fee": "9.99"},
    "account": lambda w, n: {
        "id": f"1210335{n:04}", "i_customer": w.one("customer"), "i_product": w.one("product"),
        "service_password": f"geheim-{n}", "allowed_addresses": [f"192.0.2.{n % 250}"],
    },
    "tariff": lambda w, n: {"name": f"Tariff {n}", "currency": "USD"},
    "rate": lambda w, n: {
        "i_tariff": w.one("tariff"), "prefix": f"1{n}", "destination": "Somewhere", "price_first": "0.12",
        "price_next": "0.1", "effective_from": "2026-01-01T00:00:00Z",
    },
    "rating_entry": lambda w, n: {
        "i_product": w.one("product"), "i_tariff": w.one("tariff"), "i_node": w.make("node"),
    },
    "access_policy": lambda w, n: {"name": f"Policy {n}", "regular_speed": 10_000, "turbo_speed": 20_000},
    "account_add_on": lambda w, n: {
        "i_account": w.one("account"), "i_product": w.make("product"), "effective_from": "2026-01-01",
    },
    "account_commitment": lambda w, n: {
        "name": f"Commitment {n}", "i_account": w.one("account"), "fee": "5", "minimum_term": 24,
        "assigned_from": "2026-01-01",
    },
    "connection": lambda w, n: {
        "name": f"Connection {n}", "vendor": "Carrier", "direction": "to_vendor", "address": "198.51.100.1:5060",
    },
    "node": lambda w, n: {"name": f"node-{n}", "kind": "edge", "agents": [str(n)], "addresses": [f"10.0.{n // 250}.{n % 250}"]},
    "cpe_profile": lambda w, n: {"name": f"Profile {n}", "model": "T46"},
    "cpe": lambda w, n: {
        "device_id": f"device-{n}", "model": "T46", "i_customer": w.one("customer"), "mac": f"00-1A-2B-00-00-{n % 256:02x}",
        "i_cpe_profile": w.one("cpe_profile"), "admin_password": "0000",
    },
    "did_number": lambda w, n: {"number": f"4420{n:07}", "country": "gb", "setup_fee": "1"},
    "sim_card": lambda w, n: {"iccid": luhn(f"894201{n:012}"), "imsi": f"23001{n:010}", "ki": "00" * 16},
}  # fmt: skip
