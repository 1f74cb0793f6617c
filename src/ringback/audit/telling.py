"""Audit records as people read them: a sentence, old and new values in words, links by their names, and masks for readers
who may not see personal data. Pages, API and exports all take records from here and from nowhere else."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, cast

import orjson
from sqlalchemy import literal, select
from sqlalchemy.orm import Session

from ringback import clock
from ringback.access.masking import Kind as Mask
from ringback.access.masking import mask
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.audit import catalogue
from ringback.audit.catalogue import Message
from ringback.audit.models import AuditRecord
from ringback.audit.personal import is_named_personally, personal_properties
from ringback.billing.entities.fields import EntityType, Field, Kind
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.pages_values import aligned, decimals, exponent, in_sentence
from ringback.billing.entities.personal import masked
from ringback.billing.ledger.schemas import LEDGER_PATHS, TOLD_FIELDS
from ringback.changes.schemas import SECRET, Json
from ringback.records.money import from_units
from ringback.records.tables import INSTALLATION

_PARTS = 3  # properties that a sentence names, before it counts the others
_MOST_GONE = 50  # entities that are deleted whose last names are looked for
_MASKS = ("name", "number", "email", "address", "text")
_SPECIAL = ("how", "do", "why")  # arguments that have sentences of their own
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
READS = "read"


@dataclass(frozen=True, slots=True)
class Told:
    """One property's change. Empty values are ""."""

    name: str
    label: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Owner:
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class ToldRecord:
    """As its reader may see it."""

    id: int
    seq: int
    environment: str
    at_us: int
    entity_type: str
    type_label: str
    entity_id: str
    entity_name: str
    href: str  # of the entity's page; "" where there is none, or none for this reader
    action: str
    is_read: bool
    version: int | None
    sentence: str
    changes: tuple[Told, ...]
    customer: Owner | None
    account: Owner | None
    amount: Decimal | None
    balance_before: Decimal | None
    balance_after: Decimal | None
    currency: str
    actor: str
    actor_kind: str
    realm: str
    address: str
    request_id: str
    cause_id: int | None
    root_id: int
    reason: str
    comment: str
    hash: str
    raw_changes: Mapping[str, tuple[Json, Json]]  # masked
    raw_arguments: Mapping[str, Json]  # without what this reader may not see


