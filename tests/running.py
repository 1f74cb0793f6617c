"""A real `ringback serve`, as a person or a service manager starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil

COMMAND = [sys.executable, "-m", "ringback.cli"]
PATIENCE = 60.0  # seconds; two cores may be shared with much else
ONE_ENGINE = {"RINGBACK_ENGINE_PROCESSES": "1"}  # each takes a second of a core to start


def command(*arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=clean_environ() | (environ or {}),
    )


def clean_environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("RINGBACK_")}


@dataclass
class Server:
    process: subprocess.Popen[str]
    data: Path
    log: Path
    lines: list[str] = field(default_factory=list)

    @property
    def web(self) -> str:
        return next(line.removeprefix("Web: ") for line in self.lines if line.startswith("Web: "))

    @property
    def engine(self) -> str:
        return next(line.removeprefix("Engine: ") for line in self.lines if line.startswith("Engine: "))

    @property
    def admin(self) -> str:
        return next(line.removeprefix("Admin: ") for line in self.lines if line.startswith("Admin: "))

    @property
    def hep(self) -> dict[str, str]:
        """Transport -> address:port."""
        words = [line.split(" ") for line in self.lines if line.startswith("HEP: ")]
        return {transport: address for _, transport, address in words}

    @property
    def password(self) -> str | None:
        return next((line.removeprefix("Password: ") for line in self.lines if line.startswith("Password: ")), None)

    def children(self) -> dict[str, psutil.Process]:
        """Role -> its process."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            try:
                arguments = child.cmdline()
            except psutil.Error:
                continue  # it has just ended
            if "ringback.role" in arguments:
                found[" ".join(arguments[arguments.index("ringback.role") + 1 :])] = child
        return found

    def logged(self, text: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == text]

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return httpx2.get(self.web + path, timeout=PATIENCE, **options)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def serving(
    data: Path, *options: str, wait_for: str = "Web: ", environ: dict[str, str] | None = None
) -> Iterator[Server]:
    """Running once the line that begins with `wait_for` was printed; killed at the end if it still runs."""
    log = data.parent / f"{data.name}.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [
                *COMMAND,
                "serve",
                "--data",
                str(data),
                "--web",
                "127.0.0.1:0",
                "--hep",
                "127.0.0.1:0",
                "--engine",
                "127.0.0.1:0",
                *options,
            ],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=clean_environ() | ONE_ENGINE | (environ or {}),
        )
    server = Server(process, data, log)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            server.lines.append(line.rstrip("\n"))
            if line.startswith(wait_for):
                break
        else:
            raise AssertionError(f"did not start: {log.read_text()}")
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


def until(holds: Any, patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
