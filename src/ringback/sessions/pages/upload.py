"""Captures by drag and drop."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import Response

from ringback import clock
from ringback.access.dependencies import CurrentSettings, may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.sessions.moments import moment_us
from ringback.sessions.ownership.dependencies import Choices
from ringback.sessions.uploads.api import CurrentUploads
from ringback.sessions.uploads.documents import FileDocument
from ringback.web.templating import render

router = APIRouter(prefix="/upload", include_in_schema=False)

MARGIN_US = 1_000_000


@router.get("")
def upload_page(
    request: Request, reader: Annotated[Principal, may(Permission.CAPTURES_WRITE)], settings: CurrentSettings
) -> Response:
    return render(
        request,
        "sessions/upload.html",
        files=[],
        largest=settings.upload_bytes,
        sessions_url=sessions_url,
        places=_places(reader),
    )


@router.post("")
async def take_captures(
    request: Request,
    reader: Annotated[Principal, may(Permission.CAPTURES_WRITE)],
    uploads: CurrentUploads,
    settings: CurrentSettings,
    choices: Choices,
) -> Response:
    """The results alone for a script that sends file by file, the page with them for a plain form."""
    document = await uploads.take(request, reader.environments[0], choices)
    part = "hx-request" in request.headers
    return render(
        request,
        "sessions/upload_results.html" if part else "sessions/upload.html",
        files=document["files"],
        largest=settings.upload_bytes,
        sessions_url=sessions_url,
        places=_places(reader),
    )


def _places(reader: Principal) -> dict[str, str]:
    """Key -> name of where it may belong, for who may choose: "" what the rules say."""
    if not reader.everywhere:
        return {}
    return {"": "what the rules say"} | {key: reader.environment_names.get(key, key) for key in reader.belongs_to}


def sessions_url(file: FileDocument) -> str:
    """The search over the time of the capture; "" where it holds no message."""
    if not file["first"] or not file["last"] or not file["legs"]:
        return ""
    start, end = moment_us(file["first"], "from"), moment_us(file["last"], "to")
    moments = {"from": clock.isoformat(start), "to": clock.isoformat(end + MARGIN_US)}
    return "/sessions?" + urlencode(moments)
