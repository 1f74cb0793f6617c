"""All that lists and finds entities, of any type, by their descriptions. Sessions are opened for one environment.

A list is read in pages: a page's cursor says behind which entity the next begins, so that a page of a million costs
what the first one does and nothing is shown twice or left out when others come and go.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, and_, case, false, func, or_, select
from sqlalchemy.orm import Session, aliased

from ringback import clock
from ringback.billing.entities.errors import EntityErrors, EntityNotFound
from ringback.billing.entities.fields import Entity, EntityType, Field, Kind
from ringback.billing.entities.models import TYPES, Account, Customer
from ringback.billing.entities.status import (
    ACCOUNT_STATUSES,
    CUSTOMER_STATUSES,
    Status,
    account_status,
    customer_status,
)
from ringback.billing.entities.status_sql import account_status_sql, customer_status_sql
from ringback.billing.entities.values import plain, read

PAGE, LARGEST_PAGE = 50, 500
MOST_COUNTED = 10_000
STATUS = "status_shown"  # the filter by the status of `status`
STATUSES = {"customer": CUSTOMER_STATUSES, "account": ACCOUNT_STATUSES}
_NOT_SORTED = (Kind.WORDS, Kind.PAIRS, Kind.SECRET, Kind.LONG)
_AT_ONCE = 1000  # rows read ahead
_LONGEST_SEARCH = 200


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a list shows. `filters`: API name of a field -> what it has to be, several values separated by commas."""

    search: str = ""
    filters: Mapping[str, str] = field(default_factory=dict)
    sort: str = ""  # API name or name of a field, with - downwards; "": as they were made, the newest first
    cursor: str = ""
    limit: int = PAGE
    ids: Sequence[int] | None = None  # only these


@dataclass(frozen=True, slots=True)
class Page:
    rows: list[Any]  # entities
    cursor: str | None  # of the next page; None: this is the last
    total: int
    more_than_total: bool  # there are more, which were not counted


class BadQuery(ValueError):
    """A filter, an order or a cursor that the list does not know: the parameter, and a sentence."""

    def __init__(self, parameter: str, reason: str) -> None:
        super().__init__(reason)
        self.parameter = parameter


def find(session: Session, kind: EntityType, id_: int) -> Any:
    """Raises EntityNotFound."""
    model: Any = kind.model
    row = session.scalars(select(model).where(model.id == id_)).one_or_none() if 0 < id_ < 1 << 53 else None
    if row is None:
        raise EntityNotFound(f"There is no {kind.about.label} {id_}.")
    return row


def page(
    session: Session, kind: EntityType, query: ListQuery, *, sees_personal: bool, today: date | None = None
) -> Page:
    """Raises BadQuery."""
    matching = _matching(kind, query, sees_personal, today or clock.now().date())
    limit = min(max(query.limit, 1), LARGEST_PAGE)
    ordered, key = _ordered(kind, matching, query, sees_personal)
    found = (
        session.execute(ordered.add_columns(key).limit(limit + 1)).all()
        if key is not None
        else [(row, None) for row in session.scalars(ordered.limit(limit + 1))]
    )
    counted = select(func.count()).select_from(
        matching.with_only_columns(kind.model.id).order_by(None).limit(MOST_COUNTED + 1).subquery()
    )
    total = session.scalar(counted) or 0
    rows = [row for row, _ in found[:limit]]
    cursor = _cursor(query.sort, found[limit - 1]) if len(found) > limit else None
    return Page(rows, cursor, min(total, MOST_COUNTED), total > MOST_COUNTED)


def every(session: Session, kind: EntityType, query: ListQuery, *, sees_personal: bool) -> Iterator[Any]:
    """All of a list, read ahead in pieces: for exports. In the list's order; `cursor` and `limit` say nothing."""
    matching = _matching(kind, query, sees_personal, clock.now().date())
    ordered, _ = _ordered(kind, matching, ListQuery(sort=query.sort), sees_personal)
    for rows in session.scalars(ordered.execution_options(yield_per=_AT_ONCE)).partitions():
        yield from rows
        session.expunge_all()


def matching_ids(session: Session, kind: EntityType, query: ListQuery, *, sees_personal: bool) -> list[int]:
    """Of all that a list would show, in the order they were made."""
    matching = _matching(kind, query, sees_personal, clock.now().date())
    return list(session.scalars(matching.with_only_columns(kind.model.id).order_by(kind.model.id)))


def titles(session: Session, kind: EntityType, ids: Iterable[int]) -> dict[int, str]:
    """What entities are called, by id; unmasked."""
    found: dict[int, str] = {}
    wanted = sorted(set(ids))
    for start in range(0, len(wanted), 500):
        model: Any = kind.model
        for row in session.scalars(select(model).where(model.id.in_(wanted[start : start + 500]))):
            found[row.id] = row.told_as()
    return found


