"""What holds, for endpoints: `configuration: CurrentConfiguration`, then `configuration.value(OPTION)`."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from ringback.configuration.reader import Current
from ringback.configuration.service import ConfigurationService


def current(request: Request) -> Current:
    """The reader that the application started."""
    found: Current = request.app.state.configuration
    return found


def service(request: Request) -> ConfigurationService:
    return ConfigurationService(request.app.state.records, request.app.state.settings)


CurrentConfiguration = Annotated[Current, Depends(current)]
Service = Annotated[ConfigurationService, Depends(service)]
