"""The recording, told: traffic of real nodes against answers that a person gave beforehand."""

from __future__ import annotations

import pytest
from scripts.record_demo.plan import DOCUMENTATION
from scripts.record_demo.play import set_stages
from scripts.record_demo.scenarios import SCENARIOS
from truth import TRUTH, lanes, recorded, told

from ringback.demo import recording


def test_the_recording_is_that_of_the_scenarios() -> None:
    """Else: python -m scripts.record_demo."""
    written = set_stages(DOCUMENTATION, SCENARIOS)
    played = {each.id: (each.tells, each.subscribers, each.outside) for each in recording.load()[1]}
    assert played == {
        name: (SCENARIOS[name].tells, tuple(stage.subscribers), tuple(stage.called))
        for name, stage in written.items()
    }


def test_every_scenario_of_the_recording_has_its_truth() -> None:
    assert set(TRUTH) == set(recorded())


@pytest.mark.parametrize("name", TRUTH)
def test_outcome_and_primary_issue_are_the_truth(name: str) -> None:
    session, issues = told(name)
    truth = TRUTH[name]
    assert session.outcome == truth.outcome
    assert [(issue.id, issue.severity) for issue in issues[:1]] == [(truth.issue, truth.severity)]
    assert {issue.id for issue in issues[1:]} == set(truth.also)


@pytest.mark.parametrize("name", TRUTH)
def test_the_lanes_are_the_nodes_in_path_order(name: str) -> None:
    session, _ = told(name)
    assert lanes([one.label for one in session.participants]) == TRUTH[name].lanes


@pytest.mark.parametrize("name", TRUTH)
def test_legs_are_joined_and_nothing_is_taken_for_a_retransmission_that_is_none(name: str) -> None:
    session, _ = told(name)
    assert len(session.legs) == TRUTH[name].legs
    assert (session.retransmission_count > 0) is TRUTH[name].retransmissions
    assert not session.notes


@pytest.mark.parametrize("name", TRUTH)
def test_what_both_proxies_saw_is_one_arrow_and_nothing_is_lost(name: str) -> None:
    session, _ = told(name)
    between = [
        a for a in session.arrows if {a.source, a.destination} == {"edge1", "core1"} and not a.is_retransmission
    ]
    twice = [arrow for arrow in between if len({sighting.hop.agent for sighting in arrow.sightings}) == 2]
    assert len(twice) == len(between)


def test_the_reason_of_a_failed_over_call_is_told_by_the_node_itself() -> None:
    session, _ = told("failover")
    texts = [entry.text for entry in session.entries if entry.log]
    assert any("core1: gateway" in text and "failed with 503" in text for text in texts)
