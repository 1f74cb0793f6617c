"""HEP, the Homer encapsulation protocol: versions 1, 2 and 3 read, version 3 written.

Sources: HEP3 network protocol specification, revision 37; for versions 1 and 2 the encoders of Kamailio and sofia-sip.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple

from ringback.sessions.capture.interning import BoundedTable
from ringback.sessions.story import TIME_OF_RECEIPT, Hop

SIP = 0x01
LOG = 0x64
MAX_PAYLOAD = (
    1 << 20
)  # bytes a compressed payload may grow to; uncompressed ones are under 64 KiB by their length field
MAX_HOPS = 32_768  # hops remembered, about 15 MB when full

_MAGIC = b"HEP3"
_IPV4, _IPV6 = 2, 10  # address families on the wire, whatever this system calls them
_GZIP_MAGIC = b"\x1f\x8b"
_TRANSPORTS = {0: "udp", 6: "tcp", 17: "udp", 22: "tls", 132: "sctp"}  # RTCP reports may carry 0
_PROTOCOLS = {"udp": 17, "tcp": 6, "tls": 22, "ws": 6, "wss": 22, "sctp": 132}
_CHUNK = struct.Struct(">HHH")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_HEAD = struct.Struct(">4sH")
# What Kamailio sends for IPv4: 01 02 03 04 07 08 (50 bytes), 09, 0a, 0b 0c (17 bytes), [11] [0e], 0f. The 50 and 17
# bytes are the same in every packet of a hop, so one look-up checks and decodes them.
_KAMAILIO = struct.Struct(">4sH50x6sI6sI17xIH")
_SECONDS = b"\0\0\0\x09\0\x0a"
_MICROSECONDS = b"\0\0\0\x0a\0\x0a"
_PAYLOAD_CHUNK = 0x0000000F  # vendor and type of the payload's chunk
_PAYLOAD_AT = 99
_KAMAILIO_CHUNKS = ((6, b"\0\0\0\1\0\7\2"), (13, b"\0\0\0\2\0\7"), (20, b"\0\0\0\3\0\x0a"), (30, b"\0\0\0\4\0\x0a"),
                       (40, b"\0\0\0\7\0\x08"), (48, b"\0\0\0\x08\0\x08"), (76, b"\0\0\0\x0b\0\7"),
                       (83, b"\0\0\0\x0c\0\x0a"))  # fmt: skip
_VERSION_1_2 = struct.Struct(">BBBBHH")
_VERSION_2_TIME = struct.Struct("<IIH2x")
# Quality figures and names that some senders put in chunks of their own, by the field they become.
_EXTRA = {0x0012: "vlan", 0x0020: "mos", 0x0021: "r_factor", 0x0022: "location", 0x0023: "jitter",
          0x0024: "transaction_type", 0x0029: "group"}  # fmt: skip
_EXTRA_NUMBERS = frozenset((0x0012, 0x0020, 0x0021, 0x0023))


class HepError(ValueError):
    """A packet that cannot be read. `reason` is short and of a small set, fit to be a counter's label."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class HepPacket(NamedTuple):
    """One packet. The first five fields are those of a Sighting, so `packet[:5]` is one."""

    time_us: int
    hop: Hop  # interned; its agent is `agent`
    payload: bytes  # decompressed
    marks: int  # TIME_OF_RECEIPT where the sender gave no time
    correlation: str  # chunk 0x0011
    payload_type: int  # chunk 0x000b: SIP, LOG, ...
    agent: str  # capture agent id as decimal text, "" when absent
    agent_name: str  # chunk 0x0013
    auth_key: bytes  # chunk 0x000e
    extra: tuple[tuple[str, str], ...]  # (field, value) of the quality chunks 0x0012 and 0x0020-0x0029


# Raw bytes of a Kamailio prefix -> (hop, payload type); and the values of a hop -> the hop.
_prefixes: BoundedTable[bytes, tuple[Hop, int]] = BoundedTable(MAX_HOPS)
_hops: BoundedTable[tuple[str, bytes, int, bytes, int, str], Hop] = BoundedTable(MAX_HOPS)
_new = tuple.__new__


def decode(datagram: bytes, received_us: int) -> HepPacket:
    """One UDP datagram, or one packet of a stream. Bytes after the packet's own length are ignored.

    Raises HepError with the reason "bad magic", "bad length", "bad chunk", "bad address", "bad compression" or
    "no payload".
    """
    if len(datagram) >= _PAYLOAD_AT:
        magic, total, seconds_head, seconds, micro_head, microseconds, payload_head, size = _KAMAILIO.unpack_from(
            datagram
        )
        known = _prefixes.get(datagram[6:56] + datagram[76:93])
        if (
            known is not None
            and seconds_head == _SECONDS
            and micro_head == _MICROSECONDS
            and magic == _MAGIC
            and total == len(datagram)
            and seconds
        ):
            hop, payload_type = known
            time_us = seconds * 1_000_000 + microseconds
            if payload_head == _PAYLOAD_CHUNK and size == total - 93:
                return _new(HepPacket, (time_us, hop, datagram[99:], 0, "", payload_type, hop.agent, "", b"", ()))
            return _packet(time_us, hop, 0, payload_type, *_chunks(datagram, 93))
    return _decode_slowly(datagram, received_us)


