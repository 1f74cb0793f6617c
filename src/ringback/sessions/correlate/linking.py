"""Legs to sessions: exact links by shared keys, and links by evidence, each with its reason and how sure it is.

The same rules serve legs in memory (all of a capture) and rows of the store, through `LegFacts`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ringback.sessions.keys import UNCERTAIN
from ringback.sessions.story import Link

MOST_LEGS = 20  # of one session
SURE_ENOUGH = 0.5  # evidence weaker than this is not followed
TOGETHER_US = 10_000_000  # legs joined by evidence begin within this time
SUFFIX = 7  # digits of a number that survive rewriting of prefixes
_SHORTEST_TAG = 8
_WINDOW = 50  # earlier legs compared with each leg: bounds the work on a load test


@dataclass(frozen=True, slots=True)
class LegFacts:
    """What linking needs to know of a leg."""

    call_id: str
    started_us: int
    is_call: bool
    keys: Mapping[str, str]  # correlation key -> reason in words, "" where only the key is known
    callers: frozenset[str]  # digits or user names
    called: frozenset[str]
    source: tuple[str, str]  # host and host:port of who sent the first message
    reached: frozenset[str]  # hosts, and host:port, that the leg's requests went to
    tags: frozenset[str] = frozenset()


def exact_links(legs: Sequence[LegFacts]) -> list[Link]:
    """Legs that share a key, or of which one names the other: certain. One link a pair, from the earlier leg to the later."""
    by_id = {leg.call_id: leg for leg in legs}
    holders: dict[str, list[LegFacts]] = defaultdict(list)
    for leg in legs:
        for key in leg.keys:
            if not key.startswith(UNCERTAIN):
                holders[key].append(leg)
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key, sharing in holders.items():
        named = by_id.get(key.removeprefix("cid:")) if key.startswith("cid:") else None
        hub = named or min(sharing, key=_order)
        for leg in sharing:
            if leg is not hub:
                one, other = sorted((hub, leg), key=_order)
                because = leg.keys[key] or _plainly(key)
                if because not in reasons[one.call_id, other.call_id]:
                    reasons[one.call_id, other.call_id].append(because)
    return [Link(one, other, "; ".join(because), 1.0) for (one, other), because in reasons.items()]


def _order(leg: LegFacts) -> tuple[int, str]:
    return leg.started_us, leg.call_id


def _plainly(key: str) -> str:
    match key.partition(":")[0]:
        case "cid":
            return "one names the Call-ID of the other"
        case "session-id":
            return "same Session-ID"
        case "icid":
            return "same charging id (icid)"
        case "conf":
            return "same billing session"
        case "refer":
            return "REFER and the call it asked for"
        case other:
            return f"same {other}"


def uncertain_links(legs: Sequence[LegFacts], joined: Iterable[Link] = ()) -> list[Link]:
    """For every call leg the most likely earlier leg it goes on from, unless the `joined` links connect the two already.

    The earlier leg must have gone to where the later one comes from; that alone proves nothing, so numbers, SDP origin or
    tags must agree as well.
    """
    components = Components(leg.call_id for leg in legs)
    for link in joined:
        components.join(link.from_call_id, link.to_call_id)
    ordered = sorted((leg for leg in legs if leg.is_call), key=_order)
    arrived: dict[str, list[tuple[int, int]]] = defaultdict(
        list
    )  # host or socket -> (start, position) of legs that went there
    for position, leg in enumerate(ordered):
        for place in leg.reached:
            arrived[place].append((leg.started_us, position))
    found = []
    for leg in ordered:
        best: tuple[float, int, LegFacts, list[str]] | None = None
        for before in _candidates(leg, ordered, arrived):
            if components.connected(before.call_id, leg.call_id):
                best = None
                break
            confidence, because = _evidence(before, leg)
            if confidence >= SURE_ENOUGH and (best is None or (confidence, before.started_us) > best[:2]):
                best = (confidence, before.started_us, before, because)
        if best:
            confidence, _, before, because = best
            where = f"it went to {leg.source[0]}, where this one comes from"
            found.append(Link(before.call_id, leg.call_id, "; ".join([*because, where]), round(confidence, 2)))
            components.join(before.call_id, leg.call_id)
    return found


def _candidates(
    leg: LegFacts, ordered: Sequence[LegFacts], arrived: Mapping[str, list[tuple[int, int]]]
) -> list[LegFacts]:
    """Legs that began up to 10 s before, in a place this one comes from."""
    host, socket = leg.source
    candidates: dict[str, LegFacts] = {}
    for place in (host, socket):
        arrivals = arrived.get(place, [])
        first = bisect_left(arrivals, (leg.started_us - TOGETHER_US, -1))
        last = bisect_left(arrivals, (leg.started_us, len(ordered)))
        for _, position in arrivals[max(first, last - _WINDOW) : last]:
            before = ordered[position]
            # On one host only the port tells whether the leg went there.
            if before is not leg and (place == socket or before.source[0] != host):
                candidates[before.call_id] = before
    return list(candidates.values())


def _evidence(before: LegFacts, after: LegFacts) -> tuple[float, list[str]]:
    doubt, because = 1.0, []
    number, how_sure = _same_numbers(before, after)
    if how_sure:
        doubt *= 1 - how_sure
        because.append(number)
    origins = {key for key in before.keys if key.startswith(UNCERTAIN)}
    if origins & after.keys.keys():
        doubt *= 0.3
        because.append("same SDP origin")
    if any(_contained(one, other) for one in before.tags for other in after.tags):
        doubt *= 0.3
        because.append("a tag of one stands in a tag of the other")
    if because:
        seconds = abs(after.started_us - before.started_us) / 1e6
        because.append(f"began {seconds:.3f} s apart" if seconds < 1 else f"began {seconds:.1f} s apart")
    return min(0.95, 1 - doubt), because


def _same_numbers(before: LegFacts, after: LegFacts) -> tuple[str, float]:
    called, callers = _shared(before.called, after.called), _shared(before.callers, after.callers)
    if called and callers:
        return f"same caller and same called number (…{called})", 0.8 if len(called) >= SUFFIX else 0.65
    if called and len(called) >= SUFFIX:
        return f"same called number (…{called})", 0.7
    if callers and len(callers) >= SUFFIX:
        return f"same caller (…{callers})", 0.5
    return "", 0.0


def _shared(one: frozenset[str], other: frozenset[str]) -> str:
    """What two numbers have in common at their end, or the whole of a short one; the longest first."""
    return max(
        {number[-SUFFIX:] for number in one} & {number[-SUFFIX:] for number in other}, key=_by_length, default=""
    )


def _by_length(text: str) -> tuple[int, str]:
    return len(text), text


def _contained(one: str, other: str) -> bool:
    shorter, longer = sorted((one, other), key=len)
    return len(shorter) >= _SHORTEST_TAG and shorter in longer


class Components:
    """Which Call-IDs stand together."""

    def __init__(self, call_ids: Iterable[str]) -> None:
        self._parent = {call_id: call_id for call_id in call_ids}

    def find(self, call_id: str) -> str:
        while self._parent[call_id] != call_id:
            self._parent[call_id] = self._parent[self._parent[call_id]]
            call_id = self._parent[call_id]
        return call_id

    def connected(self, one: str, other: str) -> bool:
        return self.find(one) == self.find(other)

    def join(self, one: str, other: str) -> None:
        self._parent[self.find(other)] = self.find(one)


def sessions_of(legs: Sequence[LegFacts], links: Sequence[Link]) -> list[tuple[list[str], list[str]]]:
    """(Call-IDs in order of start, notes) of every session: legs that links hold together, at most MOST_LEGS in one.

    A larger one is cut into parts of that size, each with a note.
    """
    components = Components(leg.call_id for leg in legs)
    for link in links:
        components.join(link.from_call_id, link.to_call_id)
    together: dict[str, list[str]] = defaultdict(list)
    for leg in sorted(legs, key=_order):
        together[components.find(leg.call_id)].append(leg.call_id)
    found = []
    for call_ids in together.values():
        for start in range(0, len(call_ids), MOST_LEGS):
            part = call_ids[start : start + MOST_LEGS]
            notes = []
            if len(call_ids) > MOST_LEGS:
                notes = [f"{len(call_ids)} legs are linked; these are {start + 1} to {start + len(part)} of them."]
            found.append((part, notes))
    return found
