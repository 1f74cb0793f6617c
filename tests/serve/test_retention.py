"""What is past its days goes, by day; a role that keeps dying is started ever more seldom."""

from __future__ import annotations

import io
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select
from structlog.testing import capture_logs

from ringback import clock
from ringback.changes.schemas import Actor
from ringback.composition import compose
from ringback.configuration.models import ConfigurationValue
from ringback.configuration.reader import Current
from ringback.configuration.schemas import Verification
from ringback.configuration.service import ConfigurationService
from ringback.events import DAY_US, Batch, LegRow, open_store
from ringback.records.engine import open_engine, unit_of_work
from ringback.records.schema import migrate
from ringback.records.tables import INSTALLATION
from ringback.records.wall import EVERYWHERE
from ringback.retention import drop_expired, retention
from ringback.sessions.ingest.logs import ingest_logs
from ringback.settings import Settings, load_settings
from ringback.supervisor import LONGEST_BACK_OFF, Role


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({}, data=tmp_path / "data")


@pytest.fixture
def records(settings: Settings) -> Iterator[Engine]:
    compose(settings)
    engine = open_engine(settings.records_url)
    migrate(engine)
    yield engine
    engine.dispose()


def days(settings: Settings) -> list[str]:
    store = open_store(settings.store_url)
    try:
        return [segment.day for segment in store.status().segments]
    finally:
        store.close()


def keep(settings: Settings, records: Engine, **given: int) -> Verification:
    """All three steps; returns what was told before the last."""
    service, me = ConfigurationService(records, settings), Actor("user", "ann", "cli")
    service.save(me, INSTALLATION, {name.replace("__", "."): value for name, value in given.items()}, None)
    verification = service.verify(me, INSTALLATION)
    service.apply(me, INSTALLATION, verification.token, "less disk")
    return verification


def test_days_past_their_time_are_dropped_and_no_others(settings: Settings, records: Engine) -> None:
    ages = [0, 31, 34, 400]
    moments = fill(settings, ages)
    configuration = Current(settings, records)
    assert drop_expired(settings, records, configuration) == []  # all of it was stored just now
    told = keep(settings, records, Tasks__Log_Max_Age=32).touched["Tasks.Log_Max_Age"]
    assert [sentence.partition(" older")[0].partition(" (")[0] for sentence in told] == ["2 log lines"]
    configuration.refresh()
    age(settings, days=33)
    assert len(drop_expired(settings, records, configuration)) == 2
    assert sorted(days(settings)) == sorted(f"{moment:%Y-%m-%d}" for moment in moments[:2])
    assert drop_expired(settings, records, configuration) == []


def test_by_default_log_lines_are_kept_half_a_year(settings: Settings, records: Engine) -> None:
    moments = fill(settings, [0, 179, 182])
    age(settings, days=182)
    drop_expired(settings, records, Current(settings, records))
    assert sorted(days(settings)) == sorted(f"{moment:%Y-%m-%d}" for moment in moments[:2])


def test_captures_are_kept_as_the_variable_says_until_an_option_is_applied(
    settings: Settings, records: Engine
) -> None:
    settings = replace(settings, keep_sessions_days=50)
    moment = clock.now_us() - 60 * DAY_US
    store = open_store(settings.store_url)
    store.write(Batch([LegRow("default", "a@b", "call", "INVITE", moment, moment)], []))
    store.close()
    age(settings, days=40)
    configuration = Current(settings, records)
    assert drop_expired(settings, records, configuration) == [], "it was stored 40 days ago"
    told = keep(settings, records, Sessions__Max_Age=39).touched["Sessions.Max_Age"]
    assert len(told) == 1
    assert told[0].startswith("1 leg of captured sessions (1 day, ")
    configuration.refresh()
    assert len(drop_expired(settings, records, configuration)) == 1


