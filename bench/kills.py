"""kill -9 of the collector under load, twenty times over one store: nothing that it acknowledged may be missing.

Limit: every message counted as stored before the kill is found, whole, in the store. BENCH_KILLS and BENCH_HEP_RATE
change the number of lives (20) and the packets a second (20,000).
"""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

from bench.traffic import HepStream
from ringback.events import DAY_US, LegQuery, open_store
from ringback.sessions.ingest.blocks import decode_block
from ringback.sessions.ingest.status import CollectorStatus, read_collector_status
from ringback.settings import load_settings

LIVES = int(os.environ.get("BENCH_KILLS", "20"))
RATE = int(os.environ.get("BENCH_HEP_RATE", "20000"))


def run() -> None:
    rng = random.Random(9)
    stream = HepStream(RATE, longest_s=5.0)
    print(f"{'life':>4}{'sent':>10}{'acknowledged':>14}{'found':>10}{'missing':>9}")
    total_sent = 0
    with tempfile.TemporaryDirectory(prefix="ringback-bench-") as folder:
        data = Path(folder)
        for life in range(1, LIVES + 1):
            total_sent += killed(data, stream, 1.0 + 2.0 * rng.random())
            status = read_collector_status(data)
            acknowledged = status.stored if status else 0
            found = stored(data)
            missing = max(0, acknowledged - found)
            print(f"{life:4}{total_sent:10,}{acknowledged:14,}{found:10,}{missing:9,}", flush=True)
            if missing:
                raise SystemExit(f"{missing} acknowledged messages are missing")


def killed(data: Path, stream: HepStream, seconds: float) -> int:
    """One life of the collector, of `seconds` under load. Returns how many packets were sent."""
    began = time.time_ns() // 1000
    settings = load_settings({"RINGBACK_HEP": "127.0.0.1:0"}, data=data)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "ringback.role", "collect"], stdin=subprocess.PIPE, start_new_session=True
    )
    if process.stdin is None:
        raise RuntimeError("no pipe")
    process.stdin.write(pickle.dumps(settings))
    process.stdin.flush()
    status = read_collector_status(data)
    while status is None or status.updated_us < began:
        time.sleep(0.02)
        status = read_collector_status(data)
    port = udp_port(status)
    sent: list[int] = []
    sender = threading.Thread(target=lambda: sent.append(stream.send_udp(("127.0.0.1", port), seconds + 1.5)))
    sender.start()
    time.sleep(1.5 + seconds)  # the workers need a moment to start
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdin.close()
    sender.join()
    return sent[0]


def udp_port(status: CollectorStatus) -> int:
    return next(int(each.rpartition(":")[2]) for each in status.endpoints if each.startswith("udp"))


def stored(data: Path) -> int:
    """Messages that are there and whole: every leg is read, every block unpacked and checked."""
    found = 0
    now = time.time_ns() // 1000
    with closing(open_store(f"sqlite:{data / 'events'}")) as store:
        cursor = None
        while True:
            page = store.search(LegQuery(("default",), now - DAY_US, now + DAY_US), 2000, cursor, deadline_s=120)
            for piece in store.blocks(page.rows, deadline_s=120):
                found += len(decode_block(piece.data, piece.first, piece.count))
            cursor = page.cursor
            if cursor is None:
                return found


if __name__ == "__main__":
    run()
