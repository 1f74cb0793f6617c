"""The migrations make what the models describe, once, and can be undone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

import ringback.access.models
import ringback.hosts.models
import ringback.sessions.nodes.models
import ringback.sessions.share.models  # noqa: F401 -- all: so that the metadata is complete
from ringback.records.engine import open_engine, reading, unit_of_work
from ringback.records.schema import SchemaTooNew, migrate, migrate_down, migrations_current
from ringback.records.tables import InEnvironment, Record


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'records.sqlite'}")
    yield engine
    engine.dispose()


def test_migrations_make_exactly_the_tables_of_the_models(engine: Engine) -> None:
    migrate(engine)
    with reading(engine) as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        assert compare_metadata(context, Record.metadata) == []


def test_constraints_have_the_names_of_the_models(engine: Engine) -> None:
    migrate(engine)
    inspector = inspect(engine)
    for table in Record.metadata.sorted_tables:
        found = {each["name"] for each in inspector.get_unique_constraints(table.name)}
        found |= {each["name"] for each in inspector.get_foreign_keys(table.name)}
        found |= {each["name"] for each in inspector.get_check_constraints(table.name)}
        found.add(inspector.get_pk_constraint(table.name)["name"])
        assert found == {constraint.name for constraint in table.constraints}, table.name


def test_every_step_can_be_undone_and_done_again(engine: Engine) -> None:
    migrate(engine)
    migrate_down(engine, "base")
    assert set(inspect(engine).get_table_names()) == {"alembic_version"}
    assert not migrations_current(engine)
    migrate(engine)
    assert migrations_current(engine)


def test_every_table_carries_an_environment() -> None:
    for mapper in Record.registry.mappers:
        assert issubclass(mapper.class_, InEnvironment), mapper.class_.__name__


def test_two_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.sqlite'}"

    def start(_: int) -> bool:
        engine = open_engine(url)
        migrate(engine)
        current = migrations_current(engine)
        engine.dispose()
        return current

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(start, range(4))) == [True] * 4


def test_a_failed_step_leaves_nothing_behind(engine: Engine) -> None:
    with unit_of_work(engine) as work:
        work.execute(text("CREATE TABLE nodes (in_the_way INTEGER)"))
    with pytest.raises(Exception, match="nodes"):
        migrate(engine)
    assert inspect(engine).get_table_names() == ["nodes"]


def test_records_of_a_newer_version_are_refused_untouched(engine: Engine, tmp_path: Path) -> None:
    migrate(engine)
    with unit_of_work(engine) as work:
        work.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaTooNew, match="9999"):
        migrate(engine)
    with sqlite3.connect(tmp_path / "records.sqlite") as plain:
        assert plain.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    plain.close()
