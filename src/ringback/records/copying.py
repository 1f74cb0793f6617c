"""All records from one database to another, of the same or the other kind: SQLite to PostgreSQL and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    MetaData,
    Table,
    Text,
    delete,
    func,
    insert,
    literal,
    select,
    text,
)
from sqlalchemy.exc import DatabaseError

from ringback.records.engine import UNTRACKED, open_engine, reading, reason, unit_of_work
from ringback.records.schema import VERSION_TABLE, migrate, migrations_current

BATCH = 1000  # rows
_SEEDED = frozenset({"environments", "traffic_rules"})  # hold rows as soon as they are made


class CopyRefused(Exception):
    """Why nothing was copied, and what to do."""


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """`rows` of the table's `total` are copied."""

    table: str
    rows: int
    total: int


def copy_records(
    source_url: str, target_url: str, progress: Callable[[CopyProgress], None] = lambda _: None
) -> dict[str, int]:
    """Rows that were copied, by table; those that others refer to come first.

    The source is read as it is at one moment and is not changed. The target gets its tables, then everything in one
    transaction, or nothing. Raises CopyRefused, SchemaTooNew, RecordsUnavailable, sqlalchemy.exc.DatabaseError.
    """
    with ExitStack() as opened:
        source = open_engine(source_url, "--from", must_exist=True)
        opened.callback(source.dispose)
        target = open_engine(target_url, "--to")
        opened.callback(target.dispose)
        return _copy_all(source, target, progress)


def _copy_all(source: Engine, target: Engine, progress: Callable[[CopyProgress], None]) -> dict[str, int]:
    if not migrations_current(source):
        raise CopyRefused(
            "the tables of the source are not those of this version: "
            "bring them up to date with it first (`ringback token list` does), or use the version that wrote them"
        )
    migrate(target)
    with reading(source) as session, unit_of_work(target) as work:
        reads = _unlimited(session.connection())
        writes = _unlimited(work.connection().execution_options(**{UNTRACKED: True}))
        tables = _tables(reads)
        targets = {table.name: table for table in _tables(writes)}
        _take(writes, list(targets.values()))
        copied = {table.name: _copy(reads, writes, table, targets[table.name], progress) for table in tables}
        for table in tables:
            _count_on(writes, targets[table.name])
            _verify(writes, targets[table.name], copied[table.name])
    return copied


def _tables(connection: Connection) -> list[Table]:
    """As they are in the database; those that others refer to come first."""
    metadata = MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name != VERSION_TABLE]


def _unlimited(connection: Connection) -> Connection:
    """One side is idle while the other works, however long that takes."""
    if connection.dialect.name == "postgresql":
        for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(text("SELECT set_config(:name, '0', true)"), {"name": name})
    return connection


def _take(connection: Connection, tables: Sequence[Table]) -> None:
    """Nobody else writes to the target until the end. Raises CopyRefused where it holds anything."""
    if connection.dialect.name == "postgresql":
        quoted = ", ".join(connection.dialect.identifier_preparer.format_table(table) for table in tables)
        connection.execute(text(f"LOCK TABLE {quoted} IN EXCLUSIVE MODE"))
    used = {table.name for table in tables if connection.execute(select(1).select_from(table).limit(1)).first()}
    if used <= _SEEDED:  # and nobody changed these: the audit log is empty
        for table in tables:
            if table.name in used:
                connection.execute(delete(table))
        return
    if used:
        raise CopyRefused(
            f"the target has records already, in {', '.join(sorted(used))}: nothing was copied. Give an empty database"
        )


def _copy(
    reads: Connection, writes: Connection, source: Table, target: Table, progress: Callable[[CopyProgress], None]
) -> int:
    total = reads.scalar(select(func.count()).select_from(source)) or 0
    progress(CopyProgress(source.name, 0, total))
    found = select(source).order_by(*source.primary_key).execution_options(yield_per=BATCH)
    rows = iter(reads.execute(found).mappings())
    copied = 0
    while batch := [dict(row) for row in islice(rows, BATCH)]:
        try:
            writes.execute(insert(target), batch)
        except DatabaseError as error:  # SQLite takes texts of any length, and character 0
            raise CopyRefused(f"{source.name}: {reason(error)}; nothing was copied") from error
        copied += len(batch)
        progress(CopyProgress(source.name, copied, total))
    return copied


def _count_on(connection: Connection, table: Table) -> None:
    """PostgreSQL hands out ids from a sequence, which has to go on behind the greatest; SQLite looks for itself."""
    if connection.dialect.name != "postgresql":
        return
    for column in table.primary_key:
        named = func.pg_get_serial_sequence(table.name, column.name, type_=Text)
        greatest = connection.scalar(select(func.max(column))) if connection.scalar(select(named)) else None
        if greatest is not None:
            connection.execute(select(func.setval(named, literal(greatest, BigInteger))))


def _verify(connection: Connection, table: Table, copied: int) -> None:
    present = connection.scalar(select(func.count()).select_from(table))
    if present != copied:
        raise CopyRefused(f"{table.name} has {present} rows where {copied} were copied: nothing is kept")
