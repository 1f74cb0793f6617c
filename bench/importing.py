"""Import of a two-hop capture until it is searchable, beside sngrep reading the same file into memory.

Whole processes, start-up included, in turn; the fastest of three runs each. BENCH_SCALE shrinks the files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.traffic import traffic, write_pcap

SCALE = float(os.environ.get("BENCH_SCALE", "1"))
MESSAGES = int(200_000 * SCALE)
MANY = int(1_000_000 * SCALE)
RUNS = 3


@dataclass(frozen=True, slots=True)
class Taken:
    seconds: float
    cpu_seconds: float
    mib: float  # peak of the process, or of all its processes together


def run() -> None:
    with tempfile.TemporaryDirectory(prefix="ringback-bench-") as folder:
        path = make(Path(folder, "calls.pcap"), MESSAGES)
        ours, peer = [], []
        for _ in range(RUNS):  # in turn, so that what else the machine does meets both
            ours.append(imported(path, Path(folder, "data"), keep=False))
            if shutil.which("sngrep"):
                peer.append(measured(["sngrep", "-l", str(MESSAGES), "-F", "-N", "-q", "-I", str(path)]))
        one = min(ours, key=lambda each: each.seconds)
        imported(path, Path(folder, "data"), keep=True)
        size = sum(each.stat().st_size for each in Path(folder, "data").rglob("*") if each.is_file())
        print(f"{MESSAGES:,} messages, {path.stat().st_size / 1e6:.0f} MB of pcap, {os.cpu_count()} cores")
        print(f"{'':18}{'wall s':>9}{'cpu s':>9}{'messages/s':>13}{'peak MiB':>10}")
        print(row("ringback import", one, MESSAGES))
        if peer:
            other = min(peer, key=lambda each: each.seconds)
            print(row("sngrep", other, MESSAGES))
            print(f"  wall {one.seconds / other.seconds:.2f} of sngrep's (target 0.35)")
            print(f"  peak memory {one.mib / other.mib:.2f} of sngrep's (target 0.5)")
        else:
            print("  sngrep is not installed: no peer")
        print(f"  {size / MESSAGES:.0f} B a message on disk, everything included (target 120)")
        many = imported(make(path, MANY), Path(folder, "data"), keep=False)
        print(row(f"{MANY:,} messages", many, MANY), "(target: under 200 MiB)")


def make(path: Path, messages: int) -> Path:
    found = traffic(messages // 13 + 10)
    if len(found) < messages:
        found = traffic(messages // 12)
    write_pcap(path, found[:messages])
    return path


def imported(path: Path, data: Path, *, keep: bool) -> Taken:
    shutil.rmtree(data, ignore_errors=True)
    taken = measured([sys.executable, "-m", "ringback.cli", "import", "--data", str(data), str(path)])
    if not keep:
        shutil.rmtree(data)
    return taken


def measured(command: list[str]) -> Taken:
    """Memory is the highest sum over the process and its children, looked at 50 times a second: what the kernel keeps
    as a child's peak begins with the size of us, who started it."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while True:
        peak = max(peak, resident(process.pid))
        done, status, usage = os.wait4(process.pid, os.WNOHANG)
        if done:
            break
        time.sleep(0.02)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Taken(seconds, usage.ru_utime + usage.ru_stime, peak / 2**20)


def resident(pid: int) -> int:
    """Bytes, of a process and its children; 0 when it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(resident(int(child)) for child in children)


def row(name: str, taken: Taken, messages: int) -> str:
    return f"{name:18}{taken.seconds:9.2f}{taken.cpu_seconds:9.2f}{messages / taken.seconds:13,.0f}{taken.mib:10.0f}"
