"""Media that is known from reports (RTCP, HEP) and not from packets: what it proves, and what it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from diagnosis_cases_media import CASES

from ringback.sessions.correlate import build_sessions
from ringback.sessions.diagnose import diagnose, load_catalogue
from ringback.sessions.story import StreamReport
from scenario import play

ONE_WAY = CASES["one-way-audio"].shows[0]


def issues_with(**figures: object) -> list[str]:
    """Of the one-way call, its stream known from a report with these figures."""
    played = play(ONE_WAY)
    media: list[StreamReport] = [replace(one, from_report=True, **figures) for one in played.media]  # type: ignore[arg-type]
    session = build_sessions(played.sightings, media=media, nodes=played.nodes)[0]
    return [issue.id for issue in diagnose(session, load_catalogue())]


def test_a_report_of_one_side_does_not_prove_that_the_other_was_silent() -> None:
    assert issues_with() == ["normal"]
    assert issues_with(packets=0, mos=4.2) == ["normal"]


def test_reports_that_count_nothing_but_loss_prove_silence() -> None:
    assert issues_with(packets=0, lost=1000, loss_percent=100.0) == ["no-audio", "poor-quality"]


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"mos": 3.59}, "MOS 3.6"),
        ({"loss_percent": 3.1}, "3.1 % lost"),
        ({"jitter_ms": 31.0}, "jitter 31 ms"),
    ],
)
def test_poor_figures_of_a_report_are_told(figures: dict[str, float], words: str) -> None:
    played = play(ONE_WAY)
    media = [replace(one, from_report=True, **figures) for one in played.media]  # type: ignore[arg-type]
    issues = diagnose(build_sessions(played.sightings, media=media)[0], load_catalogue())
    poor = next(issue for issue in issues if issue.id == "poor-quality")
    assert words in poor.description


@pytest.mark.parametrize("figures", [{"mos": 3.6}, {"loss_percent": 3.0}, {"jitter_ms": 30.0}])
def test_figures_at_the_limit_are_not_poor(figures: dict[str, float]) -> None:
    assert "poor-quality" not in issues_with(**figures)