def encode(
    time_us: int,
    hop: Hop,
    payload: bytes,
    *,
    payload_type: int = SIP,
    correlation: str = "",
    auth_key: bytes = b"",
    agent_name: str = "",
    compress: bool = False,
) -> bytes:
    """A version 3 packet with Kamailio's order of chunks. Raises ValueError where a value does not fit."""
    source, destination = ip_address(hop.source), ip_address(hop.destination)
    if source.version != destination.version:
        raise ValueError("source and destination are of two address families")
    seconds, microseconds = divmod(time_us, 1_000_000)
    v4 = source.version == 4
    chunks = [
        _chunk(0x01, b"\x02" if v4 else b"\x0a"),
        _chunk(0x02, bytes([_PROTOCOLS[hop.transport]])),
        _chunk(0x03 if v4 else 0x05, source.packed),
        _chunk(0x04 if v4 else 0x06, destination.packed),
        _chunk(0x07, hop.source_port.to_bytes(2)),
        _chunk(0x08, hop.destination_port.to_bytes(2)),
        _chunk(0x09, seconds.to_bytes(4)),
        _chunk(0x0A, microseconds.to_bytes(4)),
        _chunk(0x0B, bytes([payload_type])),
        _chunk(0x0C, int(hop.agent or 0).to_bytes(4)),
    ]
    if correlation:
        chunks.append(_chunk(0x11, correlation.encode()))
    if auth_key:
        chunks.append(_chunk(0x0E, auth_key))
    if agent_name:
        chunks.append(_chunk(0x13, agent_name.encode()))
    chunks.append(_chunk(0x10, zlib.compress(payload)) if compress else _chunk(0x0F, payload))
    body = b"".join(chunks)
    if len(body) + 6 > 0xFFFF:
        raise ValueError(f"{len(payload)} bytes of payload do not fit into one HEP packet")
    return _HEAD.pack(_MAGIC, len(body) + 6) + body


class StreamSplitter:
    """Cuts a TCP or TLS byte stream into packets. Holds at most one packet (64 KiB) and the last piece fed."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The packets that `data` completes, to be decoded one by one; exhaust it before feeding again.

        Raises HepError ("bad magic" or "bad length") after the good packets before the fault: the stream cannot be
        read on from there, so close it.
        """
        data = self._rest + data if self._rest else data
        self._rest = b""
        position, end = 0, len(data)
        while end - position >= 6:
            magic, total = _HEAD.unpack_from(data, position)
            if magic != _MAGIC:
                raise HepError("bad magic", repr(magic))
            if total < 6:
                raise HepError("bad length", f"a packet of {total} bytes")
            if end - position < total:
                break
            yield data[position : position + total]
            position += total
        self._rest = data[position:]
        if not _MAGIC.startswith(self._rest[:4]):
            raise HepError("bad magic", repr(self._rest[:4]))

    @property
    def pending(self) -> int:
        """Bytes of a packet that has not come whole: what is lost when the stream ends now."""
        return len(self._rest)


def _chunk(kind: int, data: bytes) -> bytes:
    if len(data) + 6 > 0xFFFF:
        raise ValueError(f"{len(data)} bytes do not fit into a HEP chunk")
    return _CHUNK.pack(0, kind, len(data) + 6) + data


def _decode_slowly(datagram: bytes, received_us: int) -> HepPacket:
    if datagram[:2] == _GZIP_MAGIC:
        datagram = _inflate(datagram)
    if datagram[:4] == _MAGIC:
        return _decode_3(datagram, received_us)
    if datagram[:1] in (b"\x01", b"\x02"):
        return _decode_1_2(datagram, received_us)
    raise HepError("bad magic", repr(datagram[:4]))


def _decode_3(datagram: bytes, received_us: int) -> HepPacket:
    if len(datagram) < 6:
        raise HepError("bad length", f"{len(datagram)} bytes")
    chunks, extra = _chunks(datagram, 6)
    payload_type = _number(chunks, 0x0B, 1, SIP)
    agent = str(_number(chunks, 0x0C, 4)) if 0x0C in chunks else ""
    source, destination = _addresses(chunks, required=payload_type == SIP)
    transport = _transport(_number(chunks, 0x02, 1))
    hop = _hop(transport, source, _number(chunks, 0x07, 2), destination, _number(chunks, 0x08, 2), agent)
    seconds = _number(chunks, 0x09, 4)
    if len(datagram) >= _PAYLOAD_AT and all(datagram.startswith(head, at) for at, head in _KAMAILIO_CHUNKS):
        _prefixes.remember(datagram[6:56] + datagram[76:93], (hop, payload_type))
    if seconds:
        return _packet(seconds * 1_000_000 + _number(chunks, 0x0A, 4), hop, 0, payload_type, chunks, extra)
    return _packet(received_us, hop, TIME_OF_RECEIPT, payload_type, chunks, extra)


