"""The whole node register at once over HTTP: PUT /api/v1/nodes. One node at a time is what entities have endpoints for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from ringback.access.dependencies import CurrentActor, Records, may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.changes.service import do_changing
from ringback.problem import Problem
from ringback.sessions.nodes import service
from ringback.sessions.nodes.schemas import KINDS, NodeError, NodeForm
from ringback.sessions.story import NodeInfo

router = APIRouter(prefix="/api/v1/nodes", tags=["nodes"])


class RegisteredNode(BaseModel, extra="forbid"):
    name: str
    kind: Annotated[str, Field(description=", ".join(KINDS))] = "unknown"
    cluster: Annotated[bool, Field(description="Belongs to the provider's switch")] = False
    colour: Annotated[str, Field(description="#rrggbb, or empty")] = ""
    agents: Annotated[list[str], Field(description="Capture ids (HEP chunk 0x000c)")] = []
    addresses: Annotated[
        list[str], Field(description="192.0.2.1, 192.0.2.1:5060, 2001:db8::1 or [2001:db8::1]:5060")
    ] = []


class NodesDocument(BaseModel, extra="forbid"):
    nodes: Annotated[list[RegisteredNode], Field(max_length=10_000)]


async def node_register(request: Request) -> service.NodeRegister:
    register: service.NodeRegister = request.app.state.nodes
    return register


Register = Annotated[service.NodeRegister, Depends(node_register)]


@router.put("")
def write_nodes(
    body: NodesDocument,
    user: Annotated[Principal, may(Permission.NETWORK_WRITE)],
    records: Records,
    register: Register,
    actor: CurrentActor,
) -> NodesDocument:
    """The whole register at once: nodes that are not in the list are removed. All or nothing."""
    forms = [
        NodeForm(one.name, one.kind, one.cluster, one.colour, tuple(one.agents), tuple(one.addresses))
        for one in body.nodes
    ]
    try:
        nodes = do_changing(
            records,
            actor,
            user.environments[:1],
            lambda work: service.replace_nodes(work, user.environments[0], forms),
        )
    except NodeError as error:
        raise Problem(422, error.reason, title="The nodes cannot be registered", field=error.field) from error
    register.forget()
    return _document(nodes)


def _document(nodes: Iterable[NodeInfo]) -> NodesDocument:
    return NodesDocument(
        nodes=[
            RegisteredNode(
                name=node.name,
                kind=node.kind,
                cluster=node.cluster,
                colour=node.colour,
                agents=sorted(node.agents, key=int),
                addresses=sorted(node.addresses),
            )
            for node in nodes
        ]
    )
