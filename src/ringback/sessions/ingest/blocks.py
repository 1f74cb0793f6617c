"""Blocks: many messages packed into the opaque bytes that the event store keeps.

    b"RBM" version=1 | one zstd frame with a content checksum of:
      u32 messages, u32 bytes of tables
      columns, each as planes of its bytes, lowest first (the high bytes, nearly all alike, then cost nothing):
        i64 time: microseconds after the message before (the first after the epoch)
        u32 length of the payload, u32 marks, u16 index of the hop, u16 index of the correlation id
      tables: JSON [[transport, source, port, destination, port, agent], ...], [correlation id, ...]
      payloads, end to end
All numbers are little-endian.
"""

from __future__ import annotations

import struct
import sys
import threading
from array import array
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from operator import sub

import orjson
import zstandard

from ringback.sessions.story import Hop, Sighting, SightingTuple

MOST_MESSAGES = 0xFFFF  # that one block can hold: its indexes are 16 bits wide
_MAGIC = b"RBM\x01"
_HEAD = struct.Struct("<II")
_ROW = 8 + 4 + 4 + 2 + 2  # bytes of the columns per message
_LARGEST = 256 * 1024 * 1024  # bytes unpacked; no writer comes near

_of_thread = threading.local()  # a compressor is one thread's: two uploads at once would end the process


class BlockDamaged(ValueError):
    """The bytes are no block, or not the block that was written: the text says what is wrong."""


def encode_block(messages: Sequence[SightingTuple]) -> bytes:
    """At most MOST_MESSAGES, at least one; plain tuples of a Sighting's shape will do."""
    times, hops, payloads, marks, correlations = zip(*messages, strict=True)
    # Decoders intern hops, so their identity will do; two equal objects only cost a second row of the table.
    identities = list(map(id, hops))
    hop_table = dict(zip(identities, hops, strict=True))
    hop_index = {identity: index for index, identity in enumerate(hop_table)}
    correlation_index = {text: index for index, text in enumerate(dict.fromkeys(correlations))}
    tables = orjson.dumps([list(map(_hop_row, hop_table.values())), list(correlation_index)])
    deltas = array("q", times[:1])
    deltas.extend(map(sub, times[1:], times))
    body = b"".join(
        (
            _HEAD.pack(len(times), len(tables)),
            _planes(deltas),
            _planes(array("I", map(len, payloads))),
            _planes(array("I", marks)),
            _planes(array("H", map(hop_index.__getitem__, identities))),
            _planes(array("H", map(correlation_index.__getitem__, correlations))),
            tables,
            *payloads,
        )
    )
    return _MAGIC + _compressor().compress(body)


def _compressor() -> zstandard.ZstdCompressor:
    try:
        found: zstandard.ZstdCompressor = _of_thread.compressor
    except AttributeError:
        found = zstandard.ZstdCompressor(level=3, write_checksum=True, write_content_size=True)
        _of_thread.compressor = found
    return found


def decode_block(data: bytes, first: int = 0, count: int | None = None) -> list[Sighting]:
    """Messages `first` .. `first + count - 1` (None: all from `first`). Raises BlockDamaged."""
    if len(data) < len(_MAGIC) or data[:3] != _MAGIC[:3]:
        raise BlockDamaged(f"a block of messages begins with {data[:4]!r} instead of {_MAGIC!r}")
    if data[3:4] != _MAGIC[3:]:
        raise BlockDamaged(f"a block of messages has version {data[3]}, which a later Ringback wrote")
    try:
        body = zstandard.ZstdDecompressor().decompress(data[4:], max_output_size=_LARGEST)
    except zstandard.ZstdError as error:
        raise BlockDamaged(f"a block of messages cannot be unpacked: {error}") from error
    try:
        return _messages(body, first, count)
    except (struct.error, ValueError, IndexError, TypeError) as error:
        raise BlockDamaged(f"a block of messages is inconsistent: {error}") from error


def _messages(body: bytes, first: int, count: int | None) -> list[Sighting]:
    total, table_bytes = _HEAD.unpack_from(body)
    start = _HEAD.size + _ROW * total + table_bytes
    if start > len(body):
        raise ValueError(f"{total} messages in {len(body)} bytes")
    last = total if count is None else first + count
    if not 0 <= first <= last <= total:
        raise ValueError(f"messages {first} to {last} of {total}")
    columns = []
    at = _HEAD.size
    for code in "qIIHH":
        column = array(code)
        column.frombytes(_unplane(body[at : at + column.itemsize * total], column.itemsize))
        if sys.byteorder == "big":
            column.byteswap()
        columns.append(column)
        at += column.itemsize * total
    deltas, lengths, marks, hop_index, correlation_index = columns
    hop_rows, correlations = orjson.loads(body[at:start])
    hops = [_hop(*row) for row in hop_rows]
    times = list(accumulate(deltas))
    ends = list(accumulate(lengths, initial=start))
    if ends[-1] != len(body):
        raise ValueError(f"payloads end at {ends[-1]} of {len(body)} bytes")
    return [
        Sighting(
            times[i], hops[hop_index[i]], body[ends[i] : ends[i + 1]], marks[i], correlations[correlation_index[i]]
        )
        for i in range(first, last)
    ]


def _planes(column: array[int]) -> bytes:
    if sys.byteorder == "big":
        column.byteswap()
    data, width = column.tobytes(), column.itemsize
    return b"".join([data[plane::width] for plane in range(width)])


def _unplane(data: bytes, width: int) -> bytes:
    plane = len(data) // width
    out = bytearray(len(data))
    for index in range(width):
        out[index::width] = data[index * plane : (index + 1) * plane]
    return bytes(out)


def _hop_row(hop: Hop) -> tuple[str, str, int, str, int, str]:
    return hop.transport, hop.source, hop.source_port, hop.destination, hop.destination_port, hop.agent


@lru_cache(maxsize=4096)
def _hop(transport: str, source: str, source_port: int, destination: str, destination_port: int, agent: str) -> Hop:
    return Hop(transport, source, source_port, destination, destination_port, agent)
