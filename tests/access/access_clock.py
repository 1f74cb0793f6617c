"""A clock that tests move."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass
class Clock:
    """Stands still until told."""

    now: datetime = datetime(2026, 11, 22, 12, tzinfo=UTC)

    def passes(self, **amount: float) -> None:
        self.now += timedelta(**amount)
