"""The ledger over HTTP. Commands take an Idempotency-Key: the same again gives the first answer again, and does nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Path, Query, Request
from pydantic import BaseModel
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from starlette.responses import Response

from ringback import clock
from ringback.access.dependencies import CurrentActor, Records, may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.billing.ledger import documents, queries, service
from ringback.billing.ledger.documents import (
    AdjustmentGiven,
    AllocationGiven,
    BalanceDocument,
    ChargeGiven,
    EffectDocument,
    HistoryDocument,
    InvoiceAdjustmentGiven,
    InvoiceGiven,
    InvoicePage,
    IssueGiven,
    OneInvoice,
    OnePayment,
    OneXdr,
    PaymentGiven,
    PaymentPage,
    RefundGiven,
    VoidGiven,
    XdrPage,
)  # fmt: skip
from ringback.billing.ledger.errors import KeyReused, LedgerError, LedgerNotFound, NotNow
from ringback.billing.ledger.idempotency import fingerprint, once
from ringback.billing.ledger.models import Xdr
from ringback.billing.ledger.options import threshold
from ringback.billing.ledger.pages_queries import whole_invoice
from ringback.billing.ledger.paging import LARGEST_PAGE, PAGE, Asked, moment
from ringback.billing.ledger.reads import note_read, note_xdrs
from ringback.billing.ledger.schemas import Effect, Line
from ringback.billing.ledger.settlement import settlement
from ringback.changes.service import do_changing
from ringback.problem import Problem
from ringback.records.engine import UnitOfWork, reading

ERRORS = (LedgerError, LedgerNotFound, NotNow, KeyReused)
router = APIRouter(prefix="/api/v1", tags=["Money"])

Reader = Annotated[Principal, may(Permission.CUSTOMERS_READ)]
Writer = Annotated[Principal, may(Permission.MONEY_WRITE)]
_Id = Annotated[int, Path(alias="id")]
_Key = Annotated[
    str,
    Header(
        alias="Idempotency-Key", max_length=255, pattern=r"^[\x21-\x7e]*$",
        description="Of this command alone: sent again with it, the command is not done again",
    ),
]  # fmt: skip
_Comment = Annotated[str, Query(max_length=500, description="Why; kept with the audit records")]
_Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE)]
_Cursor = Annotated[str, Query(max_length=2000)]
_Do = Callable[[UnitOfWork, str], Effect]


def problem_of(error: Exception) -> Problem:
    match error:
        case LedgerError():
            return Problem(422, str(error), title="This cannot be done", field=error.field)
        case LedgerNotFound():
            return Problem(404, str(error), title="Nothing here")
        case NotNow():
            return Problem(409, str(error), title="Not now")
        case KeyReused():
            return Problem(409, str(error), title="Another command", field="Idempotency-Key")
    raise error


# Reading


@router.get("/customers/{id}/balance", response_model=BalanceDocument, summary="Where a customer stands")
def read_balance(principal: Reader, records: Records, id_: _Id) -> Any:
    with _reading(records, principal) as (session, environment):
        row = queries.customer(session, id_)
        found = queries.summary(session, row, queries.today(session, environment), threshold(session, environment))
    return documents.balance(row, found)


@router.get(
    "/customers/{id}/balance/history", response_model=HistoryDocument, summary="How a customer's balance went"
)
def read_customer_history(
    principal: Reader,
    records: Records,
    id_: _Id,
    from_: Annotated[
        str, Query(alias="from", max_length=40, description="RFC 3339; else 30 days before the end")
    ] = "",
    to: Annotated[str, Query(max_length=40, description="RFC 3339; else now")] = "",
    points: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> Any:
    with _reading(records, principal) as (session, _):
        currency = queries.customer(session, id_).currency
        end = moment("to", to) if to else clock.now()
        start = moment("from", from_) if from_ else end - timedelta(days=30)
        found = queries.history(session, start, end, customer_id=id_, points=points)
    return {"points": [documents.point(each, currency) for each in found]}


@router.get("/customers/{id}/xdrs", response_model=XdrPage, summary="What moved a customer's balance")
def list_customer_xdrs(
    principal: Reader, records: Records, actor: CurrentActor, id_: _Id,
    kind: Annotated[str, Query(max_length=100, description="Several are separated by commas")] = "",
    service: Annotated[str, Query(max_length=100, description="Several are separated by commas")] = "",
    account: Annotated[str, Query(max_length=20, description="i_account")] = "",
    invoice: Annotated[str, Query(max_length=20, description="i_invoice: made for it, or billed on it")] = "",
    payment: Annotated[str, Query(max_length=20, description="i_payment")] = "",
    call_id: Annotated[str, Query(max_length=255)] = "",
    unbilled: Annotated[bool | None, Query(description="On no invoice yet")] = None,
    from_: Annotated[str, Query(alias="from", max_length=40, description="RFC 3339")] = "",
    to: Annotated[str, Query(max_length=40, description="RFC 3339, exclusive")] = "",
    sort: Annotated[str, Query(max_length=20, description="occurred_at or -occurred_at")] = "",
    cursor: _Cursor = "", limit: _Limit = PAGE,
) -> Any:  # fmt: skip
    filters = {
        "kind": kind, "service": service, "account": account, "invoice": invoice, "payment": payment,
        "call_id": call_id, "from": from_,
        "to": to, "unbilled": "" if unbilled is None else str(unbilled).lower(),
    }  # fmt: skip
    with _reading(records, principal) as (session, _):
        row = queries.customer(session, id_)
        page = queries.xdrs(session, _asked(filters, sort, cursor, limit), customer_id=id_)
    note_xdrs(records, principal, actor, row, _calls(page.rows))
    return _xdr_page(page, row.currency, principal)


@router.get("/accounts/{id}/xdrs", response_model=XdrPage, summary="What moved an account's balance")
def list_account_xdrs(
    principal: Reader, records: Records, actor: CurrentActor, id_: _Id,
    kind: Annotated[str, Query(max_length=100, description="Several are separated by commas")] = "",
    service: Annotated[str, Query(max_length=100, description="Several are separated by commas")] = "",
    call_id: Annotated[str, Query(max_length=255)] = "",
    from_: Annotated[str, Query(alias="from", max_length=40, description="RFC 3339")] = "",
    to: Annotated[str, Query(max_length=40, description="RFC 3339, exclusive")] = "",
    sort: Annotated[str, Query(max_length=20, description="occurred_at or -occurred_at")] = "",
    cursor: _Cursor = "", limit: _Limit = PAGE,
) -> Any:  # fmt: skip
    filters = {"kind": kind, "service": service, "call_id": call_id, "from": from_, "to": to}
    with _reading(records, principal) as (session, _):
        row = queries.account(session, id_)
        currency = queries.customer(session, row.customer_id).currency
        page = queries.xdrs(session, _asked(filters, sort, cursor, limit), account_id=id_)
    note_xdrs(records, principal, actor, row, _calls(page.rows))
    return _xdr_page(page, currency, principal)


@router.get("/xdrs/{id}", response_model=OneXdr, summary="One movement of a balance")
def read_xdr(principal: Reader, records: Records, actor: CurrentActor, id_: _Id) -> Any:
    with _reading(records, principal) as (session, _):
        row = queries.xdr(session, id_)
        customer = queries.customer(session, row.customer_id)
        billed_on = queries.billed_on(session, id_)
    note_xdrs(records, principal, actor, customer, _calls([row]))
    return documents.xdr(row, customer.currency, sees_personal=principal.sees_personal) | {"billed_on": billed_on}


@router.get("/customers/{id}/payments", response_model=PaymentPage, summary="What a customer paid")
def list_payments(
    principal: Reader, records: Records, actor: CurrentActor, id_: _Id,
    method: Annotated[str, Query(max_length=100, description="Several are separated by commas")] = "",
    account: Annotated[str, Query(max_length=20, description="i_account: top-ups of its funds")] = "",
    unallocated: Annotated[bool | None, Query(description="With a rest that settles nothing yet")] = None,
    from_: Annotated[str, Query(alias="from", max_length=40, description="RFC 3339")] = "",
    to: Annotated[str, Query(max_length=40, description="RFC 3339, exclusive")] = "",
    sort: Annotated[str, Query(max_length=20, description="id, received_at or amount, with - downwards")] = "",
    cursor: _Cursor = "", limit: _Limit = PAGE,
) -> Any:  # fmt: skip
    filters = {
        "method": method, "account": account, "from": from_, "to": to,
        "unallocated": "" if unallocated is None else str(unallocated).lower(),
    }  # fmt: skip
    with _reading(records, principal) as (session, _):
        customer = queries.customer(session, id_)
        page = queries.payments(session, _asked(filters, sort, cursor, limit), customer_id=id_)
    if page.rows:
        note_read(records, principal, actor, customer)
    sees = principal.sees_personal
    rows = [documents.payment(each, customer.currency, sees_personal=sees) for each in page.rows]
    return {"payments": rows, "cursor": page.cursor}


@router.get("/payments/{id}", response_model=OnePayment, summary="One payment, and what it settles")
def read_payment(principal: Reader, records: Records, actor: CurrentActor, id_: _Id) -> Any:
    with _reading(records, principal) as (session, _):
        row = queries.payment(session, id_)
        customer = queries.customer(session, row.customer_id)
        found = queries.allocations(session, payment_id=id_)
    note_read(records, principal, actor, customer)
    allocations = [documents.allocation(each, customer.currency) for each in found]
    return documents.payment(row, customer.currency, sees_personal=principal.sees_personal) | {
        "allocations": allocations
    }


@router.get("/customers/{id}/invoices", response_model=InvoicePage, summary="A customer's invoices")
def list_customer_invoices(
    principal: Reader, records: Records, id_: _Id,
    state: Annotated[str, Query(max_length=100, description="draft, issued, void; several by commas")] = "",
    settlement: Annotated[str, Query(max_length=100, description="unpaid, overdue ...; several by commas")] = "",
    sort: Annotated[str, Query(max_length=20, description="id, number, total, due, issued_on or due_on")] = "",
    cursor: _Cursor = "", limit: _Limit = PAGE,
) -> Any:  # fmt: skip
    with _reading(records, principal) as (session, environment):
        queries.customer(session, id_)
        asked = _asked({"state": state, "settlement": settlement}, sort, cursor, limit)
        return _invoice_page(session, environment, principal, asked, id_)


@router.get("/invoices", response_model=InvoicePage, summary="Invoices of all customers")
def list_invoices(
    principal: Reader, records: Records,
    state: Annotated[str, Query(max_length=100, description="draft, issued, void; several by commas")] = "",
    settlement: Annotated[str, Query(max_length=100, description="unpaid, overdue ...; several by commas")] = "",
    customer: Annotated[str, Query(max_length=20, description="i_customer")] = "",
    number: Annotated[str, Query(max_length=20)] = "",
    due_from: Annotated[str, Query(max_length=10, description="A day")] = "",
    due_to: Annotated[str, Query(max_length=10, description="A day, inclusive")] = "",
    sort: Annotated[str, Query(max_length=20, description="id, number, total, due, issued_on or due_on")] = "",
    cursor: _Cursor = "", limit: _Limit = PAGE,
) -> Any:  # fmt: skip
    filters = {
        "state": state, "settlement": settlement, "customer": customer, "number": number, "due_from": due_from,
        "due_to": due_to,
    }  # fmt: skip
    with _reading(records, principal) as (session, environment):
        return _invoice_page(session, environment, principal, _asked(filters, sort, cursor, limit), None)


@router.get("/invoices/{id}", response_model=OneInvoice, summary="One invoice, with its lines and what was paid")
def read_invoice(principal: Reader, records: Records, actor: CurrentActor, id_: _Id) -> Any:
    sees = principal.sees_personal
    with _reading(records, principal) as (session, environment):
        row = queries.invoice(session, id_)
        now = settlement(row, queries.today(session, environment), threshold(session, environment))
        lines, paid = queries.lines(session, id_), queries.allocations(session, invoice_id=id_)
        customer = queries.customer(session, row.customer_id)
    note_read(records, principal, actor, customer)
    return documents.invoice(row, now, sees_personal=sees) | {
        "lines": [documents.line(each, row.currency, sees_personal=sees) for each in lines],
        "allocations": [documents.allocation(each, row.currency) for each in paid],
        "details": documents.details(row, sees_personal=sees),
    }


@router.get(
    "/invoices/{id}/pdf", summary="An invoice on paper", response_class=Response,
    responses={200: {"content": {"application/pdf": {}}}},
)  # fmt: skip
def read_invoice_pdf(
    principal: Annotated[Principal, may(Permission.CUSTOMERS_READ, Permission.PERSONAL_READ)], records: Records,
    actor: CurrentActor, id_: _Id,
) -> Response:  # fmt: skip
    """With name and address in clear: it takes the permission personal.read too."""
    from ringback.billing.ledger.pdf import invoice_pdf  # with its fonts half a second of every start

    with _reading(records, principal) as (session, environment):
        whole = whole_invoice(session, environment, id_)
        made = invoice_pdf(whole)
    note_read(records, principal, actor, whole.customer)
    return Response(made, media_type="application/pdf")


# Commands


def _command(
    path: str, about: str, body: type[BaseModel], make: Callable[[int, Any], _Do], *, preview: bool = False
) -> None:
    """`make(id in the path, body)` gives what is done. With `preview`, the same path tells what it would do."""
    name = path.strip("/").replace("/{id}/", "_").replace("/", "_")

    def command(
        principal: Writer, records: Records, actor: CurrentActor, request: Request, id_: _Id, body: Any, key: _Key = "",
        comment: _Comment = "",
    ) -> Any:  # fmt: skip
        environment = principal.environments[0]
        who = f"{actor.kind} {actor.id}"
        asked = fingerprint(who, request.method, request.url.path, body.model_dump(mode="json"))

        def do(work: UnitOfWork) -> tuple[int, dict[str, Any]]:
            def answer() -> tuple[int, dict[str, Any]]:
                return 200, documents.effect(
                    make(id_, body)(work, environment), sees_personal=principal.sees_personal
                )

            return once(work, environment, key, asked, answer)

        done = do_changing(records, actor, (environment,), do, comment=comment)[1]
        return done if principal.sees_personal else documents.masked(done)

    def tried(principal: Writer, records: Records, actor: CurrentActor, id_: _Id, body: Any) -> Any:
        environment = principal.environments[0]
        done = service.preview(records, actor, environment, lambda work: make(id_, body)(work, environment))
        return documents.effect(done, sees_personal=principal.sees_personal)

    for endpoint, end, what in ((command, "", about), (tried, "/preview", f"{about}: what it would do")):
        if end and not preview:
            continue
        endpoint.__annotations__ |= {"body": Annotated[body, Body()]}
        router.add_api_route(
            path + end, endpoint, methods=["POST"], summary=what, response_model=EffectDocument,
            operation_id=f"{name}{end.replace('/', '_')}", name=f"{name}{end.replace('/', '_')}",
        )  # fmt: skip


def _pay(id_: int, body: PaymentGiven) -> _Do:
    return lambda work, environment: service.pay(
        work, environment, id_, body.amount, method=body.method, reference=body.reference, account_id=body.account,
        invoices=body.invoices, received_at=body.received_at, comment=body.comment,
    )  # fmt: skip


def _refund(id_: int, body: RefundGiven) -> _Do:
    return lambda work, environment: service.refund(work, environment, id_, body.amount, reason=body.reason)


def _allocate(id_: int, body: AllocationGiven) -> _Do:
    return lambda work, environment: service.allocate(work, environment, id_, body.invoice, body.amount)


def _adjust(id_: int, body: AdjustmentGiven) -> _Do:
    return lambda work, environment: service.adjust(
        work, environment, id_, body.amount, body.description, invoice_id=body.invoice, account_id=body.account
    )


def _adjust_invoice(id_: int, body: InvoiceAdjustmentGiven) -> _Do:
    def do(work: UnitOfWork, environment: str) -> Effect:
        customer_id = queries.invoice(work, id_).customer_id
        return service.adjust(work, environment, customer_id, body.amount, body.description, invoice_id=id_)

    return do


def _charge(id_: int, body: ChargeGiven) -> _Do:
    return lambda work, environment: service.charge(
        work, environment, id_, body.amount, body.description, account_id=body.account, service=body.service
    )


def _invoice(id_: int, body: InvoiceGiven) -> _Do:
    lines = [Line(each.description, each.amount, each.account, each.service, each.quantity) for each in body.lines]
    return lambda work, environment: service.draft(
        work, environment, id_, lines=lines, collect=body.collect, period_from=body.period_from,
        period_to=body.period_to, issued=body.issue, due_on=body.due_on,
    )  # fmt: skip


def _issue(id_: int, body: IssueGiven) -> _Do:
    return lambda work, environment: service.issue(work, environment, id_, due_on=body.due_on)


def _void(id_: int, body: VoidGiven) -> _Do:
    return lambda work, environment: service.void(work, environment, id_, body.reason)


_command("/customers/{id}/payments", "Take a payment", PaymentGiven, _pay, preview=True)
_command("/payments/{id}/refund", "Refund a payment", RefundGiven, _refund, preview=True)
_command(
    "/payments/{id}/allocate", "Settle an invoice with what is unallocated", AllocationGiven, _allocate, preview=True
)
_command("/customers/{id}/adjustments", "Adjust a balance, or an invoice", AdjustmentGiven, _adjust, preview=True)
_command("/customers/{id}/charges", "Charge a customer", ChargeGiven, _charge)
_command("/customers/{id}/invoices", "Make an invoice", InvoiceGiven, _invoice)
_command("/invoices/{id}/issue", "Issue a draft", IssueGiven, _issue)
_command("/invoices/{id}/adjust", "Adjust an invoice", InvoiceAdjustmentGiven, _adjust_invoice, preview=True)
_command("/invoices/{id}/void", "Make an invoice void", VoidGiven, _void)


@contextmanager
def _reading(records: Engine, principal: Principal) -> Iterator[tuple[Session, str]]:
    environment = principal.environments[0]
    with reading(records, (environment,)) as session:
        yield session, environment


def _asked(filters: dict[str, str], sort: str, cursor: str, limit: int) -> Asked:
    return Asked({name: text for name, text in filters.items() if text}, sort, cursor, limit)


def _xdr_page(page: Any, currency: str, principal: Principal) -> dict[str, Any]:
    rows = [documents.xdr(each, currency, sees_personal=principal.sees_personal) for each in page.rows]
    return {"xdrs": rows, "cursor": page.cursor}


def _calls(xdrs: Iterable[Xdr]) -> int:
    """How many of them say who spoke with whom."""
    return sum(bool(each.caller or each.called) for each in xdrs)


def _invoice_page(
    session: Session, environment: str, principal: Principal, asked: Asked, customer_id: int | None
) -> dict[str, Any]:
    day, least = queries.today(session, environment), threshold(session, environment)
    page = queries.invoices(session, asked, day, least, customer_id=customer_id)
    rows = [
        documents.invoice(each, settlement(each, day, least), sees_personal=principal.sees_personal)
        for each in page.rows
    ]
    return {"invoices": rows, "cursor": page.cursor}


__all__ = ["ERRORS", "problem_of", "router"]
