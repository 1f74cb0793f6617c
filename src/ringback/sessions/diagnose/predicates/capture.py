"""What the capture itself lacks or has wrong, told so that nobody takes it for the session's fault."""

from __future__ import annotations

from ringback.sessions.diagnose.facts import Facts
from ringback.sessions.diagnose.facts.gaps import MAX_SHOWN
from ringback.sessions.diagnose.finding import Finding, remarks
from ringback.sessions.diagnose.wording import counted, duration, listed
from ringback.sessions.story import CUT_BY_CAPTURE, Evidence

SKEW_US = 1_000_000


@remarks("capture-incomplete", "missing")
def capture_incomplete(facts: Facts) -> Finding | None:
    """Responses without requests, requests that only make sense after a response that is not there, CSeq numbers left out."""
    if not facts.gaps:
        return None
    kinds = {
        "beginning": "its beginning",
        "request": "responses without their request",
        "answer": "a final response that must have been there",
        "hop": "responses of a hop whose other messages are there",
        "cseq": "requests, as the CSeq numbers show",
    }
    missing = listed(kinds[gap.kind] for gap in facts.gaps)
    shown = tuple(Evidence(gap.arrow.number, gap.why) for gap in facts.gaps[:MAX_SHOWN])
    sure = all(gap.kind != "cseq" for gap in facts.gaps)
    return Finding("capture-incomplete", shown, {"missing": missing}, 0.95 if sure else 0.7)


@remarks("message-truncated", "count", "why_cut")
def message_truncated(facts: Facts) -> Finding | None:
    """A body shorter than its Content-Length, or bytes that the capture says it cut."""
    if not facts.truncated:
        return None
    cut = [arrow for arrow in facts.truncated if arrow.marks & CUT_BY_CAPTURE]
    why = (
        "The capture cut them: its snap length was too small, or a fragment or segment was lost on the way to it."
        if cut
        else "The capture did not cut them, so the sender's Content-Length is wrong or the network lost the rest."
    )
    shown = []
    for arrow in facts.truncated[:MAX_SHOWN]:
        declared = arrow.sip.content_length
        has = (
            f"{len(arrow.sip.body):,} of {declared:,} bytes of body"
            if declared is not None
            else "its head has no end"
        )
        if not arrow.sip.truncated:  # told by a later copy that is whole
            has = f"the first {len(arrow.payload):,} bytes of it"
        shown.append(Evidence(arrow.number, has))
    values = {"count": counted(len(facts.truncated), "message"), "why_cut": why}
    return Finding("message-truncated", tuple(shown), values)


@remarks("clock-skew", "skews")
def clock_skew(facts: Facts) -> Finding | None:
    """A node whose stamps had to be moved by more than a second to agree with the others."""
    skewed = [one for one in facts.session.participants if abs(one.skew_us) > SKEW_US]
    if not skewed:
        return None
    told = listed(
        f"{one.label} is {duration(abs(one.skew_us))} {'behind' if one.skew_us > 0 else 'ahead'}" for one in skewed
    )
    agents = {agent for one in skewed for agent in one.agents}
    seen = (arrow for arrow in facts.messages() if any(one.hop.agent in agents for one in arrow.sightings))
    first = next(seen, None)
    shown = (Evidence(first.number, "the first message stamped by that clock"),) if first else ()
    return Finding("clock-skew", shown, {"skews": told}, 0.9)
