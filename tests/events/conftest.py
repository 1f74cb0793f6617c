"""The engines that the conformance suite runs on. A new one adds a line to ENGINES; no test changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ringback.events import EventStore, open_store

OpenStore = Callable[[], EventStore]
ENGINES: dict[str, Callable[[Path], str]] = {"sqlite": lambda path: f"sqlite:{path / 'events'}"}


@pytest.fixture(params=sorted(ENGINES))
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens one and the same store, as often as asked: as another process would."""
    url = ENGINES[request.param](tmp_path)
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
