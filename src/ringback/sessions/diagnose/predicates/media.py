"""What was heard of an answered call, how well, and when it was on hold (ITU-T G.107, RFC 3550, RFC 3264 section 8.4)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ringback.sessions.diagnose.facts import Facts
from ringback.sessions.diagnose.facts.dialogs import Dialog
from ringback.sessions.diagnose.facts.legs import LegFacts
from ringback.sessions.diagnose.facts.media import Hold, audio_of, holds_of, sockets_of
from ringback.sessions.diagnose.facts.reasons import words_of
from ringback.sessions.diagnose.finding import Finding, evidence, remarks
from ringback.sessions.diagnose.telling import who
from ringback.sessions.diagnose.wording import counted, duration, listed, reason_text
from ringback.sessions.story import Arrow, Evidence, StreamReport

MOS_LIMIT = 3.6  # "many users dissatisfied" below (G.107 annex B)
LOSS_LIMIT = 3.0  # per cent
JITTER_LIMIT = 30.0  # milliseconds
ENOUGH_PACKETS = 100  # two seconds of speech: fewer say nothing of quality
ALL_LOST = 99.5  # per cent
HEARD_PACKETS = 25  # half a second
HEARD_CALL_US = 3_000_000  # shorter calls may end before the second side has spoken
_MEDIA_TIMEOUT = re.compile(
    r"(media|rtp|rtcp)[ -]?(inactivity|activity)?[ -]?time ?out|no (rtp|media|audio)|lack of (rtp|media)|media not received"
)


@remarks("one-way-audio", "heard", "unheard", "packets", "lasted")
def one_way_audio(facts: Facts) -> Finding | None:
    """Media from one side of an answered call and none from the other, though both were to send."""
    for one in facts.listening:
        dialog, unheard = facts.legs[one.leg].dialog, unheard_side(facts, one.leg)
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
    """A BYE that names missing media, reports of only loss, media that ended at the answer, none where others have some."""
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
        how = _nothing_heard(facts, leg, dialog, own)
        if how:
            shown = _with_media(facts, evidence((dialog.answer, "answered"), (bye, "hung up")), own)
            return Finding("no-audio", shown, {"how": how}, 0.85, by_absence=True)
    return None


def _nothing_heard(facts: Facts, leg: LegFacts, dialog: Dialog, own: Sequence[StreamReport]) -> str:
    """How it is known, "" when it is not."""
    if not own:
        return _silent_beside_others(facts, leg)
    if all(one.loss_percent is not None and one.loss_percent >= ALL_LOST for one in own):
        return "the media reports count nothing but loss"
    counted_streams = [one for one in own if not one.from_report]
    ran_on = any(one.ended_us > dialog.answered_us + 500_000 for one in own)
    elsewhere = any(one.leg not in ("", leg.leg.call_id) and one.packets for one in facts.session.media)
    if ran_on or elsewhere or not counted_streams or len(counted_streams) < len(own):
        return ""
    stayed = {
        socket for one in facts.negotiations[leg.leg.call_id][:1] if one.answer for socket in sockets_of(one.answer)
    }
    moved = any(one.answer for one in facts.negotiations[leg.leg.call_id][1:])
    if moved or not any({one.source, one.destination} & stayed for one in counted_streams):
        return ""  # with the answer or later it went to other addresses, which the capture may not see
    return "media ran only before the answer, and none after it"


def _silent_beside_others(facts: Facts, leg: LegFacts) -> str:
    """No packet of this call, while the capture holds the media that one of its two ends had in other calls.

    A capture without any media proves nothing, nor one in which neither end is heard.
    """
    settled = [one for one in facts.negotiations[leg.leg.call_id] if one.answer]
    if len(settled) != 1 or facts.session.media:
        return ""
    sections = [audio_of(settled[0].offer), audio_of(settled[0].answer) if settled[0].answer else None]
    if any(one is None or not one.port or one.ice or not one.codecs for one in sections):
        return ""
    ends = {one.address for one in sections if one}
    heard = sorted(ends & facts.session.media_hosts)
    if len(ends) < 2 or not heard:
        return ""
    return f"no media ran in it, though the capture holds what {listed(heard)} sent and got in other calls"


def unheard_side(facts: Facts, call_id: str) -> str | None:
    """The side of an answered leg from which nothing came while enough came from the other: "caller", "callee" or None.

    Only packets that were counted prove it: that one side sends reports and the other does not is usual.
    """
    leg = facts.legs[call_id]
    listening = next((one for one in facts.listening if one.leg == call_id), None)
    if listening is None or leg.dialog is None or _held_from_start(facts, leg):
        return None
    if _lasted(facts, leg.dialog) < HEARD_CALL_US:
        return None
    if _packets(listening.to_callee) >= HEARD_PACKETS and not listening.to_caller:
        return "callee"
    if _packets(listening.to_caller) >= HEARD_PACKETS and not listening.to_callee:
        return "caller"
    return None


def _lasted(facts: Facts, dialog: Dialog) -> int:
    """Answer to BYE, else to the last that was seen of the call."""
    if dialog.duration_us is not None:
        return dialog.duration_us
    ends = [facts.session.ended_us, *(one.ended_us for one in facts.session.media)]
    return max(ends) - dialog.answered_us


def _packets(streams: Sequence[StreamReport]) -> int:
    return sum(one.packets for one in streams if not one.from_report)


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
