"""What is past its days goes, by day; a role that keeps dying is started ever more seldom."""

from __future__ import annotations

import io
import json
import os
import subprocess
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ringback import clock
from ringback.events import open_store
from ringback.records.engine import open_engine
from ringback.records.schema import migrate
from ringback.retention import Retention, drop_expired
from ringback.sessions.ingest.logs import ingest_logs
from ringback.settings import Settings, load_settings
from ringback.supervisor import LONGEST_BACK_OFF, Role


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"RINGBACK_KEEP_LOGS_DAYS": "10"}, data=tmp_path / "data")


def days(settings: Settings) -> list[str]:
    store = open_store(settings.store_url)
    try:
        return [segment.day for segment in store.status().segments]
    finally:
        store.close()


def test_days_past_their_time_are_dropped_and_no_others(settings: Settings) -> None:
    ages = [0, 9, 12, 400]
    moments = [clock.now() - timedelta(days=age) for age in ages]
    store = open_store(settings.store_url)
    lines = [json.dumps({"time": moment.isoformat(), "text": "x"}).encode() for moment in moments]
    assert ingest_logs(store, b"\n".join(lines)).accepted == 4
    store.close()
    assert len(days(settings)) == 4
    assert drop_expired(settings) == []  # all of it was stored just now
    long_ago = (clock.now() - timedelta(days=11)).timestamp()
    for file in settings.events_folder.iterdir():
        os.utime(file, (long_ago, long_ago))
    dropped = drop_expired(settings)
    assert len(dropped) == 2
    assert sorted(days(settings)) == sorted(f"{moment:%Y-%m-%d}" for moment in moments[:2])
    assert drop_expired(settings) == []


@pytest.fixture
def records(settings: Settings) -> None:
    engine = open_engine(settings.records_url)
    migrate(engine)
    engine.dispose()


@pytest.mark.usefixtures("records")
def test_a_store_that_cannot_be_opened_is_logged_once_and_tried_again_soon(settings: Settings) -> None:
    broken = Retention(replace(settings, events_url="nosuch:store"))
    with capture_logs() as logged:
        assert not broken.run_if_due()
        assert not broken.run_if_due()
    assert [(line["event"], line["log_level"]) for line in logged] == [("retention failed", "error")]


@pytest.mark.usefixtures("records")
def test_one_host_an_hour_does_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many hosts at one store; each folder on a host is a store of its own."""
    shared = replace(settings, database_url=settings.records_url, events_url=f"sqlite:{settings.events_folder}")
    first, second = Retention(replace(shared, host="a")), Retention(replace(shared, host="a"))
    elsewhere = Retention(replace(shared, host="b"))
    assert [first.run_if_due(), second.run_if_due(), first.run_if_due()] == [True, False, False]
    assert elsewhere.run_if_due(), "a folder of the same path on another host is another store"
    later = clock.now_us() + 3_700_000_000
    monkeypatch.setattr(clock, "now_us", lambda: later)
    assert [second.run_if_due(), first.run_if_due()] == [True, False]


def test_without_records_nobody_does_it(settings: Settings) -> None:
    with capture_logs() as logged:
        assert not Retention(replace(settings, database_url="sqlite:////proc/nowhere/records.sqlite")).run_if_due()
    assert [line["event"] for line in logged] == ["retention failed"]


def test_a_role_that_keeps_dying_is_started_ever_more_seldom() -> None:
    role = Role("web")
    role.process = subprocess.Popen(["false"])
    role.process.wait()
    waits = []
    with capture_logs() as logged:
        for _ in range(9):
            role._lifeline = io.BytesIO()
            role._started_at = time.monotonic()
            role.note_death()
            assert role.due_at is not None
            waits.append(round(role.due_at - time.monotonic(), 1))
    assert waits == [0.5, 1, 2, 4, 8, 16, LONGEST_BACK_OFF, LONGEST_BACK_OFF, LONGEST_BACK_OFF]
    assert logged[0]["how"] == "exit code 1"


def test_a_role_that_lived_long_is_started_soon() -> None:
    role = Role("web")
    role.process = subprocess.Popen(["false"])
    role.process.wait()
    role._back_off = LONGEST_BACK_OFF
    role._lifeline = io.BytesIO()
    role._started_at = time.monotonic() - 3600
    role.note_death()
    assert role.due_at is not None
    assert role.due_at - time.monotonic() < 1
