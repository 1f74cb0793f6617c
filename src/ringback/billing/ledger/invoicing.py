"""The life of an invoice: draft, issued, void."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import delete, insert, select

from ringback import clock
from ringback.billing.entities.models import SERVICES
from ringback.billing.ledger import queries
from ringback.billing.ledger.book import MOST_AMOUNT, Book
from ringback.billing.ledger.errors import LedgerError, NotNow
from ringback.billing.ledger.models import HOLDS_FUNDS, Billed, Invoice, InvoiceLine, InvoiceNumber, Xdr
from ringback.billing.ledger.queries import Unbilled
from ringback.billing.ledger.rounding import rounded
from ringback.billing.ledger.schemas import Effect, Line
from ringback.changes.service import because
from ringback.records.engine import UnitOfWork

_ON_INVOICE = ("name", "company", "first_name", "last_name", "address", "city", "postal_code", "country", "email")
_AT_ONCE = 5000  # rows of one statement


def draft(
    work: UnitOfWork, environment: str, customer_id: int, *, lines: Sequence[Line] = (), collect: bool = False,
    period_from: date | None = None, period_to: date | None = None, issued: bool = False, due_on: date | None = None,
) -> Effect:  # fmt: skip
    """Of lines that are given, of all that was charged and stands on no invoice yet (`collect`: up to the end of
    `period_to`, where there is one), or both. `issued`: at once. Raises NotNow where there is nothing to ask for."""
    book = Book(work, environment, customer_id)
    if period_from and period_to and period_to < period_from:
        raise LedgerError("period_to", "The last day of the period is not before its first.")
    if lines:
        book.may_charge()
    for each in lines:
        _check(book, each)
    found = queries.unbilled(work, customer_id, _end_of(work, environment, period_to)) if collect else []
    if not lines and not found:
        raise NotNow("There is nothing to ask for: nothing was charged that stands on no invoice yet.")
    invoice = Invoice(
        environment=environment, customer_id=customer_id, state="draft", currency=book.currency, period_from=period_from,
        period_to=period_to, created_at=clock.now(), total=Decimal(0), adjusted=Decimal(0), allocated=Decimal(0),
        due_on=due_on, noticed="", void_reason="", details={},
    )  # fmt: skip
    work.add(invoice)
    work.flush()
    made = [_collected(book, invoice, position, xdrs) for position, xdrs in enumerate(_grouped(found), 1)]
    made += [
        InvoiceLine(
            environment=environment, invoice_id=invoice.id, position=position, description=each.description,
            account_id=each.account_id, service=each.service, quantity=each.quantity, amount=each.amount,
        )
        for position, each in enumerate(lines, len(made) + 1)
    ]  # fmt: skip
    work.add_all(made)
    invoice.total = sum((each.amount for each in made), Decimal(0))
    if abs(invoice.total) >= MOST_AMOUNT:
        raise LedgerError("lines", "The total is too large to be kept.")
    if invoice.total < 0 and not found:
        raise LedgerError("lines", "The total is less than zero: a credit is an adjustment.")
    work.flush()
    if issued:
        return _issue(book, invoice, due_on)
    book.touch([invoice])
    told = book.tell(
        "invoice.drafted", "invoice", invoice.id, f"draft {invoice.id}", amount=str(invoice.total), lines=len(made)
    )
    return book.close(told, invoice_id=invoice.id)


def issue(work: UnitOfWork, environment: str, invoice_id: int, *, due_on: date | None = None) -> Effect:
    """It gets its number and its date, and is never changed again. What is unallocated settles what is due."""
    book = Book(work, environment, queries.invoice(work, invoice_id).customer_id)
    invoice = book.invoice(invoice_id)
    if invoice.state != "draft":
        raise NotNow(f"Only a draft is issued: this invoice is {state_of(invoice)}.")
    return _issue(book, invoice, due_on)


def void(work: UnitOfWork, environment: str, invoice_id: int, reason: str = "") -> Effect:
    """As if it had never been: what was charged for it is corrected, what it had collected is for the next invoice.
    Refused once anything is paid on it."""
    book = Book(work, environment, queries.invoice(work, invoice_id).customer_id)
    invoice = book.invoice(invoice_id)
    if invoice.state == "void":
        raise NotNow("The invoice is void already.")
    if invoice.allocated:
        raise NotNow(f"{book.spelled(invoice.allocated)} {book.currency} is paid on it: refund that first.")
    if (credit := queries.credit_of(work, invoice.id)) is not None:
        left = f"{book.spelled(credit.amount - credit.refunded)} {book.currency}"
        raise NotNow(f"{left} of it became the customer's credit, payment {credit.id}: refund that first.")
    cause = book.last_record(invoice)
    told = book.tell(
        "invoice.voided", "invoice", invoice.id, _named(invoice), amount=str(invoice.total), note=reason, cause=cause
    )
    made_for = select(Xdr).where(Xdr.invoice_id == invoice.id, Xdr.payment_id.is_(None), Xdr.corrects_id.is_(None))
    for xdr in work.scalars(made_for.order_by(Xdr.id)).all():
        account = book.account(xdr.account_id)
        book.post(
            "correction", -xdr.amount, f"Void of invoice {invoice.number}: {xdr.description}", account=account,
            corrects_id=xdr.id, invoice_id=invoice.id,
        )  # fmt: skip
    work.execute(delete(Billed).where(Billed.invoice_id == invoice.id))
    invoice.state, invoice.voided_at, invoice.void_reason, invoice.adjusted = "void", clock.now(), reason, Decimal(0)
    return book.close(told, "void", invoice_id=invoice.id)


def state_of(invoice: Invoice) -> str:
    return {"draft": "a draft", "void": "void"}.get(invoice.state, invoice.state)


def _issue(book: Book, invoice: Invoice, due_on: date | None) -> Effect:
    work, customer = book.work, book.customer
    book.touch([invoice])
    due_on = due_on or invoice.due_on or book.today + timedelta(days=customer.due_days)
    if due_on < book.today:
        raise LedgerError("due_on", f"The invoice is issued on {book.today}: it cannot have been due before.")
    invoice.number, invoice.state = _next_number(work, book.environment), "issued"
    invoice.issued_on, invoice.due_on, invoice.issued_at = book.today, due_on, clock.now()
    invoice.details = {name: value for name in _ON_INVOICE if (value := getattr(customer, name))}
    told = book.tell(
        "invoice.issued", "invoice", invoice.id, str(invoice.number), amount=str(invoice.total), due_on=str(due_on)
    )
    sums = queries.billed_sums(work, invoice.id)
    for line in queries.lines(work, invoice.id):
        if line.id in sums:
            continue
        book.may_charge()
        account = book.account(line.account_id)
        xdr = book.post(
            "charge", line.amount, line.description, account=account, service=line.service, invoice_id=invoice.id
        )
        work.add(Billed(environment=book.environment, xdr_id=xdr.id, invoice_id=invoice.id, line_id=line.id))
        sums[line.id] = xdr.amount
    if rest := invoice.total - sum(sums.values(), Decimal(0)):
        book.post("rounding", rest, f"Rounding of the lines of invoice {invoice.number}", invoice_id=invoice.id)
    if invoice.total < 0:
        _turn_into_credit(book, invoice)
    with because(work, told):
        payments = queries.unallocated_payments(work, customer.id)
        book.settle(payments, queries.due(work, customer.id) if payments else [])
    return book.close(told, "invoice", invoice_id=invoice.id)


def _turn_into_credit(book: Book, invoice: Invoice) -> None:
    """An invoice in the customer's favour asks for nothing; what it owes them is theirs to spend."""
    credit, what = -invoice.total, f"Credit of invoice {invoice.number}"
    book.post("adjustment", credit, what, invoice_id=invoice.id)
    invoice.adjusted += credit
    book.receive(credit, "credit", what, None, "adjustment", funds=False, invoice_id=invoice.id)


