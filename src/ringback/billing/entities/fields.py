"""How a model describes itself: each column says its label, kind and flags once.

Form, list, filters, export, import, API schema, audit labels and provisioning all read `describe(model)`; none of them
names a field again. A column is made by one of the functions below:

    name: Mapped[str] = text("Name", 120, unique=True, listed=True, searched=True)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Any, ClassVar, cast

from sqlalchemy import JSON, BigInteger, Boolean, Date, ForeignKey, String, Text, event, inspect
from sqlalchemy.orm import Mapped, MappedColumn, Mapper, mapped_column

from ringback.access.permissions import Permission
from ringback.changes.tracked import Tracked
from ringback.records.money import MoneyColumn, from_units, to_units
from ringback.records.secrets import Sealed
from ringback.records.tables import Id, InEnvironment, Record, UtcTime


class Kind(StrEnum):
    """How a value is read, checked, shown and typed. Python types: `Field.python`."""

    TEXT = "text"  # str, one line
    LONG = "long"  # str, several lines
    DIGITS = "digits"  # str of digits, as numbers are dialled
    EMAIL = "email"
    URL = "url"
    WHOLE = "whole"  # int
    MONEY = "money"  # Decimal, five places at most, in the currency of the entity
    DECIMAL = "decimal"  # Decimal, five places at most
    FLAG = "flag"  # bool
    CHOICE = "choice"  # str, one of `choices`
    DATE = "date"  # datetime.date
    TIME = "time"  # aware datetime
    LINK = "link"  # id of an entity of the type `links_to`
    WORDS = "words"  # list of str
    PAIRS = "pairs"  # dict of str to str
    SECRET = "secret"  # noqa: S105 -- str that can be written and never read


_PYTHON: dict[Kind, type] = {
    Kind.WHOLE: int, Kind.FLAG: bool, Kind.DATE: date, Kind.TIME: datetime, Kind.LINK: int,
    Kind.WORDS: list, Kind.PAIRS: dict,
}  # fmt: skip


SECRETS = "secrets"  # the columns that are read only when one of them is asked for, all at once

EMPTY: dict[Kind, Callable[[], Any]] = {
    Kind.TEXT: str,
    Kind.LONG: str,
    Kind.DIGITS: str,
    Kind.EMAIL: str,
    Kind.URL: str,
    Kind.WORDS: list,
    Kind.PAIRS: dict,
}  # fmt: skip -- what stands for "nothing" where it is not None


@dataclass(frozen=True, slots=True)
class Field:
    """One property of an entity type, as every part of the product knows it."""

    name: str  # the model's attribute
    label: str
    kind: Kind
    api_name: str = ""  # where it differs from `name`
    section: str = ""  # of the form
    help: str = ""
    unit: str = ""
    required: bool = False
    length: int = 0  # of a text; 0 not limited here
    least: int | None = None
    most: int | None = None
    choices: tuple[tuple[str, str], ...] = ()  # (value, label)
    links_to: str = ""  # entity type
    personal: str = ""  # "" no; else how it is masked: name number email address text
    unique: bool = False  # in its environment
    listed: bool = False  # a column of the list
    searched: bool = False  # found by the list's search box
    filtered: bool = False  # a filter of the list
    fixed: bool = False  # set when it is made, not changed later
    kept: bool = False  # by the product itself: shown, not edited
    default: Any = None  # of a new one, where none is given
    check: Callable[[Any], Any] | None = None  # of a value, of each of several: returns its canonical spelling

    @property
    def api(self) -> str:
        return self.api_name or self.name

    @property
    def python(self) -> type:
        return Decimal if self.kind in (Kind.MONEY, Kind.DECIMAL) else _PYTHON.get(self.kind, str)

    @property
    def needed(self) -> bool:
        """Has to be given when one is made."""
        return self.required and self.default is None and not self.kept

    @property
    def empty(self) -> Any:
        """The value that says there is none."""
        made = EMPTY.get(self.kind)
        return made() if made else None

    @property
    def secret(self) -> bool:
        return self.kind is Kind.SECRET


@dataclass(frozen=True, slots=True)
class About:
    """What a model says of its entity type."""

    name: str  # in the API, in audit records: "did_number"
    label: str  # "DID number"
    plural: str  # "DID numbers"
    path: str  # of its pages and API: "did-numbers"
    id_name: str  # in the API: "i_did_number"
    title: str  # the field that names one
    group: str  # customers | catalogue | network | environments: whose permissions it takes
    help: str = ""  # one sentence, for an empty list
    key: tuple[str, ...] = ()  # fields that tell one from another, for imports; () the title


@dataclass(frozen=True, slots=True)
class EntityType:
    about: About
    model: type[Entity]
    fields: tuple[Field, ...]

    def __getitem__(self, name: str) -> Field:
        """By its name or its API name. Raises KeyError."""
        for field in self.fields:
            if name in (field.name, field.api):
                return field
        raise KeyError(name)

    @property
    def name(self) -> str:
        return self.about.name

    @property
    def read(self) -> Permission:
        if self.about.group == "environments":
            return Permission.CONFIGURATION_READ
        return Permission(f"{self.about.group}.read")

    @property
    def write(self) -> Permission:
        return Permission(f"{self.about.group}.write")

    @property
    def personal(self) -> bool:
        return any(field.personal for field in self.fields)


class Entity(InEnvironment, Tracked, Record):
    """The base of every entity's model. `about` says what it is."""

    __abstract__ = True
    about: ClassVar[About]

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime, info={"untracked": True})

    def __init_subclass__(cls, **options: Any) -> None:
        cls.__entity__ = cls.about.name
        super().__init_subclass__(**options)

    def told_as(self) -> str:
        return str(getattr(self, self.about.title) or "")


