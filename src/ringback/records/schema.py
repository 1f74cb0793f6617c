"""Brings the records' tables up to date. Two processes may start at once: the second waits and finds it done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from ringback.records.engine import reading

_LOCK_KEY = 0x52696E67  # an advisory lock is named by a number: ours
_LOCK_TIMEOUT = "30s"
_STATEMENT_TIMEOUT = "10min"


class SchemaTooNew(Exception):
    """The records were written by a newer Ringback."""


def migrate(engine: Engine) -> None:
    """Up to this version's tables. Raises SchemaTooNew, sqlalchemy.exc.OperationalError (the lock was not had in time)."""
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
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
            connection.execute(text(f"SET LOCAL statement_timeout = '{_STATEMENT_TIMEOUT}'"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        present = set(MigrationContext.configure(connection).get_current_heads())
        yield _config(connection), present


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", "ringback.records:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
