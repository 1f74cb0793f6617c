"""The engines that the conformance suite runs on. A new one adds a line to ENGINES; no test changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx2
import pytest
from between import Between, Engine, between

from opensearch_server import own_prefix
from ringback.events import EventStore, open_store
from ringback.events.opensearch import bulk, leg_query, reading
from ringback.events.sqlite import entries, key_filter, segment_writer

OpenStore = Callable[[], EventStore]


def sqlite(request: pytest.FixtureRequest) -> str:
    return f"sqlite:{request.getfixturevalue('tmp_path') / 'events'}"


def sqlite_in_small_pieces(request: pytest.FixtureRequest) -> str:
    """A few rows do what a few hundred thousand do otherwise: fill slices, and pages of a search."""
    monkeypatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setattr(segment_writer, "SLICE_ROWS", 3)
    monkeypatch.setattr(key_filter, "FIRST_KEYS", 1)
    monkeypatch.setattr(entries, "_FIRST_ROWS", 2)
    monkeypatch.setattr(entries, "_MORE_ROWS", 5)
    return sqlite(request)


def opensearch(request: pytest.FixtureRequest) -> str:
    engine: Engine = request.getfixturevalue("engine")
    return engine.url


def opensearch_in_small_pieces(request: pytest.FixtureRequest) -> str:
    """Answers of some rows and requests of a few documents do what many thousand do otherwise."""
    monkeypatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setattr(reading, "PAGE", 19)
    monkeypatch.setattr(reading, "BUCKETS", 2)
    monkeypatch.setattr(leg_query, "MOST_TERMS", 2)
    monkeypatch.setattr(bulk, "CHUNK_BYTES", 10_000)
    return opensearch(request)


ENGINES: dict[str, Callable[[pytest.FixtureRequest], str]] = {
    "sqlite": sqlite,
    "sqlite in small pieces": sqlite_in_small_pieces,
    "opensearch": opensearch,
    "opensearch in small pieces": opensearch_in_small_pieces,
}


@pytest.fixture(params=sorted(ENGINES))
def opened(request: pytest.FixtureRequest, open_url: Callable[[str], EventStore]) -> OpenStore:
    """Opens one and the same store, as often as asked: as another process would."""
    url = ENGINES[request.param](request)
    return lambda: open_url(url)


@pytest.fixture(scope="session")
def node(shared_node: str) -> Iterator[Engine]:
    """All tests of this process share its prefix: the templates are made once."""
    with own_prefix(shared_node) as prefix:
        yield Engine(shared_node, prefix)
        httpx2.delete(f"{shared_node}/_index_template/{prefix}*", timeout=60)


@pytest.fixture
def engine(node: Engine) -> Iterator[Engine]:
    yield node
    node.ask("DELETE", f"{node.prefix}*?expand_wildcards=all")


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