def _check(book: Book, line: Line) -> None:
    if not line.description.strip():
        raise LedgerError("lines", "Say what each line is for.")
    book.asked(line.amount, "lines", positive=False)
    account = book.account(line.account_id, "lines")
    if account is not None and account.billing_model in HOLDS_FUNDS:
        raise LedgerError("lines", f"{account.charging_id} pays in advance: it is never invoiced.")
    if line.service and line.service not in dict(SERVICES):
        raise LedgerError("lines", f"{line.service!r} is no service: {', '.join(dict(SERVICES))}.")


def _grouped(found: Sequence[Unbilled]) -> list[list[Unbilled]]:
    """Rated sessions of one account and service are one line; what else was charged, a line each."""
    groups: defaultdict[tuple[int | None, str, int], list[Unbilled]] = defaultdict(list)
    for each in found:
        groups[each.account_id or 0, each.service, 0 if each.is_session else each.id].append(each)
    return list(groups.values())


def _collected(book: Book, invoice: Invoice, position: int, xdrs: Sequence[Unbilled]) -> InvoiceLine:
    first, work = xdrs[0], book.work
    what = dict(SERVICES).get(first.service, first.service.capitalize()) if first.is_session else first.description
    line = InvoiceLine(
        environment=book.environment, invoice_id=invoice.id, position=position, description=what,
        account_id=first.account_id, service=first.service, quantity=len(xdrs),
        seconds=sum(each.charged_seconds or 0 for each in xdrs) if first.is_session else None,
        amount=rounded(sum((each.amount for each in xdrs), Decimal(0)), book.currency),
    )  # fmt: skip
    work.add(line)
    work.flush()
    rows = [
        {"environment": book.environment, "xdr_id": each.id, "invoice_id": invoice.id, "line_id": line.id}
        for each in xdrs
    ]
    for start in range(0, len(rows), _AT_ONCE):
        work.execute(insert(Billed), rows[start : start + _AT_ONCE])
    return line


def _next_number(work: UnitOfWork, environment: str) -> int:
    """Without gaps: held until this work ends, and given back where it fails."""
    work.lock("invoice_numbers", environment)
    asked = select(InvoiceNumber).where(InvoiceNumber.environment == environment)
    row = work.scalars(asked.execution_options(populate_existing=True)).one_or_none()
    if row is None:
        row = InvoiceNumber(environment=environment, last=0)
        work.add(row)
    row.last += 1
    return row.last


def _end_of(work: UnitOfWork, environment: str, day: date | None) -> datetime | None:
    """When the day after begins, in the environment's time zone."""
    if day is None or day == date.max:
        return None
    begins = day + timedelta(days=1)
    return datetime(begins.year, begins.month, begins.day, tzinfo=queries.zone(work, environment))


def _named(invoice: Invoice) -> str:
    return str(invoice.number) if invoice.number is not None else f"draft {invoice.id}"
