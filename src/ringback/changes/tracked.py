"""Models whose every change is a fact, and the guard that lets no statement past that."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import date, datetime
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any, ClassVar, cast

from sqlalchemy import Connection, Engine, Table, event
from sqlalchemy.orm import InstanceState, Mapped, Mapper, UOWTransaction, declared_attr, mapped_column
from sqlalchemy.orm.base import NEVER_SET, NO_VALUE, instance_state

from ringback import clock
from ringback.changes.schemas import CHANGED, CREATED, DELETED, SECRET, Fact, Json, Owner
from ringback.records.engine import UNTRACKED, UnitOfWork, is_flushing
from ringback.records.tables import INSTALLATION, InEnvironment, Record

FACTS = "ringback_facts"  # in the info of a unit of work: what happened in it, in order
PENDING = "ringback_pending"  # facts whose version is not known yet
_COMMENTS = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)
_NAME = r"""(?:["`\[]?\w+["`\]]?\s*\.\s*)?["`\[]?\w+["`\]]?"""
_WRITES = re.compile(
    r"\b(?:insert\s+(?:or\s+\w+\s+)?into|replace\s+into|update(?:\s+or\s+\w+)?|delete\s+from|merge\s+into|copy"
    r"|truncate(?:\s+table)?|(?:drop|alter)\s+table(?:\s+if\s+exists)?)(?:\s+only\b)?"
    rf"""(?:\s+|(?=["`\[]))({_NAME}(?:\s*,\s*{_NAME})*)""",
    re.IGNORECASE,
)
_SETS = re.compile(
    r"UPDATE (\w+) SET ((?:\w+=(?:\?|%\(\w+\)s(?:::\w+)?)(?:, )?)+) WHERE [^;]+"
)  # plain values, nothing else

_PLAIN = frozenset({str, int, bool, float})
_HOLDERS = frozenset({str, list, dict})  # which are nothing while they are empty


class UntrackedChange(Exception):
    """A statement would change a tracked table past the audit log: change the objects instead."""


class Tracked:
    """A mixin for tables whose every change becomes a Fact. Change objects in `changing(...)`, never by statements.

    Columns with `info={"untracked": True}` are no change (when something was last used, a balance whose movements are
    records themselves): an UPDATE that sets nothing else is let pass. With `info={"secret": True}` only that they changed
    is told.
    """

    __entity__: ClassVar[str]  # the entity's type: "customer"
    __named_personally__: ClassVar[bool] = False  # `told_as` is personal data, of what is no entity with pages

    version: Mapped[int] = mapped_column(default=1)  # counted up by each change

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805 -- SQLAlchemy calls it with the class
        return {"version_id_col": cast("Any", cls).version}

    def told_as(self) -> str:
        """What a person calls it."""
        return str(getattr(self, "name", ""))

    def owner(self) -> Owner:
        return Owner(self.environment if isinstance(self, InEnvironment) else INSTALLATION)


def facts_of(work: UnitOfWork) -> list[Fact]:
    found: list[Fact] = work.info.setdefault(FACTS, [])
    return found


@event.listens_for(UnitOfWork, "before_flush")
def _see_changes(work: UnitOfWork, _context: UOWTransaction, _instances: Any) -> None:
    """Changed and deleted objects while their old values are known; new ones have no id yet."""
    for row in work.dirty:
        if isinstance(row, Tracked) and (changes := _changes(row)):
            _add(work, row, CHANGED, changes)
    for row in work.deleted:
        if isinstance(row, Tracked):
            _add(work, row, DELETED, {name: (old, None) for name, old in _values(row, _mapper(row)).items()})


@event.listens_for(UnitOfWork, "after_flush")
def _see_new(work: UnitOfWork, _context: UOWTransaction) -> None:
    for row in work.new:
        if isinstance(row, Tracked):
            _add(work, row, CREATED, {name: (None, new) for name, new in _values(row, _mapper(row)).items()})
    for fact, row in _pending(work):
        fact.version = row.version
    _pending(work).clear()


def _pending(work: UnitOfWork) -> list[tuple[Fact, Tracked]]:
    found: list[tuple[Fact, Tracked]] = work.info.setdefault(PENDING, [])
    return found


def _add(work: UnitOfWork, row: Tracked, action: str, changes: dict[str, tuple[Json, Json]]) -> None:
    owner, mapper = row.owner(), _mapper(row)
    fact = Fact(
        environment=owner.environment,
        entity_type=row.__entity__,
        entity_id=str(getattr(row, _key(mapper))),
        entity_name=row.told_as()[:255],
        action=action,
        version=row.version,
        changes=changes,
        customer_id=owner.customer_id,
        account_id=owner.account_id,
    )
    known = _adding()(work, fact)
    if action == CHANGED:
        _pending(work).append((known, row))


@cache
def _adding() -> Callable[[UnitOfWork, Fact], Fact]:
    """Of the module that builds on this one: looked up once, not for each of the rows of an import."""
    from ringback.changes.service import add_fact

    return add_fact


def _mapper(row: Tracked) -> Mapper[Any]:
    return instance_state(row).mapper


@cache
def _key(mapper: Mapper[Any]) -> str:
    return mapper.get_property_by_column(mapper.primary_key[0]).key


def _changes(row: Tracked) -> dict[str, tuple[Json, Json]]:
    """Property -> old and new of what differs. Raises UntrackedChange where the old value was never read."""
    state: InstanceState[Any] = instance_state(row)
    found: dict[str, tuple[Json, Json]] = {}
    for name, secret in _columns(state.mapper):
        history = state.attrs[name].history
        if not history.has_changes():
            continue
        new = history.added[0] if history.added else None
        old = history.deleted[0] if history.deleted else NO_VALUE
        if old in (NO_VALUE, NEVER_SET):
            raise UntrackedChange(f"{row.__entity__}.{name} was changed before it was read: what it was is unknown")
        if old != new:
            found[name] = _told(old, secret), _told(new, secret)
    return found


def _values(row: Tracked, mapper: Mapper[Any]) -> dict[str, Json]:
    """What is set, of a new or deleted object: what is empty is left out. Once a row, so without detours."""
    known = row.__dict__
    found: dict[str, Json] = {}
    for name, secret in _columns(mapper):
        value = known[name] if name in known else getattr(row, name)
        if value or (value is not None and type(value) not in _HOLDERS):
            found[name] = value if not secret and type(value) in _PLAIN else _told(value, secret)
    return found


@cache
def _columns(mapper: Mapper[Any]) -> tuple[tuple[str, bool], ...]:
    """(name, whether it is secret) of what a change of an object can be."""
    left_out = {"version", "environment", *(column.key for column in mapper.primary_key)}
    return tuple(
        (prop.key, bool(prop.columns[0].info.get("secret")))
        for prop in mapper.column_attrs
        if prop.key not in left_out and not prop.columns[0].info.get("untracked")
    )


def _told(value: Any, secret: bool) -> Json:
    """As it stands in an audit record: JSON, and exact."""
    if value is None or (not secret and type(value) in _PLAIN):
        return cast("Json", value)
    if secret:
        return SECRET
    if isinstance(value, datetime):
        return clock.isoformat(clock.to_us(value))
    if isinstance(value, (date, Decimal)):
        return str(value)
    return cast("Json", value)


@cache
def tracked_tables() -> frozenset[str]:
    return frozenset(_untracked_columns())


@event.listens_for(Engine, "before_cursor_execute")
def _guard(connection: Connection, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
    """Text, Core and bulk statements come by here as those of a flush do; only a flush was diffed."""
    written = _written(statement)
    if not written or is_flushing() or connection.get_execution_options().get(UNTRACKED):
        return
    if not _sets_untracked(statement):
        _refuse(written & tracked_tables())


@lru_cache(maxsize=4096)
def _sets_untracked(statement: str) -> bool:
    """Whether it is an UPDATE of columns whose change is no fact."""
    found = _SETS.fullmatch(statement)
    if found is None:
        return False
    set_ = {each.partition("=")[0] for each in found[2].split(", ")}
    return set_ <= _untracked_columns().get(found[1], frozenset())


@cache
def _untracked_columns() -> dict[str, frozenset[str]]:
    return {
        mapper.local_table.name: frozenset(each.name for each in mapper.columns if each.info.get("untracked"))
        for mapper in Record.registry.mappers
        if issubclass(mapper.class_, Tracked) and isinstance(mapper.local_table, Table)
    }


@lru_cache(maxsize=4096)
def _written(statement: str) -> frozenset[str]:
    """Tables that the statement writes."""
    lists = _WRITES.findall(_COMMENTS.sub(" ", statement))
    return frozenset(name.rpartition(".")[2].strip(' \t\n"`[]').lower() for one in lists for name in one.split(","))


@cache
def _guarded_cursor() -> type[Any]:
    """COPY is the one way to write that goes by no event of SQLAlchemy. Only who works with PostgreSQL loads its driver."""
    import psycopg

    class GuardedCursor(psycopg.Cursor[Any]):
        def copy(self, statement: Any, *args: Any, **options: Any) -> Any:
            text = statement.decode() if isinstance(statement, bytes) else str(statement)
            _refuse(_written(text) & tracked_tables())
            return super().copy(statement, *args, **options)

    return GuardedCursor


@event.listens_for(Engine, "connect")
def _guard_copy(connection: Any, _record: Any) -> None:
    if hasattr(connection, "cursor_factory"):  # psycopg's
        connection.cursor_factory = _guarded_cursor()


def _refuse(tables: Collection[str]) -> None:
    if tables:
        raise UntrackedChange(f"a statement would change {', '.join(sorted(tables))} past the audit log")
