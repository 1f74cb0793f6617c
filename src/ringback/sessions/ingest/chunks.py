"""How packets travel from the receivers to the workers: many at once through a pipe, in the order of their receipt.

    u32 bytes that follow, u32 packets, u32 bytes of the sender table, u64 time of receipt (microseconds)
    sender table: JSON [address, ...]
    u32 length of each packet; u16 index of each packet's sender, left out where there is only one
    packets, end to end
A chunk without a sender table is a reference to a frame of the spool, five u64: number of the frame, its packets, file, offset
in the file, and whether an earlier collector wrote it.
All numbers are of this machine: both ends of a pipe run on it.
"""

from __future__ import annotations

import os
import struct
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson

_HEAD = struct.Struct("=IIIQ")
_REFERENCE = struct.Struct("=QQQQQ")
_CHUNK = struct.Struct(">HHH")  # of HEP 3: vendor, kind, bytes with this head
_PAYLOAD_TYPE, _CORRELATION = 0x0B, 0x11
_SIP = b"\x01"
_CALL_ID = b"\nCall-ID: "
_COMPACT_CALL_ID = b"\ni: "


@dataclass(slots=True)
class Chunk:
    received_us: int
    senders: list[str]
    sender_of: array[int] | None  # index into `senders` of each packet; None: there is only one
    lengths: array[int]
    data: bytes  # the packets begin at `start`
    start: int

    def packets(self) -> Iterator[bytes]:
        data, at = self.data, self.start
        for length in self.lengths:
            yield data[at : at + length]
            at += length


@dataclass(frozen=True, slots=True)
class Reference:
    """Frame `number` of the spool lies at `offset` of the file `file`. `kept`: from before the collector's start."""

    number: int
    packets: int
    file: int
    offset: int
    kept: bool


def pack_reference(reference: Reference) -> bytes:
    fields = _REFERENCE.pack(reference.number, reference.packets, reference.file, reference.offset, reference.kept)
    return _HEAD.pack(_HEAD.size - 4 + len(fields), 0, 0, 0) + fields


def pack(
    received_us: int, senders: Sequence[str], sender_of: Sequence[int], packets: Sequence[bytes | memoryview]
) -> bytes:
    """`sender_of` may be empty where there is one sender."""
    table = orjson.dumps(senders)
    lengths = array("I", map(len, packets)).tobytes()
    indexes = array("H", sender_of).tobytes() if len(senders) > 1 else b""
    size = _HEAD.size - 4 + len(table) + len(lengths) + len(indexes) + sum(map(len, packets))
    return b"".join((_HEAD.pack(size, len(packets), len(table), received_us), table, lengths, indexes, *packets))


def read_chunk(fd: int) -> Chunk | Reference | None:
    """The next of a pipe, waited for; None at its end (also inside a chunk whose writer has died)."""
    head = read_exactly(fd, _HEAD.size)
    if len(head) < _HEAD.size:
        return None
    size, count, table_size, received_us = _HEAD.unpack(head)
    size -= _HEAD.size - 4
    data = read_exactly(fd, size)
    if len(data) < size:
        return None
    if not table_size:
        number, packets, file, offset, kept = _REFERENCE.unpack(data)
        return Reference(number, packets, file, offset, bool(kept))
    return _chunk(data, count, table_size, received_us)


def chunks_of(data: bytes) -> Iterator[Chunk]:
    """The chunks that lie end to end in `data`."""
    at = 0
    while at < len(data):
        size, count, table_size, received_us = _HEAD.unpack_from(data, at)
        end = at + size + 4
        yield _chunk(data[at + _HEAD.size : end], count, table_size, received_us)
        at = end


def packets_in(chunk: bytes | memoryview) -> tuple[int, int]:
    """How many packets a packed chunk has, and when they were received. A reference has none."""
    _, count, _, received_us = _HEAD.unpack_from(chunk)
    return count, received_us


def _chunk(data: bytes, count: int, table_size: int, received_us: int) -> Chunk:
    senders = orjson.loads(data[:table_size])
    at = table_size + 4 * count
    lengths = array("I", data[table_size:at])
    sender_of = None
    if len(senders) > 1:
        sender_of = array("H", data[at : at + 2 * count])
        at += 2 * count
    return Chunk(received_us, senders, sender_of, lengths, data, at)


def split(chunk: Chunk, workers: int) -> list[bytes]:
    """A packed chunk a worker, b"" for one that gets nothing of it."""
    return pack_shares(chunk.received_us, chunk.senders, chunk.sender_of or (), list(chunk.packets()), workers)


def pack_shares(
    received_us: int,
    senders: Sequence[str],
    sender_of: Sequence[int],
    packets: Sequence[bytes | memoryview],
    workers: int,
) -> list[bytes]:
    """As `pack`, one a worker; b"" for one that gets nothing."""
    if workers == 1:
        return [pack(received_us, senders, sender_of, packets)]
    shares: list[list[int]] = [[] for _ in range(workers)]
    for index, packet in enumerate(packets):
        shares[worker_of(packet, workers)].append(index)
    return [
        pack(
            received_us,
            senders,
            [sender_of[index] for index in share] if sender_of else (),
            [packets[index] for index in share],
        )
        if share
        else b""
        for share in shares
    ]


def worker_of(packet: bytes | memoryview, workers: int) -> int:
    """Which of `workers` gets the packet: all of one Call-ID go to the same, also the log lines and reports whose packet
    names it as their correlation id. What shows none goes to the first."""
    data = bytes(packet)
    at = data.find(_CALL_ID)
    if at >= 0:
        at += len(_CALL_ID)
    else:
        at = data.find(_COMPACT_CALL_ID)
        if at >= 0:
            at += len(_COMPACT_CALL_ID)
        else:
            at = data.lower().find(b"\ncall-id") + len(b"\ncall-id")
            if at < len(b"\ncall-id"):
                return zlib.crc32(_correlation(data)) % workers
    end = data.find(b"\n", at)
    return zlib.crc32(data[at:end].strip(b" \t\r:")) % workers


def _correlation(packet: bytes) -> bytes:
    """Of a HEP 3 packet (chunk 0x0011) that is no SIP; b"" where there is none. SIP whose Call-ID cannot be seen because
    it is compressed stays together with its like."""
    at = 6 if packet.startswith(b"HEP3") else len(packet)
    correlation, payload_type = b"", _SIP
    while at + _CHUNK.size <= len(packet):
        vendor, kind, size = _CHUNK.unpack_from(packet, at)
        if (vendor, kind) == (0, _CORRELATION):
            correlation = packet[at + _CHUNK.size : at + size].strip(b"\0 ")
        elif (vendor, kind) == (0, _PAYLOAD_TYPE):
            payload_type = packet[at + _CHUNK.size : at + size]
        at += max(size, _CHUNK.size)
    return correlation if payload_type != _SIP else b""


def read_exactly(fd: int, size: int) -> bytes:
    """`size` bytes, waited for; less at the end of the pipe."""
    piece = os.read(fd, size)
    if len(piece) == size or not piece:
        return piece
    pieces = [piece]
    size -= len(piece)
    while size and (piece := os.read(fd, size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
