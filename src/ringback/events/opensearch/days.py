"""The indices: of a day legs, blocks and counts for what the store calls ``sip``, logs for ``log``; of a month ``audit``.

Audit rows are few, kept for half a year and looked for in all of it: an index a day would be 180 shards to ask.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

from ringback.events.store import DAY_US

LEGS, BLOCKS, COUNTS, LOGS, AUDIT = "legs", "blocks", "counts", "logs", "audit"
INDICES = {"sip": (LEGS, BLOCKS, COUNTS), "log": (LOGS,), "audit": (AUDIT,)}
KINDS = {index: kind for kind, indices in INDICES.items() for index in indices}
_MOST_MONTHS = 24  # beyond it an interval is asked of every index: a URL has 4,096 bytes
_EPOCH = date(1970, 1, 1).toordinal()


def text(time_us: int) -> str:
    """``2026.11.22``. Raises ValueError where no calendar goes."""
    return _text(time_us // DAY_US)


@lru_cache(maxsize=64)
def _text(day: int) -> str:
    try:
        return date.fromordinal(day + _EPOCH).strftime("%Y.%m.%d")
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{day} days from 1970-01-01 is on no calendar") from error


def month(time_us: int) -> str:
    """``2026.11``. Raises ValueError where no calendar goes."""
    return text(time_us)[:7]


def midnight_us(day: str) -> int:
    """That the day, or month, begins with."""
    form = "%Y.%m.%d" if len(day) > len("2026.11") else "%Y.%m"
    return (datetime.strptime(day, form).toordinal() - _EPOCH) * DAY_US  # noqa: DTZ007 - a day of UTC


def end_us(day: str) -> int:
    """The midnight after the day, or month."""
    if len(day) > len("2026.11"):
        return midnight_us(day) + DAY_US
    return midnight_us(month(midnight_us(day) + 31 * DAY_US))


@dataclass(frozen=True, slots=True)
class Names:
    prefix: str

    def index(self, kind: str, day: str) -> str:
        return f"{self.prefix}-{kind}-{day}"

    def every(self, kind: str) -> str:
        return f"{self.prefix}-{kind}-*"

    def covering(self, kind: str, start_us: int, end_us: int) -> str:
        """An expression for the indices of the days that [start, end) touches, perhaps of more. Wildcards, also for a
        single day: a day without an index is no error then, a closed index is."""
        first, last = _clamped(start_us), _clamped(end_us - 1)
        if (last.year - first.year) * 12 + last.month - first.month > _MOST_MONTHS:
            return self.every(kind)
        names: list[str] = []
        day = first.replace(day=1) if kind == AUDIT else first
        while day <= last:
            if kind == AUDIT:
                names.append(f"{self.prefix}-{kind}-{day:%Y.%m}*")
                day = (day + timedelta(days=31)).replace(day=1)
                continue
            after = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
            if day.day == 1 and after <= last + timedelta(days=1):
                names.append(f"{self.prefix}-{kind}-{day:%Y.%m}.*")
                day = after
            else:
                names.append(f"{self.prefix}-{kind}-{day:%Y.%m.%d}*")
                day += timedelta(days=1)
        return ",".join(names)

    def parsed(self, index: str) -> tuple[str, str] | None:
        """(legs, blocks, counts, logs or audit; day, of audit month); None for an index that is none of ours."""
        of_a_day, of_a_month = r"(legs|blocks|counts|logs)-(\d{4}\.\d\d\.\d\d)", r"(audit)-(\d{4}\.\d\d)"
        prefix = re.escape(self.prefix)
        found = re.fullmatch(f"{prefix}-{of_a_day}", index) or re.fullmatch(f"{prefix}-{of_a_month}", index)
        return (found[1], found[2]) if found else None


def segment(kind: str, day: str) -> str:
    """``sip-2026-11-22``"""
    return f"{kind}-{day.replace('.', '-')}"


def _clamped(time_us: int) -> date:
    day = time_us // DAY_US + _EPOCH
    return date.fromordinal(min(max(day, _EPOCH), date(9998, 12, 31).toordinal()))
