"""What must have happened before what, and the order of a story that obeys it.

Causality first, time second: an arrow waits for those that caused it, as long as its stamp is not earlier than theirs by more
than a tolerance. Beyond that the capture contradicts SIP (a branch used twice, a file put together from several) and the
stamps win.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from ringback.sessions.correlate.clocks import Wait
from ringback.sessions.correlate.transactions import Exchange, Reading
from ringback.sessions.story import Arrow

CERTAIN_US = 1_000_000  # nothing but a wrong clock makes a response older than its request
USUAL_US = 20_000  # a late provisional response, a BYE that overtakes the ACK: packets do change places


class Cause(NamedTuple):
    before: Arrow
    after: Arrow
    tolerance_us: int


def causes(exchanges: Sequence[Exchange], bundles: Iterable[Sequence[Arrow]]) -> list[Cause]:
    """Every pair of arrows of which one caused the other. `bundles`: a message and its retransmissions."""
    found = [Cause(*pair, CERTAIN_US) for bundle in bundles for pair in pairwise(bundle)]
    followers: dict[tuple[object, ...], list[Exchange]] = defaultdict(list)
    for exchange in exchanges:
        found += _within(exchange)
        if exchange.parent:
            found += _forwarded(exchange.parent, exchange)
        if exchange.cancel:
            found += _cancelled(exchange, exchange.cancel)
        followers[exchange.transaction.leg, exchange.client, exchange.server, exchange.from_tag].append(exchange)
    for dialog in followers.values():
        found += _in_sequence(dialog)
    found += _acknowledged(exchanges)
    return found


def _within(exchange: Exchange) -> Iterable[Cause]:
    finals = [reading.arrow for reading in exchange.responses if reading.arrow.sip.status >= 200]
    if exchange.requests:
        request = exchange.requests[0].arrow
        for reading in exchange.responses:
            yield Cause(request, reading.arrow, CERTAIN_US)
    if finals:
        for reading in exchange.responses:
            if reading.arrow.sip.status < 200:
                yield Cause(reading.arrow, finals[0], USUAL_US)
        for ack in exchange.acks:
            yield Cause(finals[0], ack.arrow, CERTAIN_US)


def _forwarded(parent: Exchange, child: Exchange) -> Iterable[Cause]:
    if parent.requests and child.requests:
        yield Cause(parent.requests[0].arrow, child.requests[0].arrow, CERTAIN_US)
    passed_on = _first_of_each(parent.responses)
    for what, reading in _first_of_each(child.responses).items():
        if what in passed_on:
            yield Cause(reading.arrow, passed_on[what].arrow, CERTAIN_US)


def _first_of_each(responses: Sequence[Reading]) -> dict[tuple[int, str], Reading]:
    """The first response of each status and To tag; 100 stays on its hop."""
    found: dict[tuple[int, str], Reading] = {}
    for reading in responses:
        if reading.arrow.sip.status > 100:
            found.setdefault((reading.arrow.sip.status, reading.to_tag), reading)
    return found


def _cancelled(invite: Exchange, cancel: Exchange) -> Iterable[Cause]:
    if cancel.requests:
        request = cancel.requests[0].arrow
        if invite.requests:
            yield Cause(invite.requests[0].arrow, request, CERTAIN_US)
        for reading in invite.responses:
            if reading.arrow.sip.status == 487:
                yield Cause(request, reading.arrow, USUAL_US)


def _in_sequence(dialog: Sequence[Exchange]) -> Iterable[Cause]:
    """Requests of one client on one hop: a later CSeq comes later, and after the challenge it answers."""
    ordered = sorted((one for one in dialog if one.requests), key=lambda one: one.transaction.cseq)
    for before, after in pairwise(ordered):
        if before.transaction.cseq == after.transaction.cseq:
            continue
        request = after.requests[0].arrow
        yield Cause(before.requests[0].arrow, request, USUAL_US)
        for reading in before.responses:
            if reading.arrow.sip.status in (401, 407):
                yield Cause(reading.arrow, request, USUAL_US)
                break
        if after.transaction.method == "BYE":
            for ack in before.acks[:1]:
                yield Cause(ack.arrow, request, USUAL_US)


def _acknowledged(exchanges: Sequence[Exchange]) -> Iterable[Cause]:
    """An ACK to a 2xx is no transaction; what forwarded it added a Via all the same. PRACK follows what it acknowledges."""
    acks: dict[tuple[str, int, tuple[str, ...]], Reading] = {}
    for exchange in exchanges:
        for reading in exchange.acks:
            acks.setdefault((reading.arrow.leg, reading.arrow.sip.cseq, reading.path), reading)
    for (leg, cseq, path), reading in acks.items():
        origin = acks.get((leg, cseq, path[1:])) if len(path) > 1 else None
        if origin:
            yield Cause(origin.arrow, reading.arrow, CERTAIN_US)
    reliable = {
        (exchange.client, exchange.server, exchange.transaction.leg, rseq): reading.arrow
        for exchange in exchanges
        for reading in reversed(exchange.responses)
        if reading.arrow.sip.status < 200 and (rseq := reading.arrow.sip.header("rseq"))
    }
    for exchange in exchanges:
        if exchange.transaction.method == "PRACK" and exchange.requests:
            rseq = exchange.requests[0].arrow.sip.header("rack").partition(" ")[0]
            response = reliable.get((exchange.client, exchange.server, exchange.transaction.leg, rseq))
            if response:
                yield Cause(response, exchange.requests[0].arrow, CERTAIN_US)


def waits(causes_: Iterable[Cause]) -> list[Wait]:
    """The certain causes and effects that different agents saw, with the raw stamps."""
    found = []
    for before, after, tolerance in causes_:
        if tolerance < CERTAIN_US:
            continue
        seen_by = {sighting.hop.agent: sighting.time_us for sighting in reversed(before.sightings)}
        for sighting in after.sightings:
            if sighting.hop.agent not in seen_by:
                found += [(agent, sighting.hop.agent, sighting.time_us - time) for agent, time in seen_by.items()]
    return found


def in_order(readings: Sequence[Reading], causes_: Iterable[Cause]) -> list[Reading]:
    """The readings in the order of the story, `time_us` of an arrow raised to that of its latest cause where it was earlier.

    Arrows of equal time come in an order that depends on nothing but what they are.
    """
    position = {id(reading.arrow): index for index, reading in enumerate(readings)}
    waiting = [0] * len(readings)
    effects: list[list[int]] = [[] for _ in readings]
    for before, after, tolerance in causes_:
        if before is not after and before.time_us - after.time_us <= tolerance:
            effects[position[id(before)]].append(position[id(after)])
            waiting[position[id(after)]] += 1
    ready = [(rank(reading), index) for index, reading in enumerate(readings) if not waiting[index]]
    heapq.heapify(ready)
    ordered: list[Reading] = []
    left = set(range(len(readings)))
    while left:
        # A circle of causes takes hostile bytes to make; the earliest of it goes first.
        index = heapq.heappop(ready)[1] if ready else min(left, key=lambda one: (rank(readings[one]), one))
        if index not in left:
            continue
        left.remove(index)
        ordered.append(readings[index])
        for effect in effects[index]:
            arrow = readings[effect].arrow
            arrow.time_us = max(arrow.time_us, readings[index].arrow.time_us)
            waiting[effect] -= 1
            if not waiting[effect]:
                heapq.heappush(ready, (rank(readings[effect]), effect))
    return ordered


def rank(reading: Reading) -> tuple[int, bool, str, int, str, int, bytes]:
    """By time; at one time requests first, then whatever order is always the same."""
    arrow = reading.arrow
    return (arrow.time_us, not arrow.sip.is_request, *reading.source, *reading.destination, arrow.payload)
