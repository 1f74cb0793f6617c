"""`ringback config ...`: on the records themselves, told to people and to scripts."""

from __future__ import annotations

import getpass
import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ringback.cli import app

AGE, KEYS, LIFE = "Tasks.Log_Max_Age", "Capture.HEP_Keys", "Sessions.Share_Link_Life"


class Shell:
    def __init__(self, data: Path) -> None:
        self._data = str(data)

    def __call__(self, *arguments: str, given: str | None = None) -> Result:
        return CliRunner().invoke(app, ["config", *arguments, "--data", self._data], input=given)

    def fine(self, *arguments: str, given: str | None = None) -> str:
        done = self(*arguments, given=given)
        assert done.exit_code == 0, done.output
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.fine(*arguments, "--json"))


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    for name in [name for name in os.environ if name.startswith("RINGBACK_")]:
        monkeypatch.delenv(name)
    return Shell(tmp_path / "data")


def test_three_steps_and_back(config: Shell) -> None:
    assert f"{AGE}: 90 days" in config.fine("set", AGE.lower(), "90")
    assert "draft: 90 days" in config.fine("get", AGE)
    told = config.fine("verify")
    assert f"changes  {AGE}: 180 days (default) -> 90 days" in told
    assert "Nothing is older than 90 days yet." in told
    applied = config.fine("apply", "--reason", "less disk")
    assert f"{getpass.getuser()} (cli): less disk" in applied
    (entry,) = config.json("history")
    assert (entry["by"], entry["changes"]) == (getpass.getuser(), {AGE: ["180 days (default)", "90 days"]})
    assert config.json("get", AGE)[0] == {"name": AGE, "value": 90, "source": "applied", "draft": None}
    assert f"{AGE}: default" in config.fine("rollback", "0", "--as", "ann")
    config.fine("verify", "--as", "ann")
    config.fine("apply", "--reason", "it was fine", "--as", "ann")
    assert [(each["by"], each["back_to"]) for each in config.json("history")] == [
        ("ann", 0),
        (getpass.getuser(), None),
    ]
    assert "nothing to apply" in config.fine("rollback", "0")


def test_what_is_wrong(config: Shell) -> None:
    assert "The least is 30." in config.fine("set", AGE, "7")
    told = config("verify")
    assert (told.exit_code, told.stdout) == (1, f"wrong    {AGE}: The least is 30.\n")
    assert "not verified" in config("apply", "--reason", "x").output
    config.fine("discard")
    assert "The draft is empty" in config.fine("verify")
    assert config("apply", "--reason", "x").exit_code == 1
    for arguments, code, said in (
        (("set", "No.Such", "1"), 1, "no option No.Such"),
        (("set", AGE), 2, "give a value"),
        (("set", AGE, "90", "--default"), 2, "give a value"),
        (("set", KEYS, "clear"), 1, "--add reads one from standard input"),
        (("set", KEYS, "--drop", "x"), 1, "has no x"),
        (("get", "--environment", "none"), 1, "There is no environment none. There are: default"),
        (("set", AGE, "90", "--environment", "default"), 1, "one value for the whole installation"),
        (("rollback", "7"), 1, "no entry 7"),
    ):
        done = config(*arguments)
        assert (done.exit_code, said in done.output) == (code, True), done.output


def test_an_apply_names_what_was_verified(config: Shell) -> None:
    config.fine("set", AGE, "90")
    config.fine("verify")
    config.fine("set", AGE, "60")
    assert "`ringback config verify` first" in config("apply", "--reason", "x").output


def test_secrets_come_from_standard_input(config: Shell) -> None:
    config.fine("set", KEYS, "--add", given="first-key\n")
    config.fine("set", KEYS, "--add", given="second-key\n")
    config.fine("verify")
    config.fine("apply", "--reason", "keys")
    first, second = config.json("get", KEYS)[0]["value"]
    config.fine("set", KEYS, "--drop", first, "--add", given="third-key")
    kept, new = config.json("get", KEYS)[0]["draft"]["value"]
    assert (kept, new in (first, second)) == (second, False)
    for command in ("get", "history", "verify"):
        assert "-key" not in config.fine(command)


def test_an_environment_of_its_own(config: Shell) -> None:
    config.fine("set", LIFE, "2", "--environment", "default")
    config.fine("verify", "--environment", "default")
    config.fine("apply", "--reason", "short", "--environment", "default")
    assert config.json("get", LIFE, "--environment", "default")[0]["value"] == 2
    assert config.json("get", LIFE)[0]["value"] == 7
    assert "Nothing was applied yet." in config.fine("history")


def test_variables_say_where_a_value_comes_from(config: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGBACK_SHARE_DAYS", "9")
    assert "from RINGBACK_SHARE_DAYS" in config.fine("get", LIFE)
    monkeypatch.setenv("RINGBACK_KEEP_LOGS_DAYS", "365")
    gone = config("get")
    assert gone.exit_code == 2
    assert "Tasks.Log_Max_Age" in gone.output
