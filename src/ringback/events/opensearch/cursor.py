"""Cursors of searches: the place in the order where the next page begins, bound to the query it came from.

They hold no point in time: the order is total, newer rows come before it, and an engine keeps only some hundred of them
open. So a cursor never expires.
"""

from __future__ import annotations

import struct

from ringback.events.cursors import Query, opened, sealed

Place = tuple[int, ...]  # values of the sort, of the last row that was given out

_SHAPE = struct.Struct("<3q")
_ENGINE = "opensearch\0"
_MAC_BYTES = 9  # 33 bytes in all: no bit of the text is without meaning


def written(place: Place, query: Query) -> str:
    return sealed(_SHAPE.pack(*place, *[0] * (3 - len(place))), query, _MAC_BYTES, _ENGINE)


def parsed(text: str | None, query: Query, length: int) -> Place | None:
    """The first `length` values. Raises BadCursor for what is no cursor of this query."""
    if text is None:
        return None
    return _SHAPE.unpack(opened(text, query, _SHAPE.size, _MAC_BYTES, _ENGINE))[:length]
