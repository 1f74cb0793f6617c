"""The embedded event store at 10 M messages (850,000 calls) in one day: what it costs to fill, how fast it answers.

Legs are written as a collector does: when they begin, when they are answered, when they end, their messages in blocks
of 500 at 87 bytes a message. Limit: fetching one row by primary key from the same file. Peer, at a twentieth of the
size: one row a message with four indexes. BENCH_SCALE shrinks both (0.1: 85,000 calls).
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ringback.events import (
    DAY_US,
    Batch,
    BlockPart,
    BlockWrite,
    EventStore,
    LegQuery,
    LegRow,
    NumberPattern,
    Trouble,
    call_hash,
    open_store,
)

SCALE = float(os.environ.get("BENCH_SCALE", "1"))
LEGS = int(850_000 * SCALE)
MESSAGES_A_LEG = (4, 5, 3)  # when it begins, is answered, ends: 12 in all
BYTES_A_MESSAGE = 87
BLOCK_MESSAGES = 500
BATCH_LEGS = 3000
MIDNIGHT = 1_795_305_600_000_000  # 2026-11-22T00:00:00Z
NOISE = random.Random(1).randbytes(BLOCK_MESSAGES * BYTES_A_MESSAGE)
INGEST_MESSAGES_S, INGEST_SECONDS = 40_000, 12
DAY = LegQuery(("default",), MIDNIGHT, MIDNIGHT + DAY_US)


@dataclass(slots=True)
class Filling:
    """What writing cost the processor, in seconds."""

    inserts: int = 0
    updates: int = 0
    insert_s: float = 0.0
    update_s: float = 0.0
    messages: int = 0


def run() -> None:
    with tempfile.TemporaryDirectory(prefix="ringback-bench-") as folder:
        url = f"sqlite:{folder}/events"
        with closing(open_store(url)) as store:
            filling = fill(store)
        size = sum(path.stat().st_size for path in Path(folder, "events").iterdir())
        blocks = filling.messages * BYTES_A_MESSAGE
        path = Path(folder, "events", "sip-2026-11-22.sqlite")
        print(f"{LEGS:,} legs, {filling.messages:,} messages, {size / 1e6:,.0f} MB")
        print(
            f"  {size / filling.messages:.1f} B a message in all (target 120), "
            f"{(size - blocks) / LEGS:.0f} B a leg beside the blocks' own bytes"
        )
        print(
            f"  leg insert {filling.insert_s / filling.inserts * 1e6:.1f} µs, "
            f"leg update {filling.update_s / filling.updates * 1e6:.1f} µs of processor time, blocks included\n"
        )
        with closing(open_store(url)) as store:
            limit = measure("limit: one row by primary key", 300, point_lookup(path))
            answers(store, limit)
            with writing(url):
                time.sleep(2)
                number = measure(
                    f"number, one day, during ingest at {INGEST_MESSAGES_S:,}/s", 200, by_number(store, 7), limit
                )
            print(f"  (target: p95 at most 300 ms; reached {number:.1f})")
        peer(Path(folder), limit)


def fill(store: EventStore) -> Filling:
    """A day's calls, evenly spread; a call is answered after one batch and ends after two."""
    filling = Filling()
    source = calls(random.Random(2), LEGS)
    ringing: list[LegRow] = []
    talking: list[LegRow] = []
    while True:
        new = [leg for leg, _ in zip(source, range(BATCH_LEGS), strict=False)]
        if not (new or ringing or talking):
            return filling
        for leg in ringing:
            answer(leg)
        for leg in talking:
            end(leg)
        for phase, legs in enumerate((new, ringing, talking)):
            batch = Batch(legs, blocks(legs, MESSAGES_A_LEG[phase]), counts(legs, phase))
            began = time.process_time()
            store.write(batch)
            took = time.process_time() - began
            if phase == 0:
                filling.inserts += len(legs)
                filling.insert_s += took
            else:
                filling.updates += len(legs)
                filling.update_s += took
            filling.messages += sum(block.messages for block in batch.blocks)
        talking, ringing = ringing, new


def calls(randomness: random.Random, count: int, first_us: int = MIDNIGHT, span_us: int = DAY_US) -> Iterator[LegRow]:
    """100,000 subscribers behind 4,000 addresses call 300,000 numbers through two proxies and four gateways."""
    for number in range(count):
        subscriber = int(randomness.random() ** 2 * 100_000)
        caller, called = subscriber_number(subscriber), f"44{7_000_000_000 + int(randomness.random() ** 2 * 300_000)}"
        phone, gateway = (
            f"198.51.{subscriber % 4000 // 250}.{subscriber % 250}",
            f"203.0.113.{randomness.randrange(4)}",
        )
        started = first_us + span_us * number // count
        yield LegRow(
            environment="default",
            call_id=f"{randomness.getrandbits(64):016x}-{number}@{phone}",
            kind="call",
            method="INVITE",
            started_us=started,
            ended_us=started + 150_000,
            caller="+" + caller,
            called=called,
            source=f"{phone}:{5060 + subscriber % 900}",
            destination="192.0.2.10:5060",
            addresses=[phone, "192.0.2.10", "192.0.2.11", gateway],
            agents=["101", "102"],
            messages=MESSAGES_A_LEG[0],
            numbers={caller: 1 | 128, called: 6},
            keys=set() if number % 4 else {f"icid:{number:012x}"},
        )


