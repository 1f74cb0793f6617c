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
from ringback.retention import drop_expired
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


def test_a_store_that_cannot_be_opened_is_logged_and_tried_again_later(settings: Settings) -> None:
    with capture_logs() as logged:
        assert drop_expired(replace(settings, events_url="nosuch:store")) == []
    assert [(line["event"], line["log_level"]) for line in logged] == [("retention failed", "error")]


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
