"""Answered calls: did the ACK arrive, who hung up and why, and the plain good end (RFC 3261 13-15, RFC 4028)."""

from __future__ import annotations

import re
from dataclasses import replace

from ringback.sessions.diagnose.facts import Ending, Facts
from ringback.sessions.diagnose.facts.attempts import Attempt, origin_of
from ringback.sessions.diagnose.facts.dialogs import Dialog
from ringback.sessions.diagnose.facts.legs import LegFacts
from ringback.sessions.diagnose.facts.reasons import sip_cause, words_of
from ringback.sessions.diagnose.finding import Finding, evidence, remarks, tells_ending
from ringback.sessions.diagnose.telling import ending_values, rang, refusal_evidence, who
from ringback.sessions.diagnose.wording import duration, reason_text, said, status, times, wire_text
from ringback.sessions.story import Arrow, Transaction

GIVEN_UP_US = (28_000_000, 40_000_000)  # 64 T1 after the 200, with what a busy server adds
KEPT_ON_US = 40_000_000  # a call that lasted longer than this was acknowledged on some path
REPEATS_STOPPED_US = 16_000_000  # and its 200 was not sent again later than this
EARLY_US = 32_000_000  # the side that waits for a refresh may hang up this much early (RFC 4028 section 10)
LATE_US = 5_000_000
USUAL_INTERVAL_US = 1_800_000_000  # RFC 4028 section 4
EXACT_US = 1_000_000
DROPPED_WITHIN_US = 5_000_000  # a BYE this soon after a failed refresh follows from it
SHORT_US = 3_000_000
CROSSED_US = 32_000_000

_ACK_WORDS = re.compile(r"\back\b.*(time ?out|missing|not received)|no ack|ack time ?out")
_TIMER_WORDS = re.compile(
    r"session[ -]?(timer|expire|refresh|interval)|session time ?out|timer expired|refresh (failed|time ?out)"
)


@tells_ending("ack-missing", "where", "consequence", unmarked=True)
def ack_missing(facts: Facts, ending: Ending) -> Finding | None:
    """A 200 sent again with no ACK on that hop, or on and on in spite of one; the callee hanging up at 32 s; its words."""
    dialog = ending.leg.dialog
    if dialog is None:
        return None
    hop, repeats = _unacknowledged(dialog)
    if hop and hop.final and not _went_on(dialog, repeats):
        return _ack_finding(facts, ending, dialog, hop, repeats, 0.95 if len(repeats) > 1 else 0.85)
    bye = dialog.bye.request if dialog.bye else None
    if bye is None or dialog.bye is None:
        return None
    if _ACK_WORDS.search(words_of(bye)):
        return _ack_finding(facts, ending, dialog, dialog.origin.hop, [], 0.95)
    at_timer = GIVEN_UP_US[0] <= (dialog.duration_us or 0) <= GIVEN_UP_US[1]
    if (
        dialog.side(dialog.bye) == "callee"
        and at_timer
        and not dialog.acks_at_answerer
        and not dialog.origin.hop.acks
    ):
        return _ack_finding(facts, ending, dialog, dialog.origin.hop, [], 0.8)
    return None


def _unacknowledged(dialog: Dialog) -> tuple[Transaction | None, list[Arrow]]:
    """The last hop, from the caller on, whose 200 was sent again without an ACK, with the repeats that show it."""
    found: tuple[Transaction | None, list[Arrow]] = (None, [])
    for hop in dialog.attempt.hops:
        if hop.final is None or hop.final.sip.status >= 300:
            continue
        tag = hop.final.sip.to_tag
        repeats = [arrow for arrow in hop.finals[1:] if arrow.sip.to_tag == tag]
        if hop.acks:
            repeats = [arrow for arrow in repeats if arrow.time_us > hop.acks[0].time_us + 400_000]
            if len(repeats) < 2:
                continue
        if repeats:
            found = hop, repeats
    return found


def _went_on(dialog: Dialog, repeats: list[Arrow]) -> bool:
    """The ACK took a path that was not captured: the 200 stopped early and the call lived on."""
    duration_us = dialog.duration_us
    return (
        duration_us is not None
        and duration_us > KEPT_ON_US
        and repeats[-1].time_us - dialog.answered_us < REPEATS_STOPPED_US
    )


