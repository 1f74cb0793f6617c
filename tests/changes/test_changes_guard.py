"""No statement changes a tracked table past the audit log, however it is written."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, Table
from sqlalchemy.orm import Mapper

import ringback
from audited import ANN, add_customer, records
from databases import SQLITE, only_postgresql
from ringback.changes.service import changing
from ringback.changes.tracked import Tracked, UntrackedChange, tracked_tables
from ringback.records.engine import UnitOfWork
from ringback.records.tables import Record
from ringback.records.wall import EVERYWHERE

SOURCES = Path(ringback.__file__).parent
for path in SOURCES.rglob("models.py"):
    import_module(".".join(("ringback", *path.relative_to(SOURCES).with_suffix("").parts)))

TRACKED: dict[str, Mapper[Any]] = {
    mapper.local_table.name: mapper
    for mapper in Record.registry.mappers
    if issubclass(mapper.class_, Tracked) and isinstance(mapper.local_table, Table)
}
of_each_table = pytest.mark.parametrize("name", sorted(TRACKED))
Write = Callable[[UnitOfWork, str], object]


def core(name: str) -> Table:
    return cast("Table", TRACKED[name].local_table)


def title(name: str) -> str:
    return next(column.name for column in core(name).columns if isinstance(column.type, sa.String))


def key(name: str) -> str:
    return next(iter(core(name).primary_key)).name


WRITES: dict[str, Write] = {
    "ORM update": lambda work, name: work.execute(sa.update(TRACKED[name].class_).values({title(name): "x"})),
    "ORM delete": lambda work, name: work.execute(sa.delete(TRACKED[name].class_)),
    "ORM insert": lambda work, name: work.execute(sa.insert(TRACKED[name].class_), [{title(name): "x"}]),
    "ORM update by key": lambda work, name: work.execute(
        sa.update(TRACKED[name].class_), [{key(name): 1, title(name): "x", "version": 1}]
    ),
    "ORM query": lambda work, name: work.query(TRACKED[name].class_).delete(synchronize_session=False),
    "bulk save": lambda work, name: work.bulk_insert_mappings(TRACKED[name], [{title(name): "x"}]),
    "Core update": lambda work, name: work.connection().execute(sa.update(core(name)).values({title(name): "x"})),
    "Core delete": lambda work, name: work.connection().execute(sa.delete(core(name))),
    "Core insert": lambda work, name: work.connection().execute(sa.insert(core(name)).values({title(name): "x"})),
    "Core executemany": lambda work, name: work.connection().execute(sa.insert(core(name)), [{title(name): "x"}] * 3),
    "Core from select": lambda work, name: work.connection().execute(
        sa.insert(core(name)).from_select([title(name)], sa.select(core(name).c[title(name)]))
    ),
    "Core of a subquery": lambda work, name: work.connection().execute(
        sa.delete(core(name)).where(core(name).c[key(name)].in_(sa.select(core(name).c[key(name)])))
    ),
}  # fmt: skip
TEXTS = (
    "UPDATE {t} SET {c} = 'x'",
    "update\n\t{t} set {c} = 'x'",
    "UPDATE \"{t}\" SET {c} = 'x'",
    "UPDATE /* well */ {t} SET {c} = 'x'",
    "UPDATE -- well\n {t} SET {c} = 'x'",
    "DELETE FROM {t}",
    "INSERT INTO {t} ({c}) VALUES ('x')",
    "WITH q AS (SELECT 1) DELETE FROM {t} WHERE 1 IN (SELECT * FROM q)",
    "WITH q AS (SELECT 1) UPDATE {t} SET {c} = 'x'",
    "DROP TABLE {t}",
    "ALTER TABLE {t} RENAME TO t2",
)
TEXTS_OF_SQLITE = (
    "INSERT OR REPLACE INTO {t} ({c}) VALUES ('x')",
    "REPLACE INTO {t} ({c}) VALUES ('x')",
    "UPDATE OR IGNORE {t} SET {c} = 'x'",
    "UPDATE main.{t} SET {c} = 'x'",
    "UPDATE [{t}] SET {c} = 'x'",
    "UPDATE `{t}` SET {c} = 'x'",
)
TEXTS_OF_POSTGRESQL = (
    "UPDATE ONLY {t} SET {c} = 'x'",
    "UPDATE public.\"{t}\" SET {c} = 'x'",
    "WITH gone AS (DELETE FROM {t} RETURNING *) SELECT * FROM gone",
    "MERGE INTO {t} USING (SELECT 1 AS one) AS s ON TRUE WHEN MATCHED THEN DELETE",
    "TRUNCATE {t} CASCADE",
    "TRUNCATE TABLE leases, {t}",
    "COPY {t} FROM STDIN",
)


def refused(engine: Engine, name: str, do: Write) -> None:
    with (
        pytest.raises(UntrackedChange, match=rf"would change {name} past"),
        changing(engine, ANN, EVERYWHERE) as work,
    ):
        do(work, name)


@of_each_table
def test_statements_of_the_toolkit_are_refused(engine: Engine, name: str) -> None:
    for do in WRITES.values():
        refused(engine, name, do)


def test_what_is_tracked_nowhere_is_set_by_statements_that_set_nothing_else(engine: Engine) -> None:
    """A balance, whose movements are records themselves."""
    with changing(engine, ANN, ("default",)) as work:
        id_ = add_customer(work).id
    count = len(records(engine))
    customers = TRACKED["customers"].class_
    one = sa.update(customers).where(customers.id == id_)
    with changing(engine, ANN, EVERYWHERE) as work:
        work.execute(one.values(balance=Decimal("12.5")))
    with changing(engine, ANN, EVERYWHERE) as work:
        assert work.get_one(customers, id_).balance == Decimal("12.5")
    assert len(records(engine)) == count
    for do in (
        lambda work, _: work.execute(one.values(balance=Decimal(1), name="x")),
        lambda work, _: work.execute(
            one.values(balance=sa.select(sa.func.max(customers.credit_limit)).scalar_subquery())
        ),
        lambda work, _: work.connection().exec_driver_sql("UPDATE customers SET balance=1, name='x' WHERE id=1"),
        lambda work, _: work.connection().exec_driver_sql(
            "UPDATE customers SET balance=1 WHERE 1=1; DELETE FROM customers"
        ),
    ):
        refused(engine, "customers", do)


def by_text(statement: str, work: UnitOfWork, _: str) -> None:
    work.execute(sa.text(statement))


def by_driver(statement: str, work: UnitOfWork, _: str) -> None:
    work.connection().exec_driver_sql(statement)


@of_each_table
def test_statements_as_text_are_refused(engine: Engine, name: str) -> None:
    own = TEXTS_OF_SQLITE if engine.dialect.name == SQLITE else TEXTS_OF_POSTGRESQL
    for form in TEXTS + own:
        statement = form.format(t=name, c=title(name))
        refused(engine, name, partial(by_text, statement))
        refused(engine, name, partial(by_driver, statement))
        with pytest.raises(UntrackedChange), engine.begin() as connection:
            connection.execute(sa.text(statement))


@only_postgresql
@of_each_table
def test_the_drivers_own_copy_and_cursors_are_refused(engine: Engine, name: str) -> None:
    def copy(work: UnitOfWork, table: str) -> None:
        driver = work.connection().connection.driver_connection
        assert driver is not None
        with driver.cursor().copy(f"COPY {table} ({title(table)}) FROM STDIN") as rows:
            rows.write_row(("x",))

    refused(engine, name, copy)


def test_what_only_reads_or_writes_another_table_is_not(engine: Engine) -> None:
    with changing(engine, ANN, EVERYWHERE) as work:
        add_customer(work, environment="default")
        work.execute(sa.text("SELECT * FROM customers WHERE name = 'update it'"))
        work.execute(sa.text("UPDATE leases SET holder = 'x'"))
        work.scalars(sa.select(TRACKED["customers"].class_).with_for_update()).all()
    assert [one.action for one in records(engine)] == ["created"]


def test_the_database_itself_changes_no_tracked_table() -> None:
    """A key with ON DELETE CASCADE or SET NULL would."""
    for name in TRACKED:
        for key_ in core(name).foreign_keys:
            assert key_.ondelete in (None, "RESTRICT", "NO ACTION"), f"{name}.{key_.parent.name}"


PAST = {  # what can go past the guard, or past the wall between environments, and who needs it for what
    "access/models.py": {"sqlalchemy.text"},  # in models: the condition of an index
    "access/queries.py": {"sqlalchemy.column", "sqlalchemy.table"},  # names of environments, for who signs in
    "audit/models.py": {"sqlalchemy.text"},
    "audit/verification.py": {"connection", "exec_driver_sql"},  # records as they are stored, for EVERYWHERE
    "audit/writer.py": {"connection", "exec_driver_sql", "sqlalchemy.text"},  # ids and records
    "billing/engine/direct.py": {"driver_connection", "raw_connection"},  # the call path: its own table, and reading
    "billing/engine/models.py": {"sqlalchemy.text"},
    "billing/engine/queries.py": {"sqlalchemy.literal_column"},  # lengths of prefixes
    "billing/entities/models.py": {"sqlalchemy.text"},
    "billing/ledger/models.py": {"sqlalchemy.text"},
    "billing/entities/queries.py": {"__table__"},  # whether a column may be empty
    "changes/tracked.py": {"UNTRACKED", "local_table", "sqlalchemy.Table"},
    "moving.py": {"connection"},  # whether there is a table yet
    "records/copying.py": {"UNTRACKED", "connection", "sorted_tables", "sqlalchemy.Table", "sqlalchemy.text"},
    "records/engine.py": {"UNTRACKED", "connection", "exec_driver_sql", "sqlalchemy.text"},
    "records/postgresql.py": {"sqlalchemy.text"},
    "records/schema.py": {"UNTRACKED", "begin", "connection", "sqlalchemy.text"},
    "records/wall.py": {"local_table", "sqlalchemy.Table", "sqlalchemy.TableClause"},
    "sessions/ownership/queries.py": {"connection"},  # whether there is a table yet
    "sessions/share/models.py": {"sqlalchemy.text"},
}


def test_nothing_in_the_product_goes_past_the_guard_or_the_wall() -> None:
    """Connections, tables without their models, text, and the option that lifts the guard stand where they must."""
    found = {}
    for path in SOURCES.rglob("*.py"):
        name = path.relative_to(SOURCES)
        if name.parts[0] != "events" and "migrations" not in name.parts:  # the event store's files are its own
            found[str(name)] = ways_past(ast.parse(path.read_text()))
    assert {name: ways - PAST.get(name, set()) for name, ways in found.items() if ways - PAST.get(name, set())} == {}


def ways_past(tree: ast.Module) -> set[str]:
    words = {
        "raw_connection", "driver_connection", "dbapi_connection", "exec_driver_sql", "from_statement", "UNTRACKED",
        "__table__", "local_table", "persist_selectable", "selectable", "sorted_tables",
    }  # fmt: skip
    tables = {"Table", "TableClause", "column", "literal_column", "table", "text", "lambda_stmt"}
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] == "sqlalchemy":
                found |= {f"sqlalchemy.{each.name}" for each in node.names if each.name in tables}
            case ast.Import():
                found |= {each.name for each in node.names if each.name.partition(".")[0] == "sqlalchemy"}
            case ast.Attribute(attr=word) | ast.Name(id=word) if word in words:
                found.add(word)
            case ast.Attribute(attr="tables", value=ast.Attribute(attr="metadata")):
                found.add("metadata.tables")
            case ast.Call(func=ast.Attribute(attr="connection")):
                found.add("connection")
            case ast.Call(func=ast.Attribute(attr="begin" | "connect" as how, value=value)):
                if re.search(r"\b_?(engine|records)\b", ast.unparse(value)):
                    found.add(how)
            case _:
                pass
    return found


@pytest.mark.parametrize(
    "line",
    [
        "from sqlalchemy import table", "from sqlalchemy.sql import text", "import sqlalchemy as sa",
        "select(Account).join(Customer.__table__)", "Record.metadata.tables['accounts']", "inspect(Account).local_table",
        "select(Account).from_statement(asked)", "work.connection().execute(asked)",
        "engine.raw_connection()", "self._engine.begin()", "records.connect()",
    ],
)  # fmt: skip
def test_ways_past_the_guard_are_seen(line: str) -> None:
    assert ways_past(ast.parse(line))


def test_every_tracked_table_is_known() -> None:
    assert tracked_tables() == set(TRACKED)
    assert len(TRACKED) > 15
