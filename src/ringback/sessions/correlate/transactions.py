"""Arrows to transactions: hop by hop, and which one a proxy forwarded from which (RFC 3261 sections 16.6, 16.7, 17).

Two messages belong to one transaction when sockets, top Via branch, CSeq number and method agree. Where a sender left out
the branch (RFC 2543) its sent-by address stands for it. A request whose lower Via values are all those of another request
came from that one, by way of hops that were not captured where more than one Via was added.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ringback.sessions.capture.sip import SipMessage, Via
from ringback.sessions.correlate.arrows import Socket, ends
from ringback.sessions.story import Arrow, Transaction


@dataclass(slots=True)
class Reading:
    """An arrow with what its headers say about its place. All arrows of the same bytes share the values."""

    arrow: Arrow
    source: Socket
    destination: Socket
    vias: tuple[Via, ...]
    path: tuple[str, ...]  # a token for every Via, top first
    from_tag: str
    to_tag: str


@dataclass(slots=True)
class Exchange:
    """A transaction in the making: arrows with their readings, and the sockets of its ends."""

    transaction: Transaction
    client: Socket
    server: Socket
    path: tuple[str, ...]
    from_tag: str
    requests: list[Reading] = field(default_factory=list)
    responses: list[Reading] = field(default_factory=list)
    acks: list[Reading] = field(default_factory=list)
    parent: Exchange | None = None
    cancel: Exchange | None = None

    @property
    def key(self) -> tuple[str, int, str]:
        return self.transaction.leg, self.transaction.cseq, self.transaction.method

    @property
    def first(self) -> Reading:
        return (self.requests or self.responses)[0]


def read(arrows: Sequence[Arrow]) -> list[Reading]:
    """One reading an arrow. Arrows of one message (`sip` is the same object) are looked into once."""
    known: dict[int, tuple[tuple[Via, ...], tuple[str, ...], str, str]] = {}
    readings = []
    for arrow in arrows:
        found = known.get(id(arrow.sip))
        if found is None:
            vias = tuple(arrow.sip.vias)
            found = known[id(arrow.sip)] = (vias, tuple(map(_token, vias)), arrow.sip.from_tag, arrow.sip.to_tag)
        source, destination = ends(arrow.hop)
        readings.append(Reading(arrow, source, destination, *found))
    return readings


def _token(via: Via) -> str:
    return via.branch if via.branch not in ("", "0") else f"{via.host}:{via.port or ''}"


def exchanges_of(readings: Iterable[Reading]) -> list[Exchange]:
    """All transactions, in order of their first message; the readings come in order of time.

    An ACK without its INVITE makes none; a response without its request makes one whose `request` is None.
    """
    table = _Table()
    responses, acks = [], []
    for reading in readings:
        if not reading.arrow.sip.is_request:
            responses.append(reading)
        elif reading.arrow.sip.method == "ACK":
            acks.append(reading)
        else:
            table.request(reading)
    for reading in responses:
        table.response(reading)
    for reading in acks:
        table.ack(reading)
    exchanges = sorted(table.exchanges, key=lambda exchange: exchange.first.arrow.time_us)
    _find_parents(exchanges)
    _find_cancels(exchanges)
    return exchanges


_Key = tuple[str, int, str, str, Socket, Socket]


class _Table:
    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self._exact: dict[_Key, Exchange] = {}
        self._by_branch: dict[tuple[str, int, str, str], list[Exchange]] = defaultdict(list)
        self._invites: dict[tuple[str, int], list[Exchange]] = defaultdict(list)

    def request(self, reading: Reading) -> None:
        exchange = self._find_or_make(reading, reading.source, reading.destination)
        exchange.requests.append(reading)

    def response(self, reading: Reading) -> None:
        exchange = self._exact.get(_key(reading.arrow.sip, reading.path, reading.destination, reading.source))
        if exchange is None:
            exchange = self._asymmetric(reading) or self._find_or_make(reading, reading.destination, reading.source)
        exchange.responses.append(reading)

    def ack(self, reading: Reading) -> None:
        """To a non-2xx: the branch of the INVITE. To a 2xx: a branch of its own, so the hop and the CSeq must do."""
        sip = reading.arrow.sip
        same_branch = self._exact.get(
            (sip.call_id, sip.cseq, "INVITE", _top(reading), reading.source, reading.destination)
        )
        if same_branch:
            same_branch.acks.append(reading)
            return
        candidates = [
            exchange
            for exchange in self._invites[sip.call_id, sip.cseq]
            if exchange.from_tag == reading.from_tag and _awaits(exchange, reading)
        ]
        if candidates:
            max(candidates, key=lambda exchange: _nearness(exchange, reading)).acks.append(reading)

    def _asymmetric(self, reading: Reading) -> Exchange | None:
        """The request of a response that took other ports or addresses."""
        sip = reading.arrow.sip
        candidates = [
            exchange
            for exchange in self._by_branch.get((sip.call_id, sip.cseq, sip.method, _top(reading)), ())
            if exchange.client[0] == reading.destination[0] or exchange.server[0] == reading.source[0]
        ]
        if not candidates:
            return None
        return max(
            candidates,
            key=lambda exchange: (
                exchange.client == reading.destination, exchange.server == reading.source,
                exchange.client[0] == reading.destination[0], exchange.server[0] == reading.source[0],
            ),
        )  # fmt: skip

    def _find_or_make(self, reading: Reading, client: Socket, server: Socket) -> Exchange:
        sip = reading.arrow.sip
        key = _key(sip, reading.path, client, server)
        exchange = self._exact.get(key)
        if exchange is None:
            transaction = Transaction(
                index=0, leg=sip.call_id, method=sip.method, cseq=sip.cseq,
                branch=reading.vias[0].branch if reading.vias else "",
                source="", destination="", request=None,
                in_dialog=sip.is_request and bool(reading.to_tag),
            )  # fmt: skip
            exchange = Exchange(transaction, client, server, reading.path, reading.from_tag)
            self._exact[key] = exchange
            self.exchanges.append(exchange)
            self._by_branch[sip.call_id, sip.cseq, sip.method, _top(reading)].append(exchange)
            if sip.method == "INVITE":
                self._invites[sip.call_id, sip.cseq].append(exchange)
        return exchange


def _top(reading: Reading) -> str:
    return reading.path[0] if reading.path else ""


def _key(sip: SipMessage, path: tuple[str, ...], client: Socket, server: Socket) -> _Key:
    return sip.call_id, sip.cseq, sip.method, path[0] if path else "", client, server


def _awaits(exchange: Exchange, ack: Reading) -> bool:
    """A 2xx with the ACK's To tag came; or nothing final did, and the ACK takes the same hop (the capture may lack it)."""
    finals = [reading for reading in exchange.responses if reading.arrow.sip.status >= 200]
    if not finals:
        return exchange.client == ack.source and exchange.server == ack.destination
    return any(reading.arrow.sip.status < 300 and reading.to_tag == ack.to_tag for reading in finals)


