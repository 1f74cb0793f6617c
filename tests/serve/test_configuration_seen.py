"""An applied value is obeyed by the process of every role of a real server within 5 seconds, without a restart."""

from __future__ import annotations

import socket
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from ringback.sessions.capture.hep import encode
from ringback.sessions.ingest.status import CollectorStatus, read_collector_status
from ringback.sessions.story import Hop
from running import COMMAND, PATIENCE, Server, clean_environ, command, serving, until

SEEN = 5.0  # seconds
HERE = Hop("udp", "198.51.100.23", 5060, "192.0.2.10", 5060, "101")


def send(server: Server, call: str, key: bytes) -> None:
    request = (
        f"OPTIONS sip:1@acme.example SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.23;branch=z9hG4bK1\r\n"
        f"From: <sip:2@acme.example>;tag=1\r\nTo: <sip:1@acme.example>\r\nCall-ID: {call}\r\n"
        "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    ).encode()
    host, _, port = server.hep["udp"].rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(encode(time.time_ns() // 1000, HERE, request, auth_key=key), (host, int(port)))


def counted(server: Server, stored: int, bad: int) -> bool:
    status = read_collector_status(server.data) or CollectorStatus()
    return (status.stored, status.lost.get("bad key", 0)) == (stored, bad)


def test_every_role_obeys_within_seconds(tmp_path: Path) -> None:
    data = tmp_path / "data"

    def config(*arguments: str, given: str = "") -> None:
        done = subprocess.run(
            [*COMMAND, "config", *arguments, "--data", str(data)],
            input=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=clean_environ(),
        )
        assert done.returncode == 0, done.stderr

    with serving(data, wait_for="HEP: tcp") as server:
        token = command("token", "create", "test", "--data", str(data)).stdout.strip()

        def ask(path: str) -> Any:
            answer = server.get(f"/api/v1/{path}", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 200, answer.text
            return answer.json()

        def obeying(last: int) -> list[str]:
            told = ask("configuration")["processes"]
            return sorted(each["role"] for each in told if each["entry"] == last)

        until(lambda: server.get("/readyz").status_code == 200)
        send(server, "a", b"")
        until(lambda: counted(server, 1, 0))
        assert ask("status")["keep_logs_days"] == 180
        pids = {role: process.pid for role, process in server.children().items()}
        config("set", "Tasks.Log_Max_Age", "90")
        config("set", "Sessions.Max_Age", "7")
        config("verify")
        config("apply", "--reason", "less disk", "--as", "ann")
        (entry,) = ask("configuration/history")["entries"]
        assert (entry["by"], entry["realm"]) == ("ann", "cli")
        until(lambda: obeying(entry["id"]) == ["collect", "web", "work"])
        for each in ask("configuration")["processes"]:
            waited = datetime.fromisoformat(each["at"]) - datetime.fromisoformat(entry["at"])
            assert 0 <= waited.total_seconds() < SEEN, each
        status = ask("status")
        assert (status["keep_logs_days"], status["keep_sessions_days"]) == (90, 7)
        config("set", "Capture.HEP_Keys", "--add", given="s3cret\n")
        config("verify")
        config("apply", "--reason", "senders must be known")
        time.sleep(SEEN)
        send(server, "b", b"s3cret")
        send(server, "c", b"guess")
        until(lambda: counted(server, 2, 1))
        assert {role: process.pid for role, process in server.children().items()} == pids, "without a restart"
        assert "s3cret" not in server.log.read_text()
