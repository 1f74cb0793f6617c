"""One database of each kind for all tests of a module: each makes what it looks at in an environment of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import count

import pytest
from sqlalchemy import Engine, make_url

from databases import POSTGRESQL, SQLITE, Postgres
from goods import World
from ringback.records.engine import open_engine

_environments = count(1)


@pytest.fixture(scope="module", params=[SQLITE, POSTGRESQL])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if request.param == SQLITE:
        path = tmp_path_factory.mktemp("shared") / "records.sqlite"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        url = f"sqlite:///{path}"
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        template = make_url(request.getfixturevalue("postgres_template")).database
        url = postgres.create(template=str(template))
    engine = open_engine(url)
    yield engine
    engine.dispose()
    if request.param == POSTGRESQL:
        postgres.drop(url)


@pytest.fixture
def world(shared: Engine) -> World:
    """In an environment of its own."""
    return World(shared, f"apart-{next(_environments)}")