def link_titles(session: Session, kind: EntityType, rows: Sequence[Entity]) -> dict[tuple[str, int], str]:
    """(type, id) -> title, of all that the rows link to."""
    wanted: dict[str, set[int]] = {}
    for each in kind.fields:
        if each.links_to:
            ids = {id_ for row in rows if (id_ := getattr(row, each.name)) is not None}
            wanted.setdefault(each.links_to, set()).update(ids)
    return {
        (name, id_): title for name, ids in wanted.items() for id_, title in titles(session, TYPES[name], ids).items()
    }


def told_statuses(
    session: Session, kind: EntityType, rows: Sequence[Any], today: date | None = None
) -> dict[int, Status]:
    """The statuses of customers and accounts, by id; nothing of other types."""
    today = today or clock.now().date()
    if kind.name == "customer":
        return {row.id: customer_status(row, today) for row in rows}
    if kind.name != "account":
        return {}
    ids = {row.customer_id for row in rows}
    customers = {row.id: row for row in session.scalars(select(Customer).where(Customer.id.in_(ids)))}
    return {row.id: account_status(row, customers[row.customer_id], today) for row in rows}


def currencies(session: Session, kind: EntityType, rows: Sequence[Any]) -> dict[int, str]:
    """In which currency an entity's amounts are, by id; nothing for types without amounts."""
    if any(each.name == "currency" for each in kind.fields):
        return {row.id: row.currency for row in rows}
    if not any(each.kind is Kind.MONEY for each in kind.fields):
        return {}
    for name in ("customer_id", "tariff_id", "account_id"):
        if any(each.name == name for each in kind.fields):
            other = TYPES[kind[name].links_to]
            ids = {id_ for row in rows if (id_ := getattr(row, name)) is not None}
            model: Any = other.model
            linked = list(session.scalars(select(model).where(model.id.in_(ids))))
            of = currencies(session, other, linked)
            return {row.id: of[getattr(row, name)] for row in rows if getattr(row, name) in of}
    return {}


def filters_of(kind: EntityType) -> list[Field]:
    """Fields that a list can be filtered by."""
    return [each for each in kind.fields if each.filtered or each.unique or each.kind is Kind.LINK]


def sortable(kind: EntityType, each: Field, *, sees_personal: bool) -> bool:
    personal = each.personal or (each.links_to and TYPES[each.links_to][TYPES[each.links_to].about.title].personal)
    return each.listed and each.kind not in _NOT_SORTED and (sees_personal or not personal)


def _matching(kind: EntityType, query: ListQuery, sees_personal: bool, today: date) -> Select[Any]:
    model: Any = kind.model
    found = select(model)
    if query.ids is not None:
        found = found.where(model.id.in_(query.ids))
    for name, text in query.filters.items():
        found = _with_status(kind, found, text, today) if name == STATUS else found.where(_filter(kind, name, text))
    if query.search.strip():
        found = found.where(_search(kind, query.search.strip()[:_LONGEST_SEARCH], sees_personal))
    return found


def _with_status(kind: EntityType, found: Select[Any], text: str, today: date) -> Select[Any]:
    known = STATUSES.get(kind.name)
    wanted = [code.strip() for code in text.split(",") if code.strip()]
    if known is None or not set(wanted) <= known.keys():
        raise BadQuery(STATUS, f"{text!r} is no status of {kind.about.plural.lower()}: {', '.join(known or ())}.")
    if kind.name == "customer":
        return found.where(customer_status_sql(today).in_(wanted))
    return found.join(Customer, Customer.id == Account.customer_id).where(account_status_sql(today).in_(wanted))


def _filter(kind: EntityType, name: str, text: str) -> ColumnElement[bool]:
    each = next((one for one in filters_of(kind) if name in (one.api, one.name)), None)
    if each is None:
        known = ", ".join(one.api for one in filters_of(kind))
        raise BadQuery(name, f"{kind.about.plural} cannot be filtered by {name!r}, only by {known}.")
    column: Any = getattr(kind.model, each.name)
    if each.kind in (Kind.TEXT, Kind.DIGITS):
        values = [text.strip()]
        if each.kind is Kind.DIGITS:
            values = [re.sub(r"[\s+().\-/]", "", text)]
        return (
            or_(*(func.lower(column) == value.lower() for value in values)) if each.filtered else column.in_(values)
        )
    values = []
    for part in text.split(","):
        try:
            values.append(_wanted(each, part.strip()))
        except (ValueError, EntityErrors) as error:
            raise BadQuery(name, str(error)) from None
    alternatives = [column.is_(None) if value is None else column == value for value in values]
    return or_(*alternatives) if alternatives else false()


def _wanted(each: Field, text: str) -> Any:
    """A value to filter by. Links are told by id; "none" is without."""
    if each.kind is Kind.LINK:
        if text.lower() in ("none", ""):
            return None
        plain_id = text.removeprefix("#")
        if not (plain_id.isascii() and plain_id.isdigit() and len(plain_id) < 16):
            raise ValueError(f"{each.label}: {text!r} is no id.")
        return int(plain_id)
    return read(each, text)