def test_what_fewer_days_touch_is_told(settings: Settings, records: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    long_ago = clock.now_us() - 80 * DAY_US
    with monkeypatch.context() as then:
        then.setattr(clock, "now_us", lambda: long_ago)
        told = keep(settings, records, Tasks__Log_Max_Age=90).touched  # itself an audit record
        keep(settings, records, Tasks__Log_Max_Age=91)
        keep(settings, records, Tasks__Log_Max_Age=90)
    assert told == {"Tasks.Log_Max_Age": ["Nothing is older than 90 days yet."]}
    (sentence,) = keep(settings, records, Tasks__Log_Max_Age=60).touched["Tasks.Log_Max_Age"]
    assert sentence.startswith(
        "2 audit records older than 60 days will go within the hour, for good: what is of before "
    ), "the newest of a chain stays"
    configuration = Current(settings, records)
    configuration.refresh()
    fill(settings, [1])
    assert drop_expired(settings, records, configuration) == ["3 audit records"], "by now one is newer than those"
    assert drop_expired(settings, records, configuration) == []
    (sentence,) = keep(settings, records, Tasks__Log_Max_Age=70).touched["Tasks.Log_Max_Age"]
    assert sentence == "Nothing goes; what is there now is kept longer."


def test_a_store_that_is_away_is_told_beside_the_change(settings: Settings, records: Engine) -> None:
    broken = replace(settings, events_url="nosuch:store")
    (told,) = keep(broken, records, Tasks__Log_Max_Age=60).touched["Tasks.Log_Max_Age"]
    assert "cannot be told" in told


def test_days_that_are_not_known_for_sure_drop_nothing(settings: Settings, records: Engine) -> None:
    fill(settings, [400])
    age(settings, days=400)
    keep(settings, records, Tasks__Log_Max_Age=500)
    with unit_of_work(records, EVERYWHERE) as work:  # by a version with other bounds
        work.scalars(select(ConfigurationValue)).one().value = "5000"
    configuration = Current(settings, records)
    configuration.refresh()
    with capture_logs() as logged:
        assert not retention(settings, configuration).run_if_due()
    assert logged[-1]["event"] == "retention failed"
    assert "Tasks.Log_Max_Age" in logged[-1]["error"]
    assert len(days(settings)) == 1


def fill(settings: Settings, ages: list[int]) -> list[datetime]:
    """A log line of so many days ago each; when they were."""
    moments = [clock.now() - timedelta(days=each) for each in ages]
    store = open_store(settings.store_url)
    lines = [json.dumps({"time": moment.isoformat(), "text": "x"}).encode() for moment in moments]
    assert ingest_logs(store, b"\n".join(lines)).accepted == len(ages)
    store.close()
    assert len(days(settings)) == len(ages)
    return moments


def age(settings: Settings, days: int) -> None:
    """As if everything had been stored so long ago."""
    long_ago = (clock.now() - timedelta(days=days)).timestamp()
    for file in settings.events_folder.iterdir():
        os.utime(file, (long_ago, long_ago))


@pytest.mark.usefixtures("records")
def test_a_store_that_cannot_be_opened_is_logged_once_and_tried_again_soon(settings: Settings) -> None:
    broken = retention(replace(settings, events_url="nosuch:store"))
    with capture_logs() as logged:
        assert not broken.run_if_due()
        assert not broken.run_if_due()
    assert [(line["event"], line["log_level"]) for line in logged] == [("retention failed", "error")]


def test_each_run_asks_anew_how_long_things_are_kept(settings: Settings, records: Engine) -> None:
    fill(settings, [100])
    age(settings, days=100)
    look = retention(settings, Current(settings))  # which nothing else refreshes
    keep(settings, records, Tasks__Log_Max_Age=90)
    assert look.run_if_due()
    assert days(settings) == []


@pytest.mark.usefixtures("records")
def test_one_host_an_hour_does_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many hosts at one store; each folder on a host is a store of its own."""
    shared = replace(settings, database_url=settings.records_url, events_url=f"sqlite:{settings.events_folder}")
    first, second = retention(replace(shared, host="a")), retention(replace(shared, host="a"))
    elsewhere = retention(replace(shared, host="b"))
    assert [first.run_if_due(), second.run_if_due(), first.run_if_due()] == [True, False, False]
    assert elsewhere.run_if_due(), "a folder of the same path on another host is another store"
    later = clock.now_us() + 3_700_000_000
    monkeypatch.setattr(clock, "now_us", lambda: later)
    assert [second.run_if_due(), first.run_if_due()] == [True, False]


def test_without_records_nobody_does_it(settings: Settings) -> None:
    with capture_logs() as logged:
        assert not retention(replace(settings, database_url="sqlite:////proc/nowhere/records.sqlite")).run_if_due()
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
