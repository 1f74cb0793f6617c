"""A person's questions over 10 M real messages of a day: numbers searched and sessions opened through a running server.

The store is filled as an import fills it, from calls of 10,000 subscribers; then `ringback serve` answers over HTTP, so
what is printed is the server's time and the way there and back. Limit: /healthz, which reads nothing. Then the same
while HEP comes in at 40,000 packets a second. BENCH_SCALE shrinks the day.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from bench.search import measure
from bench.traffic import HepStream, traffic
from ringback.clock import now_us
from ringback.events import open_store
from ringback.sessions.ingest.details import DetailReader
from ringback.sessions.ingest.legs import LegTable
from ringback.sessions.ingest.packing import batches, stored
from ringback.sessions.story import Hop, SightingTuple

SCALE = float(os.environ.get("BENCH_SCALE", "1"))
PARTS = max(2, round(34 * SCALE))
CALLS_A_PART = 25_000  # about 325,000 messages
HOURS = 20
WRITERS = 2
BATCH = 8192
INGEST_RATE, INGEST_SECONDS = 40_000, 40
CALLS_A_SECOND = CALLS_A_PART * PARTS / (HOURS * 3600)


def run() -> None:
    with tempfile.TemporaryDirectory(prefix="ringback-bench-") as folder:
        data = Path(folder)
        began = time.monotonic()
        messages, numbers = fill(data)
        size = sum(each.stat().st_size for each in Path(folder).rglob("*") if each.is_file())
        print(
            f"{messages:,} messages of {CALLS_A_PART * PARTS:,} calls in {HOURS} h, {size / messages:.0f} B a message,"
            f" stored in {time.monotonic() - began:.0f} s"
        )
        with serving(data) as (client, hep):
            ask(client, numbers, runs=300)
            with sending(hep):
                time.sleep(3)
                print(f"  during ingest offered at {INGEST_RATE:,} packets a second:")
                ask(client, numbers, runs=100)


def fill(data: Path) -> tuple[int, list[str]]:
    """Returns how many messages, and numbers that called."""
    end_us = now_us() - 600_000_000
    start_us = end_us - HOURS * 3_600_000_000
    with multiprocessing.get_context("spawn").Pool(WRITERS) as pool:
        parts = pool.starmap(
            store_part,
            [(str(data / "events"), part, start_us + HOURS * 3_600_000_000 * part // PARTS) for part in range(PARTS)],
            chunksize=1,
        )
    return sum(count for count, _ in parts), [number for _, numbers in parts for number in numbers]


def store_part(folder: str, part: int, start_us: int) -> tuple[int, list[str]]:
    store = open_store(f"sqlite:{folder}")
    hops: dict[tuple[object, ...], Hop] = {}
    sightings: list[SightingTuple] = []
    for message in traffic(CALLS_A_PART, calls_per_second=CALLS_A_SECOND, seed=1000 + part):
        way = (message.source, message.source_port, message.destination, message.destination_port, message.agent)
        hop = hops.get(way)
        if hop is None:
            hop = hops[way] = Hop(
                "udp", message.source, message.source_port, message.destination, message.destination_port,
                str(message.agent),
            )  # fmt: skip
        sightings.append((start_us + message.time_us, hop, message.payload, 0, ""))
    table = LegTable(most=100_000, details=DetailReader())
    for at in range(0, len(sightings), BATCH):
        table.add(sightings[at : at + BATCH])
        taken = table.take(sightings[min(at + BATCH, len(sightings)) - 1][0])
        for batch in batches(taken).values():
            store.write(batch)
        stored(taken)
    for batch in batches(table.finish(sightings[-1][0])).values():
        store.write(batch)
    store.close()
    invites = [payload for _, _, payload, _, _ in sightings[::997] if payload.startswith(b"INVITE")]
    return len(sightings), [payload.split(b"From: <sip:")[1].split(b"@")[0].decode() for payload in invites]


@contextmanager
def serving(data: Path) -> Iterator[tuple[httpx2.Client, tuple[str, int]]]:
    """A client that is logged in and has a token, and where HEP is taken."""
    command = [sys.executable, "-m", "ringback.cli"]
    serve = [
        *command,
        "serve",
        "--data",
        str(data),
        "--web",
        "127.0.0.1:0",
        "--hep",
        "127.0.0.1:0",
        "--engine",
        "127.0.0.1:0",
    ]
    process = subprocess.Popen(
        serve, stdout=subprocess.PIPE, text=True, env=os.environ | {"RINGBACK_LOG_LEVEL": "error"}
    )
    try:
        told: dict[str, str] = {}
        for line in process.stdout or ():
            name, _, value = line.strip().rpartition(": " if line.startswith(("Web", "Password")) else " ")
            told[name] = value
            if "Web" in told and "HEP: udp" in told:
                break
        created = subprocess.run(
            [*command, "token", "create", "bench", "--data", str(data)], check=True, capture_output=True, text=True
        )
        token = next(word for word in created.stdout.split() if word.startswith("rb_"))
        with httpx2.Client(base_url=told["Web"], timeout=60, headers={"Authorization": f"Bearer {token}"}) as client:
            login = {"name": "admin", "password": told["Password"]}
            client.post("/login", data=login, headers={"Origin": told["Web"]})
            host, _, port = told["HEP: udp"].rpartition(":")
            yield client, (host, int(port))
    finally:
        process.terminate()
        process.wait(60)
        if process.stdout:
            process.stdout.close()


@contextmanager
def sending(address: tuple[str, int]) -> Iterator[None]:
    sender = multiprocessing.get_context("spawn").Process(target=send, args=(address,))
    sender.start()
    try:
        yield
    finally:
        sender.terminate()
        sender.join()


def send(address: tuple[str, int]) -> None:
    HepStream(INGEST_RATE).send_udp(address, INGEST_SECONDS)


def ask(client: httpx2.Client, numbers: list[str], runs: int) -> None:
    choice = random.Random(5).choice
    found: list[str] = []

    def get(path: str, **query: str) -> httpx2.Response:
        return client.get(path, params=query).raise_for_status()

    def page() -> None:
        answer = get("/sessions", q=choice(numbers)[-7:], last="24h")
        assert "data-row" in answer.text, answer.text[:500]

    def search(**query: str) -> None:
        answer = get("/api/v1/sessions", number=choice(numbers)[-7:], **query)
        found.extend(each["id"] for each in answer.json()["sessions"])

    limit = measure("limit: /healthz", runs, lambda: get("/healthz"))
    measure("page: number (last 7 digits), 24 h; target p95 50 ms", runs, page, limit)
    measure("API: the same, without diagnosis", runs, lambda: search(diagnose="false"), limit)
    measure("API: the same, up to 50 sessions diagnosed", runs // 10, search, limit)
    measure(
        "API: open what was found; target p95 100 ms", runs, lambda: get(f"/api/v1/sessions/{choice(found)}"), limit
    )
    measure("page: open what was found", runs, lambda: get(f"/sessions/{choice(found)}"), limit)
