"""Save, verify, apply, roll back: what each does and refuses, on both databases."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial

import pytest
from settled import ANN, BOB, Room
from sqlalchemy import select

from databases import at_once
from ringback import clock
from ringback.audit.models import AuditRecord
from ringback.configuration.kinds import Json
from ringback.configuration.models import ConfigurationValue
from ringback.configuration.reader import Current
from ringback.configuration.schemas import (
    BadValue,
    ConfigurationError,
    DraftChanged,
    Entry,
    NotVerified,
    OptionState,
    Source,
    UnknownEntry,
    UnknownOption,
)
from ringback.configuration.sealed_list import ids_of
from ringback.records.engine import reading, unit_of_work
from ringback.records.tables import INSTALLATION
from ringback.records.wall import EVERYWHERE

AGE, LIFE, KEYS = "Tasks.Age", "Sessions.Life", "Capture.Keys"


def state(here: Room, name: str, scope: str = INSTALLATION) -> OptionState:
    return next(each for each in here.service.overview(scope)[0] if each.option.name == name)


def test_three_steps(here: Room) -> None:
    draft = here.service.save(ANN, INSTALLATION, {AGE: "90"}, 0)
    assert (draft.version, draft.saved_by, draft.values[AGE].told) == (1, "ann", "90 days")
    assert state(here, AGE).told == "180 days", "a draft changes nothing"
    verification = here.service.verify(BOB, INSTALLATION)
    assert [(each.name, each.old_told, each.new_told) for each in verification.changes] == [
        (AGE, "180 days (default)", "90 days")
    ]
    assert verification.touched == {AGE: ["What is older than 90 days will go (installation)."]}
    verified = here.service.draft(INSTALLATION).verified
    assert verified is not None
    assert (verified.token, verified.by) == (verification.token, "bob")
    entry = here.service.apply(ANN, INSTALLATION, verification.token, "  less\ndisk ")
    assert (entry.by, entry.realm, entry.reason) == ("ann", "console", "less disk")
    assert [(each.name, each.old_told, each.new_told) for each in entry.changes] == [
        (AGE, "180 days (default)", "90 days")
    ]
    now = state(here, AGE)
    assert (now.told, now.source, now.by, now.entry) == ("90 days", Source.APPLIED, "ann", entry.id)
    assert here.service.draft(INSTALLATION).values == {}
    here.current.refresh()
    assert here.current.value(here.known.age) == 90
    assert here.current.entry == entry.id


def test_every_apply_is_an_audit_record(here: Room) -> None:
    here.applied({AGE: 90, "Access.Strict": True}, reason="less disk")
    here.applied({AGE: 60, KEYS: {"add": ["s3cret"]}})
    here.applied({LIFE: 3}, "default")
    with reading(here.engine, EVERYWHERE) as session:
        rows = session.scalars(select(AuditRecord).order_by(AuditRecord.id)).all()
        assert [(row.environment, row.action, row.actor, row.reason) for row in rows] == [
            (INSTALLATION, "configuration.applied", "ann", "less disk"),
            (INSTALLATION, "configuration.applied", "ann", "as agreed"),
            ("default", "configuration.applied", "ann", "as agreed"),
        ]
        changes = [json.loads(row.changes or "{}") if isinstance(row.changes, str) else row.changes for row in rows]
    assert changes[0] == {AGE: ["180 days (default)", "90 days"], "Access.Strict": ["no (default)", "yes"]}
    assert changes[1][AGE] == ["90 days", "60 days"]
    assert changes[1][KEYS][0] == "none (default)"
    assert changes[1][KEYS][1].startswith("1 key: ")
    assert "s3cret" not in str(changes)


def test_secrets_are_sealed_at_rest_and_several_hold_at_once(here: Room) -> None:
    here.applied({KEYS: {"add": ["first"]}})
    here.applied({KEYS: {"keep": ids_of(state(here, KEYS).stored), "add": ["second"]}})
    here.current.refresh()
    assert here.current.value(here.known.keys) == ("first", "second")
    with reading(here.engine, EVERYWHERE) as session:
        texts = session.scalars(select(ConfigurationValue.value)).all()
    assert not any(word in text for text in texts for word in ("first", "second"))
    here.applied({KEYS: {"add": ["third"]}})
    here.current.refresh()
    assert here.current.value(here.known.keys) == ("third",)


def test_what_is_wrong_is_drafted_and_told_and_not_verified(here: Room) -> None:
    draft = here.service.save(ANN, INSTALLATION, {AGE: "7", "Access.Words": "many"}, None)
    assert draft.values[AGE].error == "The least is 30."
    verification = here.service.verify(ANN, INSTALLATION)
    assert (verification.ok, verification.errors) == (False, {AGE: "The least is 30."})
    assert [each.name for each in verification.changes] == ["Access.Words"]
    with pytest.raises(NotVerified):
        here.service.apply(ANN, INSTALLATION, f"{draft.version}-0", "try")
    with pytest.raises(NotVerified):
        here.service.apply(ANN, INSTALLATION, "", "try")


@pytest.mark.parametrize(
    "given",
    [{AGE: "\ud800"}, {AGE: "9\0"}, {AGE: ["7"]}, {AGE: "7" * 5000}, {KEYS: "clear"}, {KEYS: {"keep": ["x"]}}],
)
def test_what_cannot_even_be_drafted_is_refused_and_nothing_of_it_is_kept(here: Room, given: dict[str, Json]) -> None:
    with pytest.raises(BadValue) as refused:
        here.service.save(ANN, INSTALLATION, {"Access.Words": "many", **given}, None)
    assert refused.value.names == tuple(given)
    assert here.service.draft(INSTALLATION).values == {}


def test_unknown_options_and_scopes(here: Room) -> None:
    with pytest.raises(UnknownOption, match=r"no option Tasks\.None"):
        here.service.save(ANN, INSTALLATION, {"Tasks.None": 1}, None)
    with pytest.raises(UnknownOption, match="one value for the whole installation"):
        here.service.save(ANN, "default", {AGE: 60}, None)
    assert [each.option.name for each in here.service.overview("default")[0]] == [LIFE]


def test_an_environment_has_its_own_value_else_that_of_the_installation(here: Room) -> None:
    life = here.known.life
    here.applied({LIFE: 5})
    here.applied({LIFE: 3}, "default")
    here.current.refresh()
    assert [here.current.value(life, each) for each in (INSTALLATION, "default", "other")] == [5, 3, 5]
    assert state(here, LIFE, "other").source is Source.INSTALLATION
    assert state(here, LIFE, "default").otherwise == "5 days"
    entry = here.applied({LIFE: None}, "default")
    assert [(each.old_told, each.new_told) for each in entry.changes] == [("3 days", "5 days (installation)")]
    here.current.refresh()
    assert here.current.value(life, "default") == 5


def test_what_another_version_applied_and_does_not_hold_is_told_and_can_be_left(here: Room) -> None:
    """An environment's own value goes before the installation's; where it does not hold, that does."""
    here.applied({LIFE: 5})
    here.applied({LIFE: 3}, "default")

    def damage(scope: str, to: str) -> None:
        with unit_of_work(here.engine, EVERYWHERE) as work:
            work.get_one(ConfigurationValue, (scope, LIFE)).value = to

    damage("default", "99")
    told = state(here, LIFE, "default")
    assert (told.stored, told.source) == (5, Source.INSTALLATION)
    assert "99 days, does not hold: The most is 30." in told.problem
    current = Current(here.settings, here.engine)
    assert current.refresh()
    assert current.value(here.known.life, "default") == 5
    damage(INSTALLATION, "77")
    told = state(here, LIFE, "default")
    assert (told.stored, told.source) == (7, Source.DEFAULT)
    here.applied({LIFE: None}, "default")
    here.applied({LIFE: None})
    assert [state(here, LIFE, scope).problem for scope in ("default", INSTALLATION)] == ["", ""]


def test_an_apply_needs_a_reason(here: Room) -> None:
    here.service.save(ANN, INSTALLATION, {AGE: 90}, None)
    token = here.verified().token
    for reason in ("", " \n ", "x" * 501, "a\0b", "\ud800"):
        with pytest.raises(ConfigurationError, match="reason"):
            here.service.apply(ANN, INSTALLATION, token, reason)


def test_a_verification_ends_when_the_draft_changes(here: Room) -> None:
    here.service.save(ANN, INSTALLATION, {AGE: 90}, None)
    token = here.verified().token
    here.service.save(BOB, INSTALLATION, {AGE: 60}, None)
    assert here.service.draft(INSTALLATION).verified is None
    with pytest.raises(NotVerified, match="Verify again"):
        here.service.apply(ANN, INSTALLATION, token, "less")
    assert here.verified().changes[0].new_told == "60 days"


def test_a_verification_ends_when_what_holds_changes(here: Room) -> None:
    """Also for an environment, when the value that it inherits changes."""
    here.service.save(ANN, "default", {LIFE: 3}, None)
    token = here.verified("default").token
    here.applied({LIFE: 5}, actor=BOB)
    with pytest.raises(NotVerified, match="Verify again"):
        here.service.apply(ANN, "default", token, "less")
    again = here.verified("default")
    assert again.changes[0].old_told == "5 days (installation)"
    here.service.apply(ANN, "default", again.token, "less")
    with pytest.raises(NotVerified):
        here.service.apply(ANN, "default", again.token, "twice")


def test_a_verification_grows_old(here: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    here.service.save(ANN, INSTALLATION, {AGE: 90}, None)
    token = here.verified().token
    later = clock.now() + timedelta(minutes=61)
    monkeypatch.setattr(clock, "now", lambda: later)
    with pytest.raises(NotVerified, match="too long ago"):
        here.service.apply(ANN, INSTALLATION, token, "less")


def test_a_stale_save_is_refused(here: Room) -> None:
    here.service.save(ANN, INSTALLATION, {AGE: 90}, 0)
    with pytest.raises(DraftChanged, match="ann saved the draft meanwhile"):
        here.service.save(BOB, INSTALLATION, {AGE: 60}, 0)
    here.service.save(BOB, INSTALLATION, {AGE: 60}, 1)
    with pytest.raises(DraftChanged):
        here.service.discard(ANN, INSTALLATION, 1)
    assert here.service.discard(ANN, INSTALLATION, 2).values == {}


def test_what_goes_back_to_what_holds_leaves_the_draft(here: Room) -> None:
    here.applied({AGE: 90})
    here.service.save(ANN, INSTALLATION, {AGE: 60}, None)
    assert here.service.save(ANN, INSTALLATION, {AGE: "90"}, None).values == {}
    assert here.service.save(ANN, INSTALLATION, {"Access.Strict": None}, None).values == {}
    nothing = here.service.verify(ANN, INSTALLATION)
    assert (nothing.ok, nothing.errors, nothing.changes) == (False, {}, [])


def test_replacing_a_draft_drops_what_is_not_named(here: Room) -> None:
    here.service.save(ANN, INSTALLATION, {AGE: 90, "Access.Strict": True}, None)
    replaced = here.service.save(BOB, INSTALLATION, {AGE: 60}, None, replace=True)
    assert {name: value.told for name, value in replaced.values.items()} == {AGE: "60 days"}


def test_rolling_back_makes_a_draft_that_is_verified_and_applied(here: Room) -> None:
    first = here.applied({AGE: 90, "Access.Strict": True})
    here.applied({AGE: 60, KEYS: {"add": ["s3cret"]}})
    here.applied({"Access.Strict": None})
    draft = here.service.roll_back(BOB, INSTALLATION, first.id, None)
    assert {name: value.told for name, value in draft.values.items()} == {
        AGE: "90 days",
        "Access.Strict": "yes",
        KEYS: "default",
    }
    assert draft.back_to == first.id
    entry = here.service.apply(BOB, INSTALLATION, here.verified().token, "was better")
    assert (entry.back_to, len(entry.changes)) == (first.id, 3)
    here.current.refresh()
    known = here.known
    assert (here.current.value(known.age), here.current.value(known.strict), here.current.value(known.keys)) == (
        90,
        True,
        (),
    )
    assert len(here.service.roll_back(BOB, INSTALLATION, 0, None).values) == 2
    with pytest.raises(UnknownEntry):
        here.service.roll_back(BOB, INSTALLATION, 999, None)


def test_a_secret_of_the_past_comes_back(here: Room) -> None:
    first = here.applied({KEYS: {"add": ["old"]}})
    here.applied({KEYS: {"add": ["new"]}})
    here.service.roll_back(ANN, INSTALLATION, first.id, None)
    here.service.apply(ANN, INSTALLATION, here.verified().token, "the new one is lost")
    here.current.refresh()
    assert here.current.value(here.known.keys) == ("old",)


def test_histories_of_scopes_are_apart(here: Room) -> None:
    mine, all_have = here.applied({LIFE: 3}, "default"), here.applied({LIFE: 5})
    assert [each.id for each in here.service.history("default")] == [mine.id]
    assert [each.id for each in here.service.history(INSTALLATION)] == [all_have.id]
    with pytest.raises(UnknownEntry):
        here.service.entry("default", all_have.id)
    with pytest.raises(UnknownEntry):
        here.service.roll_back(ANN, "default", all_have.id, None)


def test_a_history_is_read_in_pages(here: Room) -> None:
    ids = [here.applied({AGE: days}).id for days in (40, 50, 60)]
    assert [each.id for each in here.service.history(INSTALLATION, limit=2)] == [ids[2], ids[1]]
    assert [each.id for each in here.service.history(INSTALLATION, before=ids[1], limit=2)] == [ids[0]]


def test_of_two_who_apply_at_once_one_does(here: Room) -> None:
    here.service.save(ANN, INSTALLATION, {AGE: 90}, None)
    token = here.verified().token

    def apply() -> Entry | NotVerified:
        try:
            return here.service.apply(ANN, INSTALLATION, token, "at once")
        except NotVerified as refused:
            return refused

    done = at_once(*[apply] * 4)
    assert [isinstance(each, Entry) for each in done].count(True) == 1
    assert len(here.service.history(INSTALLATION)) == 1


def test_of_two_who_save_at_once_one_is_told(here: Room) -> None:
    here.service.save(ANN, INSTALLATION, {AGE: 90}, None)

    def save() -> bool:
        try:
            here.service.save(BOB, INSTALLATION, {AGE: 60}, 1)
        except DraftChanged:
            return False
        return True

    assert sorted(at_once(save, save, save)) == [False, False, True]
    assert here.service.draft(INSTALLATION).version == 2


def test_entries_are_numbered_as_they_are_applied_in_every_scope(here: Room) -> None:
    """So that a reader who has seen the last one has seen all."""
    scopes = ["default", "b", "c", INSTALLATION]
    tokens = {}
    for scope in scopes:
        here.service.save(ANN, scope, {LIFE: 3}, None)
    for scope in scopes[:3]:  # those of environments end when the installation's is applied
        tokens[scope] = here.verified(scope).token
    entries = at_once(*(partial(here.service.apply, ANN, each, tokens[each], "x") for each in scopes[:3]))
    by_id = sorted(entries, key=lambda each: each.id)
    assert [each.at for each in by_id] == sorted(each.at for each in entries)
