"""By which digits a rate is looked for, what so many seconds cost by it, and how many seconds an amount pays for.

Pure and exact: prices are Decimal with five places, a minute; a cost is rounded once, half away from zero.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

LONGEST_PREFIX = 20  # digits
_PLACE = Decimal("0.00001")
_MINUTE = Decimal(60)
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Rate:
    """`price_*` are a minute in the tariff's currency, `interval_*` seconds."""

    id: int | None
    prefix: str
    destination: str
    forbidden: bool
    price_first: Decimal
    price_next: Decimal
    interval_first: int
    interval_next: int
    effective_from: datetime

    @property
    def free(self) -> bool:
        return not self.price_first and not self.price_next

    @property
    def told(self) -> str:
        """ "USA toll-free (prefix 1866)"."""
        prefix = f"prefix {self.prefix}" if self.prefix else "all other destinations"
        return f"{self.destination} ({prefix})" if self.destination else prefix


@dataclass(frozen=True, slots=True)
class RatingEntry:
    """Of one product: by which tariff a service is rated, for a direction ("any": each) and a node (None: each)."""

    id: int
    product_id: int
    direction: str
    node_id: int | None
    tariff_id: int


def digits_of(number: str) -> str:
    """The digits of an account's number: without +, spaces and the like; "" for what is no number."""
    bare = _bare(number)
    return bare if bare.isascii() and bare.isdigit() else ""


def dialled(number: str) -> str:
    """The digits that a number begins with, which are rated: what is put behind them (";npdi", "#") is no way past a rate."""
    found = _DIGITS.match(_bare(number))
    return found[0] if found else ""


def _bare(number: str) -> str:
    return number.strip().removeprefix("+").translate(_MARKS)


_MARKS, _DIGITS = str.maketrans("", "", " -.()/"), re.compile("[0-9]+")


def entry_for(entries: Sequence[RatingEntry], direction: str, node_id: int | None) -> RatingEntry | None:
    """Of one product and service: the entry that names the node goes before the one that does not, then the direction."""
    fitting = [each for each in entries if each.direction in (direction, "any") and each.node_id in (node_id, None)]
    return max(fitting, key=lambda each: (each.node_id is not None, each.direction != "any"), default=None)


def charged_seconds(rate: Rate, seconds: int) -> int:
    """Whole intervals that have begun. A call of no second is not charged."""
    if seconds <= 0:
        return 0
    begun = max(0, -(-(seconds - rate.interval_first) // rate.interval_next))
    return rate.interval_first + begun * rate.interval_next


def price(rate: Rate, seconds: int) -> Decimal:
    """Of so many seconds of conversation."""
    charged = charged_seconds(rate, seconds)
    if not charged:
        return _ZERO
    minutes = rate.price_first * rate.interval_first + rate.price_next * (charged - rate.interval_first)
    return (minutes / _MINUTE).quantize(_PLACE, ROUND_HALF_UP)


def max_seconds(rate: Rate, funds: Decimal | None, limit: int) -> int:
    """The longest call that `funds` (None: without end) pay for, whole intervals, at most `limit`; 0: not even the first."""
    if funds is None or rate.free:
        return limit
    first = rate.price_first * rate.interval_first  # in sixtieths
    left = funds * _MINUTE - first
    if left < 0 or funds <= 0:
        return 0
    if rate.price_next == 0:
        return limit
    intervals = int(left // (rate.price_next * rate.interval_next))
    return min(limit, rate.interval_first + intervals * rate.interval_next)
