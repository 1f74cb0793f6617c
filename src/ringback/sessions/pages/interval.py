"""The interval of a search: a preset that ends now, or two moments picked in the viewer's zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from ringback import clock
from ringback.sessions.moments import moment_us
from ringback.sessions.schemas import QueryError

MINUTE_US = 60_000_000
PRESETS: dict[str, tuple[str, int]] = {  # name in the URL: (text, length in microseconds)
    "15m": ("15 min", 15 * MINUTE_US),
    "1h": ("1 h", 60 * MINUTE_US),
    "24h": ("24 h", 24 * 60 * MINUTE_US),
    "7d": ("7 days", 7 * 24 * 60 * MINUTE_US),
}
DEFAULT = "24h"


@dataclass(frozen=True, slots=True)
class Interval:
    start_us: int
    end_us: int  # exclusive
    preset: str  # "" when picked

    def parameters(self) -> list[tuple[str, str]]:
        """As the URL holds it."""
        return [("last", self.preset)] if self.preset else self.fixed()

    def longer(self) -> str:
        """The name of the next longer preset; "" where it is the longest already."""
        length = self.end_us - self.start_us
        return next((name for name, (_, preset_length) in PRESETS.items() if preset_length > length), "")

    def fixed(self) -> list[tuple[str, str]]:
        """The same moments for every reader, whenever they read."""
        return [("from", clock.isoformat(self.start_us)), ("to", clock.isoformat(self.end_us))]


def preset(name: str, now_us: int) -> Interval:
    """Raises QueryError when there is no such preset."""
    if name not in PRESETS:
        raise QueryError("last", f"“{name}” is none of {', '.join(PRESETS)}")
    return Interval(now_us - PRESETS[name][1], now_us, name)


def picked(start: str, end: str, tz: ZoneInfo, now_us: int) -> Interval:
    """Times as the API takes them, but one without a zone is the viewer's. An empty end is now. Raises QueryError."""
    end_us = _moment("to", end, tz) if end else now_us
    start_us = _moment("from", start, tz) if start else end_us - PRESETS[DEFAULT][1]
    if start_us >= end_us:
        raise QueryError("from", "the interval must begin before it ends")
    return Interval(start_us, end_us, "")


def for_input(us: int, tz: ZoneInfo) -> str:
    """Value of a datetime-local field."""
    return clock.from_us(us).astimezone(tz).strftime("%Y-%m-%dT%H:%M:%S")


def _moment(field: str, text: str, tz: ZoneInfo) -> int:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            return clock.to_us(moment.replace(tzinfo=tz).astimezone(UTC))
    except (ValueError, OverflowError):
        pass  # one with a zone, one such as -90m, or none at all: the API reads these, and says what is wrong
    return moment_us(text, field)
