"""The role as `ringback serve` runs it: several processes behind one address, whose figures are one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx2
import psutil
from engine_asked import Asking, Books
from sqlalchemy import Engine

from ringback.records.engine import open_engine
from running import PATIENCE, serving, until


def get(url: str) -> httpx2.Response:
    return httpx2.get(url, timeout=PATIENCE)


def test_several_processes_answer_and_count_as_one(tmp_path: Path, records_url: str, composed: Path) -> None:
    engine: Engine = open_engine(records_url)
    books = Books.of(engine)
    environ = {
        "RINGBACK_DATABASE_URL": records_url,
        "RINGBACK_ENGINE_PROCESSES": "2",
        "RINGBACK_SECRETS_KEY": str(composed),
    }
    options = ("--role", "engine", "--admin", "127.0.0.1:0")
    with serving(tmp_path / "data", *options, wait_for="Admin: ", environ=environ) as server:
        until(lambda: set(server.children()) == {"engine", "engine 1"})
        token = books.token()

        def asks() -> None:
            node = Asking(server.engine, token)
            with node.client:
                assert node.authorize(username="12103355787", password="geheim")["allowed"]

        until(lambda: get(f"{server.engine}/readyz").status_code == 200)
        for _ in range(20):
            asks()
        counted = 'ringback_engine_authorizations_total{reason="",result="allowed"} 20.0'
        until(lambda: counted in get(f"{server.engine}/metrics").text)
        assert 'ringback_role_up{role="engine"} 1.0' in get(f"{server.admin}/metrics").text
        died = server.children()["engine 1"]
        os.kill(died.pid, signal.SIGKILL)
        until(lambda: not psutil.pid_exists(died.pid) and "engine 1" in server.children())
        asks()
        assert 'ringback_role_restarts_total{role="engine"} 1.0' in get(f"{server.admin}/metrics").text
        assert server.stop() == 0
    engine.dispose()
