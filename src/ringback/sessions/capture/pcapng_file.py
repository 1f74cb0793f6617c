"""The frames of a pcapng file: sections of both byte orders, any number of interfaces, every kind of packet block.

Source: draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from ringback.sessions.capture.frames import CHUNK, MAX_FRAME, Frames, Interface, NotACapture, Record, Source

MAGIC = b"\x0a\x0d\x0d\x0a"  # the type of a section header block, the same in both byte orders
MAX_BLOCK = 1 << 24  # bytes: sections may hold names, keys and comments
MAX_INTERFACES = 4096  # of one section
MAX_TIME_US = 253_402_300_799_999_999  # the last microsecond of the year 9999

_INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET = 1, 2, 3, 6
_PACKETS = frozenset((_OLD_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET))
_IF_NAME, _IF_TSRESOL, _IF_TSOFFSET = 2, 9, 14


class _Clocked(NamedTuple):
    """An interface and how its stamps are to be read."""

    interface: Interface
    snap_length: int  # 0: none
    ticks: int  # a second
    offset_us: int
    plain: bool  # ticks are microseconds, without an offset


class _Broken(Exception):
    """What stands where a block should: the text goes on after "at byte N"."""


class PcapngFile:
    """Implements frames.FrameFile."""

    def __init__(self, source: Source) -> None:
        """MAGIC was read from `source` already. Raises NotACapture when there is no whole section header."""
        self.problem = ""
        self._source = source
        self._rest = MAGIC + source.read(8)
        self._interfaces: list[_Clocked] = []
        self._set_order("<")
        try:
            self._block_size(self._rest, 0)
        except (_Broken, struct.error) as error:
            raise NotACapture("a pcapng file that breaks off inside its first header") from error

    def runs(self) -> Iterator[Frames]:
        data, base, at = self._rest, 0, 0
        while more := self._source.read(CHUNK):
            data, base, at = data[at:] + more, base + at, 0
            records: list[Record] = []
            interface: Interface | None = None
            try:
                enhanced, interfaces, last = self._enhanced.unpack_from, self._interfaces, len(data) - 28
                while at + 12 <= len(data):
                    # The block that nearly all are, read in place; whatever is unusual goes the long way below.
                    if at <= last:
                        kind, size, number, high, low, captured, _ = enhanced(data, at)
                        if (
                            kind == _ENHANCED_PACKET
                            and captured + 32 <= size <= MAX_FRAME
                            and not size % 4
                            and at + size <= len(data)
                            and number < len(interfaces)
                            and interfaces[number].interface is interface
                        ):
                            start = at + 28
                            ticks = high << 32 | low
                            clocked = interfaces[number]
                            plain = clocked.plain and ticks <= MAX_TIME_US
                            time_us = ticks if plain else self._time(clocked, ticks)
                            records.append((time_us, start, start + captured))
                            at += size
                            continue
                    kind, size = self._block_size(data, at)
                    if at + size > len(data):
                        break
                    if kind in _PACKETS:
                        clocked, record = self._packet(kind, data, at, size)
                        if clocked.interface is not interface:
                            if interface and records:
                                yield Frames(data, interface, records, base, base + at)
                                records = []
                            interface = clocked.interface
                        records.append(record)
                    elif kind == _INTERFACE:
                        self._add_interface(data[at + 8 : at + size - 4])
                    enhanced, interfaces = self._enhanced.unpack_from, self._interfaces
                    at += size
            except _Broken as broken:
                self.problem = f"at byte {base + at} {broken}: the file is damaged"
            if interface:
                yield Frames(data, interface, records, base, base + at)
            if self.problem:
                return
        self.problem = self._source.problem
        if at < len(data) and not self.problem:
            self.problem = f"the file ends inside the block at byte {base + at}"

    def _set_order(self, order: str) -> None:
        self._order = order
        self._two = struct.Struct(order + "II")
        self._enhanced = struct.Struct(order + "IIIIIII")
        self._old = struct.Struct(order + "HHIIII")

    def _block_size(self, data: bytes, at: int) -> tuple[int, int]:
        """Type and length in bytes of the block at `at`; a section header starts its section."""
        if data.startswith(MAGIC, at):
            byte_order = data[at + 8 : at + 12]
            if byte_order == b"\x4d\x3c\x2b\x1a":
                self._set_order("<")
            elif byte_order == b"\x1a\x2b\x3c\x4d":
                self._set_order(">")
            else:
                raise _Broken("stands a section without a byte order mark")
            self._interfaces = []
        kind, size = self._two.unpack_from(data, at)
        if size < 12 or size % 4 or size > MAX_BLOCK:
            raise _Broken(f"stands a block of {size} bytes")
        return kind, size

    def _add_interface(self, body: bytes) -> None:
        if len(body) < 8 or len(self._interfaces) >= MAX_INTERFACES:
            raise _Broken("stands an interface that cannot be read, or one too many")
        link_type, _, snap_length = struct.unpack_from(self._order + "HHI", body)
        options = self._options(body[8:])
        name = options.get(_IF_NAME, b"").rstrip(b"\0").decode(errors="replace")[:64]
        resolution = options.get(_IF_TSRESOL, b"\x06")[:1] or b"\x06"
        exponent = resolution[0] & 0x7F
        if exponent > 63:
            raise _Broken("stands an interface with an impossible clock")
        ticks = 2**exponent if resolution[0] & 0x80 else 10**exponent
        offset = options.get(_IF_TSOFFSET, b"")
        offset_us = struct.unpack(self._order + "q", offset)[0] * 1_000_000 if len(offset) == 8 else 0
        number = len(self._interfaces)
        interface = Interface(link_type, name or (f"interface {number}" if number else ""))
        plain = ticks == 1_000_000 and not offset_us
        self._interfaces.append(_Clocked(interface, snap_length, ticks, offset_us, plain))

    def _options(self, body: bytes) -> dict[int, bytes]:
        options: dict[int, bytes] = {}
        at = 0
        while at + 4 <= len(body):
            code, size = struct.unpack_from(self._order + "HH", body, at)
            if code == 0:
                break
            options.setdefault(code, body[at + 4 : at + 4 + size])
            at += 4 + (size + 3) // 4 * 4
        return options

    def _packet(self, kind: int, data: bytes, at: int, size: int) -> tuple[_Clocked, Record]:
        high = low = number = 0
        head = 28
        if kind == _ENHANCED_PACKET and size >= 32:
            _, _, number, high, low, captured, _ = self._enhanced.unpack_from(data, at)
        elif kind == _OLD_PACKET and size >= 32:
            number, _, high, low, captured, _ = self._old.unpack_from(data, at + 8)
        elif kind == _SIMPLE_PACKET and size >= 16:
            head = 12
            captured = self._two.unpack_from(data, at + 8)[0]
        else:
            raise _Broken(f"stands a packet block of {size} bytes")
        if number >= len(self._interfaces):
            raise _Broken(f"stands a packet of interface {number}, which was never described")
        clocked = self._interfaces[number]
        if kind == _SIMPLE_PACKET:
            captured = min(captured, size - 16, clocked.snap_length or captured)
        start = at + head
        if captured > MAX_FRAME or start + captured > at + size - 4:
            raise _Broken(f"stands a packet of {captured} bytes in a block of {size}")
        time_us = None if kind == _SIMPLE_PACKET else self._time(clocked, high << 32 | low)
        return clocked, (time_us, start, start + captured)

    @staticmethod
    def _time(clocked: _Clocked, ticks: int) -> int | None:
        time_us = ticks * 1_000_000 // clocked.ticks + clocked.offset_us
        return time_us if 0 <= time_us <= MAX_TIME_US else None
