"""What the room asks of its tables. Sessions are opened for one environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, ColumnElement, Select, and_, case, cast, func, or_, select, type_coerce
from sqlalchemy.orm import Session

from ringback import clock
from ringback.billing.entities.errors import Use
from ringback.billing.entities.fields import Entity
from ringback.billing.entities.models import SERVICES, Account, Customer, Environment
from ringback.billing.ledger.errors import LedgerError, LedgerNotFound
from ringback.billing.ledger.models import (
    BILLED_KINDS,
    HOLDS_FUNDS,
    INVOICE_STATES,
    PAYMENT_METHODS,
    XDR_KINDS,
    Allocation,
    Billed,
    Invoice,
    InvoiceLine,
    Payment,
    Xdr,
)  # fmt: skip
from ringback.billing.ledger.paging import GREATEST_ID, Asked, Page, day_of, id_of, moment, page_of, words_of
from ringback.billing.ledger.settlement import (
    DO_NOT_COLLECT,
    DO_NOT_PAY,
    OVERDUE,
    PAID,
    PARTIALLY_PAID,
    SETTLEMENTS,
    UNPAID,
)  # fmt: skip
from ringback.records.money import MoneyColumn

MOST_COUNTED = 1000
_NEVER = date(1, 1, 1)

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Summary:
    """Where a customer stands."""

    balance: Decimal  # positive: owed
    unallocated: Decimal  # of payments
    due: Decimal  # of all invoices
    overdue: Decimal  # of these, of invoices past their date
    unbilled: Decimal  # charged, and on no issued invoice yet
    credit: Decimal | None  # left to the credit limit, or of what was paid in advance; None: there is no limit


@dataclass(frozen=True, slots=True)
class Point:
    """Of the history of a balance: what it was from `at` on."""

    at: datetime
    balance: Decimal
    xdr_id: int


@dataclass(frozen=True, slots=True)
class Unbilled:
    id: int
    account_id: int | None
    service: str
    amount: Decimal
    charged_seconds: int | None
    description: str
    is_session: bool


# One of each


def xdr(session: Session, xdr_id: int) -> Xdr:
    """Raises LedgerNotFound."""
    return _one(session, Xdr, xdr_id, "xDR")


def payment(session: Session, payment_id: int, *, fresh: bool = False) -> Payment:
    """Raises LedgerNotFound."""
    return _one(session, Payment, payment_id, "payment", fresh=fresh)


def invoice(session: Session, invoice_id: int) -> Invoice:
    """Raises LedgerNotFound."""
    return _one(session, Invoice, invoice_id, "invoice")


def customer(session: Session, customer_id: int) -> Customer:
    """Raises LedgerNotFound."""
    return _one(session, Customer, customer_id, "customer")


def account(session: Session, account_id: int) -> Account:
    """Raises LedgerNotFound."""
    return _one(session, Account, account_id, "account")


def _one(session: Session, model: type[Row], id_: int, label: str, *, fresh: bool = False) -> Row:
    table: Any = model
    asked = select(table).where(table.id == id_).execution_options(populate_existing=fresh)
    found: Row | None = session.scalars(asked).one_or_none() if 0 < id_ < GREATEST_ID else None
    if found is None:
        raise LedgerNotFound(f"There is no {label} {id_}.")
    return found


# Time


def zone(session: Session, environment: str) -> tzinfo:
    """In which days end."""
    found = session.scalar(select(Environment.time_zone).where(Environment.environment == environment))
    return ZoneInfo(found or "UTC")


def today(session: Session, environment: str) -> date:
    return clock.now().astimezone(zone(session, environment)).date()


# Of one customer, for commands

due_sql = type_coerce(Invoice.total + Invoice.adjusted - Invoice.allocated, MoneyColumn())


def unallocated(session: Session, customer_id: int) -> Decimal:
    """Of payments that are nobody's funds."""
    return _sum(session, select(func.sum(Payment.unallocated)).where(*_unallocated(customer_id)))


def unallocated_payments(session: Session, customer_id: int) -> Sequence[Payment]:
    """The oldest first."""
    asked = select(Payment).where(*_unallocated(customer_id)).order_by(Payment.received_at, Payment.id)
    return session.scalars(asked.execution_options(populate_existing=True)).all()


def due(session: Session, customer_id: int) -> Sequence[Invoice]:
    """Invoices of which something is due, the oldest first."""
    asked = select(Invoice).where(Invoice.customer_id == customer_id, Invoice.state == "issued", due_sql > 0)
    asked = asked.order_by(Invoice.due_on, Invoice.id)
    return session.scalars(asked.execution_options(populate_existing=True)).all()


