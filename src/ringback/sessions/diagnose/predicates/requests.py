"""Refusals that speak of the request itself: loops, methods, extensions, timers, redirection, broken messages."""

from __future__ import annotations

from ringback.sessions.diagnose.facts import Ending, Facts
from ringback.sessions.diagnose.facts.attempts import arrows_of, origin_of
from ringback.sessions.diagnose.finding import Finding, evidence, remarks, tells_ending
from ringback.sessions.diagnose.telling import ending_values, refusal_evidence, who
from ringback.sessions.diagnose.wording import listed, said, status, wire_text
from ringback.sessions.story import Arrow, Transaction

SHOWN_HOPS = 6  # of a loop: enough to see it come round


@tells_ending("loop-detected", "path", "hops")
def loop_detected(facts: Facts, ending: Ending) -> Finding | None:
    """482, 483 or Q.850 25, with the nodes that the request passed."""
    refusal = ending.refusal
    if refusal is None or (refusal.bare_code not in (482, 483) and refusal.cause != 25):
        return None
    asked = ending.leg.deciding.request if ending.leg.deciding else None
    nodes = [hop.source for hop in refusal.attempt.hops] + [refusal.origin.hop.destination]
    path = " → ".join(who(facts, node) for node in nodes[:SHOWN_HOPS])
    if len(nodes) > SHOWN_HOPS:
        path += f" → … ({len(nodes) - 1} hops)"
    left = asked.sip.header("max-forwards") if asked else ""
    values = {
        "path": path,
        "hops": f" It set out with Max-Forwards {wire_text(left)}." if refusal.code == 483 and left else "",
    }
    hops = [(arrow, "the request on its way") for arrow in arrows_of(refusal.attempt.hops) if arrow.sip.is_request][
        :8
    ]
    shown = evidence(*hops, (refusal.arrow, said(refusal.arrow)))
    return Finding("loop-detected", shown, ending_values(facts, ending) | values)


@tells_ending("method-not-supported", "allowed", "consequence")
def method_not_supported(facts: Facts, ending: Ending) -> Finding | None:
    """405, 489, 501 or Q.850 29, 69, 79 to the request that was to begin the session."""
    refusal = ending.refusal
    if refusal is None or (refusal.bare_code not in (405, 489, 501) and refusal.cause not in (29, 69, 79)):
        return None
    values = ending_values(facts, ending) | {"allowed": _allowed(refusal.arrow), "consequence": ""}
    return Finding("method-not-supported", refusal_evidence(facts, ending, refusal), values)


def _allowed(arrow: Arrow) -> str:
    methods = arrow.sip.values("allow-events" if arrow.sip.status == 489 else "allow")
    return f" It says that it allows {wire_text(', '.join(methods))}." if methods else ""


@remarks("method-not-supported", "allowed", "consequence", "ended", "told", "request", "said", "node")
def method_not_supported_in_call(facts: Facts) -> Finding | None:
    """REFER or INFO within a call, refused with 405 or 501: the call goes on, the transfer or the tones do not."""
    lost = {
        "REFER": "The transfer was not made.",
        "INFO": "What the INFO carried, often the tones of pressed keys, was not taken.",
    }
    for attempt in facts.attempts:
        origin = origin_of(attempt) if attempt.method in lost and attempt.in_dialog else None
        final = origin.arrow if origin else None
        if final is None or final.sip.status not in (405, 501):
            continue
        node = who(facts, final.source)
        values = {
            "ended": f"{node} answered the {attempt.method} within the call with {said(final)}",
            "told": "", "request": attempt.method, "said": said(final), "node": node,
            "allowed": _allowed(final), "consequence": f" {lost[attempt.method]}",
        }  # fmt: skip
        shown = evidence((attempt.request, f"{attempt.method} within the call"), (final, status(final)))
        return Finding("method-not-supported", shown, values, severity="warning")
    return None


