"""The page of one entity: its head in words, its fields by section, what belongs to it, and the tabs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.billing.entities.fields import EntityType, Field, Kind
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.pages_list import VERBS, ListView
from ringback.billing.entities.pages_values import NOTHING, Shown, in_sentence

# Related lists that are a tab of their own: entity type -> (type that links to it, by which field).
TABS: dict[str, tuple[str, str]] = {
    "customer": ("account", "customer_id"),
    "tariff": ("rate", "tariff_id"),
    "product": ("account", "product_id"),
}
HIDDEN_RELATED = {("account", "access_policy_id")}  # too many, and asked for by nobody
_SHORT = ("customer", "account")  # whose overview shows what is told most often; all the rest is on a tab "Details"
_OVERVIEW: dict[str, tuple[str, ...]] = {
    "customer": ("customer_class", "balance_control", "credit_limit", "billing_period", "due_days", "company", "email",
                 "phone", "address", "city", "country", "external_id", "notes"),
    "account": ("customer_id", "product_id", "billing_model", "alias_of_id", "role", "credit_limit", "access_policy_id",
                "activation_date", "expiration_date", "service_password", "allowed_addresses"),
}  # fmt: skip
_IN_HEAD = {"customer": {"name", "balance"}, "account": {"charging_id", "balance"}}


@dataclass(frozen=True, slots=True)
class Link:
    text: str
    href: str


@dataclass(frozen=True, slots=True)
class Told:
    """A status in words."""

    text: str
    tone: str
    sign: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    facts: tuple[tuple[str, Shown, Field], ...]


@dataclass(frozen=True, slots=True)
class Related:
    """Entities of a type that link to the one shown."""

    title: str
    list: ListView
    total: int
    all_url: str
    new_url: str = ""
    empty: str = ""


@dataclass(slots=True)
class ObjectView:
    entity: EntityType
    row: Any
    title: str
    tab: str
    status: Told | None = None
    balance: tuple[str, str] | None = None
    subtitle: str = ""
    crumbs: list[Link] = field(default_factory=list)
    outside: list[Link] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    related: list[Related] = field(default_factory=list)

    @property
    def href(self) -> str:
        return f"/{self.entity.about.path}/{self.row.id}"

    @property
    def acts(self) -> list[Link]:
        """What is done to one in one step, by the verb of the flag."""
        found: list[Link] = []
        if self.entity.name == "environment":
            return found
        for each in self.entity.fields:
            if each.kind is Kind.FLAG and each.name in VERBS and not each.fixed:
                on = bool(getattr(self.row, each.name))
                verb = VERBS[each.name][on]
                found.append(Link(f"{verb} …", f"{self.href}/set/{each.name}/{'no' if on else 'yes'}"))
        return found


def tabs(
    entity: EntityType, row_id: int, reader: Principal, *, with_audit: bool = True
) -> list[tuple[str, str, str]]:
    """(key, text, href) of the tabs that there are for this reader."""
    href = f"/{entity.about.path}/{row_id}"
    found = [("overview", "Overview", href)]
    if entity.name in TABS:
        related = TYPES[TABS[entity.name][0]]
        found.append((related.name, related.about.plural, f"{href}/{tab_path(entity)}"))
    if entity.name in _SHORT:
        found.append(("timeline", "Timeline", f"{href}/timeline"))
        if reader.may(Permission.SESSIONS_READ):
            found.append(("sessions", "Sessions", f"{href}/sessions"))
        found.append(("billing", "Billing", f"{href}/billing"))
    if with_audit and reader.may(Permission.AUDIT_READ):
        found.append(("audit", "Audit log", f"{href}/audit"))
    if entity.name in _SHORT:
        found.append(("details", "Details", f"{href}/details"))
    return found


def tab_path(entity: EntityType) -> str:
    return f"{TABS[entity.name][0]}s"


def overview_fields(entity: EntityType) -> list[Field]:
    named = _OVERVIEW.get(entity.name)
    if named is None:
        return [each for each in entity.fields if each.name not in _IN_HEAD.get(entity.name, ())]
    return [entity[name] for name in named]


def sections(facts: Sequence[tuple[Field, Shown]], first: str, *, without_empty: bool = False) -> list[Section]:
    """By the section that each field names, in the description's order."""
    found: dict[str, list[tuple[str, Shown, Field]]] = {}
    for each, shown in facts:
        if without_empty and shown.soft and shown.text == NOTHING:
            continue
        found.setdefault(each.section, []).append((each.label, shown, each))
    return [Section(title or first, tuple(rows)) for title, rows in found.items()]


def links_to(entity: EntityType, all_types: Sequence[EntityType]) -> list[tuple[EntityType, Field]]:
    """The types whose entities belong to one of this type, each with the field that says so."""
    return [
        (other, each)
        for other in all_types
        for each in other.fields
        if each.kind is Kind.LINK and each.links_to == entity.name and each.filtered
    ]


def nothing_of(other: EntityType, entity: EntityType) -> str:
    return f"This {in_sentence(entity.about.label)} has no {in_sentence(other.about.plural)}."
