"""What holds, for endpoints: `configuration: CurrentConfiguration`, then `configuration.value(OPTION)`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Depends, Query
from starlette.requests import Request

from ringback.access.dependencies import RequiredUser, may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.configuration.reader import Current
from ringback.configuration.service import ConfigurationService
from ringback.problem import Problem
from ringback.records.tables import INSTALLATION


async def current(request: Request) -> Current:
    """The reader that the application started."""
    found: Current = request.app.state.configuration
    return found


def service(request: Request) -> ConfigurationService:
    return ConfigurationService(request.app.state.records, request.app.state.settings, request.app.state.options)


async def scope(
    request: Request,
    user: RequiredUser,
    scope: Annotated[
        Literal["installation", "environment"],
        Query(description="What holds everywhere, or in the environment of the request"),
    ] = "installation",
) -> str:
    """INSTALLATION, or the environment that the reader is in. Tells `request.state` what pages show of both."""
    found = INSTALLATION if scope == "installation" else user.environments[0]
    request.state.own_environment = user.environments[0]
    request.state.writes = user.may(Permission.CONFIGURATION_WRITE) and (found != INSTALLATION or user.everywhere)
    return found


async def scope_to_write(
    request: Request,
    scope: Annotated[str, Depends(scope)],
    _writer: Annotated[Principal, may(Permission.CONFIGURATION_WRITE)],
) -> str:
    """What holds everywhere is changed by those who look after the whole installation. Raises NotAllowed, Problem."""
    if not request.state.writes:
        raise Problem(
            403,
            "What holds for the whole installation is changed by administrators of the whole installation. "
            "Yours are the options of your environment: scope=environment.",
            title="Not allowed",
        )
    return scope


CurrentConfiguration = Annotated[Current, Depends(current)]
Service = Annotated[ConfigurationService, Depends(service)]
CurrentScope = Annotated[str, Depends(scope)]
ScopeToWrite = Annotated[str, Depends(scope_to_write)]
