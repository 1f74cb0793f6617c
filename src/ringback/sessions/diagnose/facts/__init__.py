"""Facts: everything that predicates ask of a session, worked out once from its story."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from ringback.sessions.diagnose.billing_reasons import Reasons, built_in
from ringback.sessions.diagnose.facts.attempts import Attempt, attempts_of, only_trying, silent_hop
from ringback.sessions.diagnose.facts.billing import Billing, billing_of
from ringback.sessions.diagnose.facts.gaps import Gap, gaps_of, truncated_of
from ringback.sessions.diagnose.facts.legs import LegFacts, Refusal, legs_of
from ringback.sessions.diagnose.facts.media import Listening, Negotiation, listening_of, negotiations_of
from ringback.sessions.story import Arrow, Participant, Session, Transaction

__all__ = ["Ending", "Facts", "facts_of"]


@dataclass(frozen=True, slots=True)
class Ending:
    """What a leg that stands for itself came to, and the leg in which that was decided.

    Of a call that a B2BUA passed on and lost, `leg` is the caller's leg and `cause` the one on which it was lost.
    """

    leg: LegFacts
    cause: LegFacts

    @property
    def attempt(self) -> Attempt | None:
        """Where it was decided."""
        return self.cause.deciding

    @property
    def refusal(self) -> Refusal | None:
        """The final response that decided, as its origin sent it. A 487 on a leg that its own B2BUA gave up decides nothing."""
        own = self.cause.refusal
        if self.cause is not self.leg and (own is None or own.code == 487):
            return self.leg.refusal
        return own

    @property
    def told(self) -> Arrow | None:
        """The final response that whoever began it got."""
        return self.leg.deciding.final if self.leg.deciding else None

    @property
    def cancel(self) -> Arrow | None:
        """By whoever began it."""
        return self.leg.cancel

    @property
    def gave_up(self) -> Transaction | None:
        """The CANCEL of a node of its own accord: a proxy on a branch, or a B2BUA on the leg it made."""
        if self.leg.cancel:
            return None
        if self.leg.gave_up:
            return self.leg.gave_up
        if self.cause is not self.leg and self.cause.cancel and self.cause.deciding:
            return next((hop for hop in self.cause.deciding.cancels), None)
        return None

    @property
    def ringing(self) -> Arrow | None:
        return self.leg.ringing or self.cause.ringing

    @property
    def answered(self) -> bool:
        return self.leg.dialog is not None

    @property
    def alive(self) -> bool:
        """A check of liveness that was answered at all: 404 or 405 to OPTIONS tells as much as 200 (RFC 3261 section 11)."""
        final = self.told
        if final is None or (self.leg.method != "OPTIONS" and not self._keeps_alive):
            return False
        return (final.sip.status < 500 and final.sip.status != 408) or final.sip.status in (501, 505)

    @property
    def _keeps_alive(self) -> bool:
        request = self.leg.deciding.request if self.leg.deciding else None
        return (
            request is not None and request.sip.method == "NOTIFY" and "keep" in request.sip.header("event").lower()
        )


@dataclass(frozen=True)
class Facts:
    """All times are microseconds of the story's clock. Places are Participant.id."""

    session: Session
    participants: Mapping[str, Participant]
    attempts: tuple[Attempt, ...]
    legs: Mapping[str, LegFacts]
    gaps: tuple[Gap, ...]
    truncated: tuple[Arrow, ...]
    billing: Billing

    @cached_property
    def endings(self) -> tuple[Ending, ...]:
        """One for every leg that was not made by a node on behalf of another one."""
        return tuple(
            Ending(leg, self._cause(leg))
            for leg in self.legs.values()
            if leg.tries and not self._made_for_another(leg)
        )

    @cached_property
    def negotiations(self) -> Mapping[str, tuple[Negotiation, ...]]:
        """By Call-ID."""
        return {call_id: negotiations_of(leg) for call_id, leg in self.legs.items()}

    @cached_property
    def listening(self) -> tuple[Listening, ...]:
        """Of the answered legs whose sockets are known. Empty when the capture holds no media at all."""
        if not self.session.media:
            return ()
        found = (listening_of(self.session, leg, self.negotiations[call_id]) for call_id, leg in self.legs.items())
        return tuple(one for one in found if one)

    @property
    def silence_us(self) -> int | None:
        """How long the capture went on after the session's last message; None where nobody knows."""
        until = self.session.watched_until_us
        if until is None or until <= self.session.ended_us:
            return None
        return until - self.session.ended_us

    def downstream(self, leg: LegFacts) -> list[LegFacts]:
        """The legs that a node made on behalf of this one, in order of their start."""
        made = [one for one in self.legs.values() if one.upstream == leg.leg.call_id]
        return sorted(made, key=lambda one: one.tries[0].attempt.began_us)

    def gaps_in(self, call_id: str) -> list[Gap]:
        return [gap for gap in self.gaps if gap.leg == call_id]

    def unheard(self, attempt: Attempt) -> Transaction | None:
        """The last branch of the attempt, when nothing at all came back on it and no other node says otherwise."""
        hop = silent_hop(attempt)
        if hop is None or attempt.succeeded_anywhere:
            return None
        parent = next((one for one in attempt.hops if one.index == hop.parent), None)
        if (
            parent
            and any(arrow.sip.status > 100 for arrow in parent.provisional)
            and len(attempt.children(parent)) == 1
        ):
            return None  # what was passed on must have come from somewhere
        return hop

    def stuck(self, attempt: Attempt) -> Transaction | None:
        """The last hop on which a 100 came and nothing else, when nothing more came on any hop."""
        if attempt.provisional or attempt.succeeded_anywhere:
            return None
        hops = only_trying(attempt)
        return hops[-1] if hops else None

    def _made_for_another(self, leg: LegFacts) -> bool:
        return leg.upstream in self.legs

    def _cause(self, leg: LegFacts) -> LegFacts:
        while not leg.succeeded:
            lost = [one for one in self.downstream(leg) if not one.succeeded]
            if not lost:
                break
            leg = lost[-1]
        return leg

    def messages(self) -> Iterator[Arrow]:
        """Without retransmissions."""
        return (arrow for arrow in self.session.arrows if not arrow.is_retransmission)


def facts_of(session: Session, reasons: Reasons | None = None) -> Facts:
    """Never raises: what a broken message does not say is simply not known. `reasons`: of billing engines' refusals."""
    attempts = attempts_of(session)
    legs = legs_of(session, attempts)
    return Facts(
        session=session,
        participants={one.id: one for one in session.participants},
        attempts=attempts,
        legs=legs,
        gaps=gaps_of(session, legs),
        truncated=truncated_of(session),
        billing=billing_of(session, reasons or built_in()),
    )
