"""The status that customers and accounts are shown with: a function of rows, balance and date.

Each status has its reason as a sentence. The same as a condition of SQL is in `status_sql`; a test proves them alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ringback.billing.entities.models import Account, Customer

CUSTOMER_STATUSES = {
    "closed": "Closed",
    "blocked": "Blocked",
    "suspended": "Suspended",
    "deactivated": "Deactivated",
    "limited": "Limited",
    "suspension_delayed": "Suspension delayed",
    "credit_exceeded": "Credit exceeded",
    "no_available_funds": "No available funds",
    "exported": "Exported",
    "active": "Active",
}  # fmt: skip -- the first that applies

ACCOUNT_STATUSES = {
    "closed": "Closed",
    "blocked": "Blocked",
    "customer_blocked": "Customer blocked",
    "suspended": "Suspended",
    "customer_suspended": "Customer suspended",
    "inactive": "Inactive",
    "not_yet_active": "Not yet active",
    "expired": "Expired",
    "frozen": "Frozen",
    "quarantine": "Quarantine",
    "screening": "Screening",
    "overdraft": "Overdraft",
    "zero_balance": "Zero balance",
    "credit_exceeded": "Credit exceeded",
    "limited": "Limited",
    "active": "Active",
}  # fmt: skip -- the first that applies


@dataclass(frozen=True, slots=True)
class Status:
    code: str
    label: str
    reason: str  # a sentence


def customer_status(customer: Customer, today: date, balance: Decimal | None = None) -> Status:
    """`balance`: where it is not the row's."""
    balance = customer.balance if balance is None else balance
    limit, currency = customer.credit_limit, customer.currency
    delayed = customer.suspension_delayed_until
    prepaid = customer.balance_control == "prepaid"
    code, reason = "active", "Nothing holds its services back."
    if customer.bill_status == "closed":
        code, reason = "closed", "The customer was closed, which is final."
    elif customer.blocked:
        code, reason = "blocked", "The customer was blocked by hand: none of its accounts works."
    elif customer.bill_status == "suspended":
        code, reason = "suspended", "Services are suspended until the customer pays."
    elif customer.bill_status == "deactivated":
        code, reason = "deactivated", "The customer is deactivated for the time being."
    elif customer.limited:
        code, reason = "limited", "Services are reduced until the customer pays."
    elif delayed is not None and delayed >= today:
        code, reason = "suspension_delayed", f"Services go on until {delayed} although something is overdue."
    elif not prepaid and limit is not None and balance >= limit:
        code = "credit_exceeded"
        reason = (
            f"The balance of {_amount(balance, currency)} has reached the credit limit of {_amount(limit, currency)}."
        )
    elif prepaid and balance >= (limit or 0):
        code = "no_available_funds"
        reason = f"The customer pays in advance, and nothing is left: the balance is {_amount(balance, currency)}."
    elif customer.bill_status == "exported":
        code, reason = "exported", "The customer was exported to another system."
    return Status(code, CUSTOMER_STATUSES[code], reason)


def account_status(
    account: Account, customer: Customer, today: date, balance: Decimal | None = None, owed: Decimal | None = None
) -> Status:
    """`balance` of the account and `owed`, the customer's, where they are not the rows'. An alias has its own status;
    what it stands for decides besides."""
    balance = account.balance if balance is None else balance
    owed = customer.balance if owed is None else owed
    currency = customer.currency
    own, shared = account.credit_limit, customer.credit_limit
    funds = account.billing_model in ("debit", "voucher")
    code, reason = "active", "Nothing holds its services back."
    if account.status == "closed":
        code, reason = "closed", "The account was closed, which is final."
    elif customer.bill_status == "closed":
        code, reason = "closed", "Its customer was closed, which is final."
    elif account.blocked:
        code, reason = "blocked", "The account was blocked by hand."
    elif customer.blocked:
        code, reason = "customer_blocked", "Its customer was blocked by hand."
    elif account.status == "suspended":
        code, reason = "suspended", "The account is suspended."
    elif customer.bill_status == "suspended":
        code, reason = "customer_suspended", "Its customer is suspended until it pays."
    elif account.status == "inactive":
        code, reason = "inactive", "The account is inactive."
    elif customer.bill_status == "deactivated":
        code, reason = "inactive", "Its customer is deactivated for the time being."
    elif account.activation_date is not None and today < account.activation_date:
        code, reason = "not_yet_active", f"The account is active from {account.activation_date} on."
    elif account.expiration_date is not None and account.expiration_date < today:
        code, reason = "expired", f"The account expired after {account.expiration_date}."
    elif account.status == "frozen":
        code, reason = "frozen", "The account is frozen."
    elif account.status == "quarantine":
        code, reason = "quarantine", "The account is in quarantine: it was used in a way that looks like fraud."
    elif account.status == "screening":
        code, reason = "screening", "The account is being screened: it was used in an unusual way."
    elif funds and balance > 0:
        code, reason = "overdraft", f"More was used than was paid in: {_amount(balance, currency)} are owed."
    elif funds and balance == 0:
        code, reason = "zero_balance", "Nothing is left of what was paid in."
    elif not funds and own is not None and balance >= own:
        code = "credit_exceeded"
        reason = (
            f"The balance of {_amount(balance, currency)} has reached the credit limit of {_amount(own, currency)}."
        )
    elif (
        not funds and own is None and shared is not None and customer.balance_control != "prepaid" and owed >= shared
    ):
        code = "credit_exceeded"
        reason = f"Its customer's balance of {_amount(owed, currency)} has reached the limit of {_amount(shared, currency)}."
    elif account.status == "limited":
        code, reason = "limited", "Services of the account are reduced."
    elif customer.limited:
        code, reason = "limited", "Services of its customer are reduced until it pays."
    return Status(code, ACCOUNT_STATUSES[code], reason)


def _amount(value: Decimal, currency: str) -> str:
    plain = value.normalize()
    exponent = plain.as_tuple().exponent
    places = max(2, -exponent if isinstance(exponent, int) else 0)
    return f"{value:,.{places}f} {currency}"
