"""Captures over HTTP: POST /api/v1/captures."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from ringback.access.dependencies import may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.sessions.ownership.dependencies import Choices, Destination
from ringback.sessions.uploads.documents import ImportDocument
from ringback.sessions.uploads.service import Uploads

PATH = "/api/v1/captures"

router = APIRouter(tags=["captures"])


async def uploads_of(request: Request) -> Uploads:
    uploads: Uploads = request.app.state.uploads
    return uploads


CurrentUploads = Annotated[Uploads, Depends(uploads_of)]

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "environment": {"type": "string"},
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.post(PATH, openapi_extra=_BODY)
async def upload_captures(
    request: Request,
    user: Annotated[Principal, may(Permission.CAPTURES_WRITE)],
    uploads: CurrentUploads,
    destination: Destination,
    choices: Choices,
) -> ImportDocument:
    """Import pcap or pcapng files, also gzipped. Answers when they are searchable; a file that was in before is told.

    They belong to the environment that the form's field `environment` or the header Ringback-Environment names, else to
    the sender's. Of who belongs to all and names none, each session belongs to the one that the rules of traffic say.
    """
    return await uploads.take(request, destination, choices)