def credit_of(session: Session, invoice_id: int) -> Payment | None:
    """What an invoice gave beyond what was due of it, and was not refunded."""
    asked = select(Payment).join(Xdr, Xdr.id == Payment.xdr_id).order_by(Payment.id).limit(1)
    return session.scalar(asked.where(Xdr.invoice_id == invoice_id, Payment.refunded < Payment.amount))


def live_allocations(session: Session, payment_id: int) -> Sequence[Allocation]:
    """The newest first."""
    asked = select(Allocation).where(Allocation.payment_id == payment_id, Allocation.reversed_at.is_(None))
    return session.scalars(asked.order_by(Allocation.id.desc())).all()


def unbilled(session: Session, customer_id: int, before: datetime | None = None) -> list[Unbilled]:
    """What was charged and stands on no invoice, in its order."""
    asked = (
        select(
            Xdr.id, Xdr.account_id, Xdr.service, Xdr.amount, Xdr.charged_seconds, Xdr.description,
            Xdr.session_key.is_not(None),
        )
        .where(Xdr.customer_id == customer_id, *unbilled_sql())
        .order_by(Xdr.id)
    )  # fmt: skip
    if before is not None:
        asked = asked.where(Xdr.occurred_at < before)
    return [Unbilled(*row) for row in session.execute(asked)]


def billed_sums(session: Session, invoice_id: int) -> dict[int, Decimal]:
    """Line -> sum of the xDRs that it has collected; nothing of lines that were given."""
    asked = select(Billed.line_id, func.sum(Xdr.amount)).join(Xdr, Xdr.id == Billed.xdr_id)
    asked = asked.where(Billed.invoice_id == invoice_id).group_by(Billed.line_id)
    return {row[0]: row[1] for row in session.execute(asked)}


def lines(session: Session, invoice_id: int) -> Sequence[InvoiceLine]:
    asked = select(InvoiceLine).where(InvoiceLine.invoice_id == invoice_id).order_by(InvoiceLine.position)
    return session.scalars(asked).all()


def past_due(session: Session, environment: str, day: date, threshold: Decimal, most: int) -> list[tuple[int, int]]:
    """(customer, invoice) of what is due since before that day, and has another settlement than was told."""
    asked = (
        select(Invoice.customer_id, Invoice.id)
        .where(Invoice.environment == environment, Invoice.state == "issued", Invoice.due_on < day, due_sql > 0)
        .where(settlement_sql(day, threshold) != Invoice.noticed)
        .order_by(Invoice.customer_id, Invoice.id)
        .limit(most)
    )
    return [(row[0], row[1]) for row in session.execute(asked)]


def noticed(session: Session, invoice_id: int) -> str:
    return session.scalar(select(Invoice.noticed).where(Invoice.id == invoice_id)) or ""


def _unallocated(customer_id: int) -> tuple[ColumnElement[bool], ...]:
    return Payment.customer_id == customer_id, Payment.account_id.is_(None), Payment.unallocated > 0


def unbilled_sql() -> tuple[ColumnElement[bool], ...]:
    """Of accounts that are invoiced, and of no account; made for no invoice, and on none."""
    funds = select(Account.id).where(Account.billing_model.in_(HOLDS_FUNDS))
    on_one = select(Billed.xdr_id).where(Billed.xdr_id == Xdr.id)
    return (
        Xdr.kind.in_(BILLED_KINDS),
        Xdr.invoice_id.is_(None),
        ~on_one.exists(),
        or_(Xdr.account_id.is_(None), Xdr.account_id.not_in(funds)),
    )


def _sum(session: Session, asked: Select[Any]) -> Decimal:
    return session.scalar(asked) or Decimal(0)


# For people


def summary(session: Session, row: Customer, day: date, threshold: Decimal) -> Summary:
    """What is not billed is what the balance has besides invoices, payments and funds: xDRs need not be read for it."""
    issued = and_(Invoice.customer_id == row.id, Invoice.state == "issued")
    asked, owed, late = session.execute(
        select(
            func.sum(due_sql), func.sum(case((due_sql > 0, due_sql))),
            func.sum(case((settlement_sql(day, threshold) == OVERDUE, due_sql))),
        ).where(issued)
    ).one()  # fmt: skip
    held = select(func.sum(Account.balance)).where(
        Account.customer_id == row.id, Account.billing_model.in_(HOLDS_FUNDS)
    )
    ahead, limit = unallocated(session, row.id), row.credit_limit
    if limit is None and row.balance_control == "prepaid":
        limit = Decimal(0)
    return Summary(
        row.balance, ahead, owed or Decimal(0), late or Decimal(0),
        row.balance - (asked or Decimal(0)) + ahead - _sum(session, held),
        None if limit is None else limit - row.balance,
    )  # fmt: skip


