"""Brings the records' tables up to date. Of hosts and processes that start at once, one does and the others find it done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from ringback.records import postgresql
from ringback.records.engine import UNTRACKED, RecordsUnavailable, reading

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
    with _locked(engine) as (config, present):
        unknown = present - {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if unknown:
            raise SchemaTooNew(
                f"the records are at step {', '.join(sorted(unknown))}, which this version does not know. "
                "Start the Ringback that wrote them, or a newer one."
            )
        command.upgrade(config, "head")


def migrate_down(engine: Engine, target: str) -> None:
    """Back to the step `target` ("base": no tables). What the steps in between added is lost."""
    with _locked(engine) as (config, _):
        command.downgrade(config, target)


def migrations_current(engine: Engine) -> bool:
    """Whether the tables are what this version works with."""
    with reading(engine) as session:
        present = set(MigrationContext.configure(session.connection()).get_current_heads())
    return present == set(ScriptDirectory.from_config(_config()).get_heads())


@contextmanager
def _locked(engine: Engine) -> Iterator[tuple[Config, set[str]]]:
    """One transaction around all steps, which is also the lock: SQLite has one writer, PostgreSQL an advisory lock."""
    try:
        with engine.execution_options(**{UNTRACKED: True}).begin() as connection:
            if connection.dialect.name == "postgresql":
                _wait_for_turn(connection)
            present = set(MigrationContext.configure(connection).get_current_heads())
            yield _config(connection), present
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
    config = Config()
    config.set_main_option("script_location", "ringback.records:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
