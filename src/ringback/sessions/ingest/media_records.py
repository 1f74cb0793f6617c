"""Media figures as log records: one RTP stream (or quality report) is one record of kind "media" with its Call-ID.

The fields are those that `hep_logs.to_log` gives quality reports, so that what came over HEP and what a capture's RTP
was reduced to are read alike.
"""

from __future__ import annotations

from dataclasses import replace

from ringback.events.store import LogRecord
from ringback.records.environments import DEFAULT_ENVIRONMENT
from ringback.sessions.capture.hep_logs import stream_report
from ringback.sessions.ownership.lines import environment_of_line
from ringback.sessions.ownership.rules import TrafficRules
from ringback.sessions.story import LogLine, StreamReport

MEDIA_KIND = "media"
_FIGURES = ("ssrc", "payload_type", "lost", "loss_percent", "jitter_ms", "max_jitter_ms", "mos")


def encode_media(report: StreamReport, environment: str = DEFAULT_ENVIRONMENT, *, node: str = "") -> LogRecord:
    """`decode_media` gives back an equal report."""
    fields = {
        "source": report.source,
        "destination": report.destination,
        "packets": str(report.packets),
        "codec": report.codec,
        "started_us": str(report.started_us),
        "from_report": "yes" if report.from_report else "no",
    }
    fields |= {name: str(value) for name in _FIGURES if (value := getattr(report, name)) is not None}
    return LogRecord(
        environment=environment,
        time_us=report.ended_us,
        kind=MEDIA_KIND,
        node=node,
        level="",
        text=_sentence(report),
        call_id=report.leg,
        fields={name: value for name, value in fields.items() if value},
    )


def media_record(report: StreamReport, owners: TrafficRules) -> LogRecord:
    """To be stored where the rules say of its sockets."""
    record = encode_media(report, "")
    return replace(record, environment=environment_of_line(owners, record))


def decode_media(record: LogRecord) -> StreamReport | None:
    """The figures of a record of kind "media", ours or a quality report that came over HEP or HTTP; None where it
    holds none."""
    fields = record.fields
    if "started_us" in fields:
        try:
            return _own(record, fields)
        except ValueError:
            pass  # someone else's field of that name
    line = LogLine(record.time_us, record.kind, record.node, record.level, record.text, record.call_id, fields)
    return stream_report(line)


def _own(record: LogRecord, fields: dict[str, str]) -> StreamReport:
    return StreamReport(
        source=fields.get("source", ""),
        destination=fields.get("destination", ""),
        ssrc=_whole(fields.get("ssrc")),
        started_us=int(fields["started_us"]),
        ended_us=record.time_us,
        packets=int(fields.get("packets", "0")),
        codec=fields.get("codec", ""),
        payload_type=_whole(fields.get("payload_type")),
        lost=_whole(fields.get("lost")),
        loss_percent=_number(fields.get("loss_percent")),
        jitter_ms=_number(fields.get("jitter_ms")),
        max_jitter_ms=_number(fields.get("max_jitter_ms")),
        mos=_number(fields.get("mos")),
        from_report=fields.get("from_report") == "yes",
        leg=record.call_id,
    )


def _sentence(report: StreamReport) -> str:
    figures = [f"{report.packets} packets"]
    if report.lost is not None:
        figures.append(f"{report.lost} lost")
    if report.jitter_ms is not None:
        figures.append(f"jitter {report.jitter_ms:.1f} ms")
    if report.mos is not None:
        figures.append(f"MOS {report.mos:.1f}")
    codec = f"{report.codec} " if report.codec else ""
    return f"{codec}from {report.source} to {report.destination}: {', '.join(figures)}"


def _whole(text: str | None) -> int | None:
    return None if text is None else int(text)


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)