def subscriber_number(subscriber: int) -> str:
    return f"1210{3_000_000 + subscriber * 37 % 7_000_000:07}"


def answer(leg: LegRow) -> None:
    fate = hash(leg.call_id) % 1000
    leg.messages += MESSAGES_A_LEG[1]
    leg.ended_us += 4_000_000
    if fate < 900:
        leg.outcome, leg.code, leg.phrase, leg.answered_us = "answered", 200, "OK", leg.started_us + 4_000_000
    elif fate < 999:
        leg.outcome, leg.code, leg.phrase = "busy", 486, "Busy Here"
    else:
        leg.outcome, leg.code, leg.phrase, leg.trouble = (
            "failed",
            503,
            "Service Unavailable",
            int(Trouble.RETRANSMITTED),
        )


def end(leg: LegRow) -> None:
    leg.messages += MESSAGES_A_LEG[2]
    leg.ended_us += 60_000_000
    leg.duration_ms = 60_000 if leg.answered_us else 0


def blocks(legs: list[LegRow], each: int) -> list[BlockWrite]:
    per_block = BLOCK_MESSAGES // each
    return [
        BlockWrite(
            part[0].started_us,
            part[-1].ended_us,
            len(part) * each,
            NOISE[: len(part) * each * BYTES_A_MESSAGE],
            [BlockPart(leg, at * each, each) for at, leg in enumerate(part)],
        )
        for part in (legs[start : start + per_block] for start in range(0, len(legs), per_block))
    ]


