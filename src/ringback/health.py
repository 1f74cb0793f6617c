"""For the machines that watch: /healthz (it lives), /readyz (it can work), /metrics (how it does). No login."""

from __future__ import annotations

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ringback import checks
from ringback.sessions.ingest.status import read_collector_status

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def healthz() -> Response:
    return PlainTextResponse("ok")


@router.get("/readyz")
def readyz(request: Request) -> Response:
    """200 when both stores can be used, else 503; the body names each check and what is wrong with it, and how far storing
    is behind."""
    state = request.app.state
    found = {"records": checks.records(state.records), "events": checks.events(state.events)}
    if state.stopping:
        found["server"] = checks.STOPPING
    ready = checks.ready(found)
    spool = checks.behind(read_collector_status(state.settings.data))
    return JSONResponse({"ready": ready, "checks": found, "spool": spool}, status_code=200 if ready else 503)


@router.get("/metrics")
def metrics(request: Request) -> Response:
    return Response(generate_latest(request.app.state.registry), media_type=CONTENT_TYPE_LATEST)
