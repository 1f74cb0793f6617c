"""The engine of the records, and the two ways to use it: `unit_of_work` writes, `reading` reads."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.orm import Session

from ringback.records import postgresql
from ringback.records.wall import Environments, WalledSession, enclose

BUSY_TIMEOUT_MS = 10_000  # how long a writer waits for another one
TRIES = 5  # of a unit of work that the database ends for another one's sake
_READ_ONLY = "ringback_read_only"
_AT_END = "ringback_at_end"
UNTRACKED = "ringback_untracked"  # execution option of connections: migrations, and a copy of all records
_GOOD_URLS = "Give postgresql://user@host/database, or sqlite:////var/lib/ringback/records.sqlite."

Answer = TypeVar("Answer")
_flush = threading.local()  # .of: whose objects this thread is writing


class RecordsUnavailable(Exception):
    """The records cannot be opened: which, why and what to do."""


class UnitOfWork(WalledSession):
    """A session that is committed once, by the `unit_of_work` it belongs to.

    What has to be written last, under locks that nobody shall wait for long, registers with `at_end`.
    """

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        was, _flush.of = getattr(_flush, "of", None), self
        try:
            super().flush(objects)
        finally:
            _flush.of = was

    def at_end(self, do: Callable[[], None]) -> None:
        """Called once before the commit, after the last flush. What it raises undoes the work."""
        self.info.setdefault(_AT_END, []).append(do)

    def commit(self) -> None:
        raise RuntimeError("a unit of work is committed once, at its end")

    def lock(self, *name: str) -> None:
        """From here to the end of the work nobody else is past a lock of this name, on any host.

        Taken before a look at what is not there yet: a row that is there is locked by reading it `with_for_update`.
        """
        if self.get_bind().dialect.name == "postgresql":  # SQLite has one writer, who holds it from the start
            key = int.from_bytes(sha256("/".join(name).encode()).digest()[:8], signed=True)
            self.connection().execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


def is_flushing() -> bool:
    """Whether this thread writes what objects of a unit of work say, rather than a statement of somebody's own."""
    return getattr(_flush, "of", None) is not None


def open_engine(url: str, named: str = "RINGBACK_DATABASE_URL", *, must_exist: bool = False) -> Engine:
    """Thread-safe; one a process. Connects once to say early what is wrong. Raises RecordsUnavailable.

    `named` is where the URL was given. A file is made where there is none, unless it `must_exist`. No error says the
    password, nor anything behind the "?" of the URL.
    """
    parsed = _parsed(url, named)
    shown = parsed.set(query={}).render_as_string(hide_password=True)
    if must_exist and parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
        raise RecordsUnavailable(f"{named}: there is no file {parsed.database}")
    try:
        engine = _sqlite_engine(parsed) if parsed.get_backend_name() == "sqlite" else postgresql.make_engine(parsed)
    except OSError as error:
        raise RecordsUnavailable(f"the folder of the records cannot be made: {error}") from error
    try:
        with reading(engine) as session:
            problem = postgresql.problem(session) if engine.dialect.name == "postgresql" else _probe(session)
    except DatabaseError as error:
        engine.dispose()
        raise RecordsUnavailable(f"the records at {shown} cannot be opened: {reason(error)}") from error
    if problem:
        engine.dispose()
        raise RecordsUnavailable(f"the records at {shown} cannot be used: {problem}")
    return engine


def reason(error: DatabaseError) -> str:
    """What the database said, on one line, without the statement and its values."""
    return " ".join(str(error.orig).split())


@contextmanager
def unit_of_work(engine: Engine, environments: Environments = None) -> Iterator[UnitOfWork]:
    """All or nothing: committed once when the block ends, rolled back when it raises. `environments`: see `wall`.

    Objects stay readable afterwards. What was read inside is still true when it is written: on SQLite because the one
    writer's place is taken at the start, on PostgreSQL where it was read under `lock` or `with_for_update`.
    """
    with UnitOfWork(engine, expire_on_commit=False) as work:
        enclose(work, environments)
        yield work
        work.flush()
        while last := work.info.pop(_AT_END, []):
            for do in last:
                do()
            work.flush()
        Session.commit(work)


def do_in_unit_of_work(
    engine: Engine, do: Callable[[UnitOfWork], Answer], environments: Environments = None
) -> Answer:
    """For work that takes several locks: done again from its start when the database broke it off for another one's
    sake (a deadlock, a serialisation failure). `do` changes nothing but the records."""
    for attempt in range(1, TRIES + 1):
        try:
            with unit_of_work(engine, environments) as work:
                return do(work)
        except OperationalError as error:
            if attempt == TRIES or getattr(error.orig, "sqlstate", None) not in postgresql.BROKEN_OFF:
                raise
            time.sleep(random.uniform(0.005, 0.02) * attempt)
    raise AssertionError("not reached")


@contextmanager
def reading(engine: Engine, environments: Environments = None) -> Iterator[Session]:
    """One consistent view, in which nothing can be written, and no writer waits for it. `environments`: see `wall`."""
    options = postgresql.READING if engine.dialect.name == "postgresql" else {_READ_ONLY: True}
    with WalledSession(engine.execution_options(**options), autoflush=False) as session:
        enclose(session, environments)
        yield session


def _parsed(url: str, named: str) -> URL:
    try:
        parsed = make_url(url)
        readable = "@" not in (parsed.host or "")  # else a part of the password is taken for the host
    except (ArgumentError, ValueError):  # their texts may hold a part of it, too
        readable = False
    if not readable:
        raise RecordsUnavailable(
            f"{named} cannot be read: it is no URL of a database. {_GOOD_URLS} "
            "In a password, % : / ? # @ [ ] are written as %25 %3A %2F %3F %23 %40 %5B %5D."
        )
    if parsed.drivername in postgresql.NAMES:
        return parsed.set(drivername=postgresql.DRIVER)
    if parsed.drivername in ("sqlite", "sqlite+pysqlite") and parsed.database and parsed.database != ":memory:":
        return parsed
    raise RecordsUnavailable(
        f"{named}: records are kept in PostgreSQL or in a file of SQLite, "
        f"which {parsed.drivername}:// is not. {_GOOD_URLS}"
    )


def _sqlite_engine(url: URL) -> Engine:
    """Raises OSError."""
    Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, hide_parameters=True)  # values of a statement are in no error
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # `_begin_sqlite` says when a transaction begins
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    _use_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")  # a password that was changed stays changed
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _use_wal(cursor: sqlite3.Cursor) -> None:
    """Of several that open a new file at once all but one may be refused, whatever the busy timeout: they try again."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql(f"PRAGMA query_only = {read_only:d}")
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _probe(session: Session) -> str:
    session.execute(text("SELECT 1"))
    return ""
