"""The strip of sessions over the interval, by tone, as an SVG whose bars are links that zoom."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from ringback.sessions.pages.search_form import SearchForm
from ringback.sessions.pages.words import OUTCOME_WORDS, TONES, outcome_word, outcomes_of_tone
from ringback.sessions.schemas import Histogram
from ringback.web import formats

HEIGHT = 56  # of the plot, in its own units
PITCH = 10
BAR = 8
TICKS = 6
DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Part:
    tone: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    x: int
    start_us: int
    end_us: int
    label: str  # "14:05–14:10: 12 sessions, 3 failed"
    url: str  # the same search over this bucket
    parts: list[Part]


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """A tone, how many sessions it has, and the search that shows only those."""

    tone: str
    sign: str
    text: str
    count: int
    outcomes: str
    url: str


@dataclass(frozen=True, slots=True)
class Strip:
    bars: list[Bar]
    width: int
    total: int
    legend: list[LegendEntry]
    ticks: list[str]
    bucket: str  # "5 min": what one bar stands for
    peak: int


def strip(counted: Histogram, form: SearchForm, tz: ZoneInfo) -> Strip:
    """What the template draws; `form` makes the links."""
    per_bucket = [_by_tone(bucket.outcomes) for bucket in counted.buckets]
    peak = max((sum(counts.values()) for counts in per_bucket), default=0)
    style = "row" if counted.end_us - counted.start_us > DAY_US else "short"
    bars = []
    for index, (bucket, counts) in enumerate(zip(counted.buckets, per_bucket, strict=True)):
        end_us = bucket.start_us + counted.width_us
        when = f"{formats.time_text(bucket.start_us, tz, style)}–{formats.time_text(end_us, tz, 'short')}"
        said = ", ".join(f"{formats.number(counts[tone])} {text}" for tone, _, text in TONES if counts.get(tone))
        label = f"{when}: {said or 'none'}"
        bars.append(
            Bar(
                index * PITCH,
                bucket.start_us,
                end_us,
                label,
                form.zoomed(bucket.start_us, end_us),
                _stack(counts, peak),
            )
        )
    totals = {tone: sum(counts.get(tone, 0) for counts in per_bucket) for tone, _, _ in TONES}
    return Strip(
        bars=bars,
        width=len(bars) * PITCH,
        total=sum(totals.values()),
        legend=[_legend(tone, sign, text, totals[tone], form) for tone, sign, text in TONES],
        ticks=_ticks(counted, tz),
        bucket=formats.duration(counted.width_us / 1_000_000).replace(" 00 s", "").replace(" 00 min", ""),
        peak=peak,
    )


def _by_tone(outcomes: dict[str, int]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for outcome, count in outcomes.items():
        tone = outcome_word(outcome).tone
        counts[tone] = counts.get(tone, 0) + count
    return {tone: count for tone, count in counts.items() if count}


def _stack(counts: dict[str, int], peak: int) -> list[Part]:
    parts = []
    base = float(HEIGHT)
    for tone, _, _ in TONES:
        if count := counts.get(tone, 0):
            height = max(1.5, count / peak * (HEIGHT - 2))  # one session among thousands must still be seen
            base -= height
            parts.append(Part(tone, round(base, 2), round(height, 2)))
    return parts


def _legend(tone: str, sign: str, text: str, count: int, form: SearchForm) -> LegendEntry:
    outcomes = outcomes_of_tone(tone)
    url = form.url(*(("outcome", outcome) for outcome in outcomes), leave_out=("outcome",))
    return LegendEntry(tone, sign, text, count, ", ".join(OUTCOME_WORDS[one].text.lower() for one in outcomes), url)


def _ticks(counted: Histogram, tz: ZoneInfo) -> list[str]:
    length = counted.end_us - counted.start_us
    style = "row" if length > DAY_US else "short" if length < 600_000_000 else "minute"
    texts = [formats.time_text(counted.start_us + length * step // (TICKS - 1), tz, style) for step in range(TICKS)]
    return [text[:-3] if style == "row" else text for text in texts]
