"""The engine of the records, and the two ways to use it: `unit_of_work` writes, `reading` reads."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError
from sqlalchemy.orm import Session

BUSY_TIMEOUT_MS = 10_000  # how long a writer waits for another one
_READ_ONLY = "ringback_read_only"


class RecordsUnavailable(Exception):
    """The records cannot be opened: which, why and what to do."""


class UnitOfWork(Session):
    """A session that is committed once, by the `unit_of_work` it belongs to."""

    def commit(self) -> None:
        raise RuntimeError("a unit of work is committed once, at its end")


def open_engine(url: str) -> Engine:
    """Thread-safe; one a process. Connects once to say early what is wrong. Raises RecordsUnavailable."""
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, pool_pre_ping=parsed.get_backend_name() != "sqlite")
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise RecordsUnavailable(
            f"RINGBACK_DATABASE_URL cannot be used: {error}. "
            "Give a SQLAlchemy URL, such as sqlite:////var/lib/ringback/records.sqlite."
        ) from error
    except OSError as error:
        raise RecordsUnavailable(f"the folder of the records cannot be made: {error}") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    try:
        check_reachable(engine)
    except DatabaseError as error:
        engine.dispose()
        shown = engine.url.render_as_string(hide_password=True)
        raise RecordsUnavailable(f"the records at {shown} cannot be opened: {error.orig}") from error
    return engine


def check_reachable(engine: Engine) -> None:
    """Raises sqlalchemy.exc.DatabaseError."""
    with reading(engine) as session:
        session.execute(text("SELECT 1"))


@contextmanager
def unit_of_work(engine: Engine) -> Iterator[UnitOfWork]:
    """All or nothing: committed once when the block ends, rolled back when it raises.

    Objects stay readable afterwards. On SQLite the one writer's place is taken at the start, so that what was read
    inside is still true when it is written.
    """
    with UnitOfWork(engine, expire_on_commit=False) as work:
        yield work
        Session.commit(work)


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """One consistent view; nothing done in it is kept and no writer waits for it."""
    with Session(engine.execution_options(**{_READ_ONLY: True}), autoflush=False) as session:
        yield session


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # `_begin_sqlite` says when a transaction begins
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")  # a password that was changed stays changed
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
