"""What goes in and out of the node register."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

from ringback.sessions.story import NodeInfo

KINDS = ("phone", "edge", "core", "billing", "media", "gateway", "far-end", "unknown")
_NAME = re.compile(r"[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]{0,62}[^\s\x00-\x1f\x7f])?")
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_MOST_SENDERS = 1000


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
    name = form.name.strip()
    if not _NAME.fullmatch(name):
        raise NodeError("name", "A node needs a name of 1 to 64 characters on one line.")
    if form.kind not in KINDS:
        raise NodeError("kind", f"{form.kind!r} is none of {', '.join(KINDS)}.")
    colour = form.colour.strip().lower()
    if colour and not _COLOUR.fullmatch(colour):
        raise NodeError("colour", f"{form.colour!r} is no colour such as #1f5fbf.")
    if len(form.agents) + len(form.addresses) > _MOST_SENDERS:
        raise NodeError("addresses", f"A node has at most {_MOST_SENDERS} capture ids and addresses.")
    agents = frozenset(canonical_agent(agent) for agent in form.agents if agent.strip())
    addresses = frozenset(canonical_address(address) for address in form.addresses if address.strip())
    if not agents and not addresses:
        raise NodeError("addresses", "Give at least one capture id or address: without it no packet is this node's.")
    return NodeInfo(name, form.kind, form.cluster, colour, agents, addresses)


def canonical_agent(text: str) -> str:
    """A capture id (HEP chunk 0x000c) in decimal. Raises NodeError."""
    text = text.strip()
    if not (text.isascii() and text.isdigit()) or int(text) > 0xFFFFFFFF:
        raise NodeError("agents", f"{text!r} is no capture id: a whole number from 0 to 4294967295.")
    return str(int(text))


def canonical_address(text: str) -> str:
    """``192.0.2.1``, ``192.0.2.1:5060``, ``2001:db8::1`` or ``[2001:db8::1]:5060``, spelled one way. Raises NodeError."""
    text = text.strip()
    host, port = text, ""
    if text.startswith("["):
        host, closed, port = text[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            host = ""
        port = port[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        if not port:
            host = ""
    try:
        address = ip_address("" if "%" in host else host)  # a zone is of the machine that wrote it
    except ValueError:
        raise NodeError(
            "addresses",
            f"{text!r} is no address, or address:port, such as 192.0.2.1, 192.0.2.1:5060 or [2001:db8::1]:5060.",
        ) from None
    if not port:
        return str(address)
    if not (port.isascii() and port.isdigit()) or not 1 <= int(port) <= 65535:
        raise NodeError("addresses", f"{text!r}: the port is a number from 1 to 65535.")
    return f"[{address}]:{int(port)}" if address.version == 6 else f"{address}:{int(port)}"