def _ack_finding(
    facts: Facts, ending: Ending, dialog: Dialog, hop: Transaction, repeats: list[Arrow], confidence: float
) -> Finding:
    answerer, client = who(facts, hop.destination), who(facts, hop.source)
    seen = dialog.acks[0] if dialog.acks else None
    where = "no ACK for it is in the capture"
    if seen and hop.acks:
        where = "the ACK went out to it, but cannot have arrived"
    elif seen:
        where = f"the ACK came as far as {who(facts, seen.destination)} and no further"
    sent_again = f"sent its 200 again {times(len(repeats))}" if repeats else "waited for the ACK"
    bye = dialog.bye.request if dialog.bye else None
    consequence = ""
    if bye:
        consequence = f" {who(facts, bye.source)} hung up {duration(dialog.duration_us or 0)} after the answer."
    values = ending_values(facts, ending) | {
        "where": f"{answerer} answered, {sent_again} towards {client}, and {where}", "consequence": consequence,
    }  # fmt: skip
    shown = evidence(
        (hop.final, "200 that needs an ACK"),
        (repeats[-1] if repeats else None, "200 sent again"),
        (seen, "the ACK"),
        (bye, f"hung up by {who(facts, bye.source)}" if bye else ""),
    )
    return Finding("ack-missing", shown, values, confidence, by_absence=True)


