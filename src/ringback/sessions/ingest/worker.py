"""The process that decodes packets, keeps the legs of its share of the Call-IDs, and writes them to the event store.

Started as ``python -m ringback.sessions.ingest.worker``: a line of configuration and then chunks (see `chunks`) of the
stream connections on standard input, chunks of the UDP receiver on another pipe, a report as a line of JSON on standard
output after every write. It ends when both pipes have ended and everything is stored. "Stored" always means committed.

With a spool, references to its frames come through the second pipe in their place among the chunks. A store that is away
is then waited for as long as the spool has room, and what cannot be stored at the end is saved to the spool. From the end
of standard input on frames are left where they are, for the next start.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import orjson
import structlog

from ringback import clock
from ringback.events import Batch, EventStore, EventStoreError, LogRecord, StoreFull, WriteRefused, open_store
from ringback.logs import configure_logs
from ringback.sessions.capture.hep import SIP, HepError, decode
from ringback.sessions.capture.hep_logs import to_log
from ringback.sessions.ingest.backlog import Backlog
from ringback.sessions.ingest.chunks import Chunk, Reference, chunks_of, pack, read_chunk, read_exactly
from ringback.sessions.ingest.details import DetailReader
from ringback.sessions.ingest.hep_keys import KeysFollower
from ringback.sessions.ingest.legs import DAY_US, LegTable, Taken
from ringback.sessions.ingest.logs import log_record, new_logs
from ringback.sessions.ingest.packing import batches, stored
from ringback.sessions.ingest.spool import Board, FrameDamaged, Layout
from ringback.sessions.ingest.status import CountFile, Totals
from ringback.sessions.keys import KeyRules, load_rules
from ringback.sessions.ownership.following import RulesFollower
from ringback.sessions.ownership.lines import with_their_sessions
from ringback.sessions.ownership.rules import ONE_TENANT
from ringback.sessions.story import SightingTuple

BATCH_SECONDS = 1.0
BATCH_MESSAGES = 65_536
BATCH_BYTES = 48 * 1024 * 1024
RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 10.0
TRIES = 30  # of a batch that the store refuses for another reason than want of space, where no spool has room
ORPHAN_SECONDS = 12.0  # that a worker whose collector has died waits for the store
NICENESS = 5  # the receiver goes first: what it does not take in time nobody can store later
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
    spool: str = ""  # its folder; "" where there is none
    spool_bytes: int = 0  # its limit; 0: nothing new may be put there
    layout: str = ""  # id of the spool's layout, and the numbers of workers that have read it
    layers: tuple[int, ...] = (1,)
    traffic_rules: str = ""  # folder of the file with those in force (`ownership.following`); "": there is one tenant
    configuration: str = ""  # file of the options that are applied (`hep_keys`); "": there are none
    secrets_key: str = ""  # file that opens the secrets among them
    kept: bool = False  # frames of an earlier collector may be there
    board: int = -1  # descriptor of the memory shared with the receiver
    counts: str = ""  # file of the totals
    life: int = 0


@dataclass(slots=True)
class Report:
    """Totals since the worker's start, but for the last five."""

    handled: int = 0  # packets taken from the pipes
    stored: int = 0  # SIP messages committed
    logs: int = 0  # log lines committed
    refused: Counter[str] = field(default_factory=Counter)  # reason -> packets
    kept: int = 0  # packets that came out of frames of an earlier collector, and are dealt with
    seen: dict[tuple[str, str], list[int]] = field(default_factory=dict)  # (sender, agent) -> [packets, last_us]
    frame: int = 0  # of the spool, up to which everything is stored
    legs: int = 0  # open now
    waiting: int = 0  # packets handled and not stored yet
    lag_us: int = 0  # of the last write: its oldest packet's wait from receipt to commit
    problem: str = ""  # why the store cannot be written just now

    def line(self) -> bytes:
        seen = [[*pair, *figures] for pair, figures in self.seen.items()]
        document = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return orjson.dumps({**document, "seen": seen}) + b"\n"


