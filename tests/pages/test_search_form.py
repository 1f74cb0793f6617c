"""The search as its URL holds it."""

from zoneinfo import ZoneInfo

import pytest

from ringback import clock
from ringback.sessions.pages import search_form
from ringback.sessions.pages.search_form import SearchForm

NOW = 1_795_348_800_000_000  # 2026-11-22T12:00:00Z
HOUR = 3_600_000_000
CHICAGO = ZoneInfo("America/Chicago")


def read(*pairs: tuple[str, str], zone: ZoneInfo = CHICAGO) -> SearchForm:
    return search_form.read(pairs, zone, NOW, ("default",))


def test_nothing_asked_is_the_last_day() -> None:
    query = read().query
    assert query is not None
    assert (query.start_us, query.end_us) == (NOW - 24 * HOUR, NOW)
    assert query.environments == ("default",)


def test_a_time_without_a_zone_is_the_viewers() -> None:
    form = read(("from", "2026-11-22T05:00"), ("to", "2026-11-22T05:30:30"))
    assert form.interval.start_us == NOW - HOUR
    assert form.interval.end_us == NOW - HOUR + 1_830_000_000


def test_a_picked_interval_is_written_as_moments_that_mean_the_same_to_everyone() -> None:
    form = read(("q", "335"), ("from", "2026-11-22T05:00"), ("to", "2026-11-22T05:30"))
    assert form.url() == ("/sessions?from=2026-11-22T11%3A00%3A00.000000Z&to=2026-11-22T11%3A30%3A00.000000Z&q=335")
    again = search_form.read(
        [("from", clock.isoformat(form.interval.start_us)), ("to", clock.isoformat(form.interval.end_us))],
        ZoneInfo("Asia/Tokyo"), NOW + HOUR, ("default",),
    )  # fmt: skip
    assert again.interval == form.interval


def test_a_preset_stays_a_preset_in_the_url_unless_it_is_pinned() -> None:
    form = read(("last", "15m"), ("q", "335"))
    assert form.url() == "/sessions?last=15m&q=335"
    assert form.url(fixed=True).startswith("/sessions?from=2026-11-22T11%3A45")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("last", "2 weeks"), ("from", "yesterday"), ("to", "2026-13-01"), ("outcome", "great"), ("kind", "fax"), ("code", "99"),
        ("code", "4o3"), ("min", "-1"), ("max", "long"), ("max", "nan"), ("limit", "0"), ("limit", "501"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_at_its_field_and_nothing_is_searched(name: str, value: str) -> None:
    form = read((name, value))
    assert form.query is None
    assert value in form.errors[name]
    assert form.value(name) == value  # and is still there to be mended


def test_an_interval_that_ends_before_it_begins_is_an_error() -> None:
    assert "from" in read(("from", "2026-11-22T05:00"), ("to", "2026-11-22T05:00")).errors


def test_filters_reach_the_query() -> None:
    form = read(
        ("outcome", "failed"), ("outcome", "busy"), ("code", "403, 404"), ("kind", "call"), ("min", "5"), ("max", "60.5"),
        ("node", " edge1 "), ("ip", "192.0.2.1"), ("issue", "no-response"), ("limit", "100"), ("cursor", "abc"),
    )  # fmt: skip
    query = form.query
    assert query is not None
    assert query.outcomes == ("failed", "busy")
    assert query.codes == (403, 404)
    assert (query.min_duration_s, query.max_duration_s) == (5.0, 60.5)
    assert (query.node, query.ip, query.issue) == ("edge1", "192.0.2.1", "no-response")
    assert (query.limit, query.cursor) == (100, "abc")


def test_each_chip_leads_to_the_same_search_without_it() -> None:
    form = read(("q", "335"), ("last", "1h"), ("outcome", "failed"), ("outcome", "busy"), ("code", "403,404"))
    assert [(chip.label, chip.value) for chip in form.chips()] == [
        ("outcome", "failed"), ("outcome", "busy"), ("code", "403"), ("code", "404"),
    ]  # fmt: skip
    assert form.chips()[1].without == "/sessions?last=1h&q=335&outcome=failed&code=403&code=404"


def test_a_cursor_and_a_number_of_rows_are_no_part_of_the_search() -> None:
    assert read(("last", "1h"), ("cursor", "abc"), ("limit", "150")).url() == "/sessions?last=1h"


def test_the_next_wider_interval_is_offered_until_there_is_none() -> None:
    assert read(("last", "15m")).wider() == ("Search the last 1 h", "/sessions?last=1h")
    picked = read(("from", "2026-11-22T00:00"), ("to", "2026-11-22T05:30"))
    assert picked.wider() == ("Search the last 24 h", "/sessions?last=24h")
    assert read(("last", "7d")).wider() is None
