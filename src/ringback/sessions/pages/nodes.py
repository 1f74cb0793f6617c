"""The node register: which capture ids and addresses are which node of the provider."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from ringback import clock
from ringback.access.dependencies import Records, may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.billing.entities.actors import actor_of
from ringback.changes.service import do_changing
from ringback.events.store import EventStore, EventStoreError
from ringback.records.engine import UnitOfWork
from ringback.sessions.dependencies import Events
from ringback.sessions.nodes.schemas import KINDS, NodeError, NodeForm, NodeNotFound
from ringback.sessions.nodes.service import add_node, add_sender, change_node, list_nodes, remove_node
from ringback.sessions.nodes.unknown import UnknownSender, unknown_senders
from ringback.sessions.story import NodeInfo
from ringback.web.flash import flash
from ringback.web.templating import render

router = APIRouter(prefix="/nodes", include_in_schema=False)

LOOK_BACK_US = 24 * 3_600_000_000
MOST_UNKNOWN = 30  # addresses shown: most are phones, which need no name

_PARTS = re.compile(r"(\d+)")

Text = Annotated[str, Form(max_length=20_000)]


@router.get("")
def nodes_page(
    request: Request,
    reader: Annotated[Principal, may(Permission.NETWORK_READ)],
    records: Records,
    events: Events,
    edit: str = "",
) -> Response:
    return _page(request, reader, records, events, edit=edit)


@router.post("")
def add(
    request: Request,
    reader: Annotated[Principal, may(Permission.NETWORK_WRITE)],
    records: Records,
    events: Events,
    name: Text = "",
    kind: Text = "unknown",
    cluster: Text = "",
    own_colour: Text = "",
    colour: Text = "",
    agents: Text = "",
    addresses: Text = "",
) -> Response:
    form = _form(name, kind, cluster, own_colour, colour, agents, addresses)

    def change(work: UnitOfWork) -> str:
        node = add_node(work, _environment(reader), form)
        return f"{node.name} is registered."

    return _changed(request, reader, records, events, change, form)


@router.post("/change")
def change(
    request: Request,
    reader: Annotated[Principal, may(Permission.NETWORK_WRITE)],
    records: Records,
    events: Events,
    was: Text,
    name: Text = "",
    kind: Text = "unknown",
    cluster: Text = "",
    own_colour: Text = "",
    colour: Text = "",
    agents: Text = "",
    addresses: Text = "",
) -> Response:
    form = _form(name, kind, cluster, own_colour, colour, agents, addresses)

    def change(work: UnitOfWork) -> str:
        return f"{change_node(work, _environment(reader), was, form).name} is changed."

    return _changed(request, reader, records, events, change, form, edit=was)


@router.post("/remove")
def remove(
    request: Request,
    reader: Annotated[Principal, may(Permission.NETWORK_WRITE)],
    records: Records,
    events: Events,
    was: Text,
) -> Response:
    def change(work: UnitOfWork) -> str:
        remove_node(work, _environment(reader), was)
        return f"{was} is no longer registered; sessions show its addresses instead."

    return _changed(request, reader, records, events, change, NodeForm(was), edit=was)


@router.post("/senders")
def name_sender(
    request: Request,
    reader: Annotated[Principal, may(Permission.NETWORK_WRITE)],
    records: Records,
    events: Events,
    sender_kind: Text,
    value: Text,
    name: Text = "",
    kind: Text = "unknown",
    cluster: Text = "",
) -> Response:
    """A sender that was seen gets the name of a new node, or joins the node of that name."""
    agents, addresses = ((value,), ()) if sender_kind == "agent" else ((), (value,))
    form = NodeForm(name.strip(), kind, bool(cluster), "", agents, addresses)

    def change(work: UnitOfWork) -> str:
        try:
            node = add_sender(work, _environment(reader), form.name, "".join(agents), "".join(addresses))
        except NodeNotFound:
            node = add_node(work, _environment(reader), form)
        return f"{value} is {node.name} from now on, in earlier sessions too."

    return _changed(request, reader, records, events, change, form, sender=value)


def _changed(
    request: Request,
    reader: Principal,
    records: Records,
    events: EventStore,
    change: Callable[[UnitOfWork], str],
    form: NodeForm,
    *,
    edit: str = "",
    sender: str = "",
) -> Response:
    """Back to the list where it was done; the form again, with what is wrong, where it was not."""
    try:
        done = do_changing(records, actor_of(request, reader), reader.environments[:1], change)
    except NodeError as error:
        errors = {error.field: error.reason}
        return _page(request, reader, records, events, form=form, errors=errors, edit=edit, sender=sender, status=400)
    except NodeNotFound:
        response = RedirectResponse("/nodes", status_code=303)
        flash(response, f"There is no node {edit} any more.", "warn")
        return response
    request.app.state.nodes.forget()
    response = RedirectResponse("/nodes", status_code=303)
    flash(response, done)
    return response


def _page(
    request: Request,
    reader: Principal,
    records: Records,
    events: EventStore,
    *,
    form: NodeForm | None = None,
    errors: dict[str, str] | None = None,
    edit: str = "",
    sender: str = "",
    status: int = 200,
) -> Response:
    nodes = list_nodes(records, _environment(reader))
    unknown, unread = _unknown(events, reader, nodes)
    addresses = [one for one in unknown if one.kind == "address"]
    shown = addresses if reader.sees_personal else []  # most are phones'
    return render(
        request,
        "sessions/nodes.html",
        status_code=status,
        nodes=nodes,
        kinds=KINDS,
        in_order=_in_order,
        edit=edit,
        form=form,
        errors=errors or {},
        sender=sender,
        unknown=[one for one in unknown if one.kind == "agent"],
        unknown_addresses=shown[:MOST_UNKNOWN],
        hidden_addresses=max(0, len(shown) - MOST_UNKNOWN),
        masked_addresses=len(addresses) - len(shown),
        unread=unread,
    )


def _unknown(events: EventStore, reader: Principal, nodes: list[NodeInfo]) -> tuple[list[UnknownSender], str]:
    """The senders without a name, and why they could not be read."""
    now = clock.now_us()
    try:
        return unknown_senders(events, reader.environments, nodes, now - LOOK_BACK_US, now), ""
    except EventStoreError as error:
        return [], str(error)


def _in_order(addresses: Iterable[str]) -> list[str]:
    """As a person counts, not as text sorts: 192.0.2.9 before 192.0.2.10."""
    return sorted(
        addresses, key=lambda address: [int(part) if part.isdigit() else part for part in _PARTS.split(address)]
    )


def _environment(reader: Principal) -> str:
    """Where the reader's changes go."""
    return reader.environments[0]


def _form(name: str, kind: str, cluster: str, own_colour: str, colour: str, agents: str, addresses: str) -> NodeForm:
    return NodeForm(name, kind, bool(cluster), colour if own_colour else "", _words(agents), _words(addresses))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())
