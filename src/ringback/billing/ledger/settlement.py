"""How far an invoice is settled: a function of its rows and the day in its environment's time zone, nowhere stored."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from ringback.billing.ledger.models import Invoice

UNPAID, PARTIALLY_PAID, PAID, OVERDUE = "unpaid", "partially_paid", "paid", "overdue"
DO_NOT_PAY, DO_NOT_COLLECT = "do_not_pay", "do_not_collect"
SETTLEMENTS = {
    UNPAID: "Unpaid",
    PARTIALLY_PAID: "Partially paid",
    PAID: "Paid",
    OVERDUE: "Overdue",
    DO_NOT_PAY: "Do not pay",
    DO_NOT_COLLECT: "Do not collect",
}
NOTHING = Decimal(0)


def due_of(invoice: Invoice) -> Decimal:
    """What is still asked for: lines and adjustments, less what payments settled. Of an issued invoice only."""
    return invoice.total + invoice.adjusted - invoice.allocated if invoice.state == "issued" else NOTHING


def settlement(invoice: Invoice, today: date, threshold: Decimal = NOTHING) -> str:
    """One of SETTLEMENTS; "" of a draft, and of what is void. `threshold`: nobody collects while no more than this is due."""
    if invoice.state != "issued":
        return ""
    due = due_of(invoice)
    if due <= 0:
        return DO_NOT_PAY if invoice.total <= 0 else PAID
    if due <= threshold:
        return DO_NOT_COLLECT
    if invoice.due_on is not None and invoice.due_on < today:
        return OVERDUE
    return PARTIALLY_PAID if invoice.allocated > 0 else UNPAID
