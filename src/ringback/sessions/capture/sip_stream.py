"""SIP messages out of a byte stream, by Content-Length (RFC 3261 section 18.3), also from the middle and past gaps."""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

from ringback.sessions.capture.sip import METHODS, looks_like_sip
from ringback.sessions.story import CUT_BY_CAPTURE, REASSEMBLED, TIME_OF_RECEIPT

MAX_MESSAGE = 1 << 18  # bytes; a longer one is taken for a loss of synchronisation
MAX_HEAD = 1 << 16

_METHODS = "|".join(sorted(METHODS)).encode()
_START_IN_STREAM = re.compile(
    rb"(?:\A|\n)((?:%b) [^\r\n ]{1,4000} SIP/2\.0|SIP/2\.0 \d\d\d[^\r\n]{0,4000})\r?\n" % _METHODS
)
_BLANK_LINE = re.compile(rb"\n\r?\n")
_CONTENT_LENGTH = re.compile(rb"\n(?:content-length|l)[ \t]*:[ \t]*(\d{1,10})[ \t]*\r?\n", re.IGNORECASE)
_BETWEEN = b"\r\n\0"  # keep-alives of RFC 5626 and what else stands between messages
_MAX_START_LINE = 8192


class Framed(NamedTuple):
    """One message out of a stream."""

    time_us: int  # of the segment that completed it
    payload: bytes
    marks: int  # of its first segment, TIME_OF_RECEIPT of any, and REASSEMBLED or CUT_BY_CAPTURE


class Framer(Protocol):
    """Cuts one direction of a connection into messages."""

    @property
    def transport(self) -> str:
        """For Hop.transport."""
        ...

    @property
    def in_step(self) -> bool:
        """Whether the framer knows what the next bytes must be; else another may fit the stream better."""
        ...

    @property
    def reason(self) -> str:
        """Why bytes that led to no message are ignored."""
        ...

    @property
    def waiting(self) -> int:
        """Bytes held of a message that is not complete."""
        ...

    def feed(self, time_us: int, data: bytes, marks: int) -> list[Framed]:
        """What `data`, one segment, completes."""
        ...

    def gap(self) -> list[Framed]:
        """Bytes are missing here, or the stream ends: what can be made of the bytes held."""
        ...


class SipFramer:
    """Implements Framer."""

    transport = "tcp"
    reason = "TCP without SIP"

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed = 1  # bytes before it is worth looking again: each segment is then looked at once
        self._searched = 0  # bytes without a blank line
        self._segments = 0  # that the buffer is made of
        self._marks = 0
        self._time_us = 0

    @property
    def waiting(self) -> int:
        return len(self._buffer)

    @property
    def in_step(self) -> bool:
        return bool(self._buffer)

    def feed(self, time_us: int, data: bytes, marks: int) -> list[Framed]:
        if self._buffer:
            self._segments += 1
            self._marks |= marks & TIME_OF_RECEIPT
        else:
            self._segments, self._marks = 1, marks
        self._buffer += data
        self._time_us = time_us
        found: list[Framed] = []
        while len(self._buffer) >= self._needed:
            size = self._next_message()
            if size:
                mark = REASSEMBLED if self._segments > 1 else 0
                found.append(Framed(time_us, bytes(self._buffer[:size]), self._marks | mark))
                self._drop(size)
                self._segments, self._marks = 1, marks
        return found

    def gap(self) -> list[Framed]:
        payload = bytes(self._buffer)
        self._drop(len(payload))
        if not looks_like_sip(payload):
            return []
        mark = REASSEMBLED if self._segments > 1 else 0
        return [Framed(self._time_us, payload, self._marks | mark | CUT_BY_CAPTURE)]

    def _drop(self, size: int) -> None:
        del self._buffer[:size]
        self._searched, self._needed = 0, 1

    def _next_message(self) -> int:
        """Bytes of the message that begins the buffer, 0 when it has not come whole. Drops what is no SIP."""
        if not self._searched and not self._begin():
            return 0
        blank = _BLANK_LINE.search(self._buffer, max(0, self._searched - 2))
        if blank is None:
            self._searched, self._needed = len(self._buffer), len(self._buffer) + 1
            if len(self._buffer) > MAX_HEAD:
                self._drop(len(self._buffer))
            return 0
        length = _CONTENT_LENGTH.search(self._buffer, 0, blank.end())
        size = blank.end() + (int(length[1]) if length else 0)
        if size > MAX_MESSAGE:
            self._drop(len(self._buffer))
            return 0
        self._needed = size
        return size if size <= len(self._buffer) else 0

    def _begin(self) -> bool:
        """Drops what stands before a start line; False when none is left, or is not complete."""
        if self._buffer[0] in _BETWEEN:
            self._buffer = self._buffer.lstrip(_BETWEEN)
        line = self._buffer.find(b"\n", 0, _MAX_START_LINE)
        if line < 0 and len(self._buffer) < _MAX_START_LINE and may_begin_sip(bytes(self._buffer[:32])):
            self._needed = len(self._buffer) + 1
            return False
        if line < 0 or not looks_like_sip(bytes(self._buffer[: line + 1])):
            match = _START_IN_STREAM.search(self._buffer)
            self._drop(match.start(1) if match else len(self._buffer))
        return bool(self._buffer)


def may_begin_sip(data: bytes) -> bool:
    """Whether `data` could be the first bytes of a start line of which the end is still to come."""
    word, space, _ = data[:32].partition(b" ")
    if not word:
        return not data
    if space:
        return word == b"SIP/2.0" or word.decode("latin-1") in METHODS
    return b"SIP/2.0".startswith(word) or any(method.encode().startswith(word) for method in METHODS)


def sip_begins_in(data: bytes) -> bool:
    """Whether a start line stands at the beginning of any line of `data`."""
    return _START_IN_STREAM.search(data) is not None
