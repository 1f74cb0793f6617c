"""Times as people and scripts write them in queries."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from ringback import clock
from ringback.sessions.schemas import QueryError

_BACK = re.compile(r"-(\d{1,6})([smhd])")
_UNIT_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


def moment_us(text: str, field: str) -> int:
    """Microseconds UTC of an RFC 3339 time (without a zone: UTC), epoch seconds, or a time back from now ("-90m").

    Raises QueryError.
    """
    text = text.strip()
    if text == "now":
        return clock.now_us()
    if back := _BACK.fullmatch(text):
        return clock.now_us() - int(back[1]) * _UNIT_US[back[2]]
    try:
        if text.replace(".", "", 1).isdigit():
            return clock.to_us(datetime.fromtimestamp(float(text), UTC))
        # "+" of a zone arrives as a space where a URL was written by hand.
        moment = datetime.fromisoformat(re.sub(r" (\d\d:?\d\d)$", r"+\1", text))
        return clock.to_us(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError, OSError):
        raise QueryError(
            field, f"{text!r} is no time; write 2026-10-12T14:03:22Z, or -15m, -1h, -7d back from now"
        ) from None
