"""What can be done with money: each command in a unit of work of `changes.changing`, under the lock of its customer.

Every command answers an `Effect`; `preview` does one and takes it back. Raises LedgerNotFound, LedgerError (what was given
is wrong), NotNow (what is there does not allow it). Invoices: `invoicing`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import NoReturn

from sqlalchemy import Engine, select

from ringback import clock
from ringback.billing.entities.models import Account
from ringback.billing.ledger import queries
from ringback.billing.ledger.book import Book
from ringback.billing.ledger.errors import LedgerError, LedgerNotFound, NotNow
from ringback.billing.ledger.invoicing import draft, issue, state_of, void
from ringback.billing.ledger.models import HOLDS_FUNDS, PAYMENT_METHODS, Payment, Xdr
from ringback.billing.ledger.options import threshold
from ringback.billing.ledger.rounding import kept
from ringback.billing.ledger.schemas import Effect
from ringback.billing.ledger.settlement import due_of
from ringback.changes.schemas import Actor
from ringback.changes.service import because, do_changing
from ringback.records.engine import UnitOfWork

__all__ = [
    "adjust", "allocate", "charge", "draft", "issue", "notice_overdue", "pay", "post_usage", "preview", "refund", "void",
]  # fmt: skip

RECEIVED = tuple(each for each in PAYMENT_METHODS if each != "credit")  # methods of what customers pay
_FIRST = datetime(1970, 1, 2, tzinfo=UTC)
_AT_ONCE = 100  # invoices that one unit of work looks at


class _TakenBack(Exception):
    def __init__(self, effect: Effect) -> None:
        super().__init__()
        self.effect = effect


def preview(engine: Engine, actor: Actor, environment: str, do: Callable[[UnitOfWork], Effect]) -> Effect:
    """What a command would do. Nothing of it stays. Raises what the command raises."""

    def take_back(work: UnitOfWork) -> NoReturn:
        raise _TakenBack(do(work))

    try:
        return do_changing(engine, actor, (environment,), take_back)
    except _TakenBack as back:
        return back.effect.tried()


def pay(
    work: UnitOfWork, environment: str, customer_id: int, amount: Decimal, *, method: str, reference: str = "",
    account_id: int | None = None, invoices: Sequence[int] = (), received_at: datetime | None = None, comment: str = "",
) -> Effect:  # fmt: skip
    """It settles the invoices that it names, in their order, else those that are due first; the rest is unallocated. For an
    account that holds funds it is a top-up, and settles none."""
    book = Book(work, environment, customer_id)
    amount = book.asked(amount)
    if method not in RECEIVED:
        raise LedgerError("method", f"{method!r} is no method of payment: {', '.join(RECEIVED)}.")
    account = book.account(account_id)
    funds = account is not None and account.billing_model in HOLDS_FUNDS
    if funds and invoices:
        raise LedgerError("invoices", "Funds of an account that pays in advance settle no invoices.")
    if received_at is not None and not _FIRST < received_at <= clock.now():
        raise LedgerError("received_at", "A payment is received now, or was before.")
    named = [book.invoice(each, "invoices") for each in dict.fromkeys(invoices)]
    for each in named:
        if each.state != "issued":
            raise LedgerError(
                "invoices", f"Invoice {each.number or each.id} is not to be paid: it is {state_of(each)}."
            )
    what = f"Payment by {method.replace('_', ' ')}" + (f", {reference}" if reference else "")
    payment = book.receive(amount, method, what, account, "payment", funds=funds, at=received_at)
    payment.reference, payment.comment = reference, comment
    told = book.tell(
        "payment.made", "payment", payment.id, str(payment.id), account=account, amount=str(amount),
        method=method.replace("_", " "), reference=reference, xdr=payment.xdr_id, more={"how": "funds"} if funds else {},
    )  # fmt: skip
    if not funds:
        with because(work, told):
            book.settle([payment], named or queries.due(work, customer_id))
    return book.close(told, "top_up" if funds else "payment", payment_id=payment.id)


def allocate(
    work: UnitOfWork, environment: str, payment_id: int, invoice_id: int, amount: Decimal | None = None
) -> Effect:
    """What is unallocated of a payment goes to an invoice. None: as much as both have left."""
    book = Book(work, environment, queries.payment(work, payment_id).customer_id)
    payment = queries.payment(work, payment_id, fresh=True)
    invoice = book.invoice(invoice_id)
    if payment.account_id is not None:
        raise NotNow("The payment is the funds of an account that pays in advance: they settle no invoices.")
    amount = None if amount is None else book.asked(amount)
    if amount is not None and amount > payment.unallocated:
        left = book.spelled(payment.unallocated)
        raise LedgerError("amount", f"{amount:f} is more than what is unallocated of the payment: {left}.")
    if amount is not None and amount > (due := due_of(invoice)):
        raise LedgerError("amount", f"{amount:f} is more than what is due of the invoice: {book.spelled(due)}.")
    told = book.allocate(payment, invoice, amount)
    if told is None:
        raise NotNow("Nothing of the payment is unallocated, or nothing of the invoice is due.")
    return book.close(told, "allocation", payment_id=payment.id, invoice_id=invoice.id)


def refund(
    work: UnitOfWork, environment: str, payment_id: int, amount: Decimal | None = None, *, reason: str = ""
) -> Effect:
    """Paid back, or charged back by the bank: its unallocated rest first, then what it settled last. None: all of it."""
    book = Book(work, environment, queries.payment(work, payment_id).customer_id)
    payment = queries.payment(work, payment_id, fresh=True)
    left = payment.amount - payment.refunded
    account = book.account(payment.account_id)
    if account is not None:
        left = max(min(left, book.floored(-account.balance)), Decimal(0))
    if not left:
        raise NotNow(
            "The account has used it: nothing is left to refund." if account else "The payment was refunded already."
        )
    amount = left if amount is None else book.asked(amount)
    if amount > left:
        raise LedgerError("amount", f"{amount:f} is more than what is left of the payment: {book.spelled(left)}.")
    what = f"Refund of payment {payment.id}" + (f": {reason}" if reason else "")
    xdr = book.post("refund", amount, what, account=account or _account_of(book, payment), payment_id=payment.id)
    told = book.tell(
        "payment.refunded", "payment", payment.id, str(payment.id), account=account, amount=str(amount), xdr=xdr.id,
        note=reason,
    )  # fmt: skip
    with because(work, told):
        back = amount - payment.unallocated
        for each in queries.live_allocations(work, payment.id) if back > 0 else ():
            taken = min(back, each.amount)
            book.take_back(payment, each, taken)
            back -= taken
            if not back:
                break
    payment.unallocated -= amount
    payment.refunded += amount
    if account is None:
        book.unallocated -= amount
    return book.close(told, "refund", payment_id=payment.id)


def adjust(
    work: UnitOfWork, environment: str, customer_id: int, amount: Decimal, description: str, *,
    invoice_id: int | None = None, account_id: int | None = None,
) -> Effect:  # fmt: skip
    """Less than zero: a credit. Of an invoice it lowers what is due; what is more than that, and a credit of no invoice,
    becomes a payment by `credit`. More is asked for by an adjustment of an invoice, or of funds."""
    book = Book(work, environment, customer_id)
    amount = book.asked(amount, positive=False)
    description = _described(description)
    account = book.account(account_id)
    funds = account is not None and account.billing_model in HOLDS_FUNDS
    if invoice_id is not None and funds:
        raise LedgerError("account", "An account that pays in advance is never invoiced: name it, or the invoice.")
    if invoice_id is not None:
        return _adjust_invoice(book, amount, description, invoice_id, account)
    if amount > 0 and not funds:
        raise LedgerError(
            "invoice", "What a customer owes besides is a charge. An adjustment that asks for more names an invoice."
        )
    if amount > 0:
        xdr_id, payment_id = book.post("adjustment", amount, description, account=account).id, None
    else:
        made = book.receive(-amount, "credit", description, account, "adjustment", funds=funds)
        xdr_id, payment_id = made.xdr_id, made.id
    told = book.tell(
        "adjustment.made", "customer", customer_id, book.customer.name, account=account, amount=str(amount), xdr=xdr_id,
        description=description,
    )  # fmt: skip
    if payment_id is not None and not funds:
        with because(work, told):
            book.settle([work.get_one(Payment, payment_id)], queries.due(work, customer_id))
    return book.close(told, "adjustment", payment_id=payment_id)


def charge(
    work: UnitOfWork, environment: str, customer_id: int, amount: Decimal, description: str, *,
    account_id: int | None = None, service: str = "", kind: str = "charge", occurred_at: datetime | None = None,
) -> Effect:  # fmt: skip
    """By hand, or by a task (`kind`: charge, fee, tax). The next invoice asks for it, unless the account holds funds."""
    book = Book(work, environment, customer_id)
    amount = book.asked(amount)
    book.may_charge()
    description, account = _described(description), book.account(account_id)
    xdr = book.post(kind, amount, description, account=account, service=service, occurred_at=occurred_at)
    told = book.tell(
        "charge.made", "xdr", xdr.id, str(xdr.id), account=account, amount=str(amount), description=description
    )
    return book.close(told, kind)


def post_usage(
    work: UnitOfWork, environment: str, account_id: int, amount: Decimal, *, session_key: str, service: str,
    seconds: int | None = None, charged_seconds: int | None = None, rate: tuple[int, str, str] | None = None,
    caller: str = "", called: str = "", call_id: str = "", conf_id: str = "", node: str = "",
    started_at: datetime | None = None, ended_at: datetime | None = None, cause: str = "",
) -> Xdr | None:  # fmt: skip
    """A rated session, charged once: None says that it was before. `rate`: its id, prefix and destination. Occurred when
    the session ended. No audit record but of the status that follows from it: the xDR is its record.

    Raises LedgerNotFound, and ValueError for what no xDR can keep.
    """
    of = select(Account.customer_id).where(Account.id == account_id, Account.environment == environment)
    customer_id = work.scalar(of)
    if customer_id is None:
        raise LedgerNotFound(f"There is no account {account_id}.")
    book = Book(work, environment, customer_id, usage=True)
    known = select(Xdr.id).where(Xdr.environment == environment, Xdr.session_key == session_key)
    if work.scalar(known) is not None:
        return None
    rate_id, prefix, destination = rate or (None, "", "")
    what = f"{service.capitalize()} to {called}" + (f" ({destination})" if destination else "")
    xdr = book.post(
        "charge", kept(amount), what, account=book.account(account_id), occurred_at=ended_at or started_at,
        service=service, session_key=session_key, call_id=call_id[:255], conf_id=conf_id[:255], caller=caller[:64],
        called=called[:64], node=node[:64], prefix=prefix, destination=destination, rate_id=rate_id, seconds=seconds,
        charged_seconds=charged_seconds, cause=cause[:32],
    )  # fmt: skip
    book.close(None, "usage")
    return xdr


def notice_overdue(work: UnitOfWork, environment: str, today: date | None = None, *, most: int = _AT_ONCE) -> int:
    """Tells the audit log which invoices are past their date since the last look: how many, `most` at once."""
    day = today or queries.today(work, environment)
    books: dict[int, Book] = {}
    count = 0
    for customer_id, invoice_id in queries.past_due(work, environment, day, threshold(work, environment), most):
        book = books.get(customer_id)
        if book is None:
            book = books[customer_id] = Book(work, environment, customer_id)
            book.today = day
        before = queries.noticed(work, invoice_id)
        count += book.invoice(invoice_id).noticed != before
    work.flush()
    return count


def _adjust_invoice(
    book: Book, amount: Decimal, description: str, invoice_id: int, account: Account | None
) -> Effect:
    invoice = book.invoice(invoice_id)
    if invoice.state != "issued":
        raise NotNow(f"An invoice that is {state_of(invoice)} is not adjusted.")
    lowered = max(amount, -max(due_of(invoice), Decimal(0)))  # the rest of a credit
    told = book.tell(
        "invoice.adjusted", "invoice", invoice.id, str(invoice.number), account=account, amount=str(amount),
        description=description, cause=book.last_record(invoice),
    )  # fmt: skip
    if lowered:
        book.post("adjustment", lowered, description, account=account, invoice_id=invoice.id)
        invoice.adjusted += lowered
    payment_id = None
    if amount < lowered:
        made = book.receive(
            lowered - amount, "credit", description, account, "adjustment", funds=False, invoice_id=invoice.id
        )
        payment_id = made.id
    told.arguments["xdr"] = book.xdrs[0].id
    told.arguments["due"] = str(due_of(invoice))
    return book.close(told, "adjustment", payment_id=payment_id, invoice_id=invoice.id)


def _account_of(book: Book, payment: Payment) -> Account | None:
    """That its xDR named: what was taken from its balance goes back to it."""
    return book.account(book.work.scalar(select(Xdr.account_id).where(Xdr.id == payment.xdr_id)))


def _described(text: str) -> str:
    if not text.strip():
        raise LedgerError("description", "Say what it is for.")
    return text.strip()
