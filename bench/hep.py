"""HEP into the collector at a set rate over UDP, and as fast as it goes over TCP: sent = stored + counted losses.

Packets as Kamailio sends them, 10,000 subscribers, calls of up to 30 s. The sender runs on the same machine. What comes
faster than it can be stored waits in the spool; the measurement ends when that is empty again.
BENCH_HEP_RATE and BENCH_HEP_SECONDS change the rate (120,000 a second) and time (60 s), BENCH_HEP_TCP=0 leaves out TCP.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench.traffic import HepStream
from ringback.sessions.ingest.status import CollectorStatus, read_collector_status
from ringback.settings import load_settings

RATE = int(os.environ.get("BENCH_HEP_RATE", "120000"))
SECONDS = float(os.environ.get("BENCH_HEP_SECONDS", "60"))
TCP_SECONDS = min(SECONDS, 20.0)
AT_ANY_RATE = 1_000_000
WITH_TCP = os.environ.get("BENCH_HEP_TCP", "1") != "0"
DRAIN_SECONDS = 600.0


def run() -> None:
    stream = HepStream(RATE)
    print(f"{len(stream):,} packets in turn, {len(stream.data) / len(stream):.0f} B each, {os.cpu_count()} cores")
    print(
        f"{'':20}{'sent':>11}{'a second':>10}{'stored':>11}{'lost':>9}{'took s':>8}{'B/message':>10}{'core s':>8}{'MiB':>6}"
    )
    with collecting() as (process, data):
        cpu, began = processor(process), time.monotonic()
        sent = stream.send_udp(("127.0.0.1", port(data, "udp")), SECONDS)
        report("UDP", process, data, sent, time.monotonic() - began, cpu)
    if not WITH_TCP:
        return
    stream.rate = AT_ANY_RATE
    with collecting() as (process, data):
        cpu, began = processor(process), time.monotonic()
        sent = stream.send_tcp(("127.0.0.1", port(data, "tcp")), TCP_SECONDS)
        report("TCP, at any rate", process, data, sent, time.monotonic() - began, cpu)


@contextmanager
def collecting() -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    with tempfile.TemporaryDirectory(prefix="ringback-bench-") as folder:
        data = Path(folder)
        settings = load_settings({"RINGBACK_HEP": "127.0.0.1:0"}, data=data)
        process = subprocess.Popen([sys.executable, "-P", "-m", "ringback.role", "collect"], stdin=subprocess.PIPE)
        if process.stdin is None:
            raise RuntimeError("no pipe")
        process.stdin.write(pickle.dumps(settings))
        process.stdin.flush()
        try:
            while read_collector_status(data) is None:
                time.sleep(0.05)
            time.sleep(1.0)  # the workers' start is not measured
            yield process, data
        finally:
            process.terminate()
            process.wait(60)
            process.stdin.close()


def status(data: Path) -> CollectorStatus:
    found = read_collector_status(data)
    if found is None:
        raise RuntimeError("the collector's status is gone")
    return found


def port(data: Path, transport: str) -> int:
    return next(int(each.rpartition(":")[2]) for each in status(data).endpoints if each.startswith(transport))


def processor(process: subprocess.Popen[bytes]) -> float:
    own = psutil.Process(process.pid)
    return sum(sum(each.cpu_times()[:2]) for each in (own, *own.children()))


def report(
    name: str, process: subprocess.Popen[bytes], data: Path, sent: int, seconds: float, cpu_before: float
) -> None:
    began = time.monotonic() - seconds
    deadline = time.monotonic() + DRAIN_SECONDS
    lag = behind = 0.0
    spool = 0
    while True:
        now = status(data)
        lost = sum(now.lost.values())
        lag, behind, spool = max(lag, now.lag_ms / 1000), max(behind, now.behind_s), max(spool, now.spool_bytes)
        if now.stored + lost >= sent or time.monotonic() > deadline:
            break
        time.sleep(0.25)
    took = time.monotonic() - began
    cpu = processor(process) - cpu_before
    own = psutil.Process(process.pid)
    mib = sum(each.memory_info().rss for each in (own, *own.children())) / 2**20
    process.send_signal(signal.SIGTERM)  # what is on disk then is what stays
    process.wait(60)
    size = sum(each.stat().st_size for each in data.rglob("*") if each.is_file()) / max(1, now.stored)
    print(
        f"{name:20}{sent:11,}{sent / seconds:10,.0f}{now.stored:11,}{lost:9,}{took:8.1f}{size:10.0f}{cpu:8.1f}{mib:6.0f}"
    )
    exact = "sent = stored + counted" if now.stored + lost == sent else f"UNACCOUNTED: {sent - now.stored - lost}"
    print(f"  {exact}; {now.lost or 'nothing lost'}; {cpu / max(1, now.stored) * 1e6:.1f} µs of processor a message")
    print(
        f"  by way of the spool: {now.spooled:,} packets ({now.spooled / max(1, sent):.0%}); it had {spool / 2**20:,.0f} MiB"
        f" and was {behind:.1f} s behind at most; from receipt to commit {lag:.1f} s at most"
    )
