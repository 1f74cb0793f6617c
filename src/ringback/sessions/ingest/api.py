"""Log lines over HTTP: POST /ingest/v1/logs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from typing_extensions import TypedDict

from ringback.access.dependencies import may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.events.store import EventStore
from ringback.problem import Problem
from ringback.sessions.dependencies import Events
from ringback.sessions.ingest.logs import LogsAccepted, TooLarge, ingest_logs
from ringback.sessions.ownership.dependencies import Destination, RulesInForce
from ringback.sessions.ownership.rules import ONE_TENANT
from ringback.sessions.ownership.service import RuleRegister

PATH = "/ingest/v1/logs"

router = APIRouter(tags=["log lines"])


class RejectedDocument(TypedDict):
    line: int  # counted from 1
    reason: str


class LogsDocument(TypedDict):
    accepted: int
    rejected: int
    reasons: list[RejectedDocument]  # of the first hundred


_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/x-ndjson": {"schema": {"type": "string", "description": "One JSON object a line"}}},
    }
}


@router.post(PATH, openapi_extra=_BODY)
async def take_logs(
    request: Request,
    user: Annotated[Principal, may(Permission.LOGS_WRITE)],
    events: Events,
    destination: Destination,
    in_force: RulesInForce,
) -> LogsDocument:
    """Store log lines; the answer comes when they are durable. Lines that cannot be understood are told one by one.

    They belong to the environment of the token, or of the header Ringback-Environment. Of a token of all environments
    that names none, each belongs to that of its session, else to the one that the rules of traffic say.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise Problem(415, f"Send the lines as they are, not as {encoding}.")
    body = await request.body()
    try:
        taken = await run_in_threadpool(_take, events, body, destination, in_force)
    except TooLarge as error:
        raise Problem(413, str(error)) from error
    if not taken.accepted:
        field = f"line {taken.reasons[0].line}" if taken.reasons else None
        raise Problem(422, _first(taken), title="No line could be taken", field=field)
    reasons: list[RejectedDocument] = [{"line": each.line, "reason": each.reason} for each in taken.reasons]
    return {"accepted": taken.accepted, "rejected": taken.rejected, "reasons": reasons}


def _take(events: EventStore, body: bytes, environment: str, in_force: RuleRegister) -> LogsAccepted:
    return ingest_logs(events, body, environment=environment, owners=ONE_TENANT if environment else in_force())


def _first(taken: LogsAccepted) -> str:
    if not taken.reasons:
        return "There is no line in the body; send one JSON object a line."
    first = taken.reasons[0]
    return f"Line {first.line}: {first.reason}" + (f" ({taken.rejected} lines)" if taken.rejected > 1 else "")
