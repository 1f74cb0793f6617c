"""Captures taken into the event store, again and again without storing anything twice.

A file is known by a fingerprint of its content. With every batch goes a mark of how many of its messages are stored, so
an import that was killed goes on where it stood: the file is read again from its beginning to bring the leg table to
the same state (a fraction of the first cost), and writing begins behind the mark. Batches are cut by counts alone, so
the second reading cuts them alike.
"""

from __future__ import annotations

import gc
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import orjson

from ringback.events.store import Batch, EventStore, LegQuery, LegRow
from ringback.sessions.capture.pcap import CaptureReader, NotACapture, read_capture
from ringback.sessions.ingest.details import DetailReader
from ringback.sessions.ingest.legs import LegTable, Taken
from ringback.sessions.ingest.logs import log_record, new_logs
from ringback.sessions.ingest.media_records import encode_media
from ringback.sessions.ingest.packing import batches, stored
from ringback.sessions.keys import DEFAULT_RULES, KeyRules
from ringback.sessions.story import SightingTuple

BATCH_MESSAGES = 16_384
BATCH_BYTES = 12 * 1024 * 1024
OPEN_LEGS = 20_000
_MARK = "import:"
_SAMPLE = 1 << 20
_SAMPLES = 16
_LOOK_UPS = 200


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """`fraction` of the file read, 0.0-1.0; messages found in it so far."""

    path: Path
    fraction: float
    messages: int


@dataclass(slots=True)
class FileImport:
    """What became of one file. `status`: imported, resumed (the rest of it was imported), already (it had been before),
    failed (`problem` says why; what was read before is stored)."""

    path: Path
    status: str = "imported"
    problem: str = ""  # also of an imported file that is damaged from some place on
    packets: int = 0
    messages: int = 0
    legs: int = 0
    media: int = 0  # RTP streams and reports
    logs: int = 0
    media_packets: int = 0
    ignored: Counter[str] = field(default_factory=Counter)  # reason -> packets, or messages that are no SIP
    first_us: int | None = None
    last_us: int | None = None


@dataclass(slots=True)
class ImportSummary:
    files: list[FileImport]
    seconds: float

    @property
    def messages(self) -> int:
        return sum(file.messages for file in self.files if file.status != "already")


@dataclass(frozen=True, slots=True)
class _Mark:
    """How far an import came: `messages` of the file are stored whole; of those up to `until` only `days` are."""

    messages: int = 0
    until: int = 0
    days: tuple[int, ...] = ()
    done: dict[str, int] | None = None  # figures of a finished import

    def __str__(self) -> str:
        return orjson.dumps([self.messages, self.until, self.days, self.done]).decode()

    @classmethod
    def parse(cls, text: str) -> _Mark:
        messages, until, days, done = orjson.loads(text)
        return cls(messages, until, tuple(days), done)


def import_files(
    store: EventStore,
    paths: Sequence[Path],
    progress: Callable[[ImportProgress], None] | None = None,
    *,
    force: bool = False,
    environment: str = "default",
    rules: KeyRules = DEFAULT_RULES,
) -> ImportSummary:
    """Each file that can be read; the others are told as failed. `force` imports a file once more that is in already.

    Raises EventStoreError where the store cannot be written: what was imported till then is stored, and the next call
    goes on from there.
    """
    began = time.monotonic()
    files = []
    with _without_cycles():
        for path in paths:
            result = FileImport(path)
            files.append(result)
            try:
                _Import(store, result, environment, rules, force=force).run(progress)
            except (OSError, NotACapture) as error:
                result.status, result.problem = "failed", _why(error)
    return ImportSummary(files, time.monotonic() - began)


