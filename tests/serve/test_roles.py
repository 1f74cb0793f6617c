"""Roles by themselves: what each starts, where it answers, and starting while the stores are away."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from databases import Postgres
from ringback.hosts.service import role_states
from ringback.records.engine import open_engine
from ringback.sessions.capture.hep import encode
from ringback.sessions.story import Hop
from running import Server, command, serving, until

HOP = Hop("udp", "198.51.100.23", 5060, "192.0.2.10", 5060, "101")
OPTIONS = (
    b"OPTIONS sip:18660333777@acme.example SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.23;branch=z9hG4bK1\r\n"
    b"From: <sip:12103355787@acme.example>;tag=1\r\nTo: <sip:18660333777@acme.example>\r\nCall-ID: alone@h\r\n"
    b"CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)
NOWHERE = {
    "RINGBACK_EVENTS_URL": "http://127.0.0.1:9/",
    "RINGBACK_DATABASE_URL": "postgresql://ringback@127.0.0.1:9/ringback",
}


def send(server: Server) -> None:
    host, _, port = server.hep["udp"].rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(encode(time.time_ns() // 1000, HOP, OPTIONS), (host, int(port)))


def ready(server: Server) -> tuple[int, dict[str, str]]:
    answer = httpx2.get(f"{server.admin}/readyz", timeout=30)
    return answer.status_code, answer.json()["checks"]


def test_a_collector_starts_while_the_stores_are_away_and_keeps_what_comes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    options = ("--role", "collect", "--admin", "127.0.0.1:0")
    with serving(data, *options, wait_for="HEP: tcp", environ=NOWHERE) as server:
        assert server.password is None
        assert not (data / "records.sqlite").exists()
        until(lambda: ready(server)[1].get("collect") == "ok")
        send(server)
        until(lambda: "packets wait in the spool" in ready(server)[1]["store"])
        assert ready(server)[0] == 200, "what comes is kept"
        assert httpx2.get(f"{server.admin}/healthz").text == "ok"
        until(lambda: len(server.logged("other hosts do not see what runs here")) == 1)
        assert server.stop() == 0
    with serving(data, wait_for="HEP: tcp", environ={"RINGBACK_HOST": "a"}) as server:
        token = command("token", "create", "test", "--data", str(data)).stdout.strip()
        headers = {"Authorization": f"Bearer {token}"}
        found = "/api/v1/sessions?number=3777&from=-1h"
        until(lambda: bool(server.get(found, headers=headers).json()["sessions"]))


@pytest.mark.parametrize("role", ["web", "work", "engine"])
def test_the_other_roles_do_not_start_without_records(tmp_path: Path, role: str) -> None:
    refused = command(
        "serve",
        "--data",
        str(tmp_path),
        "--role",
        role,
        "--web",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--engine",
        "127.0.0.1:0",
        environ=NOWHERE,
    )
    assert refused.returncode == 1
    assert "the records at postgresql" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_roles_are_named_one_by_one(tmp_path: Path) -> None:
    options = ("--role", "web", "--role", "work", "--role", "web")
    with serving(tmp_path / "data", *options, environ={"RINGBACK_HOST": "here"}) as server:
        until(lambda: server.get("/readyz").status_code == 200)
        until(lambda: set(server.children()) == {"web", "work"})
        assert not [line for line in server.lines if line.startswith(("Admin: ", "HEP: "))]
        published = json.loads((tmp_path / "data" / "run" / "serve.json").read_text())
        assert (published["roles"], published["admin"]) == (["web", "work"], None)
        engine = open_engine(f"sqlite:///{tmp_path / 'data' / 'records.sqlite'}")
        until(lambda: [(each.host, each.role) for each in role_states(engine)] == [("here", "web"), ("here", "work")])
        assert server.stop() == 0
        assert all(each.stopped for each in role_states(engine))
        engine.dispose()


def test_an_admin_address_that_is_taken_is_told_and_the_usual_one_is_done_without(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = command("serve", "--data", str(tmp_path / "a"), "--role", "work", "--admin", address)
    assert refused.returncode == 1
    assert f"cannot listen on TCP {address}" in refused.stderr
    with ExitStack() as held:
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", 9091))
            except OSError:
                pass  # somebody has it: so much the better
            else:
                tried.listen()
                held.enter_context(tried.dup())
        server = held.enter_context(serving(tmp_path / "b", "--role", "collect", wait_for="HEP: udp"))
        assert not [line for line in server.lines if line.startswith("Admin: ")]
        assert server.logged("no /healthz, /readyz and /metrics: set RINGBACK_ADMIN to a free address")


def test_web_hosts_that_start_at_once_make_one_first_user(tmp_path: Path, postgres: Postgres) -> None:
    records = postgres.create()
    environ = {"RINGBACK_DATABASE_URL": records}

    def start(name: str) -> str | None:
        with serving(tmp_path / name, "--role", "web", environ=environ | {"RINGBACK_HOST": name}) as server:
            until(lambda: server.get("/readyz").status_code == 200)
            return server.password

    try:
        with ThreadPoolExecutor(2) as pool:
            passwords = list(pool.map(start, ["one", "two"]))
    finally:
        postgres.drop(records)
    assert sum(password is not None for password in passwords) == 1
