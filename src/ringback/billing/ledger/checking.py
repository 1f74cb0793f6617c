"""What must hold: all that is kept beside the rows it comes from is their sum."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select, type_coerce
from sqlalchemy.orm import Session

from ringback.billing.entities.models import Account, Customer
from ringback.billing.ledger.models import HOLDS_FUNDS, Allocation, Billed, Invoice, InvoiceLine, Payment, Xdr
from ringback.billing.ledger.queries import due_sql, unbilled_sql
from ringback.records.money import MoneyColumn


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Something that is kept and is not what its rows say."""

    what: str  # such as "balance"
    entity_type: str
    id: int
    name: str
    kept: Decimal
    summed: Decimal


def mismatches(session: Session) -> list[Mismatch]:
    """All that is kept beside the rows it comes from and is not their sum: balances, payments, invoices."""
    found = []
    for model, column in ((Customer, Xdr.customer_id), (Account, Xdr.account_id)):
        table: Any = model
        summed: Any = select(column.label("of"), func.sum(Xdr.amount).label("amount")).group_by(column).subquery()
        total = func.coalesce(summed.c.amount, Decimal(0))
        asked = select(table, total).outerjoin(summed, summed.c.of == table.id).where(table.balance != total)
        found += [
            Mismatch("balance", row.about.name, row.id, row.told_as(), row.balance, amount)
            for row, amount in session.execute(asked)
        ]
    live = Allocation.reversed_at.is_(None)
    of_payment: Any = _grouped(
        select(Allocation.payment_id, func.sum(Allocation.amount)).where(live), Allocation.payment_id
    )
    allocated = func.coalesce(of_payment.c.amount, Decimal(0))
    asked = select(Payment, allocated).outerjoin(of_payment, of_payment.c.of == Payment.id)
    asked = asked.where(Payment.amount - Payment.refunded - Payment.unallocated != allocated)
    found += [
        Mismatch("allocations", "payment", row.id, str(row.id), row.amount - row.refunded - row.unallocated, amount)
        for row, amount in session.execute(asked)
    ]
    of_invoice: Any = _grouped(
        select(Allocation.invoice_id, func.sum(Allocation.amount)).where(live), Allocation.invoice_id
    )
    lines_of: Any = _grouped(select(InvoiceLine.invoice_id, func.sum(InvoiceLine.amount)), InvoiceLine.invoice_id)
    adjustments: Any = _grouped(
        select(Xdr.invoice_id, func.sum(Xdr.amount)).where(Xdr.kind == "adjustment", Xdr.payment_id.is_(None)),
        Xdr.invoice_id,
    )
    for what, kept, rows in (
        ("allocated", Invoice.allocated, of_invoice),
        ("total", Invoice.total, lines_of),
        ("adjusted", Invoice.adjusted, adjustments),
    ):
        total = func.coalesce(rows.c.amount, Decimal(0))
        asked = select(Invoice, kept, total).outerjoin(rows, rows.c.of == Invoice.id).where(kept != total)
        if what == "adjusted":
            asked = asked.where(Invoice.state == "issued")
        found += [
            Mismatch(what, "invoice", row.id, str(row.number or row.id), is_, amount)
            for row, is_, amount in session.execute(asked)
        ]
    return found + _unexplained(session)


def _unexplained(session: Session) -> list[Mismatch]:
    """Customers whose unbilled xDRs are not what their balance has besides invoices, payments and funds."""
    on_draft = select(Xdr.customer_id, func.sum(Xdr.amount)).join(Billed, Billed.xdr_id == Xdr.id)
    on_draft = on_draft.join(Invoice, Invoice.id == Billed.invoice_id).where(Invoice.state == "draft")
    free = select(Xdr.customer_id, func.sum(Xdr.amount)).where(*unbilled_sql())
    issued = select(Invoice.customer_id, func.sum(due_sql)).where(Invoice.state == "issued")
    ahead = select(Payment.customer_id, func.sum(Payment.unallocated)).where(Payment.account_id.is_(None))
    held = select(Account.customer_id, func.sum(Account.balance)).where(Account.billing_model.in_(HOLDS_FUNDS))
    parts = [_grouped(each, each.selected_columns[0]) for each in (on_draft, free, issued, ahead, held)]
    drafted, freed, asked, paid, funds = (func.coalesce(each.c.amount, Decimal(0)) for each in parts)
    kept = type_coerce(Customer.balance - asked + paid - funds, MoneyColumn())
    summed = type_coerce(drafted + freed, MoneyColumn())
    found = select(Customer, kept, summed)
    for each in parts:
        found = found.outerjoin(each, each.c.of == Customer.id)
    return [
        Mismatch("unbilled", "customer", row.id, row.told_as(), is_, amount)
        for row, is_, amount in session.execute(found.where(kept != summed))
    ]


def _grouped(asked: Any, by: Any) -> Any:
    of, amount = asked.selected_columns
    return (
        asked.with_only_columns(of.label("of"), amount.label("amount")).where(by.is_not(None)).group_by(by).subquery()
    )
