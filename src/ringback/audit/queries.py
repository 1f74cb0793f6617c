"""What is asked of the audit records. Newest first, page by page from the record before; the wall narrows everything."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Row, and_, or_, select
from sqlalchemy.orm import Session

from ringback.audit.models import AuditAnchor, AuditChain, AuditRecord

MOST_OF_A_TREE = 2000  # records that a chain is shown with


def of_customer(environment: str, customer_id: int) -> ColumnElement[bool]:
    return and_(AuditRecord.environment == environment, AuditRecord.customer_id == customer_id)


def of_account(environment: str, account_id: int) -> ColumnElement[bool]:
    return and_(AuditRecord.environment == environment, AuditRecord.account_id == account_id)


def of_entity(environment: str, entity_type: str, entity_id: str) -> ColumnElement[bool]:
    return and_(
        AuditRecord.environment == environment,
        AuditRecord.entity_type == entity_type,
        AuditRecord.entity_id == entity_id,
    )


def newest(
    session: Session, of: ColumnElement[bool], limit: int, before: int | None, kind: str = ""
) -> Sequence[AuditRecord]:
    """`before`: the id of the last record of the page before. `kind`: change, read, or "" both."""
    asked = select(AuditRecord).where(of).order_by(AuditRecord.id.desc()).limit(limit)
    if kind:
        is_read = AuditRecord.action.like("%read")
        asked = asked.where(is_read if kind == "read" else ~is_read)
    if before is not None:
        asked = asked.where(AuditRecord.id < before)
    return session.scalars(asked).all()


def by_ids(session: Session, ids: Sequence[int]) -> list[AuditRecord]:
    """In that order; those that are gone are left out."""
    found = {each.id: each for each in session.scalars(select(AuditRecord).where(AuditRecord.id.in_(ids)))}
    return [found[each] for each in ids if each in found]


def record(session: Session, record_id: int) -> AuditRecord | None:
    return session.scalar(select(AuditRecord).where(AuditRecord.id == record_id))


def tree(session: Session, root_id: int) -> Sequence[Row[int, int | None, int | None, str]]:
    """Id, cause, amount and currency of a root and everything that it led to, causes before their effects. One more than
    MOST_OF_A_TREE: there are more."""
    effects = and_(AuditRecord.root_id == root_id, AuditRecord.cause_id.is_not(None))  # as its index is
    asked = select(AuditRecord.id, AuditRecord.cause_id, AuditRecord.amount, AuditRecord.currency)
    found = asked.where(or_(AuditRecord.id == root_id, effects)).order_by(AuditRecord.id)
    return session.execute(found.limit(MOST_OF_A_TREE + 1)).all()


def with_effects(session: Session, ids: Sequence[int]) -> set[int]:
    """Those of the roots that led to something."""
    asked = select(AuditRecord.root_id).where(AuditRecord.root_id.in_(ids), AuditRecord.cause_id.is_not(None))
    return set(session.scalars(asked.distinct()))


def chain(session: Session, environment: str) -> AuditChain | None:
    return session.scalars(select(AuditChain).where(AuditChain.environment == environment)).one_or_none()


def last_anchor(session: Session, environment: str) -> AuditAnchor | None:
    asked = (
        select(AuditAnchor).where(AuditAnchor.environment == environment).order_by(AuditAnchor.seq.desc()).limit(1)
    )
    return session.scalars(asked).one_or_none()
