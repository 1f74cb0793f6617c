"""Cursors of searches: a place in the order, bound to the query it came from."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass

from ringback.events.store import BadCursor, LegQuery, LogQuery

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


def written(place: Place, query: LegQuery | LogQuery) -> str:
    body = _SHAPE.pack(place.midnight_us, place.id, place.part)
    return base64.urlsafe_b64encode(body + _mac(body, query)).decode()


def checked_limit(limit: int) -> int:
    """Raises ValueError for a page of nothing: its cursor would lead nowhere."""
    if limit < 1:
        raise ValueError(f"a page of {limit} rows")
    return limit


def parsed(text: str | None, query: LegQuery | LogQuery) -> Place | None:
    """Raises BadCursor for what is no cursor of this query."""
    if text is None:
        return None
    try:
        data = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise BadCursor("not a cursor; start from the first page") from error
    body, mac = data[: _SHAPE.size], data[_SHAPE.size :]
    if len(body) != _SHAPE.size or mac != _mac(body, query):
        raise BadCursor("the cursor is none of this search; start from the first page")
    return Place(*_SHAPE.unpack(body))


def _mac(body: bytes, query: LegQuery | LogQuery) -> bytes:
    return hashlib.blake2b(repr(query).encode(errors="surrogatepass") + body, digest_size=_MAC_BYTES).digest()
