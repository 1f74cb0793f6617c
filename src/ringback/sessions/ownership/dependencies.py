"""What the room's API and pages stand on, as the application keeps it in its state."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from ringback.access.dependencies import RequiredUser
from ringback.changes.schemas import Actor
from ringback.sessions.ownership.service import RuleRegister


def _in_force(request: Request) -> RuleRegister:
    register: RuleRegister = request.app.state.traffic_rules
    return register


RulesInForce = Annotated[RuleRegister, Depends(_in_force)]


def _actor(request: Request, user: RequiredUser) -> Actor:
    realm = "api" if user.kind == "token" else "console"
    return Actor(user.kind, user.name, realm, str(user.user_id or ""), request.client.host if request.client else "")


CurrentActor = Annotated[Actor, Depends(_actor)]
