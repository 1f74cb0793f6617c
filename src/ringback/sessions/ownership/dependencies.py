"""What the room's API and pages stand on, and where belongs what a request brings."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from ringback.access.dependencies import ENVIRONMENT_HEADER, RequiredUser
from ringback.sessions.ownership.service import RuleRegister


async def _in_force(request: Request) -> RuleRegister:
    register: RuleRegister = request.app.state.traffic_rules
    return register


async def _destination(request: Request, user: RequiredUser) -> str:
    """The environment that the request names, else the sender's; "" for who belongs to all and names none: the rules say."""
    if user.everywhere and not request.headers.get(ENVIRONMENT_HEADER):
        return ""
    return user.environments[0]


async def _choices(user: RequiredUser) -> tuple[str, ...]:
    """What may be named instead: the sender's environments, and "" (the rules) for who belongs to all."""
    return ("", *user.belongs_to) if user.everywhere else user.belongs_to


RulesInForce = Annotated[RuleRegister, Depends(_in_force)]
Destination = Annotated[str, Depends(_destination)]
Choices = Annotated[tuple[str, ...], Depends(_choices)]