@tells_ending("extension-required", "extension")
def extension_required(facts: Facts, ending: Ending) -> Finding | None:
    """420 names what it does not support, 421 what it insists on."""
    refusal = ending.refusal
    if refusal is None or refusal.code not in (420, 421):
        return None
    header = "unsupported" if refusal.code == 420 else "require"
    named = (
        listed(wire_text(value) for value in refusal.arrow.sip.values(header)) or "an extension that it does not name"
    )
    extension = (
        f"The request asks for {named}, which {who(facts, refusal.arrow.source)} does not support."
        if refusal.code == 420
        else f"{who(facts, refusal.arrow.source)} insists on {named}, which the sender did not offer."
    )
    values = ending_values(facts, ending) | {"extension": extension}
    return Finding("extension-required", refusal_evidence(facts, ending, refusal), values)


@tells_ending("session-timer-too-small", "offered", "least")
def session_timer_too_small(facts: Facts, ending: Ending) -> Finding | None:
    """422 was the last word (RFC 4028 section 6); who asks again with the longer interval has done right."""
    refusal = ending.refusal
    if refusal is None or refusal.code != 422:
        return None
    request = refusal.origin.hop.request or refusal.attempt.request
    offered = request.sip.header("session-expires").partition(";")[0] if request else ""
    least = refusal.arrow.sip.header("min-se").partition(";")[0]
    values = ending_values(facts, ending) | {
        "offered": f"The call asks to be refreshed every {wire_text(offered)} s"
        if offered
        else "The call's session timer is too short",
        "least": f"at least {wire_text(least)} s" if least else "more, without naming how much",
    }
    return Finding("session-timer-too-small", refusal_evidence(facts, ending, refusal), values)


@tells_ending("redirected", "target", "followed")
def redirected(facts: Facts, ending: Ending) -> Finding | None:
    """3xx was the last word."""
    refusal = ending.refusal
    if refusal is None or not 300 <= refusal.code < 400:
        return None
    values = {"target": _contacts(refusal.arrow), "followed": " Nobody in the capture followed it."}
    return Finding("redirected", refusal_evidence(facts, ending, refusal), ending_values(facts, ending) | values)


@remarks("redirected", "target", "followed", "ended", "told", "said", "node", "request")
def redirected_and_followed(facts: Facts) -> Finding | None:
    """3xx on the way, after which the session went on."""
    last_words = {id(ending.refusal.arrow) for ending in facts.endings if ending.refusal}
    for hop in facts.session.transactions:
        final = hop.final
        if final is None or not 300 <= final.sip.status < 400 or hop.method != "INVITE" or id(final) in last_words:
            continue
        further = _next_request(facts, hop, final)
        if further is None:
            continue
        node = who(facts, final.source)
        values = {
            "ended": f"{node} answered the INVITE with {said(final)}",
            "told": "", "said": said(final), "node": node, "request": "INVITE",
            "target": _contacts(final),
            "followed": f" {who(facts, further.source)} followed it.",
        }  # fmt: skip
        shown = evidence((hop.request, "the call"), (final, status(final)), (further, "the redirection is followed"))
        return Finding("redirected", shown, values)
    return None


def _next_request(facts: Facts, hop: Transaction, final: Arrow) -> Arrow | None:
    later = (
        other.request
        for other in facts.session.transactions
        if other.method == "INVITE"
        and not other.in_dialog
        and other.request
        and other.request.time_us >= final.time_us
    )
    return next((arrow for arrow in later if arrow and arrow.source in (hop.source, final.destination)), None)


def _contacts(arrow: Arrow) -> str:
    contacts = [one.uri.user or one.uri.host for one in arrow.sip.addresses("contact")]
    return listed(wire_text(one) for one in contacts[:4]) or "an address that it does not name"


@tells_ending("malformed-request", "complaint")
def malformed_request(facts: Facts, ending: Ending) -> Finding | None:
    """400, and with less certainty any 4xx that nothing else explains."""
    refusal = ending.refusal
    if refusal is None or ending.answered or not 400 <= refusal.code < 500 or refusal.code == 487:
        return None
    phrase = wire_text(refusal.arrow.sip.phrase)
    plain = phrase.lower() in ("", "bad request")
    complaint = "" if plain else f" Its words “{phrase}” say what it did not like."
    values = ending_values(facts, ending) | {"complaint": complaint}
    return Finding(
        "malformed-request", refusal_evidence(facts, ending, refusal), values, 1.0 if refusal.code == 400 else 0.6
    )
