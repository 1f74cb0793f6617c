"""What the capture does not hold though it must have been sent: the reason to say less."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ringback.sessions.diagnose.facts.attempts import Attempt
from ringback.sessions.diagnose.facts.legs import LegFacts
from ringback.sessions.story import CUT_BY_CAPTURE, Arrow, Session, Transaction

MAX_SHOWN = 8  # of one kind; a capture that lost every second message has hundreds


@dataclass(frozen=True, slots=True)
class Gap:
    leg: str
    kind: str  # beginning request answer hop cseq
    arrow: Arrow  # the message that shows it
    why: str  # "the request to this response is missing"


def gaps_of(session: Session, legs: Mapping[str, LegFacts]) -> tuple[Gap, ...]:
    found: list[Gap] = []
    arrows = {arrow.number: arrow for arrow in session.arrows}
    orphans = [hop for hop in session.transactions if hop.request is None and hop.method != "ACK"]
    for leg in legs.values():
        beginning = _beginning(arrows, leg)
        if beginning:
            found.append(beginning)
            continue  # the rest follows from it
        found += _requests(leg, orphans)
        found += _answers(leg)
        found += _hops(leg)
        found += _jumps(leg)
    return tuple(found)


def truncated_of(session: Session) -> tuple[Arrow, ...]:
    """Messages of which bytes are missing, retransmissions left out."""
    return tuple(
        arrow
        for arrow in session.arrows
        if (arrow.sip.truncated or arrow.marks & CUT_BY_CAPTURE) and not arrow.is_retransmission
    )


def _beginning(arrows: Mapping[int, Arrow], leg: LegFacts) -> Gap | None:
    """The capture begins inside the leg: its first request already belongs to a dialog, or is missing."""
    if not leg.leg.arrows:
        return None
    if leg.tries and leg.tries[0].attempt.request is not None:
        return None
    first = arrows[leg.leg.arrows[0]]
    if leg.tries:
        return Gap(leg.leg.call_id, "beginning", first, "the request that began this is missing")
    if (
        first.sip.is_request
        and not first.sip.to_tag
        and first.sip.method not in ("ACK", "BYE", "CANCEL", "PRACK", "UPDATE")
    ):
        return None
    return Gap(leg.leg.call_id, "beginning", first, "the capture begins inside this dialog")


def _requests(leg: LegFacts, orphans: Sequence[Transaction]) -> Iterator[Gap]:
    for hop in orphans:
        shown = next(iter([*hop.provisional, *hop.finals]), None)
        if hop.leg == leg.leg.call_id and shown:
            yield Gap(hop.leg, "request", shown, f"the {hop.method} to which this responds is missing")


def _answers(leg: LegFacts) -> Iterator[Gap]:
    """Requests of a dialog that no captured response set up."""
    if leg.dialog or leg.method != "INVITE" or not leg.tries:
        return
    confirmed = next(
        (one.request for one in leg.attempts if one.method == "BYE" and one.in_dialog and one.request), None
    )
    deciding = leg.tries[-1].attempt
    if confirmed is None and deciding.final is None:
        confirmed = next((ack for hop in deciding.hops for ack in hop.acks), None)
    if confirmed and not leg.cancel:
        yield Gap(leg.leg.call_id, "answer", confirmed, "the final response that must stand before this is missing")


def _hops(leg: LegFacts) -> Iterator[Gap]:
    """A 2xx that was passed on, while the hop it came from shows no final response."""
    for attempt in leg.attempts:
        for hop in attempt.hops:
            branches = attempt.children(hop)
            if not hop.final or hop.final.sip.status >= 300 or not branches:
                continue
            if not any(branch.final for branch in branches):
                yield Gap(attempt.leg, "hop", hop.final, "this was passed on, but not seen on the hop it came from")


def _jumps(leg: LegFacts) -> Iterator[Gap]:
    """CSeq numbers of one sender that leave some out (RFC 3261 section 12.2.1.1: each request adds one)."""
    last: dict[str, int] = {}
    for attempt in leg.attempts:
        before = last.get(attempt.from_tag)
        if before is not None and attempt.cseq > before + 1 and attempt.request and _counts(attempt):
            missing = attempt.cseq - before - 1
            noun = "request is" if missing == 1 else "requests are"
            why = f"CSeq goes from {before} to {attempt.cseq}: {missing} {noun} missing"
            yield Gap(attempt.leg, "cseq", attempt.request, why)
        last[attempt.from_tag] = max(attempt.cseq, before or attempt.cseq)


def _counts(attempt: Attempt) -> bool:
    return attempt.cseq >= 0 and attempt.method != "OPTIONS"
