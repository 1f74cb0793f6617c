"""What must hold for any capture: no exception, certainty within bounds, no alarm for a healthy call that lacks a message."""

from __future__ import annotations

import diagnosis_cases_authentication
import diagnosis_cases_calls
import diagnosis_cases_capture
import diagnosis_cases_media
import diagnosis_cases_refusals
import pytest
from diagnosis_ladders import HEALTHY
from hypothesis import given, settings
from hypothesis import strategies as st
from test_diagnosis_real_traffic import EXACTLY

from ringback.sessions.correlate import build_session, build_sessions
from ringback.sessions.diagnose import diagnose, load_catalogue
from ringback.sessions.story import CUT_BY_CAPTURE, Issue, Sighting
from scenario import Played, play

LADDERS = [
    *(
        ladder
        for module in (
            diagnosis_cases_authentication,
            diagnosis_cases_refusals,
            diagnosis_cases_calls,
            diagnosis_cases_media,
            diagnosis_cases_capture,
        )
        for case in module.CASES.values()
        for ladder in (*case.shows, *case.near)
    ),
    *(ladder for ladder, _ in EXACTLY.values()),
]
GOOD = [ladder for ladder, expected in EXACTLY.values() if expected == ["normal"]]


@st.composite
def damaged(draw: st.DrawFn) -> Played:
    """A ladder with messages lost, repeated, reordered in time, cut, or with a byte changed."""
    played = play(draw(st.sampled_from(LADDERS)))
    sightings: list[Sighting] = []
    for sighting in played.sightings:
        fate = draw(
            st.sampled_from(["keep", "keep", "keep", "keep", "keep", "lose", "again", "late", "cut", "change"])
        )
        if fate == "lose":
            continue
        if fate == "late":
            sighting = sighting._replace(time_us=sighting.time_us + draw(st.integers(-40_000_000, 40_000_000)))
        if fate == "cut":
            length = draw(st.integers(0, len(sighting.payload)))
            marks = draw(st.sampled_from((0, CUT_BY_CAPTURE)))
            sighting = sighting._replace(payload=sighting.payload[:length], marks=sighting.marks | marks)
        if fate == "change":
            at = draw(st.integers(0, len(sighting.payload) - 1))
            changed = bytearray(sighting.payload)
            changed[at] = draw(st.integers(0, 255))
            sighting = sighting._replace(payload=bytes(changed))
        sightings += [sighting] * (2 if fate == "again" else 1)
    played.sightings = sightings
    return played


@settings(max_examples=120, deadline=None)
@given(damaged())
def test_any_capture_is_diagnosed(played: Played) -> None:
    catalogue = load_catalogue()
    sessions = build_sessions(played.sightings, logs=played.logs, media=played.media, nodes=played.nodes)
    for session in sessions:
        numbers = {entry.number for entry in session.entries}
        issues = diagnose(session, catalogue)
        assert len({issue.id for issue in issues}) == len(issues)
        for issue in issues:
            assert 0 < issue.confidence <= 1
            assert issue.description
            assert {evidence.message for evidence in issue.evidence} <= numbers
        ranks = [("end", "media", "unusual").index(catalogue.definitions[issue.id].tells) for issue in issues]
        assert ranks == sorted(ranks)


def issues_without(ladder: str, missing: int) -> tuple[Sighting, list[Issue]]:
    played = play(ladder)
    lost = played.sightings.pop(missing)
    session = build_sessions(played.sightings, logs=played.logs, media=played.media, nodes=played.nodes)[0]
    return lost, diagnose(session, load_catalogue())


@pytest.mark.parametrize(
    "ladder", [HEALTHY, *GOOD], ids=["healthy", *(name for name, one in EXACTLY.items() if one[0] in GOOD)]
)
def test_no_message_whose_loss_makes_a_healthy_call_critical(ladder: str) -> None:
    for missing in range(len(play(ladder).sightings)):
        lost, issues = issues_without(ladder, missing)
        critical = [issue.id for issue in issues if issue.severity == "critical"]
        assert not critical, f"{critical} without #{missing} {lost.payload[:40]!r}"


@pytest.mark.parametrize("missing", range(len(play(HEALTHY).sightings)))
def test_a_lost_provisional_response_changes_nothing(missing: int) -> None:
    lost, issues = issues_without(HEALTHY, missing)
    if lost.payload.startswith(b"SIP/2.0 1"):
        assert [issue.id for issue in issues] == ["normal"]


@pytest.mark.parametrize("length", range(1, len(play(HEALTHY).sightings)))
def test_a_healthy_call_is_never_critical_while_it_is_going_on(length: int) -> None:
    """As a page shows it that is opened a moment after each message."""
    played = play(HEALTHY)
    seen = played.sightings[:length]
    session = build_session(seen, nodes=played.nodes, until_us=seen[-1].time_us + 200_000)
    assert not [issue.id for issue in diagnose(session, load_catalogue()) if issue.severity != "notice"]


def test_a_gap_makes_less_certain_what_rests_on_silence() -> None:
    ladder = diagnosis_cases_calls.CASES["ack-missing"].shows[0]
    whole = {issue.id: issue for issue in diagnose(build_sessions(play(ladder).sightings)[0], load_catalogue())}
    lossy = play(ladder).sightings[1:]  # without the INVITE
    seen = {issue.id: issue for issue in diagnose(build_sessions(lossy)[0], load_catalogue())}
    assert seen["ack-missing"].confidence < whole["ack-missing"].confidence
    assert "capture-incomplete" in seen


def test_a_body_that_was_cut_is_not_taken_for_a_missing_one() -> None:
    played = play(diagnosis_cases_media.CASES["codec-mismatch"].shows[0])
    cut = [
        one._replace(payload=one.payload[:-60]) if one.payload.startswith(b"INVITE") else one
        for one in played.sightings
    ]
    issues = diagnose(build_sessions(cut, nodes=played.nodes)[0], load_catalogue())
    assert [issue.id for issue in issues] == ["codec-mismatch", "message-truncated"]
    assert "a body that the capture holds only in part" in issues[0].description
    assert issues[0].confidence < 1
