"""What pcap and pcapng files have in common: runs of frames, interfaces, and reading them piece by piece."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

from ringback.sessions.capture.interning import BoundedTable
from ringback.sessions.story import Hop

CHUNK = 1 << 17  # bytes read at a time: what a core's own cache holds is read twice as fast
MAX_FRAME = 1 << 20  # a longer record is no frame but a broken length
HOPS_PER_INTERFACE = 16_384

ETHERNET, SLL, SLL2 = 1, 113, 276
RAW = frozenset((12, 14, 101, 228, 229))  # LINKTYPE_RAW and what systems call it, LINKTYPE_IPV4, LINKTYPE_IPV6

# How plain IPv4 without options is told: the four bytes from two before its header on, under a mask, and where that
# header begins in a frame. Ethernet and SLL have their type just before it.
_TYPED, _UNTYPED = (0xFFFFFF00, 0x08004500), (0x0000FF00, 0x00004500)
_PLAIN_IPV4 = {ETHERNET: (*_TYPED, 14), SLL: (*_TYPED, 16), SLL2: (*_UNTYPED, 20)} | dict.fromkeys(
    RAW, (*_UNTYPED, 0)
)
_GZIP_MAGIC = b"\x1f\x8b"


class NotACapture(ValueError):
    """The file is neither pcap nor pcapng; the text says what was found instead."""


class Interface:
    """Where frames were taken: the link type, a name for Hop.agent, and the hops seen here."""

    __slots__ = ("hops", "ip_at", "link_type", "mark", "mask", "name")

    def __init__(self, link_type: int, name: str) -> None:
        self.link_type = link_type
        self.name = name
        self.hops: BoundedTable[bytes, Hop] = BoundedTable(HOPS_PER_INTERFACE)
        self.mask, self.mark, self.ip_at = _PLAIN_IPV4.get(link_type, (0, 1, 2))  # by default nothing fits


# (time_us, start, end): start and end point into `Frames.data`. The time is None where the file does not give one.
# Whether the snap length cut the frame is told by the lengths inside it.
Record = tuple[int | None, int, int]


class Frames(NamedTuple):
    """Frames of one interface in file order."""

    data: bytes
    interface: Interface
    records: list[Record]
    base: int  # offset of data[0] in the (uncompressed) file
    position: int  # offset of what follows the last record


class FrameFile(Protocol):
    """One capture file, read once from front to back, about CHUNK bytes of it in memory."""

    problem: str  # why reading stopped before the end of the file, told after `runs` ended; "" when it did not

    def runs(self) -> Iterator[Frames]: ...


class Source:
    """The bytes of a file, decompressed where it is gzip. A seek is never made: pipes will do."""

    def __init__(self, file: BinaryIO) -> None:
        """Raises OSError of the file, here and in `read`."""
        self.problem = ""  # why the compressed data ended early
        self._file = _Counted(file)
        self.compressed = self._file.peek(2) == _GZIP_MAGIC
        self._gunzip = gzip.GzipFile(fileobj=self._file, mode="rb") if self.compressed else None

    @property
    def bytes_read(self) -> int:
        """Of the file as it is."""
        return self._file.bytes_read

    def read(self, size: int) -> bytes:
        """`size` bytes, less at the end, b"" behind it."""
        pieces = []
        while size > 0:
            piece = self._file.read(size) if self._gunzip is None else self._inflate(self._gunzip, size)
            if not piece:
                break
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _inflate(self, gunzip: gzip.GzipFile, size: int) -> bytes:
        if self.problem:
            return b""
        try:
            return gunzip.read1(size)  # what it can: nothing that came before damage is lost with it
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            self.problem = f"the compressed data is damaged: {error}"
            return b""


class _Counted(io.RawIOBase):
    """A file that tells how far it was read, and can be looked into once at the start."""

    def __init__(self, file: BinaryIO) -> None:
        self.bytes_read = 0
        self._file = file
        self._peeked = b""

    def peek(self, size: int) -> bytes:
        self._peeked = self.read(size) or b""
        return self._peeked

    def read(self, size: int = -1, /) -> bytes:
        piece, self._peeked = self._peeked[:size], self._peeked[size:]
        if not piece:
            piece = self._file.read(size)
            self.bytes_read += len(piece)
        return piece