class Telling:
    """For one reader and some records, whose links it looks up together."""

    def __init__(self, session: Session, reader: Principal, language: str = catalogue.ENGLISH) -> None:
        self._session = session
        self._reader = reader
        self._sees_personal = reader.sees_personal
        self._messages = catalogue.messages(language)
        self._names: dict[tuple[str, str], str] = {}
        self._currencies: dict[tuple[str, str], str] = {}

    def tell(self, records: Sequence[AuditRecord]) -> list[ToldRecord]:
        parsed = [(record, orjson.loads(record.changes), orjson.loads(record.arguments)) for record in records]
        self._look_up(parsed)
        return [self._tell(*each) for each in parsed]

    def _look_up(self, parsed: Sequence[tuple[AuditRecord, Any, Any]]) -> None:
        """Names of everything that the records link to, and the currencies that amounts are in."""
        wanted: defaultdict[str, set[str]] = defaultdict(set)
        for record, changes, _ in parsed:
            for name, ids in changes.items():
                field = _field(record.entity_type, name)
                if field is not None and field.kind is Kind.LINK:
                    wanted[field.links_to] |= {str(each) for each in ids if each is not None}
            for kind, id_ in (("customer", record.customer_id), ("account", record.account_id)):
                if id_ is not None:
                    wanted[kind].add(str(id_))
        own = {(record.entity_type, record.entity_id): record.entity_name for record, _, _ in parsed}
        for kind, ids in wanted.items():
            missing = {each for each in ids if (kind, each) not in self._names}
            if missing and kind in TYPES:
                self._find_names(TYPES[kind], missing, own)

    def _find_names(self, kind: EntityType, ids: set[str], own: Mapping[tuple[str, str], str]) -> None:
        """As they are called now; what was deleted as these records, or its last one, call it."""
        numbers = [int(each) for each in ids if each.isdigit()]
        title = getattr(kind.model, kind.about.title)
        currency = getattr(kind.model, "currency", literal(""))
        for id_, name, money in self._session.execute(
            select(kind.model.id, title, currency).where(kind.model.id.in_(numbers))
        ):
            self._names[kind.name, str(id_)] = str(name)
            self._currencies[kind.name, str(id_)] = money
        gone = sorted(each for each in ids if (kind.name, each) not in self._names)
        self._names |= {(kind.name, each): own[kind.name, each] for each in gone if (kind.name, each) in own}
        for each in [each for each in gone if (kind.name, each) not in own][:_MOST_GONE]:
            last = (
                select(AuditRecord.entity_name)
                .where(AuditRecord.environment.in_(sees(self._reader)))
                .where(AuditRecord.entity_type == kind.name, AuditRecord.entity_id == each)
                .order_by(AuditRecord.id.desc())
                .limit(1)
            )
            self._names[kind.name, each] = self._session.scalar(last) or f"#{each}"

    def _tell(self, record: AuditRecord, changes: dict[str, list[Json]], arguments: dict[str, Json]) -> ToldRecord:
        currency = record.currency or self._currency(record, changes)
        told = [self._told(record.entity_type, name, old, new, currency) for name, (old, new) in changes.items()]
        message = self._message(record, changes, arguments)
        sees = self._sees_personal
        return ToldRecord(
            id=record.id,
            seq=record.seq,
            environment=record.environment,
            at_us=clock.to_us(record.at),
            entity_type=record.entity_type,
            type_label=self.type_label(record.entity_type),
            entity_id=record.entity_id,
            entity_name=self._named(record.entity_type, record.entity_name),
            href=self._href(record),
            action=record.action,
            is_read=record.action.rpartition(".")[2] == READS,
            version=record.version,
            sentence=self._sentence(record, message, told, changes, arguments, currency),
            changes=tuple(told),
            customer=self._owner("customer", record.customer_id),
            account=self._owner("account", record.account_id),
            amount=_money(record.amount),
            balance_before=_money(record.balance_before),
            balance_after=_money(record.balance_after),
            currency=record.currency,
            actor=record.actor,
            actor_kind=record.actor_kind,
            realm=record.realm,
            address=record.address,
            request_id=record.request_id,
            cause_id=record.cause_id,
            root_id=record.root_id,
            reason=record.reason if sees else mask(record.reason, "text"),
            comment=record.comment if sees else mask(record.comment, "text"),
            hash=record.hash.hex(),
            raw_changes={
                name: (self._raw(record.entity_type, name, old), self._raw(record.entity_type, name, new))
                for name, (old, new) in changes.items()
            },
            raw_arguments=arguments if sees else _shown_arguments(message, arguments),
        )

    def type_label(self, name: str) -> str:
        """ "Customer"; what has no name of its own is called by its key."""
        described = TYPES.get(name)
        own = self._messages.types.get(name)
        return own or (described.about.label if described else name.replace("_", " ").capitalize())

    def _many(self, name: str) -> str:
        described = TYPES.get(name)
        own = self._messages.types.get(f"{name}s")
        return in_sentence(own or (described.about.plural if described else self.type_label(name)))

    def label(self, entity_type: str, name: str) -> str:
        field = _field(entity_type, name)
        own = self._messages.labels.get(f"{entity_type}.{name}")
        readable = name if "." in name else name.replace("_", " ").capitalize()
        return own or (field.label if field else readable)

    def _message(self, record: AuditRecord, changes: Mapping[str, Any], arguments: Mapping[str, Json]) -> Message:
        found = self._messages.sentence(
            catalogue.keys(record.entity_type, record.action, _variants(record.entity_type, changes, arguments))
        )
        return found if found is not None else "{action}: {type} {entity}"

    def _sentence(
        self,
        record: AuditRecord,
        message: Message,
        told: Sequence[Told],
        changes: Mapping[str, Sequence[Json]],
        arguments: Mapping[str, Json],
        currency: str,
    ) -> str:
        only = told[0] if len(told) == 1 else None

        def fill(name: str, how: str) -> str:
            if name in ("old", "new") and how:
                pair = changes.get(how, (None, None))
                value = pair[name == "new"]
                return self._value(record.entity_type, how, value, currency) or self._messages.values["nothing"]
            match name:
                case "actor":
                    return record.actor
                case "entity":
                    return self._named(record.entity_type, record.entity_name)
                case "type":
                    return self.type_label(record.entity_type)
                case "one":
                    return in_sentence(self.type_label(record.entity_type))
                case "many":
                    return self._many(record.entity_type)
                case "action":
                    return record.action
                case "customer" | "account" if name not in arguments:
                    owner = self._owner(name, record.customer_id if name == "customer" else record.account_id)
                    return owner.name if owner else self._messages.values["nothing"]
                case "label" if only:
                    return only.label
                case "old" | "new" if only:
                    return (only.old if name == "old" else only.new) or self._messages.values["nothing"]
                case "by" if only:
                    return self._difference(record.entity_type, only.name, changes[only.name], currency)
                case "parts":
                    return self._parts(told)
                case _:
                    return self._argument(name, how, arguments, currency)

        return self._messages.fill(message, fill, arguments)

    def _parts(self, told: Sequence[Told]) -> str:
        """The first few changes, and how many more there are."""
        parts, words = self._messages.parts, self._messages
        texts: list[str] = []
        for each in told[:_PARTS]:
            how = _how(each)
            filled = {"label": each.label, "old": each.old, "new": each.new}
            text = words.fill(parts[how], lambda name, _, of=filled: of[name], {})  # type: ignore[misc]
            texts.append(text if not texts else in_sentence(text))
        if len(told) > _PARTS:
            count = len(told) - _PARTS
            more = words.fill(parts["more"], lambda *_: words.number(count), {"count": count})
            texts.append(in_sentence(more))
        if len(texts) < 2:
            return "".join(texts)
        first, last = ", ".join(texts[:-1]), texts[-1]
        return words.fill(parts["and"], lambda name, _: first if name == "first" else last, {})

    def _told(self, entity_type: str, name: str, old: Json, new: Json, currency: str) -> Told:
        label = self.label(entity_type, name)
        return Told(
            name, label, self._value(entity_type, name, old, currency), self._value(entity_type, name, new, currency)
        )

    def _raw(self, entity_type: str, name: str, value: Json) -> Json:
        if self._sees_personal or value is None:
            return value
        field = _field(entity_type, name)
        if field is not None:
            return cast("Json", masked(field, value)) if field.personal else value
        if name not in personal_properties(entity_type):
            return value
        return mask(str(value), "email" if name == "email" else "name")

    def _value(self, entity_type: str, name: str, value: Json, currency: str) -> str:
        """In words; "" where there is none."""
        field, words = _field(entity_type, name), self._messages
        if value is None or value in ("", [], {}):
            return ""
        if value == SECRET:
            return SECRET
        value = self._raw(entity_type, name, value)
        if isinstance(value, bool):
            return words.values["yes" if value else "no"]
        if field is None and isinstance(value, str) and _TIME.fullmatch(value):
            return f"{value[:10]} {value[11:16]} UTC"
        try:
            match field.kind if field else None:
                case Kind.MONEY | Kind.DECIMAL:
                    number = Decimal(str(value))
                    return words.money(number, currency, max(exponent(currency), min(decimals(number), 5)))
                case Kind.DATE:
                    return words.day(date.fromisoformat(str(value)))
                case Kind.TIME:
                    return f"{datetime.fromisoformat(str(value)):%Y-%m-%d %H:%M} UTC"
                case Kind.LINK:
                    linked = field.links_to if field else ""
                    return self._named(linked, self._names.get((linked, str(value)), f"#{value}"))
                case Kind.CHOICE if name == "currency":
                    return str(value)
                case Kind.CHOICE:
                    return dict(field.choices).get(str(value), str(value)) if field else str(value)
                case Kind.WHOLE:
                    unit = field.unit if field else ""
                    return f"{words.number(int(str(value)))} {unit}".rstrip()
        except (ValueError, InvalidOperation):
            return str(value)
        if isinstance(value, list):
            return ", ".join(str(each) for each in value)
        if isinstance(value, dict):
            return ", ".join(f"{key} = {each}" for key, each in value.items())
        return str(value)

    def _argument(self, name: str, how: str, arguments: Mapping[str, Json], currency: str) -> str:
        value, words = arguments.get(name), self._messages
        if value is None:
            return words.values["nothing"]
        if how == "part":  # a message of its own, such as what a balance changed by
            part = words.parts.get(f"{name}.{value}", words.parts[name])
            told = words.fill(part, lambda at, of: self._argument(at, of, arguments, currency), arguments)
            return in_sentence(told)
        if how == "money":
            number = Decimal(str(value))
            return words.money(number, currency, max(exponent(currency), min(decimals(number), 5)))
        kind = how.removeprefix("mask-")
        if how.startswith("mask-") and kind in _MASKS and not self._sees_personal:
            return mask(str(value), cast("Mask", kind))
        if how == "number" and isinstance(value, int | float):
            return self._messages.number(value)
        if how == "date":
            return self._messages.day(date.fromisoformat(str(value)[:10]))
        if isinstance(value, list):
            return ", ".join(str(each) for each in value)
        return str(value)

    def _difference(self, entity_type: str, name: str, pair: Sequence[Json], currency: str) -> str:
        old, new = (Decimal(str(each)) for each in pair)
        return self._value(entity_type, name, str(abs(new - old)), currency)

    def _named(self, entity_type: str, name: str) -> str:
        """An entity's name; masked where it is personal, such as a customer's, or an account's number."""
        if self._sees_personal:
            return name
        described = TYPES.get(entity_type)
        if described is None and is_named_personally(entity_type):
            return mask(name, "name")
        title = _field(entity_type, described.about.title) if described else None
        if described is None or title is None or not title.personal or name == described.about.plural:
            return name
        return mask(name, cast("Mask", title.personal))

    def _owner(self, kind: str, id_: int | None) -> Owner | None:
        if id_ is None:
            return None
        return Owner(id_, self._named(kind, self._names.get((kind, str(id_)), f"#{id_}")))

    def _href(self, record: AuditRecord) -> str:
        described = TYPES.get(record.entity_type)
        elsewhere = record.environment not in self._reader.environments
        read = described.read if described else Permission.CUSTOMERS_READ
        path = described.about.path if described else LEDGER_PATHS.get(record.entity_type)
        if path is None or elsewhere or not record.entity_id or not self._reader.may(read):
            return ""
        return f"/{path}/{record.entity_id}" if record.action != "deleted" else ""

    def _currency(self, record: AuditRecord, changes: Mapping[str, Sequence[Json]]) -> str:
        """Of amounts among the changes: the entity's own, else its customer's."""
        for each in changes.get("currency", ())[::-1]:
            if each:
                return str(each)
        own = self._currencies.get((record.entity_type, record.entity_id))
        return own or self._currencies.get(("customer", str(record.customer_id)), "")


