"""What the cursors of all engines have in common: text for a place in the order, sealed for the query it came from."""

from __future__ import annotations

import base64
import binascii
import hashlib

from ringback.events.store import AuditQuery, BadCursor, LegQuery, LogQuery

Query = LegQuery | LogQuery | AuditQuery


def checked_limit(limit: int) -> int:
    """Raises ValueError for a page of nothing: its cursor would lead nowhere."""
    if limit < 1:
        raise ValueError(f"a page of {limit} rows")
    return limit


def sealed(body: bytes, query: Query, mac_bytes: int, engine: str = "") -> str:
    """`engine`: what keeps the cursors of one engine apart from another's."""
    return base64.urlsafe_b64encode(body + _mac(body, query, mac_bytes, engine)).decode()


def opened(text: str, query: Query, size: int, mac_bytes: int, engine: str = "") -> bytes:
    """The `size` bytes that were sealed. Raises BadCursor for what is no cursor of this query."""
    try:
        data = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise BadCursor("not a cursor; start from the first page") from error
    body, mac = data[:size], data[size:]
    if len(body) != size or mac != _mac(body, query, mac_bytes, engine):
        raise BadCursor("the cursor is none of this search; start from the first page")
    return body


def _mac(body: bytes, query: Query, size: int, engine: str) -> bytes:
    return hashlib.blake2b((engine + repr(query)).encode(errors="surrogatepass") + body, digest_size=size).digest()
