"""The roles on four hosts that share the two stores and nothing else: docs/deploy.md, with other ports.

Each host has a name, a data folder and, where docs/deploy.md gives one, a port of its own.
"""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from databases import Postgres
from opensearch_server import own_prefix
from ringback import clock
from ringback.sessions.capture.hep import encode
from ringback.sessions.capture.pcap_writer import write_pcap
from ringback.sessions.story import Sighting
from ringback.sessions.uploads.api import PATH as UPLOAD
from running import Server, command, serving, until
from scenario import play

pytestmark = pytest.mark.timeout(400)  # the first test also starts four servers, and perhaps a search engine

CALL = """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060     agent=101
    core  = 192.0.2.20:5060     agent=102
    bob   = 203.0.113.9:5060    ua=Snom

    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp
    +.001  edge -> alice  100
    +.001  edge -> core   INVITE sip:18660333777@192.0.2.20
    +.001  core -> edge   100
    +.001  core -> bob    INVITE sip:18660333777@203.0.113.9
    +.080  bob -> core    180 Ringing
    +.001  core -> edge   180
    +.001  edge -> alice  180
    1.000  bob -> core    200 OK  sdp
    +.001  core -> edge   200
    +.001  edge -> alice  200
    +.020  alice -> edge  ACK
    +.001  edge -> core   ACK
    +.001  core -> bob    ACK
    2.000  bob -> core    BYE
    +.001  core -> edge   BYE
    +.001  edge -> alice  BYE
    +.002  alice -> edge  200
    +.001  edge -> core   200
    +.001  core -> bob    200
"""


@dataclass
class Installation:
    """What the hosts have in common."""

    folder: Path
    environ: dict[str, str]

    def host(self, name: str, *roles: str, **settings: str) -> Any:
        """A server of that host; runs while the block does."""
        options = [word for role in roles for word in ("--role", role)]
        last = "HEP: tcp" if "collect" in roles else "Admin: " if "web" not in roles else "Web: "
        environ = self.environ | {"RINGBACK_HOST": name, "RINGBACK_ADMIN": "127.0.0.1:0"} | settings
        return serving(self.folder / name, *options, wait_for=last, environ=environ)

    def command(self, *arguments: str) -> str:
        """As typed on any host."""
        done = command(*arguments, "--data", str(self.folder / "console"), environ=self.environ)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@dataclass
class Hosts:
    """Two web hosts, the second with the work role too, and two collectors."""

    installation: Installation
    web: tuple[Server, Server]
    collect: tuple[Server, Server]
    token: str
    password: str

    def get(self, web: Server, path: str) -> httpx2.Response:
        answer = web.get(path, headers={"Authorization": f"Bearer {self.token}"})
        assert answer.status_code == 200, answer.text
        return answer

    def sessions(self, web: Server) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(web, "/api/v1/sessions?number=18660333777&from=-1h").json()["sessions"]
        return found

    def roles(self, web: Server) -> dict[tuple[str, str], str]:
        """(host, role) -> state."""
        roles = self.get(web, "/api/v1/status").json()["roles"]
        return {(each["host"], each["role"]): each["state"] for each in roles}


@pytest.fixture(scope="module", params=["one folder", "OpenSearch and PostgreSQL"])
def installation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("hosts")
    with ExitStack() as stores:
        if request.param == "one folder":
            (folder / "stores").mkdir()
            events = f"sqlite:{folder / 'stores' / 'events'}"
            records = f"sqlite:///{folder / 'stores' / 'records.sqlite'}"
        else:
            engine: str = request.getfixturevalue("shared_node")
            prefix = stores.enter_context(own_prefix(engine))
            stores.callback(httpx2.delete, f"{engine}/_index_template/{prefix}-*", timeout=60)
            events = f"{engine}/?prefix={prefix}"
            postgres: Postgres = request.getfixturevalue("postgres")
            records = postgres.create()
            stores.callback(postgres.drop, records)
        yield Installation(folder, {"RINGBACK_EVENTS_URL": events, "RINGBACK_DATABASE_URL": records})


