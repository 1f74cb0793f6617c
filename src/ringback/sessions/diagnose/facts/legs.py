"""What each leg came to: the deciding try, its refusal or dialog, who cancelled, and for which other leg it was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ringback.sessions.diagnose.facts.attempts import CHALLENGES, Attempt, Origin, origin_of
from ringback.sessions.diagnose.facts.authentication import Try, tries_of
from ringback.sessions.diagnose.facts.dialogs import Dialog, dialog_of
from ringback.sessions.diagnose.facts.reasons import (
    GENERIC_CODES,
    TELLING_CAUSES,
    Reason,
    q850_cause,
    reasons_of,
    sip_cause,
    words_of,
)
from ringback.sessions.story import Arrow, Leg, Session, Transaction

PASSED_ON_US = 1_000_000  # a CANCEL that leaves a node this soon after one came in is the same CANCEL


@dataclass(frozen=True, slots=True)
class Refusal:
    """A final response of 300 or more that ended a try."""

    attempt: Attempt
    origin: Origin
    code: int
    cause: int | None  # Q.850, where it says more than the code does
    reasons: tuple[Reason, ...]
    words: str  # phrase, reason and warning texts, in lower case

    @property
    def arrow(self) -> Arrow:
        return self.origin.arrow

    @property
    def bare_code(self) -> int:
        """The code where it decides; 0 where the Q.850 cause beside it says more."""
        return 0 if self.cause is not None else self.code


@dataclass(frozen=True, slots=True)
class LegFacts:
    leg: Leg
    attempts: tuple[Attempt, ...]
    tries: tuple[Try, ...]  # what began the leg: the first request and its repetitions outside a dialog
    refusal: Refusal | None
    dialog: Dialog | None
    cancel: Arrow | None  # by the sender of the deciding try
    gave_up: Transaction | None  # a CANCEL that a node made of its own accord
    upstream: str | None = None  # Call-ID of the leg for which a node made this one; None: it stands for itself

    @property
    def deciding(self) -> Attempt | None:
        """The last try; None when the capture begins inside the dialog."""
        return self.tries[-1].attempt if self.tries else None

    @property
    def method(self) -> str:
        return self.tries[0].attempt.method if self.tries else ""

    @property
    def succeeded(self) -> bool:
        return self.dialog is not None or (self.deciding is not None and self.deciding.succeeded_anywhere)

    @property
    def ringing(self) -> Arrow | None:
        """Of the deciding try."""
        return self.deciding.ringing if self.deciding else None

    @property
    def completed_elsewhere(self) -> bool:
        """Another branch or device took the call (RFC 3326: SIP;cause=200), so this leg lost nothing."""
        if self.succeeded:
            return False
        told = [hop.request for hop in self.deciding.cancels if hop.request] if self.deciding else []
        if self.refusal and self.refusal.code == 487:
            told.append(self.refusal.arrow)
        return any(sip_cause(reasons_of(arrow)) == 200 or "elsewhere" in words_of(arrow) for arrow in told)


def legs_of(session: Session, attempts: Sequence[Attempt]) -> dict[str, LegFacts]:
    """By Call-ID, in the session's order."""
    found = {}
    for leg in session.legs:
        own = tuple(one for one in attempts if one.leg == leg.call_id)
        found[leg.call_id] = _leg(leg, own)
    return {call_id: replace(one, upstream=_upstream(one, found)) for call_id, one in found.items()}


def _leg(leg: Leg, attempts: tuple[Attempt, ...]) -> LegFacts:
    fresh = [one for one in attempts if not one.in_dialog]
    method = _beginning_method(leg, fresh)
    begun_by = next((one.hops[0].source for one in fresh if one.method == method), "")
    tries = tries_of(one for one in fresh if one.method == method and one.hops[0].source == begun_by)
    deciding = tries[-1].attempt if tries else None
    dialog = dialog_of(attempts) if method == "INVITE" else None
    refusal = refusal_of(deciding) if deciding and dialog is None else None
    cancel, gave_up = _cancels(deciding) if deciding else (None, None)
    return LegFacts(leg, attempts, tries, refusal, dialog, cancel, gave_up)


def _beginning_method(leg: Leg, fresh: Sequence[Attempt]) -> str:
    methods = [one.method for one in fresh]
    if leg.kind == "call":
        return "INVITE"
    return methods[0] if methods else ""


def refusal_of(attempt: Attempt) -> Refusal | None:
    """None while the attempt has no final response of 300 or more."""
    origin = origin_of(attempt)
    if origin is None or origin.arrow.sip.status < 300 or attempt.succeeded_anywhere:
        return None
    code = origin.arrow.sip.status
    reasons = reasons_of(origin.arrow)
    cause = q850_cause(reasons)
    if cause not in TELLING_CAUSES or code not in GENERIC_CODES:
        cause = None
    return Refusal(attempt, origin, code, cause, reasons, words_of(origin.arrow))


def _cancels(attempt: Attempt) -> tuple[Arrow | None, Transaction | None]:
    """The sender's own CANCEL, and the first that a node further on made without having been sent one."""
    sender = attempt.hops[0].source
    own = next((hop.request for hop in attempt.cancels if hop.source == sender and hop.request), None)
    if own:
        return own, None
    return None, next((hop for hop in attempt.cancels if hop.source != sender), None)


def _upstream(leg: LegFacts, others: dict[str, LegFacts]) -> str | None:
    """The leg whose INVITE was waiting, at a node from which this leg set out, when this leg began."""
    if not leg.tries or leg.method != "INVITE":
        return None
    began, setting_out = leg.tries[0].attempt.began_us, leg.tries[0].attempt.hops[0].source
    waiting: list[tuple[bool, int, str]] = []
    for call_id, other in others.items():
        if call_id == leg.leg.call_id or other.method != "INVITE" or not other.tries:
            continue
        asked = [one.attempt for one in other.tries]
        pending = any(one.began_us < began and not _over(one, began) for one in asked)
        reached = {hop.destination for one in asked for hop in one.hops}
        if pending:
            waiting.append((setting_out in reached, asked[0].began_us, call_id))
    return max(waiting)[2] if waiting else None


def _over(attempt: Attempt, moment_us: int) -> bool:
    """Whether the attempt had its final response by then; a challenge is not the end of what its sender wants."""
    final = attempt.final
    return final is not None and final.time_us < moment_us and final.sip.status not in CHALLENGES
