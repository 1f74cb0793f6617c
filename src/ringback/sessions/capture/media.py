"""RTP and RTCP of a capture, reduced to figures per stream as they pass.

Sources: RFC 3550 section 6.4, RFC 3551 (payload types), RFC 5761 section 4 (telling RTP from RTCP).
"""

from __future__ import annotations

import struct
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from ringback.sessions.capture.interning import BoundedTable
from ringback.sessions.capture.quality import estimate_mos
from ringback.sessions.capture.rtcp import ReceptionReport, is_rtcp, parse_rtcp
from ringback.sessions.capture.rtp_stream import RtpStream
from ringback.sessions.capture.sdp import STATIC_CODECS, Codec, sdp_of
from ringback.sessions.capture.sip import parse
from ringback.sessions.story import SightingTuple, StreamReport

MAX_STREAMS = 20_000  # about 10 MB; as many told by RTCP
MAX_CANDIDATES = 4096  # streams that have not yet sent enough to be believed
MAX_SOCKETS = 16_384  # announced in SDP
MAX_UNREAD = (
    4  # batches of sightings kept back for their SDP while no RTP has been seen; more would cost cache misses
)
BELIEVED_AFTER = 4  # packets in sequence, of a socket that no SDP announced

_HEADER = struct.Struct(">BBHI")


@dataclass(frozen=True, slots=True)
class Announced:
    """A socket that an SDP named."""

    call_id: str
    codecs: tuple[Codec, ...]


@dataclass(frozen=True, slots=True)
class MediaPair:
    """The streams between two sockets. `backward` is empty where nothing was seen to come back."""

    forward: tuple[StreamReport, ...]
    backward: tuple[StreamReport, ...]


def pair(streams: Iterable[StreamReport]) -> list[MediaPair]:
    """Streams counted from packets, both directions together; what RTCP told is left out.

    Directions belong together when their sockets are each other's, or, in one leg, when one is sent from the socket
    that the other is sent to (NAT changes the far end's socket).
    """
    directions: dict[tuple[str, str], list[StreamReport]] = {}
    for stream in sorted(streams, key=lambda one: one.started_us):
        if not stream.from_report:
            directions.setdefault((stream.source, stream.destination), []).append(stream)
    pairs = []
    while directions:
        (source, destination), forward = next(iter(directions.items()))
        del directions[source, destination]
        backward = directions.pop((destination, source), None)
        if backward is None:
            leg = forward[0].leg
            other = next(
                (key for key, found in directions.items() if leg and key[0] == destination and found[0].leg == leg),
                None,
            )
            backward = directions.pop(other) if other else []
        pairs.append(MediaPair(tuple(forward), tuple(backward)))
    return pairs


class _Heard:
    """What RTCP from one end says of one stream it receives."""

    __slots__ = (
        "ended_us",
        "flow",
        "jitter_count",
        "jitter_sum",
        "last",
        "loss_count",
        "loss_sum",
        "max_jitter",
        "mos",
        "started_us",
    )  # fmt: skip

    def __init__(self, time_us: int, flow: bytes, report: ReceptionReport) -> None:
        self.flow = flow  # of the RTCP packet: the stream itself runs the other way
        self.started_us = self.ended_us = time_us
        self.last = report
        self.jitter_sum = self.jitter_count = self.max_jitter = 0
        self.loss_sum, self.loss_count = 0.0, 0
        self.mos: float | None = None

    def add(self, time_us: int, report: ReceptionReport) -> None:
        self.ended_us = time_us
        if report.lost is not None:
            self.last = report
        if report.jitter is not None:
            self.jitter_sum += report.jitter
            self.jitter_count += 1
            self.max_jitter = max(self.max_jitter, report.jitter)
        if report.loss_percent is not None:
            self.loss_sum += report.loss_percent
            self.loss_count += 1
        self.mos = report.mos or self.mos


