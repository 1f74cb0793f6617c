"""`ringback demo` as a process: it fills a console, keeps it moving, stops cleanly, and starts again."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from ringback.demo.mix import MIX
from running import COMMAND, ONE_ENGINE, PATIENCE, clean_environ, command, until


@dataclass
class Demo:
    process: subprocess.Popen[str]
    said: list[str]
    data: Path

    def value(self, name: str) -> str:
        return next(line.split(None, 1)[1].strip() for line in self.said if line.startswith(f"    {name} "))

    def api(self) -> httpx2.Client:
        token = command("token", "create", "tests", "--data", str(self.data)).stdout.strip()
        return httpx2.Client(
            base_url=f"{self.value('Open')}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE
        )


ENGINE = ("--engine", "127.0.0.1:0")


@contextmanager
def demo(data: Path) -> Iterator[Demo]:
    process = subprocess.Popen(
        [*COMMAND, "demo", "--data", str(data), "--web", "127.0.0.1:0", "--hep", "127.0.0.1:0", *ENGINE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environ() | ONE_ENGINE,
    )
    said: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.rstrip("\n"))
            if line.startswith("Ctrl-C"):
                break
        else:
            raise AssertionError(f"the demo did not start: {said} {process.stderr.read() if process.stderr else ''}")
        yield Demo(process, said, data)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            process.wait()


def sessions(api: httpx2.Client, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get("/sessions", params=query).raise_for_status().json()["sessions"]
    return found


def story(api: httpx2.Client, session: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/sessions/{session['id']}").raise_for_status().json()
    return found


def test_a_console_full_of_calls_that_stops_cleanly_and_starts_anew(tmp_path: Path) -> None:
    data = tmp_path / "demo"
    with demo(data) as first, first.api() as api:
        login = {"name": first.value("User"), "password": first.value("Password")}
        assert httpx2.post(f"{first.value('Open')}/login", data=login, timeout=PATIENCE).status_code == 303

        until(lambda: len(sessions(api, number="18660333777")) >= MIX["premium-not-allowed"])
        until(lambda: sessions(api, number="12105550100", issue="destination-forbidden"))
        john = sessions(api, number="12105550100", issue="destination-forbidden")
        assert [(one["called"], one["outcome"]) for one in john] == [("18660333777", "failed")]
        assert [one["nodes"] for one in john] == [["edge1"]]
        until(lambda: story(api, john[0])["issues"][0]["mend"])
        told = story(api, john[0])
        assert told["whose"][0]["customer"] == "John Doe"
        (rate,) = told["issues"][0]["mend"]
        assert api.get(f"/rates/{rate['id']}").json()["destination"] == "Premium numbers 866"

        def charged() -> list[dict[str, Any]]:
            found = sessions(api, number="12105550113", outcome="answered")
            return [one for one in found if one["called"] == "493023125101"]

        def steps() -> list[str]:
            return [one["step"] for one in story(api, charged()[0])["timeline"] if one["step"]]

        until(charged)
        until(lambda: steps()[-4:] == ["decision", "start", "stop", "xdr"])
        assert [one["issue"]["id"] for one in charged()] == ["normal"]
        until(lambda: sessions(api, number="14155550109", outcome="answered", issue="one-way-audio"))

        before = api.get("/status").json()["collector"]
        assert before["lost"] == {}
        until(lambda: api.get("/status").json()["collector"]["received"] > before["received"])
    assert first.process.returncode == 0

    with demo(data) as second:
        assert second.value("Password") != first.value("Password")


def test_a_folder_that_is_no_demo_is_not_deleted(tmp_path: Path) -> None:
    kept = tmp_path / "records.sqlite"
    kept.write_text("years of work")
    refused = command("demo", "--data", str(tmp_path), "--web", "127.0.0.1:0", "--hep", "127.0.0.1:0", *ENGINE)
    assert refused.returncode == 1
    assert "holds something else than a demo" in refused.stderr
    assert kept.read_text() == "years of work"
