"""Who makes the change that a request asks for."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from ringback.access.dependencies import RequiredUser
from ringback.access.schemas import Principal
from ringback.changes.schemas import Actor


def actor_of(request: Request, principal: Principal) -> Actor:
    address = request.client.host if request.client else ""
    realm = "console" if principal.kind == "user" else "api"
    return Actor(principal.kind, principal.name, realm, str(principal.user_id or ""), address)


def _current(request: Request, principal: RequiredUser) -> Actor:
    return actor_of(request, principal)


CurrentActor = Annotated[Actor, Depends(_current)]
