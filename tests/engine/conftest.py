"""A running engine with John's books."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_asked import Asking, Books, Running, running
from sqlalchemy import Engine


@pytest.fixture
def live(engine: Engine, tmp_path: Path) -> Iterator[Running]:
    with running(engine, tmp_path) as found:
        yield found


@pytest.fixture
def books(engine: Engine) -> Books:
    return Books.of(engine)


@pytest.fixture
def node(live: Running, books: Books) -> Iterator[Asking]:
    found = live.node(books.token())
    yield found
    found.client.close()
