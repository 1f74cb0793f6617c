"""`ringback explain` on a capture of 100 messages: wall time, start-up included.

Peer: tshark, which decodes the same file and explains nothing. Limit: a Python that starts and does nothing.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import traffic

MESSAGES = 100
RUNS = 7
TARGET_S = 0.6


def run() -> None:
    with tempfile.TemporaryDirectory(prefix="ringback-bench-") as folder:
        capture = Path(folder) / "calls.pcap"
        traffic.write_pcap(capture, traffic.traffic(20)[:MESSAGES])
        ringback = str(Path(sys.executable).with_name("ringback"))
        commands = {
            "ringback explain": [ringback, "explain", str(capture)],
            "ringback explain --json": [ringback, "explain", "--json", str(capture)],
            "python -c pass (limit)": [sys.executable, "-c", "pass"],
        }
        if tshark := shutil.which("tshark"):
            commands["tshark -V (peer)"] = [tshark, "-V", "-r", str(capture)]
        taken = {name: _median_seconds(command) for name, command in commands.items()}
    ours = taken["ringback explain"]
    print(f"explain, {MESSAGES} messages, median of {RUNS}; target under {TARGET_S} s")
    for name, seconds in taken.items():
        print(f"  {name:<26} {seconds:6.3f} s   {ours / seconds:5.2f} explain / this")


def _median_seconds(command: list[str]) -> float:
    times = []
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])  # the first one warms the caches