def fingerprint(file: BinaryIO) -> str:
    """The same for the same content: its length, its beginning, and samples spread over the rest. The stamps of a
    capture's first packets differ between any two captures, so the samples need not cover everything."""
    size = file.seek(0, 2)
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    step = max(_SAMPLE, (size - _SAMPLE) // _SAMPLES)
    for place in range(0, size, step):
        file.seek(place)
        digest.update(file.read(_SAMPLE if place == 0 else _SAMPLE // _SAMPLES))
    file.seek(0)
    return digest.hexdigest()


class _Import:
    def __init__(
        self, store: EventStore, result: FileImport, environment: str, rules: KeyRules, *, force: bool
    ) -> None:
        self._store = store
        self._result = result
        self._environment = environment
        self._force = force
        self._table = LegTable(environment=environment, most=OPEN_LEGS, details=DetailReader(rules))
        self._name = ""
        self._mark = _Mark()
        self._fed = 0  # messages given to the table
        self._last_row: Sequence[LegRow] = ()  # tells the day that the last mark is stored with

    def run(self, progress: Callable[[ImportProgress], None] | None) -> None:
        result = self._result
        with result.path.open("rb") as file:
            self._name = _MARK + fingerprint(file)
        mark = self._store.mark(self._name)
        if mark and not self._force:
            self._mark = _Mark.parse(mark)
            if self._mark.done is not None:
                result.status = "already"
                figures = self._mark.done
                result.messages, result.legs = figures["messages"], figures["legs"]
                result.first_us, result.last_us = figures.get("first"), figures.get("last")
                return
            result.status = "resumed"
        reader = read_capture(result.path)
        clock_us = 0
        for messages in _cut(reader, self._mark):
            self._table.add(messages)
            self._fed += len(messages)
            times = [message[0] for message in messages]
            clock_us = max(clock_us, *times)
            result.first_us = min(times) if result.first_us is None else min(result.first_us, *times)
            taken = self._table.take(clock_us)
            if self._fed <= self._mark.messages:
                stored(taken)  # by the import before
                if self._fed == self._mark.messages:
                    self._find_again(self._table.open_rows())
                continue
            self._write(taken, _Mark(self._fed))
            if progress:
                progress(ImportProgress(result.path, reader.fraction, reader.counters.sip_messages))
        result.last_us = clock_us or None
        self._finish(reader, clock_us)
        if progress:
            progress(ImportProgress(result.path, 1.0, result.messages))

    def _write(self, taken: Taken, after: _Mark) -> None:
        """Day by day, and with each day what has been stored then."""
        days = batches(taken)
        before = self._mark
        for day in before.days:
            self._find_again(days[day].legs)
        done = list(before.days)
        rest = [day for day in days if day not in done]
        for day in rest:
            done.append(day)
            mark = after if day == rest[-1] else _Mark(before.messages, self._fed, tuple(done))
            self._store.write(replace(days[day], marks={self._name: str(mark)}))
        stored(taken)
        self._mark = after
        if days:
            self._last_row = days[max(days)].legs[-1:]

    def _finish(self, reader: CaptureReader, clock_us: int) -> None:
        """Log lines before the last mark: a crash between them repeats the lines, and `new_logs` drops them then."""
        result, table = self._result, self._table
        reports = [report for report in reader.media if report.leg]
        lines = [log_record(line, environment=self._environment) for line in reader.logs]
        media = [encode_media(report, environment=self._environment) for report in reports]
        if fresh := new_logs(self._store, [*lines, *media]):
            self._store.write_logs(fresh)
        counters = reader.counters
        result.packets, result.media_packets = counters.packets, counters.media_packets
        result.messages, result.legs = self._fed - table.refused.total(), table.opened
        result.logs, result.media = len(lines), len(media)
        result.ignored = counters.ignored + table.refused
        result.problem = reader.problem
        settled = table.finish(clock_us)
        if self._fed:
            figures = {"messages": result.messages, "legs": result.legs}
            if result.first_us is not None and result.last_us is not None:
                figures |= {"first": result.first_us, "last": result.last_us}
            done = _Mark(self._fed, done=figures)
            if settled.settled or settled.counts:
                self._write(settled, done)
            else:
                self._store.write(Batch(self._last_row, (), (), {self._name: str(done)}))

    def _find_again(self, rows: Iterable[LegRow]) -> None:
        """The references of rows that an import before this one stored."""
        missing = [row for row in rows if row.ref is None]
        for start in range(0, len(missing), _LOOK_UPS):
            part = {(row.call_id, row.started_us): row for row in missing[start : start + _LOOK_UPS]}
            times = [started for _, started in part]
            query = LegQuery(
                (self._environment,), min(times), max(times) + 1, call_ids=tuple({call_id for call_id, _ in part})
            )
            cursor = None
            while True:
                page = self._store.search(query, limit=500, cursor=cursor, deadline_s=60)
                for found in page.rows:
                    row = part.get((found.call_id, found.started_us))
                    if row is not None and (row.ref is None or found.messages == row.messages):
                        row.ref = found.ref
                cursor = page.cursor
                if cursor is None:
                    break


def _cut(reader: CaptureReader, mark: _Mark) -> Iterator[list[SightingTuple]]:
    """Batches, by counts alone; the places that `mark` tells of are always ends of batches."""
    places = [place for place in (mark.messages, mark.until) if place]
    held: list[SightingTuple] = []
    fed = since = 0
    for piece in reader.batches():
        held += piece
        while places and fed + len(held) >= places[0]:
            count = places.pop(0) - fed
            if count:
                yield held[:count]
            held, fed, since = held[count:], fed + count, reader.position
        if len(held) >= BATCH_MESSAGES or reader.position - since >= BATCH_BYTES:
            if held:
                yield held
            fed, since, held = fed + len(held), reader.position, []
    if held:
        yield held


def _why(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


@contextmanager
def _without_cycles() -> Iterator[None]:
    """Nothing that is made here refers to itself, and looking for what does costs a tenth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