def _packet(
    time_us: int,
    hop: Hop,
    marks: int,
    payload_type: int,
    chunks: dict[int, bytes],
    extra: tuple[tuple[str, str], ...],
) -> HepPacket:
    payload = chunks.get(0x0F)
    if payload is None:
        compressed = chunks.get(0x10)
        if compressed is None:
            raise HepError("no payload")
        payload = _inflate(compressed)
    correlation, agent_name = _text(chunks.get(0x11, b"")), _text(chunks.get(0x13, b""))
    auth_key = chunks.get(0x0E, b"")
    return HepPacket(time_us, hop, payload, marks, correlation, payload_type, hop.agent, agent_name, auth_key, extra)


def _chunks(datagram: bytes, position: int) -> tuple[dict[int, bytes], tuple[tuple[str, str], ...]]:
    """From `position` on, the generic chunks by type (the last of a type counts) and the quality figures.

    Vendors' own chunks are skipped.
    """
    (total,) = _U16.unpack_from(datagram, 4)
    if total > len(datagram) or total < 6:
        raise HepError("bad length", f"{total} announced, {len(datagram)} received")
    chunks: dict[int, bytes] = {}
    extra: list[tuple[str, str]] = []
    while position < total:
        if total - position < 6:
            raise HepError("bad length", f"{total - position} bytes after the last chunk")
        vendor, kind, size = _CHUNK.unpack_from(datagram, position)
        if size < 6 or position + size > total:
            raise HepError("bad length", f"chunk {kind:#06x} of {size} bytes at {position}")
        if vendor == 0:
            data = datagram[position + 6 : position + size]
            if kind in _EXTRA:
                value = str(int.from_bytes(data[:4])) if kind in _EXTRA_NUMBERS else _text(data[:256])
                extra.append((_EXTRA[kind], value))
            elif kind not in chunks:
                chunks[kind] = data
        position += size
    return chunks, tuple(extra)


def _number(chunks: dict[int, bytes], kind: int, size: int, default: int = 0) -> int:
    data = chunks.get(kind)
    if data is None:
        return default
    if len(data) != size:
        raise HepError("bad chunk", f"{kind:#06x} has {len(data)} bytes, not {size}")
    return int.from_bytes(data)


def _addresses(chunks: dict[int, bytes], *, required: bool) -> tuple[bytes, bytes]:
    """Source and destination, 4 or 16 bytes, b"" when absent. What came counts, not the family that was announced."""
    v4 = chunks.get(0x03), chunks.get(0x04)
    v6 = chunks.get(0x05), chunks.get(0x06)
    announced_v6 = chunks.get(0x01) == b"\x0a"
    pair = v6 if (announced_v6 and None not in v6) or None in v4 else v4
    source, destination = pair[0] or b"", pair[1] or b""
    for address in (source, destination):
        if len(address) not in (4, 16) and (required or address):
            raise HepError("bad address", f"{len(address)} bytes")
    return source, destination


def _decode_1_2(datagram: bytes, received_us: int) -> HepPacket:
    if len(datagram) < 16:
        raise HepError("bad length", f"{len(datagram)} bytes")
    version, _, family, protocol, source_port, destination_port = _VERSION_1_2.unpack_from(datagram)
    if family not in (_IPV4, _IPV6):
        raise HepError("bad magic", f"version {version} with address family {family}")
    size = 4 if family == _IPV4 else 16
    position = 8 + 2 * size
    source, destination = datagram[8 : 8 + size], datagram[8 + size : position]
    time_us, marks, agent = received_us, TIME_OF_RECEIPT, ""
    if len(datagram) < position + (12 if version == 2 else 0):
        raise HepError("bad length", f"{len(datagram)} bytes")
    if version == 2:
        seconds, microseconds, number = _VERSION_2_TIME.unpack_from(datagram, position)
        position += 12
        agent = str(number)
        if seconds:
            time_us, marks = seconds * 1_000_000 + microseconds, 0
    if position == len(datagram):
        raise HepError("no payload")
    hop = _hop(_transport(protocol), source, source_port, destination, destination_port, agent)
    return HepPacket(time_us, hop, datagram[position:], marks, "", SIP, agent, "", b"", ())


def _hop(
    transport: str, source: bytes, source_port: int, destination: bytes, destination_port: int, agent: str
) -> Hop:
    key = (transport, source, source_port, destination, destination_port, agent)
    hop = _hops.get(key)
    if hop is None:
        hop = Hop(transport, _address(source), source_port, _address(destination), destination_port, agent)
        _hops.remember(key, hop)
    return hop


def _address(packed: bytes) -> str:
    if not packed:
        return ""
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)


def _transport(protocol: int) -> str:
    return _TRANSPORTS.get(protocol) or f"ip-{protocol}"


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")


def _inflate(data: bytes) -> bytes:
    """zlib or gzip by their header, else raw deflate; at most MAX_PAYLOAD bytes come out."""
    for window_bits in (47, -15):
        inflater = zlib.decompressobj(window_bits)
        try:
            inflated = inflater.decompress(data, MAX_PAYLOAD)
        except zlib.error:
            continue
        if inflater.eof:
            return inflated
    raise HepError("bad compression", f"{len(data)} bytes that do not inflate to {MAX_PAYLOAD} or less")