@event.listens_for(Entity, "attribute_instrument", propagate=True)
def _read_before_it_is_set(_model: type[Entity], _name: str, attribute: Any) -> None:
    """A secret is not read with its entity; the fact of its change tells whether there was one."""
    if any(column.info.get("secret") for column in getattr(attribute.property, "columns", ())):
        event.listen(attribute, "set", lambda *_: None, active_history=True)


def text(label: str, length: int = 255, *, required: bool = False, **flags: Any) -> MappedColumn[Any]:
    return _column(Field("", label, Kind.TEXT, required=required, length=length, **flags), String(length))


def digits(label: str, length: int = 32, *, required: bool = False, **flags: Any) -> MappedColumn[Any]:
    return _column(Field("", label, Kind.DIGITS, required=required, length=length, **flags), String(length))


def long(label: str, length: int = 4000, **flags: Any) -> MappedColumn[Any]:
    return _column(Field("", label, Kind.LONG, length=length, **flags), Text())


def email(label: str, **flags: Any) -> MappedColumn[Any]:
    return _column(Field("", label, Kind.EMAIL, length=254, **flags), String(254))


def url(label: str, **flags: Any) -> MappedColumn[Any]:
    return _column(Field("", label, Kind.URL, length=1000, **flags), String(1000))


def whole(label: str, *, required: bool = False, **flags: Any) -> MappedColumn[Any]:
    return _column(Field("", label, Kind.WHOLE, required=required, **flags), BigInteger())


def money(label: str, *, required: bool = False, default: Decimal | None = None, **flags: Any) -> MappedColumn[Any]:
    if default is not None:
        flags["default"] = from_units(to_units(default))  # spelled as the database gives it
    return _column(Field("", label, Kind.MONEY, required=required, **flags), MoneyColumn())


def flag(label: str, *, default: bool = False, **flags: Any) -> MappedColumn[Any]:
    return _column(Field("", label, Kind.FLAG, required=True, default=default, **flags), Boolean())


def choice(label: str, choices: Sequence[tuple[str, str]], **flags: Any) -> MappedColumn[Any]:
    """Without a default one has to be chosen."""
    field = Field("", label, Kind.CHOICE, required=True, choices=tuple(choices), **flags)
    return _column(field, String(32))


def day(label: str, *, required: bool = False, **flags: Any) -> MappedColumn[Any]:
    return _column(Field("", label, Kind.DATE, required=required, **flags), Date())


def moment(label: str, *, required: bool = False, **flags: Any) -> MappedColumn[Any]:
    return _column(Field("", label, Kind.TIME, required=required, **flags), UtcTime())


def link(label: str, links_to: str, table: str, *, required: bool = False, **flags: Any) -> MappedColumn[Any]:
    """The other is not deleted while it is linked to."""
    field = Field("", label, Kind.LINK, required=required, links_to=links_to, **flags)
    return _column(field, ForeignKey(f"{table}.id"), index=True)


def words(label: str, **flags: Any) -> MappedColumn[Any]:
    return _column(Field("", label, Kind.WORDS, **flags), JSON())


def pairs(label: str, **flags: Any) -> MappedColumn[Any]:
    return _column(Field("", label, Kind.PAIRS, **flags), JSON())


def secret(label: str, what: str, length: int = 255, **flags: Any) -> MappedColumn[Any]:
    """`what`: "table.column", to which the sealed value is bound. Read, and opened, when it is asked for: lists do not."""
    field = Field("", label, Kind.SECRET, length=length, **flags)
    return _column(field, Sealed(what), info={"secret": True}, deferred=True, deferred_group=SECRETS)


@cache
def describe(model: type[Entity]) -> EntityType:
    """In the order in which the model declares them."""
    fields = []
    for prop in cast("Mapper[Any]", inspect(model)).column_attrs:
        described = prop.columns[0].info.get("field")
        if described is not None:
            fields.append(replace(described, name=prop.key))
    fields.sort(key=lambda field: list(model.__annotations__).index(field.name))
    return EntityType(model.about, model, tuple(fields))


def _column(field: Field, type_: Any, *, info: dict[str, Any] | None = None, **more: Any) -> MappedColumn[Any]:
    """Texts that are not given are empty, other values None; a required column is NOT NULL. What the product keeps itself
    has a record of its own, such as xDRs: it is no tracked change of the entity."""
    empty = EMPTY.get(field.kind)
    default = field.default if field.default is not None else empty() if empty else None
    return mapped_column(
        type_,
        nullable=not field.required and default is None,
        default=empty if empty and field.default is None else default,
        info={"field": field, **({"untracked": True} if field.kept else {}), **(info or {})},
        **more,
    )


__all__ = [
    "About", "Entity", "EntityType", "Field", "Kind", "choice", "day", "describe", "digits", "email", "flag", "link",
    "long", "moment", "money", "pairs", "secret", "text", "url", "whole", "words",
]  # fmt: skip
