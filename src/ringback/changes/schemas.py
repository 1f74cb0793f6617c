"""What a change is: the actor, and the fact that subscribers receive."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]

SECRET = "•••"  # noqa: S105 -- stands for a secret in facts: that it was set or changed is told, never what it is
CREATED, CHANGED, DELETED, READ = "created", "changed", "deleted", "read"
REALMS = ("console", "api", "cli", "task", "engine")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it, and by which way they came."""

    kind: str  # user token task system
    name: str
    realm: str  # one of REALMS
    id: str = ""  # of the user, token or task run
    address: str = ""  # network address
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Money:
    """What a fact did to a balance."""

    amount: Decimal
    before: Decimal
    after: Decimal
    currency: str  # ISO 4217


@dataclass(slots=True, eq=False)
class Fact:
    """One thing that happened to one entity in one unit of work."""

    environment: str
    entity_type: str
    entity_id: str
    entity_name: str
    action: str  # CREATED CHANGED DELETED READ, or a room's own such as "payment.made"
    version: int | None = None  # of the entity after it
    changes: dict[str, tuple[Json, Json]] = field(default_factory=dict)  # property -> old, new
    arguments: dict[str, Json] = field(default_factory=dict)  # what else its sentence needs
    customer_id: int | None = None  # whose audit log shows it
    account_id: int | None = None
    money: Money | None = None
    cause: Fact | int | None = None  # the fact, or the id of the audit record, that led to it
    reason: str = ""
    comment: str = ""
    record_id: int | None = None  # of its audit record, once there is one
    root_id: int | None = None


class Owner(NamedTuple):
    """Whose an entity is: in which environment, of which customer and account."""

    environment: str
    customer_id: int | None = None
    account_id: int | None = None
