"""Every issue of the catalogue is shown by test captures and not shown by captures that only look like it."""

from __future__ import annotations

from io import BytesIO

import diagnosis_cases_authentication
import diagnosis_cases_billing
import diagnosis_cases_calls
import diagnosis_cases_capture
import diagnosis_cases_media
import diagnosis_cases_refusals
import pytest
from diagnosis_ladders import Case
from rtp_packets import with_media

from ringback.sessions.capture.pcap import read_capture
from ringback.sessions.capture.pcap_writer import write_pcap
from ringback.sessions.correlate import build_sessions
from ringback.sessions.diagnose import diagnose, load_catalogue
from ringback.sessions.diagnose.predicates import REMARKS
from ringback.sessions.story import Issue, Sighting
from scenario import Played, play

CASES: dict[str, Case] = {
    **diagnosis_cases_authentication.CASES,
    **diagnosis_cases_billing.CASES,
    **diagnosis_cases_refusals.CASES,
    **diagnosis_cases_calls.CASES,
    **diagnosis_cases_media.CASES,
    **diagnosis_cases_capture.CASES,
}
# A file has no capture agents: two clocks need two probes, which only HEP tells apart; nor has it log lines.
NEED_MORE_THAN_PACKETS = {"clock-skew", *diagnosis_cases_billing.CASES}
SHOWS = [
    pytest.param(id_, ladder, id=f"{id_}-{n}") for id_, case in CASES.items() for n, ladder in enumerate(case.shows)
]
NEAR = [
    pytest.param(id_, ladder, id=f"{id_}-{n}") for id_, case in CASES.items() for n, ladder in enumerate(case.near)
]


def issues_of(played: Played) -> list[Issue]:
    """Of the session that the ladder is about: the first one."""
    sessions = build_sessions(played.sightings, logs=played.logs, media=played.media, nodes=played.nodes)
    return diagnose(sessions[0], load_catalogue())


def test_every_issue_of_the_catalogue_has_a_capture_that_shows_it_and_one_that_does_not() -> None:
    assert {one.id for one in load_catalogue()} == CASES.keys()
    assert all(case.shows and case.near for case in CASES.values())


@pytest.mark.parametrize(("id_", "ladder"), SHOWS)
def test_shown(id_: str, ladder: str) -> None:
    played = play(ladder)
    session = build_sessions(played.sightings, logs=played.logs, media=played.media, nodes=played.nodes)[0]
    numbers = {entry.number for entry in session.entries}
    issues = diagnose(session, load_catalogue())
    assert id_ in [issue.id for issue in issues]
    for issue in issues:
        assert issue.evidence, issue.id
        assert {evidence.message for evidence in issue.evidence} <= numbers, issue.id
        assert all(evidence.why for evidence in issue.evidence), issue.id
        assert "{" not in issue.description
        assert 0 < issue.confidence <= 1


@pytest.mark.parametrize(("id_", "ladder"), NEAR)
def test_not_shown_by_what_only_looks_like_it(id_: str, ladder: str) -> None:
    assert id_ not in [issue.id for issue in issues_of(play(ladder))]


@pytest.mark.parametrize(("id_", "ladder"), [one for one in SHOWS if one.values[0] not in NEED_MORE_THAN_PACKETS])
def test_shown_from_packets(id_: str, ladder: str) -> None:
    """The whole path: written as a pcap with its RTP, read, correlated and diagnosed."""
    played = play(ladder)
    file = BytesIO()
    write_pcap(file, with_media(played))
    reader = read_capture(BytesIO(file.getvalue()))
    sessions = build_sessions([Sighting(*one) for one in reader], media=reader.media, nodes=played.nodes)
    assert id_ in [issue.id for issue in diagnose(sessions[0], load_catalogue())]


@pytest.mark.parametrize("ladder", [pytest.param(one.values[1], id=one.id) for one in SHOWS])
def test_what_ended_a_session_is_told_once(ladder: str) -> None:
    catalogue = load_catalogue()
    ends = [issue.id for issue in issues_of(play(ladder)) if catalogue.definitions[issue.id].tells == "end"]
    remarked = {one.issue for one in REMARKS}
    assert len([one for one in ends if one not in remarked]) <= 1
