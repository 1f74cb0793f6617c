"""SIP on the wire: the whole parse of one message, and the quick scan that ingest lives on.

Sources: RFC 3261 sections 7, 18.3 and 25; RFC 3261 7.3.3 and later registrations for compact names; RFC 4475.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ringback.sessions.capture.address import Address, SipUri, Via, parse_address, parse_uri, parse_via, split_outside

__all__ = [
    "Address", "NotSip", "SipMessage", "SipUri", "Via", "looks_like_sip", "parse", "parse_address", "parse_uri",
    "parse_via", "scan", "why_not_sip",
]  # fmt: skip

METHODS = frozenset(
    ("INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "INFO", "PRACK", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER",
     "MESSAGE", "PUBLISH")
)  # fmt: skip

COMPACT_NAMES = {
    "a": "accept-contact", "b": "referred-by", "c": "content-type", "d": "request-disposition", "e": "content-encoding",
    "f": "from", "i": "call-id", "j": "reject-contact", "k": "supported", "l": "content-length", "m": "contact",
    "n": "identity-info", "o": "event", "r": "refer-to", "s": "subject", "t": "to", "u": "allow-events", "v": "via",
    "x": "session-expires", "y": "identity",
}  # fmt: skip

# A comma does not separate values here: RFC 3261 section 7.3.1 and the headers that hold free text or one value.
# From, To and their like are single, and phones send unquoted "Doe, John <sip:...>" in them.
_UNSPLIT = frozenset(
    ("authorization", "proxy-authorization", "www-authenticate", "proxy-authenticate", "authentication-info", "date",
     "subject", "organization", "user-agent", "server", "from", "to", "refer-to", "referred-by", "identity",
     "call-id", "timestamp", "retry-after")
)  # fmt: skip

_MAX_CSEQ = 0xFFFFFFFF
_MAX_JUNK = 32  # bytes before a start line that still are junk, and not another protocol that quotes SIP
_MAX_LINE = 8192

# What opens a request of a known method in its first four bytes, and a response.
REQUEST_WORDS = frozenset(method.encode().ljust(4)[:4] for method in METHODS)
RESPONSE_WORD = b"SIP/"
_KNOWN_START = rb"(?:" + b"|".join(sorted(REQUEST_WORDS)) + rb")[^\n]{0,8000}?"
_STATUS_LINE = rb"SIP/2\.0 \d\d\d[^\n]*?(?=\r?(?:\n|\Z))"
_TOKEN = rb"[A-Za-z0-9.!%*_+`'~-]{1,32}"
_END = rb" SIP/2\.0(?=[ \t]*\r?(?:\n|\Z))"
_START_LINE = re.compile(rb"%b%b|%b [^\n]{1,8000}?%b|%b" % (_KNOWN_START, _END, _TOKEN, _END, _STATUS_LINE))
_START_LINE_AFTER_JUNK = re.compile(rb"(?s:.{0,%d}?)(%b%b|%b)" % (_MAX_JUNK, _KNOWN_START, _END, _STATUS_LINE))
_CUT_START_LINE = re.compile(
    rb"(?:%b) (?:sips?|tel|urn):[^\n]*\Z" % b"|".join(method.encode() for method in sorted(METHODS))
)
_CALL_ID = re.compile(rb"\n(?:call-id|i)[ \t]*:(?:[ \t]|\r?\n[ \t])*([^\r\n]+)(?=\r?\n)", re.IGNORECASE)
_CSEQ = re.compile(rb"\ncseq[ \t]*:(?:[ \t]|\r?\n[ \t])*(\d{1,10})(?=[ \t\r\n])", re.IGNORECASE)
_BLANK_LINE = re.compile(rb"\n\r?\n")
_FOLD = re.compile(r"\r?\n[ \t]+")
_METHOD_OF_CSEQ = re.compile(r"\d+\s+(\S+)")
_STUN_COOKIE = b"\x21\x12\xa4\x42"


class NotSip(ValueError):
    """The bytes are no SIP message; the text says what was found instead."""


@dataclass(frozen=True, slots=True)
class SipMessage:
    """One parsed message. Header names are canonical long forms in lower case ("call-id"), values unfolded text."""

    is_request: bool
    method: str  # of the request, or of the CSeq of a response
    request_uri: str  # "" for a response
    status: int  # 0 for a request
    phrase: str
    headers: tuple[tuple[str, str], ...]  # in order; a multi-value line stays one pair
    body: bytes
    content_length: int | None  # as declared; None when absent or broken
    truncated: bool  # the body is shorter than Content-Length says, or the head has no end
    call_id: str
    cseq: int  # -1 when absent or broken

    def header(self, name: str) -> str:
        """First value of `name` (canonical lower case), "" when absent."""
        for key, value in self.headers:
            if key == name:
                return value
        return ""

    def values(self, name: str) -> list[str]:
        """All values of `name`, comma-separated ones split (not inside quotes or angle brackets)."""
        found: list[str] = []
        for key, value in self.headers:
            if key != name:
                continue
            if name in _UNSPLIT or "," not in value:
                found.append(value)
            else:
                found += [part.strip() for part in split_outside(value, ",")]
        return found

    def addresses(self, name: str) -> list[Address]:
        """The values of an address header that could be read; broken ones are left out."""
        found = []
        for value in self.values(name):
            try:
                found.append(parse_address(value))
            except ValueError:
                continue  # as promised; the raw value stays in `headers`
        return found

    @property
    def vias(self) -> list[Via]:
        """Top first; those that could not be read are left out."""
        found = []
        for value in self.values("via"):
            try:
                found.append(parse_via(value))
            except ValueError:
                continue  # as promised; the raw value stays in `headers`
        return found

    @property
    def top_via(self) -> Via | None:
        vias = self.vias
        return vias[0] if vias else None

    @property
    def from_tag(self) -> str:
        return self._tag("from")

    @property
    def to_tag(self) -> str:
        return self._tag("to")

    def _tag(self, name: str) -> str:
        addresses = self.addresses(name)
        return addresses[0].tag if addresses else ""


def scan(payload: bytes) -> tuple[bytes, bytes, int] | None:
    """(Call-ID, first line, CSeq number) as fast as Python can, or None when this is no SIP message.

    Knows `i:`, folding, odd spacing and junk before the message; reads nothing else. Of a SIP message that lacks
    them (or was cut before them) the Call-ID is b"" and the CSeq -1. `parse` tells the same three.
    """
    end = payload.find(b"\n")
    line = payload[:end]
    if (line[-9:] == b" SIP/2.0\r" and line[:4] in REQUEST_WORDS) or (
        line[:8] == b"SIP/2.0 " and line[8:11].isdigit() and line[-1:] == b"\r"
    ):
        at = payload.find(b"\r\nCall-ID: ", end) + 11
        if at != 10 and payload.find(b"\r\n\r\n", end - 1, at) < 0:
            stop = payload.find(b"\r\n", at)
            number = stop + 8
            if payload[stop:number] != b"\r\nCSeq: ":  # nearly everyone writes it next
                number = payload.find(b"\r\nCSeq: ", stop) + 8
            call_id = payload[at:stop].strip()
            digits = payload[number : payload.find(b" ", number, number + 10)]
            if (
                stop > 0
                and digits.isdigit()
                and call_id
                and (number == stop + 8 or (number != 7 and payload.rfind(b"\r\n\r\n", stop, number) < 0))
            ):
                return call_id, line[:-1], int(digits)
    return _scan_slowly(payload)


def looks_like_sip(payload: bytes) -> bool:
    """Whether `payload` begins with a SIP start line: true exactly where `scan` finds something and `parse` does not raise."""
    return _start_line(payload) is not None


def why_not_sip(payload: bytes) -> str:
    """What stands on a SIP port and is no SIP, as a short reason for a counter: "keep-alive", "STUN" or "not SIP"."""
    if len(payload) <= 4 or not payload.strip(b"\r\n\0 "):
        return "keep-alive"
    if payload[4:8] == _STUN_COOKIE and len(payload) >= 20:
        return "STUN"
    return "not SIP"


def parse(payload: bytes) -> SipMessage:
    """The whole message, tolerant of what real senders do. Raises NotSip.

    A head that is no UTF-8 is read as Latin-1. Bytes beyond Content-Length are dropped (RFC 3261 section 18.3).
    """
    scanned = scan(payload)
    if scanned is None:
        raise NotSip(f"{why_not_sip(payload)}: {payload[:40]!r}")
    call_id, first_line, cseq = scanned
    start = payload.find(first_line)
    blank = _BLANK_LINE.search(payload, start)
    head = payload[start + len(first_line) : blank.start() if blank else None]
    body = payload[blank.end() :] if blank else b""

    headers = _headers(_text(head))
    content_length = _content_length(headers)
    truncated = blank is None
    if content_length is not None and blank:
        # Senders that turn CRLF into LF on the way to HEP leave Content-Length as it was.
        lost_cr = 0 if b"\r\n" in payload else body.count(b"\n")
        truncated = len(body) + lost_cr < content_length
        body = body[:content_length]

    line = _text(first_line)
    is_request = not line.startswith("SIP/2.0 ")
    if is_request:
        method, _, rest = line.partition(" ")
        request_uri, status, phrase = rest.removesuffix("SIP/2.0").strip(), 0, ""
    else:
        method = _method_of_cseq(headers)
        request_uri, status, phrase = "", int(line[8:11]), line[11:].strip()
    return SipMessage(
        is_request=is_request,
        method=method,
        request_uri=request_uri,
        status=status,
        phrase=phrase,
        headers=headers,
        body=body,
        content_length=content_length,
        truncated=truncated,
        call_id=_text(call_id),
        cseq=cseq,
    )


def _scan_slowly(payload: bytes) -> tuple[bytes, bytes, int] | None:
    first = _start_line(payload)
    if first is None:
        return None
    start = payload.find(first)
    blank = _BLANK_LINE.search(payload, start)
    end = blank.end() if blank else len(payload)
    call_id = _CALL_ID.search(payload, start, end)
    cseq = _CSEQ.search(payload, start, end)
    number = int(cseq[1]) if cseq else -1
    return call_id[1].strip() if call_id else b"", first, number if number <= _MAX_CSEQ else -1


def _start_line(payload: bytes) -> bytes | None:
    """The start line without what stands before it, None when this is no SIP."""
    match = _START_LINE.match(payload)
    if match:
        return match[0]
    stripped = payload.lstrip(b"\r\n\0 \t")
    match = _START_LINE.match(stripped) or _CUT_START_LINE.match(stripped)
    if match:
        return match[0]
    if payload.find(b"SIP/2.0", 0, _MAX_LINE) < 0:
        return None
    match = _START_LINE_AFTER_JUNK.match(payload)
    return match[1] if match else None


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _headers(head: str) -> tuple[tuple[str, str], ...]:
    if "\n " in head or "\n\t" in head:
        head = _FOLD.sub(" ", head)
    headers = []
    for line in head.split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            name = name.strip().lower()
            headers.append((COMPACT_NAMES.get(name, name), value.strip()))
    return tuple(headers)


def _content_length(headers: tuple[tuple[str, str], ...]) -> int | None:
    for name, value in headers:
        if name == "content-length":
            return int(value) if value.isascii() and value.isdigit() and len(value) <= 10 else None
    return None


def _method_of_cseq(headers: tuple[tuple[str, str], ...]) -> str:
    for name, value in headers:
        if name == "cseq":
            match = _METHOD_OF_CSEQ.match(value)
            return match[1] if match else ""
    return ""
