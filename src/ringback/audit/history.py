"""What changed an entity after a version of it, for who saves over that version."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from sqlalchemy import select
from sqlalchemy.orm import Session

from ringback.audit.models import AuditChain, AuditRecord
from ringback.changes.history import Past

_MOST = 1000


def changes_after(
    session: Session, environment: str, entity_type: str, entity_id: str, version: int
) -> Sequence[Past]:
    found = (
        select(AuditRecord.version, AuditRecord.at, AuditRecord.actor, AuditRecord.changes)
        .where(
            AuditRecord.environment == environment,
            AuditRecord.entity_type == entity_type,
            AuditRecord.entity_id == entity_id,
            AuditRecord.version > version,
        )
        .order_by(AuditRecord.id)
        .limit(_MOST)
    )
    return [
        Past(
            row.version,
            row.at,
            row.actor,
            {name: (old, new) for name, (old, new) in orjson.loads(row.changes).items()},
        )
        for row in session.execute(found)
    ]


def last_record(session: Session, environment: str, entity_type: str, entity_id: str) -> int | None:
    """The id of the newest record of an entity that is no read."""
    found = (
        select(AuditRecord.id)
        .where(
            AuditRecord.environment == environment,
            AuditRecord.entity_type == entity_type,
            AuditRecord.entity_id == entity_id,
            ~AuditRecord.action.endswith("read"),
        )
        .order_by(AuditRecord.id.desc())
        .limit(1)
    )
    return session.scalar(found)


def has_history(session: Session, environment: str) -> bool:
    """The end of a chain stays where all of its records were trimmed."""
    return session.scalar(select(AuditChain.environment).where(AuditChain.environment == environment)) is not None
