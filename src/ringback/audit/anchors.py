"""Anchors: where each chain ended on a day, signed. Who rewrites a chain afterwards would have to sign them anew."""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy import Engine, func, select

from ringback import clock
from ringback.audit.keys import AuditKeys, AuditKeyUnavailable, signing_keys
from ringback.audit.models import AuditAnchor, AuditChain
from ringback.hosts.due import Due
from ringback.records.engine import UnitOfWork, do_in_unit_of_work
from ringback.records.wall import EVERYWHERE
from ringback.settings import Settings

_log = structlog.get_logger()


def anchoring(settings: Settings) -> Due:
    """Once a day for all chains."""
    return Due(
        settings,
        "audit anchors",
        lambda engine: add_anchors(engine, signing_keys(settings.audit_key_file)),
        every=timedelta(days=1),
        at_most=timedelta(minutes=5),
        failed="the audit log was not anchored",
        fails=(AuditKeyUnavailable,),
    )


def add_anchors(engine: Engine, keys: AuditKeys) -> list[AuditAnchor]:
    """One for each chain that grew since its last. Each is logged too, so that its hash is outside the database."""
    added = do_in_unit_of_work(engine, lambda work: _add(work, keys), EVERYWHERE)
    for anchor in added:
        _log.info(
            "audit log anchored", environment=anchor.environment, seq=anchor.seq, hash=anchor.hash.hex(),
            at=clock.isoformat(clock.to_us(anchor.at)), key=anchor.key_id, signature=anchor.signature.hex(),
        )  # fmt: skip
    return added


def _add(work: UnitOfWork, keys: AuditKeys) -> list[AuditAnchor]:
    newest = select(AuditAnchor.environment, func.max(AuditAnchor.seq)).group_by(AuditAnchor.environment)
    latest = {environment: seq for environment, seq in work.execute(newest)}  # noqa: C416
    added = []
    for chain in work.scalars(select(AuditChain).order_by(AuditChain.environment)):
        if chain.seq > latest.get(chain.environment, 0):
            at = clock.now_us()
            added.append(
                AuditAnchor(
                    environment=chain.environment,
                    at=clock.from_us(at),
                    seq=chain.seq,
                    hash=chain.hash,
                    key_id=keys.id,
                    signature=keys.sign(chain.environment, chain.seq, chain.hash, at),
                )
            )
    work.add_all(added)
    return added
