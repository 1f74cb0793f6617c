"""All statements of the room. Sessions are opened for one environment."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from decimal import Decimal
from typing import Any, Generic, TypeVar
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy import BigInteger, ColumnElement, Select, and_, case, cast, func, or_, select, type_coerce
from sqlalchemy.orm import Session

from ringback import clock
from ringback.billing.entities.errors import Use
from ringback.billing.entities.fields import Entity
from ringback.billing.entities.models import Account, Customer, Environment
from ringback.billing.ledger.errors import LedgerError, LedgerNotFound
from ringback.billing.ledger.models import (
    BILLED_KINDS,
    HOLDS_FUNDS,
    Allocation,
    Billed,
    Invoice,
    InvoiceLine,
    Payment,
    Xdr,
)  # fmt: skip
from ringback.billing.ledger.settlement import (
    DO_NOT_COLLECT,
    DO_NOT_PAY,
    OVERDUE,
    PAID,
    PARTIALLY_PAID,
    UNPAID,
)  # fmt: skip
from ringback.records.money import MoneyColumn

PAGE, LARGEST_PAGE = 50, 500
MOST_COUNTED = 1000
_GREATEST_ID = 1 << 53
_NEVER = date(1, 1, 1)

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a list shows. `filters`: name -> what it has to be; `sort`: a name, with - downwards; "" the newest first."""

    filters: Mapping[str, str] = field(default_factory=dict)
    sort: str = ""
    cursor: str = ""
    limit: int = PAGE


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    rows: list[Row]
    cursor: str | None  # of the next page; None: this is the last


@dataclass(frozen=True, slots=True)
class Summary:
    """Where a customer stands."""

    balance: Decimal  # positive: owed
    unallocated: Decimal  # of payments
    due: Decimal  # of all invoices
    overdue: Decimal  # of these, of invoices past their date
    unbilled: Decimal  # charged, and on no issued invoice yet
    credit: Decimal | None  # left to the credit limit; None: there is no limit


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


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Something that is kept and is not what its rows say."""

    what: str  # such as "balance"
    entity_type: str
    id: int
    name: str
    kept: Decimal
    summed: Decimal


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
    found: Row | None = session.scalars(asked).one_or_none() if 0 < id_ < _GREATEST_ID else None
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

_due = type_coerce(Invoice.total + Invoice.adjusted - Invoice.allocated, MoneyColumn())


def unallocated(session: Session, customer_id: int) -> Decimal:
    """Of payments that are nobody's funds."""
    return _sum(session, select(func.sum(Payment.unallocated)).where(*_unallocated(customer_id)))


def unallocated_payments(session: Session, customer_id: int) -> Sequence[Payment]:
    """The oldest first."""
    asked = select(Payment).where(*_unallocated(customer_id)).order_by(Payment.received_at, Payment.id)
    return session.scalars(asked.execution_options(populate_existing=True)).all()


def due(session: Session, customer_id: int) -> Sequence[Invoice]:
    """Invoices of which something is due, the oldest first."""
    asked = select(Invoice).where(Invoice.customer_id == customer_id, Invoice.state == "issued", _due > 0)
    asked = asked.order_by(Invoice.due_on, Invoice.id)
    return session.scalars(asked.execution_options(populate_existing=True)).all()


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
        .where(Xdr.customer_id == customer_id, *_unbilled())
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


def past_due(session: Session, environment: str, day: date, most: int) -> list[tuple[int, int]]:
    """(customer, invoice) of what is due since before that day, and not known to be overdue."""
    asked = (
        select(Invoice.customer_id, Invoice.id)
        .where(Invoice.environment == environment, Invoice.state == "issued", Invoice.due_on < day, _due > 0)
        .where(Invoice.noticed.not_in((OVERDUE, DO_NOT_COLLECT, DO_NOT_PAY)))
        .order_by(Invoice.customer_id, Invoice.id)
        .limit(most)
    )
    return [(row[0], row[1]) for row in session.execute(asked)]


def noticed(session: Session, invoice_id: int) -> str:
    return session.scalar(select(Invoice.noticed).where(Invoice.id == invoice_id)) or ""


