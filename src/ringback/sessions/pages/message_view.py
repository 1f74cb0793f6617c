"""One message as a person reads it: header names and first line told apart, bodies as text or as hex."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ringback.sessions.capture.sip import COMPACT_NAMES
from ringback.sessions.story import Arrow

LONGEST = 64 * 1024  # bytes of one message that a page shows; the export has all
HEX_ROW = 16

# Headers that route or identify: the ones that are looked for first.
_KEY = frozenset(("via", "from", "to", "call-id", "cseq", "contact", "route", "record-route", "max-forwards"))
# Headers that say why something ended or was refused.
_WHY = frozenset(
    (
        "reason",
        "warning",
        "retry-after",
        "error-info",
        "www-authenticate",
        "proxy-authenticate",
        "unsupported",
        "min-expires",
    )
)


@dataclass(frozen=True, slots=True)
class Line:
    """`kind`: start, failure (a start line of 300 and more), header, key, why, folded, body, hex, note."""

    kind: str
    text: str
    name: str = ""  # of a header, as written

    @property
    def whole(self) -> str:
        return f"{self.name}:{self.text}" if self.name else self.text


@dataclass(frozen=True, slots=True)
class MessageText:
    lines: list[Line]
    copied: str  # what the copy button takes: the message as text


def message_text(arrow: Arrow) -> MessageText:
    payload = arrow.payload[:LONGEST]
    head, blank, body = _split(payload)
    lines = list(_head_lines(head, arrow))
    if blank and body:
        lines.append(Line("body", ""))
        lines += _body_lines(body)
    if len(arrow.payload) > LONGEST:
        lines.append(
            Line("note", f"{len(arrow.payload) - LONGEST} more bytes are not shown; the pcap export has them.")
        )
    if arrow.sip.truncated:
        lines.append(Line("note", "The message is longer than what was captured."))
    return MessageText(lines, payload.decode("utf-8", "replace"))


def hex_lines(data: bytes) -> Iterator[str]:
    """``0000  52 54 50 ...  RTP...``"""
    for offset in range(0, len(data), HEX_ROW):
        row = data[offset : offset + HEX_ROW]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{offset:04x}  {row.hex(' '):<{HEX_ROW * 3}} {letters}"


def body_text(body: bytes) -> str | None:
    """The body as text; None where it is no text."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if all(char.isprintable() or char in "\r\n\t" for char in text) else None


def _split(payload: bytes) -> tuple[bytes, bytes, bytes]:
    """(head, blank line, body) by whichever of the two line ends comes first."""
    found = [(at, mark) for mark in (b"\r\n\r\n", b"\n\n") if (at := payload.find(mark)) >= 0]
    if not found:
        return payload, b"", b""
    at, mark = min(found)
    return payload[:at], mark, payload[at + len(mark) :]


def _head_lines(head: bytes, arrow: Arrow) -> Iterator[Line]:
    first, *rest = head.decode("utf-8", "replace").replace("\r\n", "\n").lstrip("\n").split("\n")
    yield Line("failure" if arrow.sip.status >= 300 else "start", first)
    for text in rest:
        name, colon, value = text.partition(":")
        if text[:1] in (" ", "\t") or not colon:
            yield Line("folded", text)
            continue
        canonical = name.strip().lower()
        canonical = COMPACT_NAMES.get(canonical, canonical)
        kind = "why" if canonical in _WHY else "key" if canonical in _KEY else "header"
        yield Line(kind, value, name)


def _body_lines(body: bytes) -> Iterator[Line]:
    text = body_text(body)
    if text is None:
        yield from (Line("hex", row) for row in hex_lines(body))
        return
    yield from (Line("body", line) for line in text.replace("\r\n", "\n").rstrip("\n").split("\n"))
