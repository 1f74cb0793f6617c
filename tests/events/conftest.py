"""The engines that the conformance suite runs on. A new one adds a line to ENGINES; no test changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ringback.events import EventStore, open_store
from ringback.events.sqlite import entries, segment_writer

OpenStore = Callable[[], EventStore]


def sqlite(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return f"sqlite:{path / 'events'}"


def sqlite_in_small_pieces(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A few rows do what a few hundred thousand do otherwise: fill slices, and pages of a search."""
    monkeypatch.setattr(segment_writer, "SLICE_ROWS", 3)
    monkeypatch.setattr(entries, "_FIRST_ROWS", 2)
    monkeypatch.setattr(entries, "_MORE_ROWS", 5)
    return sqlite(path, monkeypatch)


ENGINES: dict[str, Callable[[Path, pytest.MonkeyPatch], str]] = {
    "sqlite": sqlite,
    "sqlite in small pieces": sqlite_in_small_pieces,
}


@pytest.fixture(params=sorted(ENGINES))
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenStore]:
    """Opens one and the same store, as often as asked: as another process would."""
    url = ENGINES[request.param](tmp_path, monkeypatch)
    stores: list[EventStore] = []

    def open_() -> EventStore:
        stores.append(open_store(url))
        return stores[-1]

    yield open_
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: OpenStore) -> EventStore:
    return opened()
