"""HEP into OpenSearch, as legs and blocks and as one document a message: rate, bytes a message, and their ratios.

The same packets, two writers each, a node of its own with the JVM's usual settings on the same machine. Ours is the
collector's own code: batches as large as it cuts them when packets wait, and batches of one second of the traffic. The
other way is what a bulk helper and default mappings make of the decoded messages. Both are timed until everything is
searchable, and weighed when the engine has merged and let go of what was replaced.
BENCH_OPENSEARCH_MESSAGES (150,000) and BENCH_OPENSEARCH_RATE (12,000 a second of the traffic's time) change the traffic.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import httpx2
import psutil
from opensearchpy import OpenSearch, helpers
from scripts.opensearch.node import Node, running

from bench.traffic import START_US, hep3, traffic
from ringback.events import open_store
from ringback.sessions.capture.hep import HepPacket, decode
from ringback.sessions.ingest.chunks import worker_of
from ringback.sessions.ingest.legs import LegTable, Taken
from ringback.sessions.ingest.packing import batches, stored
from ringback.sessions.ingest.worker import BATCH_MESSAGES

MESSAGES = int(os.environ.get("BENCH_OPENSEARCH_MESSAGES", "150000"))
RATE = int(os.environ.get("BENCH_OPENSEARCH_RATE", "12000"))
WARM_UP = 30_000
WRITERS = 2
RUNS = 2  # the faster counts
LEASE_S = 35.0  # so long the engine keeps what was replaced, for a copy that might come back
MESSAGES_A_CALL = 13
HEAP_MIB = 1024
RATE_TARGET, BYTES_TARGET = 5.0, 0.2
_HEADERS = {
    "call_id": re.compile(rb"\r\ncall-id: *([^\r]*)", re.IGNORECASE),
    "cseq": re.compile(rb"\r\ncseq: *([^\r]*)", re.IGNORECASE),
    "from": re.compile(rb"\r\nfrom: *([^\r]*)", re.IGNORECASE),
    "to": re.compile(rb"\r\nto: *([^\r]*)", re.IGNORECASE),
    "user_agent": re.compile(rb"\r\n(?:user-agent|server): *([^\r]*)", re.IGNORECASE),
}


Write = Callable[[str, str, Sequence[bytes]], None]


@dataclass(frozen=True, slots=True)
class Spent:
    seconds: float
    writers_s: float  # processor time of the writers
    engine_s: float  # and of the engine


def run() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="ringback-bench-") as folder,
        running(Path(folder), heap_mib=HEAP_MIB, jvm=()) as [node],
    ):
        for name, write in WAYS.items():
            written(node, f"warm-{name}", write, WARM_UP)
        spent: dict[str, Spent] = {}
        for turn in range(RUNS):  # in turn: the JVM grows quicker with time, and what else the machine does meets all
            for name, write in WAYS.items():
                taken = written(node, f"{name}-{turn}", write, MESSAGES)
                spent[name] = min(taken, spent.get(name, taken), key=lambda each: each.seconds)
        time.sleep(LEASE_S)
        print(
            f"{MESSAGES:,} messages, {RATE:,} a second of their time; {WRITERS} writers, {os.cpu_count()} cores in all"
        )
        print(
            f"{'':28}{'messages/s':>12}{'B/message':>11}{'documents':>11}{'writers core s':>16}{'engine core s':>15}"
        )
        sizes = {}
        for name, taken in spent.items():
            sizes[name], documents = weighed(node, f"{name}-{RUNS - 1}")
            print(
                f"{name:28}{MESSAGES / taken.seconds:12,.0f}{sizes[name] / MESSAGES:11.0f}{documents:11,}"
                f"{taken.writers_s:16.1f}{taken.engine_s:15.1f}"
            )
        *ours, usual = WAYS
        for name in ours:
            print(
                f"  {name}: {spent[usual].seconds / spent[name].seconds:.1f} times the rate (target {RATE_TARGET:g}),"
                f" {sizes[name] / sizes[usual]:.3f} of the bytes (target {BYTES_TARGET:g}),"
                f" {spent[name].engine_s / spent[usual].engine_s:.2f} of the engine's processor"
            )


def written(node: Node, index: str, write: Write, count: int) -> Spent:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(WRITERS + 1)
    told = spawn.SimpleQueue()
    writers = [
        spawn.Process(target=writer, args=(node.url, index, write, count, number, start, told))
        for number in range(WRITERS)
    ]
    for process in writers:
        process.start()
    start.wait()
    began, engine = time.monotonic(), processor(node)
    writers_s = sum(told.get() for _ in writers)
    asked(node, f"{index}*/_refresh")
    spent = Spent(time.monotonic() - began, writers_s, processor(node) - engine)
    for process in writers:
        process.join()
    return spent


def weighed(node: Node, index: str) -> tuple[int, int]:
    """Bytes and documents. What was replaced is let go some time after it was, in two commits."""
    for what in ("_refresh", "_flush", "_forcemerge?max_num_segments=1", "_refresh", "_flush?force=true", "_refresh"):
        asked(node, f"{index}*/{what}")
    answer = httpx2.get(f"{node.url}/{index}*/_stats/store,docs", timeout=60).raise_for_status().json()
    held = answer["_all"]["primaries"]
    return held["store"]["size_in_bytes"], held["docs"]["count"]


def writer(url: str, index: str, write: Write, count: int, number: int, start: Barrier, told: Any) -> None:
    """Its share of the Call-IDs, as a worker of the collector has one."""
    sent = [packet for packet in packets(count) if worker_of(packet, WRITERS) == number]
    gc.disable()  # as the collector's workers do, and for both ways
    start.wait()
    cpu = time.process_time()
    write(url, index, sent)
    told.put(time.process_time() - cpu)


def packets(count: int) -> list[bytes]:
    """In order of time; the last calls end after the last of them."""
    calls = count // MESSAGES_A_CALL + 10
    found = traffic(calls, calls_per_second=RATE / MESSAGES_A_CALL, longest_s=30.0)
    return [hep3(message, START_US + message.time_us) for message in found[:count]]


def in_full_batches(url: str, prefix: str, sent: Sequence[bytes]) -> None:
    found = list(decoded(sent))
    _write_batches(url, prefix, [found[at : at + BATCH_MESSAGES] for at in range(0, len(found), BATCH_MESSAGES)])


def in_batches_of_a_second(url: str, prefix: str, sent: Sequence[bytes]) -> None:
    seconds = groupby(decoded(sent), key=lambda packet: packet.time_us // 1_000_000)
    _write_batches(url, prefix, (list(second) for _, second in seconds))


def _write_batches(url: str, prefix: str, cut: Iterable[list[HepPacket]]) -> None:
    store = open_store(f"{url}/?prefix={prefix}&replicas=0")
    table = LegTable()

    def write(taken: Taken) -> None:
        for batch in batches(taken).values():
            store.write(batch)
        stored(taken)

    last_us = 0
    for found in cut:
        table.add([packet[:5] for packet in found])
        last_us = found[-1].time_us
        write(table.take(last_us))
    write(table.finish(last_us))
    store.close()


def one_document_a_message(url: str, index: str, sent: Sequence[bytes]) -> None:
    client = OpenSearch(url, timeout=60)
    client.indices.create(index=index, body={"settings": {"number_of_replicas": 0}}, ignore=400)
    helpers.bulk(client, ({"_index": index, "_source": document(packet)} for packet in decoded(sent)))
    client.close()


def decoded(sent: Sequence[bytes]) -> Iterator[HepPacket]:
    for packet in sent:
        yield decode(packet, START_US)


def document(packet: HepPacket) -> dict[str, Any]:
    """What people search messages by, and the message."""
    hop, payload = packet.hop, packet.payload
    found: dict[str, Any] = {
        "@timestamp": packet.time_us // 1000,
        "source_ip": hop.source, "source_port": hop.source_port,
        "destination_ip": hop.destination, "destination_port": hop.destination_port,
        "capture_agent": packet.agent,
        "first_line": payload[: payload.index(b"\r")].decode(),
        "raw": payload.decode(),
    }  # fmt: skip
    for name, header in _HEADERS.items():
        if value := header.search(payload):
            found[name] = value[1].decode()
    return found


def asked(node: Node, path: str) -> None:
    httpx2.post(f"{node.url}/{path}", timeout=600).raise_for_status()


def processor(node: Node) -> float:
    assert node.process
    return sum(psutil.Process(node.process.pid).cpu_times()[:2])


WAYS: dict[str, Write] = {
    "legs-and-blocks": in_full_batches,
    "each-second": in_batches_of_a_second,
    "a-document-a-message": one_document_a_message,
}