@tells_ending("session-timer-expired", "interval", "lapse", unmarked=True)
def session_timer_expired(facts: Facts, ending: Ending) -> Finding | None:
    """A BYE at the end of the session interval with no refresh before it, after a refresh that failed, or with such words."""
    dialog = ending.leg.dialog
    bye = dialog.bye.request if dialog and dialog.bye else None
    if dialog is None or bye is None:
        return None
    timer = dialog.timer
    interval = f"{timer.interval_us // 1_000_000} s" if timer else "an interval that the capture does not hold"
    if _TIMER_WORDS.search(words_of(bye)) or (timer and sip_cause(dialog.bye_reasons) == 408):
        lapse = f"The BYE itself gives the reason: {reason_text(bye)}."
        return _timer_finding(facts, ending, dialog, interval, lapse, None, 0.95)
    failed = _failed_refresh(dialog, bye)
    if failed:
        outcome = f"got {said(failed.final)}" if failed.final else "got no answer"
        lapse = f"The refresh by {who(facts, failed.hops[0].source)} {outcome}, and the call was dropped."
        return _timer_finding(facts, ending, dialog, interval, lapse, failed, 0.85)
    if timer is None:
        return _usual_interval(facts, ending, dialog)
    since = bye.time_us - timer.since_us
    early = min(EARLY_US, timer.interval_us // 3)
    if timer.interval_us - early - 2_000_000 <= since <= timer.interval_us + LATE_US:
        lapse = f"No refresh was seen in the {duration(since)} before the BYE."
        return _timer_finding(facts, ending, dialog, interval, lapse, None, 0.9)
    return None


def _usual_interval(facts: Facts, ending: Ending, dialog: Dialog) -> Finding | None:
    """No timer in the capture, but a call that ended to the second at the interval that nearly everyone uses."""
    lasted = dialog.duration_us or 0
    if dialog.changes or abs(lasted - USUAL_INTERVAL_US) > EXACT_US:
        return None
    interval = f"{USUAL_INTERVAL_US // 1_000_000:,} s"
    lapse = (
        f"No timer is in the capture, but the call ended {interval} after the answer, to the second: the usual one."
    )
    return replace(
        _timer_finding(facts, ending, dialog, "an interval that the capture does not hold", lapse, None, 0.5),
        severity="warning",
    )


def _failed_refresh(dialog: Dialog, bye: Arrow) -> Attempt | None:
    """A re-INVITE or UPDATE with a session timer that failed just before the BYE; 481 is another issue, 491 a collision."""
    for one in reversed(dialog.changes):
        request = one.request
        if request is None or not request.sip.header("session-expires") or one.began_us > bye.time_us:
            continue
        lost = one.code == 0 and len(one.hops[0].requests) > 1
        refused = one.code == 408 or (one.code >= 500 and one.code < 600)
        ended = one.final.time_us if one.final else one.ended_us
        if (lost or refused) and bye.time_us - ended <= DROPPED_WITHIN_US:
            return one
        return None
    return None


def _timer_finding(
    facts: Facts, ending: Ending, dialog: Dialog, interval: str, lapse: str, failed: Attempt | None, confidence: float
) -> Finding:
    shown = evidence(
        (dialog.timer.settled if dialog.timer else None, f"agrees on {interval}"),
        (failed.request if failed else None, "the refresh that failed"),
        (dialog.bye.request if dialog.bye else None, "the call is dropped"),
    )
    values = ending_values(facts, ending) | {"interval": interval, "lapse": lapse}
    return Finding("session-timer-expired", shown, values, confidence, by_absence=failed is None)


@tells_ending("dialog-lost", "lost", "consequence")
def dialog_lost(facts: Facts, ending: Ending) -> Finding | None:
    """481 to the request that was to begin the session, or to one within the call which then was dropped."""
    refusal, dialog = ending.refusal, ending.leg.dialog
    if dialog is None:
        if refusal is None or refusal.code != 481:
            return None
        replaces = refusal.attempt.request is not None and bool(refusal.attempt.request.sip.header("replaces"))
        consequence = " It was to take over a call that no longer exists there." if replaces else ""
        values = ending_values(facts, ending) | {
            "lost": f"{ending_values(facts, ending)['ended']}",
            "consequence": consequence,
        }
        return Finding("dialog-lost", refusal_evidence(facts, ending, refusal), values)
    bye = dialog.bye.request if dialog.bye else None
    for one in dialog.changes:
        origin = origin_of(one) if one.code == 481 else None
        if origin and bye and 0 <= bye.time_us - origin.arrow.time_us <= DROPPED_WITHIN_US:
            return _lost(facts, one, origin.arrow, " The call was then dropped.", bye, ending_values(facts, ending))
    return None


@remarks("dialog-lost", "lost", "consequence", "ended", "told", "said", "node", "request")
def dialog_lost_in_passing(facts: Facts) -> Finding | None:
    """481 to a request within a dialog that went on or was over; not where two BYEs crossed, nor to CANCEL."""
    for one in facts.attempts:
        origin = origin_of(one) if one.in_dialog and one.code == 481 else None
        if origin is None or _other_bye(facts, one):
            continue
        consequence = ""
        if one.method == "BYE":
            consequence = (
                " One side hung up a call that the other side no longer knew: it ended earlier there than here."
            )
        values = dict.fromkeys(("ended", "told", "said", "node", "request"), "")
        return _lost(facts, one, origin.arrow, consequence, None, values, severity="warning")
    return None


def _other_bye(facts: Facts, one: Attempt) -> bool:
    """The dialog was over, or about to be, when the request came: a BYE of the other side stands near it."""
    return any(
        other.method == "BYE"
        and other.leg == one.leg
        and other is not one
        and other.from_tag != one.from_tag
        and other.began_us <= one.ended_us + CROSSED_US
        for other in facts.attempts
    )


def _lost(
    facts: Facts, one: Attempt, final: Arrow, consequence: str, bye: Arrow | None, values: dict[str, str],
    severity: str = "",
) -> Finding:  # fmt: skip
    lost = f"{who(facts, final.source)} answered the {one.method} within the dialog with {said(final)}"
    shown = evidence(
        (one.request, f"{one.method} within the dialog"), (final, status(final)), (bye, "the call is dropped")
    )
    return Finding(
        "dialog-lost", shown, values | {"lost": lost, "consequence": consequence},
        severity="warning" if severity == "warning" else None,
    )  # fmt: skip


@remarks("bye-unanswered", "sender", "receiver", "sent")
def bye_unanswered(facts: Facts) -> Finding | None:
    """A BYE sent again and never answered, or answered 408 by a node; not when the other side's BYE was answered."""
    for bye in facts.attempts:
        if bye.method != "BYE" or _other_answered(facts, bye) or bye.succeeded_anywhere:
            continue
        hop = next(
            (one for one in reversed(bye.hops) if one.requests and not one.finals and not one.provisional), None
        )
        timed_out = bye.code == 408
        if not timed_out and (bye.final or hop is None or len(hop.requests) < 2):
            continue
        shown_hop = hop or bye.hops[0]
        if not shown_hop.requests:
            continue
        first, last = shown_hop.requests[0], shown_hop.requests[-1]
        over = f" over {duration(last.time_us - first.time_us)}" if last is not first else ""
        values = {
            "sender": who(facts, shown_hop.source),
            "receiver": who(facts, shown_hop.destination),
            "sent": f"{times(len(shown_hop.requests))}{over}",
        }
        shown = evidence(
            (first, "BYE"),
            (last, "sent again, still unanswered"),
            (bye.final, status(bye.final) if bye.final else ""),
        )
        return Finding("bye-unanswered", shown, values, 0.9, by_absence=True)
    return None


def _other_answered(facts: Facts, bye: Attempt) -> bool:
    return any(
        other.method == "BYE" and other.leg == bye.leg and other is not bye and other.succeeded_anywhere
        for other in facts.attempts
    )


@tells_ending("short-call", "lasted", "by_whom", unmarked=True)
def short_call(facts: Facts, ending: Ending) -> Finding | None:
    """Answered, and hung up normally within three seconds."""
    dialog = ending.leg.dialog
    if (
        dialog is None
        or dialog.duration_us is None
        or dialog.duration_us >= SHORT_US
        or _begins_inside(facts, ending.leg)
    ):
        return None
    bye = dialog.bye.request if dialog.bye else None
    values = ending_values(facts, ending) | {"lasted": duration(dialog.duration_us), "by_whom": _by_whom(dialog)}
    return Finding("short-call", evidence((dialog.answer, "answered"), (bye, "hung up")), values)


@tells_ending("normal", "summary", unmarked=True)
def normal(facts: Facts, ending: Ending) -> Finding | None:
    """What was asked for was done, and (for a call) somebody hung up."""
    leg = ending.leg
    if _begins_inside(facts, leg):
        return None
    if leg.dialog:
        bye = leg.dialog.bye.request if leg.dialog.bye else None
        if bye is None or leg.dialog.duration_us is None:
            return None
        reasons = reason_text(bye)
        lasted = duration(leg.dialog.duration_us)
        summary = (
            f"The call was answered.{rang(ending)} It lasted {lasted}, and {_by_whom(leg.dialog)} hung up"
            f"{f' ({reasons})' if reasons else ''}."
        )
        shown = evidence((leg.dialog.answer, "answered"), (bye, "hung up"))
        return Finding("normal", shown, ending_values(facts, ending) | {"summary": summary})
    final = leg.deciding.final if leg.deciding else None
    if final is None or leg.method == "INVITE" or not (leg.succeeded or ending.alive):
        return None
    summary = f"{who(facts, final.source)} answered the {leg.method} with {said(final)}"
    summary += _granted(leg, final) if leg.succeeded else ", which shows that it is alive"
    shown = evidence((leg.deciding.request if leg.deciding else None, leg.method), (final, status(final)))
    return Finding("normal", shown, ending_values(facts, ending) | {"summary": f"{summary}."})


def _granted(leg: LegFacts, final: Arrow) -> str:
    if leg.method != "REGISTER":
        return ""
    request = leg.deciding.request if leg.deciding else None
    if request and (
        "0"
        in (request.sip.header("expires"), *(c.parameters.get("expires") for c in request.sip.addresses("contact")))
    ):
        return ": the registration was removed"
    contacts = final.sip.addresses("contact")
    expires = next((one.parameters["expires"] for one in contacts if "expires" in one.parameters), "")
    expires = expires or final.sip.header("expires")
    return f": registered for {wire_text(expires)} s" if expires else ": registered"


def _by_whom(dialog: Dialog) -> str:
    return f"the {dialog.side(dialog.bye)}" if dialog.bye else "nobody"


def _begins_inside(facts: Facts, leg: LegFacts) -> bool:
    return any(gap.kind in ("beginning", "answer") for gap in facts.gaps_in(leg.leg.call_id))
