"""`ringback serve` as processes: what it prints, whom it refuses, how it stops, what it starts again."""

from __future__ import annotations

import json
import signal
import socket
import struct
import time
from pathlib import Path

import httpx2
import psutil
import pytest

from running import Server, command, serving, until

WEB = ("--role", "web")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def sign_in(server: Server, password: str) -> int:
    form = {"name": "admin", "password": password}
    return httpx2.post(f"{server.web}/login", data=form, timeout=30).status_code


def test_the_first_start_prints_addresses_and_a_password_the_next_one_no_password(data: Path) -> None:
    with serving(data, *WEB) as server:
        assert server.get("/readyz").json() == {
            "ready": True,
            "checks": {"records": "ok", "events": "ok"},
            "spool": {"behind_s": 0.0, "packets": 0, "bytes": 0},
        }
        published = json.loads((data / "run" / "serve.json").read_text())
        assert published["web"] == server.web
        assert published["process"] == server.process.pid
        first = server.password
        assert first is not None
        assert sign_in(server, "not this one") == 401
        assert sign_in(server, first) == 303
        assert first not in server.log.read_text()
        form = {"name": "admin", "password": first}
        proxied = httpx2.post(f"{server.web}/login", data=form, headers={"X-Forwarded-Proto": "https"}, timeout=30)
        assert "secure" in proxied.headers["set-cookie"].lower(), "a proxy on this machine is believed"
        stops_cleanly(server, signal.SIGINT)
    assert not (data / "run" / "serve.json").exists()
    with serving(data, *WEB, environ={"RINGBACK_DRAIN_SECONDS": "1"}) as server:
        assert server.password is None
        assert sign_in(server, first) == 303
        stops_cleanly(server, signal.SIGTERM)


def stops_cleanly(server: Server, number: int) -> None:
    children = list(server.children().values())
    assert server.stop(number) == 0
    assert children
    assert not any(child.is_running() for child in children)
    assert not server.logged("a role died")
    assert not server.logged("a role stopped badly")


def test_an_answer_under_way_is_finished(data: Path) -> None:
    with serving(data, *WEB) as server:
        server.get("/healthz")
        host, port = server.web.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as client:
            body = b"name=x&password=y"
            client.sendall(
                b"POST /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n" % len(body)
            )
            until(lambda: len(psutil.Process(server.children()["web"].pid).net_connections("tcp")) > 1)
            server.process.send_signal(signal.SIGTERM)
            client.sendall(body)
            assert client.recv(100).startswith(b"HTTP/1.1 401")
        assert server.process.wait(30) == 0


def test_a_second_server_on_the_same_folder_is_refused_and_a_role_that_dies_is_started_again(data: Path) -> None:
    with serving(data, *WEB) as server:
        second = command("serve", "--data", str(data), "--web", "127.0.0.1:0", "--role", "web")
        assert second.returncode == 1
        assert f"another Ringback (web, process {server.process.pid}) already serves" in second.stderr
        assert "--data" in second.stderr
        server.get("/healthz")
        first = server.children()["web"]
        first.kill()
        first.wait(30)
        assert server.get("/healthz").text == "ok", "the socket outlives the role; the next one answers"
        assert server.children()["web"].pid != first.pid
        (died,) = server.logged("a role died")
        assert (died["name"], died["how"], died["level"]) == ("web", "SIGKILL", "error")
        assert server.stop() == 0


def test_the_roles_stop_when_the_supervisor_is_killed(data: Path) -> None:
    with serving(data, *WEB) as server:
        server.get("/healthz")
        child = server.children()["web"]
        server.process.kill()
        server.process.wait()
        until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    with serving(data, *WEB) as server:
        assert server.get("/healthz").text == "ok"


