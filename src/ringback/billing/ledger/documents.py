"""The ledger's documents, as the API takes and gives them. Amounts are texts, exact."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from ringback.access.masking import mask
from ringback.billing.entities.models import Customer
from ringback.billing.entities.values import GREATEST_ID
from ringback.billing.ledger.models import Allocation, Invoice, InvoiceLine, Payment, Xdr
from ringback.billing.ledger.queries import Point, Summary
from ringback.billing.ledger.rounding import spelled
from ringback.billing.ledger.schemas import Effect
from ringback.billing.ledger.service import RECEIVED
from ringback.billing.ledger.settlement import SETTLEMENTS, due_of

_PERSONAL = ("name", "company", "first_name", "last_name", "address", "city", "postal_code", "email")


def _amount(given: Any) -> Decimal:
    """Texts and whole numbers: a fraction in JSON has lost what it was."""
    if isinstance(given, bool) or not isinstance(given, str | int) or len(str(given)) > 30:
        raise ValueError('an amount is a text such as "12.50"')
    try:
        found = Decimal(given)
    except ArithmeticError:
        found = Decimal("NaN")
    if not found.is_finite() or abs(found) >= 10**13 or not str(given).lstrip("+-").replace(".", "", 1).isdigit():
        raise ValueError('an amount is a text such as "12.50"')
    return found


Amount = Annotated[
    Decimal,
    BeforeValidator(_amount),
    PlainSerializer(lambda amount: f"{amount.normalize():f}"),  # 60 and "60.00" are the same command
    WithJsonSchema(
        {"type": ["string", "integer"], "pattern": r"^[+-]?[0-9]{1,10}(\.[0-9]{1,5})?$", "examples": ["12.50"]}
    ),
]
AnyId = Annotated[int, Field(ge=1, le=GREATEST_ID)]
OneLine = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Said = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PaymentGiven(_Given):
    amount: Amount
    method: Annotated[str, Field(json_schema_extra={"enum": list(RECEIVED)})]
    reference: Annotated[str, Field(max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    account: AnyId | None = Field(None, description="i_account; of one that pays in advance: its funds")
    invoices: list[AnyId] = Field([], max_length=100, description="i_invoice; empty: those that are due first")
    received_at: AwareDatetime | None = Field(None, description="Null: now")
    comment: OneLine = ""


class RefundGiven(_Given):
    amount: Amount | None = Field(None, description="Null: all that is left of the payment")
    reason: OneLine = ""


class AllocationGiven(_Given):
    invoice: AnyId = Field(description="i_invoice")
    amount: Amount | None = Field(None, description="Null: as much as is unallocated, and due")


class AdjustmentGiven(_Given):
    amount: Amount = Field(description="Less than zero: a credit")
    description: Said
    invoice: AnyId | None = Field(None, description="i_invoice")
    account: AnyId | None = Field(None, description="i_account")


class InvoiceAdjustmentGiven(_Given):
    amount: Amount = Field(description="Less than zero: a credit")
    description: Said


class ChargeGiven(_Given):
    amount: Amount
    description: Said
    account: AnyId | None = Field(None, description="i_account")
    service: Annotated[str, Field(json_schema_extra={"enum": ["", "voice", "messaging", "data", "iptv"]})] = ""


class LineGiven(_Given):
    description: Said
    amount: Amount
    account: AnyId | None = Field(None, description="i_account")
    service: str = Field("", max_length=32)
    quantity: int = Field(1, ge=1, le=10**9)


class InvoiceGiven(_Given):
    lines: list[LineGiven] = Field([], max_length=1000)
    collect: bool = Field(False, description="All that was charged and stands on no invoice")
    period_from: date | None = None
    period_to: date | None = Field(None, description="Its last day; what was charged later is not collected")
    due_on: date | None = Field(None, description="Null: the customer's days until due after it is issued")
    issue: bool = Field(True, description="False: a draft")


class IssueGiven(_Given):
    due_on: date | None = None


class VoidGiven(_Given):
    reason: OneLine = ""


class BalanceDocument(BaseModel):
    i_customer: int
    currency: str
    balance: str = Field(description="Positive: the customer owes")
    unallocated: str = Field(description="Of payments, for the next invoice")
    due: str = Field(description="Of all invoices")
    overdue: str = Field(description="Of these, of invoices past their date")
    unbilled: str = Field(description="Charged, and on no issued invoice yet")
    credit: str | None = Field(description="Left to the credit limit, or of what was paid in advance; null: no limit")


class PointDocument(BaseModel):
    at: datetime
    balance: str
    i_xdr: int


class HistoryDocument(BaseModel):
    points: list[PointDocument] = Field(description="The first may lie before the time that was asked for")


class XdrDocument(BaseModel):
    """One movement of a balance."""

    i_xdr: int
    i_customer: int
    i_account: int | None
    kind: str
    service: str
    amount: str = Field(description="Positive: owed")
    balance_after: str
    account_balance_after: str | None
    currency: str
    occurred_at: datetime
    recorded_at: datetime
    description: str
    corrects: int | None = Field(description="i_xdr")
    i_payment: int | None
    i_invoice: int | None = Field(description="That it was made for")
    call_id: str
    conf_id: str
    caller: str
    called: str
    node: str
    prefix: str
    destination: str
    i_rate: int | None
    seconds: int | None
    charged_seconds: int | None
    cause: str


class XdrPage(BaseModel):
    xdrs: list[XdrDocument]
    cursor: str | None = Field(description="Of the next page; null: this is the last")


class OneXdr(XdrDocument):
    billed_on: int | None = Field(description="i_invoice that asks for it")


class AllocationDocument(BaseModel):
    i_payment: int
    i_invoice: int
    amount: str
    made_at: datetime
    reversed_at: datetime | None


class PaymentDocument(BaseModel):
    i_payment: int
    i_customer: int
    i_account: int | None = Field(description="Whose funds it is")
    method: str
    reference: str
    amount: str
    unallocated: str
    refunded: str
    currency: str
    i_xdr: int
    received_at: datetime
    recorded_at: datetime
    comment: str


class OnePayment(PaymentDocument):
    allocations: list[AllocationDocument]


class PaymentPage(BaseModel):
    payments: list[PaymentDocument]
    cursor: str | None


class InvoiceLineDocument(BaseModel):
    position: int
    description: str
    i_account: int | None
    service: str
    quantity: int
    seconds: int | None
    amount: str


class InvoiceDocument(BaseModel):
    i_invoice: int
    i_customer: int
    number: int | None
    state: str = Field(description="draft, issued or void")
    settlement: str | None = Field(description=", ".join(SETTLEMENTS) + "; null: a draft, or void")
    currency: str
    period_from: date | None
    period_to: date | None
    issued_on: date | None
    due_on: date | None
    created_at: datetime
    voided_at: datetime | None
    void_reason: str
    total: str
    adjusted: str
    allocated: str = Field(description="Paid")
    due: str


class OneInvoice(InvoiceDocument):
    lines: list[InvoiceLineDocument]
    allocations: list[AllocationDocument]
    details: dict[str, str] = Field(description="Of the customer, as they were when it was issued")


class InvoicePage(BaseModel):
    invoices: list[InvoiceDocument]
    cursor: str | None


class ChangeDocument(BaseModel):
    before: str
    after: str


class CodesDocument(BaseModel):
    before: str
    after: str


class AccountEffectDocument(BaseModel):
    i_account: int
    id: str
    balance: ChangeDocument
    status: CodesDocument


class InvoiceEffectDocument(BaseModel):
    i_invoice: int
    number: int | None
    total: str = Field(description="Adjustments included")
    due: ChangeDocument
    settlement: CodesDocument


class EffectDocument(BaseModel):
    """What a command did; of a preview, what it would do."""

    i_customer: int
    currency: str
    balance: ChangeDocument
    unallocated: ChangeDocument
    status: CodesDocument
    accounts: list[AccountEffectDocument]
    invoices: list[InvoiceEffectDocument]
    i_xdrs: list[int]
    i_payment: int | None
    i_invoice: int | None


def effect(done: Effect, *, sees_personal: bool) -> dict[str, Any]:
    currency = done.currency

    def change(each: Any) -> dict[str, str]:
        return {"before": spelled(each.before, currency), "after": spelled(each.after, currency)}

    def codes(each: tuple[str, str]) -> dict[str, str]:
        return {"before": each[0], "after": each[1]}

    return {
        "i_customer": done.customer_id,
        "currency": currency,
        "balance": change(done.balance),
        "unallocated": change(done.unallocated),
        "status": codes(done.status),
        "accounts": [
            {
                "i_account": each.id,
                "id": each.charging_id if sees_personal else mask(each.charging_id, "number"),
                "balance": change(each.balance),
                "status": codes(each.status),
            }
            for each in done.accounts
        ],
        "invoices": [
            {
                "i_invoice": each.id,
                "number": each.number,
                "total": spelled(each.total, currency),
                "due": change(each.due),
                "settlement": codes(each.settlement),
            }
            for each in done.invoices
        ],
        "i_xdrs": list(done.xdr_ids),
        "i_payment": done.payment_id,
        "i_invoice": done.invoice_id,
    }


def masked(effect: dict[str, Any]) -> dict[str, Any]:
    """An answer that is kept, for somebody who sees less than who was answered."""
    accounts = [each | {"id": mask(each["id"], "number")} for each in effect["accounts"]]
    return effect | {"accounts": accounts}


def balance(customer: Customer, summary: Summary) -> dict[str, Any]:
    amounts = {
        name: getattr(summary, name) for name in ("balance", "unallocated", "due", "overdue", "unbilled", "credit")
    }
    told = {name: None if each is None else spelled(each, customer.currency) for name, each in amounts.items()}
    return {"i_customer": customer.id, "currency": customer.currency, **told}


def point(each: Point, currency: str) -> dict[str, Any]:
    return {"at": each.at, "balance": spelled(each.balance, currency), "i_xdr": each.xdr_id}


def xdr(row: Xdr, currency: str, *, sees_personal: bool) -> dict[str, Any]:
    def number(text: str) -> str:
        return text if sees_personal else mask(text, "number")

    after = row.account_balance_after
    return {
        "i_xdr": row.id, "i_customer": row.customer_id, "i_account": row.account_id, "kind": row.kind,
        "service": row.service, "amount": spelled(row.amount, currency),
        "balance_after": spelled(row.balance_after, currency),
        "account_balance_after": None if after is None else spelled(after, currency), "currency": currency,
        "occurred_at": row.occurred_at, "recorded_at": row.recorded_at,
        "description": row.description if sees_personal else mask(row.description, "text"), "corrects": row.corrects_id,
        "i_payment": row.payment_id, "i_invoice": row.invoice_id, "call_id": shown_call_id(row, sees_personal=sees_personal),
        "conf_id": row.conf_id,
        "caller": number(row.caller), "called": number(row.called), "node": row.node, "prefix": row.prefix,
        "destination": row.destination, "i_rate": row.rate_id, "seconds": row.seconds,
        "charged_seconds": row.charged_seconds, "cause": row.cause,
    }  # fmt: skip


def shown_call_id(row: Xdr, *, sees_personal: bool) -> str:
    """Else its random part alone: a phone writes its address into it, and some their number."""
    if sees_personal:
        return row.call_id
    local, at, host = row.call_id.partition("@")
    for party in filter(None, (row.caller, row.called)):
        local = local.replace(party, mask(party, "number"))
    return f"{local}{at}{mask(host, 'address')}"


def payment(row: Payment, currency: str, *, sees_personal: bool) -> dict[str, Any]:
    def said(text: str) -> str:
        return text if sees_personal else mask(text, "text")

    return {
        "i_payment": row.id, "i_customer": row.customer_id, "i_account": row.account_id, "method": row.method,
        "reference": said(row.reference), "amount": spelled(row.amount, currency),
        "unallocated": spelled(row.unallocated, currency), "refunded": spelled(row.refunded, currency),
        "currency": currency, "i_xdr": row.xdr_id, "received_at": row.received_at, "recorded_at": row.recorded_at,
        "comment": said(row.comment),
    }  # fmt: skip


def allocation(row: Allocation, currency: str) -> dict[str, Any]:
    return {
        "i_payment": row.payment_id, "i_invoice": row.invoice_id, "amount": spelled(row.amount, currency),
        "made_at": row.made_at, "reversed_at": row.reversed_at,
    }  # fmt: skip


def invoice(row: Invoice, settlement: str, *, sees_personal: bool) -> dict[str, Any]:
    currency = row.currency
    return {
        "i_invoice": row.id, "i_customer": row.customer_id, "number": row.number, "state": row.state,
        "settlement": settlement or None, "currency": currency, "period_from": row.period_from,
        "period_to": row.period_to, "issued_on": row.issued_on, "due_on": row.due_on, "created_at": row.created_at,
        "voided_at": row.voided_at, "void_reason": row.void_reason if sees_personal else mask(row.void_reason, "text"),
        "total": spelled(row.total, currency), "adjusted": spelled(row.adjusted, currency),
        "allocated": spelled(row.allocated, currency), "due": spelled(due_of(row), currency),
    }  # fmt: skip


def line(row: InvoiceLine, currency: str, *, sees_personal: bool) -> dict[str, Any]:
    return {
        "position": row.position, "description": row.description if sees_personal else mask(row.description, "text"),
        "i_account": row.account_id, "service": row.service, "quantity": row.quantity, "seconds": row.seconds,
        "amount": spelled(row.amount, currency),
    }  # fmt: skip


def details(row: Invoice, *, sees_personal: bool) -> dict[str, str]:
    return {
        name: value if sees_personal or name not in _PERSONAL else mask(str(value), "text")
        for name, value in row.details.items()
    }
