"""Two web hosts that share one PostgreSQL and nothing else, started at the same moment on an empty database."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx2
import pytest

from databases import at_once, only_postgresql
from ringback.sessions.nodes.service import MAX_AGE_SECONDS
from running import Server, command, serving, until

pytestmark = only_postgresql


@pytest.fixture
def hosts(blank_url: str, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    environ = {"RINGBACK_DATABASE_URL": blank_url}
    servers = [
        serving(tmp_path / name, "--role", "web", environ=environ | {"RINGBACK_HOST": name})
        for name in ("first", "second")
    ]
    with ExitStack() as running, ThreadPoolExecutor(2) as starting:
        first, second = starting.map(running.enter_context, servers)
        yield first, second


def sign_in(server: Server, password: str) -> httpx2.Response:
    return httpx2.post(f"{server.web}/login", data={"name": "admin", "password": password}, timeout=60)


def test_two_hosts_are_one_installation(hosts: tuple[Server, Server], blank_url: str, tmp_path: Path) -> None:
    first, second = hosts
    (password,) = [each.password for each in hosts if each.password]
    for server in hosts:
        assert server.get("/readyz").json()["checks"]["records"] == "ok"

    cookies = dict(sign_in(first, password).cookies)
    assert second.get("/nodes", cookies=cookies).status_code == 200, "a login holds on every host"

    at = {"RINGBACK_DATABASE_URL": blank_url}
    token = command("token", "create", "crm", "--data", str(tmp_path / "third"), environ=at).stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    nodes = {"nodes": [{"name": "edge-1", "agents": ["101"]}]}
    assert httpx2.put(f"{first.web}/api/v1/nodes", json=nodes, headers=headers, timeout=60).status_code == 200
    assert second.get("/api/v1/nodes", headers=headers).json()["nodes"][0]["name"] == "edge-1"
    until(lambda: "edge-1" in second.get("/nodes", cookies=cookies).text, MAX_AGE_SECONDS + 20)

    tries = at_once(*[partial(sign_in, server, "not this one") for server in hosts for _ in range(4)])
    statuses = sorted(each.status_code for each in tries)
    assert statuses == [401] * 5 + [429] * 3, "guesses are counted on all hosts together"
    command("user", "reset-password", "admin", "--data", str(tmp_path / "third"), environ=at)
    for server in hosts:
        assert server.get("/nodes", cookies=cookies).status_code == 303, "a reset ends every login everywhere"

    assert command("token", "revoke", "crm", "--data", str(tmp_path / "third"), environ=at).returncode == 0
    for server in hosts:
        assert server.get("/api/v1/nodes", headers=headers).status_code == 401
        assert not server.logged("a role died")
        assert not server.logged("request failed")