def _nearness(exchange: Exchange, ack: Reading) -> tuple[bool, bool, bool, bool]:
    return (
        exchange.client == ack.source and exchange.server == ack.destination,
        exchange.client[0] == ack.source[0] and exchange.server[0] == ack.destination[0],
        exchange.client == ack.source,
        exchange.server == ack.destination,
    )


def _find_parents(exchanges: Sequence[Exchange]) -> None:
    by_path: dict[tuple[tuple[str, int, str], tuple[str, ...]], list[Exchange]] = defaultdict(list)
    for exchange in exchanges:
        by_path[exchange.key, exchange.path].append(exchange)
    for exchange in exchanges:
        for shorter in range(1, len(exchange.path)):
            before = by_path.get((exchange.key, exchange.path[shorter:]))
            if before:
                exchange.parent = max(
                    before, key=lambda one: (one.server[0] == exchange.client[0], bool(one.requests))
                )
                break
    for same_path in by_path.values():
        # The same message on a further hop: what relays it adds no Via (a NAT, a transparent SBC).
        for nearer, further in pairwise(same_path):
            if further.client[0] != nearer.client[0] and nearer.path:
                further.parent = nearer


def _find_cancels(exchanges: Sequence[Exchange]) -> None:
    """CANCEL is made anew on every hop: its parent is the CANCEL of the INVITE's parent."""
    cancels = {
        (
            exchange.transaction.leg,
            exchange.transaction.cseq,
            exchange.path[:1],
            exchange.client,
            exchange.server,
        ): exchange
        for exchange in exchanges
        if exchange.transaction.method == "CANCEL"
    }
    invites = [exchange for exchange in exchanges if exchange.transaction.method == "INVITE"]
    for invite in invites:
        transaction = invite.transaction
        invite.cancel = cancels.get(
            (transaction.leg, transaction.cseq, invite.path[:1], invite.client, invite.server)
        )
    for invite in invites:
        if invite.cancel and invite.parent and invite.parent.cancel and not invite.cancel.parent:
            invite.cancel.parent = invite.parent.cancel


def finish(exchanges: Sequence[Exchange]) -> list[Transaction]:
    """Fill the transactions from their exchanges, once the arrows are in story order and have numbers."""
    ordered = sorted(
        exchanges, key=lambda exchange: min(r.arrow.number for r in exchange.requests + exchange.responses)
    )
    for index, exchange in enumerate(ordered):
        exchange.transaction.index = index
    for exchange in ordered:
        transaction = exchange.transaction
        transaction.requests = _in_order(exchange.requests)
        transaction.request = transaction.requests[0] if transaction.requests else None
        responses = _in_order(exchange.responses)
        transaction.provisional = [arrow for arrow in responses if arrow.sip.status < 200]
        transaction.finals = [arrow for arrow in responses if arrow.sip.status >= 200]
        transaction.final = transaction.finals[0] if transaction.finals else None
        transaction.acks = _in_order(exchange.acks)
        transaction.parent = exchange.parent.transaction.index if exchange.parent else None
        transaction.cancelled_by = exchange.cancel.transaction.index if exchange.cancel else None
        first = exchange.first
        forwards = bool(exchange.requests)
        transaction.source = first.arrow.source if forwards else first.arrow.destination
        transaction.destination = first.arrow.destination if forwards else first.arrow.source
        for arrow in (*transaction.requests, *responses, *transaction.acks):
            arrow.transaction = transaction.index
    return [exchange.transaction for exchange in ordered]


def _in_order(readings: list[Reading]) -> list[Arrow]:
    return sorted((reading.arrow for reading in readings), key=lambda arrow: arrow.number)
