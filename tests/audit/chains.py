"""Chains of audit records for tests, and somebody who may write to the database past every guard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, select, text

from audited import ANN, add_product
from ringback.audit import writer
from ringback.audit.models import AuditRecord
from ringback.audit.writer import COLUMNS, hash_of
from ringback.changes.schemas import Owner
from ringback.changes.service import because, changing, do_changing, note
from ringback.records import secrets
from ringback.records.engine import UnitOfWork, open_engine, reading
from ringback.records.wall import EVERYWHERE

WRITERS, EACH = 16, 3
ENVIRONMENTS = ("default", "other", "third")


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


def write(engine: Engine, writer_number: int) -> None:
    """Units of work of one to three environments, some with causes across."""
    for number in range(EACH):
        name = f"{writer_number}-{number}"

        def do(work: UnitOfWork, name: str = name, number: int = number) -> None:
            used = ENVIRONMENTS[: 1 + number % 3]
            order = used if writer_number % 2 else used[::-1]
            command = note(work, "test.command", "test", name, name, Owner(order[0]))
            with because(work, command):
                for environment in order:
                    add_product(work, f"Product {name}", environment=environment)

        do_changing(engine, ANN, EVERYWHERE, do)


def write_in_process(url: str, key_file: Path, writer_number: int) -> None:
    writer.connect()
    secrets.ring.use(key_file)
    engine = open_engine(url)
    write(engine, writer_number)
    engine.dispose()