def _search(kind: EntityType, text: str, sees_personal: bool) -> ColumnElement[bool]:
    """In any searched field. Who may not see personal data finds it by its whole value only."""
    digits = re.sub(r"\D", "", text, flags=re.ASCII)
    dialled = digits if re.fullmatch(r"[\d\s+().\-/#*]+", text, re.ASCII) else ""
    conditions: list[ColumnElement[bool]] = []
    for each in kind.fields:
        if not each.searched:
            continue
        column: Any = getattr(kind.model, each.name)
        number = each.kind is Kind.DIGITS or each.personal == "number"
        if each.personal and not sees_personal:
            conditions.append(column == (dialled if number and dialled else text))
        elif number and dialled:
            conditions.append((column if each.kind is Kind.DIGITS else _digits_of(column)).contains(dialled))
        else:
            forms = {text, text.lower(), text.upper(), text.capitalize(), text.title()}  # SQLite folds ASCII only
            forms = forms if not text.isascii() else {text}
            conditions += [column.icontains(form, autoescape=True) for form in sorted(forms)]
    if text.startswith("#") and digits == text[1:] and 0 < len(digits) < 16:
        conditions.append(kind.model.id == int(digits))
    return or_(*conditions) if conditions else false()


def _digits_of(column: Any) -> Any:
    for sign in " -()+./":
        column = func.replace(column, sign, "")
    return column


def _ordered(
    kind: EntityType, found: Select[Any], query: ListQuery, sees_personal: bool
) -> tuple[Select[Any], Any | None]:
    """The statement in its order behind the cursor, and the column that it goes by; None: by id alone."""
    model: Any = kind.model
    down, name = query.sort.startswith("-"), query.sort.removeprefix("-")
    after = _opened(query)
    if name in ("", "id", kind.about.id_name):
        down = down or not name
        found = found.order_by(model.id.desc() if down else model.id)
        if after is not None:
            found = found.where(model.id < after[1] if down else model.id > after[1])
        return found, None
    each = next((one for one in kind.fields if name in (one.name, one.api)), None)
    if each is None or not sortable(kind, each, sees_personal=sees_personal):
        raise BadQuery("sort", f"{kind.about.plural} cannot be sorted by {name!r}.")
    column: Any = getattr(model, each.name)
    nullable = bool(kind.model.__table__.c[each.name].nullable)
    if each.links_to:
        other = TYPES[each.links_to]
        linked: Any = aliased(other.model)
        found = found.outerjoin(linked, linked.id == column)
        column = getattr(linked, other.about.title)
        each = other[other.about.title]
    if each.kind is Kind.FLAG:
        column = case((column, 1), else_=0)  # which can be compared
    if after is not None:
        found = found.where(_behind(model.id, column, _typed(each, after[0]), after[1], down, nullable))
    order = (column.desc(), model.id.desc()) if down else (column, model.id)
    return found.order_by(order[0].nulls_last() if nullable else order[0], order[1]), column


def _behind(id_: Any, column: Any, value: Any, last: int, down: bool, nullable: bool) -> ColumnElement[bool]:
    """What comes after (value, last) in this order; rows without a value come last."""
    further: ColumnElement[bool] = id_ < last if down else id_ > last
    if value is None:
        return and_(column.is_(None), further)
    beyond, at = (column < value, column <= value) if down else (column > value, column >= value)
    if nullable:
        return or_(beyond, and_(column == value, further), column.is_(None))
    return and_(at, or_(beyond, further))


def _cursor(sort: str, last: Any) -> str:
    row, value = last
    packed = orjson.dumps([sort, plain(value), row.id])
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def _opened(query: ListQuery) -> tuple[Any, int] | None:
    """The value and id that the page begins behind."""
    if not query.cursor:
        return None
    try:
        packed = base64.urlsafe_b64decode(query.cursor + "=" * (-len(query.cursor) % 4))
        sort, value, id_ = orjson.loads(packed)
        if sort == query.sort and isinstance(id_, int) and abs(id_) < 1 << 53:
            return value, id_
    except (ValueError, TypeError, binascii.Error):
        pass
    raise BadQuery("cursor", "The list cannot go on from there: begin at its first page.")


def _typed(each: Field, value: Any) -> Any:
    """The value of a cursor as the column has it."""
    try:
        match each.kind:
            case _ if value is None:
                return None
            case Kind.MONEY | Kind.DECIMAL:
                return Decimal(value)
            case Kind.DATE:
                return date.fromisoformat(value)
            case Kind.TIME:
                return datetime.fromisoformat(value)
            case Kind.WHOLE | Kind.FLAG if isinstance(value, int):
                return value
            case _ if isinstance(value, str):
                return value
    except (ValueError, TypeError, ArithmeticError):
        pass
    raise BadQuery("cursor", "The list cannot go on from there: begin at its first page.")