@pytest.fixture(scope="module")
def hosts(installation: Installation) -> Iterator[Hosts]:
    with ExitStack() as running:

        def start(name: str, *roles: str) -> Server:
            server: Server = running.enter_context(installation.host(name, *roles))
            return server

        collect = start("collect1", "collect"), start("collect2", "collect")
        web = start("web1", "web"), start("web2", "web", "work")
        passwords = [server.password for server in web if server.password]
        assert len(passwords) == 1, "the first that starts makes the first user"
        token = installation.command("token", "create", "test")
        for server in web:
            until(lambda server=server: server.get("/readyz").status_code == 200)
        for server in collect:
            until(lambda server=server: httpx2.get(f"{server.admin}/readyz").status_code == 200)
        yield Hosts(installation, web, collect, token, passwords[0])


def send(server: Server, sightings: list[Sighting], transport: str = "tcp") -> None:
    host, _, port = server.hep[transport].rpartition(":")
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as sender:
        sender.connect((host, int(port)))
        for each in sightings:
            sender.sendall(encode(each.time_us, each.hop, each.payload))


def halves() -> tuple[list[Sighting], list[Sighting]]:
    """A call of just now as the edge's probe saw it, and as the core's did."""
    played = play(CALL, start_us=(time.time_ns() // 1000) - 5_000_000).sightings
    return tuple([each for each in played if each.hop.agent == agent] for agent in ("101", "102"))  # type: ignore[return-value]


def test_a_call_seen_half_by_each_collector_is_one_session_on_every_web_host(hosts: Hosts) -> None:
    edge, core = halves()
    send(hosts.collect[0], edge)
    send(hosts.collect[1], core, "udp")
    for web in hosts.web:
        until(lambda web=web: [row["messages"] for row in hosts.sessions(web)] == [len(edge + core)])
        (row,) = hosts.sessions(web)
        story = hosts.get(web, f"/api/v1/sessions/{row['id']}").json()
        assert (story["call_ids"], len(story["legs"]), story["arrows"]) == (["a-call@acme.example"], 1, 20)
        shown = [entry for entry in story["timeline"] if entry["kind"] == "sip"]
        assert sum(sorted(entry["seen_by"]) == ["101", "102"] for entry in shown) == 7, (
            "both saw the hop between them"
        )
        invites = [entry["source"] for entry in shown if entry["text"].startswith("INVITE")]
        assert invites == ["198.51.100.23:5060", "192.0.2.10:5060", "192.0.2.20:5060"]
        assert [entry["text"] for entry in shown] == [
            entry["text"] for entry in sorted(shown, key=lambda e: e["number"])
        ]
        byes = [entry["source"] for entry in shown if entry["text"].startswith("BYE")]
        assert byes == ["203.0.113.9:5060", "192.0.2.20:5060", "192.0.2.10:5060"]


def test_a_login_on_one_web_host_is_one_on_the_other_and_so_is_its_end(hosts: Hosts) -> None:
    first, second = (server.web for server in hosts.web)
    with httpx2.Client(timeout=60) as browser:
        form = {"name": "admin", "password": hosts.password}
        assert browser.post(f"{first}/login", data=form).status_code == 303
        page = browser.get(f"{second}/capture")
        assert page.status_code == 200
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        assert token
        assert browser.post(f"{second}/logout", data={"csrf_token": token[1]}).status_code == 303
        assert browser.get(f"{first}/capture").status_code == 303, "the end of the login counts there too"


def test_a_capture_uploaded_to_one_web_host_is_found_on_the_other(hosts: Hosts) -> None:
    first, second = hosts.web
    capture = io.BytesIO()
    write_pcap(capture, play(CALL.replace("18660333777", "18665550100")).sightings)
    headers = {"Authorization": f"Bearer {hosts.token}"}
    taken = httpx2.post(f"{first.web}{UPLOAD}", content=capture.getvalue(), headers=headers, timeout=60)
    assert taken.status_code == 200, taken.text
    asked = "/api/v1/sessions?number=18665550100&from=2026-11-22T11:00:00Z&to=2026-11-22T13:00:00Z"
    until(lambda: [row["outcome"] for row in hosts.get(second, asked).json()["sessions"]] == ["answered"])
    assert not list((hosts.installation.folder / "web1" / "run" / "uploads").iterdir())


def test_log_lines_are_taken_by_any_web_host_and_read_on_the_other(hosts: Hosts) -> None:
    first, second = hosts.web
    edge, core = halves()
    lines = [
        {"time": clock.isoformat(edge[0].time_us + 1), "text": text, "call_id": "a-call@acme.example", "node": "edge"}
        for text in ("first words", "second words")
    ]
    send(hosts.collect[0], edge + core)
    for web, line in zip(hosts.web, lines, strict=True):
        taken = httpx2.post(
            f"{web.web}/ingest/v1/logs", content=json.dumps(line), headers={"Authorization": f"Bearer {hosts.token}"}
        )
        assert (taken.status_code, taken.json()["accepted"]) == (200, 1)
    for web in (first, second):
        until(lambda web=web: said(hosts, web) >= {"first words", "second words"})


def said(hosts: Hosts, web: Server) -> set[str]:
    """Log lines in the newest session's story."""
    newest = hosts.sessions(web)[:1]
    story = hosts.get(web, f"/api/v1/sessions/{newest[0]['id']}").json() if newest else {"timeline": []}
    return {entry["text"] for entry in story["timeline"] if entry["kind"] == "log"}


def test_each_role_answers_for_itself_and_the_pages_for_all(hosts: Hosts) -> None:
    for server in hosts.collect:
        assert httpx2.get(f"{server.admin}/healthz").text == "ok"
        figures = httpx2.get(f"{server.admin}/metrics").text
        assert 'ringback_role_up{role="collect"} 1.0' in figures
        assert "ringback_collector_up 1.0" in figures
        assert httpx2.get(f"{server.admin}/capture").status_code == 404, "pages are elsewhere"
    expected = {("web1", "web"), ("web2", "web"), ("web2", "work"), ("collect1", "collect"), ("collect2", "collect")}
    for web in hosts.web:
        until(lambda web=web: {key for key, state in hosts.roles(web).items() if state == "running"} >= expected)


def test_a_collector_that_is_killed_is_told_with_its_host_and_one_that_is_stopped_as_that(hosts: Hosts) -> None:
    web = hosts.web[0]
    with hosts.installation.host("collect4", "collect") as fourth:
        until(lambda: hosts.roles(web).get(("collect4", "collect")) == "running")
        fourth.process.kill()
        fourth.process.wait()
    with hosts.installation.host("collect3", "collect") as third:  # while the other is not silent yet
        until(lambda: hosts.roles(web).get(("collect3", "collect")) == "running")
        assert third.stop() == 0
    assert hosts.roles(web)["collect3", "collect"] == "stopped"
    until(lambda: hosts.roles(web)["collect4", "collect"] == "silent")
    with httpx2.Client(timeout=60) as browser:
        browser.post(f"{web.web}/login", data={"name": "admin", "password": hosts.password})
        page = browser.get(f"{web.web}/capture").text
    assert "The collector on collect4 has been silent since" in page
    assert "The collector on collect3 was stopped" in page
    assert "collector on collect1" not in page


def test_a_stopping_web_host_says_that_it_is_not_ready_and_still_answers(hosts: Hosts) -> None:
    with hosts.installation.host("web3", "web", RINGBACK_DRAIN_SECONDS="60") as web:
        until(lambda: web.get("/readyz").status_code == 200)
        web.process.send_signal(signal.SIGTERM)
        until(lambda: web.get("/readyz").status_code == 503)
        assert "stopping" in web.get("/readyz").json()["checks"]["server"]
        assert hosts.sessions(web) == hosts.sessions(hosts.web[0])
        assert web.process.poll() is None
        web.children()["web"].terminate()  # the second signal: not for all of the minute
        assert web.process.wait(30) == 0
