"""What goes into the ledger's commands and what comes out of them; amounts in the customer's currency."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from ringback.billing.entities.fields import Field, Kind
from ringback.billing.entities.status import ACCOUNT_STATUSES, CUSTOMER_STATUSES
from ringback.billing.ledger.settlement import SETTLEMENTS

LEDGER_PATHS = {
    "xdr": "xdrs",
    "payment": "payments",
    "invoice": "invoices",
}  # type of an audit record -> of its pages

# What audit records of the ledger tell as changed, besides what the entities' descriptions know.
TOLD_FIELDS: dict[str, tuple[Field, ...]] = {
    "customer": (
        Field("unallocated", "Unallocated payments", Kind.MONEY),
        Field("status_shown", "Status", Kind.CHOICE, choices=tuple(CUSTOMER_STATUSES.items())),
    ),
    "account": (Field("status_shown", "Status", Kind.CHOICE, choices=tuple(ACCOUNT_STATUSES.items())),),
    "invoice": (Field("settlement", "Status", Kind.CHOICE, choices=tuple(SETTLEMENTS.items())),),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One that a person adds to an invoice; charged when it is issued."""

    description: str
    amount: Decimal
    account_id: int | None = None
    service: str = ""
    quantity: int = 1


@dataclass(frozen=True, slots=True)
class Change:
    """Before and after."""

    before: Decimal
    after: Decimal


@dataclass(frozen=True, slots=True)
class AccountEffect:
    id: int
    charging_id: str
    balance: Change
    status: tuple[str, str]  # codes of ACCOUNT_STATUSES, before and after


@dataclass(frozen=True, slots=True)
class InvoiceEffect:
    id: int
    number: int | None
    total: Decimal
    due: Change
    settlement: tuple[str, str]  # of SETTLEMENTS, "" of a draft and of what is void


@dataclass(frozen=True, slots=True)
class Effect:
    """What a command did, or would do: then the ids of what is only tried are None."""

    customer_id: int
    currency: str
    balance: Change
    unallocated: Change
    status: tuple[str, str]  # codes of CUSTOMER_STATUSES, before and after
    accounts: tuple[AccountEffect, ...] = ()  # that it changed
    invoices: tuple[InvoiceEffect, ...] = ()  # that it touched, the oldest first
    xdr_ids: tuple[int, ...] = ()  # in their order
    payment_id: int | None = None  # made, or refunded
    invoice_id: int | None = None  # drafted, issued, adjusted, or void

    def tried(self) -> Effect:
        return replace(self, xdr_ids=(), payment_id=None, invoice_id=None)
