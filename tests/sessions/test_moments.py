from datetime import UTC, datetime

import pytest

from ringback import clock
from ringback.sessions.moments import moment_us
from ringback.sessions.schemas import QueryError

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T12:00:00Z",
        "2026-11-22T12:00",
        "2026-11-22 12:00:00",
        "2026-11-22T14:00:00+02:00",
        "2026-11-22T14:00:00 02:00",  # a + that was not escaped in a URL
        "1795348800",
        "1795348800.0",
    ],
)
def test_a_time_is_read_in_the_forms_people_and_scripts_write(text: str) -> None:
    assert moment_us(text, "from") == clock.to_us(NOON)


def test_times_back_from_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now_us", lambda: clock.to_us(NOON))
    assert moment_us("now", "to") == clock.to_us(NOON)
    assert moment_us("-90m", "from") == clock.to_us(NOON) - 90 * 60 * 1_000_000
    assert moment_us("-7d", "from") == clock.to_us(NOON) - 7 * 86_400 * 1_000_000


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "-5y", "99999999999999999999", "1e400"])
def test_anything_else_is_refused_with_the_forms_that_are_understood(text: str) -> None:
    with pytest.raises(QueryError, match=r"from: .* is no time; write"):
        moment_us(text, "from")
