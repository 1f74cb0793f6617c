"""Statements of the call path: compiled once and run on a connection that a thread keeps, past the sessions of SQLAlchemy,
which cost more than the database does.

Nothing narrows them to an environment: each names it itself (tests/engine/test_engine_requests.py).
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from psycopg.errors import error_from_result
from psycopg.postgres import types
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.base import ColumnCollection

from ringback import clock
from ringback.records.money import to_units

PATIENCE_MS = 3000  # that a phone waits for its call


class RecordsAway(Exception):
    """The database does not answer, or breaks the work off; the text says why."""


class RowsRefused(Exception):
    """The database takes none of the rows for the sake of one: an account of theirs is gone."""


class Prepared:
    """A Core statement, compiled. Rows are tuples, with values as the models have them."""

    def __init__(self, statement: Any, returned: ColumnCollection[Any, Any] | None, engine: Engine) -> None:
        dialect = engine.dialect
        compiled = statement.compile(dialect=dialect)
        self.sql: str = str(compiled)
        self._order: list[str] | None = list(compiled.positiontup) if compiled.positiontup is not None else None
        self._fixed: dict[str, Any] = {name: value for name, value in compiled.params.items() if value is not None}
        self._given: dict[str, Callable[[Any], Any]] = {}
        for bind in compiled.binds.values():
            process = bind.type.dialect_impl(dialect).bind_processor(dialect)
            if process is not None:
                self._given[bind.key] = process
        self._fixed = self._bound(self._fixed)
        self._made = [
            column.type.dialect_impl(dialect).result_processor(dialect, None)
            for column in (returned if returned is not None else ())
        ]
        if dialect.name == "postgresql":
            kind: Any = type(dialect)
            numbered = statement.compile(dialect=kind(paramstyle="numeric_dollar"))
            self.name, self.numbered = f"engine_{next(_numbers)}".encode(), str(numbered).encode()
            self._numbered = [(name, self._given.get(name)) for name in numbered.positiontup]
            self._reads: list[tuple[int, Callable[[bytes], Any]]] = []

    def parameters(self, given: Mapping[str, Any]) -> Any:
        """As the driver takes them."""
        values = self._fixed | self._bound(dict(given))
        return values if self._order is None else tuple(values[name] for name in self._order)

    def row(self, raw: Any) -> tuple[Any, ...]:
        """Of one of the driver."""
        values = list(raw)
        for place, process in enumerate(self._made):
            if process is not None:
                values[place] = process(values[place])
        return tuple(values)

    def sent(self, given: Mapping[str, Any]) -> list[bytes | None]:
        """Parameters as PostgreSQL takes them, for `numbered`."""
        fixed = self._fixed
        return [
            _sent(fixed[name] if name not in given else given[name] if process is None else process(given[name]))
            for name, process in self._numbered
        ]

    def received(self, result: PGresult) -> list[tuple[Any, ...]]:
        """Of what PostgreSQL answered."""
        if not self._reads:
            self._reads = [(place, _reader(result.ftype(place), made)) for place, made in enumerate(self._made)]
        value, reads = result.get_value, self._reads
        return [
            tuple([None if (raw := value(number, place)) is None else read(raw) for place, read in reads])
            for number in range(result.ntuples)
        ]

    def _bound(self, values: dict[str, Any]) -> dict[str, Any]:
        for name, process in self._given.items():
            if name in values:
                values[name] = process(values[name])
        return values


_numbers = itertools.count()


def _sent(value: Any) -> bytes | None:
    if isinstance(value, str):
        if "\0" in value:  # which no text of PostgreSQL has: it is to find nothing
            value = value.replace("\0", "\ufffd")
        return str.encode(value, errors="replace")
    if value is None:
        return None
    if isinstance(value, bool):
        return b"t" if value else b"f"
    return (value.isoformat() if isinstance(value, date) else str(value)).encode()


def _reader(kind: int, made: Callable[[Any], Any] | None) -> Callable[[bytes], Any]:
    """Of a value as PostgreSQL writes it, by the number of its type."""
    read = _READS.get(kind, bytes.decode)
    if made is None:
        return read
    return lru_cache(4096)(lambda raw: made(read(raw)))  # amounts and times, of which the same are read again


_READS: dict[int, Callable[[bytes], Any]] = {
    types["bool"].oid: lambda raw: raw == b"t",
    types["date"].oid: lambda raw: date.fromisoformat(raw.decode()),
    **{types[name].oid: int for name in ("int2", "int4", "int8")},
}


class Direct:
    """Connections of this process for the call path, one a thread. What they write may be lost with the machine that
    the database runs on: no money is written here."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._postgresql = engine.dialect.name == "postgresql"
        self._mine = threading.local()
        self._all: list[Any] = []
        self._lock = threading.Lock()

    def rows(self, statement: Prepared, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Tried once more on a new connection where the old one had gone. Raises RecordsAway."""
        ask = self._asked if self._postgresql else self._executed
        for attempt in (1, 2):
            try:
                return ask(statement, given)
            except self._errors as error:
                self._forget()
                if attempt == 2:
                    raise RecordsAway(" ".join(str(error).split())) from error
        raise AssertionError("not reached")

    def _executed(self, statement: Prepared, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        found = self._connection().execute(statement.sql, statement.parameters(given)).fetchall()
        return [statement.row(each) for each in found]

    def _asked(self, statement: Prepared, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """As `_executed`, of libpq itself: the cursors of the driver cost more than the answer."""
        connection = self._connection()
        libpq, known = connection.pgconn, self._mine.known
        if statement.name not in known:
            _good(libpq.prepare(statement.name, statement.numbered))
            known.add(statement.name)
        return statement.received(_good(libpq.exec_prepared(statement.name, statement.sent(given))))

    def rows_locked(
        self, lock: Prepared, key: int, statement: Prepared, given: Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        """As `rows`, while nobody else is past a lock of this key. One way there and back. Raises RecordsAway."""
        try:
            connection = self._connection()
            with self._transaction(connection):
                if self._postgresql:
                    connection.execute(lock.sql, lock.parameters({"key": key}))
                cursor = connection.execute(statement.sql, statement.parameters(given))
                if not self._postgresql:
                    return [statement.row(each) for each in cursor.fetchall()]
            return [statement.row(each) for each in cursor.fetchall()]
        except self._errors as error:
            self._forget()
            raise RecordsAway(" ".join(str(error).split())) from error

    def write(self, statement: Prepared, rows: list[dict[str, Any]]) -> None:
        """`statement` takes a row, or on PostgreSQL an array for each column. Raises RecordsAway, RowsRefused."""
        try:
            connection = self._connection()
            if self._postgresql:
                arrays = {name: [_unit(row[name]) for row in rows] for name in rows[0]}
                connection.execute(statement.sql, statement.parameters(arrays))
                return
            with self._transaction(connection):
                given = [{f"new_{name}": value for name, value in row.items()} for row in rows]
                connection.executemany(statement.sql, [statement.parameters(each) for each in given])
        except self._engine.dialect.loaded_dbapi.IntegrityError as error:
            raise RowsRefused(" ".join(str(error).split())) from error
        except self._errors as error:
            self._forget()
            raise RecordsAway(" ".join(str(error).split())) from error

    def close(self) -> None:
        with self._lock:
            for each in self._all:
                with suppress(Exception):
                    each.close()
            self._all.clear()

    @contextmanager
    def _transaction(self, connection: Any) -> Iterator[None]:
        if self._postgresql:
            with connection.pipeline(), connection.transaction():
                yield
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        return (self._engine.dialect.loaded_dbapi.Error, SQLAlchemyError, OSError)

    def _connection(self) -> Any:
        made: Any = getattr(self._mine, "connection", None)
        if made is None:
            pooled = self._engine.raw_connection()
            made = pooled.driver_connection
            pooled.detach()
            if self._postgresql:
                made.autocommit = True
                made.prepare_threshold = 0
                made.execute("SET synchronous_commit = off")
                made.execute("SET jit = off")
                made.execute(f"SET statement_timeout = {PATIENCE_MS}")
                made.execute(f"SET lock_timeout = {PATIENCE_MS}")
                made.execute("SET plan_cache_mode = force_generic_plan")  # to plan anew costs more than to ask
                made.execute("SET enable_memoize = off")  # nothing is looked up twice
                made.execute("SET enable_seqscan = off")  # nor may a plan be one for tables that were empty then
            else:
                made.execute(f"PRAGMA busy_timeout = {PATIENCE_MS}")
                made.execute("PRAGMA query_only = 0")
            self._mine.connection, self._mine.known = made, set()
            with self._lock:
                self._all.append(made)
        return made

    def _forget(self) -> None:
        made = getattr(self._mine, "connection", None)
        self._mine.connection = None
        if made is not None:
            with self._lock:
                if made in self._all:
                    self._all.remove(made)
            with suppress(Exception):
                made.close()


def _good(result: PGresult) -> PGresult:
    """Raises psycopg.Error."""
    if result.status in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
        return result
    raise error_from_result(result)


def _unit(value: Any) -> Any:
    """As the columns hold it."""
    if isinstance(value, Decimal):
        return to_units(value)
    return clock.to_us(value) if isinstance(value, datetime) else value