def counts(legs: list[LegRow], phase: int) -> list[tuple[str, int, str, int]]:
    minutes = [leg.started_us // 60_000_000 * 60_000_000 for leg in legs]
    if phase == 0:
        return [("default", minute, "in_progress", 1) for minute in minutes]
    if phase == 1:
        moved = [("default", minute, "in_progress", -1) for minute in minutes]
        return moved + [("default", minute, leg.outcome, 1) for minute, leg in zip(minutes, legs, strict=True)]
    return []


def measure(name: str, runs: int, ask: Callable[[], object], limit: float | None = None) -> float:
    """Prints and returns the 95th percentile, in milliseconds."""
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        ask()
        took.append((time.perf_counter() - began) * 1000)
    p95 = statistics.quantiles(took, n=20)[-1]
    ratio = f"{p95 / limit:9.0f} × limit" if limit else ""
    print(f"  {name:58} p50 {statistics.median(took):8.2f} ms   p95 {p95:8.2f} ms {ratio}", flush=True)
    return p95


def answers(store: EventStore, limit: float) -> None:
    """Every question a person asks of a day."""
    randomness = random.Random(5)
    sample = store.search(DAY, 1000).rows
    hashes = [call_hash(row.environment, row.call_id) for row in sample]
    number = measure("number (last 7 digits), one day; target p95 50 ms", 300, by_number(store, 7), limit)
    measure("number (whole), one day", 200, by_number(store, 11), limit)

    def ask(runs: int, name: str, **changes: object) -> None:
        query = LegQuery(DAY.environments, DAY.start_us, DAY.end_us, **changes)  # type: ignore[arg-type]
        measure(name, runs, lambda: store.search(query), limit)

    ask(100, "number that nobody has", number=NumberPattern("5550001"))
    ask(20, "number prefix 44% (each leg has it)", number=NumberPattern("44", "prefix"))
    ask(20, "number prefix of nobody", number=NumberPattern("999", "prefix"))
    ask(5, "number that contains 77777 (reads the day)", number=NumberPattern("77777", "contains"))
    ask(50, "newest 50 of the day")
    ask(20, "code 503 (one in a thousand)", codes=(503,))
    ask(5, "code 606 (none)", codes=(606,))
    ask(20, "troubled", troubled=True)
    ask(20, "outcome failed", outcomes=("failed",))
    ask(5, "address of one phone", addresses=("198.51.7.77",))
    ask(5, "address nobody has", addresses=("192.0.2.99",))
    ask(5, "longer than an hour (none, reads the day)", min_duration_ms=3_600_000)

    def open_session() -> None:
        (found,) = store.search(
            LegQuery(("default",), MIDNIGHT, MIDNIGHT + DAY_US, call_hashes=(randomness.choice(hashes),))
        ).rows
        assert sum(each.count for each in store.blocks([found])) == found.messages

    measure("legs by Call-ID, then their blocks; target 30 ms", 300, open_session, limit)
    keys = [f"icid:{number:012x}" for number in range(0, LEGS, 4)]
    measure(
        "legs by 4 keys, one day", 200,
        lambda: store.by_keys(("default",), randomness.sample(keys, 4), MIDNIGHT, MIDNIGHT + DAY_US), limit,
    )  # fmt: skip
    cursor: list[str | None] = [None]

    def next_page() -> None:
        cursor[0] = store.search(DAY, 500, cursor[0]).cursor

    measure("page after page of 500 (cursor)", min(200, LEGS // 1000), next_page, limit)
    measure(
        "histogram of the day, 60 buckets, from roll-ups", 50, lambda: store.histogram(DAY, 24 * 60_000_000), limit
    )
    filtered = LegQuery(DAY.environments, DAY.start_us, DAY.end_us, kinds=("call",))
    measure("histogram with a filter (reads the day)", 3, lambda: store.histogram(filtered, 24 * 60_000_000), limit)
    print(f"  (target of a number in a day: p95 at most 50 ms; reached {number:.1f})")


def by_number(store: EventStore, digits: int) -> Callable[[], object]:
    randomness = random.Random(7)

    def ask() -> None:
        wanted = subscriber_number(int(randomness.random() ** 2 * 100_000))
        store.search(LegQuery(("default",), MIDNIGHT, MIDNIGHT + DAY_US, number=NumberPattern(wanted[-digits:])))

    return ask


def point_lookup(path: Path) -> Callable[[], object]:
    connection = sqlite3.connect(path)
    ids = [id_ for (id_,) in connection.execute("SELECT id FROM leg ORDER BY id DESC LIMIT 20000")]
    randomness = random.Random(8)
    return lambda: connection.execute("SELECT * FROM leg WHERE id = ?", (randomness.choice(ids),)).fetchone()


class writing:  # noqa: N801 - reads as what happens in the `with` block
    """Another process stores INGEST_MESSAGES_S messages a second, into the day that is searched."""

    def __init__(self, url: str) -> None:
        self._process = multiprocessing.get_context("spawn").Process(target=ingest, args=(url,))

    def __enter__(self) -> None:
        self._process.start()

    def __exit__(self, *_: object) -> None:
        self._process.join()


def ingest(url: str) -> None:
    """Batches of a quarter of a second, on time."""
    legs_a_batch = INGEST_MESSAGES_S // sum(MESSAGES_A_LEG) // 4
    source = calls(random.Random(11), legs_a_batch * 4 * INGEST_SECONDS, MIDNIGHT + DAY_US - 60_000_000, 59_000_000)
    ringing: list[LegRow] = []
    talking: list[LegRow] = []
    late = 0.0
    with closing(open_store(url)) as store:
        began = time.monotonic()
        for tick in range(4 * INGEST_SECONDS):
            new = [leg for leg, _ in zip(source, range(legs_a_batch), strict=False)]
            for leg in ringing:
                answer(leg)
            for leg in talking:
                end(leg)
            parts = zip((new, ringing, talking), MESSAGES_A_LEG, strict=True)
            store.write(
                Batch([*new, *ringing, *talking], [block for legs, each in parts for block in blocks(legs, each)])
            )
            talking, ringing = ringing, new
            spare = began + (tick + 1) / 4 - time.monotonic()
            late = max(late, -spare)
            time.sleep(max(spare, 0))
    print(f"  (ingest was at most {late:.2f} s late)", flush=True)


def peer(folder: Path, limit: float) -> None:
    """One row a message: what a flat design costs."""
    path = folder / "flat.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, time, call_id, caller, called, raw)")
    for column in ("time", "call_id", "caller", "called"):
        connection.execute(f"CREATE INDEX message_{column} ON message ({column})")
    rows = 0
    began = time.process_time()
    each = sum(MESSAGES_A_LEG)
    source = calls(random.Random(2), LEGS // 20)
    while legs := [leg for leg, _ in zip(source, range(BATCH_LEGS // 4), strict=False)]:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO message (time, call_id, caller, called, raw) VALUES (?, ?, ?, ?, ?)",
            [
                (leg.started_us + at, leg.call_id, leg.caller, leg.called, NOISE[at : at + 700])
                for leg in legs
                for at in range(each)
            ],
        )
        connection.execute("COMMIT")
        rows += len(legs) * each
    took = time.process_time() - began
    randomness = random.Random(7)
    print(
        f"\npeer: one row a message, {rows:,} rows: {took / rows * 1e6:.1f} µs and {path.stat().st_size / rows:.0f} B a message"
    )

    def ask() -> None:
        wanted = "+" + subscriber_number(int(randomness.random() ** 2 * 100_000))
        connection.execute(
            "SELECT DISTINCT call_id FROM message WHERE caller = ? AND time BETWEEN ? AND ? ORDER BY time DESC LIMIT 50",
            (wanted, MIDNIGHT, MIDNIGHT + DAY_US),
        ).fetchall()

    measure("peer: whole caller number, one day", 200, ask, limit)
    measure(
        "peer: number by its last 7 digits (reads all)", 3,
        lambda: connection.execute("SELECT DISTINCT call_id FROM message WHERE caller LIKE ?", ("%3000037",)).fetchall(),
        limit,
    )  # fmt: skip
    connection.close()
