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


class TestACallWithoutMediaBesideOneThatHasIt:
    def issues(self, *, leg: str, heard: str, seen: bool = True) -> list[str]:
        """Of the first of two calls; the second one, between `heard` and another phone, has the media."""
        silent = CASES["one-way-audio"].near[1]
        other = play(
            f"""
    carol = {heard}:5062
    dave  = 203.0.113.200:5060
    40.0  carol -> dave  INVITE sip:2@acme.example leg={leg} callid=other@x from=carol sdp=PCMA
    +1    dave -> carol  200 OK leg={leg} sdp=PCMA
    +.1   carol -> dave  ACK leg={leg}
    41.2  carol => dave PCMA 5s
    41.2  dave => carol PCMA 5s
    +8    carol -> dave  BYE leg={leg}
    +.1   dave -> carol  200 leg={leg}
"""
        )
        played = play(silent)
        media = [replace(one, leg="other@x") for one in other.media] if seen else []
        sessions = build_sessions([*played.sightings, *other.sightings], media=media, nodes=played.nodes)
        return [issue.id for issue in diagnose(sessions[0], load_catalogue())]

    def test_silence_is_told_where_an_end_of_it_is_heard_in_another_call(self) -> None:
        assert self.issues(leg="other", heard="192.0.2.10") == ["no-audio"]

    def test_silence_is_not_told_where_neither_end_is_heard(self) -> None:
        assert self.issues(leg="other", heard="203.0.113.55") == ["normal"]

    def test_silence_is_not_told_where_no_media_was_captured(self) -> None:
        assert self.issues(leg="other", heard="192.0.2.10", seen=False) == ["normal"]
