"""The strip of sessions over the interval."""

from zoneinfo import ZoneInfo

from ringback.sessions.pages import search_form
from ringback.sessions.pages.histogram import HEIGHT, Strip, strip
from ringback.sessions.schemas import OUTCOMES, Histogram, HistogramBucket

NOW = 1_795_348_800_000_000
MINUTE = 60_000_000
UTC = ZoneInfo("UTC")


def drawn(*buckets: dict[str, int], width: int = MINUTE) -> Strip:
    start = NOW - len(buckets) * width
    form = search_form.read([("q", "335"), ("last", "1h")], UTC, NOW, ("default",))
    counted = [HistogramBucket(start + index * width, outcomes) for index, outcomes in enumerate(buckets)]
    return strip(Histogram(start, NOW, width, counted), form, UTC)


def test_every_outcome_is_counted_in_one_tone() -> None:
    one = drawn(dict.fromkeys(OUTCOMES, 1))
    assert one.total == len(OUTCOMES)
    assert sum(entry.count for entry in one.legend) == len(OUTCOMES)
    assert {outcome for entry in one.legend for outcome in entry.outcomes.split(", ")}.__len__() == len(OUTCOMES)


def test_failures_stand_on_the_base_line_and_the_highest_bar_fills_the_height() -> None:
    one = drawn({"answered": 3, "failed": 1}, {"answered": 1})
    bottom, top = one.bars[0].parts
    assert bottom.tone == "bad"
    assert bottom.y + bottom.height == HEIGHT
    assert top.y + top.height == bottom.y
    assert bottom.height + top.height == HEIGHT - 2


def test_one_failure_among_thousands_is_still_seen() -> None:
    assert drawn({"answered": 5000, "failed": 1}).bars[0].parts[0].height >= 1.5


def test_an_empty_interval_has_bars_without_parts() -> None:
    one = drawn({}, {})
    assert [bar.parts for bar in one.bars] == [[], []]
    assert (one.total, one.peak) == (0, 0)
    assert one.bars[0].label == "11:58:00–11:59:00: none"


def test_a_bar_is_a_link_to_its_own_time_with_the_rest_of_the_search() -> None:
    one = drawn({}, {"failed": 2, "answered": 1})
    assert one.bars[1].label == "11:59:00–12:00:00: 2 failed, 1 fine"
    assert one.bars[1].url == (
        "/sessions?q=335&from=2026-11-22T11%3A59%3A00.000000Z&to=2026-11-22T12%3A00%3A00.000000Z"
    )


def test_the_length_of_a_bucket_is_told_without_empty_units() -> None:
    assert drawn({}).bucket == "1 min"
    assert drawn({}, width=3600 * 1_000_000).bucket == "1 h"
    assert drawn({}, width=105 * MINUTE).bucket == "1 h 45 min"
