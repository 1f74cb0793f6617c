"""The history of a balance as an SVG: steps, for a balance stays as it is until something moves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from ringback import clock
from ringback.billing.entities.pages_values import amount, balance_words
from ringback.billing.ledger.queries import Point
from ringback.web.formats import date_text

WIDTH = 1000  # of the plot in its own units; it is stretched to the page
HEIGHT = 150  # pixels
_TOP = _BOTTOM = 10
_TICKS = 5
_APART = 30  # pixels between the texts of two guides


@dataclass(frozen=True, slots=True)
class Step:
    """From when on the balance was so, and where it is touched."""

    us: int
    balance: str
    words: str
    xdr_id: int
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Guide:
    """A line across, and what it stands for."""

    y: float
    text: str
    kind: str  # zero limit edge


@dataclass(frozen=True, slots=True)
class Plot:
    line: str  # path of the steps
    area: str  # the same, closed at zero
    zero: float  # y
    steps: tuple[Step, ...]
    guides: tuple[Guide, ...]
    ticks: tuple[str, ...]
    told: str  # the whole in a sentence
    width: int = WIDTH
    height: int = HEIGHT


def plot(
    points: Sequence[Point], start: datetime, end: datetime, currency: str, zone: ZoneInfo, *, holds_funds: bool = False,
    limit: Decimal | None = None,
) -> Plot | None:  # fmt: skip
    """None: nothing moved it, ever. `limit`: where it would stop."""
    if not points:
        return None
    values = [point.balance for point in points]
    if points[0].at > start:
        values.append(Decimal(0))
    shown_limit = limit if limit is not None and limit > 0 and max(values) * 2 >= limit else None
    high, low = max(*values, Decimal(0), shown_limit or Decimal(0)), min(*values, Decimal(0))
    span = float(high - low) or 1.0
    room = HEIGHT - _TOP - _BOTTOM
    first, length = clock.to_us(start), max(clock.to_us(end) - clock.to_us(start), 1)

    def y(value: Decimal) -> float:
        return round(_TOP + float(high - value) / span * room, 1)

    def x(moment: datetime) -> float:
        return round(min(max((clock.to_us(moment) - first) / length, 0.0), 1.0) * WIDTH, 1)

    before = points[0].balance if points[0].at <= start else Decimal(0)
    path = [f"M0 {y(before)}"]
    steps = []
    for place, point in enumerate(points):
        left = x(point.at)
        right = x(points[place + 1].at) if place + 1 < len(points) else float(WIDTH)
        path.append(f"H{left}V{y(point.balance)}")
        words, _ = balance_words(point.balance, currency, holds_funds=holds_funds)
        told = f"{amount(point.balance, currency)} {currency}"
        steps.append(Step(clock.to_us(point.at), told, words, point.xdr_id, left, round(max(right - left, 2), 1)))
    path.append(f"H{WIDTH}")
    line = "".join(path)
    guides = [Guide(y(Decimal(0)), f"0 {currency}", "zero")]
    if shown_limit is not None:
        guides.append(Guide(y(shown_limit), f"credit limit {amount(shown_limit, currency)}", "limit"))
    guides += [
        Guide(y(value), amount(value, currency), "edge")
        for value in (high, low)
        if value and value != shown_limit and abs(y(value) - y(Decimal(0))) > _APART
    ]
    return Plot(
        line, f"{line}V{y(Decimal(0))}H0Z", y(Decimal(0)), tuple(steps), tuple(guides), _dates(first, length, zone),
        _told(points, values, currency, zone, holds_funds=holds_funds),
    )  # fmt: skip


def _dates(first_us: int, length_us: int, zone: ZoneInfo) -> tuple[str, ...]:
    return tuple(date_text(first_us + length_us * place // (_TICKS - 1), zone) for place in range(_TICKS))


def _told(
    points: Sequence[Point], values: Sequence[Decimal], currency: str, zone: ZoneInfo, *, holds_funds: bool
) -> str:
    now, _ = balance_words(points[-1].balance, currency, holds_funds=holds_funds)
    said = f"At most {amount(max(values), currency)} and at least {amount(min(values), currency)} {currency}"
    return f"{said}; since {date_text(clock.to_us(points[-1].at), zone)}: {now}."
