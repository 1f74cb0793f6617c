"""Runs one `Side` as a sipp process, bounded in time, with what sipp said kept in the run folder."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from scripts.record_demo.dialogue import Side


class SippFailed(Exception):
    """The phone or gateway did not see the messages it expected; the text has sipp's own words."""


@dataclass(slots=True)
class Sipp:
    """A running phone or gateway. A context manager: leaving it ends the process whatever happened."""

    side: Side
    process: subprocess.Popen[bytes]
    folder: Path

    def wait(self, timeout_s: float) -> None:
        """Until it has played its scenario. Raises SippFailed."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired as late:
            self.stop()
            raise SippFailed(f"{self._who()} did not finish in {timeout_s:.0f} s. {self._words()}") from late
        if code != 0:
            raise SippFailed(f"{self._who()} ended with code {code}. {self._words()}")

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(5)

    def __enter__(self) -> Sipp:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _who(self) -> str:
        return f"{self.side.me.name or self.side.me.number} at {self.side.me.address} ({self.folder})"

    def _words(self) -> str:
        errors = self.folder / "errors.log"
        return errors.read_text(errors="replace")[-2000:] if errors.exists() else "It wrote no error."


def start(side: Side, target: str, folder: Path, *, limit_s: int = 150) -> Sipp:
    """Starts `side`. `target` is the proxy that a calling side sends to (address of port 5060); a called side needs none."""
    folder.mkdir(parents=True, exist_ok=True)
    scenario = folder / "scenario.xml"
    scenario.write_text(side.xml(), encoding="utf-8")
    command = [
        "sipp",
        *((f"{target}:5060",) if side.calls else ()),
        *("-sf", str(scenario), "-m", "1", "-nostdin", "-timeout", str(limit_s)),
        *("-i", side.me.address, "-p", str(side.port), "-bind_local", "-ci", side.me.address),
        *("-mi", side.me.address, "-t", "t1" if side.transport == "TCP" else "u1"),
        *("-trace_err", "-error_file", str(folder / "errors.log")),
        *("-max_retrans", "9", "-deadcall_wait", "0"),
    ]
    if side.calls:
        command += ["-cid_str", side.call_id, "-auth_uri", f"{side.peer.number}@{side.peer.host}"]
    with (folder / "screen.log").open("wb") as screen:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=screen, stderr=screen, start_new_session=True
        )
    return Sipp(side, process, folder)
