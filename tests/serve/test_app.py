"""The composed application: who may reach what, and what every answer has in common."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.testclient import TestClient

from actors import by_tester
from databases import SQLITE
from ringback.access import tokens
from ringback.access.service import add_user
from ringback.app import LARGEST_BODY, create_app
from ringback.records.engine import unit_of_work
from ringback.records.wall import EVERYWHERE
from ringback.settings import load_settings

pytestmark = pytest.mark.parametrize("database", [SQLITE])  # what both have to say alike is said by the other tests
PASSWORD = "correct horse battery"
OPEN_TO_ALL = {
    ("GET", "/login"),
    ("POST", "/login"),
    ("GET", "/login/code"),
    ("POST", "/login/code"),
    ("GET", "/login/oidc"),
    ("GET", "/login/oidc/callback"),
    ("GET", "/"),  # a redirect to a page that asks
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/api/v1/openapi.json"),
}
LINKS_WITH_A_SECRET = ("/share/{token}",)


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


@pytest.fixture
def signed_in(app: FastAPI, client: TestClient) -> TestClient:
    with by_tester(app.state.records) as work:
        add_user(work, "ann", PASSWORD)
    assert client.post("/login", data={"name": "ann", "password": PASSWORD}).status_code == 303
    return client


def every_route(app: FastAPI) -> set[tuple[str, str]]:
    """(method, path template) of all that is mounted, pages too."""
    found = set()
    for each in iter_route_contexts(app.routes):
        found |= {(method, each.path or "") for method in each.methods or () if method not in ("HEAD", "OPTIONS")}
    return found


def filled(path: str) -> str:
    """An id of what is not there."""
    path = path.replace("{kind:entity_path}", "customers")
    return re.sub(r"\{(\w+)(?::(\w+))?\}", lambda it: "1" if it[2] == "int" or it[1] == "share_id" else "x", path)


def test_nothing_but_the_door_is_open_to_nobody(app: FastAPI, client: TestClient) -> None:
    routes = every_route(app)
    assert len(routes) > 25
    assert routes >= OPEN_TO_ALL
    for method, path in sorted(routes - OPEN_TO_ALL):
        if path.startswith(LINKS_WITH_A_SECRET):
            continue
        answer = client.request(method, filled(path))
        if path.startswith(("/api/", "/ingest/")):
            assert answer.status_code == 401, (method, path)
            assert answer.headers["content-type"] == "application/problem+json"
        else:
            assert answer.status_code == 303, (method, path, answer.text)
            assert answer.headers["location"].startswith("/login"), (method, path)


def test_no_change_is_taken_from_a_browser_without_the_token_of_its_login(
    app: FastAPI, signed_in: TestClient
) -> None:
    for method, path in sorted(every_route(app) - OPEN_TO_ALL):
        if method != "GET" and not path.startswith(LINKS_WITH_A_SECRET):
            assert signed_in.request(method, filled(path)).status_code == 403, (method, path)


def test_every_answer_is_marked_for_the_browser(app: FastAPI, signed_in: TestClient) -> None:
    for method, path in sorted(every_route(app)):
        headers = signed_in.request(method, filled(path)).headers
        assert "default-src 'self'" in headers["content-security-policy"], (method, path)
        assert headers["x-content-type-options"] == "nosniff", (method, path)


def test_the_description_of_the_api_names_every_call_of_it(app: FastAPI, client: TestClient) -> None:
    described = client.get("/api/v1/openapi.json").json()
    named = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    mounted = {route for route in every_route(app) if route[1].startswith(("/api/", "/ingest/"))}
    assert named == mounted - {("GET", "/api/v1/openapi.json")}


def test_a_body_over_the_limit_is_refused(client: TestClient, token: dict[str, str]) -> None:
    answer = client.put("/api/v1/nodes", headers=token, content=b" " * (LARGEST_BODY + 1))
    assert answer.status_code == 413
    assert "larger than this server takes" in answer.json()["detail"]
    form = client.post("/login", data={"name": "x" * LARGEST_BODY, "password": "x"})
    assert form.status_code == 413


def test_long_pages_are_compressed(signed_in: TestClient) -> None:
    assert signed_in.get("/sessions", headers={"Accept-Encoding": "gzip"}).headers["content-encoding"] == "gzip"


def test_static_files_are_kept_by_browsers_and_pages_are_not(client: TestClient) -> None:
    page = client.get("/login")
    path = re.search(r'href="(/static/[^"]+\.css)"', page.text)
    assert path
    assert "immutable" in client.get(path[1]).headers["cache-control"]
    assert page.headers["cache-control"] == "no-store"


def test_metrics_count_requests_by_route_and_name_nobody(client: TestClient, token: dict[str, str]) -> None:
    client.get("/api/v1/sessions/18660333777-secret", headers=token)
    text = client.get("/metrics").text
    assert 'route="/api/v1/sessions/{session_id}"' in text
    assert "18660333777" not in text
    assert "ringback_store_messages 0.0" in text
    assert "process_resident_memory_bytes" in text


def test_not_ready_says_why(app: FastAPI, client: TestClient) -> None:
    assert client.get("/readyz").json()["ready"] is True
    with unit_of_work(app.state.records, EVERYWHERE) as work:
        work.connection().exec_driver_sql("DELETE FROM alembic_version")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["records"] == "the tables are not those of this version"


# The node register over HTTP

EDGE = {
    "name": "edge-1",
    "kind": "edge",
    "cluster": True,
    "colour": "#1f5fbf",
    "agents": ["101"],
    "addresses": ["192.0.2.1", "[2001:db8::1]:5060"],
}


def test_the_nodes_that_were_put_are_the_nodes_that_are_read(client: TestClient, token: dict[str, str]) -> None:
    core = {"name": "core-1", "agents": ["102"]}
    put = client.put("/api/v1/nodes", headers=token, json={"nodes": [EDGE, core]})
    assert put.status_code == 200
    read = client.get("/api/v1/nodes", headers=token, params={"sort": "name"}).json()["nodes"]
    told = put.json()["nodes"]
    assert [{name: node[name] for name in told[0]} for node in read] == told
    assert [node["name"] for node in told] == ["core-1", "edge-1"]
    assert told[1] == EDGE


@pytest.mark.parametrize(
    ("node", "field"),
    [
        ({"name": "x", "agents": ["edge"]}, "nodes[0].agents"),
        ({"name": "x", "kind": "router", "agents": ["1"]}, "nodes[0].kind"),
        ({"name": "x"}, "nodes[0].addresses"),
        ({"kind": "edge"}, "nodes[0].name"),
        ({"name": "x", "agents": ["1"], "color": "#112233"}, "nodes[0].color"),
    ],
)
def test_a_wrong_node_is_told_by_field(
    client: TestClient, token: dict[str, str], node: dict[str, Any], field: str
) -> None:
    answer = client.put("/api/v1/nodes", headers=token, json={"nodes": [node]})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["field"] == field


def test_what_is_no_json_is_told(client: TestClient, token: dict[str, str]) -> None:
    headers = token | {"Content-Type": "application/json"}
    answer = client.put("/api/v1/nodes", headers=headers, content=b'{"nodes": [')
    assert answer.status_code == 422
    assert "JSON" in answer.json()["detail"]


def test_a_share_link_needs_a_session_there_is(client: TestClient, token: dict[str, str]) -> None:
    answer = client.post("/api/v1/shares", headers=token, json={"session": "nosuch"})
    assert answer.status_code == 404
    assert client.get("/api/v1/shares", headers=token).json() == {"shares": []}
    assert client.delete("/api/v1/shares/7", headers=token).status_code == 404
