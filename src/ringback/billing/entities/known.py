"""What a check has to know besides the entity itself: what it links to, and who has its name already.

For one entity each is asked when it is needed; for a batch `preload_links` and `preload_taken` ask once for all.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import Session

from ringback.billing.entities.fields import Entity, EntityType, Field
from ringback.billing.entities.models import TYPES
from ringback.records.engine import UnitOfWork

_ASKED = 500  # values a question


class Known:
    """Of one environment, for as long as one unit of work. What it found stays as it is till that ends."""

    def __init__(self, session: Session, environment: str) -> None:
        self.session = session
        self.environment = environment
        self._linked: dict[tuple[str, int | str], Entity | None] = {}
        self._taken: dict[tuple[str, tuple[str, ...], tuple[Hashable, ...]], Entity | None] = {}
        self._lock = isinstance(session, UnitOfWork)
        self.pending: dict[tuple[str, int | str], Any] = {}  # of a dry run: what earlier rows would have made

    def linked(self, field: Field, key: int | str) -> Any:
        """The entity that a link names by its id, by its natural key, or by its id as text: #12 or 12. None: no such."""
        kind = TYPES[field.links_to]
        if isinstance(key, int):
            return self.get(kind, key)
        found = self._linked.get((kind.name, key))
        if found is None and (kind.name, key) not in self._linked:
            found = self._one(kind, _title(kind) == key)
            self._linked[kind.name, key] = found
        if found is None and (found := self.pending.get((kind.name, key))) is not None and found.id is None:
            self.session.flush()  # made by an earlier row of this batch: it gets its id
        if found is None and (plain := key.removeprefix("#")).isascii() and plain.isdigit() and len(plain) < 16:
            found = self.get(kind, int(plain))
        return found

    def get(self, kind: EntityType, id_: int) -> Any:
        if (kind.name, id_) in self.pending:
            return self.pending[kind.name, id_]  # a negative one, for as long as nothing is written
        if (kind.name, id_) not in self._linked:
            fits = 0 < id_ < 1 << 53
            self._linked[kind.name, id_] = self._one(kind, kind.model.id == id_) if fits else None
        return self._linked[kind.name, id_]

    def taken(self, kind: EntityType, fields: tuple[str, ...], values: tuple[Any, ...]) -> Entity | None:
        """Who has these values of these fields."""
        key = (kind.name, fields, values)
        if key not in self._taken:
            self._taken[key] = self._one(kind, _are(kind, fields, values), lock=False)
        return self._taken[key]

    def preload_links(self, field: Field, keys: Iterable[int | str]) -> None:
        kind = TYPES[field.links_to]
        wanted = {key for key in keys if (kind.name, key) not in self._linked}
        ids = {key for key in wanted if isinstance(key, int) and 0 < key < 1 << 53}
        names = {key for key in wanted if isinstance(key, str)}
        for some, column in ((ids, kind.model.id), (names, _title(kind))):
            for part in _parts(some):
                for row in self._all(kind, column.in_(part), lock=True):
                    self._linked[kind.name, row.id] = self._linked[kind.name, getattr(row, kind.about.title)] = row
        for key in wanted:
            self._linked.setdefault((kind.name, key), None)

    def preload_taken(self, kind: EntityType, fields: tuple[str, ...], wanted: Iterable[tuple[Any, ...]]) -> None:
        for part in _parts(set(wanted)):
            columns = [set(column) for column in zip(*part, strict=True)]
            near = and_(*(_is_one_of(kind, name, values) for name, values in zip(fields, columns, strict=True)))
            found = {tuple(getattr(row, name) for name in fields): row for row in self._all(kind, near, lock=False)}
            for values in part:
                self._taken[kind.name, fields, values] = found.get(values)

    def _one(self, kind: EntityType, condition: Any, *, lock: bool = True) -> Entity | None:
        return next(iter(self._all(kind, condition, lock=lock)), None)

    def _all(self, kind: EntityType, condition: Any, *, lock: bool) -> Sequence[Entity]:
        found: Select[Any] = select(kind.model).where(condition)
        if kind.name != "environment":
            found = found.where(kind.model.environment == self.environment)
        if lock and self._lock:
            found = found.with_for_update(read=True)  # nobody closes or deletes it before we are done
        with self.session.no_autoflush:
            return self.session.scalars(found).all()


def _title(kind: EntityType) -> Any:
    return getattr(kind.model, kind.about.title)


def _are(kind: EntityType, fields: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    pairs = zip(fields, values, strict=True)
    return and_(*(_is_one_of(kind, name, {value}) for name, value in pairs))


def _is_one_of(kind: EntityType, name: str, values: set[Any]) -> Any:
    column = getattr(kind.model, name)
    some = [value for value in values if value is not None]
    known = column.in_(some)
    return or_(known, column.is_(None)) if len(some) < len(values) else known


def _parts(values: Iterable[Any]) -> Iterable[list[Any]]:
    every = list(values)
    return (every[start : start + _ASKED] for start in range(0, len(every), _ASKED))
