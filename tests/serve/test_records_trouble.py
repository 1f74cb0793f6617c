"""What the application answers when a database refuses a value, is away, or is overloaded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.testclient import TestClient

from actors import by_tester
from databases import Postgres, only_postgresql
from ringback.access import tokens
from ringback.access.service import add_user
from ringback.app import create_app
from ringback.records import postgresql
from ringback.records.engine import unit_of_work
from ringback.records.wall import EVERYWHERE
from ringback.settings import load_settings

PASSWORD = "correct horse battery"
HOSTILE = ["x\0y", "x" * 2000, "\N{TELEPHONE LOCATION SIGN}" * 300, "9" * 30]


@pytest.fixture
def app(tmp_path: Path, records_url: str) -> FastAPI:
    return create_app(load_settings({"RINGBACK_DATABASE_URL": records_url}, data=tmp_path / "data"))


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(
        app, base_url="http://ringback.test", follow_redirects=False, raise_server_exceptions=False
    ) as made:
        yield made


@pytest.fixture
def token(app: FastAPI, client: TestClient) -> dict[str, str]:
    with by_tester(app.state.records) as work:
        return {"Authorization": f"Bearer {tokens.create_token(work, 'test')}"}


def test_no_value_of_a_path_or_query_is_our_fault(app: FastAPI, client: TestClient, token: dict[str, str]) -> None:
    asked = 0
    for value, route in product(HOSTILE, list(iter_route_contexts(app.routes))):
        path = re.sub(r"\{[^}]+\}", quote(value, safe=""), route.path or "")
        query = dict.fromkeys(("session", "edit", "next", "number", "cursor", "q", "m"), value)
        for method in (route.methods or set()) - {"HEAD", "OPTIONS"}:
            asked += 1
            answer = client.request(method, path, headers=token, params=query if method == "GET" else {})
            assert answer.status_code < 500, (method, path, answer.text)
    assert asked > 25 * len(HOSTILE)


def test_no_value_of_a_form_is_our_fault(client: TestClient, token: dict[str, str]) -> None:
    for value in HOSTILE:
        _send_forms(client, token, value)


def _send_forms(client: TestClient, token: dict[str, str], value: str) -> None:
    assert client.post("/login", data={"name": value, "password": value}).status_code in (401, 422)
    form = dict.fromkeys(("name", "kind", "agents", "addresses", "was", "sender_kind", "value"), value)
    for path in ("/nodes/new", "/nodes/bulk", "/nodes/bulk/apply", "/nodes/unknown-senders"):
        for data in (form, form | {"kind": "edge", "agents": "7", "addresses": "", "sender_kind": "agent"}):
            assert client.post(path, data=data, headers=token).status_code < 500, (path, data)
    for document in (
        {"nodes": [{"name": value, "agents": ["1"]}]},
        {"nodes": [{"name": "x", "colour": value, "agents": [value]}]},
    ):
        assert client.put("/api/v1/nodes", json=document, headers=token).status_code in (200, 422)
    shared = client.post("/api/v1/shares", json={"session": value}, headers=token)
    assert shared.status_code in (404, 422)


@only_postgresql
def test_a_database_that_is_away_is_said_and_comes_back(
    app: FastAPI, client: TestClient, token: dict[str, str], postgres: Postgres
) -> None:
    with by_tester(app.state.records) as work:
        add_user(work, "ann", PASSWORD)
    assert client.post("/login", data={"name": "ann", "password": PASSWORD}).status_code == 303
    name = app.state.records.url.database
    postgres.admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
    postgres.admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
    asked = client.get("/api/v1/nodes", headers=token)
    assert (asked.status_code, asked.headers["content-type"]) == (503, "application/problem+json")
    assert asked.headers["retry-after"] == "5"
    assert "try again" in asked.json()["detail"]
    page = client.get("/nodes")
    assert page.status_code == 503
    assert "The records cannot be reached" in page.text
    assert client.post("/login", data={"name": "ann", "password": PASSWORD}).status_code == 503
    assert client.get("/nothing-here").status_code == 404, "its page needs nobody's name"
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["checks"]["records"] != "ok"
    assert client.get("/healthz").status_code == 200
    postgres.admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())
    assert client.get("/api/v1/nodes", headers=token).status_code == 200
    assert client.get("/nodes").status_code == 200, "the login is still there"
    assert client.get("/readyz").json()["checks"]["records"] == "ok"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(postgresql._SESSION, "lock_timeout", "100ms")


@only_postgresql
@pytest.mark.usefixtures("impatient")
def test_what_another_holds_for_too_long_is_said(app: FastAPI, client: TestClient, token: dict[str, str]) -> None:
    with unit_of_work(app.state.records, EVERYWHERE) as holder:
        holder.lock("entities", "node", "default")
        answer = client.put("/api/v1/nodes", headers=token, json={"nodes": []})
    assert answer.status_code == 503
    assert client.put("/api/v1/nodes", headers=token, json={"nodes": []}).status_code == 200
