"""Fixtures of databases for records. A test that takes one runs on SQLite and on PostgreSQL, each time on a fresh one.

`database` is the kind, `blank_url` a database without tables, `records_url` one with those of this version, `engine` open.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest
from sqlalchemy import URL, Engine

from postgres_server import connect, shared_server
from ringback import clock
from ringback.records.engine import open_engine
from ringback.records.schema import migrate

Answer = TypeVar("Answer")
SQLITE, POSTGRESQL = "sqlite", "postgresql"
only_postgresql = pytest.mark.parametrize("database", [POSTGRESQL])  # what SQLite has not


def at_once(*works: Callable[[], Answer]) -> list[Answer]:
    """What each returned; they begin together, each in a thread. The first error is raised when all have ended."""
    begin = threading.Barrier(len(works))

    def run(work: Callable[[], Answer]) -> Answer:
        begin.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [done.result() for done in [pool.submit(run, work) for work in works]]


@dataclass(frozen=True)
class Postgres:
    """A server on which databases can be made."""

    url: URL  # of its database `postgres`
    admin: psycopg.Connection[tuple[object, ...]]

    def create(self, template: str = "template0") -> str:
        """The URL of a new database."""
        name = f"ringback_test_{clock.random_token(12)}"
        copied = "STRATEGY FILE_COPY ENCODING UTF8"  # half the time of the default for small ones
        self.admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {copied}'.encode())
        return self.url.set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        self.admin.execute(f'DROP DATABASE IF EXISTS "{_name(url)}" WITH (FORCE)'.encode())


@pytest.fixture(params=[SQLITE, POSTGRESQL])
def database(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def blank_url(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    if database == SQLITE:
        yield _sqlite_url(tmp_path / "records.sqlite")
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.create()
    yield url
    postgres.drop(url)


@pytest.fixture
def records_url(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    if database == SQLITE:
        shutil.copyfile(request.getfixturevalue("sqlite_template"), tmp_path / "records.sqlite")
        yield _sqlite_url(tmp_path / "records.sqlite")
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.create(template=_name(request.getfixturevalue("postgres_template")))
    yield url
    postgres.drop(url)


@pytest.fixture
def engine(records_url: str) -> Iterator[Engine]:
    engine = open_engine(records_url)
    yield engine
    engine.dispose()


@pytest.fixture
def hosts(engine: Engine) -> Iterator[list[Engine]]:
    """Four more on the same database, as four processes have them."""
    engines = [open_engine(engine.url.render_as_string(hide_password=False)) for _ in range(4)]
    yield engines
    for each in engines:
        each.dispose()


@pytest.fixture
def another_database(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """Makes one more blank database of the given kind; returns its URL."""
    made: list[str] = []

    def make(kind: str) -> str:
        if kind == SQLITE:
            return _sqlite_url(tmp_path / f"another-{clock.random_token(6)}.sqlite")
        made.append(request.getfixturevalue("postgres").create())
        return made[-1]

    yield make
    for url in made:
        request.getfixturevalue("postgres").drop(url)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Postgres]:
    mine = tmp_path_factory.getbasetemp()
    url = shared_server(mine if worker_id == "master" else mine.parent)
    if url is None:
        pytest.skip("PostgreSQL is not installed (Debian package postgresql)")
    with connect(url) as admin:
        yield Postgres(url, admin)


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> Iterator[str]:
    url = postgres.create()
    _migrated(url)
    yield url
    postgres.drop(url)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "records.sqlite"
    _migrated(_sqlite_url(path))
    return path


def _migrated(url: str) -> None:
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()


def _sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


def _name(url: str) -> str:
    return url.rpartition("/")[2].partition("?")[0]
