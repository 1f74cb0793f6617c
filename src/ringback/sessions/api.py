"""Sessions over HTTP: /api/v1/sessions."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field
from typing_extensions import TypedDict

from ringback import clock
from ringback.access.dependencies import may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.events.store import EventStoreError, SearchTimedOut
from ringback.problem import Problem
from ringback.sessions.dependencies import Seen, Sessions
from ringback.sessions.documents import TracedSessionDocument, traced_document
from ringback.sessions.moments import moment_us
from ringback.sessions.schemas import OUTCOMES, QueryError, SearchResult, SessionQuery, SessionRow
from ringback.sessions.service import SessionNotFound

router = APIRouter(prefix="/api/v1/sessions", tags=["sessions"])

LARGEST_PAGE = 200


class IssueBriefDocument(TypedDict):
    id: str
    severity: str
    title: str


class SessionRowDocument(TypedDict):
    id: str
    kind: str
    caller: str
    called: str
    started_at: str
    ended_at: str
    talk_s: float | None
    outcome: str
    final_code: int | None
    final_phrase: str
    nodes: list[str]
    legs: int
    messages: int
    call_ids: list[str]
    matched: str
    issue: IssueBriefDocument | None  # the primary issue


SessionPageDocument = TypedDict(
    "SessionPageDocument",
    {
        "sessions": list[SessionRowDocument],
        "cursor": str | None,  # null: nothing more
        "understood": str,
        "from": str,
        "to": str,
        "searched_until": str | None,
    },
)


def _page(result: SearchResult) -> SessionPageDocument:
    until = result.searched_until_us
    return {
        "sessions": [_row(row) for row in result.rows],
        "cursor": result.cursor,
        "understood": result.understood,
        "from": clock.isoformat(result.query.start_us),
        "to": clock.isoformat(result.query.end_us),
        "searched_until": None if until is None else clock.isoformat(until),
    }


def _row(row: SessionRow) -> SessionRowDocument:
    issue = row.issue
    return {
        "id": row.id,
        "kind": row.kind,
        "caller": row.caller,
        "called": row.called,
        "started_at": clock.isoformat(row.started_us),
        "ended_at": clock.isoformat(row.ended_us),
        "talk_s": row.duration_s,
        "outcome": row.outcome,
        "final_code": row.final_code,
        "final_phrase": row.final_phrase,
        "nodes": row.nodes,
        "legs": row.legs,
        "messages": row.messages,
        "call_ids": row.call_ids,
        "matched": row.matched,
        "issue": None if issue is None else {"id": issue.id, "severity": issue.severity, "title": issue.title},
    }


def problem_of(error: Exception) -> Problem:
    """How this room's errors are told over HTTP. A search that could not finish is an error, never a shorter list."""
    match error:
        case QueryError():
            return Problem(400, error.reason, title="The query cannot be understood", field=error.field)
        case SessionNotFound():
            return Problem(404, str(error), title="No such session")
        case SearchTimedOut():
            return Problem(504, str(error), title="The search ran out of time")
        case EventStoreError():
            return Problem(503, str(error), title="The event store could not answer")
        case _:
            raise error


@router.get("", response_model=SessionPageDocument)
def search_sessions(
    sessions: Sessions,
    user: Annotated[Principal, may(Permission.SESSIONS_READ)],
    q: Annotated[
        str, Query(max_length=300, description="A number, Call-ID, session id, address or customer's name")
    ] = "",
    number: Annotated[str, Query(max_length=100, description="A number in any role; % is the wildcard")] = "",
    call_id: Annotated[str, Query(max_length=300)] = "",
    start: Annotated[str, Query(alias="from", description="RFC 3339, or -15m, -1h, -7d; default -24h")] = "-24h",
    end: Annotated[str, Query(alias="to", description="as `from`; default now")] = "now",
    outcome: Annotated[list[str] | None, Query(description=", ".join(OUTCOMES))] = None,
    issue: Annotated[str, Query(max_length=60, description="An id of the troubleshooting guide")] = "",
    node: Annotated[str, Query(max_length=200, description="Name, capture id or address")] = "",
    ip: Annotated[str, Query(max_length=50)] = "",
    code: Annotated[list[Annotated[int, Field(ge=100, le=699)]] | None, Query()] = None,
    kind: Annotated[list[str] | None, Query()] = None,
    customer: Annotated[
        int | None, Query(ge=1, lt=2**53, description="Id of a customer: by its accounts' numbers")
    ] = None,
    account: Annotated[int | None, Query(ge=1, lt=2**53, description="Id of an account: by its numbers")] = None,
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = 50,
    cursor: Annotated[str | None, Query(max_length=8000)] = None,
    diagnose: Annotated[
        bool,
        Query(description="false: no issues are worked out, which takes milliseconds instead of tenths of a second"),
    ] = True,
) -> SessionPageDocument:
    """Sessions of a time, newest first, each with its primary issue.

    With `issue` the search diagnoses candidates for a few seconds; `searched_until` says how far back it came, and the
    cursor goes on from there. A search that could not read everything answers 503 or 504, never a shorter list.
    """
    unknown = [one for one in outcome or () if one not in OUTCOMES]
    if unknown:
        raise QueryError("outcome", f"{unknown[0]!r} is none of {', '.join(OUTCOMES)}")
    query = SessionQuery(
        start_us=moment_us(start, "from"),
        end_us=moment_us(end, "to"),
        q=q,
        number=number,
        call_id=call_id,
        outcomes=tuple(outcome or ()),
        issue=issue,
        node=node,
        ip=ip,
        codes=tuple(code or ()),
        kinds=tuple(kind or ()),
        customer=customer,
        account=account,
        environments=user.environments,
        personal=user.sees_personal,
        customers=user.may(Permission.CUSTOMERS_READ),
        limit=limit,
        cursor=cursor,
    )
    result = sessions.search(query)
    if diagnose:
        sessions.diagnose_rows(result.rows)
    return _page(result)


@router.get("/{session_id}", response_model=TracedSessionDocument)
def read_session(
    session_id: str, sessions: Sessions, user: Annotated[Principal, may(Permission.SESSIONS_READ)], seen: Seen
) -> TracedSessionDocument:
    """The whole story of one session: answer, legs, links, timeline with raw messages."""
    customers = user.may(Permission.CUSTOMERS_READ)
    opened = sessions.open(session_id, user.environments, personal=user.sees_personal, customers=customers)
    seen(opened, "api")
    return traced_document(opened.id, opened.session, opened.issues, opened.whose)


@router.get("/{session_id}/export", response_class=Response)
def export_session(
    session_id: str,
    sessions: Sessions,
    user: Annotated[Principal, may(Permission.SESSIONS_EXPORT)],
    seen: Seen,
    format_: Annotated[Literal["pcap", "text", "json", "svg", "classic"], Query(alias="format")] = "pcap",
) -> Response:
    """The session as a file; `classic` is its billing log in plain text."""
    customers = user.may(Permission.CUSTOMERS_READ)
    opened = sessions.open(session_id, user.environments, personal=user.sees_personal, customers=customers)
    seen(opened, f"export {format_}")
    file = sessions.export(opened, format_)
    return Response(
        file.data,
        media_type=file.media_type,
        headers={"Content-Disposition": f'attachment; filename="{file.filename}"'},
    )
