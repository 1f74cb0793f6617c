"""Sockets to lanes: which addresses and ports are one party.

A lane owns the sockets that its entry in the node register names; those that its own Via names from one host (connections
have ephemeral ports, NATs change theirs); the one its Contact names in a request that comes straight from it; and, for one
switch software or one user's phone on one host, sockets that neither speak to each other nor stand in the same leg.
Sockets that speak to each other are one lane only where the register says so: nodes and phones on one loopback address
stay apart.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from ringback.sessions.correlate.arrows import Socket
from ringback.sessions.correlate.software import is_switch
from ringback.sessions.correlate.transactions import Reading
from ringback.sessions.story import NodeInfo


def text(socket: Socket) -> str:
    """address:port, IPv6 in brackets."""
    return f"[{socket[0]}]:{socket[1]}" if ":" in socket[0] else f"{socket[0]}:{socket[1]}"


@dataclass(eq=False, slots=True)
class Lane:
    sockets: list[Socket]  # the one it is best known by first
    node: NodeInfo | None = None
    agents: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.node.name if self.node else text(self.sockets[0])


def lanes_of(readings: Sequence[Reading], nodes: Sequence[NodeInfo]) -> dict[Socket, Lane]:
    """Every socket seen, with its lane. Capture agents are put on the lane they report from."""
    sockets = _Sockets(readings, nodes)
    for node in nodes:
        sockets.join([socket for socket, owner in sockets.owners.items() if owner is node], certain=True)
    sockets.join_named_by_via()
    sockets.join_named_by_contact()
    sockets.join_same_software()
    lanes = sockets.lanes()
    _place_agents(readings, lanes, nodes)
    return lanes


class _Sockets:
    def __init__(self, readings: Sequence[Reading], nodes: Sequence[NodeInfo]) -> None:
        self.readings = readings
        self.used: Counter[Socket] = Counter()
        self.speaks_to: dict[Socket, set[Socket]] = defaultdict(set)
        self.named: set[Socket] = set()  # by Via or Contact, or addressed by a request
        self.groups: dict[Socket, list[Socket]] = {}
        for reading in readings:
            for one, other in ((reading.source, reading.destination), (reading.destination, reading.source)):
                self.used[one] += 1
                self.speaks_to[one].add(other)
                self.groups.setdefault(one, [one])
            if reading.arrow.sip.is_request:
                self.named.add(reading.destination)
        self.owners = {socket: node for socket in self.groups if (node := _registered(socket, nodes))}

    def join(self, sockets: Iterable[Socket], *, certain: bool = False) -> None:
        """Make the sockets one lane, but for those that speak to it (unless that is `certain`) or have another entry."""
        seen = sorted({socket for socket in sockets if socket in self.groups})
        for other in seen[1:]:
            one, two = self.groups[seen[0]], self.groups[other]
            if one is two or (not certain and any(self.speaks_to[socket].intersection(two) for socket in one)):
                continue
            if len({self.owners[socket].name for socket in (*one, *two) if socket in self.owners}) > 1:
                continue
            one += two
            for socket in two:
                self.groups[socket] = one

    def join_named_by_via(self) -> None:
        sent_by: dict[tuple[str, str, int], set[Socket]] = defaultdict(set)
        for reading in self.readings:
            if reading.arrow.sip.is_request and reading.vias:
                via = reading.vias[0]
                port = via.port or (5061 if via.transport in ("TLS", "WSS") else 5060)
                host = reading.source[0]
                sent_by[host, via.host, port].add(reading.source)
                if via.host == host or not _is_address(via.host):
                    sent_by[host, via.host, port].add((host, port))
                    self.named.add((host, port))
        for sockets in sent_by.values():
            self.join(sockets)

    def join_named_by_contact(self) -> None:
        for reading in self.readings:
            if reading.arrow.sip.is_request and len(reading.vias) == 1:
                for contact in reading.arrow.sip.addresses("contact")[:1]:
                    if contact.uri.host == reading.source[0]:
                        self.join((reading.source, (contact.uri.host, contact.uri.port or 5060)))

    def join_same_software(self) -> None:
        """One switch, or one phone of one user: a house full of phones of one make stays as many lanes."""
        legs: dict[Socket, set[str]] = defaultdict(set)
        alike: dict[tuple[str, str, str], set[Socket]] = defaultdict(set)
        for reading in self.readings:
            legs[reading.source].add(reading.arrow.leg)
            legs[reading.destination].add(reading.arrow.leg)
            sip, host = reading.arrow.sip, reading.source[0]
            agent = sip.header("user-agent") or sip.header("server")
            if not agent or _is_loopback(host):
                continue
            if is_switch(agent):
                alike[host, agent, ""].add(reading.source)
            elif sip.is_request and len(reading.vias) == 1 and not reading.to_tag:
                user = "".join(sender.uri.user for sender in sip.addresses("from")[:1])
                if user:
                    alike[host, agent, user].add(reading.source)
        for sockets in alike.values():
            first, *others = sorted(sockets)
            for other in others:
                if not legs[first] & legs[other]:
                    self.join((first, other))

    def lanes(self) -> dict[Socket, Lane]:
        lanes: dict[Socket, Lane] = {}
        for sockets in self.groups.values():
            if sockets[0] not in lanes:
                best_first = sorted(sockets, key=lambda one: (one not in self.named, -self.used[one], one))
                node = next((self.owners[socket] for socket in best_first if socket in self.owners), None)
                lanes |= dict.fromkeys(sockets, Lane(best_first, node))
        return lanes


def _registered(socket: Socket, nodes: Sequence[NodeInfo]) -> NodeInfo | None:
    """An entry with the port beats one for the whole host; a loopback host is nobody's."""
    whole_host = () if _is_loopback(socket[0]) else (socket[0],)
    for written in (text(socket), f"{socket[0]}:{socket[1]}", *whole_host):
        for node in nodes:
            if written in node.addresses:
                return node
    return None


def _place_agents(readings: Sequence[Reading], lanes: dict[Socket, Lane], nodes: Sequence[NodeInfo]) -> None:
    """An agent reports from the lane that all its messages touch; where two do, from the one that is asked, not the asker."""
    candidates: dict[str, list[Lane]] = {}
    for reading in readings:
        touched = [lanes[reading.destination], lanes[reading.source]]
        for sighting in reading.arrow.sightings:
            agent = sighting.hop.agent
            if agent:
                before = candidates.get(agent)
                candidates[agent] = touched if before is None else [lane for lane in before if lane in touched]
    registered = {agent: node for node in nodes for agent in node.agents}
    taken: set[int] = set()
    for agent, places in sorted(candidates.items(), key=lambda item: (len(item[1]), item[0])):
        node = registered.get(agent)
        own = [lane for lane in places if node and lane.node is node]
        free = [lane for lane in places if lane.node is None or node is None] if node else places
        place = next(iter(own or [lane for lane in free if id(lane) not in taken] or free), None)
        if place is not None:
            taken.add(id(place))
            place.agents.append(agent)
            if node and place.node is None and not any(lane.node is node for lane in lanes.values()):
                place.node = node


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return _is_address(host) and ip_address(host).is_loopback
