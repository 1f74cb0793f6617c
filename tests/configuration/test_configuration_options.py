"""What can be registered as an option, and what each kind of value lets pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from settled import known

from ringback.configuration.kinds import Json, choice, flag, text, whole
from ringback.configuration.options import OptionError, Registry
from ringback.configuration.sealed_list import SealedList, ids_of
from ringback.settings import load_settings

HELP = "What it does, in a sentence."


@pytest.mark.parametrize(
    ("name", "help_", "default", "said"),
    [
        ("Log_Max_Age", HELP, 180, "is not named"),
        ("tasks.Log", HELP, 180, "is not named"),
        ("Tasks.Log-Age", HELP, 180, "is not named"),
        ("Tasks." + "A" * 60, HELP, 180, "is not named"),
        ("Tasks.Log", "", 180, "has no help"),
        ("Tasks.Log", "Keeps the logs for long enough", 180, "has no help"),
        ("Tasks.Log", HELP, 7, "out of its own bounds"),
    ],
)
def test_what_cannot_be_registered(name: str, help_: str, default: int, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Registry().option(name, whole(30, 3650), default=default, help=help_)


def test_two_of_one_name_are_refused() -> None:
    registry = Registry()
    registry.option("Tasks.Log", whole(1, 9), default=1, help=HELP)
    with pytest.raises(OptionError, match="registered twice"):
        registry.option("Tasks.LOG", flag(), default=False, help=HELP)
    with pytest.raises(OptionError, match="no variable RINGBACK_NOTHING"):
        registry.option("Tasks.Other", whole(1, 9), default=1, help=HELP, variable="RINGBACK_NOTHING")


def test_a_variable_holds_where_it_says_something_else_than_the_default(tmp_path: Path) -> None:
    life = known().life
    assert (life.otherwise(load_settings({}, data=tmp_path)), life.by_variable(load_settings({}, data=tmp_path))) == (
        7,
        False,
    )
    set_so = load_settings({"RINGBACK_SHARE_DAYS": "9"}, data=tmp_path)
    assert (life.otherwise(set_so), life.by_variable(set_so)) == (9, True)


@pytest.mark.parametrize(("given", "value"), [(30, 30), ("30", 30), ("3650", 3650), (3650, 3650)])
def test_whole_numbers_within_bounds(given: Json, value: int) -> None:
    assert whole(30, 3650).check(given) == value


@pytest.mark.parametrize("given", [29, 3651, "29", "x", "", True, None, "1e3", "9" * 30, ["30"], "٣٠", -30, "30.0"])
def test_numbers_out_of_bounds_are_refused(given: Json) -> None:
    with pytest.raises(ValueError, match=r"30|3,650|whole number"):
        whole(30, 3650).check(given)


@pytest.mark.parametrize(("given", "value"), [(True, True), ("yes", True), ("No", False), ("off", False)])
def test_flags(given: Json, value: bool) -> None:
    assert flag().check(given) is value
    assert flag().tell(flag().check(given)) == ("yes" if value else "no")


@pytest.mark.parametrize("given", ["maybe", 1, 0, "", None])
def test_what_is_no_flag(given: Json) -> None:
    with pytest.raises(ValueError, match="yes or no"):
        flag().check(given)


def test_choices_and_texts() -> None:
    assert choice("few", "many").check("many") == "many"
    with pytest.raises(ValueError, match="few, many"):
        choice("few", "many").check("some")
    words = text(5, "[a-z]+", "lower-case letters")
    assert words.check("abc") == "abc"
    for wrong in ("abcdef", "ABC", "a\nb", "", 7, None):
        with pytest.raises(ValueError, match=r"text|most|lower-case"):
            words.check(wrong)


def test_secrets_are_kept_added_and_dropped_and_never_told() -> None:
    keys = SealedList(2, "key")
    first = keys.draft({"add": ["one"]}, None)
    assert keys.load(first) == ("one",)
    both = keys.draft({"keep": ids_of(first), "add": [" two ", ""]}, first)
    assert keys.load(both) == ("one", "two")
    assert keys.load(keys.draft({"keep": ids_of(both)[1:]}, both)) == ("two",)
    assert keys.load(keys.draft({}, both)) == ()
    told = keys.tell(both)
    assert told.startswith("2 keys: ")
    assert "one" not in told
    assert "one" not in str(both)
    assert keys.tell([]) == "none"


def test_secrets_that_cannot_be() -> None:
    keys = SealedList(2, "key")
    wrong: list[Json] = ["one", ["one"], {"keep": "x"}, {"add": [1]}, {"drop": []}, {"keep": ["none such"]}]
    for given in wrong:
        with pytest.raises(ValueError, match=r"Give|There is no key"):
            keys.draft(given, None)
    with pytest.raises(ValueError, match="one line"):
        keys.draft({"add": ["a\nb"]}, None)
    with pytest.raises(ValueError, match="The most are 2"):
        keys.check(keys.draft({"add": ["a", "b", "c"]}, None))
    with pytest.raises(ValueError, match="there twice"):
        keys.check(keys.draft({"add": ["a", "a"]}, None))
