"""Each call of the sessions' API asks for its permission, and for no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine
from starlette.testclient import TestClient

from actors import by_tester
from databases import SQLITE
from ringback import clock
from ringback.access.permissions import Permission
from ringback.access.tokens import create_token
from ringback.app import create_app
from ringback.settings import load_settings

pytestmark = pytest.mark.parametrize("database", [SQLITE])
CALLS = [
    ("GET", "/api/v1/sessions", Permission.SESSIONS_READ),
    ("GET", "/api/v1/sessions/x", Permission.SESSIONS_READ),
    ("GET", "/api/v1/sessions/x/export", Permission.SESSIONS_EXPORT),
    ("POST", "/api/v1/shares", Permission.SESSIONS_SHARE),
    ("GET", "/api/v1/shares", Permission.SESSIONS_SHARE),
    ("DELETE", "/api/v1/shares/1", Permission.SESSIONS_SHARE),
    ("POST", "/api/v1/captures", Permission.CAPTURES_WRITE),
    ("POST", "/ingest/v1/logs", Permission.LOGS_WRITE),
    ("GET", "/api/v1/status", Permission.CAPTURE_READ),
    ("GET", "/api/v1/nodes", Permission.NETWORK_READ),
    ("PUT", "/api/v1/nodes", Permission.NETWORK_WRITE),
    ("GET", "/api/v1/users", Permission.USERS_READ),
    ("GET", "/sessions", Permission.SESSIONS_READ),
    ("GET", "/sessions/x", Permission.SESSIONS_READ),
    ("GET", "/sessions/x/export", Permission.SESSIONS_EXPORT),
    ("GET", "/sessions/x/shares", Permission.SESSIONS_SHARE),
    ("GET", "/upload", Permission.CAPTURES_WRITE),
    ("GET", "/capture", Permission.CAPTURE_READ),
    ("GET", "/people", Permission.USERS_READ),
]


@pytest.fixture
def client(tmp_path: Path, records_url: str) -> Iterator[TestClient]:
    app = create_app(load_settings({"RINGBACK_DATABASE_URL": records_url}, data=tmp_path / "data"))
    with TestClient(app, follow_redirects=False, raise_server_exceptions=False) as client:
        yield client


def holding(client: TestClient, *scopes: Permission) -> dict[str, str]:
    app = client.app
    assert isinstance(app, FastAPI)
    records: Engine = app.state.records
    with by_tester(records) as work:
        token = create_token(work, "t" + clock.random_token(12), scopes=tuple(scopes))
    return {"Authorization": f"Bearer {token}"}


def test_a_call_asks_for_its_permission(client: TestClient) -> None:
    for permission in sorted({each for _, _, each in CALLS}):
        others = holding(client, *[each for each in Permission if each is not permission])
        for method, path, asked in CALLS:
            if asked is permission:
                refused = client.request(method, path, headers=others)
                assert refused.status_code == 403, (method, path)
                assert permission.value in refused.text, (method, path)


def test_and_for_no_other(client: TestClient) -> None:
    for permission in sorted({each for _, _, each in CALLS}):
        enough = {permission, Permission.SESSIONS_READ} if permission.startswith("sessions.") else {permission}
        headers = holding(client, *sorted(enough))
        for method, path, asked in CALLS:
            if asked is permission:
                assert client.request(method, path, headers=headers).status_code not in (401, 403, 500), (
                    method,
                    path,
                )
