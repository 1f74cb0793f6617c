"""The oldest audit records go when they are past their days. Up to where they went is marked in the chain before they do,
and told by a record of its own: verification begins there, and accepts no other gap."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Session

from ringback.audit.models import AuditChain, AuditRecord
from ringback.changes.schemas import Actor, Owner
from ringback.changes.service import do_changing, note
from ringback.records.engine import UnitOfWork, reading, unit_of_work
from ringback.records.wall import EVERYWHERE

TRIMMED = "audit.trimmed"
LOG = "audit_log"  # the entity type of records about the log itself; its id is the environment's key
BATCH = 5000
_RETENTION = Actor("system", "retention", "task")


def trimmable(engine: Engine, before: datetime) -> int:
    """How many records `trim` would remove."""
    with reading(engine, EVERYWHERE) as session:
        chains = session.scalars(select(AuditChain)).all()
        return sum(max(0, _last_old(session, chain, before) - chain.trimmed_seq) for chain in chains)


def trim(engine: Engine, before: datetime) -> int:
    """Removes records that were written before; returns how many. The newest of a chain stays, however old.

    In batches; goes on where it was broken off when it is called again.
    """
    with reading(engine, EVERYWHERE) as session:
        environments = session.scalars(select(AuditChain.environment).order_by(AuditChain.environment)).all()
    gone = 0
    for environment in environments:
        do_changing(engine, _RETENTION, EVERYWHERE, partial(_mark, environment=environment, before=before))
        while found := _remove_some(engine, environment):
            gone += found
    return gone


def _mark(work: UnitOfWork, environment: str, before: datetime) -> None:
    work.lock("audit_chains", environment)  # as writers do
    chain = work.scalars(select(AuditChain).where(AuditChain.environment == environment).with_for_update()).one()
    last = _last_old(work, chain, before)
    if last <= chain.trimmed_seq:
        return
    gone = last - chain.trimmed_seq
    chain.trimmed_seq = last
    chain.trimmed_hash = work.scalars(
        select(AuditRecord.hash).where(AuditRecord.environment == environment, AuditRecord.seq == last)
    ).one()
    note(
        work, TRIMMED, LOG, environment, environment, Owner(environment),
        arguments={"records": gone, "to_seq": last, "before": before.strftime("%Y-%m-%d")},
    )  # fmt: skip


def _last_old(session: Session, chain: AuditChain, before: datetime) -> int:
    """Number of the last record written before, the chain's newest excepted; they are in order of time."""
    low, high = chain.trimmed_seq, chain.seq - 1
    while low < high:
        middle = (low + high + 1) // 2
        at = session.scalar(
            select(AuditRecord.at).where(AuditRecord.environment == chain.environment, AuditRecord.seq == middle)
        )
        if at is not None and at < before:
            low = middle
        else:
            high = middle - 1
    return low


def _remove_some(engine: Engine, environment: str) -> int:
    """How many went. What is not marked as trimmed the database itself keeps."""
    with unit_of_work(engine, EVERYWHERE) as work:
        chain = work.scalars(select(AuditChain).where(AuditChain.environment == environment)).one()
        old = AuditRecord.environment == environment, AuditRecord.seq <= chain.trimmed_seq
        seqs = work.scalars(select(AuditRecord.seq).where(*old).order_by(AuditRecord.seq).limit(BATCH)).all()
        if seqs:
            work.execute(
                delete(AuditRecord)
                .where(*old, AuditRecord.seq <= seqs[-1])
                .execution_options(synchronize_session=False)
            )
        return len(seqs)
