"""Pages of the ledger's lists: what is asked of a list, how a page of it is cut, and how the texts of filters are read."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

import orjson
from sqlalchemy import Select, and_, or_
from sqlalchemy.orm import Session

from ringback import clock
from ringback.billing.ledger.errors import LedgerError

PAGE, LARGEST_PAGE = 50, 500
GREATEST_ID = 1 << 53

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a list shows. `filters`: name -> what it has to be; `sort`: a name, with - downwards; "" the newest first."""

    filters: Mapping[str, str] = field(default_factory=dict)
    sort: str = ""
    cursor: str = ""
    limit: int = PAGE


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    rows: list[Row]
    cursor: str | None  # of the next page; None: this is the last


def page_of(
    session: Session, found: Select[Any], model: Any, asked: Asked, sorts: Mapping[str, Any], usual: str
) -> Page[Any]:
    """Keyset paging: by the sorted value, then by id, in one direction."""
    sort = asked.sort or usual
    down, name = sort.startswith("-"), sort.removeprefix("-")
    if name not in sorts:
        raise LedgerError("sort", f"This list is sorted by {', '.join(sorts)}, with - downwards.")
    key, id_ = sorts[name], model.id
    after = _opened(asked, sort)
    if after is not None:
        value, last = _typed(model, name, after[0]), after[1]
        beyond, at = (key < value, key == value) if down else (key > value, key == value)
        further = id_ < last if down else id_ > last
        # Said twice, so that an index is read from the value on.
        found = found.where(key <= value if down else key >= value, or_(beyond, and_(at, further)))
    order = (key.desc(), id_.desc()) if down else (key, id_)
    limit = min(max(asked.limit, 1), LARGEST_PAGE)
    rows = session.execute(found.add_columns(key).order_by(*order).limit(limit + 1)).all()
    cursor = None
    if len(rows) > limit:
        row, value = rows[limit - 1]
        cursor = base64.urlsafe_b64encode(orjson.dumps([sort, _plain(value), row.id])).decode().rstrip("=")
    return Page([row for row, _ in rows[:limit]], cursor)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return clock.to_us(value)
    return str(value) if isinstance(value, Decimal | date) else value


def _opened(asked: Asked, sort: str) -> tuple[Any, int] | None:
    if not asked.cursor:
        return None
    try:
        packed = base64.urlsafe_b64decode(asked.cursor + "=" * (-len(asked.cursor) % 4))
        was, value, id_ = orjson.loads(packed)
        if was == sort and type(id_) is int and abs(id_) < GREATEST_ID:
            return value, id_
    except (ValueError, TypeError, binascii.Error):
        pass
    raise _bad_cursor()


def _typed(model: Any, name: str, value: Any) -> Any:
    try:
        if name in ("occurred_at", "received_at"):
            return clock.from_us(value)
        if name in ("total", "due", "amount"):
            found = Decimal(value)
            return found if found.is_finite() and abs(found) < 10**15 else Decimal(0)
        if name in ("issued_on", "due_on"):
            return date.fromisoformat(value)
        if type(value) is int and abs(value) < GREATEST_ID:
            return value
    except (ValueError, TypeError, ArithmeticError):
        pass
    raise _bad_cursor()


def _bad_cursor() -> LedgerError:
    return LedgerError("cursor", "The list cannot go on from there: begin at its first page.")


def words_of(name: str, text: str, known: Collection[str]) -> list[str]:
    """Raises LedgerError where one is not known."""
    found = [word.strip() for word in text.split(",")]
    if unknown := [word for word in found if word not in known]:
        raise LedgerError(name, f"{unknown[0]!r} is none of {', '.join(known)}.")
    return found


def id_of(name: str, text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 16:
        return int(text)
    raise LedgerError(name, f"{text!r} is no id.")


def day_of(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise LedgerError(name, f"{text!r} is no day, such as 2026-11-30.") from None


def moment(name: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None and 1970 <= found.year < 9999:
            return clock.from_us(clock.to_us(found))
    except ValueError:
        pass
    raise LedgerError(name, f"{text!r} is no time with its zone, such as 2026-11-30T12:00:00Z.")