def test_a_taken_port_is_told(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = command("serve", "--data", str(data), "--web", address, *WEB)
    assert refused.returncode == 1
    assert f"cannot listen on TCP {address}" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "Password" not in refused.stdout, "a server that does not start makes no user"


@pytest.mark.parametrize(
    ("options", "environ", "code", "said"),
    [
        (["--web", "8080"], {}, 2, "RINGBACK_WEB"),
        (["--role", "everything"], {}, 2, "--role"),
        ([], {"RINGBACK_SHARE_DAYS": "99"}, 2, "RINGBACK_SHARE_DAYS"),
        ([], {"RINGBACK_EVENTS_URL": "mongodb://x"}, 1, "RINGBACK_EVENTS_URL"),
        ([], {"RINGBACK_DATABASE_URL": "nosuch://x"}, 1, "RINGBACK_DATABASE_URL"),
        (["--hep-tls", "127.0.0.1:0", "--tls-cert", "/nosuch", "--tls-key", "/nosuch"], {}, 1, "/nosuch"),
        ([], {"RINGBACK_ISSUES": "/nosuch"}, 1, "issues"),
    ],
)
def test_what_cannot_work_is_told_in_one_line(
    data: Path, options: list[str], environ: dict[str, str], code: int, said: str
) -> None:
    listen = ["--web", "127.0.0.1:0", "--hep", "127.0.0.1:0", "--engine", "127.0.0.1:0"]
    arguments = ["serve", "--data", str(data), *listen, *options]
    refused = command(*arguments, environ=environ)
    assert refused.returncode == code
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "Password" not in refused.stdout


def test_a_data_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = command("serve", "--data", str(tmp_path / "file" / "data"), *WEB, "--web", "127.0.0.1:0")
    assert refused.returncode == 1
    assert "cannot be used" in refused.stderr


# Both roles


def hep(call_id: str) -> bytes:
    """An INVITE as a Kamailio reports it: HEP 3, agent 101, now."""
    sip = (
        "INVITE sip:18660333777@acme.example SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.23:5060;branch=z9hG4bK-1\r\n"
        "From: <sip:12103355787@acme.example>;tag=a\r\nTo: <sip:18660333777@acme.example>\r\n"
        f"Call-ID: {call_id}\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    ).encode()
    now = time.time_ns() // 1000
    values = [
        (1, b"\x02"), (2, b"\x11"), (3, bytes([198, 51, 100, 23])), (4, bytes([192, 0, 2, 10])),
        (7, struct.pack(">H", 5060)), (8, struct.pack(">H", 5060)), (9, struct.pack(">I", now // 1_000_000)),
        (10, struct.pack(">I", now % 1_000_000)), (11, b"\x01"), (12, struct.pack(">I", 101)), (15, sip),
    ]  # fmt: skip
    chunks = b"".join(struct.pack(">HHH", 0, kind, len(value) + 6) + value for kind, value in values)
    return b"HEP3" + struct.pack(">H", len(chunks) + 6) + chunks


def send(server: Server, transport: str, call_id: str) -> None:
    host, _, port = server.hep[transport].rpartition(":")
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as sender:
        sender.connect((host, int(port)))
        sender.sendall(hep(call_id))


def stored(server: Server, token: str) -> set[str]:
    """Call-IDs that a search finds."""
    headers = {"Authorization": f"Bearer {token}"}
    page = server.get("/api/v1/sessions?number=3777&from=-1h", headers=headers).json()
    return {call_id for row in page["sessions"] for call_id in row["call_ids"]}


def test_what_is_sent_is_found_also_what_came_while_the_collector_was_dead(data: Path) -> None:
    with serving(data, wait_for="HEP: tcp") as server:
        assert server.hep["udp"] == server.hep["tcp"], "one number for both"
        token = command("token", "create", "test", "--data", str(data)).stdout.strip()
        send(server, "udp", "over-udp")
        send(server, "tcp", "over-tcp")
        until(lambda: stored(server, token) == {"over-udp", "over-tcp"})
        until(lambda: "ringback_hep_messages_stored_total 2.0" in server.get("/metrics").text)
        assert "ringback_collector_up 1.0" in server.get("/metrics").text
        first = server.children()["collect"]
        first.kill()
        send(server, "udp", "while-dead")
        until(lambda: server.children().get("collect", first) != first)
        until(lambda: stored(server, token) == {"over-udp", "over-tcp", "while-dead"})
        assert server.stop() == 0
        assert not server.logged("a role stopped badly")
