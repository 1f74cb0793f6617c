"""Lists of xDRs, payments and invoices as pages show them: what the URL asks for, columns, rows, chips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from ringback import clock
from ringback.access.masking import mask
from ringback.billing.entities.known import Known
from ringback.billing.entities.models import SERVICES, TYPES
from ringback.billing.entities.pages_base import PATHS, Writing
from ringback.billing.entities.pages_list import Chip, Column, Row, url
from ringback.billing.entities.pages_values import NOTHING, Shown, aligned, amount, day_text
from ringback.billing.ledger.errors import LedgerError
from ringback.billing.ledger.models import INVOICE_STATES, PAYMENT_METHODS, XDR_KINDS, Invoice, Payment, Xdr
from ringback.billing.ledger.paging import PAGE, Asked, Page
from ringback.billing.ledger.settlement import (
    DO_NOT_COLLECT,
    DO_NOT_PAY,
    OVERDUE,
    PAID,
    PARTIALLY_PAID,
    SETTLEMENTS,
    UNPAID,
    due_of,
)  # fmt: skip

OF_ACCOUNT, OF_CUSTOMER = TYPES["account_add_on"]["account_id"], TYPES["account"]["customer_id"]
KINDS = tuple((kind, kind.capitalize()) for kind in XDR_KINDS)
METHODS = tuple((method, method.replace("_", " ").capitalize()) for method in PAYMENT_METHODS)
STATES = tuple((state, state.capitalize()) for state in INVOICE_STATES)
YES_NO = (("true", "Yes"), ("false", "No"))
_LONGEST = 255

_TONES = {
    UNPAID: ("neutral", "○"), PARTIALLY_PAID: ("warn", "◐"), PAID: ("ok", "✓"), OVERDUE: ("bad", "!"),
    DO_NOT_PAY: ("neutral", "–"), DO_NOT_COLLECT: ("neutral", "–"), "draft": ("note", "✎"), "void": ("neutral", "✕"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filter:
    name: str
    label: str
    how: str  # choice day moment account customer text
    choices: tuple[tuple[str, str], ...] = ()
    value: str = ""
    shown: str = ""

    @property
    def suggest(self) -> str:
        return f"/{PATHS[self.how]}/suggest" if self.how in ("account", "customer") else ""


@dataclass(slots=True)
class Listed:
    """A list of the ledger, which is its URL: filters, `sort` and `cursor`."""

    path: str
    filters: list[Filter]
    params: dict[str, str]  # without the cursor
    asked: dict[str, str] = field(default_factory=dict)  # filters as the queries take them
    cursor: str = ""
    next_cursor: str = ""
    columns: list[Column] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    limit: int = PAGE

    @property
    def chips(self) -> list[Chip]:
        found = []
        for each in self.filters:
            if each.value and each.name not in self.errors:
                rest = {name: text for name, text in self.params.items() if name != each.name}
                words = ", ".join(dict(each.choices).get(one, one) for one in each.value.split(","))
                found.append(Chip(each.label, each.shown or words, url(self.path, rest)))
        return found

    @property
    def narrowed(self) -> bool:
        return any(each.value for each in self.filters)

    @property
    def first_url(self) -> str:
        return url(self.path, self.params)

    @property
    def next_url(self) -> str:
        return url(self.path, self.params | {"cursor": self.next_cursor}) if self.next_cursor else ""

    @property
    def export_url(self) -> str:
        return url(f"{self.path}.csv", self.params)

    def query(self, limit: int = PAGE) -> Asked:
        return Asked(self.asked, self.params.get("sort", ""), self.cursor, limit)


XDR_FILTERS = (
    Filter("kind", "Kind", "choice", KINDS),
    Filter("service", "Service", "choice", SERVICES),
    Filter("account", "Account", "account"),
    Filter("from", "From", "moment"),
    Filter("to", "To", "moment"),
    Filter("unbilled", "Not invoiced yet", "choice", YES_NO),
    Filter("invoice", "Invoice, by its id", "text"),
    Filter("call_id", "Call-ID", "text"),
)
PAYMENT_FILTERS = (
    Filter("method", "Method", "choice", METHODS),
    Filter("unallocated", "With an unallocated rest", "choice", YES_NO),
    Filter("account", "Account", "account"),
    Filter("from", "From", "moment"),
    Filter("to", "To", "moment"),
)
INVOICE_FILTERS = (
    Filter("settlement", "Status", "choice", tuple(SETTLEMENTS.items())),
    Filter("state", "Document", "choice", STATES),
    Filter("customer", "Customer", "customer"),
    Filter("number", "Number", "text"),
    Filter("due_from", "Due from", "day"),
    Filter("due_to", "Due to", "day"),
)


def read(
    session: Session, writing: Writing, path: str, wanted: Sequence[Filter], params: Mapping[str, str], zone: ZoneInfo
) -> Listed:
    """What the URL asks for. Days are days of the reader's zone; links may be named, and stand by their ids then."""
    known = {"sort", "cursor", *(each.name for each in wanted)}
    given = {name: text.strip()[:_LONGEST] for name, text in params.items() if name in known and text.strip()}
    view = Listed(path, [], given, cursor=given.pop("cursor", ""))
    for each in wanted:
        text, shown = given.get(each.name, ""), ""
        if text:
            try:
                view.asked[each.name], shown = _read(session, writing, each, text, zone)
            except ValueError as wrong:
                view.errors[each.name] = str(wrong)
            else:
                if each.suggest:
                    given[each.name] = text = view.asked[each.name]
        view.filters.append(Filter(each.name, each.label, each.how, each.choices, text, shown))
    return view


