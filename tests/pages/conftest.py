"""One site and one browser for all tests of pages that a worker runs."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher
from browser_site import PASSWORD, Site, Visit, prepared, serve
from money_console import Console, Money, console
from playwright.sync_api import Browser
from recorded_calls import record
from starlette.testclient import TestClient

from actors import by_tester
from goods import World
from ringback import clock
from ringback.access import passwords
from ringback.access.permissions import Role
from ringback.access.service import add_user
from ringback.app import create_app
from ringback.changes.schemas import Actor
from ringback.changes.service import changing
from ringback.events import open_store
from ringback.records.engine import open_engine
from ringback.sessions.nodes.service import MAX_AGE_SECONDS, replace_nodes
from ringback.settings import load_settings


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = prepared(tmp_path_factory.mktemp("site"))
    events = open_store(settings.store_url)
    calls = record(events, clock.now_us())
    events.close()
    for url in serve(settings):
        yield Site(url, calls, settings)


@pytest.fixture
def empty_nodes(site: Site) -> Iterator[Site]:
    """The site with an empty node register, before and after."""
    _forget_nodes(site)
    yield site
    _forget_nodes(site)
    time.sleep(MAX_AGE_SECONDS)  # until the running application has noticed


def _forget_nodes(site: Site) -> None:
    engine = open_engine(site.settings.records_url)
    with changing(engine, Actor("system", "test", "cli"), ("default",)) as work:
        replace_nodes(work, "default", [])
    engine.dispose()


@pytest.fixture(scope="session")
def empty_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = prepared(tmp_path_factory.mktemp("empty"))
    for url in serve(settings):
        yield Site(url, {}, settings)


@pytest.fixture(scope="session")
def visits(browser: Browser) -> Visit:
    return Visit(browser)


@pytest.fixture
def visit(visits: Visit) -> Iterator[Visit]:
    """A test whose page makes the browser complain fails."""
    visits.complaints.clear()
    yield visits
    visits.close()
    assert visits.complaints == []


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    settings = load_settings({}, data=tmp_path_factory.mktemp("money"))
    kept = passwords._hasher
    passwords._hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    with TestClient(create_app(settings), base_url="http://ringback.test") as client:
        engine = client.app.state.records  # type: ignore[attr-defined]
        with by_tester(engine) as work:
            for role in (Role.BILLING, Role.READ_ONLY, Role.SUPPORT):
                add_user(work, role, PASSWORD, role)
        made = World(engine)
        made.app = client.app  # type: ignore[attr-defined]
        yield made
    passwords._hasher = kept


@pytest.fixture(scope="module")
def clerk(world: World) -> Console:
    """Of billing: may do everything with money."""
    return console(world, Role.BILLING)


@pytest.fixture
def money(world: World) -> Money:
    world.forget()
    customer = world.one("customer")
    return Money(world, customer, world.one("account"), world.make("account", billing_model="debit"))
