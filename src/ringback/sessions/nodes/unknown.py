"""Senders that take part in sessions and belong to no node yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ringback.events.store import EventStore, LegQuery
from ringback.sessions.story import NodeInfo

READ_LEGS = 1000  # newest ones that are looked at: who takes part is seen from few


@dataclass(slots=True)
class UnknownSender:
    kind: str  # agent (a capture id) or address
    value: str
    legs: int
    last_us: int


def unknown_senders(
    events: EventStore, environments: tuple[str, ...], nodes: Sequence[NodeInfo], start_us: int, end_us: int
) -> list[UnknownSender]:
    """Of the newest legs of the interval, those seen most first; capture ids before addresses."""
    known_agents = {agent for node in nodes for agent in node.agents}
    known_addresses = {_without_port(address) for node in nodes for address in node.addresses}
    found: dict[tuple[str, str], UnknownSender] = {}
    for leg in events.search(LegQuery(environments, start_us, end_us), limit=READ_LEGS).rows:
        unknown = [("agent", agent) for agent in leg.agents if agent and agent not in known_agents]
        unknown += [("address", address) for address in leg.addresses if address not in known_addresses]
        for kind, value in unknown:
            sender = found.setdefault((kind, value), UnknownSender(kind, value, 0, leg.started_us))
            sender.legs += 1
            sender.last_us = max(sender.last_us, leg.started_us)
    return sorted(found.values(), key=lambda sender: (sender.kind != "agent", -sender.legs, sender.value))


def _without_port(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address