def fill(view: Listed, ask: Callable[[Asked], Page[Any]], limit: int = PAGE) -> list[Any]:
    """The rows of the page that is asked for; what cannot be answered is told instead."""
    view.limit = limit
    if view.errors:
        return []
    try:
        page = ask(view.query(limit))
    except LedgerError as refused:
        if refused.field not in ("cursor", "sort"):
            view.errors[refused.field] = str(refused)
            return []
        view.problem, view.cursor = str(refused), ""
        view.params.pop("sort", None)
        page = ask(view.query(limit))
    view.next_cursor = page.cursor or ""
    return page.rows


def _read(session: Session, writing: Writing, each: Filter, text: str, zone: ZoneInfo) -> tuple[str, str]:
    """(as the queries take it, how it is shown where that is not its choice's label). Raises ValueError."""
    if each.how == "choice":
        for one in text.split(","):
            if one.strip() not in dict(each.choices):
                raise ValueError(f"{one.strip()!r} is none of {', '.join(label for _, label in each.choices)}.")
        return text, ""
    if each.how in ("day", "moment"):
        try:
            day = date.fromisoformat(text)
            begins = datetime(day.year, day.month, day.day, tzinfo=zone)
            if each.how == "moment":
                return (begins + timedelta(days=each.name == "to")).isoformat(), day_text(day)
        except (ValueError, OverflowError):
            raise ValueError(f"{text!r} is no day such as 2026-11-30.") from None
        return text, day_text(day)
    if each.suggest:
        link = OF_ACCOUNT if each.how == "account" else OF_CUSTOMER
        plain = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else text
        known = Known(session, writing.reader.environments[0])
        found = known.linked(link, text) or known.linked(link, plain)
        if found is None:
            raise ValueError(f"There is no {each.how} {text}.")
        writing.for_links(link, {found.id})
        return str(found.id), writing.link_text(link, found.id)
    return text, ""


# Rows


def sorted_by(view: Listed, name: str, label: str, *, num: bool = False) -> Column:
    sort = view.params.get("sort", "")
    wanted = name if sort == f"-{name}" else f"-{name}"
    state = {name: "asc", f"-{name}": "desc"}.get(sort, "")
    return Column(label, None, num, url(view.path, {**view.params, "sort": wanted}), state)


def xdr_rows(view: Listed, xdrs: Sequence[Xdr], writing: Writing, currency: str, *, of_account: bool = False) -> None:
    view.columns = [
        Column("xDR", None), sorted_by(view, "occurred_at", "When"), Column("What for", None), Column("Kind", None),
        *([] if of_account else [Column("Account", None)]), Column("Amount", None, True),
        Column("Balance after", None, True),
    ]  # fmt: skip
    writing.for_links(OF_ACCOUNT, {each.account_id for each in xdrs if each.account_id is not None})
    after = [each.account_balance_after if of_account else each.balance_after for each in xdrs]
    places = aligned([*(each.amount for each in xdrs), *after], currency)
    for each, balance in zip(xdrs, after, strict=True):
        account = [] if of_account else [writing.link(OF_ACCOUNT, each.account_id) or Shown(NOTHING, soft=True)]
        cells = (
            Shown(str(each.id)), moment(each.occurred_at), Shown(said(each.description, writing)),
            Shown(each.kind.capitalize()), *account, _num(each.amount, currency, places), _num(balance, currency, places),
        )  # fmt: skip
        view.rows.append(Row(each.id, f"xDR {each.id}", f"/xdrs/{each.id}", cells))


