"""What the leg table gathered, packed into the batches that the event store writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ringback.events.store import Batch, BlockPart, BlockWrite
from ringback.sessions.ingest.blocks import encode_block
from ringback.sessions.ingest.leg import OpenLeg
from ringback.sessions.ingest.legs import DAY_US, Taken
from ringback.sessions.story import SightingTuple

BLOCK_MESSAGES = 500  # a block is closed when it holds as many, or fewer at the end of a batch
BLOCK_BYTES = 1 << 20
_MOST_OF_A_LEG = 500  # a leg with more in one batch is spread over blocks


def batches(taken: Taken) -> dict[int, Batch]:
    """One batch for each day that `taken` touches, by its midnight, in order of time."""
    legs: defaultdict[int, list[OpenLeg]] = defaultdict(list)
    settled: defaultdict[int, list[OpenLeg]] = defaultdict(list)
    counts: defaultdict[int, list[tuple[str, int, str, int]]] = defaultdict(list)
    for leg in taken.legs:
        legs[leg.day_start].append(leg)
    for leg in taken.settled:
        settled[leg.day_start].append(leg)
    for (environment, minute, outcome), delta in taken.counts.items():
        if delta:
            counts[minute - minute % DAY_US].append((environment, minute, outcome, delta))
    return {
        day: Batch(
            legs=[leg.row for leg in (*legs[day], *settled[day])], blocks=list(_blocks(legs[day])), counts=counts[day]
        )
        for day in sorted({*legs, *settled, *counts})
    }


def stored(taken: Taken) -> None:
    """After the write: the legs begin anew."""
    for leg in taken.legs:
        leg.pending = []


def _blocks(legs: Sequence[OpenLeg]) -> Iterator[BlockWrite]:
    """A leg's messages lie together: fewer references, and bodies that two probes saw compress to nothing."""
    messages: list[SightingTuple] = []
    parts: list[BlockPart] = []
    size = 0  # about: of each leg only the outermost messages are measured
    for leg in legs:
        pending = leg.pending
        for start in range(0, len(pending), _MOST_OF_A_LEG):
            part = pending if len(pending) <= _MOST_OF_A_LEG else pending[start : start + _MOST_OF_A_LEG]
            parts.append(BlockPart(leg.row, len(messages), len(part)))
            messages += part
            size += len(part) * (len(part[0][2]) + len(part[-1][2])) // 2
            if len(messages) >= BLOCK_MESSAGES or size >= BLOCK_BYTES:
                yield _block(messages, parts)
                messages, parts, size = [], [], 0
    if messages:
        yield _block(messages, parts)


def _block(messages: Sequence[SightingTuple], parts: Sequence[BlockPart]) -> BlockWrite:
    times = [message[0] for message in messages]
    return BlockWrite(min(times), max(times), len(times), encode_block(messages), parts)
