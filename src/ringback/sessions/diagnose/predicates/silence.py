"""Nothing came back, or only a 100, or nothing to the CANCEL: calls that ended by waiting (RFC 3261 sections 9, 17, 18.1.1)."""

from __future__ import annotations

from ringback.sessions.diagnose.facts import Ending, Facts
from ringback.sessions.diagnose.facts.attempts import Attempt
from ringback.sessions.diagnose.facts.legs import Refusal
from ringback.sessions.diagnose.finding import Finding, evidence, tells_ending
from ringback.sessions.diagnose.telling import ending_values, refusal_evidence, ring_us, target, who
from ringback.sessions.diagnose.wording import duration, said, status, times
from ringback.sessions.story import CUT_BY_CAPTURE, Arrow, Evidence, Transaction

GIVEN_UP_US = 32_000_000  # 64 T1
PATIENCE_US = 3_000_000  # a caller who hangs up sooner has not waited for an answer
RINGING_US = 500_000  # shorter ringing is hardly heard
QUIET_US = 8_000_000  # only a 100 for so long: something is stuck
UDP_PAYLOAD = {4: 1472, 6: 1452}  # what an Ethernet frame of 1,500 bytes carries without fragments, by IP version


@tells_ending("message-too-large", "size", "how")
def message_too_large(facts: Facts, ending: Ending) -> Finding | None:
    """513 or 413; or a UDP request that needs fragments and got no answer: one is missing, or a smaller one was."""
    refusal = ending.refusal
    if refusal and refusal.code in (413, 513):
        request = refusal.origin.hop.request
        how = f"{ending_values(facts, ending)['ended']}: the request is larger than it takes."
        shown = refusal_evidence(facts, ending, refusal)
        return _too_large(facts, ending, request, how, shown, 1.0)
    hop = facts.unheard(ending.attempt) if ending.attempt else None
    if (
        hop is None
        or hop.request is None
        or hop.request.hop.transport != "udp"
        or not _waited(facts, ending, hop, hop.request)
    ):
        return None
    if len(hop.request.payload) <= _limit(hop.request) and not hop.request.sip.truncated:
        return None
    node = who(facts, hop.destination)
    if hop.request.marks & CUT_BY_CAPTURE and all(arrow.marks & CUT_BY_CAPTURE for arrow in hop.requests):
        how = f"A part of it is missing on its way to {node} in every copy ({len(hop.requests)} sent), and nothing came back."
        return _too_large(facts, ending, hop.request, how, evidence((hop.request, "a fragment is missing")), 0.7)
    smaller = _answered_smaller(facts, hop)
    if smaller is None:
        return None
    how = f"{node} answered one of {len(smaller.payload):,} bytes, but none of the {len(hop.requests)} copies of this one."
    shown = evidence(
        (smaller, "smaller, and answered"), (hop.request, "too large for one packet"), (hop.requests[-1], "last copy")
    )
    return _too_large(facts, ending, hop.request, how, shown, 0.85)


def _too_large(
    facts: Facts, ending: Ending, request: Arrow | None, how: str, shown: tuple[Evidence, ...], confidence: float
) -> Finding:
    size = ""
    if request:
        size = f"The {request.sip.method} has {len(request.payload):,} bytes"
        more = request.hop.transport == "udp" and len(request.payload) > _limit(request)
        size += f", more than the {_limit(request):,} that one packet carries." if more else "."
    values = {"size": size, "how": how}
    return Finding(
        "message-too-large", shown, ending_values(facts, ending) | values, confidence, by_absence=confidence < 1
    )


def _limit(request: Arrow) -> int:
    return UDP_PAYLOAD[6 if ":" in request.hop.destination else 4]


def _answered_smaller(facts: Facts, hop: Transaction) -> Arrow | None:
    """A request of at most the limit that the same node answered in this session."""
    for other in facts.session.transactions:
        request = other.request
        answered = other.destination == hop.destination and (other.provisional or other.finals)
        if request and answered and len(request.payload) <= _limit(request):
            return request
    return None


