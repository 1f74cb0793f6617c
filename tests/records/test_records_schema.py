"""The migrations make what the models describe, once, from any step, and can be undone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from filled_records import contents, fill
from sqlalchemy import Engine, Inspector, inspect, text

import ringback
from databases import SQLITE, only_postgresql
from ringback import clock
from ringback.records import schema
from ringback.records.engine import RecordsUnavailable, open_engine, reading, unit_of_work
from ringback.records.schema import (
    VERSION_TABLE,
    SchemaTooNew,
    migrate,
    migrate_down,
    migrations_current,
)
from ringback.records.tables import InEnvironment, Record
from ringback.records.wall import EVERYWHERE

SOURCES = Path(ringback.__file__).parent
for path in SOURCES.rglob("models.py"):  # so that the metadata is complete
    import_module(".".join(("ringback", *path.relative_to(SOURCES).with_suffix("").parts)))
STEPS = [step.revision for step in ScriptDirectory.from_config(schema._config()).walk_revisions()][::-1]


@pytest.fixture
def engine(blank_url: str) -> Iterator[Engine]:
    engine = open_engine(blank_url)
    yield engine
    engine.dispose()


def migrate_to(engine: Engine, step: str) -> None:
    with schema._locked(engine) as (config, _):
        command.upgrade(config, step)


def test_migrations_make_exactly_the_tables_of_the_models(engine: Engine) -> None:
    migrate(engine)
    with reading(engine, EVERYWHERE) as session:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(session.connection(), opts=options)
        assert compare_metadata(context, Record.metadata) == []


def test_the_steps_are_known_without_alembic() -> None:
    assert schema._steps() == set(STEPS)
    assert max(schema._steps()) == STEPS[-1]


def test_constraints_have_the_names_of_the_models(engine: Engine) -> None:
    migrate(engine)
    inspector = inspect(engine)
    for table in Record.metadata.sorted_tables:
        found = {each["name"] for each in inspector.get_unique_constraints(table.name)}
        found |= {each["name"] for each in inspector.get_foreign_keys(table.name)}
        found |= {each["name"] for each in inspector.get_check_constraints(table.name)}
        found.add(inspector.get_pk_constraint(table.name)["name"] or f"pk_{table.name}")  # AUTOINCREMENT has no name
        assert found == {constraint.name for constraint in table.constraints}, table.name


def test_indexes_are_on_the_rows_that_the_models_say(engine: Engine) -> None:
    migrate(engine)
    inspector = inspect(engine)
    kind = engine.dialect.name
    for table in Record.metadata.sorted_tables:
        conditions = [each.dialect_options[kind]["where"] for each in table.indexes]
        said = {
            (each.name, each.unique, "" if condition is None else _bare(str(condition)))
            for each, condition in zip(table.indexes, conditions, strict=True)
        }
        assert indexes(inspector, table.name, kind) == said, table.name


def indexes(inspector: Inspector, table: str, kind: str) -> set[tuple[str | None, bool, str]]:
    """(name, unique, condition)"""
    unique_constraints = {each["name"] for each in inspector.get_unique_constraints(table)}
    return {
        (
            each["name"],
            bool(each["unique"]),
            _bare(str(each.get("dialect_options", {}).get(f"{kind}_where", ""))),
        )
        for each in inspector.get_indexes(table)
        if each["name"] not in unique_constraints
    }


def _bare(condition: str) -> str:
    return condition.replace("(", "").replace(")", "")


def test_what_was_stored_at_any_step_is_there_after_the_next(engine: Engine) -> None:
    stored: dict[str, list[dict[str, object]]] = {}
    for step in STEPS:
        migrate_to(engine, step)
        now = contents(engine, stored)
        for table, rows in stored.items():
            for before, after in zip(rows, now[table], strict=True):
                kept = before.keys() & after.keys()  # columns come and go
                assert len(kept) > 1
                assert {name: after[name] for name in kept} == {name: before[name] for name in kept}, (step, table)
        stored = fill(engine)  # the keys go on where they were
        assert stored
    assert migrations_current(engine)


def test_every_step_can_be_undone_and_done_again(engine: Engine) -> None:
    were = {}
    for step in STEPS:
        migrate_to(engine, step)
        were[step] = described(engine)
    for step in reversed(STEPS):
        migrate_down(engine, step)
        assert described(engine) == were[step], step
    migrate_down(engine, "base")
    assert set(inspect(engine).get_table_names()) == {VERSION_TABLE}
    assert not migrations_current(engine)
    migrate(engine)
    assert migrations_current(engine)


def described(engine: Engine) -> dict[str, object]:
    inspector = inspect(engine)
    return {
        table: (
            sorted((each["name"], str(each["type"]), each["nullable"]) for each in inspector.get_columns(table)),
            indexes(inspector, table, engine.dialect.name),
        )
        for table in inspector.get_table_names()
    }


OF_THE_INSTALLATION = {
    "User", "SignIn", "RecoveryCode", "LoginSession", "LoginThrottle", "ApiToken", "TokenUse", "RoleRun", "Lease",
    "ConfigurationSeen", "TrafficRule",
}  # fmt: skip


def test_every_table_stands_behind_the_wall_but_those_of_the_installation() -> None:
    outside = {each.class_.__name__ for each in Record.registry.mappers if not issubclass(each.class_, InEnvironment)}
    assert outside <= OF_THE_INSTALLATION


def test_those_that_start_at_once_migrate_once(blank_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="alembic.runtime.migration")

    def start(_: int) -> bool:
        engine = open_engine(blank_url)
        migrate(engine)
        current = migrations_current(engine)
        engine.dispose()
        return current

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(start, range(4))) == [True] * 4
    steps = [record.getMessage() for record in caplog.records if "Running upgrade" in record.getMessage()]
    assert len(steps) == len(STEPS)


def test_a_failed_step_leaves_nothing_behind(engine: Engine) -> None:
    with unit_of_work(engine, EVERYWHERE) as work:
        work.execute(text("CREATE TABLE nodes (in_the_way INTEGER)"))
    with pytest.raises(Exception, match="nodes"):
        migrate(engine)
    assert inspect(engine).get_table_names() == ["nodes"]


def test_records_of_a_newer_version_are_refused_untouched(
    engine: Engine,
) -> None:
    migrate(engine)
    with unit_of_work(engine, EVERYWHERE) as work:
        work.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    before = described(engine)
    with pytest.raises(SchemaTooNew, match="9999"):
        migrate(engine)
    with reading(engine, EVERYWHERE) as session:
        assert session.scalars(text(f"SELECT version_num FROM {VERSION_TABLE}")).all() == ["9999"]
    assert described(engine) == before


@only_postgresql
def test_tables_in_use_are_not_waited_for_long(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_LOCK_TIMEOUT", "50ms")
    migrate_to(engine, STEPS[0])
    with engine.begin() as other:
        other.execute(text(f"LOCK TABLE {VERSION_TABLE} IN SHARE MODE"))  # as a dump does: readers go on
        with pytest.raises(RecordsUnavailable, match=r"another session holds their tables\. Nothing was changed"):
            migrate(engine)
    with reading(engine, EVERYWHERE) as session:
        assert session.scalars(text(f"SELECT version_num FROM {VERSION_TABLE}")).all() == [STEPS[0]]
    migrate(engine)


@only_postgresql
def test_a_step_has_limits_of_its_own(engine: Engine) -> None:
    with schema._locked(engine) as (config, _):
        connection = config.attributes["connection"]
        limits = [connection.scalar(text(f"SHOW {name}")) for name in ("lock_timeout", "statement_timeout")]
    assert limits == ["10s", "10min"]
    with reading(engine, EVERYWHERE) as session:
        assert session.scalar(text("SHOW statement_timeout")) == "1min", "given back with the transaction"


@only_postgresql
def test_who_may_not_make_tables_is_told(engine: Engine) -> None:
    role = f"ringback_test_{clock.random_token(6).lower().replace('-', '_')}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD 'x'"))
    guest = open_engine(engine.url.set(username=role, password="x").render_as_string(hide_password=False))
    with pytest.raises(Exception, match="permission denied for schema public"):
        migrate(guest)
    guest.dispose()
    with engine.begin() as connection:
        connection.execute(text(f"DROP ROLE {role}"))


def test_records_that_are_up_to_date_are_opened_while_another_writes(engine: Engine, database: str) -> None:
    migrate(engine)
    with unit_of_work(engine, EVERYWHERE) as work:
        work.execute(text("DELETE FROM login_sessions"))
        if database != SQLITE:
            work.execute(text(f"LOCK TABLE login_sessions, {VERSION_TABLE} IN SHARE MODE"))
        migrate(engine)  # no writer's place and no lock is taken where there is nothing to do
