"""IP packets: headers of both versions, fragments put together again.

Sources: RFC 791, RFC 815 (reassembly), RFC 8200 sections 4 and 4.5, RFC 4302 (length of an AH).
"""

from __future__ import annotations

from typing import NamedTuple

from ringback.sessions.capture.frames import Interface
from ringback.sessions.story import CUT_BY_CAPTURE, IP_ID_KNOWN, REASSEMBLED, TIME_OF_RECEIPT

UDP, TCP, SCTP, GRE, IP_IN_IP, IPV6_IN_IP = 17, 6, 132, 47, 4, 41

FRAGMENTS_HELD = 1024  # datagrams of which fragments are missing
FRAGMENT_BYTES_HELD = 8 << 20
FRAGMENTS_OF_ONE = 256  # more are no datagram that a network carries
FRAGMENT_OVERHEAD = 160  # bytes of memory that a held fragment costs beside its own
FRAGMENT_TIMEOUT_US = 30_000_000

_EXTENSIONS = frozenset((0, 43, 60, 135, 139, 140))  # hop-by-hop, routing, destination, mobility, HIP, shim6
_FRAGMENT, _AUTHENTICATION = 44, 51
_MOST_EXTENSIONS = 16


class Datagram(NamedTuple):
    """The payload of an IP packet: data[start:end]."""

    addresses: bytes  # source and destination, 8 or 32 bytes
    protocol: int
    data: bytes
    start: int
    end: int
    marks: int  # of Sighting: IP identification, CUT_BY_CAPTURE, REASSEMBLED


class Fragment(NamedTuple):
    key: bytes  # addresses, protocol, identification
    offset: int  # bytes
    more: bool
    part: Datagram


def parse_ip(data: bytes, at: int, end: int) -> Datagram | Fragment | str:
    """The packet at data[at:end], or in a word why there is none."""
    if at >= end:
        return "cut frame"
    version = data[at] >> 4
    if version == 4:
        return _parse_4(data, at, end)
    if version == 6:
        return _parse_6(data, at, end)
    return "not IP"


def _parse_4(data: bytes, at: int, end: int) -> Datagram | Fragment | str:
    header = (data[at] & 15) * 4
    if header < 20:
        return "broken IP"
    if at + header > end:
        return "cut frame"
    total = int.from_bytes(data[at + 2 : at + 4]) or end - at  # 0: the network card segments, the kernel saw it whole
    if total < header:
        return "broken IP"
    flags = data[at + 6] << 8 | data[at + 7]
    protocol = data[at + 9]
    addresses = data[at + 12 : at + 20]
    identification = data[at + 4 : at + 6]
    marks = IP_ID_KNOWN | int.from_bytes(identification)
    stop = at + total
    if stop > end:
        stop, marks = end, marks | CUT_BY_CAPTURE
    part = Datagram(addresses, protocol, data, at + header, stop, marks)
    if flags & 0x3FFF:
        key = addresses + bytes([protocol]) + identification
        return Fragment(key, (flags & 0x1FFF) * 8, bool(flags & 0x2000), part)
    return part


def _parse_6(data: bytes, at: int, end: int) -> Datagram | Fragment | str:
    if at + 40 > end:
        return "cut frame"
    length = int.from_bytes(data[at + 4 : at + 6])
    protocol = data[at + 6]
    addresses = data[at + 8 : at + 40]
    at += 40
    marks = 0
    stop = at + length if length else end  # 0: a jumbogram, or segmented by the network card
    if stop > end:
        stop, marks = end, CUT_BY_CAPTURE
    for _ in range(_MOST_EXTENSIONS):
        if at + 8 > stop:
            return Datagram(addresses, protocol, data, at, max(at, stop), marks)
        if protocol in _EXTENSIONS:
            protocol, at = data[at], at + data[at + 1] * 8 + 8
        elif protocol == _AUTHENTICATION:
            protocol, at = data[at], at + data[at + 1] * 4 + 8
        elif protocol == _FRAGMENT:
            offset = data[at + 2] << 8 | data[at + 3]
            key = addresses + data[at + 4 : at + 8]
            protocol, at = data[at], at + 8
            if offset & 0xFFF9:
                part = Datagram(addresses, protocol, data, at, stop, marks)
                return Fragment(key, offset & 0xFFF8, bool(offset & 1), part)
        else:
            return Datagram(addresses, protocol, data, min(at, stop), stop, marks)
    return "broken IP"


