"""Signs of life and leases, as several hosts leave them in the records."""

from __future__ import annotations

from datetime import timedelta
from threading import Barrier, Thread

import pytest
from sqlalchemy import Engine

from ringback import clock
from ringback.hosts.service import forget_gone, last_done, role_states, run_due, tell

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> list[timedelta]:
    """What is put in is how much time has passed."""
    passed = [timedelta()]
    start = clock.now()
    monkeypatch.setattr(clock, "now", lambda: start + passed[-1])
    return passed


def test_a_role_runs_falls_silent_or_is_stopped(engine: Engine, passing: list[timedelta]) -> None:
    began = clock.now()
    tell(engine, "a", "collect", run="1", started_at=began, status='{"stored": 7}')
    tell(engine, "b", "web", run="2", started_at=began)
    passing.append(timedelta(seconds=15))
    tell(engine, "b", "web", run="2", started_at=began)
    assert [(each.host, each.role, each.running) for each in role_states(engine)] == [
        ("a", "collect", True),
        ("b", "web", True),
    ]
    passing.append(timedelta(seconds=25))
    collect, web = role_states(engine)
    assert (collect.running, collect.stopped, collect.status) == (False, False, '{"stored": 7}')
    assert collect.updated_at == began
    assert web.running
    tell(engine, "b", "web", run="2", started_at=began, stopped=True)
    web = role_states(engine)[1]
    assert (web.running, web.stopped) == (False, True)
    tell(engine, "b", "web", run="3", started_at=clock.now())
    assert role_states(engine)[1].running, "started again"


def test_two_servers_by_one_name_see_each_other(engine: Engine, passing: list[timedelta]) -> None:
    now = clock.now()
    assert tell(engine, "a", "collect", run="1", started_at=now) == "1"
    assert tell(engine, "a", "collect", run="2", started_at=now) == "1"
    assert tell(engine, "a", "collect", run="1", started_at=now) == "2"
    passing.append(MINUTE)
    assert tell(engine, "a", "collect", run="3", started_at=now) == "3", "the other one is long silent"


def test_a_host_that_is_gone_is_forgotten_sooner_where_it_was_stopped(
    engine: Engine, passing: list[timedelta]
) -> None:
    tell(engine, "silent", "collect", run="1", started_at=clock.now())
    tell(engine, "stopped", "collect", run="2", started_at=clock.now(), stopped=True)
    listed = []
    for days in (0.9, 1.1, 6.9, 7.1):
        passing.append(timedelta(days=days))
        forget_gone(engine)
        listed.append([each.host for each in role_states(engine)])
    assert listed == [["silent", "stopped"], ["silent"], ["silent"], []]


def test_due_work_is_done_once_an_hour_by_whoever_is_first(engine: Engine, passing: list[timedelta]) -> None:
    done: list[str] = []

    def offer(holder: str) -> bool:
        return run_due(engine, "work", holder, lambda: done.append(holder), every=HOUR, at_most=MINUTE)

    assert [offer("a"), offer("b"), offer("a")] == [True, False, False]
    assert last_done(engine, "work") == clock.now()
    passing.append(HOUR)
    assert [offer("b"), offer("a")] == [True, False]
    assert done == ["a", "b"]


def test_work_that_failed_is_due_and_a_dead_holder_is_waited_for_no_longer_than_agreed(
    engine: Engine, passing: list[timedelta]
) -> None:
    def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        run_due(engine, "work", "a", fail, every=HOUR, at_most=MINUTE)
    assert last_done(engine, "work") is None
    tried: list[bool] = []

    def work() -> None:  # meanwhile the others are refused, but for one that comes too late
        tried.append(run_due(engine, "work", "c", lambda: None, every=HOUR, at_most=MINUTE))
        passing.append(2 * MINUTE)
        tried.append(run_due(engine, "work", "c", lambda: None, every=HOUR, at_most=MINUTE))

    assert run_due(engine, "work", "b", work, every=HOUR, at_most=MINUTE)
    assert tried == [False, True]


def test_of_many_at_once_one_does_the_work(engine: Engine) -> None:
    barrier, done = Barrier(8), list[str]()

    def offer(holder: str) -> None:
        barrier.wait()
        run_due(engine, "work", holder, lambda: done.append(holder), every=HOUR, at_most=MINUTE)

    threads = [Thread(target=offer, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 1
