"""What the two sides agreed on, what was heard of it, and when it was on hold (RFC 3264)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ringback.sessions.capture.sdp import MediaSection, Sdp, sdp_of
from ringback.sessions.diagnose.facts.attempts import Attempt
from ringback.sessions.diagnose.facts.dialogs import Dialog
from ringback.sessions.diagnose.facts.legs import LegFacts
from ringback.sessions.story import Arrow, Session, StreamReport

# Payloads that carry no speech: two sides that share nothing else have no codec in common.
DYNAMIC_TYPES = 96  # payload types below are fixed by RFC 3551
COMFORT_NOISE = 13
NO_SPEECH = frozenset({"telephone-event", "cn", "red", "rtx", "ulpfec"})


@dataclass(frozen=True, slots=True)
class Negotiation:
    """One offer and what came of it. Of an INVITE without SDP the offer stands in the 2xx and the answer in the ACK."""

    attempt: Attempt
    offer: Sdp
    offer_arrow: Arrow
    answer: Sdp | None
    answer_arrow: Arrow | None  # with `answer`, or the refusal

    @property
    def first(self) -> bool:
        """It set the call up."""
        return not self.attempt.in_dialog


@dataclass(frozen=True, slots=True)
class Hold:
    by: str  # caller | callee
    since_us: int
    until_us: int | None  # None: not taken back in the capture
    asked: Arrow
    taken_back: Arrow | None


@dataclass(frozen=True, slots=True)
class Listening:
    """What was heard on one leg, towards each side, after the answer."""

    leg: str
    to_caller: tuple[StreamReport, ...]
    to_callee: tuple[StreamReport, ...]


def negotiations_of(leg: LegFacts) -> tuple[Negotiation, ...]:
    found = []
    for attempt in leg.attempts:
        if attempt.method in ("INVITE", "UPDATE"):
            negotiation = _negotiation(attempt)
            if negotiation:
                found.append(negotiation)
    return tuple(found)


def _negotiation(attempt: Attempt) -> Negotiation | None:
    request = attempt.request
    if request is None or request.sip.truncated:
        return None
    final = attempt.final
    offer = sdp_of(request.sip)
    if offer:
        answers = [final] if final else []
        answers += [arrow for hop in attempt.roots for arrow in hop.provisional]
        answered = next(((sdp, arrow) for arrow in answers if (sdp := sdp_of(arrow.sip))), None)
        if answered and attempt.code < 300:
            return Negotiation(attempt, offer, request, answered[0], answered[1])
        return Negotiation(attempt, offer, request, None, final)
    if final is None or final.sip.status >= 300:
        return None
    late_offer = sdp_of(final.sip)
    if late_offer is None:
        return None
    acks = [ack for hop in attempt.roots for ack in hop.acks]
    late = next(((sdp, ack) for ack in acks if (sdp := sdp_of(ack.sip))), None)
    return Negotiation(attempt, late_offer, final, late[0] if late else None, late[1] if late else None)


def audio_of(sdp: Sdp) -> MediaSection | None:
    """The first audio section that is not switched off, else the first one."""
    sections = [one for one in sdp.media if one.kind == "audio"]
    return next((one for one in sections if one.port), sections[0] if sections else None)


def is_fax(sdp: Sdp) -> bool:
    """T.38 is asked for (RFC 3362): an image section over UDPTL, not switched off."""
    return any(
        one.kind == "image" and one.port and any("t38" in text.lower() for text in one.formats) for one in sdp.media
    )


def codec_names(section: MediaSection | None) -> list[str]:
    """Speech codecs by name, in order of preference; a dynamic type without rtpmap by its number."""
    if section is None:
        return []
    names = [codec.name or str(codec.payload_type) for codec in section.codecs]
    return list(dict.fromkeys(name for name in names if name.lower() not in NO_SPEECH))


def in_common(one: MediaSection, other: MediaSection) -> bool:
    """Whether the sections share a speech codec. A type without a name may be anything, so it counts as shared."""
    if any(not codec.name for section in (one, other) for codec in section.codecs):
        return True
    fixed = {codec.payload_type for codec in one.codecs if codec.payload_type < DYNAMIC_TYPES} - {COMFORT_NOISE}
    if fixed & {codec.payload_type for codec in other.codecs}:
        return True  # whatever rtpmap calls it: G729, G729A, G729a
    theirs = {(codec.name.lower(), codec.clock_rate) for codec in other.codecs}
    return any(
        (codec.name.lower(), codec.clock_rate) in theirs
        for codec in one.codecs
        if codec.name.lower() not in NO_SPEECH
    )


def holds_of(dialog: Dialog, negotiations: Sequence[Negotiation]) -> Iterator[Hold]:
    """Asked for within the call by sendonly, inactive or the null address, and accepted."""
    current: dict[str, tuple[int, Arrow]] = {}
    for one in negotiations:
        audio = audio_of(one.offer)
        if one.first or audio is None or one.answer is None:
            continue
        side = dialog.side(one.attempt)
        if one.offer_arrow is not one.attempt.request:
            side = "callee" if side == "caller" else "caller"
        if audio.on_hold and audio.port:
            current.setdefault(side, (one.offer_arrow.time_us, one.offer_arrow))
        elif side in current:
            since, asked = current.pop(side)
            yield Hold(side, since, one.offer_arrow.time_us, asked, one.offer_arrow)
    for side, (since, asked) in current.items():
        yield Hold(side, since, dialog.ended_us, asked, None)


def listening_of(session: Session, leg: LegFacts, negotiations: Sequence[Negotiation]) -> Listening | None:
    """Which of the session's streams ran towards which side of an answered leg; None when no socket is known.

    A socket that a side named in its SDP is where it listens, and (RFC 4961) where it sends from.
    """
    if leg.dialog is None:
        return None
    caller_sockets: set[str] = set()
    callee_sockets: set[str] = set()
    for one in negotiations:
        offered = sockets_of(one.offer)
        answered = sockets_of(one.answer) if one.answer else set()
        by_caller = (leg.dialog.side(one.attempt) == "caller") == (one.offer_arrow is one.attempt.request)
        (caller_sockets if by_caller else callee_sockets).update(offered)
        (callee_sockets if by_caller else caller_sockets).update(answered)
    own = [one for one in session.media if one.leg in ("", leg.leg.call_id)]
    to_caller = [one for one in own if one.destination in caller_sockets or one.source in callee_sockets]
    to_callee = [one for one in own if one.destination in callee_sockets or one.source in caller_sockets]
    if not caller_sockets or not callee_sockets:
        return None
    return Listening(leg.leg.call_id, _later(to_caller, leg.dialog), _later(to_callee, leg.dialog))


def _later(streams: Sequence[StreamReport], dialog: Dialog) -> tuple[StreamReport, ...]:
    """Those that ran on after the answer: early media is not the call's."""
    return tuple(one for one in streams if one.from_report or one.ended_us > dialog.answered_us + 500_000)


def sockets_of(sdp: Sdp) -> set[str]:
    return {
        f"[{one.address}]:{one.port}" if ":" in one.address else f"{one.address}:{one.port}"
        for one in sdp.media
        if one.kind == "audio" and one.port and one.address
    }
