"""How far a billing engine's clock is from the nodes': a node asks after a request came, and answers after the decision.

The least correction that puts the lines of a session between these messages; none where no correction would.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from ringback.sessions import billing_log
from ringback.sessions.story import Arrow, Entry

MOST_LINES = 400  # that are looked at: each is held against all messages
MOST_US = 2_000_000  # a clock further off is not put right by guessing


def corrections(entries: Iterable[Entry], arrows: Sequence[Arrow]) -> dict[str, int]:
    """Microseconds to add, by the id of the engine's lane; engines whose lines stand well are left out."""
    at_least: dict[str, list[int]] = defaultdict(list)
    at_most: dict[str, list[int]] = defaultdict(list)
    asked: dict[tuple[str, str], tuple[int, int]] = {}  # leg and node -> when the engine was asked, and why
    exchanged = (one for one in entries if one.log and billing_log.step_of(one.log) in ("request", "decision"))
    for entry in sorted(exchanged, key=lambda one: one.time_us)[:MOST_LINES]:
        leg, step = entry.log.call_id if entry.log else "", billing_log.step_of(entry.log) if entry.log else ""
        if step == "request" and entry.destination:
            arrival = _nearest(arrows, leg, entry.source, entry.time_us)
            if arrival is not None:
                asked[leg, entry.source] = entry.time_us, arrival.time_us
                at_least[entry.destination].append(arrival.time_us - entry.time_us)
        elif step == "decision" and (leg, entry.destination) in asked:
            answer = _answer(arrows, leg, entry.destination, asked.pop((leg, entry.destination))[1])
            if answer is not None:
                at_most[entry.source].append(answer.time_us - 1 - entry.time_us)
    found = {}
    for engine, least in at_least.items():
        low, high = max(least), min(at_most.get(engine, [MOST_US]))
        if low <= high and not low <= 0 <= high:
            shift = low if low > 0 else high
            if abs(shift) <= MOST_US:
                found[engine] = shift
    return found


def _nearest(arrows: Sequence[Arrow], leg: str, node: str, time_us: int) -> Arrow | None:
    """The request of the leg that reached the node next to that moment, retransmissions and ACKs left out."""
    came = [
        one for one in arrows
        if one.leg == leg and one.destination == node and one.sip.is_request and one.sip.method not in ("ACK", "CANCEL")
        and not one.is_retransmission
    ]  # fmt: skip
    return min(came, key=lambda one: abs(one.time_us - time_us), default=None)


def _answer(arrows: Sequence[Arrow], leg: str, node: str, since_us: int) -> Arrow | None:
    """What the node did next about it: passed it on, or refused."""
    for one in arrows:
        if one.leg == leg and one.source == node and one.time_us >= since_us:
            if one.sip.is_request and one.sip.method not in ("ACK", "CANCEL"):
                return one
            if one.sip.status >= 300:
                return one
    return None