def sees(reader: Principal) -> tuple[str, ...]:
    """The environments whose records a reader may see: the chosen one first, the installation's for who looks after it."""
    every = (*reader.environments, *reader.belongs_to, *((INSTALLATION,) if sees_installation(reader) else ()))
    return tuple(dict.fromkeys(every))


def sees_installation(reader: Principal) -> bool:
    """Records of what is of no environment: people, logins, rules of traffic, options for all."""
    return reader.everywhere and reader.may(Permission.USERS_READ)


def column_places(records: Iterable[ToldRecord]) -> int:
    """How many places all amounts of a column are written with."""
    amounts = [each for one in records for each in (one.amount, one.balance_after)]
    return aligned(amounts, next((one.currency for one in records if one.currency), ""))


def _variants(entity_type: str, changes: Mapping[str, Sequence[Json]], arguments: Mapping[str, Json]) -> list[str]:
    """What makes a sentence special: the one property that changed, and how; or how it was read."""
    told = [each for name in _SPECIAL if isinstance(each := arguments.get(name), str)]
    if told:
        return told
    if len(changes) != 1:
        return ["nothing"] if not changes else []
    ((name, (old, new)),) = changes.items()
    state = "set" if old in (None, "", []) else "emptied" if new in (None, "", []) else ""
    if SECRET in (old, new):
        return [f"{name}.{state}", f"secret.{state}", "secret"]
    value = "yes" if new is True else "no" if new is False else new if isinstance(new, str) else ""
    found = [f"{name}.{value}"] if value else []
    found += [f"{name}.{state}", state] if state else [name]
    field = _field(entity_type, name)
    if not state and field is not None and field.kind in (Kind.MONEY, Kind.DECIMAL, Kind.WHOLE):
        found.append("up" if Decimal(str(new)) > Decimal(str(old)) else "down")
    return [*found, "one"]


def _how(told: Told) -> str:
    """By which words a part of a sentence is told."""
    if SECRET in (told.old, told.new):
        return "secret"
    if told.old and told.new:
        return "one"
    return "set" if told.new else "emptied"


def _shown_arguments(message: Message, arguments: Mapping[str, Json]) -> dict[str, Json]:
    """Those that the sentence shows as they are: of others nobody said that they are not personal."""
    shown = {name for name, how in catalogue.places(message) if not how.startswith("mask-")}
    return {name: value for name, value in arguments.items() if name in shown}


@cache
def _field(entity_type: str, name: str) -> Field | None:
    described = TYPES.get(entity_type)
    fields = (*(described.fields if described else ()), *TOLD_FIELDS.get(entity_type, ()))
    return next((field for field in fields if field.name == name), None)


def _money(units: int | None) -> Decimal | None:
    return None if units is None else from_units(units)
