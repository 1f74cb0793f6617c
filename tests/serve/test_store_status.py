"""What the store holds is asked as often as the engine can bear."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from ringback import clock
from ringback.events import StoreAway, StoreStatus, open_store
from ringback.metrics import CollectorMetrics, StoreMetrics
from ringback.sessions.ingest.status import CollectorStatus, write_collector_status
from ringback.sessions.status.store import store_status


class Engine:
    """Answers after a while, or not at all."""

    def __init__(self, seconds: float, *, away: bool = False) -> None:
        self.asked = 0
        self._seconds = seconds
        self._away = away

    def status(self) -> StoreStatus:
        self.asked += 1
        time.sleep(self._seconds)
        if self._away:
            raise StoreAway("away")
        return StoreStatus("opensearch", [], None)


def test_an_engine_that_takes_long_is_asked_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(0.2)
    for _ in range(3):
        store_status(engine)  # type: ignore[arg-type]
    assert engine.asked == 1
    now = time.monotonic()
    for later, asked in ((2.5, 1), (60.0, 2)):
        monkeypatch.setattr(time, "monotonic", lambda later=later: now + later)
        store_status(engine)  # type: ignore[arg-type]
        assert engine.asked == asked


def test_files_are_asked_each_time(tmp_path: Path) -> None:
    store = open_store(f"sqlite:{tmp_path}")
    first = store_status(store)
    assert store_status(store) is not first
    store.close()


def test_figures_are_told_also_while_the_store_is_away() -> None:
    registry = CollectorRegistry()
    registry.register(StoreMetrics(Engine(0.0)))  # type: ignore[arg-type]
    assert b"ringback_store_up 1.0" in generate_latest(registry)
    registry = CollectorRegistry()
    registry.register(StoreMetrics(Engine(0.0, away=True)))  # type: ignore[arg-type]
    assert b"ringback_store_up 0.0" in generate_latest(registry)


@pytest.mark.parametrize(
    ("days", "stopped", "told"),
    [(0.0, False, "1.0"), (2.0, False, "0.0"), (8.0, False, None), (0.5, True, "0.0"), (2.0, True, None)],
)
def test_a_collector_of_long_ago_raises_no_alarm(
    tmp_path: Path, days: float, stopped: bool, told: str | None
) -> None:
    updated_us = clock.now_us() - int(days * 86_400_000_000)
    write_collector_status(tmp_path, CollectorStatus(updated_us=updated_us, stopped=stopped))
    registry = CollectorRegistry()
    registry.register(CollectorMetrics(tmp_path))
    text = generate_latest(registry).decode()
    assert (f"ringback_collector_up {told}" in text) if told else not text
