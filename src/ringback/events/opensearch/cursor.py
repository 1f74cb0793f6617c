"""Cursors of searches: the place in the order where the next page begins, bound to the query it came from.

They hold no point in time: the order is total, newer rows come before it, and an engine keeps only some hundred of them
open. So a cursor never expires.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct

from ringback.events.store import BadCursor, LegQuery, LogQuery

Place = tuple[int, ...]  # values of the sort, of the last row that was given out

_SHAPE = struct.Struct("<3q")
_MAC_BYTES = 9  # 33 bytes in all: no bit of the text is without meaning


def checked_limit(limit: int) -> int:
    """Raises ValueError for a page of nothing: its cursor would lead nowhere."""
    if limit < 1:
        raise ValueError(f"a page of {limit} rows")
    return limit


def written(place: Place, query: LegQuery | LogQuery) -> str:
    body = _SHAPE.pack(*place, *[0] * (3 - len(place)))
    return base64.urlsafe_b64encode(body + _mac(body, query)).decode()


def parsed(text: str | None, query: LegQuery | LogQuery, length: int) -> Place | None:
    """The first `length` values. Raises BadCursor for what is no cursor of this query."""
    if text is None:
        return None
    try:
        data = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise BadCursor("not a cursor; start from the first page") from error
    body, mac = data[: _SHAPE.size], data[_SHAPE.size :]
    if len(body) != _SHAPE.size or mac != _mac(body, query):
        raise BadCursor("the cursor is none of this search; start from the first page")
    return _SHAPE.unpack(body)[:length]


def _mac(body: bytes, query: LegQuery | LogQuery) -> bytes:
    text = "opensearch\0" + repr(query)
    return hashlib.blake2b(text.encode(errors="surrogatepass") + body, digest_size=_MAC_BYTES).digest()
