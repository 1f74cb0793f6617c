"""What was agreed for the media and what was heard (RFC 3264, 3551, 4568; ITU-T G.107, G.114)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ringback.sessions.capture.sdp import MediaSection, Sdp, sdp_of
from ringback.sessions.diagnose.facts import Ending, Facts
from ringback.sessions.diagnose.facts.addresses import Leak, contact_leaks, sdp_leaks
from ringback.sessions.diagnose.facts.attempts import origin_of
from ringback.sessions.diagnose.facts.dialogs import Dialog
from ringback.sessions.diagnose.facts.legs import LegFacts, Refusal
from ringback.sessions.diagnose.facts.media import (
    Hold,
    Negotiation,
    audio_of,
    codec_names,
    holds_of,
    in_common,
    is_fax,
)
from ringback.sessions.diagnose.facts.reasons import words_of
from ringback.sessions.diagnose.finding import Finding, evidence, remarks, tells_ending
from ringback.sessions.diagnose.telling import OF_ENDINGS, ending_values, refusal_evidence, who
from ringback.sessions.diagnose.wording import counted, duration, listed, reason_text, said, wire_text
from ringback.sessions.story import Arrow, Evidence, StreamReport

MOS_LIMIT = 3.6  # "many users dissatisfied" below (G.107 annex B)
LOSS_LIMIT = 3.0  # per cent
JITTER_LIMIT = 30.0  # milliseconds
ENOUGH_PACKETS = 100  # two seconds of speech: fewer say nothing of quality
HEARD_PACKETS = 25  # half a second
HEARD_CALL_US = 3_000_000  # shorter calls may end before the second side has spoken
DROPPED_US = 5_000_000  # a BYE this soon after a refusal follows from it
_REFUSING_MEDIA = frozenset({415, 488, 606})
_ENCRYPTION = re.compile(r"srtp|crypto|encrypt|savp|secure (media|rtp)|dtls|unsecure|insecure")
_MEDIA_TIMEOUT = re.compile(
    r"(media|rtp|rtcp)[ -]?(inactivity|activity)?[ -]?time ?out|no (rtp|media|audio)|lack of (rtp|media)|media not received"
)


@tells_ending("t38-refused", "consequence")
def t38_refused(facts: Facts, ending: Ending) -> Finding | None:
    """A call that offers nothing but T.38, refused."""
    refusal = ending.refusal
    if refusal is None or refusal.code not in _REFUSING_MEDIA:
        return None
    offer = _offer(refusal)
    if offer is None or not is_fax(offer) or audio_of(offer) is not None:
        return None
    values = ending_values(facts, ending) | {"consequence": " The call offered nothing but fax."}
    return Finding("t38-refused", refusal_evidence(facts, ending, refusal), values)


@remarks("t38-refused", "consequence", *OF_ENDINGS)
def t38_refused_in_call(facts: Facts) -> Finding | None:
    """A re-INVITE to T.38 that was refused, or answered with the image section switched off."""
    for dialog, one in _changes(facts):
        if not is_fax(one.offer) or one.answer_arrow is None:
            continue
        code = one.answer_arrow.sip.status
        refused = code >= 400 and code not in (401, 407, 408, 481, 491)
        switched_off = one.answer is not None and not is_fax(one.answer)
        if not (refused or switched_off):
            continue
        ended = dialog.ended_us
        dropped = ended is not None and ended - one.answer_arrow.time_us <= DROPPED_US
        node = _answered_by(facts, one)
        how = f"answered the change to T.38 fax with {said(one.answer_arrow)}"
        values = dict.fromkeys(OF_ENDINGS, "") | {
            "ended": f"{node} {how}{'' if refused else ', without the fax'}",
            "node": node, "said": said(one.answer_arrow), "request": one.attempt.method,
            "consequence": " The call was then ended." if dropped else " The call went on with audio.",
        }  # fmt: skip
        bye = dialog.bye.request if dropped and dialog.bye else None
        shown = evidence(
            (one.offer_arrow, "asks for T.38"), (one.answer_arrow, "refused"), (bye, "and the call ends")
        )
        return Finding("t38-refused", shown, values, severity=None if dropped else "warning")
    return None


@tells_ending("encryption-mismatch", "offered", "answered")
def encryption_mismatch(facts: Facts, ending: Ending) -> Finding | None:
    """A refusal of the media that names encryption, or of an offer in which only the encryption is unusual."""
    refusal = ending.refusal
    if refusal is None or ending.answered:
        return None
    offer = _offer(refusal)
    audio = audio_of(offer) if offer else None
    wants = _wants(refusal)
    if (refusal.code in _REFUSING_MEDIA | {400, 403, 480, 500, 503} and _ENCRYPTION.search(refusal.words)) or (
        refusal.code in _REFUSING_MEDIA and audio and wants and audio.encrypted != wants.encrypted
    ):
        confidence = 0.95
    elif refusal.code in (488, 606) and offer and audio and _only_encrypted(offer) and _common(audio):
        confidence = 0.7
    else:
        return None
    values = ending_values(facts, ending) | {
        "offered": _protection(audio),
        "answered": f" It would take {_protection(wants)}." if wants else "",
    }
    return Finding("encryption-mismatch", refusal_evidence(facts, ending, refusal), values, confidence)


@remarks("encryption-mismatch", "offered", "answered", *OF_ENDINGS)
def encryption_mismatch_in_answer(facts: Facts) -> Finding | None:
    """An answer of plain RTP to an offer of SRTP, or the other way round."""
    for leg in facts.legs.values():
        for one in facts.negotiations[leg.leg.call_id]:
            if one.answer is None or one.answer_arrow is None:
                continue
            pairs = zip(one.offer.media, one.answer.media, strict=False)
            wrong = next(((mine, theirs) for mine, theirs in pairs if _differ(mine, theirs)), None)
            if wrong is None:
                continue
            node = _answered_by(facts, one)
            values = dict.fromkeys(OF_ENDINGS, "") | {
                "ended": f"{node} answered {said(one.answer_arrow)}",
                "node": node, "said": said(one.answer_arrow), "request": one.attempt.method,
                "offered": _protection(wrong[0]),
                "answered": f" The answer takes {_protection(wrong[1])} instead, so that neither side understands the other.",
            }  # fmt: skip
            shown = evidence(
                (one.offer_arrow, f"offers {_protection(wrong[0])}"),
                (one.answer_arrow, f"answers {_protection(wrong[1])}"),
            )
            return Finding("encryption-mismatch", shown, values, 0.9)
    return None


def _differ(mine: MediaSection, theirs: MediaSection) -> bool:
    """Both are used, one surely encrypted and the other surely not. a=crypto beside RTP/AVP is best effort."""
    if mine.kind != "audio" or not mine.port or not theirs.port:
        return False
    sure_mine, sure_theirs = "SAVP" in mine.protocol.upper(), "SAVP" in theirs.protocol.upper()
    optional = (mine.crypto and not sure_mine) or (theirs.crypto and not sure_theirs)
    return sure_mine != sure_theirs and not optional


@tells_ending("codec-mismatch", "offered", "supported")
def codec_mismatch(facts: Facts, ending: Ending) -> Finding | None:
    """415 to an INVITE, 488, 606, or Q.850 65, 70, 88."""
    refusal = ending.refusal
    if refusal is None or ending.answered or ending.cause.method != "INVITE":
        return None
    if refusal.bare_code not in _REFUSING_MEDIA and refusal.cause not in (65, 70, 88):
        return None
    offer, wants = _offer(refusal), _wants(refusal)
    audio = audio_of(offer) if offer else None
    request = refusal.origin.hop.request
    if offer is None and request and request.sip.truncated:
        offered = "a body that the capture holds only in part"
    elif offer is None and request and request.sip.body:
        offered = f"a body of type {wire_text(request.sip.header('content-type')) or 'unknown'}"
    else:
        offered = _codecs(audio)
    node = who(facts, refusal.arrow.source)
    values = ending_values(facts, ending) | {
        "offered": offered,
        "supported": f"{node} would take {_codecs(wants)}" if wants else f"{node} does not say what it would take",
    }
    return Finding(
        "codec-mismatch",
        refusal_evidence(facts, ending, refusal),
        values,
        1.0 if offer or refusal.code == 415 else 0.8,
    )


@remarks("codec-mismatch", "offered", "supported", *OF_ENDINGS)
def codec_mismatch_in_answer(facts: Facts) -> Finding | None:
    """Answered with 2xx, though offer and answer share no speech codec, or the answer switches the audio off."""
    for leg in facts.legs.values():
        for one in facts.negotiations[leg.leg.call_id]:
            if not one.first or one.answer is None or one.answer_arrow is None or one.answer_arrow.sip.status == 100:
                continue
            offered, answered = audio_of(one.offer), audio_of(one.answer)
            if offered is None or not offered.port or not codec_names(offered) or answered is None:
                continue
            if answered.port and (in_common(offered, answered) or not codec_names(answered)):
                continue
            if not answered.port and any(other.port for other in one.answer.media):
                continue  # something else was agreed on: fax, text, video
            node = _answered_by(facts, one)
            took = f"chose {_codecs(answered)}" if answered.port else "switched the audio off"
            values = dict.fromkeys(OF_ENDINGS, "") | {
                "ended": f"{node} answered {said(one.answer_arrow)}",
                "node": node, "said": said(one.answer_arrow), "request": "INVITE",
                "offered": _codecs(offered),
                "supported": f"{node} {took}, so that the two sides have nothing in common",
            }  # fmt: skip
            shown = evidence((one.offer_arrow, f"offers {_codecs(offered)}"), (one.answer_arrow, took))
            return Finding("codec-mismatch", shown, values, 0.95)
    return None


def _offer(refusal: Refusal) -> Sdp | None:
    """As it reached the node that refused: nodes on the way may have changed it."""
    request = refusal.origin.hop.request or refusal.attempt.request
    return sdp_of(request.sip) if request and not request.sip.truncated else None


def _wants(refusal: Refusal) -> MediaSection | None:
    """What a refusal says it would take (RFC 3261 section 21.4.26)."""
    sdp = sdp_of(refusal.arrow.sip)
    return audio_of(sdp) if sdp else None


def _codecs(section: MediaSection | None) -> str:
    return listed(wire_text(name) for name in codec_names(section)[:12]) or "no audio codec"


def _protection(section: MediaSection | None) -> str:
    if section is None:
        return "media that the capture does not show"
    kind = "encrypted media (SRTP)" if section.encrypted else "plain media (RTP)"
    return f"{kind}, {wire_text(section.protocol)}"


def _only_encrypted(offer: Sdp) -> bool:
    sections = [one for one in offer.media if one.kind == "audio" and one.port]
    return bool(sections) and all(one.encrypted and "SAVP" in one.protocol.upper() for one in sections)


def _common(audio: MediaSection) -> bool:
    """Codecs that nearly everything speaks."""
    return bool({"pcmu", "pcma"} & {name.lower() for name in codec_names(audio)})


@remarks("private-address-in-sdp", "address", "packet_source", "by", "passed", "harm")
def private_address_in_sdp(facts: Facts) -> Finding | None:
    """A connection address that is not reachable from outside, in a packet from a public one, not mended further on.

    A notice where the sender itself told it and nothing shows harm: a media relay that latches on to the first packet
    mends that silently.
    """
    for leg in facts.legs.values():
        relayed = bool(facts.downstream(leg))
        for leak in sdp_leaks(leg, relayed=relayed):
            unheard = _unheard_side(facts, leak.leg)
            heard = any(one.leg == leak.leg and one.to_caller and one.to_callee for one in facts.listening)
            if heard:
                continue
            harm = " In this call one side was not heard." if unheard else ""
            grave = bool(unheard) or leak.passed_on
            return _leak_finding(facts, "private-address-in-sdp", leak, harm, grave=grave)
    return None


@remarks("private-address-in-contact", "address", "packet_source", "by", "passed", "harm")
def private_address_in_contact(facts: Facts) -> Finding | None:
    """The same of a Contact. A warning where a request to that address was lost in this session, or a node passed it on."""
    for leg in facts.legs.values():
        relayed = bool(facts.downstream(leg))
        for leak in contact_leaks(leg, relayed=relayed):
            lost = any(
                hop.request and leak.address in hop.request.sip.request_uri and not hop.provisional and not hop.finals
                and len(hop.requests) > 1
                for hop in facts.session.transactions if hop.leg == leak.leg and hop.in_dialog
            )  # fmt: skip
            harm = " In this session a request to that address was lost." if lost else ""
            return _leak_finding(facts, "private-address-in-contact", leak, harm, grave=lost or leak.passed_on)
    return None


def _leak_finding(facts: Facts, issue: str, leak: Leak, harm: str, *, grave: bool) -> Finding:
    sender, node = who(facts, leak.sender), who(facts, leak.arrow.source)
    values = {
        "address": leak.address,
        "packet_source": leak.arrow.hop.source,
        "by": sender,
        "passed": f" {node} passed it on unchanged." if leak.passed_on and node != sender else "",
        "harm": harm,
    }
    shown = evidence((leak.arrow, f"names {leak.address}, sent from {leak.arrow.hop.source}"))
    return Finding(issue, shown, values, 0.9 if grave else 0.6, severity=None if grave else "notice")


@remarks("one-way-audio", "heard", "unheard", "packets", "lasted")
def one_way_audio(facts: Facts) -> Finding | None:
    """Media from one side of an answered call and none from the other, though both were to send."""
    for one in facts.listening:
        dialog, unheard = facts.legs[one.leg].dialog, _unheard_side(facts, one.leg)
        if unheard is None or dialog is None:
            continue
        heard, streams = ("caller", one.to_callee) if unheard == "callee" else ("callee", one.to_caller)
        values = {
            "heard": heard,
            "unheard": unheard,
            "packets": counted(_packets(streams), "packet"),
            "lasted": f"{duration(dialog.duration_us)} " if dialog.duration_us else "",
        }
        shown = evidence((dialog.answer, "answered: both sides were to send"), (_bye(dialog), "hung up"))
        return Finding("one-way-audio", _with_media(facts, shown, streams), values, 0.85, by_absence=True)
    return None


@remarks("no-audio", "how")
def no_audio(facts: Facts) -> Finding | None:
    """An answered call whose end says that no media came, whose reports count none, or whose media ended at the answer."""
    for leg in facts.legs.values():
        dialog = leg.dialog
        if dialog is None:
            continue
        bye = _bye(dialog)
        if bye and _MEDIA_TIMEOUT.search(words_of(bye)):
            how = f"{who(facts, bye.source)} hung up because no media came ({reason_text(bye)})"
            shown = evidence((dialog.answer, "answered"), (bye, "hung up for want of media"))
            return Finding("no-audio", shown, {"how": how}, 0.9)
        if _lasted(facts, dialog) < HEARD_CALL_US or _held_from_start(facts, leg):
            continue
        own = [one for one in facts.session.media if one.leg in ("", leg.leg.call_id)]
        heard = [
            one for one in own if one.packets and (one.from_report or one.ended_us > dialog.answered_us + 500_000)
        ]
        if own and not heard and not _media_elsewhere(facts, leg):
            counted_none = all(not one.packets for one in own)
            how = "the media reports count no packet at all"
            if not counted_none:
                how = "media ran only before the answer, and none after it"
            shown = _with_media(facts, evidence((dialog.answer, "answered"), (bye, "hung up")), own)
            return Finding("no-audio", shown, {"how": how}, 0.85, by_absence=True)
    return None


def _media_elsewhere(facts: Facts, leg: LegFacts) -> bool:
    """Another leg of the session carries media: this one may be relayed where nothing was captured."""
    return any(one.leg not in ("", leg.leg.call_id) and one.packets for one in facts.session.media)


def _unheard_side(facts: Facts, call_id: str) -> str | None:
    """The side of an answered leg from which nothing came while enough came from the other: "caller", "callee" or None."""
    leg = facts.legs[call_id]
    listening = next((one for one in facts.listening if one.leg == call_id), None)
    if listening is None or leg.dialog is None or _held_from_start(facts, leg):
        return None
    to_caller, to_callee = _packets(listening.to_caller), _packets(listening.to_callee)
    if _lasted(facts, leg.dialog) < HEARD_CALL_US:
        return None
    if to_callee >= HEARD_PACKETS and not to_caller:
        return "callee"
    if to_caller >= HEARD_PACKETS and not to_callee:
        return "caller"
    return None


def _lasted(facts: Facts, dialog: Dialog) -> int:
    """Answer to BYE, else to the last that was seen of the call."""
    if dialog.duration_us is not None:
        return dialog.duration_us
    ends = [facts.session.ended_us, *(one.ended_us for one in facts.session.media)]
    return max(ends) - dialog.answered_us


def _packets(streams: Sequence[StreamReport]) -> int:
    return sum(one.packets for one in streams)


def _held_from_start(facts: Facts, leg: LegFacts) -> bool:
    """One direction is all that was ever agreed on: an announcement, or a call that was put on hold at once."""
    for one in facts.negotiations[leg.leg.call_id]:
        for sdp in (one.offer, one.answer):
            audio = audio_of(sdp) if sdp else None
            if audio and (audio.direction != "sendrecv" or audio.on_hold or not audio.port):
                return True
    return False


@remarks("poor-quality", "figures", "limits")
def poor_quality(facts: Facts) -> Finding | None:
    """MOS below 3.6, loss above 3 %, or jitter above 30 ms on a stream of some length."""
    poor = [(one, figures) for one in facts.session.media if (figures := _poor(one))]
    if not poor:
        return None
    told = "; ".join(
        f"{one.source} → {one.destination}{f' ({one.codec})' if one.codec else ''}: {figures}"
        for one, figures in poor[:4]
    )
    if len(poor) > 4:
        told += f"; and {counted(len(poor) - 4, 'more stream')}"
    dialog = next((leg.dialog for leg in facts.legs.values() if leg.dialog), None)
    shown = _with_media(facts, evidence((dialog.answer if dialog else None, "answered")), [one for one, _ in poor])
    limits = f"MOS below {MOS_LIMIT}, loss above {LOSS_LIMIT:g} % or jitter above {JITTER_LIMIT:g} ms"
    return Finding("poor-quality", shown, {"figures": told, "limits": limits}, 0.95)


def _poor(one: StreamReport) -> str:
    """The figures that are beyond their limit, in words; "" when none is."""
    if one.packets < ENOUGH_PACKETS and not (one.from_report and not one.packets):
        return ""
    figures = []
    if one.mos is not None and one.mos < MOS_LIMIT:
        figures.append(f"MOS {one.mos:.1f}")
    if one.loss_percent is not None and one.loss_percent > LOSS_LIMIT:
        figures.append(f"{one.loss_percent:.1f} % lost")
    if one.jitter_ms is not None and one.jitter_ms > JITTER_LIMIT:
        figures.append(f"jitter {one.jitter_ms:.0f} ms")
    return ", ".join(figures)


@remarks("media-on-hold", "holds")
def media_on_hold(facts: Facts) -> Finding | None:
    """The call was put on hold, and taken back or not."""
    for leg in facts.legs.values():
        if leg.dialog is None:
            continue
        holds = list(holds_of(leg.dialog, facts.negotiations[leg.leg.call_id]))
        if holds:
            shown = evidence(
                *(
                    (arrow, why)
                    for one in holds[:6]
                    for arrow, why in ((one.asked, "on hold"), (one.taken_back, "taken back"))
                )
            )
            return Finding("media-on-hold", shown, {"holds": "; ".join(_hold(one) for one in holds[:6])})
    return None


def _hold(one: Hold) -> str:
    lasted = f" for {duration(one.until_us - one.since_us)}" if one.until_us is not None else ""
    if one.taken_back:
        return f"the {one.by} put the call on hold{lasted}"
    return f"the {one.by} put the call on hold and did not take it back{f' until it ended{lasted[4:]} later' if lasted else ''}"


def _changes(facts: Facts) -> Iterator[tuple[Dialog, Negotiation]]:
    for leg in facts.legs.values():
        if leg.dialog:
            for one in facts.negotiations[leg.leg.call_id]:
                if not one.first:
                    yield leg.dialog, one


def _answered_by(facts: Facts, one: Negotiation) -> str:
    """Who made the answer: where it was passed on, the node it came from."""
    origin = origin_of(one.attempt) if one.offer_arrow is one.attempt.request else None
    arrow = one.answer_arrow or one.offer_arrow
    return who(facts, origin.hop.destination if origin else arrow.source)


def _bye(dialog: Dialog) -> Arrow | None:
    return dialog.bye.request if dialog.bye else None


def _with_media(facts: Facts, shown: tuple[Evidence, ...], streams: Sequence[StreamReport]) -> tuple[Evidence, ...]:
    """The evidence, with the log lines and reports of the timeline that tell of these streams."""
    ends = {f"{one.source} → {one.destination}" for one in streams}
    told = [
        Evidence(entry.number, "media report")
        for entry in facts.session.entries
        if entry.kind == "media" and any(one in entry.text for one in ends)
    ]
    return (*shown, *told[:6])
