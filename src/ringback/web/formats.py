"""How times, durations, sizes and counts are written on pages.

Every moment comes in as integer microseconds UTC and goes out in the viewer's zone, with the exact UTC value beside it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from markupsafe import Markup

from ringback import clock

UTC = ZoneInfo("UTC")


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo:
    """The zone of that IANA name; UTC when there is none (the name comes from a cookie)."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def local(us: int, tz: ZoneInfo) -> datetime:
    return clock.from_us(us).astimezone(tz)


def zone_name(us: int, tz: ZoneInfo) -> str:
    """``CET (UTC+01:00)``, or the offset alone where the zone has no letters of its own."""
    moment = local(us, tz)
    offset = moment.utcoffset() or timedelta()
    sign = "-" if offset < timedelta() else "+"
    minutes = abs(offset) // timedelta(minutes=1)
    text = f"UTC{sign}{minutes // 60:02d}:{minutes % 60:02d}" if minutes else "UTC"
    letters = moment.tzname() or ""
    return f"{letters} ({text})" if letters.isalpha() and letters != "UTC" else text


def date_text(us: int, tz: ZoneInfo) -> str:
    moment = local(us, tz)
    return f"{moment.day} {moment:%b %Y}"


def time_text(us: int, tz: ZoneInfo, style: str = "full") -> str:
    """Styles: full ``22 Nov 2026, 14:03:22.118`` · second (no milliseconds) · row ``22 Nov 14:03:22`` · clock
    ``14:03:22.118`` · short ``14:03:22`` · minute ``14:03``."""
    moment = local(us, tz)
    milliseconds = f"{moment.microsecond // 1000:03d}"
    if style == "clock":
        return f"{moment:%H:%M:%S}.{milliseconds}"
    if style == "short":
        return f"{moment:%H:%M:%S}"
    if style == "minute":
        return f"{moment:%H:%M}"
    if style == "row":
        return f"{moment.day} {moment:%b %H:%M:%S}"
    date = date_text(us, tz)
    return f"{date}, {moment:%H:%M:%S}" if style == "second" else f"{date}, {moment:%H:%M:%S}.{milliseconds}"


def exact(us: int, tz: ZoneInfo) -> str:
    """For the hover: the viewer's value with its zone, and UTC to the microsecond."""
    return f"{time_text(us, tz)} {zone_name(us, tz)} · {clock.isoformat(us)}"


def time_tag(us: int, tz: ZoneInfo, style: str = "full") -> Markup:
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        clock.isoformat(us), exact(us, tz), time_text(us, tz, style)
    )


def duration(seconds: float | None) -> str:
    """``0.041 s``, ``7.2 s``, ``2 min 05 s``, ``3 h 07 min``, ``2 d 4 h``; ``–`` when unknown."""
    if seconds is None:
        return "–"
    if abs(seconds) < 1:
        return f"{seconds:.3f} s"
    if abs(seconds) < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def number(value: float | None, digits: int = 0) -> str:
    """Thousands apart by a narrow space, which no locale reads as a decimal sign; ``–`` when unknown."""
    if value is None:
        return "–"
    return f"{value:,.{digits}f}".replace(",", "\u202f")


def size(bytes_: int | None) -> str:
    """Binary units: ``87 B``, ``63.0 MiB``; ``–`` when unknown."""
    if bytes_ is None:
        return "–"
    value = float(bytes_)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def plural(count: int, one: str, many: str = "") -> str:
    """``1 message``, ``4 messages``."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def ago(us: int, now_us: int) -> str:
    """Only ever shown beside the exact time."""
    seconds = (now_us - us) / 1_000_000
    if seconds < 5:
        return "just now"
    if seconds < 90:
        return f"{seconds:.0f} s ago"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min ago"
    if seconds < 129_600:
        return f"{seconds / 3600:.0f} h ago"
    return f"{seconds / 86_400:.0f} days ago"
