"""The ledger's tables. Amounts are in the customer's currency; positive means that the customer owes.

An xDR is written once and never changed. A customer's balance is the sum of its xDRs, an account's the sum of those that name
it; both are kept beside the entity by `service.post`, the only code that writes an xDR.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Date, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from ringback.records.money import MoneyColumn
from ringback.records.tables import Id, InEnvironment, Record, UtcTime

XDR_KINDS = (
    "charge",
    "fee",
    "tax",
    "payment",
    "refund",
    "adjustment",
    "rounding",
    "correction",
)  # fmt: skip -- what moved a balance
BILLED_KINDS = ("charge", "fee", "tax", "correction")  # which the next invoice asks for
HOLDS_FUNDS = ("debit", "voucher")  # billing models of accounts that pay in advance and are never invoiced
INVOICE_STATES = ("draft", "issued", "void")
PAYMENT_METHODS = ("cash", "card", "bank_transfer", "direct_debit", "cheque", "voucher", "credit", "other")


class Xdr(InEnvironment, Record):
    """One movement of a balance. `call` fields are of a rated session, else empty."""

    __tablename__ = "xdrs"
    __table_args__ = (
        Index("ix_xdrs_customer", "environment", "customer_id", "occurred_at", "id"),
        Index("ix_xdrs_account", "environment", "account_id", "occurred_at", "id"),
        Index("ix_xdrs_call", "environment", "call_id"),
        UniqueConstraint("environment", "session_key"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    account_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))
    kind: Mapped[str] = mapped_column(String(16))  # of XDR_KINDS
    service: Mapped[str] = mapped_column(String(32), default="")  # of a charge: voice messaging data iptv
    amount: Mapped[Decimal] = mapped_column(MoneyColumn)  # signed, five places
    balance_after: Mapped[Decimal] = mapped_column(MoneyColumn)  # the customer's
    account_balance_after: Mapped[Decimal | None] = mapped_column(MoneyColumn)
    occurred_at: Mapped[datetime] = mapped_column(UtcTime)
    recorded_at: Mapped[datetime] = mapped_column(UtcTime)
    description: Mapped[str] = mapped_column(String(255))
    corrects_id: Mapped[int | None] = mapped_column(ForeignKey("xdrs.id"), index=True)
    payment_id: Mapped[int | None] = mapped_column(BigInteger, index=True)
    invoice_id: Mapped[int | None] = mapped_column(BigInteger, index=True)  # that it was made for, as an adjustment
    session_key: Mapped[str | None] = mapped_column(String(300))  # of a rated session: charged once
    call_id: Mapped[str] = mapped_column(String(255), default="")  # SIP Call-ID
    conf_id: Mapped[str] = mapped_column(String(255), default="")  # h323-conf-id
    caller: Mapped[str] = mapped_column(String(64), default="")
    called: Mapped[str] = mapped_column(String(64), default="")
    node: Mapped[str] = mapped_column(String(64), default="")
    prefix: Mapped[str] = mapped_column(String(20), default="")  # of the rate
    destination: Mapped[str] = mapped_column(String(120), default="")
    rate_id: Mapped[int | None] = mapped_column(BigInteger)  # which may be gone since
    seconds: Mapped[int | None] = mapped_column(Integer)  # that it lasted
    charged_seconds: Mapped[int | None] = mapped_column(Integer)
    cause: Mapped[str] = mapped_column(String(32), default="")  # how it ended: a Q.850 cause, or "lost"


class Invoice(InEnvironment, Record):
    """Once issued nothing of it changes but what is derived: `adjusted` and `allocated` follow their rows."""

    __tablename__ = "invoices"
    __table_args__ = (
        UniqueConstraint("environment", "number"),
        Index("ix_invoices_customer", "environment", "customer_id", "id"),
        Index("ix_invoices_due", "environment", "state", "due_on"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    number: Mapped[int | None] = mapped_column(BigInteger)  # without gaps in its environment; a draft has none
    state: Mapped[str] = mapped_column(String(8), default="draft")
    currency: Mapped[str] = mapped_column(String(3))
    period_from: Mapped[date | None] = mapped_column(Date)
    period_to: Mapped[date | None] = mapped_column(Date)  # its last day
    issued_on: Mapped[date | None] = mapped_column(Date)  # in the environment's zone
    due_on: Mapped[date | None] = mapped_column(Date)  # overdue from the day after
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    issued_at: Mapped[datetime | None] = mapped_column(UtcTime)
    voided_at: Mapped[datetime | None] = mapped_column(UtcTime)
    void_reason: Mapped[str] = mapped_column(String(255), default="")
    total: Mapped[Decimal] = mapped_column(MoneyColumn)  # of its lines
    adjusted: Mapped[Decimal] = mapped_column(MoneyColumn, default=Decimal(0))  # signed sum of its adjustments
    allocated: Mapped[Decimal] = mapped_column(MoneyColumn, default=Decimal(0))  # sum of live allocations
    noticed: Mapped[str] = mapped_column(String(24), default="")  # the settlement that the audit log told last
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)  # name and address as they were when issued


class InvoiceLine(InEnvironment, Record):
    __tablename__ = "invoice_lines"
    __table_args__ = (UniqueConstraint("invoice_id", "position"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey(Invoice.id))
    position: Mapped[int] = mapped_column(Integer)  # from 1
    description: Mapped[str] = mapped_column(String(255))
    account_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))
    service: Mapped[str] = mapped_column(String(32), default="")
    quantity: Mapped[int] = mapped_column(BigInteger, default=1)  # xDRs in it
    seconds: Mapped[int | None] = mapped_column(BigInteger)
    amount: Mapped[Decimal] = mapped_column(MoneyColumn)  # rounded at the currency's exponent


class Billed(InEnvironment, Record):
    """An xDR stands on one line of one invoice that is not void."""

    __tablename__ = "billed_xdrs"

    xdr_id: Mapped[int] = mapped_column(ForeignKey(Xdr.id), primary_key=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey(Invoice.id), index=True)
    line_id: Mapped[int] = mapped_column(ForeignKey(InvoiceLine.id))


class Payment(InEnvironment, Record):
    """Money received, or a credit adjustment beyond what was due. live allocations + unallocated + refunded = amount."""

    __tablename__ = "payments"
    __table_args__ = (
        CheckConstraint("unallocated >= 0 AND refunded >= 0 AND amount > 0", name="parts"),
        Index("ix_payments_customer", "environment", "customer_id", "id"),
        Index("ix_payments_unallocated", "environment", "customer_id", sqlite_where=sql("unallocated > 0"),
              postgresql_where=sql("unallocated > 0")),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    account_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))  # of a debit account: its funds
    method: Mapped[str] = mapped_column(String(16))  # of PAYMENT_METHODS
    reference: Mapped[str] = mapped_column(String(120), default="")  # of the bank or payment provider
    amount: Mapped[Decimal] = mapped_column(MoneyColumn)
    unallocated: Mapped[Decimal] = mapped_column(MoneyColumn)
    refunded: Mapped[Decimal] = mapped_column(MoneyColumn, default=Decimal(0))
    xdr_id: Mapped[int] = mapped_column(ForeignKey(Xdr.id))
    received_at: Mapped[datetime] = mapped_column(UtcTime)
    recorded_at: Mapped[datetime] = mapped_column(UtcTime)
    comment: Mapped[str] = mapped_column(String(255), default="")


class Allocation(InEnvironment, Record):
    """A part of a payment that settles a part of an invoice; taken back, it stays as a row that is reversed."""

    __tablename__ = "allocations"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    payment_id: Mapped[int] = mapped_column(ForeignKey(Payment.id), index=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey(Invoice.id), index=True)
    amount: Mapped[Decimal] = mapped_column(MoneyColumn)
    made_at: Mapped[datetime] = mapped_column(UtcTime)
    reversed_at: Mapped[datetime | None] = mapped_column(UtcTime)


class InvoiceNumber(InEnvironment, Record):
    """The last number given in each environment."""

    __tablename__ = "invoice_numbers"
    __table_args__ = (UniqueConstraint("environment"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    last: Mapped[int] = mapped_column(BigInteger)


class Command(InEnvironment, Record):
    """The answer to a command with an Idempotency-Key: given again to the same, refused to another."""

    __tablename__ = "commands"
    __table_args__ = (UniqueConstraint("environment", "key"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    key: Mapped[str] = mapped_column(String(255))
    fingerprint: Mapped[str] = mapped_column(String(64))  # SHA-256 of who asked for what
    status: Mapped[int] = mapped_column(Integer)  # HTTP
    answer: Mapped[dict[str, Any]] = mapped_column(JSON)
    done_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
