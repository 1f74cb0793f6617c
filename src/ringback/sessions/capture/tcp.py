"""TCP connections of a capture: each direction's bytes in order, handed to the framer that fits what they are.

Sources: RFC 9293; bytes that were seen twice count once, the first copy stays.
"""

from __future__ import annotations

import struct
from collections import Counter
from typing import NamedTuple

from ringback.sessions.capture.frames import Interface
from ringback.sessions.capture.hep import HepError, StreamSplitter
from ringback.sessions.capture.ip import Datagram
from ringback.sessions.capture.sip import looks_like_sip
from ringback.sessions.capture.sip_stream import Framed, Framer, SipFramer, may_begin_sip, sip_begins_in
from ringback.sessions.capture.websocket import WebSocketFramer, begins_with_sip_frame, is_handshake
from ringback.sessions.story import CUT_BY_CAPTURE

STREAMS_HELD = 8192  # directions of connections
BYTES_HELD = 16 << 20  # of all streams together
PENDING_HELD = 1 << 18  # bytes of one stream that wait for a segment before them
GAP_TIMEOUT_US = 5_000_000  # a segment still missing after that was not captured

_HEADER = struct.Struct(">HHIIBB")
_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
_SEQUENCE = 0xFFFFFFFF
_WINDOW = 1 << 24  # no sender is further ahead or behind
_KEEP_ALIVE = b"\r\n\0"
_SEGMENT_OVERHEAD = 160  # bytes of memory beside its own


class Found(NamedTuple):
    """A message and where it travelled."""

    flow: bytes  # source and destination address, source and destination port
    interface: Interface  # where the connection was first seen
    transport: str  # tcp ws, or hep for a HEP packet
    framed: Framed


class _Stream:
    """One direction of one connection."""

    __slots__ = ("flow", "framer", "interface", "next", "pending", "pending_bytes", "useful", "weight")

    def __init__(self, flow: bytes, interface: Interface, next_sequence: int | None) -> None:
        self.flow = flow
        self.interface = interface
        self.next = next_sequence  # None: whatever comes
        self.framer: Framer | None = None
        self.useful = False  # whether the framer ever found a message
        self.pending: dict[int, _Segment] = {}
        self.pending_bytes = 0
        self.weight = 0  # bytes this stream was last counted with

    def behind(self, sequence: int) -> int:
        """How far `sequence` lies before what is expected; negative: how far after."""
        distance = ((self.next or 0) - sequence) & _SEQUENCE
        return distance if distance < 1 << 31 else distance - (1 << 32)


class _Segment(NamedTuple):
    time_us: int
    data: bytes
    marks: int


