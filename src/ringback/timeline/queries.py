"""All statements of the room. Sessions are opened for one environment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, String, and_, cast, or_, select
from sqlalchemy.orm import Session

from ringback.billing.entities.models import Account, Customer
from ringback.billing.ledger.models import Invoice, Xdr
from ringback.timeline.schemas import Subject

_XDR = (
    Xdr.id, Xdr.occurred_at, Xdr.kind, Xdr.amount, Xdr.balance_after, Xdr.account_balance_after, Xdr.description,
    Xdr.session_key, Xdr.service, Xdr.called, Xdr.destination, Xdr.call_id, Xdr.node, Xdr.charged_seconds,
    Xdr.invoice_id, Account.charging_id,
)  # fmt: skip
_TEXTS = (
    Xdr.description, Xdr.called, Xdr.destination, Xdr.service, Account.charging_id, cast(Xdr.charged_seconds, String),
)  # fmt: skip


def currency(session: Session, customer_id: int) -> str:
    return session.scalar(select(Customer.currency).where(Customer.id == customer_id)) or ""


def xdrs(
    session: Session, of: Subject, start: datetime, end: datetime, after: tuple[datetime, int] | None, limit: int,
    words: Sequence[str] = (),
) -> Sequence[Any]:  # fmt: skip
    """Newest first by (time, id), after a place. `words`: those in which each of them occurs, in ASCII."""
    mine = Xdr.customer_id == of.customer_id if of.account_id is None else Xdr.account_id == of.account_id
    asked = select(*_XDR).outerjoin(Account, Account.id == Xdr.account_id)
    asked = asked.where(Xdr.environment == of.environment, mine, *_within(Xdr.occurred_at, Xdr.id, start, end, after))
    for word in words:
        asked = asked.where(or_(*(each.icontains(word, autoescape=True) for each in _TEXTS)))
    return session.execute(asked.order_by(Xdr.occurred_at.desc(), Xdr.id.desc()).limit(limit)).all()


def invoices(
    session: Session, of: Subject, at: Any, start: datetime, end: datetime, after: tuple[datetime, int] | None, limit: int
) -> Sequence[Invoice]:  # fmt: skip
    """As `xdrs`; `at`: Invoice.issued_at or Invoice.voided_at, of those that have it."""
    asked = select(Invoice).where(
        Invoice.environment == of.environment, Invoice.customer_id == of.customer_id, Invoice.number.is_not(None),
        *_within(at, Invoice.id, start, end, after),
    )  # fmt: skip
    return session.scalars(asked.order_by(at.desc(), Invoice.id.desc()).limit(limit)).all()


def _within(
    at: Any, id_: Any, start: datetime, end: datetime, after: tuple[datetime, int] | None
) -> tuple[ColumnElement[bool], ...]:
    if after is None:
        return (at >= start, at < end)
    # Said twice, so that an index is read from the time on.
    return (at >= start, at <= after[0], or_(at < after[0], and_(at == after[0], id_ < after[1])))
