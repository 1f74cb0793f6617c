"""SIP messages, packets and capture files put together byte by byte, for the tests of decoding."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from ipaddress import ip_address

from ringback.sessions.capture.pcap import CaptureReader, read_capture
from ringback.sessions.story import SightingTuple

T0 = 1_790_000_000_000_000  # microseconds; a moment in 2026
A, B = "192.0.2.1", "198.51.100.2"
A6, B6 = "2001:db8::1", "2001:db8::2"
MACS = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01"

SDP = (
    b"v=0\r\no=alice 2890844526 2890844527 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    b"m=audio 49170 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
)


def sip(
    first: bytes = b"INVITE sip:bob@example.com SIP/2.0",
    *,
    call_id: bytes = b"a84b4c76e66710@192.0.2.1",
    cseq: bytes = b"314159 INVITE",
    extra: Iterable[bytes] = (),
    body: bytes = b"",
) -> bytes:
    lines = [
        first,
        b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds",
        b"From: Alice <sip:alice@example.com>;tag=1928301774",
        b"To: Bob <sip:bob@example.com>",
        b"Call-ID: " + call_id,
        b"CSeq: " + cseq,
        *extra,
        b"Content-Length: %d" % len(body),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def ok(**kwargs: bytes) -> bytes:
    return sip(b"SIP/2.0 200 OK", **kwargs)  # type: ignore[arg-type]


def udp(payload: bytes, source_port: int = 5060, destination_port: int = 5060, length: int | None = None) -> bytes:
    size = len(payload) + 8 if length is None else length
    return struct.pack(">HHHH", source_port, destination_port, size, 0) + payload


def tcp(
    payload: bytes,
    sequence: int,
    *,
    flags: int = 0x18,
    acknowledge: int = 0,
    source_port: int = 5060,
    destination_port: int = 5060,
    options: bytes = b"",
) -> bytes:
    offset = (5 + len(options) // 4) << 4
    header = struct.pack(
        ">HHIIBBHHH", source_port, destination_port, sequence, acknowledge, offset, flags, 65535, 0, 0
    )
    return header + options + payload


def ipv4(
    payload: bytes,
    protocol: int = 17,
    source: str = A,
    destination: str = B,
    *,
    identification: int = 7,
    fragment: int = 0,
    options: bytes = b"",
    total: int | None = None,
) -> bytes:
    """`fragment`: the 16 bits of flags and offset."""
    size = 20 + len(options) + len(payload) if total is None else total
    first = 0x45 + len(options) // 4
    addresses = ip_address(source).packed + ip_address(destination).packed
    return (
        struct.pack(">BBHHHBBH", first, 0, size, identification, fragment, 64, protocol, 0)
        + addresses
        + options
        + payload
    )


def ipv6(
    payload: bytes, protocol: int = 17, source: str = A6, destination: str = B6, extensions: bytes = b""
) -> bytes:
    """`protocol` is the first next header; `extensions` stand between header and payload."""
    size = len(extensions) + len(payload)
    addresses = ip_address(source).packed + ip_address(destination).packed
    return struct.pack(">IHBB", 6 << 28, size, protocol, 64) + addresses + extensions + payload


def ethernet(packet: bytes, tags: bytes = b"") -> bytes:
    """`tags`: what stands between the addresses and the type."""
    return MACS + tags + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\0") + packet


def pcap(
    frames: Iterable[bytes | tuple[int, bytes]],
    link_type: int = 1,
    *,
    order: str = "<",
    nano: bool = False,
    snap: int = 65535,
) -> bytes:
    """Frames a millisecond apart from T0 on, or with their own time in microseconds."""
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snap, link_type)]
    for number, item in enumerate(frames):
        time_us, frame = item if isinstance(item, tuple) else (T0 + number * 1000, item)
        fraction = time_us % 1_000_000 * (1000 if nano else 1)
        out.append(struct.pack(order + "IIII", time_us // 1_000_000, fraction, min(snap, len(frame)), len(frame)))
        out.append(frame[:snap])
    return b"".join(out)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A pcapng block."""
    body += b"\0" * (-len(body) % 4)
    size = len(body) + 12
    return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link_type: int = 1, options: bytes = b"", order: str = "<", snap: int = 0) -> bytes:
    return block(1, struct.pack(order + "HHI", link_type, 0, snap) + options, order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def enhanced(frame: bytes, ticks: int, number: int = 0, order: str = "<", captured: int | None = None) -> bytes:
    head = struct.pack(
        order + "IIIII",
        number,
        ticks >> 32,
        ticks & 0xFFFFFFFF,
        len(frame) if captured is None else captured,
        len(frame),
    )
    return block(6, head + frame, order)


def reader(data: bytes, start: int = 0) -> CaptureReader:
    return read_capture(io.BytesIO(data), start=start)


def read(data: bytes) -> tuple[list[SightingTuple], CaptureReader]:
    """Everything of a capture file."""
    capture = reader(data)
    return list(capture), capture


def read_frames(*frames: bytes | tuple[int, bytes], link_type: int = 1) -> tuple[list[SightingTuple], CaptureReader]:
    return read(pcap(frames, link_type))


def payloads(sightings: Iterable[SightingTuple]) -> list[bytes]:
    return [sighting[2] for sighting in sightings]