class _Held:
    __slots__ = ("first", "interface", "marks", "parts", "size", "started_us", "total", "when_us")

    def __init__(self, time_us: int, fragment: Fragment, interface: Interface) -> None:
        self.interface = interface
        self.started_us = self.when_us = time_us
        self.first = fragment.part
        self.marks = REASSEMBLED
        self.parts: dict[int, bytes] = {}
        self.size = 0
        self.total: int | None = None


class Incomplete(NamedTuple):
    """A datagram given up: what came before its first gap (empty when its beginning is missing)."""

    time_us: int  # of its last fragment
    interface: Interface
    datagram: Datagram
    fragments: int


class Reassembler:
    """Fragments held until their datagram is whole, too old, or the table full. Of overlapping bytes the first count."""

    def __init__(self) -> None:
        self._held: dict[bytes, _Held] = {}
        self._bytes = 0

    def add(self, time_us: int, fragment: Fragment, interface: Interface) -> tuple[Datagram | None, list[Incomplete]]:
        """The datagram that the fragment completes, and those that had to be given up to keep the bounds."""
        given_up = self._expire(time_us)
        held = self._held.get(fragment.key)
        if held is None:
            held = self._held[fragment.key] = _Held(time_us, fragment, interface)
        part = fragment.part
        piece = part.data[part.start : part.end]
        held.when_us = time_us
        held.marks |= part.marks & TIME_OF_RECEIPT
        if fragment.offset == 0:
            held.first = part
        before = held.parts.get(fragment.offset, b"")
        if len(piece) > len(before):
            held.parts[fragment.offset] = before + piece[len(before) :]
            held.size += len(piece) - len(before)
            self._bytes += len(piece) - len(before) + (0 if before else FRAGMENT_OVERHEAD)
        if not fragment.more and not part.marks & CUT_BY_CAPTURE:
            held.total = fragment.offset + len(piece)
        if len(held.parts) > FRAGMENTS_OF_ONE:
            given_up.append(self._give_up(fragment.key))
            return None, given_up
        if held.total is not None and held.size >= held.total:
            whole = self._joined(held)
            if len(whole) >= held.total:
                self._drop(fragment.key)
                return _datagram(held.first, whole[: held.total], held.marks), given_up
        while self._held and (self._bytes > FRAGMENT_BYTES_HELD or len(self._held) > FRAGMENTS_HELD):
            given_up.append(self._give_up(next(iter(self._held))))
        return None, given_up

    def flush(self) -> list[Incomplete]:
        """Gives up all that is held."""
        return [self._give_up(key) for key in list(self._held)]

    def _expire(self, time_us: int) -> list[Incomplete]:
        given_up = []
        while self._held:
            key, oldest = next(iter(self._held.items()))
            if time_us - oldest.started_us < FRAGMENT_TIMEOUT_US:
                break
            given_up.append(self._give_up(key))
        return given_up

    def _give_up(self, key: bytes) -> Incomplete:
        held = self._drop(key)
        datagram = _datagram(held.first, self._joined(held), held.marks | CUT_BY_CAPTURE)
        return Incomplete(held.when_us, held.interface, datagram, len(held.parts))

    def _drop(self, key: bytes) -> _Held:
        held = self._held.pop(key)
        self._bytes -= held.size + FRAGMENT_OVERHEAD * len(held.parts)
        return held

    @staticmethod
    def _joined(held: _Held) -> bytes:
        """From offset 0 to the first gap."""
        whole = bytearray()
        for offset in sorted(held.parts):
            if offset > len(whole):
                break
            whole += held.parts[offset][len(whole) - offset :]
        return bytes(whole)


def _datagram(first: Datagram, payload: bytes, marks: int) -> Datagram:
    return Datagram(first.addresses, first.protocol, payload, 0, len(payload), first.marks | marks)
