"""Sightings to arrows: one message on one hop, however many probes saw it and however often one probe reported it.

Same addresses, ports and bytes from different capture agents within 500 ms are one arrow. The same bytes again from the
same agent are a retransmission, unless they are one packet captured twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from ringback.sessions.capture.sip import SipMessage
from ringback.sessions.correlate.clocks import Delta
from ringback.sessions.story import CUT_BY_CAPTURE, IP_ID_KNOWN, IP_ID_MASK, Arrow, Hop, Sighting

PAIRING_US = 500_000  # between two agents' stamps of one message, their clocks corrected
_SAME_PACKET_US = 5_000  # one agent, one IP identification: captured on two interfaces
_SAME_STAMP_US = 10_000  # no timer is as short; Kamailio traces an ACK twice, a time slice apart when it is busy
_MOST_COMPARED = (
    16  # arrows of one message within 500 ms; more are a flood, and must not cost the square of their number
)


@dataclass(slots=True)
class SameBytes:
    """All sightings of the same bytes on the same hop, in order of their stamps."""

    sip: SipMessage
    sightings: list[Sighting]


Socket = tuple[str, int]


def ends(hop: Hop) -> tuple[Socket, Socket]:
    return (hop.source, hop.source_port), (hop.destination, hop.destination_port)


def group(sightings: Iterable[Sighting], messages: Mapping[bytes, SipMessage]) -> list[SameBytes]:
    """`messages` holds the parse of every payload. The order of the input does not matter."""
    groups: dict[tuple[str, int, str, int, bytes], SameBytes] = {}
    cut = []
    for sighting in sorted(sightings, key=_stable):
        if sighting.marks & CUT_BY_CAPTURE:
            cut.append(sighting)
            continue
        hop = sighting.hop
        key = (hop.source, hop.source_port, hop.destination, hop.destination_port, sighting.payload)
        found = groups.get(key)
        if found is None:
            groups[key] = SameBytes(messages[sighting.payload], [sighting])
        else:
            found.sightings.append(sighting)
    for sighting in cut:
        hop = sighting.hop
        key = (hop.source, hop.source_port, hop.destination, hop.destination_port, sighting.payload)
        found = groups.get(key) or next(
            (whole for other, whole in groups.items() if other[:4] == key[:4] and other[4].startswith(key[4])), None
        )
        if found is None:
            groups[key] = SameBytes(messages[sighting.payload], [sighting])
        else:
            found.sightings.append(sighting)
            found.sightings.sort(key=_stable)
    return list(groups.values())


def _stable(sighting: Sighting) -> tuple[int, str, str, int, str, int, str, bytes, int, str]:
    hop = sighting.hop
    return (
        sighting.time_us, hop.agent, hop.source, hop.source_port, hop.destination, hop.destination_port, hop.transport,
        sighting.payload, sighting.marks, sighting.correlation,
    )  # fmt: skip


def agents_of(groups: Iterable[SameBytes]) -> set[str]:
    return {sighting.hop.agent for same in groups for sighting in same.sightings}


def deltas(groups: Iterable[SameBytes]) -> list[Delta]:
    """What every two agents that saw the same bytes stamped, one against the other.

    Messages that both saw equally often pair up one to one. Only where two agents have none of these do the first stamps
    of the others count, and only both ways: one of the two may have missed the first transmission.
    """
    certain: list[Delta] = []
    likely: list[Delta] = []
    for same in groups:
        by_agent: dict[str, list[int]] = defaultdict(list)
        for sighting in same.sightings:
            by_agent[sighting.hop.agent].append(sighting.time_us)
        if len(by_agent) > 1:
            source, destination = ends(same.sightings[0].hop)
            for first, second in combinations(sorted(by_agent), 2):
                stamps = list(zip(by_agent[first], by_agent[second], strict=False))
                equal = len(by_agent[first]) == len(by_agent[second])
                found = [(first, second, source < destination, later - earlier) for earlier, later in stamps]
                certain += found if equal else []
                likely += found[:1]
    known = {delta[:2] for delta in certain}
    ways = {delta[:3] for delta in likely}
    both = {(first, second) for first, second, way in ways if (first, second, not way) in ways}
    return certain + [delta for delta in likely if delta[:2] in both - known]


def arrows_of(same: SameBytes, corrections: Mapping[str, int]) -> list[Arrow]:
    """The arrows of one group, first transmission first; `number` and `transaction` are yet to be set."""
    timed = sorted(
        ((sighting.time_us + corrections[sighting.hop.agent], sighting) for sighting in same.sightings),
        key=lambda pair: (pair[0], pair[1].hop.agent),
    )
    bundles: list[list[tuple[int, Sighting]]] = []
    for time_us, sighting in timed:
        bundle = _bundle_for(time_us, sighting, bundles)
        if bundle is None:
            bundles.append([(time_us, sighting)])
        else:
            bundle.append((time_us, sighting))
    return [_arrow(same.sip, bundle) for bundle in bundles]


def _bundle_for(
    time_us: int, sighting: Sighting, bundles: list[list[tuple[int, Sighting]]]
) -> list[tuple[int, Sighting]] | None:
    """The nearest arrow in time that this sighting may belong to."""
    for bundle in reversed(bundles[-_MOST_COMPARED:]):
        if time_us - bundle[0][0] > PAIRING_US:
            return None
        earlier = [pair for pair in bundle if pair[1].hop.agent == sighting.hop.agent]
        if not earlier or _captured_twice(time_us - earlier[-1][0], earlier[-1][1], sighting):
            return bundle
    return None


def _captured_twice(apart_us: int, first: Sighting, second: Sighting) -> bool:
    if first.marks & second.marks & IP_ID_KNOWN:
        return apart_us <= _SAME_PACKET_US and first.marks & IP_ID_MASK == second.marks & IP_ID_MASK
    return apart_us <= _SAME_STAMP_US


def _arrow(sip: SipMessage, bundle: list[tuple[int, Sighting]]) -> Arrow:
    whole = [sighting for _, sighting in bundle if not sighting.marks & CUT_BY_CAPTURE]
    shown = whole[0] if whole else bundle[0][1]
    marks = 0
    for _, sighting in bundle:
        marks |= sighting.marks & ~(IP_ID_KNOWN | IP_ID_MASK)
    if whole:
        marks &= ~CUT_BY_CAPTURE
    others = [sighting for _, sighting in bundle if sighting is not shown]
    return Arrow(
        number=0,
        time_us=bundle[0][0],
        observed_us=shown.time_us,
        hop=shown.hop,
        sip=sip,
        payload=shown.payload,
        leg=sip.call_id,
        sightings=[shown, *others],
        marks=marks,
    )
