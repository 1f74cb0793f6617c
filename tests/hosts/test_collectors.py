"""The collectors of all hosts, as pages and API show them."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from ringback import clock
from ringback.hosts.service import RoleState
from ringback.sessions.ingest.status import CollectorStatus, SenderStatus, write_collector_status
from ringback.sessions.status.collectors import collectors, role_rows, together
from ringback.settings import Settings, load_settings

NOW = 1_795_348_800_000_000


@pytest.fixture(autouse=True)
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now_us", lambda: NOW)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"RINGBACK_HOST": "a"}, data=tmp_path)


def state(host: str, status: CollectorStatus | None, seconds_ago: float = 1, *, role: str = "collect") -> RoleState:
    told = clock.from_us(NOW) - timedelta(seconds=seconds_ago)
    document = orjson.dumps(asdict(status)).decode() if status else "{}"
    return RoleState(host, role, "run", "0.1", told, told, None, document)


def status(seconds_ago: float = 1, **changes: object) -> CollectorStatus:
    updated = CollectorStatus(updated_us=NOW - int(seconds_ago * 1e6))
    return replace(updated, **changes)  # type: ignore[arg-type]


def test_our_own_is_read_from_its_file_the_others_from_the_records(settings: Settings) -> None:
    write_collector_status(settings.data, status(received=9))
    found = collectors(settings, [state("a", status(received=5)), state("b", status(received=7)), state("c", None)])
    assert [(each.host, each.status.received, each.running) for each in found] == [
        ("a", 9, True),
        ("b", 7, True),
        ("c", 0, False),
    ]


def test_a_file_that_was_left_here_is_no_collector_once_others_collect(settings: Settings) -> None:
    write_collector_status(settings.data, status(seconds_ago=90_000, stopped=True))
    assert [each.host for each in collectors(settings, [])] == ["a"], "the only one there ever was"
    assert [each.host for each in collectors(settings, [state("b", status())])] == ["b"]
    listed = [state("a", status(seconds_ago=90_000)), state("b", status())]
    assert [each.host for each in collectors(settings, listed)] == ["a", "b"]


def test_silence_is_of_the_server_or_of_the_collector_in_it(settings: Settings) -> None:
    rows = [
        state("dead", status(seconds_ago=40), seconds_ago=40),
        state("hangs", status(seconds_ago=40), seconds_ago=1),
        state("late", status(seconds_ago=15), seconds_ago=14),  # three beats missed
        state("stopped", status(seconds_ago=40, stopped=True), seconds_ago=40),
    ]
    found = collectors(settings, rows)
    assert [(each.host, each.running, each.stopped) for each in found] == [
        ("dead", False, False),
        ("hangs", False, False),
        ("late", True, False),
        ("stopped", False, True),
    ]
    shown = {row.host: row.state for row in role_rows([*rows, state("web", None, role="web")], found)}
    assert shown == {"dead": "silent", "hangs": "silent", "late": "running", "stopped": "stopped", "web": "running"}


def test_together_is_the_sum_and_what_stands_still_adds_no_rate(settings: Settings) -> None:
    first = status(
        received=10, stored=8, lost={"bad key": 1}, received_rate=5.0, lag_ms=3.0, endpoints=["udp 192.0.2.1:9060"],
        senders=[SenderStatus("198.51.100.7", "101", 6, 1), SenderStatus("198.51.100.8", "102", 4, 2)],
    )  # fmt: skip
    second = replace(first, lag_ms=9.0, senders=[SenderStatus("198.51.100.8", "102", 10, 5)])
    gone = replace(first, updated_us=NOW - 60_000_000, waiting=99)
    found = collectors(settings, [state("a", first), state("b", second), state("c", gone, seconds_ago=60)])
    total = together(found)
    assert total is not None
    assert (total.received, total.stored, total.lost, total.waiting) == (30, 24, {"bad key": 3}, 0)
    assert (total.received_rate, total.lag_ms) == (10.0, 9.0)
    assert total.endpoints == ["a: udp 192.0.2.1:9060", "b: udp 192.0.2.1:9060"]
    assert [(each.agent, each.packets, each.last_us) for each in total.senders] == [("102", 18, 5), ("101", 12, 1)]
    assert together([]) is None
    assert together(found[:1]) == found[0].status
