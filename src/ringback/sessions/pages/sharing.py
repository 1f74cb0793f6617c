"""Share links of a session: made, listed and revoked."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from ringback import clock
from ringback.access.dependencies import CurrentSettings, NotAllowed, Records, may
from ringback.access.masking import mask
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.configuration.dependencies import CurrentConfiguration
from ringback.configuration.reader import Current
from ringback.records.engine import unit_of_work
from ringback.sessions.dependencies import Sessions
from ringback.sessions.options import SHARE_LINK_LIFE
from ringback.sessions.share.schemas import LONGEST_LIFE, SHORTEST_LIFE
from ringback.sessions.share.service import SHARE_PATH, create_share, list_shares, list_views, revoke_share
from ringback.web.formats import plural
from ringback.web.templating import render

router = APIRouter(prefix="/sessions/{session_id}/shares", include_in_schema=False)
HOUR = timedelta(hours=1)
LIVES = ((1, "1 hour"), (24, plural(1, "day")), (7 * 24, plural(7, "day")), (30 * 24, plural(30, "day")))


@router.get("")
def shares(
    request: Request,
    session_id: str,
    reader: Annotated[Principal, may(Permission.SESSIONS_SHARE)],
    records: Records,
    configuration: CurrentConfiguration,
) -> Response:
    return _shares(request, session_id, reader, records, _usual_days(configuration, reader))


@router.post("")
def make(
    request: Request,
    session_id: str,
    reader: Annotated[Principal, may(Permission.SESSIONS_SHARE)],
    records: Records,
    sessions: Sessions,
    settings: CurrentSettings,
    configuration: CurrentConfiguration,
    hours: Annotated[int, Form(ge=SHORTEST_LIFE // HOUR, le=LONGEST_LIFE // HOUR)],
    personal: Annotated[bool, Form()] = False,
) -> Response:
    if personal and not reader.sees_personal:
        raise NotAllowed(Permission.PERSONAL_READ)
    environment = sessions.open(session_id, reader.environments).session.environment
    with unit_of_work(records, reader.environments) as work:
        _, token = create_share(work, environment, session_id, reader.name, hours * HOUR, personal=personal)
    site = settings.public_url or str(request.base_url).rstrip("/")
    link = f"{site}{SHARE_PATH}{token}"
    return _shares(request, session_id, reader, records, _usual_days(configuration, reader), link=link)


@router.post("/{share_id}/revoke")
def revoke(
    request: Request,
    session_id: str,
    share_id: int,
    reader: Annotated[Principal, may(Permission.SESSIONS_SHARE)],
    records: Records,
    configuration: CurrentConfiguration,
) -> Response:
    with unit_of_work(records, reader.environments) as work:
        revoke_share(work, reader.environments, share_id)
    if not request.headers.get("HX-Request"):
        return RedirectResponse(f"/sessions/{session_id}/shares", status_code=303)
    return _shares(request, session_id, reader, records, _usual_days(configuration, reader))


def _usual_days(configuration: Current, reader: Principal) -> int:
    return configuration.value(SHARE_LINK_LIFE, reader.environments[0])


def _shares(
    request: Request,
    session_id: str,
    reader: Principal,
    records: Records,
    usual_days: int,
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
        personal=reader.sees_personal,
        address_of=lambda view: view.viewer.address if reader.sees_personal else mask(view.viewer.address, "address"),
        lives=sorted({*LIVES, (usual_days * 24, plural(usual_days, "day"))}),
        default_hours=usual_days * 24,
        link=link,
        to_us=clock.to_us,
    )