class Connections:
    """All TCP streams of a capture, oldest ones given up when there are too many or they hold too much."""

    def __init__(self, ignored: Counter[str]) -> None:
        """`ignored` is counted up for each segment that holds nothing for us."""
        self._ignored = ignored
        self._streams: dict[bytes, _Stream] = {}
        self._with_gaps: set[bytes] = set()
        self._bytes = 0

    def segment(self, time_us: int, datagram: Datagram, interface: Interface) -> list[Found]:
        """What the segment completes, of its own stream and of the opposite one."""
        data, at, end = datagram.data, datagram.start, datagram.end
        if end - at < 20:
            self._ignored["cut frame" if datagram.marks & CUT_BY_CAPTURE else "broken TCP"] += 1
            return []
        _, _, sequence, acknowledged, offset, flags = _HEADER.unpack_from(data, at)
        payload = data[at + max(offset >> 4, 5) * 4 : end]
        flow = datagram.addresses + data[at : at + 4]
        found: list[Found] = []
        if self._with_gaps and flags & _ACK:
            found += self._acknowledge(flow, acknowledged)
        if flags & _SYN:
            sequence = sequence + 1 & _SEQUENCE
        if flags & _RST or (flags & _SYN and not self._begun(flow, sequence)):
            found += self._close(flow)
        if not payload or flags & _RST:
            self._ignored["TCP without data"] += 1
            if flags & _SYN and not flags & _RST and flow not in self._streams:
                self._open(flow, interface, sequence)
            elif flags & _FIN and flow in self._streams:
                found += self._finish(self._streams[flow], sequence)
            return found
        stream = self._streams.pop(flow, None)
        if stream is None:
            stream = self._open(flow, interface, sequence)
        else:
            self._streams[flow] = stream  # the latest at the end: the first is the one to give up
        found += self._take(stream, sequence, _Segment(time_us, payload, datagram.marks))
        if flags & _FIN:
            found += self._finish(stream, sequence + len(payload) & _SEQUENCE)
        self._weigh(stream)
        while self._streams and (len(self._streams) > STREAMS_HELD or self._bytes > BYTES_HELD):
            found += self._close(next(iter(self._streams)))
        return found

    def flush(self) -> list[Found]:
        """The capture ends: what can be made of the bytes held."""
        found: list[Found] = []
        for flow in list(self._streams):
            found += self._close(flow)
        return found

    def _begun(self, flow: bytes, sequence: int) -> bool:
        """Whether a SYN is that of the stream we are in: sent or captured once more."""
        stream = self._streams.get(flow)
        return stream is not None and stream.next is not None and 0 <= stream.behind(sequence) < 0xFFFF

    def _open(self, flow: bytes, interface: Interface, sequence: int) -> _Stream:
        stream = self._streams[flow] = _Stream(flow, interface, sequence)
        return stream

    def _take(self, stream: _Stream, sequence: int, segment: _Segment) -> list[Found]:
        behind = stream.behind(sequence) if stream.next is not None else 0
        if abs(behind) > _WINDOW:  # another connection with the same ports, its beginning was not captured
            found = self._skip_gap(stream, everything=True)
            stream.next = sequence
            return found + self._deliver(stream, sequence, segment)
        if behind >= 0:
            return self._deliver(stream, sequence, segment) + self._drain(stream)
        held = stream.pending.get(sequence)
        if held is None or len(held.data) < len(segment.data):
            stream.pending_bytes += len(segment.data) - (len(held.data) if held else -_SEGMENT_OVERHEAD)
            stream.pending[sequence] = segment
        self._with_gaps.add(stream.flow)
        oldest = next(iter(stream.pending.values()))
        if stream.pending_bytes > PENDING_HELD or segment.time_us - oldest.time_us > GAP_TIMEOUT_US:
            return self._skip_gap(stream)
        return []

    def _deliver(self, stream: _Stream, sequence: int, segment: _Segment) -> list[Found]:
        """Bytes that are due: those seen before are cut off."""
        if stream.next is None:
            stream.next = sequence
        data = segment.data[stream.behind(sequence) :]
        if not data:
            self._ignored["TCP repeated"] += 1
            return []
        stream.next = stream.next + len(data) & _SEQUENCE
        stream.framer = stream.framer or _framer_for(data)
        framed: list[Framed] = []
        if stream.framer is None:
            self._ignored[_why_ignored(data)] += 1
        elif not stream.framer.waiting and not data.strip(_KEEP_ALIVE):
            self._ignored["keep-alive"] += 1
        else:
            framed = stream.framer.feed(segment.time_us, data, segment.marks & ~CUT_BY_CAPTURE)
            stream.useful = stream.useful or bool(framed)
            if not framed and not stream.framer.waiting:
                self._ignored[stream.framer.reason] += 1
                if not stream.useful and not stream.framer.in_step:
                    stream.framer = None  # it was chosen by a first guess; the next segment may tell better
        found = self._found(stream, framed)
        if segment.marks & CUT_BY_CAPTURE:  # nobody knows how many bytes are missing
            stream.next = None
            found += self._gap(stream)
        return found

    def _drain(self, stream: _Stream) -> list[Found]:
        """Segments that waited for the one that just came."""
        found: list[Found] = []
        while stream.pending:
            sequence = stream.next if stream.next in stream.pending else max(stream.pending, key=stream.behind)
            if stream.next is not None and stream.behind(sequence) < 0:
                return found
            found += self._deliver(stream, sequence, self._pop(stream, sequence))
        self._with_gaps.discard(stream.flow)
        return found

    def _pop(self, stream: _Stream, sequence: int) -> _Segment:
        segment = stream.pending.pop(sequence)
        stream.pending_bytes -= len(segment.data) + _SEGMENT_OVERHEAD
        return segment

    def _skip_gap(self, stream: _Stream, *, everything: bool = False) -> list[Found]:
        """The segment that is waited for was not captured: go on behind it."""
        found: list[Found] = []
        while True:
            found += self._gap(stream)
            if not stream.pending:
                return found
            stream.next = max(stream.pending, key=stream.behind)
            found += self._drain(stream)
            if not everything:
                return found

    def _gap(self, stream: _Stream) -> list[Found]:
        if stream.framer is None:
            return []
        waited = stream.framer.waiting
        framed = stream.framer.gap()
        if waited and not framed:
            self._ignored[stream.framer.reason] += 1
        return self._found(stream, framed)

    def _acknowledge(self, flow: bytes, acknowledged: int) -> list[Found]:
        """The other end has bytes that we wait for: they came, but were not captured."""
        half = (len(flow) - 4) // 2
        opposite = flow[half:-4] + flow[:half] + flow[-2:] + flow[-4:-2]
        stream = self._streams.get(opposite) if opposite in self._with_gaps else None
        if stream is None or stream.next is None:
            return []
        first = max(stream.pending, key=stream.behind)
        if stream.behind(acknowledged) > stream.behind(first):
            return []
        found = self._skip_gap(stream)
        self._weigh(stream)
        return found

    def _finish(self, stream: _Stream, sequence: int) -> list[Found]:
        """A FIN: the stream ends at `sequence`, when all before it has come."""
        if stream.next is not None and stream.behind(sequence) < 0:
            return []
        return self._close(stream.flow)

    def _close(self, flow: bytes) -> list[Found]:
        stream = self._streams.pop(flow, None)
        if stream is None:
            return []
        found = self._skip_gap(stream, everything=True)
        self._with_gaps.discard(flow)
        self._bytes -= stream.weight
        return found

    def _weigh(self, stream: _Stream) -> None:
        """Keeps the sum of bytes held; a stream closed meanwhile was taken out already."""
        if stream.flow in self._streams:
            weight = stream.pending_bytes + (stream.framer.waiting if stream.framer else 0)
            self._bytes += weight - stream.weight
            stream.weight = weight

    @staticmethod
    def _found(stream: _Stream, framed: list[Framed]) -> list[Found]:
        if not framed or stream.framer is None:
            return []
        return [Found(stream.flow, stream.interface, stream.framer.transport, one) for one in framed]


