"""The catalogue: what is wrong in a file is told by file and key; operators add, change and switch off issues."""

from __future__ import annotations

from pathlib import Path

import pytest
from diagnosis_ladders import DIAL, HEALTHY, NODES, TALK, hang_up, refused

from ringback import q850
from ringback.sessions.correlate import build_sessions
from ringback.sessions.diagnose import CatalogueError, diagnose, load_catalogue
from ringback.sessions.diagnose.catalogue import BUILT_IN, Catalogue, read_catalogue
from ringback.sessions.diagnose.facts.reasons import TELLING_CAUSES
from ringback.sessions.story import Issue
from scenario import play

OWN = """
id = "trunk-full"
severity = "critical"
title = "Trunk 7 is full"
description = "{called} could not be called: {ended}."
[steps]
noc = ["Order more channels."]
[when]
code = [503]
phrase_matches = "no channel"
"""


def issues_of(ladder: str, catalogue: Catalogue) -> list[Issue]:
    played = play(ladder)
    return diagnose(build_sessions(played.sightings, media=played.media, nodes=played.nodes)[0], catalogue)


def own(folder: Path, text: str, name: str = "own.toml") -> Catalogue:
    (folder / name).write_text(text, "utf-8")
    return load_catalogue(folder)


def with_when(when: str, tells: str = "end") -> str:
    return OWN.partition("[when]")[0].replace("[steps]", f'tells = "{tells}"\n[steps]') + f"[when]\n{when}\n"


class TestOwnIssues:
    def test_they_speak_for_the_ending_instead_of_ours(self, tmp_path: Path) -> None:
        catalogue = own(tmp_path, OWN)
        issues = issues_of(NODES + DIAL + refused("503 No channel available"), catalogue)
        assert [issue.id for issue in issues] == ["trunk-full"]
        assert "answered the INVITE with 503 No channel available" in issues[0].description
        assert [(step.role, step.text) for step in issues[0].steps] == [("noc", "Order more channels.")]
        assert issues[0].evidence

    def test_every_condition_must_hold(self, tmp_path: Path) -> None:
        issues = issues_of(NODES + DIAL + refused("503 Maintenance"), own(tmp_path, OWN))
        assert [issue.id for issue in issues] == ["network-congestion"]

    def test_one_that_tells_of_something_unusual_stands_beside_ours(self, tmp_path: Path) -> None:
        catalogue = own(tmp_path, with_when("code = [486]", tells="unusual"))
        issues = issues_of(NODES + DIAL + refused("486"), catalogue)
        assert [issue.id for issue in issues] == ["callee-busy", "trunk-full"]

    @pytest.mark.parametrize(
        "when",
        [
            "code = 486",
            "code = [480, 486]",
            "reason_cause = [17]",
            'phrase_matches = "busy"',
            'phrase_matches = "line 7"',
            'header = { name = "X-Line", matches = "^7$" }',
            'header = { name = "User-Agent", matches = "yealink", in = "request" }',
            'node_matches = "203.0.113.9"',
            'user_agent_matches = "yealink"',
            'caller_matches = "^1210"',
            'called_matches = "777$"',
            'method = "INVITE"',
            'kind = ["call"]',
            'outcome = ["busy", "failed"]',
            "rang = false",
        ],
    )
    def test_conditions_that_hold_for_a_busy_call(self, tmp_path: Path, when: str) -> None:
        ladder = NODES + DIAL + refused("486", 'Reason: Q.850;cause=17;text="line 7 busy"', "X-Line: 7")
        assert "trunk-full" in [issue.id for issue in issues_of(ladder, own(tmp_path, with_when(when)))]

    @pytest.mark.parametrize(
        "when",
        [
            "code = 487",
            "reason_cause = [34]",
            'phrase_matches = "nobody"',
            'header = { name = "X-Line", matches = "8" }',
            'node_matches = "edge"',
            'user_agent_matches = "polycom"',
            'caller_matches = "^999"',
            'called_matches = "^777"',
            'method = ["REGISTER"]',
            'kind = "registration"',
            'outcome = "answered"',
            "rang = true",
            "longer_than_s = 1",
            "shorter_than_s = 1000",
            "retransmissions_at_least = 1",
        ],
    )
    def test_conditions_that_do_not(self, tmp_path: Path, when: str) -> None:
        ladder = NODES + DIAL + refused("486", "Reason: Q.850;cause=17", "X-Line: 7")
        assert "trunk-full" not in [issue.id for issue in issues_of(ladder, own(tmp_path, with_when(when)))]

    @pytest.mark.parametrize(
        "when", ["longer_than_s = 29", "shorter_than_s = 31", "rang = true", "reason_cause = 31"]
    )
    def test_conditions_on_an_answered_call(self, tmp_path: Path, when: str) -> None:
        ladder = NODES + TALK + hang_up(30, "bob", "Reason: Q.850;cause=31")
        assert "trunk-full" in [issue.id for issue in issues_of(ladder, own(tmp_path, with_when(when)))]