@tells_ending("no-response", "sender", "receiver", "sent", "size_note", "consequence")
def no_response(facts: Facts, ending: Ending) -> Finding | None:
    """Nothing at all came back on the last hop, of a request that was sent again or waited for; or a 408 without ringing."""
    attempt = ending.attempt
    if attempt is None or ending.answered:
        return None
    hop = facts.unheard(attempt)
    if hop and hop.request and _waited(facts, ending, hop, hop.request):
        return _unheard(facts, ending, hop, hop.request)
    refusal = ending.refusal
    if (
        refusal
        and refusal.code == 408
        and not ending.cancel
        and ending.ringing is None
        and _not_stuck(facts, attempt, refusal)
    ):
        node = who(facts, refusal.arrow.source)
        values = ending_values(facts, ending) | {
            "sender": node, "receiver": "the next node",
            "sent": f"{node} waited for an answer from further on, which the capture does not hold",
            "size_note": "", "consequence": f" {ending_values(facts, ending)['ended']}.",
        }  # fmt: skip
        return Finding("no-response", refusal_evidence(facts, ending, refusal), values, 0.8, by_absence=True)
    return None


def _not_stuck(facts: Facts, attempt: Attempt, refusal: Refusal) -> bool:
    """No hop hangs after a 100; or the node that said 100 gave up too soon to call it stuck."""
    hop = facts.stuck(attempt)
    if hop is None or hop.request is None:
        return True
    return refusal.origin.hop is hop and refusal.arrow.time_us - hop.request.time_us < QUIET_US


def _waited(facts: Facts, ending: Ending, hop: Transaction, request: Arrow) -> bool:
    """Whether the silence on the hop was long enough to mean something, and nobody else decided the session meanwhile."""
    first, sends = request.time_us, len(hop.requests)
    refusal = ending.refusal
    if ending.cancel:
        return ending.cancel.time_us - first >= PATIENCE_US and (sends > 1 or request.hop.transport != "udp")
    if refusal:
        return refusal.origin.hop.destination == hop.source and refusal.arrow.time_us > first
    quiet = facts.session.ended_us - first + (facts.silence_us or 0)
    return sends > 1 or quiet >= GIVEN_UP_US


def _unheard(facts: Facts, ending: Ending, hop: Transaction, request: Arrow) -> Finding:
    sender, receiver = who(facts, hop.source), who(facts, hop.destination)
    last = hop.requests[-1]
    sends = len(hop.requests)
    over = f" over {duration(last.time_us - request.time_us)}" if sends > 1 else ""
    consequence = ""
    if ending.cancel:
        consequence = f" The caller gave up after {duration(ending.cancel.time_us - request.time_us)}."
    elif ending.told:
        consequence = f" {who(facts, ending.told.source)} then ended it with {said(ending.told)}."
    size = len(request.payload)
    too_large = request.hop.transport == "udp" and size > _limit(request)
    values = ending_values(facts, ending) | {
        "sender": sender,
        "receiver": receiver,
        "sent": f"{sender} sent the {hop.method} {times(sends)}{over} to {receiver} and nothing came back",
        "size_note": (
            f" It has {size:,} bytes, more than the {_limit(request):,} of one packet, so a lost fragment is possible too."
            if too_large
            else ""
        ),
        "consequence": consequence,
    }
    shown = evidence(
        (request, f"{hop.method} to {receiver}"),
        (last, f"sent for the {sends}th time" if sends > 3 else "sent again"),
        (ending.cancel, "the caller gives up"),
        (ending.told, "the end, made without an answer"),
    )
    confidence = 0.95 if sends > 3 or ending.told else 0.8
    return Finding("no-response", shown, values, confidence, by_absence=True)


@tells_ending("stuck-after-trying", "waiting_node", "waited_for", "consequence", unmarked=True)
def stuck_after_trying(facts: Facts, ending: Ending) -> Finding | None:
    """Only a 100 on the last hop for so long that the caller, a timer or the capture gave up."""
    attempt = ending.attempt
    if attempt is None or attempt.method != "INVITE" or ending.answered:
        return None
    hop = facts.stuck(attempt)
    if hop is None or hop.request is None or (hop.final and hop.final.sip.status not in (408, 487)):
        return None
    refusal = ending.refusal
    itself = refusal is not None and refusal.origin.hop is hop  # the node that said 100 gave up, too
    if refusal and not ending.cancel and refusal.code not in ((408,) if itself else (408, 480, 487, 500, 503, 504)):
        return None
    first = hop.request.time_us
    if ending.cancel:
        waited, confidence = ending.cancel.time_us - first, 0.9
        consequence = " Then the caller gave up."
    elif refusal:
        waited, confidence = refusal.arrow.time_us - first, 0.9
        consequence = f" {ending_values(facts, ending)['ended']}."
    elif facts.silence_us is not None:
        waited, confidence = facts.session.ended_us - first + facts.silence_us, 0.8
        consequence = ""
    else:
        waited, confidence = facts.session.ended_us - first, 0.4
        consequence = " The capture ends there, so it cannot tell what came later."
    if confidence > 0.4 and waited < QUIET_US and (refusal is None or ending.cancel or itself):
        return None
    node = who(facts, hop.destination)
    values = ending_values(facts, ending) | {
        "waiting_node": node,
        "waited_for": f" for {duration(waited)}" if waited >= 1_000_000 else "",
        "consequence": consequence,
    }
    shown = evidence(
        (hop.request, f"INVITE to {node}"),
        (hop.provisional[0], "100: taken, and nothing more"),
        (ending.cancel, "the caller gives up"),
        (ending.told, status(ending.told) if ending.told else ""),
    )
    return Finding("stuck-after-trying", shown, values, confidence, by_absence=True)


