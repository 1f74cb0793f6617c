"""Sightings written as a pcap file that other tools open: frames made up around the messages, checksums correct.

UDP stays UDP and TCP stays TCP (each message one segment, numbers in sequence, no handshake). What was carried by TLS,
WebSocket or SCTP is written as UDP: its payload is plain SIP, and that is how every tool shows it as such. So are cut
messages, which would leave a byte stream out of step.
"""

from __future__ import annotations

import struct
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import BinaryIO

from ringback.sessions.capture.ip import TCP, UDP
from ringback.sessions.story import CUT_BY_CAPTURE, IP_ID_KNOWN, IP_ID_MASK, Hop, Sighting

_FILE_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
_RECORD = struct.Struct("<IIII")
_MACS = bytes.fromhex("020000000002020000000001")
_MOST_UDP = 65_487  # bytes: more do not fit under IPv4 or IPv6, so they are written as TCP
_SEGMENT = 32_768
_PUSH_ACKNOWLEDGE = 0x18
_FIRST_SEQUENCE = 1000

_Socket = tuple[str, int]


def write_pcap(target: Path | str | BinaryIO, sightings: Iterable[Sighting]) -> int:
    """Writes them in the order given; returns their number. A file handed in open stays open. Raises OSError."""
    if isinstance(target, Path | str):
        with Path(target).open("wb") as file:
            return write_pcap(file, sightings)
    target.write(_FILE_HEADER)
    frames = _Frames()
    count = 0
    for sighting in sightings:
        seconds, microseconds = divmod(sighting[0], 1_000_000)
        for frame in frames.of(sighting):
            target.write(_RECORD.pack(seconds & 0xFFFFFFFF, microseconds, len(frame), len(frame)) + frame)
        count += 1
    return count


class _Frames:
    """What frames need to know of those before: sequence numbers, and the last IP identification given."""

    def __init__(self) -> None:
        self._sequence: defaultdict[tuple[_Socket, _Socket], int] = defaultdict(lambda: _FIRST_SEQUENCE)
        self._identification = 0

    def of(self, sighting: Sighting) -> Iterator[bytes]:
        _, hop, payload, marks = sighting[:4]
        source, destination = _addresses(hop)
        if (hop.transport != "tcp" or marks & CUT_BY_CAPTURE) and len(payload) <= _MOST_UDP:
            header = struct.pack(">HHHH", hop.source_port, hop.destination_port, len(payload) + 8, 0)
            yield self._ethernet(source, destination, UDP, header, payload, 6, marks)
            return
        here, there = (hop.source, hop.source_port), (hop.destination, hop.destination_port)
        for at in range(0, len(payload), _SEGMENT):
            piece = payload[at : at + _SEGMENT]
            header = struct.pack(
                ">HHIIBBHHH",
                hop.source_port,
                hop.destination_port,
                self._sequence[here, there],
                self._sequence[there, here],
                5 << 4,
                _PUSH_ACKNOWLEDGE,
                0xFFFF,
                0,
                0,
            )
            self._sequence[here, there] = (self._sequence[here, there] + len(piece)) & 0xFFFFFFFF
            yield self._ethernet(source, destination, TCP, header, piece, 16, 0)

    def _ethernet(
        self,
        source: IPv4Address | IPv6Address,
        destination: IPv4Address | IPv6Address,
        protocol: int,
        header: bytes,
        payload: bytes,
        checksum_at: int,
        marks: int,
    ) -> bytes:
        """`header` is that of UDP or TCP with a zero where its checksum belongs."""
        size = len(header) + len(payload)
        addresses = source.packed + destination.packed
        checksum = _checksum(addresses + struct.pack(">II", size, protocol) + header + payload) or 0xFFFF
        header = header[:checksum_at] + checksum.to_bytes(2) + header[checksum_at + 2 :]
        if source.version == 6:
            packet = struct.pack(">IHBB", 6 << 28, size, protocol, 64) + addresses
            return _MACS + b"\x86\xdd" + packet + header + payload
        if marks & IP_ID_KNOWN:
            identification = marks & IP_ID_MASK
        else:
            identification = self._identification = self._identification % IP_ID_MASK + 1
        packet = struct.pack(">BBHHHBBH", 0x45, 0, size + 20, identification, 0x4000, 64, protocol, 0) + addresses
        packet = packet[:10] + _checksum(packet).to_bytes(2) + packet[12:]
        return _MACS + b"\x08\0" + packet + header + payload


def _addresses(hop: Hop) -> tuple[IPv4Address, IPv4Address] | tuple[IPv6Address, IPv6Address]:
    """Both of one family; what is no address becomes 0.0.0.0."""
    source, destination = _address(hop.source), _address(hop.destination)
    if isinstance(source, IPv4Address) and isinstance(destination, IPv4Address):
        return source, destination
    return _mapped(source), _mapped(destination)


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError:
        return IPv4Address(0)


def _mapped(address: IPv4Address | IPv6Address) -> IPv6Address:
    return address if isinstance(address, IPv6Address) else IPv6Address(f"::ffff:{address}")


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    words = array("H", data + b"\0" * (len(data) % 2))
    words.byteswap()
    total = sum(words)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
