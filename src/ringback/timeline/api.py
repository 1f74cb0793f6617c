"""Timelines over HTTP: /api/v1/customers/{id}/timeline and /api/v1/accounts/{id}/timeline."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from ringback import clock
from ringback.access.dependencies import CurrentActor, Records, may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.billing.entities import queries as entities
from ringback.billing.entities.models import TYPES
from ringback.billing.ledger.rounding import spelled
from ringback.problem import Problem
from ringback.records.engine import reading
from ringback.sessions.dependencies import Sessions
from ringback.sessions.moments import moment_us
from ringback.sessions.schemas import QueryError
from ringback.timeline import service
from ringback.timeline.asked import LONGEST, words_of
from ringback.timeline.schemas import Asked, BadPlace, Kind, Page, Row, Subject
from ringback.timeline.sources import sources_of

router = APIRouter(prefix="/api/v1", tags=["timeline"])


class RowDocument(BaseModel):
    at: datetime
    kind: str = Field(description="sessions, money or changes")
    what: str = Field(description="session, xdr, invoice or audit_record: what `id` is the id of")
    id: str
    sentence: str
    detail: str = Field(description="Who did it, which account, where")
    page: str = Field(description="Path of its page")
    amount: str | None = Field(description="Positive: owed")
    balance_after: str | None
    currency: str = Field(description="Of the amounts; empty where there are none")
    outcome: str = Field(description="Of a session; else empty")
    group: int | None = Field(description="Rows of one answer with the same number belong together: one cause")
    root_id: int | None = Field(description="Of a change: the audit record that began it")


class MissingDocument(BaseModel):
    kind: str
    why: Literal["not allowed", "away"] = Field(
        description="away: it cannot be read now; the other kinds are complete"
    )
    text: str


class TimelineDocument(BaseModel):
    rows: list[RowDocument] = Field(description="Newest first")
    cursor: str | None = Field(description="Of the next page; null: this is the last")
    from_: datetime = Field(alias="from")
    to: datetime
    missing: list[MissingDocument] = Field(description="Kinds of which rows are missing, and why")
    notes: list[str] = Field(description="What else is not among the rows")
    searched_until: datetime | None = Field(
        description="A search for words stopped here on its time; go on by cursor"
    )


_Reader = Annotated[Principal, may(Permission.CUSTOMERS_READ)]
_Id = Annotated[int, Path(alias="id")]
_From = Annotated[str, Query(alias="from", max_length=40, description="RFC 3339, or -24h, -7d, -30d")]
_To = Annotated[str, Query(max_length=40, description="as `from`, exclusive")]
_Kinds = Annotated[list[Kind] | None, Query(description="Several are or-ed; none: all")]
_Words = Annotated[str, Query(max_length=LONGEST, description="That all occur in what is told of a row")]
_Limit = Annotated[int, Query(ge=1, le=service.LARGEST_PAGE)]
_Cursor = Annotated[str, Query(max_length=16_000, description="The interval is that of the first page")]


@router.get("/customers/{id}/timeline", summary="Everything that happened to a customer")
def read_customer_timeline(
    reader: _Reader, records: Records, sessions: Sessions, actor: CurrentActor, id_: _Id, from_: _From = "-30d",
    to: _To = "now", kind: _Kinds = None, words: _Words = "", limit: _Limit = service.PAGE, cursor: _Cursor = "",
) -> TimelineDocument:  # fmt: skip
    """Sessions, money and changes in one list, newest first. A kind that the reader may not see, or that cannot be read
    now, is told in `missing`; where that is all that was asked for, the answer is an error."""
    asked = _asked(from_, to, kind, words)
    return _answer(reader, records, sessions, actor, "customer", id_, asked, cursor, limit)


@router.get("/accounts/{id}/timeline", summary="Everything that happened to an account")
def read_account_timeline(
    reader: _Reader, records: Records, sessions: Sessions, actor: CurrentActor, id_: _Id, from_: _From = "-30d",
    to: _To = "now", kind: _Kinds = None, words: _Words = "", limit: _Limit = service.PAGE, cursor: _Cursor = "",
) -> TimelineDocument:  # fmt: skip
    """As of a customer. Invoices are the customer's, and stand in its timeline."""
    asked = _asked(from_, to, kind, words)
    return _answer(reader, records, sessions, actor, "account", id_, asked, cursor, limit)


def _asked(from_: str, to: str, kinds: list[Kind] | None, words: str) -> Asked:
    start_us, end_us = max(moment_us(from_, "from"), 0), moment_us(to, "to")
    if start_us >= end_us:
        raise QueryError("from", "the interval ends before it begins")
    return Asked(start_us, end_us, tuple(dict.fromkeys(kinds or ())), words_of(words))


def _answer(
    reader: Principal, records: Records, sessions: Sessions, actor: CurrentActor, type_: str, id_: int, asked: Asked,
    cursor: str, limit: int,
) -> TimelineDocument:  # fmt: skip
    environment = reader.environments[0]
    with reading(records, (environment,)) as session:
        row = entities.find(session, TYPES[type_], id_)
    subject = Subject(environment, id_) if type_ == "customer" else Subject(environment, row.customer_id, id_)
    sources = sources_of(records, sessions, reader, subject)
    try:
        page = service.page(sources, reader, subject, asked, cursor=cursor, limit=limit)
    except BadPlace as error:
        raise Problem(400, str(error), title="The list cannot go on from there", field="cursor") from error
    if not page.read(asked):
        raise problem_of(page)
    service.note_read(records, reader, actor, row, len(page.rows))
    return _document(page)


def problem_of(page: Page) -> Problem:
    """Of a page of which nothing could be read."""
    if all(each.why == "not allowed" for each in page.missing):
        return Problem(403, " ".join(each.text for each in page.missing), title="Not allowed")
    return Problem(503, " ".join(each.text for each in page.missing), title="The timeline could not be read")


def _document(page: Page) -> TimelineDocument:
    until = page.searched_until_us
    return TimelineDocument(
        rows=[_row(row, group) for row, group in zip(page.rows, service.groups(page.rows), strict=True)],
        cursor=page.cursor,
        **{"from": clock.from_us(page.start_us)},
        to=clock.from_us(page.end_us),
        missing=[MissingDocument(kind=each.kind, why=each.why, text=each.text) for each in page.missing],
        notes=list(page.notes),
        searched_until=None if until is None else clock.from_us(until),
    )


def _row(row: Row, group: int) -> RowDocument:
    return RowDocument(
        at=clock.from_us(row.at_us),
        kind=row.kind,
        what=row.what,
        id=row.id,
        sentence=row.sentence,
        detail=row.detail,
        page=row.href,
        amount=None if row.amount is None else spelled(row.amount, row.currency),
        balance_after=None if row.balance_after is None else spelled(row.balance_after, row.currency),
        currency=row.currency,
        outcome=row.outcome,
        group=group or None,
        root_id=row.root,
    )
