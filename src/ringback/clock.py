"""The one place where time, ids and randomness come from, so that tests can freeze them.

Times are aware UTC datetimes in code and integer microseconds since the epoch at the edges of storage.
"""

import secrets
import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def now_us() -> int:
    """Microseconds since the epoch, UTC."""
    return time.time_ns() // 1000


def now() -> datetime:
    return from_us(now_us())


def from_us(microseconds: int) -> datetime:
    """Exact (no float on the way). Raises OverflowError outside the years 1-9999."""
    return _EPOCH + timedelta(microseconds=microseconds)


def to_us(moment: datetime) -> int:
    """Raises ValueError for a naive datetime: its zone is unknown."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return (moment - _EPOCH) // MICROSECOND


def isoformat(microseconds: int) -> str:
    """RFC 3339 with microseconds and a Z: ``2026-10-12T19:03:22.118000Z``."""
    return from_us(microseconds).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_words(seconds: int) -> str:
    """``104 s``, ``2 min 5 s``, ``2 h 46 min 40 s``, ``3 h``: exact, without the parts that are nought."""
    if seconds < 120:
        return f"{seconds} s"
    parts = ((seconds // 3600, "h"), (seconds % 3600 // 60, "min"), (seconds % 60, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def random_token(bytes_: int = 32) -> str:
    """URL-safe text from `bytes_` bytes of the system's randomness."""
    return secrets.token_urlsafe(bytes_)
