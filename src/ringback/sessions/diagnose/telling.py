"""The sentences that several issues share, made of a session's facts: what ended it, who said so, what the caller was told."""

from __future__ import annotations

from collections.abc import Mapping

from ringback.sessions.capture.sip import parse_uri
from ringback.sessions.diagnose.facts import Ending, Facts
from ringback.sessions.diagnose.facts.legs import Refusal
from ringback.sessions.diagnose.finding import evidence
from ringback.sessions.diagnose.wording import duration, place, reason_text, said, status, wire_text
from ringback.sessions.story import Arrow, Evidence

# Names that every issue's texts may use.
SHARED = frozenset({"caller", "called", "kind"})
# Names that the texts of issues which end a session may use too.
OF_ENDINGS = frozenset({"ended", "told", "said", "code", "phrase", "reason", "node", "request", "waited", "rang"})

AT_ONCE_US = 10_000  # nobody was asked, no ringing
MOMENT_US = 100_000  # between a 180 and a final response that were sent together

_KINDS = {
    "call": "call", "registration": "registration", "message": "message", "options": "check",
    "subscription": "subscription", "other": "request",
}  # fmt: skip


def shared_values(facts: Facts) -> dict[str, str]:
    session = facts.session
    return {
        "caller": wire_text(session.caller) or "an unknown number",
        "called": wire_text(session.called) or "an unknown number",
        "kind": _KINDS[session.kind],
    }


def ending_values(facts: Facts, ending: Ending) -> dict[str, str]:
    """Of a refusal, of an answered call that was cut, or (with what little there is to say) of silence."""
    refusal = ending.refusal
    values = dict.fromkeys(OF_ENDINGS, "")
    values["request"] = ending.leg.method
    values["rang"] = rang(ending)
    if ending.answered:
        values.update(_cut(facts, ending))
    elif refusal:
        values.update(_refused(facts, ending, refusal))
    return values


def _refused(facts: Facts, ending: Ending, refusal: Refusal) -> Mapping[str, str]:
    arrow = refusal.arrow
    node = who(facts, arrow.source)
    request = refusal.origin.hop.request or refusal.attempt.request
    waited = duration(arrow.time_us - request.time_us) if request else ""
    after = f" after {waited}" if waited else ""
    if request and arrow.time_us - request.time_us < AT_ONCE_US:
        after = " at once"
    return {
        "ended": f"{node} answered the {refusal.attempt.method} with {said(arrow)}{after}",
        "told": told(facts, ending, refusal),
        "said": said(arrow),
        "code": str(refusal.code),
        "phrase": wire_text(arrow.sip.phrase),
        "reason": reason_text(arrow),
        "node": node,
        "waited": waited,
    }


def _cut(facts: Facts, ending: Ending) -> Mapping[str, str]:
    dialog = ending.leg.dialog
    bye = dialog.bye.request if dialog and dialog.bye else None
    if dialog is None or bye is None:
        return {}
    node = who(facts, bye.source)
    reasons = reason_text(bye)
    lasted = duration(dialog.duration_us or 0)
    return {
        "ended": f"{node} ended the call with a BYE{f' ({reasons})' if reasons else ''} after {lasted}",
        "said": f"BYE ({reasons})" if reasons else "BYE",
        "reason": reasons,
        "node": node,
        "waited": lasted,
    }


def told(facts: Facts, ending: Ending, refusal: Refusal) -> str:
    """A sentence, where whoever began it got another answer than the one that decided."""
    final = ending.told
    if final is None or final is refusal.arrow:
        return ""
    if (final.sip.status, final.sip.phrase) == (refusal.arrow.sip.status, refusal.arrow.sip.phrase):
        return ""
    who_made = f" by {who(facts, final.source)}" if final.source != refusal.arrow.source else ""
    return f" The {'caller' if ending.leg.method == 'INVITE' else 'sender'} was told {said(final)}{who_made}."


def who(facts: Facts, participant_id: str) -> str:
    return place(facts.participants.get(participant_id))


def rang(ending: Ending) -> str:
    """A sentence about ringing, "" where there was nothing to ring."""
    if ending.leg.method != "INVITE":
        return ""
    us = ring_us(ending)
    if us is None:
        return " It did not ring."
    return f" It rang for {duration(us)}." if us >= MOMENT_US else ""


def ring_us(ending: Ending) -> int | None:
    """From the first 180 or 183 to the end of ringing: the CANCEL, else the final response, else the last message."""
    ringing = ending.ringing
    if ringing is None:
        return None
    dialog = ending.leg.dialog
    if dialog:
        return max(0, dialog.answered_us - ringing.time_us)
    ends = [ending.cancel, ending.gave_up.request if ending.gave_up else None, ending.told]
    until = next((arrow.time_us for arrow in ends if arrow), ending.leg.leg.ended_us)
    return max(0, until - ringing.time_us)


def refusal_evidence(facts: Facts, ending: Ending, refusal: Refusal) -> tuple[Evidence, ...]:
    """The request, the response where it came into being, and what the sender got."""
    request = refusal.origin.hop.request or refusal.attempt.request
    began = ending.leg.deciding.request if ending.leg.deciding else None
    final = ending.told
    return evidence(
        (began, f"the {began.sip.method} that was sent" if began else ""),
        (request, "as it reached the node that answered"),
        (refusal.arrow, f"{status(refusal.arrow)}, first said by {who(facts, refusal.arrow.source)}"),
        (final if final and final.sip.status != refusal.code else None, "what the sender got"),
    )


def target(arrow: Arrow) -> str:
    """The user or address that a request asks for."""
    try:
        uri = parse_uri(arrow.sip.request_uri)
    except ValueError:
        return wire_text(arrow.sip.request_uri)
    return wire_text(uri.user or uri.host)