def xdrs(
    session: Session, asked: Asked, *, customer_id: int | None = None, account_id: int | None = None
) -> Page[Xdr]:
    """By when they occurred. Raises LedgerError."""
    found = select(Xdr)
    if customer_id is not None:
        found = found.where(Xdr.customer_id == customer_id)
    if account_id is not None:
        found = found.where(Xdr.account_id == account_id)
    for name, text in asked.filters.items():
        match name:
            case "kind":
                found = found.where(Xdr.kind.in_(words_of(name, text, XDR_KINDS)))
            case "service":
                found = found.where(Xdr.service.in_(words_of(name, text, dict(SERVICES))))
            case "account":
                found = found.where(Xdr.account_id == id_of(name, text))
            case "invoice":
                on_it = select(Billed.xdr_id).where(Billed.invoice_id == id_of(name, text))
                found = found.where(or_(Xdr.invoice_id == id_of(name, text), Xdr.id.in_(on_it)))
            case "payment":
                found = found.where(Xdr.payment_id == id_of(name, text))
            case "call_id":
                found = found.where(Xdr.call_id == text)
            case "unbilled":
                found = found.where(*unbilled_sql()) if text == "true" else found.where(~and_(*unbilled_sql()))
            case "from":
                found = found.where(Xdr.occurred_at >= moment(name, text))
            case "to":
                found = found.where(Xdr.occurred_at < moment(name, text))
            case _:
                raise LedgerError(name, f"xDRs cannot be filtered by {name!r}.")
    return page_of(session, found, Xdr, asked, {"occurred_at": Xdr.occurred_at}, "-occurred_at")


def payments(session: Session, asked: Asked, *, customer_id: int | None = None) -> Page[Payment]:
    """Raises LedgerError."""
    found = select(Payment)
    if customer_id is not None:
        found = found.where(Payment.customer_id == customer_id)
    for name, text in asked.filters.items():
        match name:
            case "method":
                found = found.where(Payment.method.in_(words_of(name, text, PAYMENT_METHODS)))
            case "account":
                found = found.where(Payment.account_id == id_of(name, text))
            case "unallocated":
                some = and_(Payment.unallocated > 0, Payment.account_id.is_(None))
                found = found.where(some if text == "true" else ~some)
            case "from":
                found = found.where(Payment.received_at >= moment(name, text))
            case "to":
                found = found.where(Payment.received_at < moment(name, text))
            case _:
                raise LedgerError(name, f"Payments cannot be filtered by {name!r}.")
    sorts = {"received_at": Payment.received_at, "amount": Payment.amount, "id": Payment.id}
    return page_of(session, found, Payment, asked, sorts, "-id")


def invoices(
    session: Session, asked: Asked, day: date, threshold: Decimal, *, customer_id: int | None = None
) -> Page[Invoice]:
    """Raises LedgerError."""
    found = select(Invoice)
    if customer_id is not None:
        found = found.where(Invoice.customer_id == customer_id)
    for name, text in asked.filters.items():
        match name:
            case "state":
                found = found.where(Invoice.state.in_(words_of(name, text, INVOICE_STATES)))
            case "settlement":
                found = found.where(settlement_sql(day, threshold).in_(words_of(name, text, SETTLEMENTS)))
            case "customer":
                found = found.where(Invoice.customer_id == id_of(name, text))
            case "number":
                found = found.where(Invoice.number == id_of(name, text))
            case "due_from":
                found = found.where(Invoice.due_on >= day_of(name, text))
            case "due_to":
                found = found.where(Invoice.due_on <= day_of(name, text))
            case _:
                raise LedgerError(name, f"Invoices cannot be filtered by {name!r}.")
    sorts: dict[str, Any] = {
        "id": Invoice.id, "number": func.coalesce(Invoice.number, 0), "total": Invoice.total,
        "issued_on": func.coalesce(Invoice.issued_on, _NEVER), "due_on": func.coalesce(Invoice.due_on, _NEVER),
        "due": case((Invoice.state == "issued", due_sql), else_=Decimal(0)),
    }  # fmt: skip
    return page_of(session, found, Invoice, asked, sorts, "-id")


