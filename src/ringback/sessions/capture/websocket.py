"""SIP over WebSocket: the messages inside the frames of one direction.

Sources: RFC 6455 sections 4 and 5, RFC 7118 (one SIP message in each WebSocket message).
"""

from __future__ import annotations

import re

from ringback.sessions.capture.sip import looks_like_sip
from ringback.sessions.capture.sip_stream import MAX_MESSAGE, Framed
from ringback.sessions.story import REASSEMBLED, TIME_OF_RECEIPT

_CONTINUATION, _TEXT, _BINARY = 0, 1, 2
_OPCODES = frozenset((_CONTINUATION, _TEXT, _BINARY, 8, 9, 10))
_UPGRADE = re.compile(rb"\nupgrade[ \t]*:[ \t]*websocket", re.IGNORECASE)
_MAX_HANDSHAKE = 16_384
_REQUEST, _RESPONSE = b"GET ", b"HTTP/1.1 101"


def is_handshake(data: bytes) -> bool:
    """Whether `data` begins the HTTP request or the answer that opens a WebSocket, as far as can be seen."""
    if not any(data.startswith(start) or start.startswith(data) for start in (_REQUEST, _RESPONSE)):
        return False
    return b"\r\n\r\n" not in data or _UPGRADE.search(data) is not None


def begins_with_sip_frame(data: bytes) -> bool:
    """Whether `data`, out of the middle of a stream, begins with a frame that holds the start of a SIP message."""
    frame = _frame(data)
    if frame is None:
        return False
    final, opcode, start, _, mask = frame
    return opcode in (_TEXT, _BINARY) and final and looks_like_sip(_unmasked(data[start : start + 4096], mask))


class WebSocketFramer:
    """Implements sip_stream.Framer."""

    transport = "ws"
    reason = "WebSocket without SIP"

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._segments = 0
        self._marks = 0
        self._message = b""  # of fragments that came so far
        self.in_step = False  # behind the HTTP head, at the begin of a frame or inside it
        self._opening = True  # whether the HTTP head may still come

    @property
    def waiting(self) -> int:
        return len(self._buffer) + len(self._message)

    def feed(self, time_us: int, data: bytes, marks: int) -> list[Framed]:
        if self._buffer or self._message:
            self._segments += 1
            self._marks |= marks & TIME_OF_RECEIPT
        else:
            self._segments, self._marks = 1, marks
        self._buffer += data
        found: list[Framed] = []
        if not self.in_step and not self._get_in_step():
            return found
        while (frame := _frame(self._buffer)) is not None:
            final, opcode, start, end, mask = frame
            if opcode not in _OPCODES or end - start + len(self._message) > MAX_MESSAGE:
                self.gap()  # out of step: begin anew with the next segment
                break
            if end > len(self._buffer):
                break
            payload = _unmasked(bytes(self._buffer[start:end]), mask)
            del self._buffer[:end]
            if opcode > _BINARY:  # close, ping, pong may stand between the fragments of a message
                continue
            self._message = payload if opcode != _CONTINUATION else self._message + payload
            if final:
                if looks_like_sip(self._message):
                    mark = REASSEMBLED if self._segments > 1 else 0
                    found.append(Framed(time_us, self._message, self._marks | mark))
                self._message = b""
                self._segments, self._marks = 1, marks
        return found

    def gap(self) -> list[Framed]:
        self._buffer.clear()
        self._message = b""
        self.in_step = self._opening = False
        return []

    def _get_in_step(self) -> bool:
        """Finds the first frame: behind the HTTP head, or at the start of a segment. False: not yet."""
        if self._opening and is_handshake(bytes(self._buffer)):
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _MAX_HANDSHAKE:
                    self.gap()
                return False
            del self._buffer[: end + 4]
            self._opening = False
        elif not begins_with_sip_frame(bytes(self._buffer)):
            self._buffer.clear()
            return False
        self.in_step = True
        return True


def _frame(data: bytes | bytearray) -> tuple[bool, int, int, int, bytes] | None:
    """(final, opcode, start and end of the payload, masking key or b"") of the frame that begins `data`, None when
    its head is not complete. Reserved bits (compression) give an opcode that nobody knows."""
    if len(data) < 2:
        return None
    final, opcode = bool(data[0] & 0x80), data[0] & 0x7F
    size, start = data[1] & 0x7F, 2
    if size >= 126:
        width = 2 if size == 126 else 8
        start += width
        size = int.from_bytes(data[2:start])
    mask = b""
    if data[1] & 0x80:
        mask = bytes(data[start : start + 4])
        start += 4
    if len(data) < start:
        return None
    return final, opcode, start, start + size, mask


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    if not mask:
        return payload
    size = len(payload)
    pad = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(pad)).to_bytes(size)