def _unallocated(customer_id: int) -> tuple[ColumnElement[bool], ...]:
    return Payment.customer_id == customer_id, Payment.account_id.is_(None), Payment.unallocated > 0


def _unbilled() -> tuple[ColumnElement[bool], ...]:
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
            func.sum(_due), func.sum(case((_due > 0, _due))),
            func.sum(case((settlement_sql(day, threshold) == OVERDUE, _due))),
        ).where(issued)
    ).one()  # fmt: skip
    held = select(func.sum(Account.balance)).where(
        Account.customer_id == row.id, Account.billing_model.in_(HOLDS_FUNDS)
    )
    ahead, limit = unallocated(session, row.id), row.credit_limit
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
                found = found.where(Xdr.kind.in_(_words(text)))
            case "service":
                found = found.where(Xdr.service.in_(_words(text)))
            case "account":
                found = found.where(Xdr.account_id == _id(name, text))
            case "invoice":
                on_it = select(Billed.xdr_id).where(Billed.invoice_id == _id(name, text))
                found = found.where(or_(Xdr.invoice_id == _id(name, text), Xdr.id.in_(on_it)))
            case "payment":
                found = found.where(Xdr.payment_id == _id(name, text))
            case "call_id":
                found = found.where(Xdr.call_id == text)
            case "unbilled":
                found = found.where(*_unbilled()) if text == "true" else found.where(~and_(*_unbilled()))
            case "from":
                found = found.where(Xdr.occurred_at >= moment(name, text))
            case "to":
                found = found.where(Xdr.occurred_at < moment(name, text))
            case _:
                raise LedgerError(name, f"xDRs cannot be filtered by {name!r}.")
    return _page(session, found, Xdr, asked, {"occurred_at": Xdr.occurred_at}, "-occurred_at")


def payments(session: Session, asked: Asked, *, customer_id: int | None = None) -> Page[Payment]:
    """Raises LedgerError."""
    found = select(Payment)
    if customer_id is not None:
        found = found.where(Payment.customer_id == customer_id)
    for name, text in asked.filters.items():
        match name:
            case "method":
                found = found.where(Payment.method.in_(_words(text)))
            case "account":
                found = found.where(Payment.account_id == _id(name, text))
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
    return _page(session, found, Payment, asked, sorts, "-id")


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
                found = found.where(Invoice.state.in_(_words(text)))
            case "settlement":
                found = found.where(settlement_sql(day, threshold).in_(_words(text)))
            case "customer":
                found = found.where(Invoice.customer_id == _id(name, text))
            case "number":
                found = found.where(Invoice.number == _id(name, text))
            case "due_from":
                found = found.where(Invoice.due_on >= _day(name, text))
            case "due_to":
                found = found.where(Invoice.due_on <= _day(name, text))
            case _:
                raise LedgerError(name, f"Invoices cannot be filtered by {name!r}.")
    sorts: dict[str, Any] = {
        "id": Invoice.id, "number": func.coalesce(Invoice.number, 0), "total": Invoice.total,
        "issued_on": func.coalesce(Invoice.issued_on, _NEVER), "due_on": func.coalesce(Invoice.due_on, _NEVER),
        "due": case((Invoice.state == "issued", _due), else_=Decimal(0)),
    }  # fmt: skip
    return _page(session, found, Invoice, asked, sorts, "-id")


