"""An applied value is obeyed by the process of every role of a real server within 5 seconds, without a restart."""

from __future__ import annotations

import socket
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2

from ringback.sessions.capture.hep import encode
from ringback.sessions.ingest.status import CollectorStatus, read_collector_status
from ringback.sessions.story import Hop
from running import PATIENCE, Server, command, serving, until

SEEN = 5.0  # seconds
TRIES = 3  # a machine that is busy with much else may miss it
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


def counted(server: Server) -> CollectorStatus:
    return read_collector_status(server.data) or CollectorStatus()


def settled(status: CollectorStatus) -> bool:
    return status.received == status.stored + sum(status.lost.values())


def test_every_role_obeys_within_seconds(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data, wait_for="HEP: tcp") as server:
        scopes = ("configuration.read", "configuration.write", "capture.read")
        named = [word for scope in scopes for word in ("--scope", scope)]
        token = command("token", "create", "test", "--user", "admin", *named, "--data", str(data)).stdout.strip()
        headers = {"Authorization": f"Bearer {token}"}

        def ask(path: str, method: str = "GET", **document: object) -> Any:
            url = f"{server.web}/api/v1/{path}"
            answer = httpx2.request(method, url, json=document or None, headers=headers, timeout=PATIENCE)
            assert answer.status_code == 200, answer.text
            return answer.json()

        def apply(**values: object) -> Any:
            """All three steps; the entry of the history."""
            version = ask("configuration")["draft"]["version"]
            given = {name.replace("__", "."): value for name, value in values.items()}
            ask("configuration", "PUT", version=version, values=given)
            verification = ask("configuration/verify", "POST")["verification"]
            return ask("configuration/apply", "POST", verification=verification, reason="less disk")

        def obeyed_after(entry: Any) -> float:
            """Seconds until the last role had taken it in, waited for."""

            def obeying() -> dict[str, str]:
                told = ask("configuration")["processes"]
                return {each["role"]: each["at"] for each in told if each["entry"] == entry["id"]}

            until(lambda: obeying().keys() == {"collect", "engine", "web", "work"})
            applied = datetime.fromisoformat(entry["at"])
            return max((datetime.fromisoformat(at) - applied).total_seconds() for at in obeying().values())

        until(lambda: server.get("/readyz").status_code == 200)
        send(server, "a", b"")
        until(lambda: counted(server).stored == 1)
        assert ask("status")["keep_logs_days"] == 180
        pids = {role: process.pid for role, process in server.children().items()}
        took: list[float] = []
        while len(took) < TRIES and (not took or took[-1] >= SEEN):
            days = 90 + len(took)
            took.append(obeyed_after(apply(Tasks__Log_Max_Age=days, Sessions__Max_Age=7)))
            status = ask("status")
            assert (status["keep_logs_days"], status["keep_sessions_days"]) == (days, 7)
        assert min(took) < SEEN
        apply(Capture__HEP_Keys={"add": ["s3cret"]})

        def refused() -> bool:
            send(server, "guess", b"guess")
            return counted(server).lost.get("bad key", 0) > 0

        until(refused)
        until(lambda: settled(counted(server)))
        stored = counted(server).stored
        send(server, "known", b"s3cret")
        until(lambda: counted(server).stored > stored)
        assert {role: process.pid for role, process in server.children().items()} == pids, "without a restart"
        assert "s3cret" not in server.log.read_text()
