"""A small application with the access room mounted as the product mounts it, on its own records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from access_clock import Clock
from argon2 import PasswordHasher
from fastapi import FastAPI
from sqlalchemy import Engine
from starlette.testclient import TestClient

from actors import by_tester
from ringback import clock
from ringback.access import api, pages, passwords, people_pages, profile
from ringback.access.dependencies import RequiredUser
from ringback.access.service import add_user
from ringback.errors import install_error_handlers
from ringback.middleware import RequestIds, SecurityHeaders
from ringback.settings import load_settings

PASSWORD = "correct horse battery"


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    monkeypatch.setattr(clock, "now", lambda: stopped.now)
    return stopped


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    passwords.nobodys_hash.cache_clear()


@pytest.fixture
def engine(engine: Engine) -> Engine:
    """With a user, ann."""
    with by_tester(engine) as work:
        add_user(work, "ann", PASSWORD)
    return engine


@pytest.fixture
def app(engine: Engine, tmp_path: Path) -> FastAPI:
    app = FastAPI()
    app.state.records = engine
    app.state.settings = load_settings({}, data=tmp_path)
    app.state.sign_in = None
    for router in (pages.router, profile.router, people_pages.router, api.router):
        app.include_router(router)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestIds)

    @app.get("/sessions")
    @app.post("/sessions")
    @app.get("/api/v1/whoami")
    @app.put("/api/v1/whoami")
    def whoami(user: RequiredUser) -> dict[str, Any]:
        return {"name": user.name, "kind": user.kind, "environments": list(user.environments)}

    @app.get("/api/v1/broken")
    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("the secret is 42")

    install_error_handlers(app, api.problem_of, api.ERRORS)
    return app


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(
        app, base_url="http://ringback.test", follow_redirects=False, raise_server_exceptions=False
    ) as made:
        yield made


@pytest.fixture
def ann(client: TestClient) -> TestClient:
    """The client, signed in as ann."""
    answer = client.post("/login", data={"name": "ann", "password": PASSWORD})
    assert answer.status_code == 303, answer.text
    return client
