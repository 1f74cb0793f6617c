"""The engines that the conformance suite runs on. A new one adds a line to ENGINES; no test changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx2
import pytest
from between import Between, Engine, between

from opensearch_server import own_prefix, single_node
from ringback.events import EventStore, open_store
from ringback.events.opensearch import bulk, leg_query, reading
from ringback.events.sqlite import entries, segment_writer

OpenStore = Callable[[], EventStore]


@contextmanager
def sqlite(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    yield f"sqlite:{path / 'events'}"


@contextmanager
def sqlite_in_small_pieces(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A few rows do what a few hundred thousand do otherwise: fill slices, and pages of a search."""
    monkeypatch.setattr(segment_writer, "SLICE_ROWS", 3)
    monkeypatch.setattr(entries, "_FIRST_ROWS", 2)
    monkeypatch.setattr(entries, "_MORE_ROWS", 5)
    with sqlite(path, monkeypatch) as url:
        yield url


@contextmanager
def real_engine() -> Iterator[Engine]:
    with single_node() as url, own_prefix(url) as prefix:
        yield Engine(url, prefix)
        httpx2.delete(f"{url}/_index_template/{prefix}-*", timeout=60)


@contextmanager
def opensearch(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with real_engine() as engine:
        yield engine.url


@contextmanager
def opensearch_in_small_pieces(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Answers of a few rows and requests of a few documents do what many thousand do otherwise."""
    monkeypatch.setattr(reading, "PAGE", 3)
    monkeypatch.setattr(reading, "BUCKETS", 2)
    monkeypatch.setattr(leg_query, "MOST_TERMS", 2)
    monkeypatch.setattr(bulk, "CHUNK_BYTES", 2000)
    with opensearch(path, monkeypatch) as url:
        yield url


ENGINES: dict[str, Callable[[Path, pytest.MonkeyPatch], AbstractContextManager[str]]] = {
    "sqlite": sqlite,
    "sqlite in small pieces": sqlite_in_small_pieces,
    "opensearch": opensearch,
    "opensearch in small pieces": opensearch_in_small_pieces,
}


@pytest.fixture(params=sorted(ENGINES))
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenStore]:
    """Opens one and the same store, as often as asked: as another process would."""
    stores: list[EventStore] = []
    with ENGINES[request.param](tmp_path, monkeypatch) as url:

        def open_() -> EventStore:
            stores.append(open_store(url))
            return stores[-1]

        yield open_
        for store in stores:
            store.close()


@pytest.fixture
def engine() -> Iterator[Engine]:
    with real_engine() as engine:
        yield engine


@pytest.fixture
def before(engine: Engine) -> Iterator[Between]:
    """A server before it that the test lets interfere."""
    with between(engine.address) as server:
        yield server


@pytest.fixture
def open_url() -> Iterator[Callable[[str], EventStore]]:
    stores: list[EventStore] = []

    def open_(url: str) -> EventStore:
        stores.append(open_store(url))
        return stores[-1]

    yield open_
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: OpenStore) -> EventStore:
    return opened()
