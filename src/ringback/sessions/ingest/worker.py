"""The process that decodes packets, keeps the legs of its share of the Call-IDs, and writes them to the event store.

Started as ``python -m ringback.sessions.ingest.worker``: a line of configuration and then chunks (see `chunks`) of the
stream connections on standard input, chunks of the UDP receiver on another pipe, a report as a line of JSON on standard
output after every write. It ends when both pipes have ended and everything is stored. "Stored" always means committed.
"""

from __future__ import annotations

import gc
import hmac
import os
import select
import signal
import struct
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import orjson
import structlog

from ringback import clock
from ringback.events import EventStore, EventStoreError, LogRecord, StoreFull, open_store
from ringback.logs import configure_logs
from ringback.sessions.capture.hep import SIP, HepError, decode
from ringback.sessions.capture.hep_logs import to_log
from ringback.sessions.ingest.chunks import Chunk, read_chunk, read_exactly
from ringback.sessions.ingest.details import DetailReader
from ringback.sessions.ingest.legs import LegTable, Taken
from ringback.sessions.ingest.logs import log_record
from ringback.sessions.ingest.packing import batches, stored
from ringback.sessions.keys import KeyRules, load_rules
from ringback.sessions.story import SightingTuple

BATCH_SECONDS = 1.0
BATCH_MESSAGES = 65_536
BATCH_BYTES = 48 * 1024 * 1024
RETRY_SECONDS = 1.0
TRIES = 30  # of a batch that the store refuses for another reason than want of space; then it is lost, and counted
MOST_SEEN = 1000  # pairs of sender and capture agent told apart
COLLECT_SECONDS = 600.0  # between searches for cyclic garbage, of which there is next to none

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the collector tells a worker, as JSON."""

    number: int
    store_url: str
    udp_pipe: int | None
    log_format: str
    hep_key: str = ""
    rules: str = ""  # a file of key rules; "" for the defaults
    open_legs: int = 100_000


@dataclass(slots=True)
class Report:
    """Totals since the worker's start, but for the last four."""

    handled: int = 0  # packets taken from the pipes
    stored: int = 0  # SIP messages committed
    logs: int = 0  # log lines committed
    refused: Counter[str] = field(default_factory=Counter)  # reason -> packets
    seen: dict[tuple[str, str], list[int]] = field(default_factory=dict)  # (sender, agent) -> [packets, last_us]
    legs: int = 0  # open now
    waiting: int = 0  # packets handled and not stored yet
    lag_us: int = 0  # of the last write: its oldest packet's wait from receipt to commit
    problem: str = ""  # why the store cannot be written just now

    def line(self) -> bytes:
        seen = [[*pair, *figures] for pair, figures in self.seen.items()]
        return (
            orjson.dumps(
                {
                    "handled": self.handled, "stored": self.stored, "logs": self.logs, "refused": self.refused, "seen": seen,
                    "legs": self.legs, "waiting": self.waiting, "lag_us": self.lag_us, "problem": self.problem,
                }
            )
            + b"\n"
        )  # fmt: skip


