"""How times, durations and sizes are written."""

import pytest

from ringback import clock
from ringback.web import formats

MOMENT = 1_795_348_802_118_456  # 2026-11-22T12:00:02.118456Z


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("full", "22 Nov 2026, 06:00:02.118"),
        ("second", "22 Nov 2026, 06:00:02"),
        ("row", "22 Nov 06:00:02"),
        ("clock", "06:00:02.118"),
        ("short", "06:00:02"),
        ("minute", "06:00"),
    ],
)
def test_a_time_is_written_in_the_viewers_zone(style: str, text: str) -> None:
    assert formats.time_text(MOMENT, formats.zone("America/Chicago"), style) == text


def test_the_hover_of_a_time_tells_the_zone_and_the_exact_moment() -> None:
    tag = formats.time_tag(MOMENT, formats.zone("Asia/Kolkata"), "short")
    assert tag == (
        '<time datetime="2026-11-22T12:00:02.118456Z" title="22 Nov 2026, 17:30:02.118 IST (UTC+05:30) · '
        '2026-11-22T12:00:02.118456Z">17:30:02</time>'
    )


def test_a_zone_without_letters_of_its_own_is_told_by_its_offset() -> None:
    assert formats.zone_name(MOMENT, formats.zone("America/Sao_Paulo")) == "UTC-03:00"
    assert formats.zone_name(MOMENT, formats.zone("UTC")) == "UTC"


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../../etc/passwd", "a" * 5000, "\0"])
def test_a_zone_that_is_none_is_utc(name: str) -> None:
    assert formats.zone(name) is formats.UTC


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"), (0.0412, "0.041 s"), (7.24, "7.2 s"), (59.96, "1 min 00 s"), (125, "2 min 05 s"), (3599.9, "1 h 00 min"),
        (11_220, "3 h 07 min"), (187_200, "2 d 4 h"),
    ],
)  # fmt: skip
def test_durations_carry_their_units(seconds: float | None, text: str) -> None:
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "–"), (87, "87 B"), (1024, "1.0 KiB"), (66_060_288, "63.0 MiB"), (3 * 2**40, "3.0 TiB")],
)
def test_sizes_are_binary(count: int | None, text: str) -> None:
    assert formats.size(count) == text


def test_thousands_are_apart() -> None:
    assert formats.number(1_234_567) == "1\u202f234\u202f567"
    assert formats.plural(1, "message") == "1 message"
    assert formats.plural(2000, "entry", "entries") == "2\u202f000 entries"


def test_long_ago_and_just_now() -> None:
    now = clock.to_us(clock.from_us(MOMENT))
    assert formats.ago(now - 1_000_000, now) == "just now"
    assert formats.ago(now - 70_000_000, now) == "70 s ago"
    assert formats.ago(now - 3_600_000_000, now) == "60 min ago"
    assert formats.ago(now - 3 * 86_400_000_000, now) == "3 days ago"


def test_the_zone_is_that_of_the_moment_and_not_of_today() -> None:
    summer = MOMENT - 150 * 86_400_000_000
    assert formats.zone_name(summer, formats.zone("America/Chicago")) == "CDT (UTC-05:00)"
    assert formats.zone_name(MOMENT, formats.zone("America/Chicago")) == "CST (UTC-06:00)"