def payment_rows(view: Listed, payments: Sequence[Payment], writing: Writing, currency: str) -> None:
    view.columns = [
        sorted_by(view, "id", "Payment"), sorted_by(view, "received_at", "Received"), Column("Method", None),
        Column("Reference", None), Column("Of account", None), sorted_by(view, "amount", "Amount", num=True),
        Column("Unallocated", None, True), Column("Refunded", None, True),
    ]  # fmt: skip
    writing.for_links(OF_ACCOUNT, {each.account_id for each in payments if each.account_id is not None})
    for each in payments:
        rest = Decimal(0) if each.account_id is not None else each.unallocated
        cells = (
            Shown(str(each.id)), moment(each.received_at), Shown(dict(METHODS).get(each.method, each.method)),
            Shown(said(each.reference, writing) or NOTHING, soft=not each.reference),
            writing.link(OF_ACCOUNT, each.account_id) or Shown(NOTHING, soft=True), _num(each.amount, currency),
            _num(rest, currency), _num(each.refunded, currency),
        )  # fmt: skip
        view.rows.append(Row(each.id, f"Payment {each.id}", f"/payments/{each.id}", cells))


def invoice_rows(
    view: Listed, invoices: Sequence[Invoice], writing: Writing, settled: Callable[[Invoice], str], *,
    of_customer: bool = False,
) -> None:  # fmt: skip
    """`settled`: of an invoice, one of SETTLEMENTS."""
    view.columns = [
        sorted_by(view, "number", "Invoice"), *([] if of_customer else [Column("Customer", None)]), Column("Status", None),
        sorted_by(view, "issued_on", "Issued"), sorted_by(view, "due_on", "Due on"),
        sorted_by(view, "total", "Total", num=True), sorted_by(view, "due", "Due", num=True),
    ]  # fmt: skip
    writing.for_links(OF_CUSTOMER, {each.customer_id for each in invoices})
    for each in invoices:
        whose = [] if of_customer else [writing.link(OF_CUSTOMER, each.customer_id) or Shown(NOTHING, soft=True)]
        cells = (
            Shown(invoice_name(each)), *whose, status(each, settled(each)), day(each.issued_on), day(each.due_on),
            _money(each.total, each.currency), _money(due_of(each), each.currency),
        )  # fmt: skip
        view.rows.append(Row(each.id, f"Invoice {invoice_name(each)}", f"/invoices/{each.id}", cells))


def invoice_name(invoice: Invoice) -> str:
    return str(invoice.number) if invoice.number is not None else f"draft {invoice.id}"


def status(invoice: Invoice, settled: str) -> Shown:
    """Draft and void say so; an issued one says how far it is settled."""
    code = settled or invoice.state
    tone, sign = _TONES.get(code, ("neutral", "○"))
    return Shown(SETTLEMENTS.get(code, code.capitalize()), tone=tone, sign=sign)


def said(text: str, writing: Writing) -> str:
    """Words in which a person may be named."""
    return text if writing.sees_personal else mask(text, "text")


def number(text: str, writing: Writing) -> str:
    return text if writing.sees_personal else mask(text, "number")


def moment(at: datetime) -> Shown:
    us = clock.to_us(at)
    return Shown(clock.isoformat(us), us=us)


def day(value: date | None) -> Shown:
    return Shown(NOTHING, soft=True) if value is None else Shown(day_text(value))


def _num(value: Decimal | None, currency: str, places: int | None = None) -> Shown:
    if value is None:
        return Shown(NOTHING, soft=True)
    return Shown(amount(value, currency, places), align="num", soft=not value)


def _money(value: Decimal, currency: str) -> Shown:
    return Shown(f"{amount(value, currency)} {currency}", align="num", soft=not value)