def settlement_sql(day: date, threshold: Decimal) -> ColumnElement[str]:
    """As `settlement.settlement`; a test proves them alike."""
    return case(
        (Invoice.state != "issued", ""),
        (Invoice.total <= 0, DO_NOT_PAY),
        (_due <= 0, PAID),
        (Invoice.total <= threshold, DO_NOT_COLLECT),
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
    before = session.scalar(newest.where(Xdr.occurred_at < start))
    ids = {each for each in (before, session.scalar(newest), *session.scalars(in_time)) if each is not None}
    # `of` once more: by its ids alone, SQLite would look through the environment.
    rows = session.execute(select(Xdr.recorded_at, after, Xdr.id).where(of, Xdr.id.in_(ids)).order_by(Xdr.id))
    found = [Point(row[0], row[1], row[2]) for row in rows if row[0] < end]
    earlier = [each for each in found if each.at < start]
    return earlier[-1:] + found[len(earlier) :]


# What must hold


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
    free = select(Xdr.customer_id, func.sum(Xdr.amount)).where(*_unbilled())
    issued = select(Invoice.customer_id, func.sum(_due)).where(Invoice.state == "issued")
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


def uses(session: Session, entity: Entity) -> list[Use]:
    """What keeps a customer or an account from being deleted."""
    if entity.about.name not in ("customer", "account"):
        return []
    found = []
    for model, one, many, path in ((Xdr, "xDR", "xDRs", "xdrs"), (Invoice, "invoice", "invoices", "invoices")):
        column: Any = getattr(model, f"{entity.about.name}_id", None)
        if column is None:
            continue
        some = select(column).where(column == entity.id).limit(MOST_COUNTED)
        count = session.scalar(select(func.count()).select_from(some.subquery())) or 0
        if count:
            its = f"{entity.about.path}/{entity.id}/{path}"
            found.append(Use(one.lower(), one if count == 1 else many, count, its, ""))
    return found


# Pages of lists


def _page(
    session: Session, found: Select[Any], model: Any, asked: Asked, sorts: Mapping[str, Any], usual: str
) -> Page[Any]:
    """Keyset paging: by the sorted value, then by id, in one direction."""
    sort = asked.sort or usual
    down, name = sort.startswith("-"), sort.removeprefix("-")
    if name not in sorts:
        raise LedgerError("sort", f"This list is sorted by {', '.join(sorts)}, with - downwards.")
    key, id_ = sorts[name], model.id
    after = _opened(asked, sort)
    if after is not None:
        value, last = _typed(model, name, after[0]), after[1]
        beyond, at = (key < value, key == value) if down else (key > value, key == value)
        further = id_ < last if down else id_ > last
        # Said twice, so that an index is read from the value on.
        found = found.where(key <= value if down else key >= value, or_(beyond, and_(at, further)))
    order = (key.desc(), id_.desc()) if down else (key, id_)
    limit = min(max(asked.limit, 1), LARGEST_PAGE)
    rows = session.execute(found.add_columns(key).order_by(*order).limit(limit + 1)).all()
    cursor = None
    if len(rows) > limit:
        row, value = rows[limit - 1]
        cursor = base64.urlsafe_b64encode(orjson.dumps([sort, _plain(value), row.id])).decode().rstrip("=")
    return Page([row for row, _ in rows[:limit]], cursor)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return clock.to_us(value)
    return str(value) if isinstance(value, Decimal | date) else value


def _opened(asked: Asked, sort: str) -> tuple[Any, int] | None:
    if not asked.cursor:
        return None
    try:
        packed = base64.urlsafe_b64decode(asked.cursor + "=" * (-len(asked.cursor) % 4))
        was, value, id_ = orjson.loads(packed)
        if was == sort and type(id_) is int and abs(id_) < _GREATEST_ID:
            return value, id_
    except (ValueError, TypeError, binascii.Error):
        pass
    raise _bad_cursor()


def _typed(model: Any, name: str, value: Any) -> Any:
    try:
        if name in ("occurred_at", "received_at"):
            return clock.from_us(value)
        if name in ("total", "due", "amount"):
            found = Decimal(value)
            return found if found.is_finite() and abs(found) < 10**15 else Decimal(0)
        if name in ("issued_on", "due_on"):
            return date.fromisoformat(value)
        if type(value) is int and abs(value) < _GREATEST_ID:
            return value
    except (ValueError, TypeError, ArithmeticError):
        pass
    raise _bad_cursor()


def _bad_cursor() -> LedgerError:
    return LedgerError("cursor", "The list cannot go on from there: begin at its first page.")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _id(name: str, text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 16:
        return int(text)
    raise LedgerError(name, f"{text!r} is no id.")


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise LedgerError(name, f"{text!r} is no day, such as 2026-11-30.") from None


def moment(name: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None and 1970 <= found.year < 9999:
            return clock.from_us(clock.to_us(found))
    except ValueError:
        pass
    raise LedgerError(name, f"{text!r} is no time with its zone, such as 2026-11-30T12:00:00Z.")