def settlement_sql(day: date, threshold: Decimal) -> ColumnElement[str]:
    """As `settlement.settlement`; a test proves them alike."""
    return case(
        (Invoice.state != "issued", ""),
        (and_(due_sql <= 0, Invoice.total <= 0), DO_NOT_PAY),
        (due_sql <= 0, PAID),
        (due_sql <= threshold, DO_NOT_COLLECT),
        (Invoice.due_on < day, OVERDUE),
        (Invoice.allocated > 0, PARTIALLY_PAID),
        else_=UNPAID,
    )


def allocations(
    session: Session, *, payment_id: int | None = None, invoice_id: int | None = None
) -> Sequence[Allocation]:
    """Those taken back too, in their order."""
    asked = select(Allocation).order_by(Allocation.id)
    if payment_id is not None:
        asked = asked.where(Allocation.payment_id == payment_id)
    if invoice_id is not None:
        asked = asked.where(Allocation.invoice_id == invoice_id)
    return session.scalars(asked).all()


def billed_on(session: Session, xdr_id: int) -> int | None:
    """The invoice that asks for an xDR."""
    return session.scalar(select(Billed.invoice_id).where(Billed.xdr_id == xdr_id))


def history(
    session: Session, start: datetime, end: datetime, *, customer_id: int | None = None, account_id: int | None = None,
    points: int = 200,
) -> list[Point]:  # fmt: skip
    """How a balance went, as it was recorded: about `points` at most, one of each piece of time; before them what it was at
    the start, if anything was before. Which xDRs these are is read from an index alone."""
    of = Xdr.customer_id == customer_id if customer_id is not None else Xdr.account_id == account_id
    after: Any = Xdr.balance_after if customer_id is not None else Xdr.account_balance_after
    first, last = clock.to_us(start), clock.to_us(end)
    piece = max((last - first) // max(points, 1), 1)
    us: Any = cast(Xdr.occurred_at, BigInteger)
    newest = select(func.max(Xdr.id + 0)).where(of)  # else the primary key would be read back to the customer's last
    in_time = newest.where(Xdr.occurred_at >= start, Xdr.occurred_at < end).group_by((us - first) // piece)
    old = newest.where(Xdr.occurred_at < start)
    before = session.scalar(old)
    ids = {each for each in (before, session.scalar(newest), *session.scalars(in_time)) if each is not None}
    late = select(Xdr.id).where(Xdr.id == before, Xdr.recorded_at >= start)  # as a payment of last month
    if session.scalar(late) is not None:  # then the rows say which was the last until then
        ids |= {session.scalar(old.where(Xdr.recorded_at < start))} - {None}
    # `of` once more: by its ids alone, SQLite would look through the environment.
    rows = session.execute(select(Xdr.recorded_at, after, Xdr.id).where(of, Xdr.id.in_(ids)).order_by(Xdr.id))
    found = [Point(row[0], row[1], row[2]) for row in rows if row[0] < end]
    earlier = [each for each in found if each.at < start]
    return earlier[-1:] + found[len(earlier) :]


def uses(session: Session, entity: Entity) -> list[Use]:
    """What keeps a customer or an account from being deleted."""
    asked: list[tuple[Any, str, str, str]] = []  # ids, label of one and of several, path of their list
    if isinstance(entity, Customer):
        mine = f"customers/{entity.id}"
        asked.append((select(Xdr.id).where(Xdr.customer_id == entity.id), "xDR", "xDRs", f"{mine}/xdrs"))
        made = select(Invoice.id).where(Invoice.customer_id == entity.id)
        asked.append((made, "invoice", "invoices", f"{mine}/invoices"))
    if isinstance(entity, Account):
        its = select(Xdr.id).where(Xdr.account_id == entity.id)
        asked.append((its, "xDR", "xDRs", f"accounts/{entity.id}/xdrs"))
        named = select(InvoiceLine.invoice_id).where(InvoiceLine.account_id == entity.id).distinct()
        asked.append((named, "invoice", "invoices", f"customers/{entity.customer_id}/invoices"))
    found = []
    for ids, one, many, path in asked:
        count = session.scalar(select(func.count()).select_from(ids.limit(MOST_COUNTED).subquery())) or 0
        if count:
            found.append(Use(one.lower(), one if count == 1 else many, count, path, ""))
    return found