class TestOverrides:
    def test_texts_severity_and_the_steps_of_a_role(self, tmp_path: Path) -> None:
        catalogue = own(
            tmp_path,
            'id = "callee-busy"\nseverity = "warning"\ntitle = "Besetzt"\n[steps]\nsupport = ["Später noch einmal."]\n',
        )
        (issue,) = issues_of(NODES + DIAL + refused("486"), catalogue)
        assert (issue.title, issue.severity) == ("Besetzt", "warning")
        assert "was busy" in issue.description
        assert [step.text for step in issue.steps if step.role == "support"] == ["Später noch einmal."]
        assert any(step.role == "noc" for step in issue.steps)

    def test_an_issue_can_be_switched_off(self, tmp_path: Path) -> None:
        catalogue = own(tmp_path, 'id = "normal"\ndisabled = true\n')
        assert issues_of(HEALTHY, catalogue) == []

    def test_the_built_in_catalogue_stays_as_it_is(self, tmp_path: Path) -> None:
        own(tmp_path, 'id = "callee-busy"\ntitle = "x"\n')
        definition = load_catalogue().get("callee-busy")
        assert definition is not None
        assert definition.title == "The called party is busy"


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        (OWN.replace("{called}", "{calld}"), "description", "{calld} is no placeholder here"),
        (OWN.replace("{called}", "{called!r}"), "description", "no placeholder"),
        (OWN.replace("{called}", "{called"), "description", "brace"),
        (OWN.replace("noc =", "boss ="), "steps.boss", "is no role"),
        (OWN.replace("critical", "bad"), "severity", "must be one of critical, warning, notice"),
        (OWN.replace("title =", "titel ="), "titel", "is no key"),
        (OWN.replace('title = "Trunk 7 is full"', ""), "title", "is missing"),
        (OWN.replace("trunk-full", "Trunk full"), "id", "lower case"),
        (OWN.partition("[when]")[0], "when", "is missing"),
        (OWN.replace("code = [503]", "codes = [503]"), "when.codes", "is no condition"),
        (OWN.replace("[503]", '["503"]'), "when.code", "must be a number from 100 to 699"),
        (OWN.replace("[503]", "[9]"), "when.code", "must be a number from 100 to 699"),
        (OWN.replace("no channel", "no (channel"), "when.phrase_matches", "is no regular expression"),
        (OWN.replace("code = [503]", 'header = "X-Line"'), "when.header", "must be a table"),
        (OWN.replace("code = [503]", 'outcome = "lost"'), "when.outcome", "there is no 'lost'"),
        (OWN.partition("code =")[0], "when", "at least one condition"),
        (OWN.replace('noc = ["Order more channels."]', "noc = []"), "steps", "must tell somebody"),
        (OWN.replace('["Order more channels."]', '"Order more."'), "steps.noc", "must be a list of texts"),
        (
            OWN.replace('severity = "critical"', 'severity = "critical"\nrelated = ["nothing-such"]'),
            "related",
            "no issue",
        ),
        ('id = "callee-busy"\n[when]\ncode = 486\n', "when", "recognises 'callee-busy'"),
        ('id = "nothing-such"\ndisabled = true\n', "disabled", "no issue 'nothing-such'"),
        ('id = "callee-busy"\ndisabled = "yes"\n', "disabled", "true or false"),
        ("id = ", "", "is no TOML"),
    ],
)
def test_a_mistake_is_told_with_file_and_key(tmp_path: Path, text: str, key: str, reason: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        own(tmp_path, text)
    assert caught.value.key == key
    assert reason in caught.value.reason
    assert str(tmp_path / "own.toml") in str(caught.value)


def test_two_files_for_one_issue(tmp_path: Path) -> None:
    own(tmp_path, OWN, "a.toml")
    with pytest.raises(CatalogueError, match=r"b\.toml: id: 'trunk-full' is also in a\.toml"):
        own(tmp_path, OWN, "b.toml")


def test_a_file_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes('title = "Störung"'.encode("latin-1"))
    with pytest.raises(CatalogueError, match="is no UTF-8"):
        load_catalogue(tmp_path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="missing"):
        load_catalogue(tmp_path / "missing")


class TestBuiltIn:
    def copy(self, folder: Path) -> None:
        for path in BUILT_IN.glob("*.toml"):
            (folder / path.name).write_bytes(path.read_bytes())

    def test_an_issue_without_a_predicate_is_refused(self, tmp_path: Path) -> None:
        self.copy(tmp_path)
        (tmp_path / "own.toml").write_text(OWN)
        with pytest.raises(CatalogueError, match="no predicate is registered for 'trunk-full'"):
            read_catalogue(tmp_path)

    def test_a_predicate_without_an_issue_is_refused(self, tmp_path: Path) -> None:
        self.copy(tmp_path)
        (tmp_path / "loop-detected.toml").unlink()
        with pytest.raises(CatalogueError, match="no file for loop-detected"):
            read_catalogue(tmp_path)

    def test_every_issue_tells_somebody_what_to_do_and_where_to_read_on(self) -> None:
        for definition in load_catalogue():
            assert definition.causes, definition.id
            assert definition.steps, definition.id
            assert definition.meaning.endswith("."), definition.id
            assert definition.links[0][1] == f"/guide/{definition.id}"
            assert definition.id not in definition.related
            assert all(len(step.text) > 20 for step in definition.steps), definition.id

    def test_what_is_always_troubled_is_never_told_of_a_good_session(self) -> None:
        catalogue = load_catalogue()
        always = {one.id for one in catalogue if one.always_troubled}
        assert {"callee-busy", "credentials-rejected", "no-response"} <= always
        assert not always & {
            "normal",
            "short-call",
            "one-way-audio",
            "slow-response",
            "codec-mismatch",
            "stuck-after-trying",
        }

    def test_every_telling_cause_has_a_meaning(self) -> None:
        assert q850.MEANINGS.keys() >= TELLING_CAUSES


@pytest.mark.parametrize("cause", sorted(TELLING_CAUSES))
@pytest.mark.parametrize("code", ["480", "603"])
def test_a_telling_cause_decides_whatever_the_code_beside_it(cause: int, code: str) -> None:
    """RFC 3398 maps one cause to several codes and vendors disagree: the answer must not."""
    catalogue = load_catalogue()
    ids = [issue.id for issue in issues_of(NODES + DIAL + refused(code, f"Reason: Q.850;cause={cause}"), catalogue)]
    other = [
        issue.id for issue in issues_of(NODES + DIAL + refused("504", f"Reason: Q.850;cause={cause}"), catalogue)
    ]
    assert ids == other
    assert len(ids) == 1
