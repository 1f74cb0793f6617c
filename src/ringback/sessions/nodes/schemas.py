"""What goes in and out of the node register."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ringback.billing.entities.fields import Field
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.node import NODE_KINDS
from ringback.billing.entities.values import MOST_WORDS, read
from ringback.sessions.story import NodeInfo

KINDS = tuple(value for value, _ in NODE_KINDS)


class NodeError(ValueError):
    """A node that cannot be registered: the field and the reason, fit to be shown."""

    def __init__(self, field_: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field_
        self.reason = reason


class NodeNotFound(LookupError):
    """No node of that name in the environment."""


@dataclass(frozen=True, slots=True)
class NodeForm:
    """A node as a person or program gives it, not checked yet."""

    name: str
    kind: str = "unknown"
    cluster: bool = False
    colour: str = ""  # #rrggbb; "" for the kind's own
    agents: tuple[str, ...] = ()  # capture ids
    addresses: tuple[str, ...] = ()  # address, or address:port


def checked(form: NodeForm) -> NodeInfo:
    """The node in canonical spelling. Raises NodeError."""
    node = TYPES["node"]
    name = _read(node["name"], form.name)
    if not name:
        raise NodeError("name", "A node needs a name of 1 to 64 characters on one line.")
    agents, addresses = _read(node["agents"], list(form.agents)), _read(node["addresses"], list(form.addresses))
    if not agents and not addresses:
        raise NodeError("addresses", "Give at least one capture id or address: without it no packet is this node's.")
    if len(agents) + len(addresses) > MOST_WORDS:
        raise NodeError("addresses", f"A node has at most {MOST_WORDS} capture ids and addresses.")
    kind = _read(node["kind"], form.kind)
    return NodeInfo(
        name, kind, form.cluster, _read(node["colour"], form.colour), frozenset(agents), frozenset(addresses)
    )


def _read(field: Field, given: object) -> Any:
    try:
        return read(field, given)
    except ValueError as error:
        raise NodeError(field.name, str(error)) from None
