"""What is done with money on pages: of each act its form, how it begins, and the command behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from sqlalchemy.orm import Session

from ringback.access.schemas import Principal
from ringback.billing.entities.fields import Field, Kind
from ringback.billing.entities.models import SERVICES, TYPES, Customer
from ringback.billing.entities.pages_base import Writing
from ringback.billing.entities.pages_values import amount, balance_words, day_text
from ringback.billing.ledger import pages_queries, queries, service
from ringback.billing.ledger.errors import LedgerError
from ringback.billing.ledger.models import Invoice
from ringback.billing.ledger.rounding import spelled
from ringback.billing.ledger.schemas import Effect, Line
from ringback.billing.ledger.service import RECEIVED
from ringback.billing.ledger.settlement import due_of
from ringback.records.engine import UnitOfWork

Values = Mapping[str, Any]

NEW_LINES = 4  # of an invoice that is made by hand
MOST_DUE = 100  # invoices to choose from
_METHODS = tuple((each, each.replace("_", " ").capitalize()) for each in RECEIVED)
_AMOUNT = Field("amount", "Amount", Kind.MONEY, required=True)
_DESCRIPTION = Field("description", "What for", Kind.TEXT, required=True, length=200, help="Stands on the invoice.")
_ACCOUNT = Field("account", "Account", Kind.LINK, links_to="account", help="Empty: the customer's, of no account.")
_REASON = Field("reason", "Why", Kind.TEXT, length=200, help="Stands in the audit log.")


@dataclass(slots=True)
class Act:
    """One thing that can be done: its form, and the command behind it."""

    heading: str
    button: str  # of the last step
    back: str
    customer_id: int
    currency: str
    fields: Sequence[Field]
    do: Callable[[UnitOfWork, str, Values], Effect]
    texts: dict[str, str] = field(default_factory=dict)  # how the form begins
    told: list[str] = field(default_factory=list)
    destroys: bool = False
    is_prepaid: bool = False
    leaves: str = "a draft"  # what an invoice is that nothing is asked for by, then


Make = Callable[[Session, Principal, str, int], Act]


def _payment(session: Session, writer: Principal, environment: str, row_id: int) -> Act:
    customer = queries.customer(session, row_id)
    due = queries.due(session, row_id)[:MOST_DUE]
    funds = pages_queries.has_funds(session, row_id)
    fields = [
        _AMOUNT, Field("method", "Method", Kind.CHOICE, choices=_METHODS, required=True),
        Field("reference", "Reference", Kind.TEXT, length=120, help="Of the bank or the payment provider."),
    ]  # fmt: skip
    if due:
        said = "Empty: those that are due first. What is more than that is due stays unallocated."
        fields.append(Field("invoices", "For invoice", Kind.CHOICE, choices=_choices(due), help=said))
    if funds:
        said = "One that pays in advance: the payment is a top-up of its funds."
        fields.append(replace(_ACCOUNT, help=said))
    fields += [
        Field("received_at", "Received", Kind.TIME, help="Empty: now."),
        Field("comment", "Comment", Kind.TEXT, length=200),
    ]

    def do(work: UnitOfWork, environment: str, values: Values) -> Effect:
        invoice = values.get("invoices")
        return service.pay(
            work, environment, row_id, values["amount"], method=values["method"], reference=values["reference"],
            account_id=values.get("account"), invoices=(int(invoice),) if invoice else (),
            received_at=values["received_at"], comment=values["comment"],
        )  # fmt: skip

    title = _title(session, writer, customer)
    act = _act(customer, f"Payment of {title}", "Take the payment", fields, do)
    total = sum((due_of(each) for each in due), Decimal(0))
    act.told.append(_balance(customer) + (f", {_money(total, customer)} is due on invoices." if due else "."))
    act.texts = {"method": "bank_transfer"}
    if total:
        act.texts["amount"] = spelled(total, customer.currency)
    return act


def _adjustment(session: Session, writer: Principal, environment: str, row_id: int) -> Act:
    customer = queries.customer(session, row_id)
    due = queries.due(session, row_id)[:MOST_DUE]
    fields = [_direction(), _AMOUNT, _DESCRIPTION]
    if due:
        said = "Empty: the balance. To ask for more, choose an invoice, or make a charge."
        fields.append(Field("invoice", "Of invoice", Kind.CHOICE, choices=_choices(due), help=said))
    fields.append(_ACCOUNT)

    def do(work: UnitOfWork, environment: str, values: Values) -> Effect:
        invoice = values.get("invoice")
        return service.adjust(
            work, environment, row_id, _signed(values), values["description"],
            invoice_id=int(invoice) if invoice else None, account_id=values["account"],
        )  # fmt: skip

    act = _act(customer, f"Adjustment of {_title(session, writer, customer)}", "Adjust", fields, do)
    act.told.append(_balance(customer) + ".")
    act.texts = {"direction": "credit"}
    return act


def _invoice_adjustment(session: Session, writer: Principal, environment: str, row_id: int) -> Act:
    invoice = queries.invoice(session, row_id)
    customer = queries.customer(session, invoice.customer_id)
    customer_id = customer.id

    def do(work: UnitOfWork, environment: str, values: Values) -> Effect:
        return service.adjust(
            work, environment, customer_id, _signed(values), values["description"], invoice_id=row_id
        )

    act = _act(customer, f"Adjustment of invoice {invoice.number or row_id}", "Adjust the invoice",
               [_direction(), _AMOUNT, _DESCRIPTION], do)  # fmt: skip
    act.back = f"/invoices/{row_id}"
    act.told.append(f"{_money(due_of(invoice), customer)} of {_money(invoice.total, customer)} is due.")
    act.texts = {"direction": "credit"}
    return act


def _charge(session: Session, writer: Principal, environment: str, row_id: int) -> Act:
    customer = queries.customer(session, row_id)
    fields = [_AMOUNT, _DESCRIPTION, _ACCOUNT, Field("service", "Service", Kind.CHOICE, choices=SERVICES)]

    def do(work: UnitOfWork, environment: str, values: Values) -> Effect:
        return service.charge(
            work, environment, row_id, values["amount"], values["description"], account_id=values["account"],
            service=values["service"] or "",
        )  # fmt: skip

    act = _act(customer, f"Charge of {_title(session, writer, customer)}", "Charge", fields, do)
    act.told.append(f"{_balance(customer)}. The next invoice asks for it, unless the account pays in advance.")
    return act


def _invoice(session: Session, writer: Principal, environment: str, row_id: int) -> Act:
    customer = queries.customer(session, row_id)
    waiting = queries.summary(session, customer, queries.today(session, environment), Decimal(0)).unbilled
    fields = [
        Field("collect", "Collect", Kind.FLAG, help="All that was charged and stands on no invoice."),
        Field("issue", "Issue", Kind.FLAG, help="At once. Otherwise it is a draft, which asks for nothing yet."),
        Field("period_from", "Period from", Kind.DATE),
        Field("period_to", "Period to", Kind.DATE, help="Its last day: what was charged later is left."),
    ]
    for place in range(1, NEW_LINES + 1):
        fields.append(Field(f"line_{place}", f"Line {place}", Kind.TEXT, length=200))
        fields.append(Field(f"amount_{place}", f"Amount of line {place}", Kind.MONEY))
    due = f"Empty: {customer.due_days} days after it is issued."
    fields.append(Field("due_on", "Due on", Kind.DATE, help=due))

    def do(work: UnitOfWork, environment: str, values: Values) -> Effect:
        return service.draft(
            work, environment, row_id, lines=_lines(values), collect=bool(values["collect"]),
            period_from=values["period_from"], period_to=values["period_to"], due_on=values["due_on"],
            issued=bool(values["issue"]),
        )  # fmt: skip

    act = _act(customer, f"New invoice of {_title(session, writer, customer)}", "Make the invoice", fields, do)
    act.told.append(f"{_money(waiting, customer)} was charged and stands on no issued invoice yet.")
    act.texts = {"collect": "yes" if waiting else "no", "issue": "yes"}
    return act


def _refund(session: Session, writer: Principal, environment: str, row_id: int) -> Act:
    payment = queries.payment(session, row_id)
    customer = queries.customer(session, payment.customer_id)

    def do(work: UnitOfWork, environment: str, values: Values) -> Effect:
        return service.refund(work, environment, row_id, values["amount"], reason=values["reason"])

    act = _act(customer, f"Refund of payment {row_id}", "Refund", [_AMOUNT, _REASON], do)
    act.back, act.destroys = f"/payments/{row_id}", True
    left = payment.amount - payment.refunded
    act.told.append(
        f"{_money(left, customer)} of {_money(payment.amount, customer)} is not refunded. What is unallocated goes back"
        " first, then what settled invoices last: they are due again."
    )
    act.texts = {"amount": spelled(left, customer.currency)} if left else {}
    return act


def _allocation(session: Session, writer: Principal, environment: str, row_id: int) -> Act:
    payment = queries.payment(session, row_id)
    customer = queries.customer(session, payment.customer_id)
    due = queries.due(session, customer.id)[:MOST_DUE]
    fields = [
        Field("invoice", "Invoice", Kind.CHOICE, choices=_choices(due), required=True),
        replace(_AMOUNT, required=False, help="Empty: as much as is unallocated, and due."),
    ]

    def do(work: UnitOfWork, environment: str, values: Values) -> Effect:
        return service.allocate(work, environment, row_id, int(values["invoice"]), values["amount"])

    act = _act(customer, f"Allocation of payment {row_id}", "Allocate", fields, do)
    act.back = f"/payments/{row_id}"
    free = _money(payment.unallocated, customer)
    act.told.append(f"{free} is unallocated." if due else f"{free} is unallocated, and no invoice is due.")
    act.texts = {"invoice": str(due[0].id)} if due else {}
    return act


def _issue(session: Session, writer: Principal, environment: str, row_id: int) -> Act:
    invoice = queries.invoice(session, row_id)
    customer = queries.customer(session, invoice.customer_id)
    said = f"Empty: {customer.due_days} days from today."
    if invoice.due_on is not None:
        said = f"Empty: {day_text(invoice.due_on)}."

    def do(work: UnitOfWork, environment: str, values: Values) -> Effect:
        return service.issue(work, environment, row_id, due_on=values["due_on"])

    fields = [Field("due_on", "Due on", Kind.DATE, help=said)]
    act = _act(customer, f"Issue of draft {row_id}", "Issue the invoice", fields, do)
    act.back = f"/invoices/{row_id}"
    act.told.append("It gets its number and is never changed again. What was paid ahead settles it.")
    return act


def _void(session: Session, writer: Principal, environment: str, row_id: int) -> Act:
    invoice = queries.invoice(session, row_id)
    customer = queries.customer(session, invoice.customer_id)

    def do(work: UnitOfWork, environment: str, values: Values) -> Effect:
        return service.void(work, environment, row_id, values["reason"])

    act = _act(customer, f"Void of invoice {invoice.number or f'draft {row_id}'}", "Make it void", [_REASON], do)
    act.back, act.destroys, act.leaves = f"/invoices/{row_id}", True, "void"
    act.told.append(
        "As if it had never been: lines of its own are corrected, what it collected waits for the next one."
    )
    return act


def _act(
    customer: Customer, heading: str, button: str, fields: Sequence[Field],
    do: Callable[[UnitOfWork, str, Values], Effect],
) -> Act:  # fmt: skip
    back = f"/customers/{customer.id}/billing"
    return Act(heading, button, back, customer.id, customer.currency, fields, do, is_prepaid=is_prepaid(customer))


def _direction() -> Field:
    choices = (("credit", "Lowers what is owed: a credit"), ("more", "Raises what is owed"))
    return Field("direction", "What it does", Kind.CHOICE, choices=choices, required=True)


def _signed(values: Values) -> Decimal:
    given: Decimal = values["amount"]
    if given <= 0:
        raise LedgerError("amount", "The amount is more than zero: what it does is chosen beside it.")
    return -given if values["direction"] == "credit" else given


def _lines(values: Values) -> list[Line]:
    found = []
    for place in range(1, NEW_LINES + 1):
        text, value = values[f"line_{place}"], values[f"amount_{place}"]
        if text and value is None:
            raise LedgerError(f"amount_{place}", f"Say how much {text!r} is.")
        if value is not None and not text:
            raise LedgerError(f"line_{place}", "Say what the line is for.")
        if text:
            found.append(Line(text, value))
    return found


def _title(session: Session, writer: Principal, customer: Customer) -> str:
    return Writing(session, writer).title(TYPES["customer"], customer)


def is_prepaid(customer: Customer) -> bool:
    return customer.balance_control == "prepaid"


def _balance(customer: Customer) -> str:
    words, _ = balance_words(customer.balance, customer.currency, holds_funds=is_prepaid(customer))
    return f"The customer {words}" if words.startswith("owes") else f"The customer: {words}"


def _choices(due: Sequence[Invoice]) -> tuple[tuple[str, str], ...]:
    return tuple((str(each.id), _due_words(each)) for each in due)


def _due_words(invoice: Any) -> str:
    due = f"{amount(due_of(invoice), invoice.currency)} {invoice.currency}"
    return f"Invoice {invoice.number}: {due}, due on {day_text(invoice.due_on)}"


def _money(value: Decimal, customer: Customer) -> str:
    return f"{amount(value, customer.currency)} {customer.currency}"


ACTS: dict[str, Make] = {
    "/customers/{row_id:int}/pay": _payment,
    "/customers/{row_id:int}/adjust": _adjustment,
    "/customers/{row_id:int}/charge": _charge,
    "/customers/{row_id:int}/invoices/new": _invoice,
    "/payments/{row_id:int}/refund": _refund,
    "/payments/{row_id:int}/allocate": _allocation,
    "/invoices/{row_id:int}/adjust": _invoice_adjustment,
    "/invoices/{row_id:int}/issue": _issue,
    "/invoices/{row_id:int}/void": _void,
}  # by their path
