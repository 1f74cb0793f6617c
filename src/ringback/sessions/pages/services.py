"""What the pages stand on, as the application keeps it in its state."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from ringback.events.store import EventStore
from ringback.sessions.diagnose import Catalogue
from ringback.sessions.service import SessionService


def _sessions(request: Request) -> SessionService:
    service: SessionService = request.app.state.sessions
    return service


def _events(request: Request) -> EventStore:
    events: EventStore = request.app.state.events
    return events


def _catalogue(request: Request) -> Catalogue:
    catalogue: Catalogue = request.app.state.catalogue
    return catalogue


Sessions = Annotated[SessionService, Depends(_sessions)]
Events = Annotated[EventStore, Depends(_events)]
Issues = Annotated[Catalogue, Depends(_catalogue)]
