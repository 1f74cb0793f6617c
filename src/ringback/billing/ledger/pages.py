"""Pages of money: of a customer and an account (balance, xDRs, invoices, payments), of one xDR, payment or invoice, and
the list of all invoices. What is done with money: `pages_acts`."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path as FilePath
from typing import Annotated, Any, TextIO
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Request
from fastapi.responses import FileResponse, RedirectResponse
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from starlette.background import BackgroundTask
from starlette.responses import Response

from ringback import clock, q850
from ringback.access.dependencies import CurrentActor, Records, may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.billing.entities import queries as entity_queries
from ringback.billing.entities import service as entities
from ringback.billing.entities.models import TYPES, Account, Customer
from ringback.billing.entities.pages_base import Writing, has_route, load, told, zone_of
from ringback.billing.entities.pages_object import Link, Told, tabs
from ringback.billing.entities.pages_values import Shown, amount, balance_words, day_text
from ringback.billing.entities.values import as_text
from ringback.billing.ledger import pages_acts, pages_queries, queries
from ringback.billing.ledger.documents import shown_call_id
from ringback.billing.ledger.models import HOLDS_FUNDS, Invoice, Xdr
from ringback.billing.ledger.options import threshold
from ringback.billing.ledger.pages_lists import (
    INVOICE_FILTERS,
    METHODS,
    OF_ACCOUNT,
    OF_CUSTOMER,
    PAYMENT_FILTERS,
    XDR_FILTERS,
    Listed,
    fill,
    invoice_name,
    invoice_rows,
    number,
    payment_rows,
    read,
    said,
    status,
    xdr_rows,
)  # fmt: skip
from ringback.billing.ledger.pages_plot import Plot, plot
from ringback.billing.ledger.paging import LARGEST_PAGE, PAGE, Asked
from ringback.billing.ledger.queries import Summary
from ringback.billing.ledger.reads import note_read, note_xdrs
from ringback.billing.ledger.settlement import due_of, settlement
from ringback.changes.history import last_record
from ringback.changes.schemas import Actor
from ringback.changes.service import do_changing
from ringback.problem import Problem
from ringback.records.engine import UnitOfWork, reading
from ringback.web import formats
from ringback.web.templating import render

router = APIRouter(include_in_schema=False)

_STEPS = 120  # of a plot, about
FEW = 8  # rows of a list on the page of a balance
PERIODS = {"30d": ("30 days", 30), "90d": ("90 days", 90), "1y": ("A year", 366), "5y": ("5 years", 1827)}
_DUE = {"settlement": "overdue,partially_paid,unpaid", "sort": "due_on"}
CSV_COLUMNS = (
    "id", "occurred_at", "kind", "service", "description", "account", "amount", "balance_after", "currency", "caller",
    "called", "seconds", "charged_seconds", "destination", "call_id", "payment", "invoice",
)  # fmt: skip
_FORMULA = ("=", "+", "@", "\t", "\r")

Reader = Annotated[Principal, may(Permission.CUSTOMERS_READ)]
RowId = Annotated[int, Path(ge=1, le=2**53 - 1)]


@dataclass(slots=True)
class Page:
    """The head of a page about a customer's or an account's money, and what stands below it."""

    row: Any
    title: str
    tab: str  # of the parts of Billing: balance xdrs invoices payments
    currency: str
    customer_id: int
    status: Told
    balance: tuple[str, str]
    crumbs: list[Link]
    parts: list[tuple[str, str, str]]
    holds_funds: bool = False
    figures: list[tuple[str, str, str]] = field(default_factory=list)  # label, value, tone
    plot: Plot | None = None
    period: str = "90d"
    list: Listed | None = None
    due: Listed | None = None
    drafts: int = 0
    calls: int = 0  # among the xDRs that are listed
    empty: str = ""

    @property
    def href(self) -> str:
        return f"/{self.row.about.path}/{self.row.id}"

    @property
    def is_customer(self) -> bool:
        return isinstance(self.row, Customer)


# Of a customer, of an account


def _whose(request: Request) -> str:
    return "customer" if request.url.path.startswith("/customers/") else "account"


def balance_page(
    request: Request, row_id: RowId, reader: Reader, records: Records, actor: CurrentActor, period: str = "90d"
) -> Response:
    zone, _ = zone_of(request)
    period = period if period in PERIODS else "90d"
    with reading(records, reader.environments[:1]) as session:
        page, writing = _open(session, reader, _whose(request), row_id, "balance")
        page.period, end = period, clock.now()
        start = end - timedelta(days=PERIODS[period][1])
        points = queries.history(session, start, end, points=_STEPS, **_of(page))
        limit = page.row.credit_limit if not page.holds_funds else None
        page.plot = plot(
            points, start, end, page.currency, zone, holds_funds=page.holds_funds, limit=limit
        )  # fmt: skip
        if page.is_customer:
            summary = _summary(session, reader, page.row)
            page.figures = _figures(summary, page)
            page.drafts = pages_queries.drafts(session, page.row.id)
            page.due = _invoices(session, reader, writing, page, _DUE, FEW)
        page.list = _xdrs(session, writing, page, {}, zone, FEW)
    _note_xdrs(records, reader, actor, page.row, page.calls)
    return _render(request, "balance.html", reader, page=page, periods=PERIODS)


def xdrs_page(request: Request, row_id: RowId, reader: Reader, records: Records, actor: CurrentActor) -> Response:
    zone, _ = zone_of(request)
    with reading(records, reader.environments[:1]) as session:
        page, writing = _open(session, reader, _whose(request), row_id, "xdrs")
        page.list = _xdrs(session, writing, page, dict(request.query_params), zone)
    page.empty = "Nothing was charged or paid yet."
    _note_xdrs(records, reader, actor, page.row, page.calls)
    return _render(request, "money_list.html", reader, _status(page.list), page=page, title="xDRs")


def payments_page(request: Request, row_id: RowId, reader: Reader, records: Records, actor: CurrentActor) -> Response:
    zone, _ = zone_of(request)
    with reading(records, reader.environments[:1]) as session:
        page, writing = _open(session, reader, _whose(request), row_id, "payments")
        filters = [
            each for each in PAYMENT_FILTERS if page.is_customer or each.name not in ("account", "unallocated")
        ]
        view = read(session, writing, f"{page.href}/payments", filters, dict(request.query_params), zone)
        if not page.is_customer:
            view.asked["account"] = str(row_id)
        payment_rows(
            view,
            fill(view, lambda asked: queries.payments(session, asked, customer_id=page.customer_id)),
            writing,
            page.currency,
        )
        page.list = view
    page.empty = "Nothing was paid yet."
    note_read(records, reader, actor, page.row)
    return _render(request, "money_list.html", reader, _status(view), page=page, title="Payments")


def invoices_page(request: Request, row_id: RowId, reader: Reader, records: Records, actor: CurrentActor) -> Response:
    with reading(records, reader.environments[:1]) as session:
        page, writing = _open(session, reader, "customer", row_id, "invoices")
        page.list = _invoices(session, reader, writing, page, dict(request.query_params))
    page.empty = "There is no invoice yet. New invoice asks for what was charged, or for lines of your own."
    note_read(records, reader, actor, page.row)
    return _render(request, "money_list.html", reader, _status(page.list), page=page, title="Invoices")


def xdrs_csv(request: Request, row_id: RowId, reader: Reader, records: Records, actor: CurrentActor) -> Response:
    """All that the list of this URL shows."""
    zone, _ = zone_of(request)
    with reading(records, reader.environments[:1]) as session:
        page, writing = _open(session, reader, _whose(request), row_id, "xdrs")
        view = _asked_xdrs(session, writing, page, dict(request.query_params), zone)
        fill(view, lambda asked: queries.xdrs(session, asked, **_of(page)), 1)
    if view.errors:
        raise Problem(422, " ".join(view.errors.values()), title="Nothing was exported")
    descriptor, made = tempfile.mkstemp(prefix="ringback-xdrs-", suffix=".csv")
    os.close(descriptor)
    path = FilePath(made)
    try:
        with path.open("w", encoding="utf-8", newline="") as text:
            count = _write_csv(text, records, reader, view, page)
        _note_xdrs(records, reader, actor, page.row, count)
    except BaseException:
        path.unlink()
        raise
    name = f"{page.row.about.name}-{row_id}-xdrs-{clock.now():%Y-%m-%d}.csv"
    return FileResponse(
        path, media_type="text/csv; charset=utf-8", filename=name, background=BackgroundTask(path.unlink)
    )


for _path in ("/customers/{row_id:int}", "/accounts/{row_id:int}"):
    router.add_api_route(f"{_path}/billing", balance_page, methods=["GET"])
    router.add_api_route(f"{_path}/xdrs", xdrs_page, methods=["GET"])
    router.add_api_route(f"{_path}/xdrs.csv", xdrs_csv, methods=["GET"])
    router.add_api_route(f"{_path}/payments", payments_page, methods=["GET"])
router.add_api_route("/customers/{row_id:int}/invoices", invoices_page, methods=["GET"])
pages_acts.register(router)


# All invoices, and one of each


@router.get("/invoices")
def all_invoices_page(request: Request, reader: Reader, records: Records, actor: CurrentActor) -> Response:
    zone, _ = zone_of(request)
    environment = reader.environments[0]
    with reading(records, reader.environments[:1]) as session:
        writing = Writing(session, reader)
        view = read(session, writing, "/invoices", INVOICE_FILTERS, dict(request.query_params), zone)
        day, least = queries.today(session, environment), threshold(session, environment)
        rows = fill(view, lambda asked: queries.invoices(session, asked, day, least))
        invoice_rows(view, rows, writing, lambda each: settlement(each, day, least))
    if rows and reader.sees_personal:
        _record_list(records, reader, actor, view)
    return _render(request, "invoices.html", reader, _status(view), list=view)


@router.get("/invoices/{row_id:int}")
def invoice_page(request: Request, row_id: RowId, reader: Reader, records: Records, actor: CurrentActor) -> Response:
    environment = reader.environments[0]
    with reading(records, (environment,)) as session:
        whole = pages_queries.whole_invoice(session, environment, row_id)
        writing = Writing(session, reader)
        writing.for_links(OF_ACCOUNT, set(whole.accounts))
        lines = [
            (each, said(each.description, writing), writing.link(OF_ACCOUNT, each.account_id)) for each in whole.lines
        ]
        adjustments = [(each, said(each.description, writing)) for each in whole.adjustments]
        record = last_record(session, environment, "invoice", str(row_id))
        customer = _customer_link(writing, whole.customer.id)
    note_read(records, reader, actor, whole.customer)
    return _render(
        request, "invoice.html", reader, whole=whole, row=whole.row, lines=lines, adjustments=adjustments,
        title=invoice_name(whole.row), status=status(whole.row, whole.settlement), customer=customer, record=record,
        details=_details(whole.row, reader), us=clock.to_us,
        sees_personal=reader.sees_personal, reason=said(whole.row.void_reason, writing),
    )  # fmt: skip


@router.get("/invoices/{row_id:int}/pdf")
def invoice_pdf_file(row_id: RowId, reader: Reader, records: Records, actor: CurrentActor) -> Response:
    """With names and addresses in clear: for who may see them."""
    from ringback.billing.ledger.pdf import invoice_pdf  # with its fonts half a second of every start

    if not reader.sees_personal:
        raise Problem(
            403, "The document has the customer's name and address: it takes the permission personal.read.",
            title="Not allowed",
        )  # fmt: skip
    environment = reader.environments[0]
    with reading(records, (environment,)) as session:
        whole = pages_queries.whole_invoice(session, environment, row_id)
        made = invoice_pdf(whole)
    note_read(records, reader, actor, whole.customer)
    name = f"invoice-{whole.row.number}" if whole.row.number is not None else f"invoice-draft-{row_id}"
    return Response(
        made, media_type="application/pdf", headers={"Content-Disposition": f'inline; filename="{name}.pdf"'}
    )


@router.get("/payments/{row_id:int}")
def payment_page(request: Request, row_id: RowId, reader: Reader, records: Records, actor: CurrentActor) -> Response:
    environment = reader.environments[0]
    with reading(records, (environment,)) as session:
        row = queries.payment(session, row_id)
        customer = queries.customer(session, row.customer_id)
        writing = Writing(session, reader)
        allocations = queries.allocations(session, payment_id=row_id)
        names = pages_queries.numbers(session, {each.invoice_id for each in allocations})
        is_wanted = row.account_id is None and row.unallocated > 0 and bool(queries.due(session, customer.id))
        record = last_record(session, environment, "payment", str(row_id))
        others = queries.xdrs(session, Asked({"payment": str(row_id)}, "occurred_at"), customer_id=customer.id).rows
        linked = _customer_link(writing, customer.id)
        account = _account_link(writing, row.account_id)
        texts = (said(row.reference, writing), said(row.comment, writing))
    note_read(records, reader, actor, customer)
    left = row.amount - row.refunded
    return _render(
        request, "payment.html", reader, row=row, currency=customer.currency, customer=linked, account=account,
        allocations=allocations, names=names, method=dict(METHODS).get(row.method, row.method), record=record,
        reference=texts[0], comment=texts[1], left=left, is_wanted=is_wanted, us=clock.to_us, xdrs=others,
    )  # fmt: skip


@router.get("/xdrs/{row_id:int}")
def xdr_page(request: Request, row_id: RowId, reader: Reader, records: Records, actor: CurrentActor) -> Response:
    environment = reader.environments[0]
    with reading(records, (environment,)) as session:
        row = queries.xdr(session, row_id)
        customer = queries.customer(session, row.customer_id)
        writing = Writing(session, reader)
        account = _account_link(writing, row.account_id)
        invoices = pages_queries.numbers(
            session, {each for each in (queries.billed_on(session, row_id), row.invoice_id) if each is not None}
        )
        rate = row.rate_id if row.rate_id and session.get(TYPES["rate"].model, row.rate_id) is not None else None
        linked = _customer_link(writing, customer.id)
        call = (number(row.caller, writing), number(row.called, writing))
        told_below = row.session_key is not None and not reader.sees_personal  # by who called whom, each masked
        description = "" if told_below else said(row.description, writing)
    _note_xdrs(records, reader, actor, customer, bool(row.caller or row.called))
    return _render(
        request, "xdr.html", reader, row=row, currency=customer.currency, customer=linked, account=account,
        cause=_cause_words(row.cause), invoices=invoices,
        rate=rate if reader.may(Permission.CATALOGUE_READ) else None, call=call, us=clock.to_us,
        description=description, call_id=shown_call_id(row, sees_personal=reader.sees_personal),
        trace=_trace_url(row, reader) if reader.may(Permission.SESSIONS_READ) else "",
    )  # fmt: skip


def _cause_words(cause: str) -> tuple[str, str]:
    """(meaning, where it is from) of a Q.850 cause or a SIP status code; of anything else what the node said."""
    if cause == "lost":  # the billing engine closed it
        return "Nobody told of its end", ""
    number = int(cause) if cause.isascii() and cause.isdecimal() else 0
    if meaning := q850.MEANINGS.get(number):
        return meaning.capitalize(), f"Q.850 cause {cause}"
    if number in range(200, 700):  # of a Reason header with the protocol SIP; causes of Q.850 end at 127
        return f"SIP {cause}", "status code of the Reason header"
    return cause, ""


@router.get("/xdrs")
def xdrs_of_call(request: Request, reader: Reader, records: Records, call_id: str = "") -> Response:
    """What a call was charged: where its trace leads."""
    if not call_id:
        raise Problem(400, "Say which call: /xdrs?call_id=...", title="Which call?", field="call_id")
    with reading(records, reader.environments[:1]) as session:
        found = queries.xdrs(session, Asked({"call_id": call_id[:255]})).rows
    if not found:
        raise Problem(404, "Nothing was charged for this call.", title="No xDR")
    if len(found) == 1:
        return RedirectResponse(f"/xdrs/{found[0].id}", status_code=303)
    query = urlencode({"call_id": call_id[:255]})
    return RedirectResponse(f"/customers/{found[0].customer_id}/xdrs?{query}", status_code=303)


# What they share


def _open(session: Session, reader: Principal, kind: str, row_id: int, tab: str) -> tuple[Page, Writing]:
    entity = TYPES[kind]
    row = load(session, entity, row_id)
    writing = Writing(session, reader)
    customer_id = row.id if kind == "customer" else row.customer_id
    currency = entity_queries.currencies(session, entity, [row]).get(row.id, "")
    funds = row.billing_model in HOLDS_FUNDS if kind == "account" else row.balance_control == "prepaid"
    crumbs = [Link(entity.about.plural, f"/{entity.about.path}")]
    if kind == "account":
        writing.for_links(OF_CUSTOMER, {customer_id})
        of = writing.link(OF_CUSTOMER, customer_id)
        if of is not None:
            crumbs.append(Link(of.text, of.href))
    href = f"/{entity.about.path}/{row_id}"
    parts = [("balance", "Balance", f"{href}/billing"), ("xdrs", "xDRs", f"{href}/xdrs")]
    if kind == "customer":
        parts.append(("invoices", "Invoices", f"{href}/invoices"))
    if kind == "customer" or funds:
        parts.append(("payments", "Payments", f"{href}/payments"))
    page = Page(
        row, writing.title(entity, row), tab, currency, customer_id,
        told(entity_queries.told_statuses(session, entity, [row])[row.id]),
        balance_words(row.balance, currency, holds_funds=funds), crumbs, parts, funds,
    )  # fmt: skip
    return page, writing


def _of(page: Page) -> dict[str, Any]:
    return {"customer_id": page.row.id} if page.is_customer else {"account_id": page.row.id}


def _asked_xdrs(session: Session, writing: Writing, page: Page, params: Mapping[str, str], zone: Any) -> Listed:
    filters = [each for each in XDR_FILTERS if page.is_customer or each.name != "account"]
    return read(session, writing, f"{page.href}/xdrs", filters, params, zone)


def _xdrs(
    session: Session, writing: Writing, page: Page, params: Mapping[str, str], zone: Any, limit: int = PAGE
) -> Listed:
    view = _asked_xdrs(session, writing, page, params, zone)
    rows = fill(view, lambda asked: queries.xdrs(session, asked, **_of(page)), limit)
    xdr_rows(view, rows, writing, page.currency, of_account=not page.is_customer)
    page.calls = sum(bool(each.caller or each.called) for each in rows)
    return view


def _invoices(
    session: Session, reader: Principal, writing: Writing, page: Page, params: Mapping[str, str],
    limit: int = PAGE,
) -> Listed:  # fmt: skip
    environment = reader.environments[0]
    filters = [each for each in INVOICE_FILTERS if each.name != "customer"]
    view = read(session, writing, f"{page.href}/invoices", filters, params, formats.UTC)
    day, least = queries.today(session, environment), threshold(session, environment)
    rows = fill(view, lambda asked: queries.invoices(session, asked, day, least, customer_id=page.row.id), limit)
    invoice_rows(view, rows, writing, lambda each: settlement(each, day, least), of_customer=True)
    return view


def _summary(session: Session, reader: Principal, customer: Customer) -> Summary:
    environment = reader.environments[0]
    return queries.summary(session, customer, queries.today(session, environment), threshold(session, environment))


def _figures(summary: Summary, page: Page) -> list[tuple[str, str, str]]:
    def written(value: Decimal | None) -> str:
        return "no limit" if value is None else f"{amount(value, page.currency)} {page.currency}"

    return [
        ("Due on invoices", written(summary.due), ""),
        ("Of this overdue", written(summary.overdue), "bad" if summary.overdue else ""),
        ("Not invoiced yet", written(summary.unbilled), ""),
        ("Unallocated payments", written(summary.unallocated), ""),
        ("Left to spend" if page.holds_funds else "Left to the credit limit", written(summary.credit),
         "bad" if summary.credit is not None and summary.credit <= 0 else ""),
    ]  # fmt: skip


def _customer_link(writing: Writing, customer_id: int) -> Shown | None:
    writing.for_links(OF_CUSTOMER, {customer_id})
    return writing.link(OF_CUSTOMER, customer_id)


def _account_link(writing: Writing, account_id: int | None) -> Shown | None:
    writing.for_links(OF_ACCOUNT, set() if account_id is None else {account_id})
    return writing.link(OF_ACCOUNT, account_id)


def _details(row: Invoice, reader: Principal) -> list[str]:
    """The address as it was when the invoice was issued."""
    known = row.details if reader.sees_personal else {}
    person = " ".join(filter(None, (known.get("first_name"), known.get("last_name"))))
    place = " ".join(filter(None, (known.get("postal_code"), known.get("city"), known.get("country"))))
    lines = (known.get("name"), known.get("company"), person, known.get("address"), place, known.get("email"))
    return list(dict.fromkeys(each for each in lines if each))


def _trace_url(row: Xdr, reader: Principal) -> str:
    """The search that finds the call: an hour around it. Among those of the account for who does not see its Call-ID."""
    if not row.call_id:
        return ""
    around = timedelta(hours=1)
    begins = row.occurred_at - timedelta(seconds=row.seconds or 0) - around
    times = {
        "from": clock.isoformat(clock.to_us(begins)),
        "to": clock.isoformat(clock.to_us(row.occurred_at + around)),
    }
    if not reader.sees_personal:
        return f"/accounts/{row.account_id}/sessions?{urlencode(times)}" if row.account_id is not None else ""
    return f"/sessions?{urlencode({'call_id': row.call_id, **times})}"


def _note_xdrs(records: Engine, reader: Principal, actor: Actor, row: Customer | Account, calls: int) -> None:
    """Pages with xDRs say whose they are, too."""
    if calls:
        note_xdrs(records, reader, actor, row, calls)
    else:
        note_read(records, reader, actor, row)


def _record_list(records: Engine, reader: Principal, actor: Actor, view: Listed) -> None:
    """The list names customers."""

    def do(work: UnitOfWork) -> None:
        entities.note_list(
            work, TYPES["customer"], reader.environments[0], dict(view.params), len(view.rows), "invoices"
        )

    do_changing(records, actor, reader.environments[:1], do)


def _write_csv(text: TextIO, records: Engine, reader: Principal, view: Listed, page: Page) -> int:
    """How many rows."""
    writer, count = csv.writer(text, lineterminator="\r\n"), 0
    writer.writerow(CSV_COLUMNS)
    with reading(records, reader.environments[:1]) as session:
        writing = Writing(session, reader)
        rows = pages_queries.every_xdr(session, view.query(), **_of(page))
        while some := list(islice(rows, LARGEST_PAGE)):
            writer.writerows(_csv_rows(session, writing, some, page))
            count += len(some)
    return count


def _csv_rows(session: Session, writing: Writing, xdrs: Iterable[Xdr], page: Page) -> Iterator[list[str]]:
    some = list(xdrs)
    names = pages_queries.charging_ids(session, {each.account_id for each in some})
    for each in some:
        balance = each.balance_after if page.is_customer else each.account_balance_after
        cells: list[Any] = [
            each.id, each.occurred_at, each.kind, each.service, said(each.description, writing),
            number(names.get(each.account_id or 0, ""), writing), each.amount, balance, page.currency,
            number(each.caller, writing), number(each.called, writing), each.seconds, each.charged_seconds,
            each.destination, shown_call_id(each, sees_personal=writing.sees_personal), each.payment_id, each.invoice_id,
        ]  # fmt: skip
        yield [_harmless(cell) for cell in cells]


def _harmless(value: Any) -> str:
    """What a spreadsheet would take for a formula is a text; an amount stays a number."""
    text = as_text(value)
    is_formula = text[:1] in _FORMULA or (text[:1] == "-" and not isinstance(value, Decimal))
    return f"'{text}" if is_formula else text


def _status(view: Listed | None) -> int:
    return 400 if view is not None and view.errors else 200


def _render(request: Request, template: str, reader: Principal, status_code: int = 200, **more: Any) -> Response:
    page: Page | None = more.get("page")
    shown_tabs: list[tuple[str, str, str]] = []
    if page is not None:
        entity, has_audit = TYPES[page.row.about.name], has_route(request, f"{page.href}/audit")
        shown_tabs = tabs(entity, page.row.id, reader, with_audit=has_audit)
    return render(
        request, f"billing/{template}", status_code, masks=not reader.sees_personal, money=amount, day=day_text,
        due_of=due_of, writes=reader.may(Permission.MONEY_WRITE), tabs=shown_tabs, tab="billing", **more,
    )  # fmt: skip
