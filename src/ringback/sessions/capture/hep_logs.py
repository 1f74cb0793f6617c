"""HEP payloads that are no SIP but belong to a session: log lines, RTCP and quality reports, other JSON.

What senders do was read from heplify and captagent (types 05, 22, 23, 32, 35, 63), Kamailio's `hlog()` and OpenSIPS'
`xlog` (type 64).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import orjson

from ringback.sessions.capture.hep import LOG, HepPacket
from ringback.sessions.capture.rtcp import is_rtcp, parse_rtcp
from ringback.sessions.story import LogLine, StreamReport

MAX_TEXT = 16_384  # characters of a log line that are kept
MAX_FIELDS = 64
MAX_VALUE = 512  # characters of a field's value

_RTCP = 0x05
# Payload type -> kind of log line. Types in none of these groups are kept when they hold a JSON object.
_KINDS = {_RTCP: "media", 0x20: "media", 0x22: "media", 0x23: "media", 0x63: "media", 0x32: "sip", 0x35: "dns",
          0x36: "isup", 0x38: "diameter", 0x3C: "cdr", 0x3D: "verto", LOG: "node"}  # fmt: skip
_CALL_ID_FIELDS = ("callid", "sipcallid", "rtpsipcallid", "cid", "correlationid", "sid")  # lower case, letters only
_CALL_ID_IN_TEXT = re.compile(r"\b(?:call-?id|ci)\s*[=:]\s*[\"'<\[]?([^\s\"'<>\],;|]{4,256})", re.IGNORECASE)
_LETTERS = re.compile(r"[^a-z]")
# Names of figures in the JSON of several senders (letters only, in the order of preference) -> our field.
_FIGURES = (
    ("mos", ("mos", "meanmos", "moscq", "moslq")),
    ("jitter_ms", ("meanjitter", "jitter")),
    ("max_jitter_ms", ("maxjitter", "jittermax")),
    ("lost", ("packetloss", "packetslost", "totallost")),
    ("loss_percent", ("losspercent", "packetlosspercent", "packetlossperc")),
    ("packets", ("totalpk", "packets", "totalpackets")),
    ("codec", ("codecname", "codec")),
    ("ssrc", ("ssrc", "sourcessrc")),
    ("source", ("srcmedia", "localaddr")),
    ("destination", ("dstmedia", "remoteaddr")),
)
_RTP_CLOCK = 8000  # Hz: RTCP in JSON does not name the codec, and telephony's usual ones run at this rate


def to_log(packet: HepPacket) -> LogLine | None:
    """The packet as a line of its session's log; None for SIP and for payloads that are neither text nor JSON.

    The Call-ID is the correlation id, else a field of the JSON, else told in the text, else "". Figures of quality
    reports get the field names that `stream_report` reads.
    """
    kind = _KINDS.get(packet.payload_type, "")
    fields = dict(packet.extra)
    call_id = packet.correlation
    if packet.payload_type == _RTCP and is_rtcp(packet.payload):
        text = _of_binary_rtcp(packet.payload, fields)
    else:
        document = _json_object(packet.payload)
        if document is not None:
            call_id = call_id or _call_id(document)
            fields |= _scalars(document)
            fields |= _figures(document)
            text = _report_text(fields) if kind == "media" else packet.payload.decode(errors="replace")
            kind = kind or "report"
        elif kind:
            text = packet.payload.decode(errors="replace").strip("\0\r\n ")
            if not call_id:
                match = _CALL_ID_IN_TEXT.search(text[:MAX_TEXT])
                call_id = match[1] if match else ""
        else:
            return None
    fields.setdefault("source", _socket(packet.hop.source, packet.hop.source_port))
    fields.setdefault("destination", _socket(packet.hop.destination, packet.hop.destination_port))
    node = packet.agent_name or packet.agent or packet.hop.source
    return LogLine(packet.time_us, kind, node, "", text[:MAX_TEXT], call_id, fields)


def stream_report(line: LogLine) -> StreamReport | None:
    """The figures of a "media" line; None where it holds none."""
    fields = line.fields
    mos, jitter = _mos(fields.get("mos")), _float(fields.get("jitter_ms"))
    lost, loss = _int(fields.get("lost")), _float(fields.get("loss_percent"))
    if line.kind != "media" or (mos is None and jitter is None and lost is None and loss is None):
        return None
    return StreamReport(
        source=fields.get("source", ""),
        destination=fields.get("destination", ""),
        ssrc=_int(fields.get("ssrc")),
        started_us=line.time_us,
        ended_us=line.time_us,
        packets=_int(fields.get("packets")) or 0,
        codec=fields.get("codec", ""),
        lost=lost,
        loss_percent=loss,
        jitter_ms=jitter,
        max_jitter_ms=_float(fields.get("max_jitter_ms")),
        mos=mos,
        from_report=True,
        leg=line.call_id,
    )


def _socket(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _json_object(payload: bytes) -> dict[str, object] | None:
    if payload.lstrip()[:1] != b"{":
        return None
    try:
        document = orjson.loads(payload.strip(b"\0\r\n "))
    except orjson.JSONDecodeError:
        return None  # then it is text
    return document if isinstance(document, dict) else None


def _call_id(document: dict[str, object]) -> str:
    by_name = {_LETTERS.sub("", name.lower()): value for name, value in document.items()}
    for name in _CALL_ID_FIELDS:
        value = by_name.get(name)
        if isinstance(value, str) and value:
            return value[:MAX_VALUE]
    return ""


def _scalars(document: dict[str, object]) -> dict[str, str]:
    """The first MAX_FIELDS plain values, as text, by their own names; of nested objects as `outer.inner`."""
    found: dict[str, str] = {}
    for name, value in _flat(document):
        if len(found) == MAX_FIELDS:
            break
        found[name[:64]] = value
    return found


def _flat(document: dict[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in document.items():
        if isinstance(value, dict):
            for inner, scalar in value.items():
                if isinstance(scalar, str | int | float):
                    yield f"{name}.{inner}", str(scalar)[:MAX_VALUE]
        elif isinstance(value, str | int | float):
            yield name, str(value)[:MAX_VALUE]


def _figures(document: dict[str, object]) -> dict[str, str]:
    figures: dict[str, str] = {}
    by_name = {_LETTERS.sub("", name.lower()): value for name, value in document.items()}
    for field, names in _FIGURES:
        for name in names:
            value = by_name.get(name)
            if isinstance(value, str | int | float) and value != "":
                figures[field] = str(value)[:MAX_VALUE]
                break
    blocks = document.get("report_blocks")
    block = blocks[0] if isinstance(blocks, list) and blocks else None
    if isinstance(block, dict):
        figures |= _block_figures(block)
    return figures


def _block_figures(block: dict[str, object]) -> dict[str, str]:
    """One RTCP reception report as heplify and captagent write it, numbers as numbers or as text."""
    figures = {}
    ssrc, lost = _int(block.get("source_ssrc")), _int(block.get("packets_lost"))
    fraction, jitter = _int(block.get("fraction_lost")), _int(block.get("ia_jitter"))
    if ssrc is not None:
        figures["ssrc"] = str(ssrc)
    if lost is not None:
        figures["lost"] = str(lost)
    if fraction is not None:
        figures["loss_percent"] = f"{fraction * 100 / 256:.2f}"
    if jitter is not None:
        figures["jitter_ms"] = f"{jitter * 1000 / _RTP_CLOCK:.2f}"
    return figures


def _of_binary_rtcp(payload: bytes, fields: dict[str, str]) -> str:
    senders, reports = parse_rtcp(payload)
    if senders:
        fields["packets"] = str(senders[0].packets)
    for report in reports:
        fields["ssrc"] = str(report.ssrc)
        if report.lost is not None:
            fields["lost"] = str(report.lost)
        if report.loss_percent is not None:
            fields["loss_percent"] = f"{report.loss_percent:.2f}"
        if report.jitter is not None:
            fields["jitter_ms"] = f"{report.jitter * 1000 / _RTP_CLOCK:.2f}"
        if report.mos is not None:
            fields["mos"] = f"{report.mos:.1f}"
    return _report_text(fields)


def _report_text(fields: dict[str, str]) -> str:
    told = (("MOS", "mos"), ("jitter ms", "jitter_ms"), ("lost", "lost"), ("loss %", "loss_percent"),
            ("packets", "packets"), ("codec", "codec"))  # fmt: skip
    words = [f"{label} {fields[name]}" for label, name in told if name in fields]
    return "Quality report: " + (", ".join(words) or "no figures")


def _mos(value: object) -> float | None:
    """On the scale of 1 to 5: some senders write 10 or 100 times that, and 0 for "not measured"."""
    number = _float(value)
    for scale in (1, 10, 100):
        if number is not None and 1 <= number / scale <= 5:
            return number / scale
    return None


def _int(value: object) -> int | None:
    number = _float(value)
    return int(number) if number is not None else None


def _float(value: object) -> float | None:
    """Plain numbers, also as text; None for anything else and for what no counter can reach."""
    if not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if -1e15 < number < 1e15 else None
