"""An answered call: who answered, was the ACK seen, what changed in it, who hung up (RFC 3261 12-15, RFC 4028)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ringback.sessions.diagnose.facts.attempts import Attempt, Origin, origin_of
from ringback.sessions.diagnose.facts.reasons import Reason, reasons_of
from ringback.sessions.story import Arrow

_SECONDS = re.compile(r"\s*(\d{1,8})")
_REFRESHER = re.compile(r"refresher\s*=\s*(\w+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SessionTimer:
    """RFC 4028, as the last 2xx that named one settled it."""

    interval_us: int
    refresher: str  # "uac" "uas" or ""
    since_us: int  # when that 2xx was seen
    settled: Arrow


@dataclass(frozen=True, slots=True)
class Dialog:
    attempt: Attempt  # the INVITE that was answered
    answer: Arrow  # the first 2xx as the caller got it
    origin: Origin  # the hop whose server answered, and its 2xx
    repeats: tuple[Arrow, ...]  # of the 2xx on that hop
    acks: tuple[Arrow, ...]  # of any hop, in order of time
    requests: tuple[Attempt, ...]  # within the dialog, in order of time
    timer: SessionTimer | None

    @property
    def answered_us(self) -> int:
        return self.answer.time_us

    @property
    def answerer(self) -> str:
        """Participant.id of the node that made the 2xx."""
        return self.origin.hop.destination

    @property
    def acks_at_answerer(self) -> list[Arrow]:
        """Those that were seen on their way into the node that answered, on whatever path."""
        return [ack for ack in self.acks if ack.destination == self.answerer]

    @property
    def byes(self) -> list[Attempt]:
        return [one for one in self.requests if one.method == "BYE"]

    @property
    def bye(self) -> Attempt | None:
        """The one that ended the call."""
        return next(iter(self.byes), None)

    @property
    def ended_us(self) -> int | None:
        return self.bye.began_us if self.bye else None

    @property
    def duration_us(self) -> int | None:
        """Answer to BYE; None while the call goes on."""
        return max(0, self.ended_us - self.answered_us) if self.ended_us is not None else None

    @property
    def bye_reasons(self) -> tuple[Reason, ...]:
        request = self.bye.request if self.bye else None
        return reasons_of(request) if request else ()

    @property
    def changes(self) -> list[Attempt]:
        """re-INVITEs and UPDATEs."""
        return [one for one in self.requests if one.method in ("INVITE", "UPDATE")]

    def side(self, attempt: Attempt) -> str:
        """Who sent a request within the dialog: "caller" or "callee"."""
        return "caller" if attempt.from_tag == self.attempt.from_tag else "callee"


def dialog_of(attempts: Sequence[Attempt]) -> Dialog | None:
    """Of the attempts of one leg; None when no INVITE that began it was answered with 2xx in the capture."""
    invite = next(
        (one for one in attempts if one.method == "INVITE" and not one.in_dialog and one.succeeded_anywhere), None
    )
    if invite is None:
        return None
    origin = origin_of(invite)
    if origin is None or origin.arrow.sip.status >= 300:
        origin = _answered_further_on(invite)
    final = invite.final
    answer = final if final and final.sip.status < 300 else origin.arrow
    others = _other_answers(invite, answer)
    own = [arrow for arrow in origin.hop.finals if arrow.sip.status < 300]
    tag = origin.arrow.sip.to_tag
    repeats = [arrow for arrow in own if arrow is not origin.arrow and arrow.sip.to_tag == tag]
    requests = tuple(
        one
        for one in attempts
        if (one.in_dialog or one.method in ("BYE", "UPDATE", "PRACK", "INFO", "REFER"))
        and not (one.request and others & {one.request.sip.from_tag, one.request.sip.to_tag})
    )
    acks = sorted((ack for hop in invite.hops for ack in hop.acks), key=lambda ack: ack.time_us)
    return Dialog(
        attempt=invite,
        answer=answer,
        origin=origin,
        repeats=tuple(repeats),
        acks=tuple(acks),
        requests=requests,
        timer=_timer(answer, requests),
    )


def _other_answers(invite: Attempt, answer: Arrow) -> set[str]:
    """Tags of forks that answered too (RFC 3261 section 13.2.2.4): what hangs them up does not end the call."""
    answers = (final for hop in invite.roots for final in hop.finals if final.sip.status < 300)
    return {final.sip.to_tag for final in answers} - {answer.sip.to_tag, ""}


def _answered_further_on(invite: Attempt) -> Origin:
    """The earliest 2xx of any hop: the caller's own hop has another final response, or none in the capture."""
    seen = [
        (final.time_us, hop.index, Origin(hop, final))
        for hop in invite.hops
        for final in hop.finals
        if final.sip.status < 300
    ]
    return min(seen, key=lambda one: one[:2])[2]


def _timer(answer: Arrow, requests: Sequence[Attempt]) -> SessionTimer | None:
    """The answer's Session-Expires, or that of the last refresh that worked."""
    settled = [answer]
    settled += [one.final for one in requests if one.method in ("INVITE", "UPDATE") and one.final and one.code < 300]
    timer = None
    for arrow in settled:
        value = arrow.sip.header("session-expires")
        seconds = _SECONDS.match(value)
        if seconds:
            refresher = _REFRESHER.search(value)
            timer = SessionTimer(
                int(seconds[1]) * 1_000_000, refresher[1].lower() if refresher else "", arrow.time_us, arrow
            )
    return timer