class Media:
    """Takes the UDP packets that are no SIP, and tells the streams in the end."""

    def __init__(self, ignored: Counter[str]) -> None:
        """Into `ignored` go packets that looked like RTP but were not enough to be believed."""
        self.packets = 0  # RTP and RTCP
        self._ignored = ignored
        self._streams: dict[bytes, RtpStream] = {}
        self._candidates: dict[bytes, RtpStream] = {}
        self._heard: dict[bytes, _Heard] = {}
        self._sent: BoundedTable[int, int] = BoundedTable(MAX_STREAMS)  # SSRC -> packets, by its sender report
        self._sockets: BoundedTable[bytes, Announced] = BoundedTable(MAX_SOCKETS)
        self._unread: deque[list[SightingTuple]] = deque(maxlen=MAX_UNREAD)
        self._read_of_first = 0  # sightings of the first batch that were read already

    def observe(self, time_us: int, flow: bytes, payload: bytes) -> bool:
        """Whether the payload of a UDP packet is RTP or RTCP. `flow`: addresses, then ports, as on the wire."""
        if len(payload) < 8 or payload[0] & 0xC0 != 0x80:
            return False
        if 192 <= payload[1] <= 223:
            return self._observe_rtcp(time_us, flow, payload)
        if len(payload) < 12:
            return False
        first, second, sequence, timestamp = _HEADER.unpack_from(payload)
        key = flow + payload[8:12]
        stream = self._streams.get(key)
        if stream is None:
            if len(payload) < 12 + 4 * (first & 15):
                return False
            return self._observe_new(time_us, key, payload, second & 127, sequence, timestamp)
        stream.add(time_us, second & 127, sequence, timestamp)
        self.packets += 1
        return True

    def sightings_to_read(self, batch: list[SightingTuple]) -> None:
        """A list that the reader is about to fill. Its SDP is read when there is RTP, in most SIP captures never."""
        if self._streams or self._candidates or self._heard:
            self._read_sdp()
        if len(self._unread) == MAX_UNREAD:
            self._read_of_first = 0  # the first is about to fall out
        self._unread.append(batch)

    def finish(self) -> list[StreamReport]:
        """Every stream, in order of its begin: those counted, then what RTCP told."""
        self._read_sdp()
        self._drop_candidates()
        counted = sorted(self._streams.values(), key=lambda stream: stream.started_us)
        by_ssrc = {stream.ssrc: stream for stream in counted}
        return [self._counted(stream) for stream in counted] + [
            self._told(heard, by_ssrc.get(heard.last.ssrc)) for heard in self._heard.values()
        ]

    def _observe_new(
        self, time_us: int, key: bytes, payload: bytes, payload_type: int, sequence: int, timestamp: int
    ) -> bool:
        flow = key[:-4]
        candidate = self._candidates.get(key)
        if candidate is None:
            self._read_sdp()
            candidate = RtpStream(time_us, flow, int.from_bytes(key[-4:]), payload_type, sequence, timestamp)
            announced = self._announced(flow)
            if announced is None and (35 <= payload_type < 96 or b"SIP/2.0" in payload):
                return False
            codec = _codec(announced, payload_type)
            candidate.clock_rate = codec.clock_rate if codec else 0
            if announced is not None:
                self._believe(key, candidate)
                return True
            if len(self._candidates) >= MAX_CANDIDATES:
                self._drop_candidates()
            self._candidates[key] = candidate
            return True
        if not candidate.add(time_us, payload_type, sequence, timestamp):
            del self._candidates[key]
            self._ignored["UDP without SIP"] += candidate.packets
        elif candidate.packets >= BELIEVED_AFTER:
            del self._candidates[key]
            self._believe(key, candidate)
        return True

    def _believe(self, key: bytes, stream: RtpStream) -> None:
        if len(self._streams) >= MAX_STREAMS:
            self._ignored["RTP of too many streams"] += stream.packets
            return
        self._streams[key] = stream
        self.packets += stream.packets

    def _drop_candidates(self) -> None:
        if self._candidates:
            self._ignored["UDP without SIP"] += sum(candidate.packets for candidate in self._candidates.values())
            self._candidates.clear()

    def _observe_rtcp(self, time_us: int, flow: bytes, payload: bytes) -> bool:
        if not is_rtcp(payload):
            return False
        self.packets += 1
        senders, reports = parse_rtcp(payload)
        for sender in senders:
            self._sent.remember(sender.ssrc, sender.packets)
        for report in reports:
            key = flow + report.reporter.to_bytes(4) + report.ssrc.to_bytes(4)
            heard = self._heard.get(key)
            if heard is None:
                if len(self._heard) >= MAX_STREAMS:
                    self._ignored["RTCP of too many streams"] += 1
                    return True
                heard = self._heard[key] = _Heard(time_us, flow, report)
            heard.add(time_us, report)
        return True

    def _read_sdp(self) -> None:
        while self._unread:
            batch = self._unread[0]
            for sighting in batch[self._read_of_first :]:
                self._read_sdp_of(sighting[2])
            if len(self._unread) == 1:  # it is still being filled
                self._read_of_first = len(batch)
                return
            self._unread.popleft()
            self._read_of_first = 0

    def _read_sdp_of(self, payload: bytes) -> None:
        if payload.endswith(b"\r\n\r\n"):
            return
        message = parse(payload)
        sdp = sdp_of(message)
        for section in sdp.media if sdp else ():
            packed = _packed(section.address)
            if packed and section.port and section.codecs:
                announced = Announced(message.call_id, section.codecs)
                self._sockets.remember(packed + section.port.to_bytes(2), announced)

    def _announced(self, flow: bytes, *, rtcp: bool = False) -> Announced | None:
        """Of the destination's socket, else of the source's: the receiver is the one who named its codecs."""
        source, destination, source_port, destination_port = _sockets(flow)
        for address, port in ((destination, destination_port), (source, source_port)):
            found = self._sockets.get(address + port.to_bytes(2))
            if found is None and rtcp and port:
                found = self._sockets.get(address + (port - 1).to_bytes(2))
            if found is not None:
                return found
        return None

    def _counted(self, stream: RtpStream) -> StreamReport:
        announced = self._announced(stream.flow)
        codec = _codec(announced, stream.payload_type)
        name = codec.name if codec else ""
        rate = stream.clock_rate
        jitter = stream.mean_jitter
        jitter_ms = jitter * 1000 / rate if jitter is not None and rate else None
        loss = stream.lost * 100 / max(1, stream.expected)
        source, destination = _texts(stream.flow)
        return StreamReport(
            source=source,
            destination=destination,
            ssrc=stream.ssrc,
            started_us=stream.started_us,
            ended_us=stream.ended_us,
            packets=stream.packets,
            codec=name,
            payload_type=stream.payload_type,
            lost=stream.lost,
            loss_percent=round(loss, 2),
            jitter_ms=_rounded(jitter_ms),
            max_jitter_ms=_rounded(stream.max_jitter * 1000 / rate if jitter is not None and rate else None),
            mos=estimate_mos(name, loss, jitter_ms or 0.0),
            leg=announced.call_id if announced else "",
        )

    def _told(self, heard: _Heard, stream: RtpStream | None) -> StreamReport:
        """`stream`: the one that the report is about, where its packets were captured too."""
        announced = self._announced(stream.flow) if stream else self._announced(heard.flow, rtcp=True)
        if stream:
            codec = _codec(announced, stream.payload_type)
            source, destination = _texts(stream.flow)
            rate = stream.clock_rate
        else:
            codec = announced.codecs[0] if announced else None
            destination, source = _texts(heard.flow)
            rate = codec.clock_rate if codec else 0
        name = codec.name if codec else ""
        jitter_ms = heard.jitter_sum * 1000 / heard.jitter_count / rate if heard.jitter_count and rate else None
        loss = heard.loss_sum / heard.loss_count if heard.loss_count else None
        return StreamReport(
            source=source,
            destination=destination,
            ssrc=heard.last.ssrc,
            started_us=heard.started_us,
            ended_us=heard.ended_us,
            packets=self._sent.get(heard.last.ssrc, 0),
            codec=name,
            payload_type=stream.payload_type if stream else None,
            lost=heard.last.lost,
            loss_percent=_rounded(loss),
            jitter_ms=_rounded(jitter_ms),
            max_jitter_ms=_rounded(heard.max_jitter * 1000 / rate if jitter_ms is not None else None),
            mos=heard.mos or (estimate_mos(name, loss, jitter_ms or 0.0) if loss is not None else None),
            from_report=True,
            leg=announced.call_id if announced else "",
        )


def _codec(announced: Announced | None, payload_type: int) -> Codec | None:
    for codec in announced.codecs if announced else ():
        if codec.payload_type == payload_type:
            return codec
    if payload_type in STATIC_CODECS:
        return Codec(payload_type, *STATIC_CODECS[payload_type])
    return None


def _sockets(flow: bytes) -> tuple[bytes, bytes, int, int]:
    half = (len(flow) - 4) // 2
    return flow[:half], flow[half:-4], int.from_bytes(flow[-4:-2]), int.from_bytes(flow[-2:])


def _texts(flow: bytes) -> Iterator[str]:
    source, destination, source_port, destination_port = _sockets(flow)
    for packed, port in ((source, source_port), (destination, destination_port)):
        yield (
            f"{inet_ntop(AF_INET, packed)}:{port}" if len(packed) == 4 else f"[{inet_ntop(AF_INET6, packed)}]:{port}"
        )


def _packed(address: str) -> bytes:
    """b"" for a host name or nothing."""
    try:
        return inet_pton(AF_INET6 if ":" in address else AF_INET, address)
    except (OSError, ValueError):  # ValueError: a NUL, or not ASCII
        return b""


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
