"""Facts become audit records: numbered and hashed in the chain of their environment, in the transaction of the change.

The chain's end is locked last, after everything else of the unit of work is written, and until its commit: two writers
of one environment follow each other, so that there is one record of each number and one hash before it.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

import orjson
from sqlalchemy import func, select, text

from ringback import clock
from ringback.audit import history as kept
from ringback.audit.models import AuditChain, AuditRecord
from ringback.changes import history
from ringback.changes.schemas import Actor, Fact
from ringback.changes.service import subscribe
from ringback.records.engine import UnitOfWork
from ringback.records.money import to_units
from ringback.records.wall import everywhere

NO_HASH = bytes(32)

# What the hash covers, in this order, after the hash of the record before. Values as they are stored.
COLUMNS = (
    "environment", "seq", "id", "at", "entity_type", "entity_id", "entity_name", "version", "action", "changes",
    "arguments", "customer_id", "account_id", "amount", "balance_before", "balance_after", "currency", "actor_kind",
    "actor_id", "actor", "realm", "address", "request_id", "cause_id", "root_id", "reason", "comment",
)  # fmt: skip
_INSERT = f"INSERT INTO audit_records ({', '.join(COLUMNS)}, hash) VALUES ({{}})"  # noqa: S608


def connect() -> None:
    """From here on every change in this process is recorded. Called by each door: server, command, test."""
    subscribe(write)
    history.read_with(kept)


def write(work: UnitOfWork, actor: Actor, facts: Sequence[Fact]) -> None:
    """Every fact gets its `record_id`."""
    with everywhere(work):  # a person's change may have effects on the installation's own chain
        _write(work, actor, facts)


def hash_of(before: bytes, values: Sequence[str | int | None]) -> bytes:
    """`values` of COLUMNS. The times are microseconds, so that the database's own values are hashed."""
    return hashlib.sha256(before + orjson.dumps(values)).digest()


def _write(work: UnitOfWork, actor: Actor, facts: Sequence[Fact]) -> None:
    of: defaultdict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        of[fact.environment].append(fact)
    chains = {environment: _locked_chain(work, environment) for environment in sorted(of)}
    _number(work, facts)
    at = clock.to_us(clock.now())
    rows: list[tuple[str | int | bytes | None, ...]] = []
    for environment, told in of.items():
        chain = chains[environment]
        for fact in told:
            chain.seq += 1
            values = _values(fact, actor, chain.seq, at)
            chain.hash = hash_of(chain.hash, values)
            rows.append((*values, chain.hash))
    work.flush()
    connection = work.connection()
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    # Past the expression language, which takes longer to name the parameters than the database to store them.
    connection.exec_driver_sql(_INSERT.format(", ".join([mark] * (len(COLUMNS) + 1))), rows)


def _locked_chain(work: UnitOfWork, environment: str) -> AuditChain:
    """Nobody else adds to it before this work ends."""
    work.lock("audit_chains", environment)
    found = select(AuditChain).where(AuditChain.environment == environment).with_for_update()
    chain = work.scalars(found.execution_options(populate_existing=True)).one_or_none()
    if chain is None:
        chain = AuditChain(environment=environment, seq=0, hash=NO_HASH, trimmed_seq=0, trimmed_hash=NO_HASH)
        work.add(chain)
        work.flush()
    return chain


def _number(work: UnitOfWork, facts: Sequence[Fact]) -> None:
    """Ids before the records are written: causes, and the hash, hold them. A cause has a smaller id than its effects."""
    for fact, record_id in zip(facts, _ids(work, len(facts)), strict=True):
        fact.record_id = record_id
    named = {fact.cause for fact in facts if isinstance(fact.cause, int)}
    roots = _roots(work, named)
    for fact in facts:
        if isinstance(fact.cause, Fact):
            fact.root_id = fact.cause.root_id or fact.cause.record_id
        elif fact.cause is not None:
            fact.root_id = roots.get(fact.cause, fact.cause)
        else:
            fact.root_id = fact.record_id


def _ids(work: UnitOfWork, count: int) -> Iterable[int]:
    connection = work.connection()
    if connection.dialect.name == "postgresql":
        ids = text("SELECT nextval(pg_get_serial_sequence('audit_records', 'id')) FROM generate_series(1, :count)")
        found = connection.execute(ids, {"count": count})
        return [int(record_id) for record_id in found.scalars()]
    last = (
        connection.scalar(select(func.max(AuditRecord.id))) or 0
    )  # the one writer is us, and the newest is not trimmed
    return range(last + 1, last + 1 + count)


def _roots(work: UnitOfWork, ids: set[int]) -> dict[int, int]:
    if not ids:
        return {}
    found = select(AuditRecord.id, AuditRecord.root_id).where(AuditRecord.id.in_(ids))
    return {row.id: row.root_id for row in work.execute(found)}


def _values(fact: Fact, actor: Actor, seq: int, at: int) -> list[str | int | None]:
    """Of COLUMNS, as they are stored."""
    money = fact.money
    return [
        fact.environment,
        seq,
        fact.record_id,
        at,
        fact.entity_type,
        fact.entity_id[:64],
        _text(fact.entity_name[:255]),
        fact.version,
        fact.action,
        _json(fact.changes),
        _json(fact.arguments),
        fact.customer_id,
        fact.account_id,
        to_units(money.amount) if money else None,
        to_units(money.before) if money else None,
        to_units(money.after) if money else None,
        money.currency if money else "",
        actor.kind,
        _text(actor.id[:64]),
        _text(actor.name[:255]),
        actor.realm,
        _text(actor.address[:64]),
        _text(actor.request_id[:64]),
        fact.cause.record_id if isinstance(fact.cause, Fact) else fact.cause,
        fact.root_id,
        _text(fact.reason[:255]),
        _text(fact.comment),
    ]


def _text(value: str) -> str:
    """Without character 0, which PostgreSQL does not keep; in JSON it is escaped."""
    return value.replace("\0", "") if "\0" in value else value


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() if value else "{}"
