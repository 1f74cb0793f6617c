"""What holds, for endpoints: `configuration: CurrentConfiguration`, then `configuration.value(OPTION)`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Depends, Query
from starlette.requests import Request

from ringback.access.dependencies import CurrentVisitor, RequiredUser
from ringback.changes.schemas import Actor
from ringback.configuration.reader import Current
from ringback.configuration.service import ConfigurationService
from ringback.records.tables import INSTALLATION


def current(request: Request) -> Current:
    """The reader that the application started."""
    found: Current = request.app.state.configuration
    return found


def service(request: Request) -> ConfigurationService:
    return ConfigurationService(request.app.state.records, request.app.state.settings, request.app.state.options)


def scope(
    request: Request,
    user: RequiredUser,
    scope: Annotated[
        Literal["installation", "environment"],
        Query(description="What holds everywhere, or in the environment of the request"),
    ] = "installation",
) -> str:
    """INSTALLATION, or the environment that the reader is in (which pages name)."""
    request.state.own_environment = user.environments[0]
    return INSTALLATION if scope == "installation" else user.environments[0]


def actor(request: Request, user: RequiredUser, visitor: CurrentVisitor) -> Actor:
    realm = "api" if "authorization" in request.headers else "console"
    return Actor(user.kind, user.name, realm, str(user.user_id or ""), visitor.address)


CurrentConfiguration = Annotated[Current, Depends(current)]
Service = Annotated[ConfigurationService, Depends(service)]
CurrentScope = Annotated[str, Depends(scope)]
CurrentActor = Annotated[Actor, Depends(actor)]
