"""docs/deploy.md: its commands are understood, its files are there, its links lead somewhere, its sums are right."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path

import pytest
from test_files import DEPLOY, ROOT, VARIABLES, accepted

from ringback import clock
from ringback.checks import collector
from ringback.metrics import CollectorMetrics
from ringback.sessions.ingest.status import CollectorStatus, write_collector_status

PAGE = ROOT / "docs" / "deploy.md"
TEXT = PAGE.read_text()

BYTES_A_MESSAGE = 150
FILLED = 0.8
BLOCKS_SHARE = 0.8  # of the bytes; the rest is legs
SHARD_GB = 40
DISKS_TB = (0.5, 2, 8)
A_CORE = 5_000
INDICES_A_DAY = 4


def test_every_setting_named_is_one() -> None:
    named = set(re.findall(r"RINGBACK_[A-Z_]+", TEXT))
    assert len(named) > 10
    assert named <= VARIABLES


def test_every_command_is_understood() -> None:
    text = TEXT.replace("\\\n", " ").replace("`", "\n")
    commands = re.findall(
        r"(?:^ *|(?<=/bin/))ringback ((?:serve|token|events|records|user|import) [^\n]+)", text, re.MULTILINE
    )
    commands = [re.sub(r"\s+", " ", command) for command in commands]
    assert len(commands) >= 5
    for command in commands:
        accepted(shlex.split(command))


def test_every_file_named_is_there() -> None:
    named = set(re.findall(r"(?<![\w/])((?:deploy|tests)/[\w./-]+\w)", TEXT)) | {"compose.yaml", "requirements.lock"}
    assert len(named) > 5
    for name in named:
        assert (ROOT / name).exists(), name
    units = {path.name for path in (DEPLOY / "systemd").glob("*.service")}
    assert {f"{name}.service" for name in re.findall(r"enable --now (ringback[\w-]*)", TEXT)} == units


def test_every_link_leads_to_a_heading() -> None:
    for page, anchor in re.findall(r"\]\(([\w.-]*)(?:#([\w-]+))?\)", TEXT):
        target = PAGE.parent / page if page else PAGE
        assert target.is_file(), page
        if anchor:
            headings = re.findall(r"^#+ (.*)", target.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page}#{anchor}"


def test_the_figures_to_watch_are_told(tmp_path: Path) -> None:
    write_collector_status(tmp_path, CollectorStatus(updated_us=clock.now_us(), lost={"bad key": 1}))
    names = {sample.name for metric in CollectorMetrics(tmp_path).collect() for sample in metric.samples}
    watched = set(re.findall(r"`(ringback_(?:hep|collector|spool)_\w+)`", TEXT))
    assert watched
    assert watched <= names
    assert set(collector(CollectorStatus())) == {"collect"}


def table(first_column: str, columns: int) -> list[list[str]]:
    rows = re.findall(r"^\| ([\d,]+(?: \|[^|\n]*)+) \|$", TEXT[TEXT.index("## Sizing") :], re.MULTILINE)
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    return [row for row in cells if len(row) == columns]


def number(text: str) -> float:
    found = re.match(r"[\d,.]+", text)
    assert found, text
    return float(found[0].replace(",", ""))


def test_the_sums_of_one_machine_are_right() -> None:
    rows = table("messages a second", 3)
    assert len(rows) == 3
    for rate, day, month in (map(number, row) for row in rows):
        a_day = rate * 86_400 * 114 / 1e9
        assert day == pytest.approx(a_day, abs=0.06)
        assert month == pytest.approx(a_day * 30, abs=0.6)


def test_the_sums_of_many_hosts_are_right() -> None:
    rows = table("messages a second", 8)
    assert len(rows) == 8
    for row in rows:
        rate, days, a_day, disks, _, shards, a_node, collectors = map(number, row)
        gigabytes = rate * 86_400 * BYTES_A_MESSAGE / 1e9
        terabytes = gigabytes * days * 2 / FILLED / 1000
        assert a_day == pytest.approx(gigabytes, abs=0.6)
        assert disks == pytest.approx(terabytes, abs=0.06)
        assert shards == math.ceil(gigabytes * BLOCKS_SHARE / SHARD_GB)
        disk = next(size for size in DISKS_TB if 3 * size >= terabytes or size == DISKS_TB[-1])
        nodes = max(3, math.ceil(terabytes / disk))
        assert row[4] == f"{nodes} of {disk:g} TB"
        assert a_node == pytest.approx(shards * INDICES_A_DAY * 2 * days / nodes, abs=0.6)
        assert a_node < 1000
        assert collectors == max(2, math.ceil(rate / A_CORE / 4) + 1)
