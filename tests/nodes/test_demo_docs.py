"""The calls that docs/demo.md names are in the demo, and Ringback says of them what it says there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from truth import recorded, told

from ringback.demo import recording
from running import command

DOCUMENT = Path(__file__).parents[2] / "docs" / "demo.md"
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))[:3]
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and line[2].isdigit()
]
BY_BILLING = ("12105550100", "18660333777")  # told by the billing log that the running demo sends (tests/demo)


@pytest.fixture(scope="module")
def said() -> dict[tuple[str, str], str]:
    """(caller, called) -> title of the primary issue."""
    found = {}
    for name in recorded():
        session, issues = told(name)
        found[session.caller, session.called] = issues[0].title
    examples = sorted(str(file) for file in (recording.FOLDER / "examples").glob("*.pcap"))
    for explained in json.loads(command("explain", "--json", *examples).stdout)["sessions"]:
        found[explained["caller"], explained["called"]] = explained["issues"][0]["title"]
    return found


def test_the_document_names_many_calls() -> None:
    assert len(ROWS) >= 35
    assert len({row[:2] for row in ROWS}) == len(ROWS)
    assert BY_BILLING in {row[:2] for row in ROWS}


@pytest.mark.parametrize(("caller", "called", "title"), [row for row in ROWS if row[:2] != BY_BILLING])
def test_a_call_of_the_document_is_in_the_demo(
    caller: str, called: str, title: str, said: dict[tuple[str, str], str]
) -> None:
    assert said[caller, called] == title
