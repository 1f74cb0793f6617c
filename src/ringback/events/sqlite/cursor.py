"""Cursors of searches: a place in the order, bound to the query it came from."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ringback.events.cursors import Query, opened, sealed

_SHAPE = struct.Struct("<qqH")
_MAC_BYTES = 8


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """The last row that was given out: what follows comes after it in the order of the search."""

    midnight_us: int
    id: int
    part: int

    def is_behind(self, midnight_us: int, *, newest_first: bool = True) -> bool:
        """Whether that whole day was given out."""
        return midnight_us > self.midnight_us if newest_first else midnight_us < self.midnight_us

    def narrowed(self, low: int, high: int, part: int, *, newest_first: bool = True) -> tuple[int, int]:
        """The ids of the place's own day that are left of [low, high] in a segment that is the day's `part`."""
        if newest_first:
            return low, min(high, self.id if part < self.part else self.id - 1)
        return max(low, self.id if part > self.part else self.id + 1), high


def written(place: Place, query: Query) -> str:
    return sealed(_SHAPE.pack(place.midnight_us, place.id, place.part), query, _MAC_BYTES)


def parsed(text: str | None, query: Query) -> Place | None:
    """Raises BadCursor for what is no cursor of this query."""
    return None if text is None else Place(*_SHAPE.unpack(opened(text, query, _SHAPE.size, _MAC_BYTES)))
