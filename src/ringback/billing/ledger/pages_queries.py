"""What pages and the PDF of an invoice show together, besides `queries`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ringback.billing.entities.models import Account, Customer, Environment
from ringback.billing.ledger import queries
from ringback.billing.ledger.models import HOLDS_FUNDS, Allocation, Invoice, InvoiceLine, Xdr
from ringback.billing.ledger.options import threshold
from ringback.billing.ledger.paging import LARGEST_PAGE, Asked
from ringback.billing.ledger.settlement import due_of, settlement


@dataclass(frozen=True, slots=True)
class WholeInvoice:
    """An invoice with everything that explains what is due of it."""

    row: Invoice
    customer: Customer
    settlement: str
    told: str  # the same as the customer reads it: what nobody collects is still theirs to pay
    due: Decimal
    lines: Sequence[InvoiceLine]
    adjustments: Sequence[Xdr]  # in their order
    allocations: Sequence[Allocation]  # those taken back too
    provider: str  # the environment's name
    accounts: dict[int, str]  # charging ids of those that lines and adjustments name


def whole_invoice(session: Session, environment: str, invoice_id: int) -> WholeInvoice:
    """Raises LedgerNotFound."""
    row = queries.invoice(session, invoice_id)
    lines = queries.lines(session, row.id)
    made = select(Xdr).where(Xdr.invoice_id == row.id, Xdr.kind == "adjustment", Xdr.payment_id.is_(None))
    adjustments = session.scalars(made.order_by(Xdr.id)).all()
    day, least = queries.today(session, environment), threshold(session, environment)
    return WholeInvoice(
        row, queries.customer(session, row.customer_id), settlement(row, day, least), settlement(row, day), due_of(row),
        lines, adjustments, queries.allocations(session, invoice_id=row.id),
        session.scalar(select(Environment.name).where(Environment.environment == environment)) or environment,
        charging_ids(session, [*(each.account_id for each in lines), *(each.account_id for each in adjustments)]),
    )  # fmt: skip


def charging_ids(session: Session, ids: Iterable[int | None]) -> dict[int, str]:
    asked = select(Account.id, Account.charging_id).where(Account.id.in_([each for each in ids if each is not None]))
    return {row[0]: row[1] for row in session.execute(asked)}


def numbers(session: Session, invoice_ids: Iterable[int]) -> dict[int, int | None]:
    """Invoice -> its number."""
    asked = select(Invoice.id, Invoice.number).where(Invoice.id.in_(list(invoice_ids)))
    return {row[0]: row[1] for row in session.execute(asked)}


def has_funds(session: Session, customer_id: int) -> bool:
    """Whether an account of the customer pays in advance."""
    some = select(Account.id).where(Account.customer_id == customer_id, Account.billing_model.in_(HOLDS_FUNDS))
    return session.scalar(some.limit(1)) is not None


def drafts(session: Session, customer_id: int) -> int:
    found = select(func.count()).where(Invoice.customer_id == customer_id, Invoice.state == "draft")
    return session.scalar(found) or 0


def every_xdr(session: Session, asked: Asked, **whose: int | None) -> Iterator[Xdr]:
    """All pages, one after another."""
    asked = replace(asked, limit=LARGEST_PAGE, cursor="")
    while True:
        page = queries.xdrs(session, asked, **whose)
        yield from page.rows
        session.expunge_all()
        if page.cursor is None:
            return
        asked = replace(asked, cursor=page.cursor)
