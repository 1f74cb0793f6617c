"""The wall between environments: what a session may see and write, enforced under every query of every room.

A session is opened for some environments. Every select, update and delete through it is narrowed to these, for each
table that carries an environment, also in joins, subqueries and relationships; a row of another environment is not
written. A session opened for none may not touch such a table at all, so that nobody forgets to say which.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import cache
from typing import Any, Final

from sqlalchemy import Insert, Table, TableClause, TextClause, Update, event
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, UOWTransaction, with_loader_criteria
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.util import find_tables

from ringback.records.tables import InEnvironment, Record

_KEY = "ringback_environments"


class Everywhere(Enum):
    EVERYWHERE = "everywhere"


EVERYWHERE: Final = Everywhere.EVERYWHERE  # for what serves all tenants: login, relay, retention, verification
Environments = Sequence[str] | Everywhere | None


class OtherEnvironment(Exception):
    """A query or a row of an environment that the session was not opened for: a mistake of the caller."""


class WalledSession(Session):
    """Set up by `enclose` before it is used."""


def enclose(session: Session, environments: Environments) -> None:
    session.info[_KEY] = tuple(environments) if isinstance(environments, Sequence) else environments


def environments_of(session: Session) -> tuple[str, ...] | Everywhere | None:
    found: tuple[str, ...] | Everywhere | None = session.info.get(_KEY)
    return found


@contextmanager
def everywhere(session: Session) -> Iterator[None]:
    """For the few questions of a session that are about all tenants."""
    seen = environments_of(session)
    enclose(session, EVERYWHERE)
    try:
        yield
    finally:
        enclose(session, seen)


@event.listens_for(WalledSession, "do_orm_execute")
def _narrow(state: ORMExecuteState) -> None:
    seen = environments_of(state.session)
    if seen is EVERYWHERE:
        return
    if not state.is_orm_statement:
        _refuse_tables(state.statement)
        return
    if seen is None:
        _refuse_mappers(state.all_mappers)
    mine = seen or ()
    _check_written(state, mine)
    state.statement = state.statement.options(
        with_loader_criteria(InEnvironment, lambda cls: cls.environment.in_(mine), include_aliases=True)
    )


@event.listens_for(WalledSession, "before_flush")
def _check_rows(session: Session, _context: UOWTransaction, _instances: Any) -> None:
    seen = environments_of(session)
    for row in (*session.new, *session.dirty, *session.deleted):
        if not isinstance(row, InEnvironment):
            continue
        environment: str | None = row.environment
        if environment is None and isinstance(seen, tuple) and len(seen) == 1:
            row.environment = environment = seen[0]
        if environment is None or (seen is not EVERYWHERE and environment not in (seen or ())):
            raise OtherEnvironment(
                f"{type(row).__name__} of environment {environment!r} in a session for {_named(seen)}"
            )


def _check_written(state: ORMExecuteState, mine: Sequence[str]) -> None:
    """An insert says whose each row is; an update makes no row another's, and finds its rows by a narrowed question."""
    statement, mapper = state.statement, state.bind_mapper
    if not isinstance(statement, Insert | Update) or not (mapper and issubclass(mapper.class_, InEnvironment)):
        return
    if isinstance(statement, Update) and state.is_executemany:
        raise OtherEnvironment(
            f"{mapper.class_.__name__} is updated by keys, which nothing narrows: change the objects"
        )
    if isinstance(statement, Insert) and statement.select is not None:
        raise OtherEnvironment(
            f"{mapper.class_.__name__} is inserted from a query: nobody can say whose its rows are"
        )
    for row in _rows_of(statement, state.parameters):
        given = {getattr(name, "key", name): value for name, value in row.items()}
        if "environment" not in given and isinstance(statement, Update):
            continue
        environment = getattr(given.get("environment"), "value", given.get("environment"))
        if environment not in mine:
            raise OtherEnvironment(
                f"{mapper.class_.__name__} of environment {environment!r} in a session for {_named(tuple(mine))}"
            )


def _rows_of(statement: Insert | Update, parameters: Any) -> list[dict[Any, Any]]:
    """What is written, by column or its name: in the statement, beside it, or in both."""
    values: dict[Any, Any] = dict(statement._values or {})
    several: list[Any] = [row for rows in statement._multi_values for row in rows]
    beside: list[Any] = [parameters] if isinstance(parameters, dict) else list(parameters or ())
    return [values | row for row in several or beside or [{}]]


def _refuse_mappers(mappers: Sequence[Mapper[Any]]) -> None:
    for mapper in mappers:
        if issubclass(mapper.class_, InEnvironment):
            raise OtherEnvironment(f"{mapper.class_.__name__} in a session that was opened for no environment")


def _refuse_tables(statement: Executable) -> None:
    """What is not asked through the models cannot be narrowed."""
    for table in _tables_in(statement):
        if table in _walled():
            raise OtherEnvironment(f"{table} is asked for past the models: only a session for EVERYWHERE may")


def _tables_in(statement: Any) -> Iterator[str]:
    if isinstance(statement, TextClause):
        yield from re.findall(r"\w+", statement.text)
        return
    for table in find_tables(
        statement, include_joins=True, include_aliases=True, include_crud=True, include_selects=True
    ):
        if isinstance(table, TableClause):
            yield table.name


@cache
def _walled() -> frozenset[str]:
    return frozenset(
        mapper.local_table.name
        for mapper in Record.registry.mappers
        if issubclass(mapper.class_, InEnvironment) and isinstance(mapper.local_table, Table)
    )


def _named(seen: tuple[str, ...] | Everywhere | None) -> str:
    return ", ".join(seen) if isinstance(seen, tuple) else "no environment"
