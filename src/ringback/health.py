"""For the machines that watch: /healthz (it lives), /readyz (it can work), /metrics (how it does). No login."""

from __future__ import annotations

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ringback.events import EventStoreError
from ringback.records.schema import migrations_current

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def healthz() -> Response:
    return PlainTextResponse("ok")


@router.get("/readyz")
def readyz(request: Request) -> Response:
    """200 when both stores can be used, else 503; the body names each check and what is wrong with it."""
    checks = {"records": _records(request), "events": _events(request)}
    ready = all(result == "ok" for result in checks.values())
    return JSONResponse({"ready": ready, "checks": checks}, status_code=200 if ready else 503)


@router.get("/metrics")
def metrics(request: Request) -> Response:
    return Response(generate_latest(request.app.state.registry), media_type=CONTENT_TYPE_LATEST)


def _records(request: Request) -> str:
    try:
        return "ok" if migrations_current(request.app.state.records) else "the tables are not those of this version"
    except SQLAlchemyError as error:
        return f"cannot be read: {getattr(error, 'orig', None) or type(error).__name__}"


def _events(request: Request) -> str:
    try:
        return request.app.state.events.status().problem or "ok"
    except EventStoreError as error:
        return str(error)
