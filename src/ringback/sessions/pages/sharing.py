"""Share links of a session: made, listed and revoked."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from ringback import clock
from ringback.access.dependencies import CurrentSettings, Records, may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.records.engine import unit_of_work
from ringback.sessions.dependencies import Sessions
from ringback.sessions.share.schemas import LONGEST_LIFE, SHORTEST_LIFE
from ringback.sessions.share.service import SHARE_PATH, create_share, list_shares, list_views, revoke_share
from ringback.settings import Settings
from ringback.web.templating import render

router = APIRouter(prefix="/sessions/{session_id}/shares", include_in_schema=False)
HOUR = timedelta(hours=1)
LIVES = ((1, "1 hour"), (24, "1 day"), (7 * 24, "7 days"), (30 * 24, "30 days"))


@router.get("")
def shares(
    request: Request,
    session_id: str,
    reader: Annotated[Principal, may(Permission.SESSIONS_SHARE)],
    records: Records,
    settings: CurrentSettings,
) -> Response:
    return _shares(request, session_id, reader, records, settings)


@router.post("")
def make(
    request: Request,
    session_id: str,
    reader: Annotated[Principal, may(Permission.SESSIONS_SHARE)],
    records: Records,
    sessions: Sessions,
    settings: CurrentSettings,
    hours: Annotated[int, Form(ge=SHORTEST_LIFE // HOUR, le=LONGEST_LIFE // HOUR)],
) -> Response:
    environment = sessions.open(session_id, reader.environments).session.environment
    with unit_of_work(records, reader.environments) as work:
        _, token = create_share(work, environment, session_id, reader.name, hours * HOUR)
    site = settings.public_url or str(request.base_url).rstrip("/")
    return _shares(request, session_id, reader, records, settings, link=f"{site}{SHARE_PATH}{token}")


@router.post("/{share_id}/revoke")
def revoke(
    request: Request,
    session_id: str,
    share_id: int,
    reader: Annotated[Principal, may(Permission.SESSIONS_SHARE)],
    records: Records,
    settings: CurrentSettings,
) -> Response:
    with unit_of_work(records, reader.environments) as work:
        revoke_share(work, reader.environments, share_id)
    if not request.headers.get("HX-Request"):
        return RedirectResponse(f"/sessions/{session_id}/shares", status_code=303)
    return _shares(request, session_id, reader, records, settings)


def _shares(
    request: Request,
    session_id: str,
    reader: Principal,
    records: Records,
    settings: Settings,
    *,
    link: str = "",
) -> Response:
    part = bool(request.headers.get("HX-Request"))
    links = list_shares(records, reader.environments, session_id)
    now = clock.now()
    return render(
        request,
        "sessions/shares.html" if part else "sessions/shares_page.html",
        session_id=session_id,
        live=[one for one in links if one.revoked_at is None and one.expires_at > now],
        ended=[one for one in links if one.revoked_at is not None or one.expires_at <= now],
        views=list_views(records, reader.environments, session_id, limit=20),
        lives=LIVES,
        default_hours=settings.share_days * 24,
        link=link,
        to_us=clock.to_us,
    )
