"""Senders that were seen in sessions and belong to no node yet: a part of the page of nodes, and a page of its own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from ringback import clock
from ringback.access.dependencies import CurrentActor, Records, may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.billing.entities import service
from ringback.billing.entities.errors import EntityErrors
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.node import NODE_KINDS
from ringback.changes.service import do_changing
from ringback.events.store import EventStore, EventStoreError
from ringback.records.engine import UnitOfWork
from ringback.sessions.dependencies import Events
from ringback.sessions.nodes.queries import node_named
from ringback.sessions.nodes.service import list_nodes
from ringback.sessions.nodes.unknown import UnknownSender, unknown_senders
from ringback.sessions.story import NodeInfo
from ringback.web.flash import flash
from ringback.web.templating import render

router = APIRouter(prefix="/nodes/unknown-senders", include_in_schema=False)

LOOK_BACK_US = 24 * 3_600_000_000
MOST_UNKNOWN = 30  # addresses shown: most are phones, which need no name

Text = Annotated[str, Form(max_length=1000)]


@router.get("")
def senders_page(
    request: Request, reader: Annotated[Principal, may(Permission.NETWORK_READ)], records: Records, events: Events
) -> Response:
    return _page(request, reader, list_nodes(records, reader.environments[0]), events)


@router.post("")
def name_sender(
    request: Request,
    writer: Annotated[Principal, may(Permission.NETWORK_WRITE)],
    records: Records,
    events: Events,
    actor: CurrentActor,
    sender_kind: Text,
    value: Text,
    name: Text = "",
    kind: Text = "unknown",
    cluster: Text = "",
) -> Response:
    """The sender gets the name of a new node, or joins the node of that name."""
    environment, field = writer.environments[0], "agents" if sender_kind == "agent" else "addresses"

    def give_name(work: UnitOfWork) -> str:
        work.lock("entities", "node", environment)
        node = node_named(work, environment, name.strip())
        if node is None:
            given = {"name": name, "kind": kind, "cluster": bool(cluster), field: [value]}
            return service.create(work, TYPES["node"], environment, given).told_as()
        senders = [*getattr(node, field), value]
        return service.change(work, TYPES["node"], environment, node.id, {field: senders}, None)[0].told_as()

    try:
        named = do_changing(records, actor, writer.environments[:1], give_name)
    except EntityErrors as refused:
        nodes = list_nodes(records, environment)
        return _page(request, writer, nodes, events, errors=refused.errors, sender=value, typed=name, status=422)
    request.app.state.nodes.forget()
    response = RedirectResponse("/nodes", status_code=303)
    flash(response, f"{value} is {named} from now on, in earlier sessions too.")
    return response


def _page(
    request: Request,
    reader: Principal,
    nodes: list[NodeInfo],
    events: EventStore,
    *,
    errors: dict[str, str] | None = None,
    sender: str = "",
    typed: str = "",
    status: int = 200,
) -> Response:
    unknown, unread = _unknown(events, reader, nodes)
    addresses = [one for one in unknown if one.kind == "address"]
    shown = addresses if reader.sees_personal else []  # most are phones'
    return render(
        request,
        "sessions/unknown_senders_part.html" if "hx-request" in request.headers else "sessions/unknown_senders.html",
        status,
        nodes=nodes,
        kinds=NODE_KINDS,
        errors=errors or {},
        sender=sender,
        typed=typed,
        unknown=[one for one in unknown if one.kind == "agent"],
        unknown_addresses=shown[:MOST_UNKNOWN],
        hidden_addresses=max(0, len(shown) - MOST_UNKNOWN),
        masked_addresses=len(addresses) - len(shown),
        unread=unread,
        writes=reader.may(Permission.NETWORK_WRITE),
    )


def _unknown(events: EventStore, reader: Principal, nodes: list[NodeInfo]) -> tuple[list[UnknownSender], str]:
    """The senders without a name, and why they could not be read."""
    now = clock.now_us()
    try:
        return unknown_senders(events, reader.environments, nodes, now - LOOK_BACK_US, now), ""
    except EventStoreError as error:
        return [], str(error)
