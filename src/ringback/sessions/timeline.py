"""One ordered list of all that is known of a session: SIP, log lines and media reports, numbered together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ringback.sessions import billing_clock, billing_log
from ringback.sessions.story import Arrow, Entry, LogLine, Participant, StreamReport

TOLD_US = 1_000  # clocks that are nearer are put right without a word


def merged(
    arrows: Sequence[Arrow],
    logs: Iterable[LogLine] = (),
    media: Iterable[StreamReport] = (),
    participants: Sequence[Participant] = (),
) -> list[Entry]:
    """Entries numbered from 1; every arrow is given the number of its entry.

    The arrows keep their order, which is causal. A log line has its node's clock correction added, and comes after the
    messages of the same time. A media report stands where its stream ended.
    """
    labels = {participant.id: participant.label for participant in participants}
    writers: dict[str, Participant] = {}
    for participant in participants:
        for name in (participant.id, participant.label, *participant.agents):
            writers[name] = participant
    askers = billing_log.by_name(participants)
    others = [
        _billing_line(log, askers) if log.kind == billing_log.KIND else _line(log, writers.get(log.node))
        for log in logs
    ]
    others += [Entry(0, report.ended_us, "media", "", stream_words(report)) for report in media]
    _put_right(others, arrows, participants)
    others.sort(key=_place)
    entries: list[Entry] = []
    following = 0
    for arrow in arrows:
        while following < len(others) and others[following].time_us < arrow.time_us:
            entries.append(others[following])
            following += 1
        entries.append(
            Entry(0, arrow.time_us, "sip", labels.get(arrow.source, arrow.source), message_words(arrow), arrow)
        )
    entries += others[following:]
    for number, entry in enumerate(entries, 1):
        entry.number = number
        if entry.arrow:
            entry.arrow.number = number
    return entries


def _put_right(others: Iterable[Entry], arrows: Sequence[Arrow], participants: Sequence[Participant]) -> None:
    """Billing engines' clocks; what is more than a busy node's delay is told with the engine's lane."""
    lines = [one for one in others if one.kind == billing_log.KIND]
    for engine, shift in billing_clock.corrections(lines, arrows).items():
        for one in lines:
            if engine in (one.source, one.destination):
                one.time_us += shift
        for participant in participants:
            if participant.id == engine and abs(shift) > TOLD_US:
                participant.skew_us = shift


def _line(log: LogLine, writer: Participant | None) -> Entry:
    """A line under the name of the node that wrote it (HEP tells its number only), on that node's corrected clock."""
    kind = "media" if log.kind == "media" else "log"
    skew_us, node = (writer.skew_us, writer.label) if writer else (0, log.node)
    return Entry(0, log.time_us + skew_us, kind, node, log.text, log=log)


def _place(entry: Entry) -> tuple[int, str, str, int, str]:
    step = billing_log.place_of(entry.log) if entry.kind == billing_log.KIND and entry.log else 0
    return entry.time_us, entry.kind, entry.node, step, entry.text


def _billing_line(log: LogLine, known: Mapping[str, Participant]) -> Entry:
    """On the engine's clock, which is not that of the node under whose name the line may stand."""
    engine, writer = known.get(billing_log.engine_lane(log, known)), known.get(log.node)
    time_us = log.time_us + (engine.skew_us if engine else 0)
    node = writer.label if writer else log.node
    return billing_log.addressed(Entry(0, time_us, billing_log.KIND, node, log.text, log=log), known)


def message_words(arrow: Arrow) -> str:
    """`INVITE sip:18660333777@acme.example`, `180 Ringing (INVITE)`."""
    sip = arrow.sip
    if sip.is_request:
        return f"{sip.method} {sip.request_uri}"
    return f"{sip.status} {sip.phrase} ({sip.method})" if sip.phrase else f"{sip.status} ({sip.method})"


def stream_words(report: StreamReport) -> str:
    """What a stream's figures say, those that were not measured left out."""
    words = ["RTP" if not report.from_report else "Reported RTP"]
    if report.codec:
        words.append(report.codec)
    words.append(f"{report.source} → {report.destination}:")
    figures = [f"{report.packets} packets"]
    if report.lost is not None:
        percent = "" if report.loss_percent is None else f" ({report.loss_percent:.1f} %)"
        figures.append(f"{report.lost} lost{percent}")
    elif report.loss_percent is not None:
        figures.append(f"{report.loss_percent:.1f} % lost")
    if report.jitter_ms is not None:
        figures.append(f"jitter {report.jitter_ms:.1f} ms")
    if report.mos is not None:
        figures.append(f"MOS {report.mos:.1f}")
    return f"{' '.join(words)} {', '.join(figures)}"
