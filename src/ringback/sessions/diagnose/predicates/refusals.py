"""What a final response means: its words, its Q.850 cause, its code, in this order of weight (RFC 3261 21, RFC 3398, RFC 6432).

A refusal whose code says little and whose Reason names a telling Q.850 cause is judged by the cause; every other by its code.
The words of the phrase, Reason and Warning go before both, where they are unmistakable.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from ringback.sessions.diagnose.facts import Ending, Facts
from ringback.sessions.diagnose.facts.legs import Refusal
from ringback.sessions.diagnose.facts.reasons import GENERIC_CODES, q850_cause, reasons_of, sip_cause, words_of
from ringback.sessions.diagnose.finding import EndingRecogniser, Finding, evidence, tells_ending
from ringback.sessions.diagnose.telling import ending_values, refusal_evidence, ring_us, who
from ringback.sessions.diagnose.wording import duration, reason_text, said
from ringback.sessions.story import Arrow

RINGING_TIMER_US = 5_000_000  # a 480 this long after ringing began is a timer, not a phone that was off

_NOT_REGISTERED = re.compile(
    r"not (currently )?registered|unregistered|subscriber absent|not (found )?in (usr)?loc(ation)?\b|not online"
    r"|no (active |valid |current )?(registrations?|bindings?|contacts?|locations?)\b"
    r"|(user|endpoint|peer|device) (is )?offline"
)
_UNREACHED = frozenset({476, 477, 478})  # Kamailio's own: it knows no address of the next hop, or cannot send to it
_NO_ROUTE = re.compile(
    r"no route|route not found|unroutable|unresolvable|send failed"
    r"|no (available |suitable |usable |matching )?(gateway|trunk|carrier|provider|destination|route)s?\b"
    r"|cannot route|unable to route|no rule matched"
)
_CONGESTION = re.compile(
    r"congestion|circuits? (are )?(busy|unavailable)|circuit/channel|no (circuit|channel|line|trunk|port)s?\b"
    r"|switching equipment|overload"
    r"|too many (calls|channels|concurrent|simultaneous|requests)|\bcps\b|maximum calls|temporary failure"
    r"|(calls?|channels?|capacity|sessions?|concurrent|simultaneous|rate) (limit )?(exceeded|reached)|resources? unavailable"
)
_BUSY = re.compile(r"\b(user|line|subscriber|callee) (is )?busy\b")
_DECLINED = re.compile(
    r"do not disturb|\bdnd\b|(declined|rejected) by (user|callee|the user)|user (declined|rejected)"
)
_UNKNOWN = re.compile(
    r"unallocated|unassigned|number (is )?(not found|unknown|not assigned|not in service|does not exist|invalid)"
    r"|(unknown|invalid|non-?existent) (number|subscriber|extension)|no such (number|extension|user|subscriber)"
    r"|(user|subscriber|extension) (unknown|not found|does not exist)"
)
_INCOMPLETE = re.compile(
    r"address incomplete|incomplete (number|address)|number (too short|incomplete)|invalid number format"
)
_UNANSWERED = re.compile(r"no[ -]?answer|not answered|no user responding|ring(ing)? time ?out|no reply")


def _refusal(
    issue: str,
    *,
    codes: Collection[int] = (),
    causes: Collection[int] = (),
    words: re.Pattern[str] | None = None,
    cuts: bool = False,
) -> EndingRecogniser:
    """A recogniser by code, by Q.850 cause and by words. `cuts`: a BYE with such a cause ends an answered call so too."""

    @tells_ending(issue)
    def find(facts: Facts, ending: Ending) -> Finding | None:
        refusal = ending.refusal
        if refusal is None or ending.answered:
            return _cut(facts, ending, issue, codes, causes) if cuts and ending.answered else None
        by_words = words is not None and refusal.code in GENERIC_CODES and words.search(refusal.words)
        if by_words or refusal.cause in causes or refusal.bare_code in codes:
            return _finding(facts, ending, refusal, issue)
        return None

    return find


def _finding(facts: Facts, ending: Ending, refusal: Refusal, issue: str, confidence: float = 1.0) -> Finding:
    return Finding(issue, refusal_evidence(facts, ending, refusal), ending_values(facts, ending), confidence)


def _cut(facts: Facts, ending: Ending, issue: str, codes: Collection[int], causes: Collection[int]) -> Finding | None:
    """An answered call that a BYE ended for a reason that a failed set-up may have too."""
    dialog = ending.leg.dialog
    bye = dialog.bye.request if dialog and dialog.bye else None
    if dialog is None or bye is None:
        return None
    reasons = reasons_of(bye)
    cause, code = q850_cause(reasons), sip_cause(reasons)
    if (cause is None or cause not in causes) and (code is None or code not in codes):
        return None
    shown = evidence((dialog.answer, "answered"), (bye, f"ended with {reason_text(bye)}"))
    return Finding(issue, shown, ending_values(facts, ending), 0.9)


callee_busy = _refusal("callee-busy", codes={486, 600}, causes={17}, words=_BUSY)
number_incomplete = _refusal("number-incomplete", codes={484}, causes={28}, words=_INCOMPLETE)
number_changed = _refusal("number-changed", codes={410}, causes={22, 23})
ambiguous_number = _refusal("ambiguous-number", codes={485})
gateway_failure = _refusal("gateway-failure", codes={502, 504}, causes={27, 102}, cuts=True)


@tells_ending("network-congestion", "meaning")
def network_congestion(facts: Facts, ending: Ending) -> Finding | None:
    """503, the Q.850 causes of resources (also on a BYE that cuts a call), or words."""
    found = _congestion.find(facts, ending)
    if found is None:
        return None
    refusal = ending.refusal
    bare = (
        refusal is not None
        and not ending.answered
        and refusal.cause is None
        and not _CONGESTION.search(refusal.words)
    )
    meaning = " That means no free circuit or too much load there."
    if bare:
        meaning = (
            " That means too much load, all lines in use, or a node out of service: the answer does not say which."
        )
    return replace(found, values={**found.values, "meaning": meaning}, confidence=0.85 if bare else found.confidence)


_congestion = _refusal(
    "network-congestion", codes={503}, causes={34, 38, 41, 42, 44, 47, 58}, words=_CONGESTION, cuts=True
)


@tells_ending("not-registered")
def not_registered(facts: Facts, ending: Ending) -> Finding | None:
    """Q.850 20 (subscriber absent), or words; a 403 with such words is about the caller."""
    refusal = ending.refusal
    if refusal is None or ending.answered or ending.cause.method == "REGISTER":
        return None
    if refusal.cause == 20:
        return _finding(facts, ending, refusal, "not-registered")
    if refusal.code not in (401, 403, 407) and _NOT_REGISTERED.search(refusal.words):
        return _finding(facts, ending, refusal, "not-registered", 0.95)
    return None


@tells_ending("no-route")
def no_route(facts: Facts, ending: Ending) -> Finding | None:
    """404 or 503 with Q.850 2 or 3, or words."""
    refusal = ending.refusal
    if refusal is None or ending.answered or ending.cause.method == "REGISTER":
        return None
    if refusal.code in (404, 503) and refusal.cause in (2, 3):
        return _finding(facts, ending, refusal, "no-route")
    if refusal.code in GENERIC_CODES | _UNREACHED and _NO_ROUTE.search(refusal.words):
        return _finding(facts, ending, refusal, "no-route", 0.9)
    return None


@tells_ending("no-answer", "rang_for", "timer")
def no_answer(facts: Facts, ending: Ending) -> Finding | None:
    """It rang, and a timer ended it: 408, 480 or 487 that no caller asked for, or Q.850 19."""
    refusal, ringing = ending.refusal, ending.ringing
    if ending.answered or ending.leg.method != "INVITE":
        return None
    if ending.cancel:
        return _timer_cancel(facts, ending, ending.cancel)
    if refusal is None:
        return None
    us = ring_us(ending) or 0
    confidence = 0.0
    timed_out = ending.gave_up is not None and refusal.origin.hop.destination == ending.gave_up.source
    if refusal.cause == 19 or (_UNANSWERED.search(refusal.words) and refusal.code in GENERIC_CODES and ringing):
        confidence = 0.95
    elif ringing is None:
        return None
    elif timed_out and refusal.code in GENERIC_CODES:
        confidence = 0.95
    elif refusal.code == 408 or (refusal.code == 480 and refusal.cause in (None, 18) and us >= RINGING_TIMER_US):
        confidence = 0.9
    elif refusal.code == 487:
        confidence = 0.9 if ending.gave_up else 0.7
    if not confidence:
        return None
    return _no_answer(facts, ending, us, confidence, refusal.arrow)


def _timer_cancel(facts: Facts, ending: Ending, cancel: Arrow) -> Finding | None:
    """A CANCEL that says itself that a timer sent it."""
    reasons = reasons_of(cancel)
    by_timer = sip_cause(reasons) in (408, 480) or q850_cause(reasons) in (18, 19, 102)
    if ending.ringing is None or not (by_timer or _UNANSWERED.search(words_of(cancel))):
        return None
    return _no_answer(facts, ending, ring_us(ending) or 0, 0.9, cancel)


def _no_answer(facts: Facts, ending: Ending, us: int, confidence: float, ended_by: Arrow) -> Finding:
    gave_up = ending.gave_up.request if ending.gave_up else None
    timer = ""
    if gave_up:
        timer = f" {who(facts, gave_up.source)} then gave up and cancelled it."
    shown = evidence(
        (ending.ringing, "ringing"),
        (gave_up, "cancelled by a node, not by the caller"),
        (ended_by, said(ended_by) if not ended_by.sip.is_request else f"cancelled: {reason_text(ended_by)}"),
    )
    values = {"rang_for": duration(us), "timer": timer}
    return Finding("no-answer", shown, ending_values(facts, ending) | values, confidence)


@tells_ending("callee-declined")
def callee_declined(facts: Facts, ending: Ending) -> Finding | None:
    """603 and 607, any 6xx that means nothing else, Q.850 21 beside anything but a 403, or words like "do not disturb"."""
    refusal = ending.refusal
    if refusal is None or ending.answered:
        return None
    if refusal.bare_code in (603, 607) or (refusal.cause == 21 and refusal.code != 403):
        return _finding(facts, ending, refusal, "callee-declined", 1.0 if refusal.code in (603, 607) else 0.85)
    if refusal.code in GENERIC_CODES - {403} and _DECLINED.search(refusal.words):
        return _finding(facts, ending, refusal, "callee-declined", 0.9)
    return None


@tells_ending("number-unknown")
def number_unknown(facts: Facts, ending: Ending) -> Finding | None:
    """404, 604, Q.850 1 to 3, or words; of a REGISTER it would be the user, not a number."""
    refusal = ending.refusal
    if refusal is None or ending.answered or ending.cause.method == "REGISTER":
        return None
    if refusal.bare_code in (404, 604) or refusal.cause in (1, 2, 3):
        return _finding(facts, ending, refusal, "number-unknown")
    if refusal.code in GENERIC_CODES - {403} and _UNKNOWN.search(refusal.words):
        return _finding(facts, ending, refusal, "number-unknown", 0.9)
    return None


@tells_ending("caller-not-allowed", "hint")
def caller_not_allowed(facts: Facts, ending: Ending) -> Finding | None:
    """403 by policy, and the codes and causes that name a rule: 402, 428, 433, 436-438, 608, Q.850 50-57, 87."""
    refusal = ending.refusal
    if refusal is None or ending.answered:
        return None
    barred = refusal.cause in (50, 52, 53, 54, 55, 57, 87) or (refusal.cause == 21 and refusal.code == 403)
    if refusal.bare_code not in (402, 403, 428, 433, 436, 437, 438, 608) and not barred:
        return None
    hint, confidence = "", 1.0
    if ending.cause.method == "REGISTER" and ending.cause.tries[-1].credentials and refusal.code == 403:
        hint = " Some registrars also answer a wrong password with 403, so check the password too."
        confidence = 0.7
    values = ending_values(facts, ending) | {"hint": hint}
    return Finding("caller-not-allowed", refusal_evidence(facts, ending, refusal), values, confidence)


@tells_ending("callee-unavailable", "why")
def callee_unavailable(facts: Facts, ending: Ending) -> Finding | None:
    """480 or 430 without a better reason, or Q.850 18 or 26."""
    refusal = ending.refusal
    if refusal is None or ending.answered:
        return None
    if refusal.bare_code not in (430, 480) and refusal.cause not in (18, 26):
        return None
    why = " The answer does not say why."
    if refusal.cause:
        why = (
            " The device or its network did not respond."
            if refusal.cause == 18
            else " The network chose another device."
        )
    values = ending_values(facts, ending) | {"why": why}
    confidence = 0.9 if refusal.code in (430, 480) else 0.8
    return Finding("callee-unavailable", refusal_evidence(facts, ending, refusal), values, confidence)


@tells_ending("callee-declined")
def other_global_failure(facts: Facts, ending: Ending) -> Finding | None:
    """Any other 6xx: wherever the call went, nobody will take it."""
    refusal = ending.refusal
    if refusal is None or ending.answered or refusal.code < 600:
        return None
    return _finding(facts, ending, refusal, "callee-declined", 0.6)


@tells_ending("server-error")
def server_error(facts: Facts, ending: Ending) -> Finding | None:
    """Any 5xx that means nothing else, and Q.850 111."""
    refusal = ending.refusal
    if refusal is None or ending.answered:
        return _cut(facts, ending, "server-error", range(500, 600), {111}) if ending.answered else None
    if 500 <= refusal.code < 600 or refusal.cause == 111:
        return _finding(facts, ending, refusal, "server-error")
    return None
