"""Share links over HTTP: /api/v1/shares."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response
from typing_extensions import TypedDict

from ringback import clock
from ringback.access.dependencies import CurrentSettings, NotAllowed, Records, may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.configuration.dependencies import CurrentConfiguration
from ringback.problem import Problem
from ringback.records.engine import unit_of_work
from ringback.sessions.dependencies import Sessions
from ringback.sessions.options import SHARE_LINK_LIFE
from ringback.sessions.share import service
from ringback.sessions.share.schemas import ShareError, ShareInfo, ShareNotFound

router = APIRouter(prefix="/api/v1/shares", tags=["share links"])


class ShareRequest(BaseModel, extra="forbid"):
    session: Annotated[str, Field(max_length=255, description="The session's id")]
    expires_in_hours: Annotated[int | None, Field(description="1 to 720; null: as the server is set")] = None
    personal: Annotated[
        bool, Field(description="Show numbers, names and addresses; only who may see them can let a link show them")
    ] = False


class ShareDocument(TypedDict):
    id: int
    session: str
    created_by: str
    created_at: str
    expires_at: str
    revoked_at: str | None
    personal: bool  # shows personal data; else they are masked
    views: int
    last_viewed_at: str | None


class NewShareDocument(ShareDocument):
    url: str  # shown this once: the link's secret is stored as a hash only


class SharesDocument(TypedDict):
    shares: list[ShareDocument]


@router.post("", status_code=201)
def share_session(
    body: ShareRequest,
    request: Request,
    user: Annotated[Principal, may(Permission.SESSIONS_SHARE)],
    records: Records,
    sessions: Sessions,
    settings: CurrentSettings,
    configuration: CurrentConfiguration,
) -> NewShareDocument:
    """A link that shows this one session without a login, until it expires."""
    if body.personal and not user.sees_personal:
        raise NotAllowed(Permission.PERSONAL_READ)
    opened = sessions.open(body.session, user.environments)
    hours = body.expires_in_hours
    usual = timedelta(days=configuration.value(SHARE_LINK_LIFE, opened.session.environment))
    life = usual if hours is None else timedelta(hours=min(max(hours, 0), 10_000))
    try:
        with unit_of_work(records, user.environments) as work:
            share, token = service.create_share(
                work, opened.session.environment, opened.id, user.name, life, personal=body.personal
            )
    except ShareError as error:
        raise Problem(422, error.reason, field=error.field) from error
    return {**_document(share), "url": share_url(request, settings.public_url, token)}


@router.get("")
def read_shares(
    user: Annotated[Principal, may(Permission.SESSIONS_SHARE)],
    records: Records,
    session: Annotated[str | None, Query(max_length=255)] = None,
) -> SharesDocument:
    """Share links, newest first; expired and revoked ones too."""
    shares = service.list_shares(records, user.environments, session)
    return {"shares": [_document(share) for share in shares]}


@router.delete("/{share_id}", status_code=204)
def revoke_share(
    share_id: int, user: Annotated[Principal, may(Permission.SESSIONS_SHARE)], records: Records
) -> Response:
    """The link stops working at once."""
    try:
        with unit_of_work(records, user.environments) as work:
            service.revoke_share(work, user.environments, share_id)
    except ShareNotFound as error:
        raise Problem(404, str(error)) from error
    return Response(status_code=204)


def share_url(request: Request, public_url: str, token: str) -> str:
    """What is sent to a colleague."""
    site = public_url or f"{request.url.scheme}://{request.url.netloc}"
    return f"{site}{service.SHARE_PATH}{token}"


def _document(share: ShareInfo) -> ShareDocument:
    return {
        "id": share.id,
        "session": share.session_id,
        "created_by": share.created_by,
        "created_at": _told(share.created_at),
        "expires_at": _told(share.expires_at),
        "revoked_at": _told(share.revoked_at) if share.revoked_at else None,
        "personal": share.personal,
        "views": share.views,
        "last_viewed_at": _told(share.last_viewed_at) if share.last_viewed_at else None,
    }


def _told(moment: datetime) -> str:
    return clock.isoformat(clock.to_us(moment))
