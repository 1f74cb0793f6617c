"""Records of every kind, whatever the tables are."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from sqlalchemy import Engine, MetaData, Table, func, insert, select

from ringback.records.engine import UNTRACKED, reading
from ringback.records.schema import VERSION_TABLE
from ringback.records.wall import EVERYWHERE

_KINDS = {"node_senders": "agent", "traffic_rules": "domain"}  # tables with a list of what is allowed


def fill(engine: Engine) -> dict[str, list[dict[str, object]]]:
    """One more row in every table; returns all rows of each."""
    metadata = MetaData()
    metadata.reflect(engine)
    tables = [table for table in metadata.sorted_tables if table.name != VERSION_TABLE]
    with engine.execution_options(**{UNTRACKED: True}).begin() as connection:
        for table in tables:
            number = connection.scalar(select(func.count()).select_from(table)) or 0
            connection.execute(insert(table).values(row(table, number + 1)))
    return contents(engine, [table.name for table in tables])


def row(table: Table, number: int) -> dict[str, object]:
    """The numberth row; keys of other tables are theirs, as `fill` goes on evenly."""
    counted = {
        column.name for column in table.primary_key if not column.foreign_keys and column.type.python_type is int
    }
    values: dict[str, object] = {}
    for column in table.columns:
        if column.name in counted and len(table.primary_key) == 1:
            continue  # the database counts
        kind = column.type.python_type
        others: dict[type, object] = {
            bool: number % 2 == 0,
            int: number,
            date: date(2026, 1, 1),
            bytes: b"%d" % number,
        }
        value = others.get(kind, f"é{number}")
        values[column.name] = None if column.nullable and number % 3 == 0 else value
    if table.name in _KINDS:
        values["kind"] = _KINDS[table.name]
    return values


def contents(engine: Engine, names: Iterable[str]) -> dict[str, list[dict[str, object]]]:
    """All rows of the tables."""
    with reading(engine, EVERYWHERE) as session:
        metadata = MetaData()
        metadata.reflect(session.connection(), only=list(names))
        found = {}
        for name in names:
            table = metadata.tables[name]
            rows = session.execute(select(table).order_by(*table.primary_key)).mappings()
            found[name] = [dict(each) for each in rows]
        return found
