"""Brings the records' tables up to date. Of hosts and processes that start at once, one does and the others find it done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import OperationalError

from ringback.records import migrations, postgresql
from ringback.records.engine import UNTRACKED, RecordsUnavailable, reading

if TYPE_CHECKING:  # Alembic is imported where something is to be done: a tenth of a process's start
    from alembic.config import Config

VERSION_TABLE = "alembic_version"
_LOCK_KEY = 0x52696E67  # an advisory lock is named by a number: ours
_TURN_TIMEOUT = "10min"  # for another host that migrates
_LOCK_TIMEOUT = "10s"  # for a table: whoever comes after us waits as long as we do
_STATEMENT_TIMEOUT = "10min"


class SchemaTooNew(Exception):
    """The records were written by a newer Ringback."""


def migrate(engine: Engine) -> None:
    """Up to this version's tables. Raises SchemaTooNew, RecordsUnavailable (a table was not had in time; nothing is
    changed), sqlalchemy.exc.DatabaseError."""
    if migrations_current(engine):
        return
    from alembic import command

    with _locked(engine) as (config, present):
        if unknown := present - _steps():
            raise SchemaTooNew(
                f"the records are at step {', '.join(sorted(unknown))}, which this version does not know. "
                "Start the Ringback that wrote them, or a newer one."
            )
        command.upgrade(config, "head")


def migrate_down(engine: Engine, target: str) -> None:
    """Back to the step `target` ("base": no tables). What the steps in between added is lost."""
    from alembic import command

    with _locked(engine) as (config, _):
        command.downgrade(config, target)


def migrations_current(engine: Engine) -> bool:
    """Whether the tables are what this version works with."""
    with reading(engine) as session:
        return _present(session.connection()) == {max(_steps())}


def _present(connection: Connection) -> set[str]:
    """The step that the tables are at; nothing: there are none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return set()
    return set(connection.scalars(text(f"SELECT version_num FROM {VERSION_TABLE}")))  # noqa: S608


@cache
def _steps() -> frozenset[str]:
    """All that this version knows, by their numbers."""
    versions = Path(migrations.__file__).with_name("versions")
    return frozenset(file.name.partition("_")[0] for file in versions.glob("[0-9]*.py"))


@contextmanager
def _locked(engine: Engine) -> Iterator[tuple[Config, set[str]]]:
    """One transaction around all steps, which is also the lock: SQLite has one writer, PostgreSQL an advisory lock."""
    try:
        with engine.execution_options(**{UNTRACKED: True}).begin() as connection:
            if connection.dialect.name == "postgresql":
                _wait_for_turn(connection)
            yield _config(connection), _present(connection)
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != postgresql.LOCK_NOT_HAD:
            raise
        raise RecordsUnavailable(
            "the records cannot be brought up to date: another session holds their tables. "
            "Nothing was changed. Stop the other Ringbacks, dumps and long queries, then start again."
        ) from error


def _wait_for_turn(connection: Connection) -> None:
    def limit(**settings: str) -> None:
        for name, value in settings.items():
            connection.execute(text("SELECT set_config(:name, :value, true)"), {"name": name, "value": value})

    limit(lock_timeout=_TURN_TIMEOUT, statement_timeout=_TURN_TIMEOUT, idle_in_transaction_session_timeout="0")
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
    limit(lock_timeout=_LOCK_TIMEOUT, statement_timeout=_STATEMENT_TIMEOUT)


def _config(connection: Connection | None = None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "ringback.records:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