class Worker:
    def __init__(
        self,
        configuration: Configuration,
        store: EventStore,
        rules: KeyRules,
        *,
        backlog: Backlog | None = None,
        counts: CountFile | None = None,
    ) -> None:
        self.report = Report()
        self._followed = RulesFollower(Path(configuration.traffic_rules)) if configuration.traffic_rules else None
        self._owners = self._followed.rules if self._followed else ONE_TENANT
        self._number = configuration.number
        self._store = store
        self._keys = KeysFollower(
            Path(configuration.configuration) if configuration.configuration else None,
            configuration.hep_key,
            Path(configuration.secrets_key) if configuration.secrets_key else None,
        )
        self._details = DetailReader(rules)
        self._open_legs = configuration.open_legs
        self._refused: Counter[str] = Counter()  # of the batch: counted when it is stored
        self._table = self._new_table()
        self._lines: list[LogRecord] = []
        self._kept_lines: list[LogRecord] = []  # out of frames that may have been read before
        self._kept = 0  # packets of the batch out of such frames
        self._pending = 0  # packets of the batch
        self._pending_bytes = 0
        self._oldest_us = 0  # receipt of the batch's first packet
        self._due = 0.0  # when it is to be written
        self._backlog = backlog
        self._counts = counts
        self._live: list[Chunk] = []  # the batch's chunks that are not in the spool
        self._stored_days: set[int] = set()  # of the batch that was given up
        self.saving = False  # the store is not waited for any more: everything goes to the spool
        self._heard = (0.0, 0)  # when a chunk was taken last, and when it was received
        self._framed_at = 0.0  # when a frame was read last
        self._patient = True  # SIGTERM: waits no longer for the store
        self._orphaned_at: float | None = None

    def hurry(self, *_: object) -> None:
        self._patient = False

    def run(self, pipes: list[int]) -> None:
        """Until every pipe has ended."""
        poller = select.poll()
        for pipe in pipes:
            poller.register(pipe, select.POLLIN)
        left = set(pipes)
        collect_at = time.monotonic() + COLLECT_SECONDS
        tell_at = 0.0
        while left:
            ready = poller.poll(self._patience_ms())
            for pipe, _ in ready:
                chunk = read_chunk(pipe)
                if chunk is None:
                    poller.unregister(pipe)
                    left.remove(pipe)
                elif isinstance(chunk, Chunk):
                    self.take(chunk)
                elif pipes[0] in left and not self.saving:
                    self.take_frame(chunk)
                if self._is_full():
                    self.flush()
            now = time.monotonic()
            if self._pending and now >= self._due:
                self.flush()
            if now >= tell_at:
                tell_at = now + BATCH_SECONDS
                self._follow_rules()
                self._keys.look()
                if not ready:  # else silence may only be that of packets that wait to be read
                    self._settle()
                self._tell()
            if now >= collect_at:
                collect_at = now + COLLECT_SECONDS
                gc.collect()
        self.flush()
        self._save()
        self._tell()

    def _follow_rules(self) -> None:
        """Legs that are open stay where they are."""
        if self._followed and self._followed.look():
            self._owners = self._table.owners = self._followed.rules

    def recall(self, *, kept: bool) -> None:
        """Learns what of the spool is stored, before anything is read of it."""
        backlog = self._backlog
        if backlog is None or self._persist(partial(self._recall, backlog, kept)):
            return
        self.saving = True

    def _recall(self, backlog: Backlog, kept: bool) -> None:
        if kept:
            backlog.recall(self._store)
        else:
            backlog.begin()
        self.report.frame = backlog.progress.frame

    def take(self, chunk: Chunk) -> None:
        """Decodes the packets of a chunk into the leg table."""
        if self._backlog and self._backlog.saves:
            self._live.append(chunk)
        if self.saving:
            return
        self._take(chunk.received_us, chunk.senders, chunk.sender_of, list(chunk.packets()))
        if not self._from_spool:
            self._heard = (time.monotonic(), chunk.received_us)

    def take_frame(self, reference: Reference) -> None:
        """Decodes what is this worker's of a frame of the spool."""
        backlog = self._backlog
        if backlog is None:
            raise RuntimeError("a frame of the spool, and no spool")
        received_us = 0
        try:
            for share in backlog.read(reference):
                received_us = share.received_us
                lines = len(self._lines)
                self._take(received_us, share.senders, share.sender_of, share.packets, share.done)
                if reference.kept:
                    self._kept += len(share.packets)
                    self._kept_lines += self._lines[lines:]
                    del self._lines[lines:]
        except (FrameDamaged, OSError) as error:
            _log.error("a frame of the spool cannot be read", problem=str(error))
            if self._number == 0:  # of its packets nobody knows whose they are
                self._refused["spool damaged"] += reference.packets
                self._begin_batch(received_us)
                self._pending += 1
        if received_us:
            self._framed_at = time.monotonic()
            self._heard = (self._framed_at, received_us)
        if not self._pending:
            backlog.stored()
            self.report.frame = backlog.progress.frame

    def _take(
        self,
        received_us: int,
        senders: Sequence[str],
        sender_of: Sequence[int] | None,
        packets: Sequence[bytes],
        done: Sequence[set[int]] | None = None,
    ) -> None:
        """`done`: midnights of days of which a packet's messages are stored already."""
        keys, refused = self._keys, self._refused
        asks = keys.asks
        messages: list[SightingTuple] = []
        agents: list[str] = []
        for index, packet in enumerate(packets):
            try:
                decoded = decode(packet, received_us)
            except HepError as error:
                refused[error.reason] += 1
                agents.append("")
                continue
            agents.append(decoded.agent)
            if asks and not keys.lets_in(decoded.auth_key):
                refused["bad key"] += 1
            elif decoded.payload_type == SIP:
                if done and decoded.time_us // DAY_US * DAY_US in done[index]:
                    self._kept -= 1
                    continue
                messages.append(decoded[:5])
            else:
                line = to_log(decoded)
                if line is None:
                    refused[f"HEP type {decoded.payload_type}"] += 1
                else:
                    self._lines.append(log_record(line, self._owners, decoded.hop))
        self._table.add(messages)
        self._note_senders(received_us, senders, sender_of, agents)
        self._begin_batch(received_us)
        self._pending += len(agents)
        self._pending_bytes += sum(map(len, packets))
        self.report.handled += len(agents)

    def _begin_batch(self, received_us: int) -> None:
        if not self._pending:
            self._oldest_us = received_us or clock.now_us()
            self._due = time.monotonic() + BATCH_SECONDS

    def flush(self) -> None:
        """Writes the batch; waits for a store that is full or locked, for then the senders had better wait too."""
        if self.saving:
            return
        taken = self._table.take(self._clock_us())
        if not self._write_all(taken):
            self.saving = True
            self._pending = 0
            self._live = [self._unstored(chunk) for chunk in self._live]
            return
        stored(taken)
        self._live.clear()
        self._pending = self._pending_bytes = 0
        report = self.report
        report.lag_us = max(0, clock.now_us() - self._oldest_us)
        report.legs = len(self._table)
        self._tell()

    def _settle(self) -> None:
        """Legs that fell silent are decided also when no packets come."""
        if not self._pending and not self.saving:
            taken = self._table.take(clock.now_us())
            if taken.settled:
                self._write_all(taken)
            self.report.legs = len(self._table)

    def _write_all(self, taken: Taken) -> bool:
        """False where it was given up and the spool takes it. Lines go first: they are told apart from those that are
        stored already, and the mark of the messages then tells of both."""
        backlog = self._backlog
        if self._lines and not self._write(partial(self._write_lines, self._lines), len(self._lines)):
            return False
        self._lines = []
        if self._kept_lines and not self._write(self._write_kept_lines, len(self._kept_lines)):
            return False
        self._kept_lines = []
        days = batches(taken)
        marking = backlog is not None and backlog.taken > backlog.progress.frame and self._pending > 0
        if marking and not days:
            days = {0: Batch((), ())}
        done: list[int] = []
        for day, batch in days.items():
            done.append(day)
            if backlog and marking:
                progress = backlog.after_days(done) if len(done) < len(days) else backlog.after_all()
                batch = replace(batch, marks={backlog.mark: str(progress)})
            messages = sum(block.messages for block in batch.blocks)
            if not self._write(partial(self._write_batch, batch, messages), messages):
                self._stored_days = set(done[:-1])
                return False
        if backlog and marking:
            backlog.stored()
            self.report.frame = backlog.progress.frame
        self.report.refused.update(self._refused)
        self._refused.clear()
        self.report.kept += self._kept
        self._kept = 0
        return True

    def _write(self, write: Callable[[], None], packets: int) -> bool:
        """False where the spool is to have what could not be written; what nobody takes is counted."""
        try:
            persisted = self._persist(write)
        except WriteRefused as error:
            _log.error("the event store refuses a part of a batch for good", problem=str(error))
            self.report.refused["store refused"] += packets  # how many of them is not known: all are told as lost
            self._table = self._new_table()
            return True
        if persisted:
            self._count()
            return True
        if not self._patient and self._backlog and self._backlog.saves:
            return False
        self.report.refused["store failed"] += packets
        self._table = self._new_table()  # its rows may refer to what is not there
        return True

    def _write_batch(self, batch: Batch, messages: int) -> None:
        self._store.write(batch)
        self.report.stored += messages

    def _write_lines(self, lines: list[LogRecord]) -> None:
        self._write_new_lines(self._placed(lines))

    def _write_new_lines(self, lines: Sequence[LogRecord]) -> None:
        self._store.write_logs(lines)
        self.report.logs += len(lines)

    def _placed(self, lines: Sequence[LogRecord]) -> list[LogRecord]:
        """Lines of a session go where it is, which is known now, as the messages of the batch are in the table."""
        return with_their_sessions(self._store, self._owners, lines, self._table.environment_of)

    def _write_kept_lines(self) -> None:
        fresh = new_logs(self._store, self._placed(self._kept_lines))
        if fresh:
            self._write_new_lines(fresh)
        self._kept -= len(self._kept_lines) - len(fresh)  # they were counted when they were stored

    def _unstored(self, chunk: Chunk) -> Chunk:
        """Without messages of days that are stored."""
        if not self._stored_days:
            return chunk
        packets = list(chunk.packets())
        kept = [index for index, each in enumerate(packets) if self._day(each, chunk) not in self._stored_days]
        sender_of = [chunk.sender_of[index] for index in kept] if chunk.sender_of is not None else []
        (rest,) = chunks_of(pack(chunk.received_us, chunk.senders, sender_of, [packets[index] for index in kept]))
        return rest

    def _day(self, packet: bytes, chunk: Chunk) -> int | None:
        """Midnight of a message's day; None of what is none."""
        try:
            decoded = decode(packet, chunk.received_us)
        except HepError:
            return None
        return decoded.time_us // DAY_US * DAY_US if decoded.payload_type == SIP else None

    def _save(self) -> None:
        """What came live and could not be stored, to the spool. What is in its frames already stays there."""
        if not self.saving or self._backlog is None or not self._live:
            return
        try:
            self._backlog.save(
                [
                    pack(each.received_us, each.senders, each.sender_of or (), list(each.packets()))
                    for each in self._live
                    if each.lengths
                ],
                partly=bool(self._stored_days),
            )
        except OSError as error:
            lost = sum(len(each.lengths) for each in self._live)
            self.report.refused["store failed"] += lost
            _log.error("what could not be stored could not be saved either", packets=lost, problem=str(error))
        self._live = []

    def _persist(self, write: Callable[[], None]) -> bool:
        """Tries until it is done; False when it was given up. Raises WriteRefused, for that no trying helps."""
        tries = 0
        pause = RETRY_SECONDS
        while True:
            try:
                write()
            except WriteRefused:
                self.report.problem = ""
                raise
            except EventStoreError as error:
                if not self.report.problem:
                    _log.error("the event store cannot be written, trying again", problem=str(error))
                self.report.problem = str(error)
                tries += not isinstance(error, StoreFull)
                if self._gives_up(tries):
                    _log.error("a batch is given up", problem=str(error))
                    return False
                self._tell()
                self._sleep(pause)
                pause = min(pause * 1.5, LONGEST_RETRY_SECONDS)
            else:
                self.report.problem = ""
                return True

    def _gives_up(self, tries: int) -> bool:
        if not self._patient:
            return True
        if self._backlog and self._backlog.saves:
            return tries >= TRIES and not self._backlog.has_room
        return tries >= TRIES

    def _sleep(self, seconds: float) -> None:
        """Less when there is no more patience."""
        until = time.monotonic() + seconds
        while self._patient and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))
            if self._backlog and self._is_orphan():
                self._patient = False

    def _is_orphan(self) -> bool:
        """The collector ended without a word, and long ago."""
        poller = select.poll()
        poller.register(0, 0)
        if not any(event & select.POLLHUP for _, event in poller.poll(0)):
            return False
        now = time.monotonic()
        self._orphaned_at = self._orphaned_at or now
        return now - self._orphaned_at > ORPHAN_SECONDS

    def _clock_us(self) -> int:
        """The time that the leg table lives in: that of what is read, for behind it a leg's next message may wait."""
        read_at, received_us = self._heard
        return received_us if time.monotonic() - read_at < BATCH_SECONDS else clock.now_us()

    @property
    def _from_spool(self) -> bool:
        return time.monotonic() - self._framed_at < BATCH_SECONDS

    def _note_senders(
        self, received_us: int, senders: Sequence[str], sender_of: Sequence[int] | None, agents: list[str]
    ) -> None:
        if sender_of is None:
            sender = senders[0]
            counts = {(sender, agent): count for agent, count in Counter(agents).items()}
        else:
            pairs = Counter(zip(sender_of, agents, strict=True))
            counts = {(senders[index], agent): count for (index, agent), count in pairs.items()}
        seen = self.report.seen
        for pair, count in counts.items():
            if pair not in seen and len(seen) >= MOST_SEEN:
                pair = ("others", "")
            figures = seen.setdefault(pair, [0, 0])
            figures[0] += count
            figures[1] = max(figures[1], received_us)

    def _new_table(self) -> LegTable:
        return LegTable(owners=self._owners, most=self._open_legs, details=self._details, refused=self._refused)

    def _is_full(self) -> bool:
        return self._pending >= BATCH_MESSAGES or self._pending_bytes >= BATCH_BYTES

    def _patience_ms(self) -> float:
        if not self._pending:
            return BATCH_SECONDS * 1000
        return max(0.0, (self._due - time.monotonic()) * 1000)

    def _count(self) -> None:
        """For the time after a crash."""
        if self._counts:
            report = self.report
            self._counts.write(Totals(stored=report.stored, logs=report.logs, lost=dict(report.refused)))

    def _tell(self) -> None:
        self.report.waiting = self._pending
        self._count()
        with suppress(BrokenPipeError):  # the collector is gone; what it handed over is stored all the same
            os.write(1, self.report.line())