class Worker:
    def __init__(self, configuration: Configuration, store: EventStore, rules: KeyRules) -> None:
        self.report = Report()
        self._store = store
        self._key = configuration.hep_key.encode()
        self._details = DetailReader(rules)
        self._open_legs = configuration.open_legs
        self._table = self._new_table()
        self._lines: list[LogRecord] = []
        self._pending = 0  # packets of the batch
        self._pending_bytes = 0
        self._oldest_us = 0  # receipt of the batch's first packet
        self._patient = True  # SIGTERM: waits no longer for the store

    def hurry(self, *_: object) -> None:
        self._patient = False

    def run(self, pipes: list[int]) -> None:
        """Until every pipe has ended."""
        poller = select.poll()
        for pipe in pipes:
            poller.register(pipe, select.POLLIN)
        left = len(pipes)
        collect_at = time.monotonic() + COLLECT_SECONDS
        tell_at = 0.0
        while left:
            for pipe, _ in poller.poll(self._patience_ms()):
                chunk = read_chunk(pipe)
                if chunk is None:
                    poller.unregister(pipe)
                    left -= 1
                else:
                    self.take(chunk)
                if self._is_full():
                    self.flush()
            if self._pending and clock.now_us() - self._oldest_us >= BATCH_SECONDS * 1e6:
                self.flush()
            now = time.monotonic()
            if now >= tell_at:
                tell_at = now + BATCH_SECONDS
                self._settle()
                self._tell()
            if now >= collect_at:
                collect_at = now + COLLECT_SECONDS
                gc.collect()
        self.flush()
        self._tell()

    def take(self, chunk: Chunk) -> None:
        """Decodes the packets of a chunk into the leg table."""
        received_us, key, refused = chunk.received_us, self._key, self.report.refused
        messages: list[SightingTuple] = []
        agents: list[str] = []
        for packet in chunk.packets():
            try:
                decoded = decode(packet, received_us)
            except HepError as error:
                refused[error.reason] += 1
                agents.append("")
                continue
            agents.append(decoded.agent)
            if key and not hmac.compare_digest(decoded.auth_key, key):
                refused["bad key"] += 1
            elif decoded.payload_type == SIP:
                messages.append(decoded[:5])
            else:
                line = to_log(decoded)
                if line is None:
                    refused[f"HEP type {decoded.payload_type}"] += 1
                else:
                    self._lines.append(log_record(line))
        self._table.add(messages)
        self._note_senders(chunk, agents)
        if not self._pending:
            self._oldest_us = received_us
        self._pending += len(agents)
        self._pending_bytes += len(chunk.data)
        self.report.handled += len(agents)

    def flush(self) -> None:
        """Writes the batch; waits for a store that is full or locked, for then the senders had better wait too."""
        taken = self._table.take(clock.now_us())
        self._write_all(taken, self._lines)
        stored(taken)
        self._lines = []
        self._pending = self._pending_bytes = 0
        report = self.report
        report.lag_us = max(0, clock.now_us() - self._oldest_us)
        report.legs = len(self._table)
        self._tell()

    def _settle(self) -> None:
        """Legs that fell silent are decided also when no packets come."""
        if not self._pending:
            taken = self._table.take(clock.now_us())
            if taken.settled:
                self._write_all(taken, [])
            self.report.legs = len(self._table)

    def _write_all(self, taken: Taken, lines: list[LogRecord]) -> None:
        report = self.report
        for batch in batches(taken).values():
            messages = sum(block.messages for block in batch.blocks)
            if self._persist(partial(self._store.write, batch)):
                report.stored += messages
            else:
                report.refused["store failed"] += messages
                self._table = self._new_table()  # its rows may refer to what is not there
        if lines:
            if self._persist(partial(self._store.write_logs, lines)):
                report.logs += len(lines)
            else:
                report.refused["store failed"] += len(lines)

    def _persist(self, write: Callable[[], None]) -> bool:
        """Tries until it is done; False when it was given up."""
        tries = 0
        while True:
            try:
                write()
            except EventStoreError as error:
                if not self.report.problem:
                    _log.error("the event store cannot be written, trying again", problem=str(error))
                self.report.problem = str(error)
                tries += not isinstance(error, StoreFull)
                if tries >= TRIES or not self._patient:
                    _log.error("a batch is given up", problem=str(error))
                    return False
                self._tell()
                time.sleep(RETRY_SECONDS)
            else:
                self.report.problem = ""
                return True

    def _note_senders(self, chunk: Chunk, agents: list[str]) -> None:
        if chunk.sender_of is None:
            sender = chunk.senders[0]
            counts = {(sender, agent): count for agent, count in Counter(agents).items()}
        else:
            pairs = Counter(zip(chunk.sender_of, agents, strict=True))
            counts = {(chunk.senders[index], agent): count for (index, agent), count in pairs.items()}
        seen = self.report.seen
        for pair, count in counts.items():
            if pair not in seen and len(seen) >= MOST_SEEN:
                pair = ("others", "")
            figures = seen.setdefault(pair, [0, 0])
            figures[0] += count
            figures[1] = chunk.received_us

    def _new_table(self) -> LegTable:
        return LegTable(most=self._open_legs, details=self._details, refused=self.report.refused)

    def _is_full(self) -> bool:
        return self._pending >= BATCH_MESSAGES or self._pending_bytes >= BATCH_BYTES

    def _patience_ms(self) -> float:
        if not self._pending:
            return BATCH_SECONDS * 1000
        return max(0.0, BATCH_SECONDS * 1000 - (clock.now_us() - self._oldest_us) / 1000)

    def _tell(self) -> None:
        self.report.waiting = self._pending
        with suppress(BrokenPipeError):  # the collector is gone; what it handed over is stored all the same
            os.write(1, self.report.line())


def main() -> None:
    (size,) = struct.unpack("=I", read_exactly(0, 4))
    configuration = Configuration(**orjson.loads(read_exactly(0, size)))
    configure_logs(configuration.log_format, f"collect-{configuration.number}")
    rules = load_rules(Path(configuration.rules) if configuration.rules else None)
    worker = Worker(configuration, open_store(configuration.store_url), rules)
    signal.signal(signal.SIGTERM, worker.hurry)
    gc.disable()
    worker.run([0] if configuration.udp_pipe is None else [0, configuration.udp_pipe])


if __name__ == "__main__":
    main()
