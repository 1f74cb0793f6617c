"""Chains of audit records for tests, and somebody who may write to the database past every guard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, select, text

from audited import ANN, add_product
from ringback.audit.models import AuditRecord
from ringback.audit.writer import COLUMNS, hash_of
from ringback.changes.service import changing
from ringback.records.engine import reading
from ringback.records.wall import EVERYWHERE


def make_records(engine: Engine, count: int, environment: str = "default", first: int = 1) -> None:
    """One record a unit of work."""
    for number in range(first, first + count):
        with changing(engine, ANN, (environment,)) as work:
            add_product(work, f"Product {number}")


@contextmanager
def intruder(engine: Engine) -> Iterator[Connection]:
    """A connection for which no trigger stands."""
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            for name in connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
                connection.execute(text(f"DROP TRIGGER {name}"))
        else:
            connection.execute(text("ALTER TABLE audit_records DISABLE TRIGGER ALL"))
        yield connection


def hash_again(connection: Connection, environment: str, first: int, last: int) -> None:
    """As one does who knows how the chain is made."""
    names = ", ".join(COLUMNS)
    before = connection.execute(
        text("SELECT hash FROM audit_records WHERE environment = :e AND seq = :s"), {"e": environment, "s": first - 1}
    ).scalar_one()
    for seq in range(first, last + 1):
        where = {"e": environment, "s": seq}
        row = connection.execute(
            text(f"SELECT {names} FROM audit_records WHERE environment = :e AND seq = :s"), where
        ).one()
        before = hash_of(before, list(row))
        connection.execute(
            text("UPDATE audit_records SET hash = :h WHERE environment = :e AND seq = :s"), where | {"h": before}
        )
    connection.execute(
        text("UPDATE audit_chains SET hash = :h WHERE environment = :e AND seq = :s"),
        {"e": environment, "s": last, "h": before},
    )


def seqs(engine: Engine, environment: str = "default") -> list[int]:
    with reading(engine, EVERYWHERE) as session:
        found = select(AuditRecord.seq).where(AuditRecord.environment == environment).order_by(AuditRecord.id)
        return list(session.scalars(found))