def main() -> None:
    (size,) = struct.unpack("=I", read_exactly(0, 4))
    configuration = Configuration(**orjson.loads(read_exactly(0, size)))
    configure_logs(configuration.log_format, f"collect-{configuration.number}")
    os.nice(NICENESS)
    rules = load_rules(Path(configuration.rules) if configuration.rules else None)
    worker = Worker(
        configuration,
        _opened(configuration.store_url),
        rules,
        backlog=_backlog(configuration),
        counts=CountFile(Path(configuration.counts), configuration.life) if configuration.counts else None,
    )
    signal.signal(signal.SIGTERM, worker.hurry)
    gc.disable()
    worker.recall(kept=configuration.kept)
    worker.run([0] if configuration.udp_pipe is None else [0, configuration.udp_pipe])


def _opened(url: str) -> EventStore:
    """Waits for a store that is away."""
    while True:
        try:
            return open_store(url)
        except EventStoreError as error:
            _log.error("the event store cannot be opened, trying again", problem=str(error))
            time.sleep(LONGEST_RETRY_SECONDS / 2)


def _backlog(configuration: Configuration) -> Backlog | None:
    if not configuration.spool:
        return None
    layout = Layout(configuration.layout, tuple(configuration.layers))
    board = Board(configuration.board, layout.layers[-1])
    return Backlog(Path(configuration.spool), configuration.spool_bytes, layout, configuration.number, board)


if __name__ == "__main__":
    main()
