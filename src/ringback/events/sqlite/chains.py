"""From a leg to its messages: the chain of blocks that its row begins."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from ringback.events.sqlite import parts as block_parts
from ringback.events.sqlite.readers import Deadline, Reader
from ringback.events.sqlite.rows import HEAD
from ringback.events.sqlite.schema import Damaged
from ringback.events.store import BlockSlice, SegmentUnreadable


@dataclass(frozen=True, slots=True)
class _Block:
    started_us: int
    data: bytes
    parts: bytes


def slices(reader: Reader, refs: Iterable[str], deadline: Deadline) -> list[tuple[int, int, BlockSlice]]:
    """(start of the block, its id, slice) of the legs' messages. Raises Damaged, SegmentUnreadable."""
    blocks: dict[int, _Block] = {}
    found: list[tuple[int, int, BlockSlice]] = []
    for ref in refs:
        leg = int(ref.rpartition("/")[2], 16)
        row = reader.connection.execute("SELECT head FROM leg WHERE id = ?", (leg,)).fetchone()
        if row is None:
            raise SegmentUnreadable(f"leg {ref} is no longer stored")
        number = row[0] - HEAD
        while number:
            deadline.check()
            block = blocks.get(number)
            if block is None:
                block = blocks[number] = _read(reader, number)
            try:
                parts, before = block_parts.of_leg(block.parts, leg)
            except ValueError as error:
                raise Damaged(reader.file, f"block {number}: {error}") from error
            found += [(block.started_us, number, BlockSlice(block.data, first, count, ref)) for first, count in parts]
            if before >= number:
                raise Damaged(reader.file, f"block {number} names {before} as the one before it")
            number = before
    return found


def _read(reader: Reader, number: int) -> _Block:
    row = reader.connection.execute(
        "SELECT started, checksum, parts, data FROM block WHERE id = ?", (number,)
    ).fetchone()
    if row is None:
        raise Damaged(reader.file, f"block {number} is not there")
    started, checksum, parts, data = row
    if not isinstance(parts, bytes) or not isinstance(data, bytes) or not isinstance(started, int):
        raise Damaged(reader.file, f"block {number} makes no sense")
    if zlib.crc32(parts, zlib.crc32(data)) != checksum:
        raise Damaged(reader.file, f"block {number} is not what was written (checksum)")
    return _Block(started, data, parts)
