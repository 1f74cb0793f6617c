"""The frames of a pcap file: both byte orders, stamps in micro- or nanoseconds, the header of the "modified" format.

Source: draft-ietf-opsawg-pcap.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ringback.sessions.capture.frames import CHUNK, MAX_FRAME, Frames, Interface, NotACapture, Record, Source

MAGICS = {  # -> (byte order, ticks a microsecond, bytes of a record's header)
    b"\xd4\xc3\xb2\xa1": ("<", 1, 16),
    b"\xa1\xb2\xc3\xd4": (">", 1, 16),
    b"\x4d\x3c\xb2\xa1": ("<", 1000, 16),
    b"\xa1\xb2\x3c\x4d": (">", 1000, 16),
    b"\x34\xcd\xb2\xa1": ("<", 1, 24),  # "modified" by A. Kuznetzov: interface, protocol and direction follow
    b"\xa1\xb2\xcd\x34": (">", 1, 24),
}


class PcapFile:
    """Implements frames.FrameFile."""

    def __init__(self, source: Source, magic: bytes) -> None:
        """`magic` was read from `source` already. Raises NotACapture when there is no whole file header."""
        self.problem = ""
        self._source = source
        order, self._ticks, self._header_size = MAGICS[magic]
        self._header = struct.Struct(order + "IIII")
        rest = source.read(20)
        if len(rest) < 20:
            raise NotACapture("a pcap file that ends inside its own header")
        link_type = struct.unpack(order + "I", rest[16:])[0] & 0xFFFF  # above: whether frames end with a checksum
        self._interface = Interface(link_type, "")

    def runs(self) -> Iterator[Frames]:
        unpack, size, ticks = self._header.unpack_from, self._header_size, self._ticks
        data, base, at = b"", 24, 0
        while more := self._source.read(CHUNK):
            data, base, at = data[at:] + more, base + at, 0
            records: list[Record] = []
            last = len(data) - size
            while at <= last:
                seconds, fraction, captured, _ = unpack(data, at)
                start = at + size
                end = start + captured
                if captured > MAX_FRAME:
                    self.problem = f"at byte {base + at} stands a packet of {captured} bytes: the file is damaged"
                    break
                if end > len(data):
                    break
                records.append((seconds * 1_000_000 + fraction // ticks, start, end))
                at = end
            yield Frames(data, self._interface, records, base, base + at)
            if self.problem:
                return
        self.problem = self._source.problem
        if at < len(data) and not self.problem:
            self.problem = f"the file ends inside the packet at byte {base + at}"
