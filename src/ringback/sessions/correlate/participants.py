"""Who took part: the lanes of the diagram with their names, kinds and place in the path.

The node register knows best. Without an entry, who forwards requests, registers phones or asks for credentials belongs to the
provider's switch (`cluster`), who begins a call is a phone, and who ends the path a phone or the far end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ringback.sessions import billing_log
from ringback.sessions.correlate.arrows import Socket
from ringback.sessions.correlate.lanes import Lane, lanes_of, text
from ringback.sessions.correlate.software import is_gateway, is_phone, is_switch
from ringback.sessions.correlate.transactions import Exchange, Reading
from ringback.sessions.story import LogLine, NodeInfo, Participant


def participants_of(
    readings: Sequence[Reading],
    exchanges: Sequence[Exchange],
    nodes: Sequence[NodeInfo],
    logs: Iterable[LogLine],
    corrections: Mapping[str, int],
) -> list[Participant]:
    """In path order, the caller's side first. Sets `source` and `destination` of every arrow; readings in story order."""
    lanes = lanes_of(readings, nodes)
    roles: dict[int, _Role] = {}
    for socket in _along_the_path(readings, exchanges):
        if socket in lanes:
            roles.setdefault(id(lanes[socket]), _Role(lanes[socket]))
    _play(roles, lanes, exchanges)

    participants = {key: role.participant(corrections) for key, role in roles.items()}
    for reading in readings:
        reading.arrow.source = participants[id(lanes[reading.source])].id
        reading.arrow.destination = participants[id(lanes[reading.destination])].id
    path = [*participants.values(), *_only_logged(participants.values(), nodes, logs)]
    first_inside = next((position for position, one in enumerate(path) if one.cluster), len(path))
    inside = [one for one in path if one.cluster]
    for position, one in enumerate(inside):
        if not one.kind:
            one.kind = "core" if position else "edge"
    return path[:first_inside] + inside + [one for one in path[first_inside:] if not one.cluster]


def _along_the_path(readings: Sequence[Reading], exchanges: Sequence[Exchange]) -> Iterator[Socket]:
    """Sockets leg by leg, on the way of what began each leg: the fewer Vias, the nearer to the caller."""
    legs: dict[str, int] = {}
    for reading in readings:
        legs.setdefault(reading.arrow.leg, len(legs))
    for exchange in sorted(
        exchanges,
        key=lambda one: (
            legs[one.transaction.leg],
            one.transaction.in_dialog,
            len(one.path),
            one.first.arrow.time_us,
        ),
    ):
        yield exchange.client
        yield exchange.server
    for reading in readings:
        yield reading.source
        yield reading.destination


class _Role:
    """What a lane was seen to do."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.begins = False
        self.forwards = False
        self.registers = False
        self.challenges = False
        self.user_agent = ""
        self.asked: list[
            tuple[str, int, int | None]
        ] = []  # leg, start and final response of what it passed to nobody
        self.began: list[tuple[str, int]] = []  # leg and start of the first requests it made

    def participant(self, corrections: Mapping[str, int]) -> Participant:
        node = self.lane.node
        cluster = node.cluster if node else self._switches()
        return Participant(
            id=self.lane.name,
            label=self.lane.name,
            kind=node.kind if node else self._kind(cluster),
            addresses=[text(socket) for socket in self.lane.sockets],
            cluster=cluster,
            colour=node.colour if node else "",
            user_agent=self.user_agent,
            skew_us=next((corrections[agent] for agent in self.lane.agents if corrections.get(agent)), 0),
            agents=sorted(self.lane.agents),
        )

    def _switches(self) -> bool:
        known = bool(self.asked) and is_switch(self.user_agent)
        return self.forwards or self.registers or self.challenges or known or self._bridges()

    def _bridges(self) -> bool:
        """A B2BUA begins another leg while the one it was asked in still waits; a party that transfers does so later."""
        return any(
            leg != other and start <= begun and (final is None or begun <= final)
            for leg, start, final in self.asked
            for other, begun in self.began
        )

    def _kind(self, cluster: bool) -> str:
        if cluster:
            return ""  # edge or core, by its place in the path
        if is_phone(self.user_agent):
            return "phone"
        if is_gateway(self.user_agent) or is_switch(self.user_agent):
            return "gateway"
        return "phone" if self.begins else "far-end"


def _play(roles: Mapping[int, _Role], lanes: Mapping[tuple[str, int], Lane], exchanges: Sequence[Exchange]) -> None:
    parents = {id(exchange.parent) for exchange in exchanges if exchange.parent}
    for exchange in exchanges:
        client = roles[id(lanes[exchange.client])] if exchange.client in lanes else None
        server = roles[id(lanes[exchange.server])] if exchange.server in lanes else None
        transaction = exchange.transaction
        begins = exchange.parent is None and len(exchange.path) <= 1 and not transaction.in_dialog
        if client and exchange.parent:
            client.forwards = True
        if client and begins and transaction.method not in ("CANCEL", "NOTIFY"):
            client.begins = True
            if transaction.method == "INVITE":
                client.began.append((transaction.leg, exchange.first.arrow.time_us))
            if exchange.requests:
                client.user_agent = client.user_agent or exchange.requests[0].arrow.sip.header("user-agent")
        if server is None:
            continue
        ends_here = id(exchange) not in parents
        if ends_here and not transaction.in_dialog and exchange.requests:
            finals = (one.arrow.time_us for one in exchange.responses if one.arrow.sip.status >= 200)
            server.asked.append((transaction.leg, exchange.requests[0].arrow.time_us, min(finals, default=None)))
        for reading in exchange.responses:
            sip = reading.arrow.sip
            if ends_here and transaction.method == "REGISTER" and sip.status >= 200:
                server.registers = True
            if len(exchange.path) <= 1 and sip.status in (401, 407):
                server.challenges = True
            if sip.status == 100 or (ends_here and _straight_from(reading)):
                server.user_agent = server.user_agent or sip.header("server") or sip.header("user-agent")


def _straight_from(response: Reading) -> bool:
    """Not passed on by a node whose other side the capture lacks: the Contact is the sender's own, or there is none."""
    contacts = response.arrow.sip.addresses("contact")
    return not contacts or contacts[0].uri.host == response.source[0]


def _only_logged(
    known: Iterable[Participant], nodes: Sequence[NodeInfo], logs: Iterable[LogLine]
) -> list[Participant]:
    """Registered nodes that wrote log lines and sent no SIP, and the billing engines."""
    names = billing_log.by_name(known)
    found: list[Participant] = []

    def add(one: Participant, *also: str) -> None:
        found.append(one)
        names.update(dict.fromkeys((one.id, *also), one))

    lines = list(logs)
    for log in lines:
        node = next((one for one in nodes if log.node == one.name or log.node in one.agents | one.addresses), None)
        if log.node and log.node not in names and node:
            if node.name in names:
                names[log.node] = names[node.name]
            else:
                add(Participant(node.name, node.name, node.kind, [], node.cluster, node.colour), log.node)
    for log in lines:
        if log.kind == billing_log.KIND and (engine := billing_log.engine_lane(log, names)) not in names:
            add(Participant(engine, engine, "billing", [], cluster=True))
    return found
