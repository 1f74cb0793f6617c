"""The whole on each pair of stores: a call comes in, is found, explained, joined by a log line, shared; and a clean end."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from opensearch_server import own_prefix
from ringback import clock
from ringback.sessions.capture.hep import encode
from ringback.sessions.story import Sighting
from running import Server, command, serving, until
from scenario import play

SOON_S = 15.0  # 5 where the machine has nothing else to do

CALL = """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060     agent=101
    bob   = 203.0.113.9:5060    ua=Snom

    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp
    +.001  edge -> alice  100
    +.001  edge -> bob    INVITE sip:18660333777@203.0.113.9
    +.040  bob -> edge    486 Busy Here
    +.001  edge -> bob    ACK
    +.001  edge -> alice  486
    +.010  alice -> edge  ACK
"""


@pytest.fixture(params=["sqlite events", "opensearch events"])
def events_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite events":
        yield f"sqlite:{tmp_path / 'events'}"
        return
    engine: str = request.getfixturevalue("shared_node")
    with own_prefix(engine) as prefix:
        yield f"{engine}/?prefix={prefix}"
        httpx2.delete(f"{engine}/_index_template/{prefix}-*", timeout=60).raise_for_status()


def send(server: Server, transport: str, sightings: list[Sighting]) -> None:
    host, _, port = server.hep[transport].rpartition(":")
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as sender:
        sender.connect((host, int(port)))
        for each in sightings:
            sender.sendall(encode(each.time_us, each.hop, each.payload))


def test_a_call_is_found_explained_and_shared_whichever_stores_keep_it(
    blank_url: str, events_url: str, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    environ = {
        "RINGBACK_DATABASE_URL": blank_url,
        "RINGBACK_EVENTS_URL": events_url,
        "RINGBACK_ADMIN": "127.0.0.1:0",
        "RINGBACK_HOST": "here",
    }
    with serving(data, wait_for="HEP: tcp", environ=environ) as server:
        made = command("token", "create", "test", "--data", str(data), environ=environ)
        assert made.returncode == 0, made.stderr
        signed = {"Authorization": f"Bearer {made.stdout.strip()}"}

        def get(path: str) -> Any:
            answer = server.get(path, headers=signed)
            assert answer.status_code == 200, answer.text
            return answer.json()

        for url in (server.web, server.admin):
            until(lambda url=url: httpx2.get(f"{url}/readyz", timeout=60).status_code == 200)
            ready = httpx2.get(f"{url}/readyz", timeout=60).json()
            assert ready["ready"] is True
            assert {ready["checks"][store] for store in ("records", "events")} == {"ok"}
        until(
            lambda: (
                {(each["role"], each["state"]) for each in get("/api/v1/status")["roles"]}
                == {(role, "running") for role in ("web", "collect", "work", "engine")}
            )
        )

        sightings = play(CALL, start_us=time.time_ns() // 1000 - 1_000_000).sightings
        send(server, "udp", sightings[:5])
        send(server, "tcp", sightings[5:])
        found: list[dict[str, Any]] = []

        def is_found() -> bool:
            found[:] = get("/api/v1/sessions?number=3777&from=-1h")["sessions"]
            return [row["messages"] for row in found] == [len(sightings)]

        until(is_found, SOON_S)
        assert (found[0]["caller"], found[0]["called"], found[0]["final_code"]) == ("12103355787", "18660333777", 486)
        path = f"/api/v1/sessions/{found[0]['id']}"
        story = get(path)
        assert story["issues"][0]["id"] == "callee-busy"
        assert [entry["text"].split(" ")[0] for entry in story["timeline"]] == [
            "INVITE", "100", "INVITE", "486", "ACK", "486", "ACK",
        ]  # fmt: skip

        line = {
            "time": clock.isoformat(sightings[3].time_us + 1), "node": "edge", "level": "warning",
            "text": "no second route", "call_id": "a-call@acme.example",
        }  # fmt: skip
        taken = httpx2.post(f"{server.web}/ingest/v1/logs", content=json.dumps(line), headers=signed, timeout=60)
        assert (taken.status_code, taken.json()["accepted"]) == (200, 1)
        until(lambda: "no second route" in [entry["text"] for entry in get(path)["timeline"]], SOON_S)
        kinds = [entry["kind"] for entry in get(path)["timeline"]]
        assert kinds == ["sip"] * 4 + ["log"] + ["sip"] * 3

        wanted = {"session": story["id"], "personal": True}
        shared = httpx2.post(f"{server.web}/api/v1/shares", json=wanted, headers=signed, timeout=60)
        assert shared.status_code == 201, shared.text
        page = httpx2.get(shared.json()["url"], timeout=60)
        assert page.status_code == 200
        assert "12103355787" in page.text
        assert "no second route" in page.text
        assert server.get(f"/sessions/{story['id']}").status_code == 303, "without the link it takes a login"
        (link,) = get("/api/v1/shares")["shares"]
        assert link["views"] == 1

        roles = server.children()
        assert {name.partition(" ")[0] for name in roles} == {"web", "collect", "work", "engine"}
        assert server.stop() == 0
        assert not any(psutil.pid_exists(process.pid) for process in roles.values())
    logged = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    assert not [line for line in logged if line["level"] == "error"]
