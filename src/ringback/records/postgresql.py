"""What is PostgreSQL's own: how it is connected to, and what a server must be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Engine, create_engine, event, text
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    import psycopg

DRIVER = "postgresql+psycopg"
NAMES = frozenset({"postgres", "postgresql", DRIVER})
OLDEST = 15  # the tests run on it
BROKEN_OFF = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected
LOCK_NOT_HAD = "55P03"  # lock_not_available
READING = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

POOL_KEPT, POOL_MORE = 5, 5  # connections a process: kept open, and opened for a burst
POOL_WAIT_S = 10  # for a free one
POOL_AGE_S = 1800  # then a new one: firewalls forget old ones
_SESSION = {
    "lock_timeout": "10s",  # as long as a writer waits on SQLite
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "60s",  # a host that hangs gives its locks back
}
# libpq's own, where the URL says nothing else. A host that is gone is noticed within half a minute.
_CONNECT = {
    "connect_timeout": "10",
    "client_encoding": "utf8",
    "application_name": "ringback",
    "target_session_attrs": "read-write",  # of several hosts the primary one
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}


def make_engine(url: URL) -> Engine:
    """A pool that asks each connection whether it still lives before it hands it out. Connects to nothing yet."""
    engine = create_engine(
        url,
        connect_args={name: value for name, value in _CONNECT.items() if name not in url.query},
        isolation_level="READ COMMITTED",  # each statement sees what was committed before it: so locks can be trusted
        pool_size=POOL_KEPT,
        max_overflow=POOL_MORE,
        pool_timeout=POOL_WAIT_S,
        pool_recycle=POOL_AGE_S,
        pool_pre_ping=True,
        pool_use_lifo=True,
        hide_parameters=True,
    )
    event.listen(engine, "connect", _prepare)
    return engine


def problem(session: Session) -> str:
    """Why this server will not do; "": it will."""
    number, version, encoding = session.execute(
        text(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version'), "
            "current_setting('server_encoding')"
        )
    ).one()
    if number < OLDEST * 10_000:
        return f"the server is PostgreSQL {version}; Ringback needs {OLDEST} or newer."
    if encoding != "UTF8":
        return (
            f"the database is encoded as {encoding}, not UTF8. "
            "Make it anew: CREATE DATABASE ringback ENCODING 'UTF8' TEMPLATE template0;"
        )
    return ""


def _prepare(connection: psycopg.Connection[Any], _record: Any) -> None:
    connection.autocommit = True  # what is set in a transaction is forgotten with it
    for name, value in _SESSION.items():
        connection.execute("SELECT set_config(%s, %s, false)", (name, value))
    connection.autocommit = False
