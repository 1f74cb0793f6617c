"""What the room's API and pages stand on, as the application keeps it in its state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request

from ringback.access.dependencies import Records, RequiredUser
from ringback.events.store import EventStore
from ringback.records.engine import unit_of_work
from ringback.sessions.diagnose import Catalogue
from ringback.sessions.schemas import OpenedSession
from ringback.sessions.service import SessionService
from ringback.sessions.share.schemas import Viewer
from ringback.sessions.share.service import how_seen, record_view


async def _sessions(request: Request) -> SessionService:
    service: SessionService = request.app.state.sessions
    return service


async def _events(request: Request) -> EventStore:
    events: EventStore = request.app.state.events
    return events


async def _catalogue(request: Request) -> Catalogue:
    catalogue: Catalogue = request.app.state.catalogue
    return catalogue


Sessions = Annotated[SessionService, Depends(_sessions)]
Events = Annotated[EventStore, Depends(_events)]
Issues = Annotated[Catalogue, Depends(_catalogue)]


async def _seen(request: Request, engine: Records, reader: RequiredUser) -> Callable[[OpenedSession, str], None]:
    viewer = Viewer(reader.kind, reader.name, request.client.host if request.client else "")

    def record(opened: OpenedSession, how: str) -> None:
        with unit_of_work(engine, reader.environments) as work:
            record_view(work, opened.session.environment, opened.id, viewer, how_seen(how, opened))

    return record


Seen = Annotated[
    Callable[[OpenedSession, str], None], Depends(_seen)
]  # records who saw a session, before it is shown
