"""Which messages of a block belong to which leg: 12 bytes a part, two arrays one after the other.

u32 for each part: the block that holds the leg's messages before this one, 0 for none; then u64 for each: the leg's id
<< 16 | number of messages. Parts follow one another; messages of no leg are a part of leg 0.
"""

from __future__ import annotations

from array import array

COUNT_BITS = 16
_PART_BYTES = 12


def packed(before: array[int], parts: array[int]) -> bytes:
    return before.tobytes() + parts.tobytes()


def unpacked(data: bytes) -> tuple[array[int], array[int]]:
    """(before, parts). Raises ValueError where the length is wrong."""
    count, rest = divmod(len(data), _PART_BYTES)
    if rest:
        raise ValueError("parts of a block that end in the middle")
    return array("I", data[: count * 4]), array("Q", data[count * 4 :])


def of_leg(data: bytes, leg: int) -> tuple[list[tuple[int, int]], int]:
    """[(first, count)] of the leg's messages in a block, and the id of the leg's block before (0: none).

    Raises ValueError where the leg has no part in it: the chain is broken.
    """
    before, parts = unpacked(data)
    found: list[tuple[int, int]] = []
    previous = position = 0
    for index, part in enumerate(parts):
        count = part & (1 << COUNT_BITS) - 1
        if part >> COUNT_BITS == leg:
            if not found:
                previous = before[index]
            found.append((position, count))
        position += count
    if not found:
        raise ValueError(f"leg {leg:x} has no part in it")
    return found, previous
