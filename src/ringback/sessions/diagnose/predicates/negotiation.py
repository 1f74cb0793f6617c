"""What offer and answer, or offer and refusal, say of the media: codecs, encryption, fax (RFC 3264, 3551, 4568, 3362)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ringback.sessions.capture.sdp import MediaSection, Sdp, sdp_of
from ringback.sessions.diagnose.facts import Ending, Facts
from ringback.sessions.diagnose.facts.attempts import origin_of
from ringback.sessions.diagnose.facts.dialogs import Dialog
from ringback.sessions.diagnose.facts.legs import Refusal
from ringback.sessions.diagnose.facts.media import Negotiation, audio_of, codec_names, in_common, is_fax
from ringback.sessions.diagnose.facts.reasons import GENERIC_CODES, warnings_of
from ringback.sessions.diagnose.finding import Finding, evidence, remarks, tells_ending
from ringback.sessions.diagnose.telling import OF_ENDINGS, ending_values, refusal_evidence, who
from ringback.sessions.diagnose.wording import listed, said, wire_text

DROPPED_US = 5_000_000  # a BYE this soon after a refusal follows from it
INCOMPATIBLE_TRANSPORT = 302  # Warning codes of RFC 3261 section 20.43
INCOMPATIBLE_FORMATS = frozenset({304, 305})
_REFUSING_MEDIA = frozenset({415, 488, 606})
_ENCRYPTION = re.compile(r"srtp|crypto|encrypt|savp|secure (media|rtp)|dtls|unsecure|insecure")


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
    warned = {code for code, _ in warnings_of(refusal.arrow)}
    refuses_media = refusal.code in _REFUSING_MEDIA
    differs = audio is not None and wants is not None and audio.encrypted != wants.encrypted
    if (refusal.code in _REFUSING_MEDIA | GENERIC_CODES and _ENCRYPTION.search(refusal.words)) or (
        refuses_media and differs
    ):
        confidence = 0.95
    elif refuses_media and INCOMPATIBLE_TRANSPORT in warned:
        confidence = 0.9
    elif INCOMPATIBLE_FORMATS & warned:
        return None
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