class _HepFramer:
    """HEP over TCP, implements Framer: each message is one whole HEP packet."""

    transport = "hep"
    reason = "HEP: bad magic"

    def __init__(self) -> None:
        self._splitter = StreamSplitter()
        self.in_step = True

    @property
    def waiting(self) -> int:
        return self._splitter.pending

    def feed(self, time_us: int, data: bytes, marks: int) -> list[Framed]:
        found: list[Framed] = []
        try:
            found += [Framed(time_us, packet, marks) for packet in self._splitter.feed(data)]
        except HepError:
            self.gap()  # begin anew with the next segment
        return found

    def gap(self) -> list[Framed]:
        self._splitter = StreamSplitter()
        self.in_step = False
        return []


def _framer_for(data: bytes) -> Framer | None:
    """By what a segment begins with; None where that tells nothing."""
    content = data.lstrip(_KEEP_ALIVE)
    if not content:
        return None
    if looks_like_sip(content) or may_begin_sip(content):
        return SipFramer()
    if is_handshake(data) or begins_with_sip_frame(data):
        return WebSocketFramer()
    if data.startswith(b"HEP3"):
        return _HepFramer()
    return SipFramer() if sip_begins_in(data) else None


def _why_ignored(data: bytes) -> str:
    if not data.strip(_KEEP_ALIVE):
        return "keep-alive"
    return "TLS" if 20 <= data[0] <= 23 and data[1:2] == b"\x03" else "TCP without SIP"