@tells_ending("cancel-unanswered", "sender", "receiver", "sent")
def cancel_unanswered(facts: Facts, ending: Ending) -> Finding | None:
    """A CANCEL sent again, with no response to it and no final response to its INVITE on that hop."""
    attempt = ending.attempt
    if attempt is None or ending.answered:
        return None
    for cancel in attempt.cancels:
        request = cancel.request
        if request is None or cancel.provisional or cancel.finals or _invite_ended(attempt, cancel):
            continue
        quiet = facts.session.ended_us - request.time_us + (facts.silence_us or 0)
        if len(cancel.requests) < 2 and quiet < GIVEN_UP_US:
            continue
        last = cancel.requests[-1]
        over = f" over {duration(last.time_us - request.time_us)}" if last is not request else ""
        values = ending_values(facts, ending) | {
            "sender": who(facts, cancel.source),
            "receiver": who(facts, cancel.destination),
            "sent": f"{times(len(cancel.requests))}{over}",
        }
        shown = evidence((attempt.request, "the call"), (request, "CANCEL"), (last, "sent again, still unanswered"))
        return Finding("cancel-unanswered", shown, values, 0.9, by_absence=True)
    return None


def _invite_ended(attempt: Attempt, cancel: Transaction) -> bool:
    return any(hop.final is not None for hop in attempt.hops if hop.cancelled_by == cancel.index)


@tells_ending("caller-cancelled", "when", "who_cancelled")
def caller_cancelled(facts: Facts, ending: Ending) -> Finding | None:
    """The sender's own CANCEL, ended by 487 or whatever a node makes of it; or a 487 without a CANCEL in the capture."""
    if ending.answered or ending.leg.method != "INVITE":
        return None
    refusal, cancel = ending.refusal, ending.cancel
    if cancel is None:
        if refusal is None or refusal.code != 487 or ending.gave_up:
            return None
        values = ending_values(facts, ending) | {
            "who_cancelled": "Somebody", "when": f"{_when(ending)}; the CANCEL itself is not in the capture",
        }  # fmt: skip
        return Finding("caller-cancelled", refusal_evidence(facts, ending, refusal), values, 0.6, by_absence=True)
    if refusal and not (refusal.code in (408, 480, 487) or refusal.code in range(500, 600)):
        return None
    began = ending.leg.tries[0].attempt.began_us
    values = ending_values(facts, ending) | {
        "who_cancelled": "The caller",
        "when": f"after {duration(cancel.time_us - began)}, {_when(ending)}",
    }
    shown = evidence(
        (ending.leg.deciding.request if ending.leg.deciding else None, f"call to {_number(ending)}"),
        (ending.ringing, "ringing"),
        (cancel, "the caller hangs up"),
        (ending.told, status(ending.told) if ending.told else ""),
    )
    first_hop = len(cancel.sip.vias) <= 1 and not _came_from_elsewhere(ending)
    return Finding("caller-cancelled", shown, values, 1.0 if first_hop else 0.7)


def _came_from_elsewhere(ending: Ending) -> bool:
    """The capture begins behind the caller's own proxy, so that a timer there may have sent the CANCEL."""
    request = ending.leg.deciding.request if ending.leg.deciding else None
    return request is not None and len(request.sip.vias) > 1


def _when(ending: Ending) -> str:
    us = ring_us(ending)
    if us is None:
        return "before it rang"
    return f"when it had rung for {duration(us)}" if us >= RINGING_US else "just as it began to ring"


def _number(ending: Ending) -> str:
    request = ending.leg.deciding.request if ending.leg.deciding else None
    return target(request) if request else "the called number"
