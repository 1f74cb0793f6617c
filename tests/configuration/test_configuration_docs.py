"""Every option is registered where all processes see it, and stands in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ringback
from ringback.configuration.guide import PAGE, is_current, write_options
from ringback.options import OPTIONS
from running import command

SOURCES = Path(ringback.__file__).parent
DOCS = Path(__file__).parents[2] / "docs"
REGISTERED = re.compile(r'^\w+ = option\(\s*"([\w.]+)"', re.MULTILINE)


def test_every_option_of_the_sources_is_in_the_register() -> None:
    named = {name for path in SOURCES.rglob("*.py") for name in REGISTERED.findall(path.read_text())}
    assert named == {each.name for each in OPTIONS}
    assert {"Tasks.Log_Max_Age", "Sessions.Max_Age", "Sessions.Share_Link_Life", "Capture.HEP_Keys"} <= named


def test_the_table_of_options_is_current() -> None:
    assert is_current(DOCS, OPTIONS), "`ringback docs` writes it"
    rows = (DOCS / PAGE).read_text()
    for each in OPTIONS:
        assert f"| `{each.name}` |" in rows
        assert each.help in rows


def test_a_stale_table_is_told_and_written(tmp_path: Path) -> None:
    guide = tmp_path / "troubleshooting"
    guide.mkdir()
    page = tmp_path / PAGE
    current = (DOCS / PAGE).read_text()
    page.write_text(current.replace("| 30 days |", "| 31 days |"))
    assert page.read_text() != current
    told = command("docs", "--folder", str(tmp_path), "--check")
    assert told.returncode == 1
    assert f"{page} is not current" in told.stdout
    assert write_options(tmp_path, OPTIONS) == page
    assert page.read_text() == current
    page.write_text("no marks")
    with pytest.raises(ValueError, match="has lost the marks"):
        is_current(tmp_path, OPTIONS)
