"""The composed web application: every room's pages and API are mounted here, in sight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from ringback import __version__, health
from ringback.access import api as access_api
from ringback.access import oidc_pages, people_pages, profile
from ringback.access import pages as access_pages
from ringback.access.oidc import sign_in_of
from ringback.audit import api as audit_api
from ringback.audit import pages as audit_pages
from ringback.billing.engine.going_on import uses as engine_uses
from ringback.billing.entities import api as entities_api
from ringback.billing.entities import pages as entities_pages
from ringback.billing.entities.belonging import people_of
from ringback.billing.entities.service import needed_by
from ringback.billing.ledger import api as ledger_api
from ringback.billing.ledger import pages as ledger_pages
from ringback.billing.ledger.queries import uses as ledger_uses
from ringback.composition import compose
from ringback.configuration import api as configuration_api
from ringback.configuration import pages as configuration_pages
from ringback.configuration.people import policy_of
from ringback.configuration.reader import Current
from ringback.errors import install_error_handlers
from ringback.events import BadCursor, EventStoreError, open_store
from ringback.metrics import AuditMetrics, StoreMetrics, make_registry
from ringback.middleware import BodyLimit, RequestIds, RequestMetrics, SecurityHeaders
from ringback.options import OPTIONS
from ringback.problem import Problem
from ringback.records.engine import open_engine
from ringback.records.schema import migrate
from ringback.sessions import api as sessions_api
from ringback.sessions import pages as sessions_pages
from ringback.sessions.books import Books
from ringback.sessions.diagnose import load_catalogue
from ringback.sessions.ingest import api as logs_api
from ringback.sessions.ingest.logs import MOST_BYTES
from ringback.sessions.keys import load_rules
from ringback.sessions.nodes import api as nodes_api
from ringback.sessions.nodes.schemas import NodeNotFound
from ringback.sessions.nodes.service import NodeRegister
from ringback.sessions.ownership import api as ownership_api
from ringback.sessions.ownership import pages as ownership_pages
from ringback.sessions.ownership.service import RuleRegister
from ringback.sessions.schemas import QueryError
from ringback.sessions.service import SessionNotFound, SessionService
from ringback.sessions.share import api as share_api
from ringback.sessions.share.schemas import ShareNotFound
from ringback.sessions.status import api as status_api
from ringback.sessions.uploads import api as uploads_api
from ringback.sessions.uploads.service import Uploads
from ringback.settings import Settings
from ringback.timeline import api as timeline_api
from ringback.timeline import pages as timeline_pages
from ringback.web.static_files import MOUNT, VersionedFiles

LARGEST_BODY = 1024 * 1024  # of a form or a JSON body; captures and log lines have limits of their own


def create_app(settings: Settings) -> FastAPI:
    """The application; its stores are opened when it starts and closed when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(_open_stores, app, settings)
        await asyncio.to_thread(_read_routes, app)
        try:
            yield
        finally:
            await asyncio.to_thread(_close_stores, app)

    app = FastAPI(
        title="Ringback",
        version=__version__,
        description="Tells a communications provider's staff why. Every call needs `Authorization: Bearer rb_...`.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.state.registry = make_registry(settings.data)
    app.state.sign_in = sign_in_of(settings)
    app.state.stopping = False  # set by the server that runs us: still answering, no longer ready

    needed_by(people_of)  # before an environment is deleted
    needed_by(ledger_uses)  # before a customer or an account is
    needed_by(engine_uses)  # before an account is
    app.include_router(ownership_pages.router)  # before whoever has pages below /environments
    app.include_router(ownership_api.router)
    app.include_router(access_pages.router)
    app.include_router(profile.router)
    app.include_router(people_pages.router)
    app.include_router(access_api.router)
    app.include_router(oidc_pages.router)
    app.include_router(configuration_pages.router)
    app.include_router(configuration_api.router)
    app.include_router(audit_pages.router)
    app.include_router(audit_api.router)
    app.include_router(sessions_pages.router)
    app.include_router(sessions_api.router)
    app.include_router(nodes_api.router)
    app.include_router(timeline_pages.router)
    app.include_router(timeline_api.router)
    app.include_router(ledger_api.router)
    app.include_router(ledger_pages.router)
    app.include_router(entities_api.router)
    app.include_router(entities_pages.router)
    app.include_router(share_api.router)
    app.include_router(uploads_api.router)
    app.include_router(logs_api.router)
    app.include_router(status_api.router)
    app.mount(MOUNT, VersionedFiles(), name="static")
    app.include_router(health.router)

    larger = {uploads_api.PATH: settings.upload_bytes, "/upload": settings.upload_bytes, logs_api.PATH: MOST_BYTES}
    larger |= entities_api.import_paths() | entities_pages.larger_bodies()
    # The last one added is the outermost.
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)
    app.add_middleware(BodyLimit, limit=LARGEST_BODY, larger=larger)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestIds)
    app.add_middleware(RequestMetrics, registry=app.state.registry)
    install_error_handlers(app, _problem_of, _ROOM_ERRORS)
    return app


def _read_routes(app: FastAPI) -> None:
    """FastAPI reads the signatures of included routes when the first request is matched: not while others wait."""
    nowhere = {"type": "http", "method": "GET", "path": "/nowhere", "root_path": "", "headers": []}
    for route in app.routes:
        route.matches(nowhere)


def _open_stores(app: FastAPI, settings: Settings) -> None:
    compose(settings)
    records = open_engine(settings.records_url)
    migrate(records)
    app.state.options = OPTIONS
    app.state.configuration = Current(settings, records, role="web")
    app.state.configuration.start()
    app.state.access_policy = partial(policy_of, app.state.configuration)
    events = open_store(settings.store_url)
    app.state.records = records
    app.state.events = events
    app.state.nodes = NodeRegister(records)
    app.state.traffic_rules = RuleRegister(records)
    app.state.catalogue = load_catalogue(settings.issues_folder)
    app.state.sessions = SessionService(
        events, app.state.catalogue, app.state.nodes, load_rules(settings.correlation_file), Books(records)
    )
    app.state.uploads = Uploads(settings)
    app.state.uploads.clear()
    app.state.registry.register(StoreMetrics(events))
    app.state.registry.register(AuditMetrics(records, settings))


def _close_stores(app: FastAPI) -> None:
    app.state.configuration.close()
    app.state.events.close()
    app.state.records.dispose()


_ROOM_ERRORS = (
    QueryError, SessionNotFound, ShareNotFound, NodeNotFound, EventStoreError, *entities_api.ERRORS, *ledger_api.ERRORS,
    *access_api.ERRORS,
)  # fmt: skip


def _problem_of(error: Exception) -> Problem:
    match error:
        case ShareNotFound():
            return Problem(404, str(error), title="No such link")
        case _ if isinstance(error, access_api.ERRORS):
            return access_api.problem_of(error)
        case _ if isinstance(error, entities_api.ERRORS):
            return entities_api.problem_of(error)
        case _ if isinstance(error, ledger_api.ERRORS):
            return ledger_api.problem_of(error)
        case NodeNotFound():
            return Problem(404, f"There is no node {error}.", title="No such node")
        case BadCursor():
            return Problem(400, str(error), title="The list cannot go on from there", field="cursor")
        case _:
            return sessions_api.problem_of(error)
