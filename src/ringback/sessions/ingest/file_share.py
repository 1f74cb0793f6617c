"""One process's share of a capture file: the messages of its Call-IDs, stored batch by batch and marked.

With every batch goes a mark of how much of the file is stored, so an import that was killed goes on where it stood: the
file is read again from its beginning to bring the leg table to the same state (a fraction of the first cost), and
writing begins behind the mark. Batches are cut by counts alone, so the second reading cuts them alike.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson

from ringback.events import Batch, EventStore, LegQuery, LegRow
from ringback.sessions.capture.pcap import CaptureReader, read_capture
from ringback.sessions.ingest.chunks import worker_of
from ringback.sessions.ingest.details import DetailReader
from ringback.sessions.ingest.legs import LegTable, Taken
from ringback.sessions.ingest.logs import log_record, new_logs
from ringback.sessions.ingest.media_records import encode_media
from ringback.sessions.ingest.packing import batches, stored
from ringback.sessions.keys import KeyRules
from ringback.sessions.story import SightingTuple

BATCH_MESSAGES = 8192
BATCH_BYTES = 6 * 1024 * 1024
OPEN_LEGS = 20_000
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


@dataclass(frozen=True, slots=True)
class Work:
    """Share `share` of `of` of a file; `name` is that of its mark. The first share also stores the log lines."""

    path: Path
    name: str
    environment: str
    rules: KeyRules
    force: bool
    share: int = 0
    of: int = 1


@dataclass(frozen=True, slots=True)
class Mark:
    """How far an import came: `messages` of the file are dealt with; of those up to `until` only `days` are."""

    messages: int = 0
    until: int = 0
    days: tuple[int, ...] = ()
    done: dict[str, int] | None = None  # figures of a finished import

    def __str__(self) -> str:
        return orjson.dumps([self.messages, self.until, self.days, self.done]).decode()

    @classmethod
    def parse(cls, text: str) -> Mark:
        messages, until, days, done = orjson.loads(text)
        return cls(messages, until, tuple(days), done)


class ShareImport:
    def __init__(self, store: EventStore, work: Work) -> None:
        self._store = store
        self._work = work
        self._result = FileImport(work.path)
        self._environment = work.environment
        self._table = LegTable(environment=work.environment, most=OPEN_LEGS, details=DetailReader(work.rules))
        self._name = work.name
        self._mark = Mark()
        self._fed = 0  # messages of the file dealt with
        self._own = 0  # of these, messages of this share
        self._last_row: Sequence[LegRow] = ()  # tells the day that the last mark is stored with

    def run(self, progress: Callable[[ImportProgress], None] | None = None) -> FileImport:
        """Raises OSError, NotACapture, EventStoreError."""
        with _without_cycles():
            return self._run(progress)

    def _run(self, progress: Callable[[ImportProgress], None] | None) -> FileImport:
        result, work, table = self._result, self._work, self._table
        mark = self._store.mark(self._name)
        if mark and not work.force:
            self._mark = Mark.parse(mark)
            if self._mark.done is not None:
                result.status = "already"
                figures = self._mark.done
                result.messages, result.legs = figures["messages"], figures["legs"]
                result.first_us, result.last_us = figures.get("first"), figures.get("last")
                return result
            result.status = "resumed"
        reader = read_capture(work.path)
        clock_us = 0
        for messages in _cut(reader, self._mark):
            self._fed += len(messages)
            times = [message[0] for message in messages]
            clock_us = max(clock_us, *times)
            result.first_us = min(times) if result.first_us is None else min(result.first_us, *times)
            if work.of > 1:
                messages = [each for each in messages if worker_of(each[2], work.of) == work.share]
            self._own += len(messages)
            table.add(messages)
            taken = table.take(clock_us)
            if self._fed <= self._mark.messages:
                stored(taken)  # by the import before
                if self._fed == self._mark.messages:
                    self._find_again(table.open_rows())
                continue
            self._write(taken, Mark(self._fed))
            if progress:
                progress(ImportProgress(work.path, reader.fraction, reader.counters.sip_messages))
        result.last_us = clock_us or None
        self._finish(reader, clock_us)
        return result

    def _write(self, taken: Taken, after: Mark) -> None:
        """Day by day, and with each day what has been stored then."""
        days = batches(taken)
        before = self._mark
        for day in before.days:
            self._find_again(days[day].legs)
        done = list(before.days)
        rest = [day for day in days if day not in done]
        for day in rest:
            done.append(day)
            mark = after if day == rest[-1] else Mark(before.messages, self._fed, tuple(done))
            self._store.write(replace(days[day], marks={self._name: str(mark)}))
        stored(taken)
        self._mark = after
        if days:
            self._last_row = days[max(days)].legs[-1:]

    def _finish(self, reader: CaptureReader, clock_us: int) -> None:
        """Log lines before the last mark: a crash between them repeats the lines, and `new_logs` drops them then."""
        result, table = self._result, self._table
        result.messages, result.legs = self._own - table.refused.total(), table.opened
        result.ignored.update(table.refused)
        if self._work.share == 0:
            self._tell(reader)
        settled = table.finish(clock_us)
        if self._fed:
            figures = {"messages": result.messages, "legs": result.legs}
            if result.first_us is not None and result.last_us is not None:
                figures |= {"first": result.first_us, "last": result.last_us}
            done = Mark(self._fed, done=figures)
            if settled.settled or settled.counts:
                self._write(settled, done)
            else:
                self._store.write(Batch(self._last_row, (), (), {self._name: str(done)}))

    def _tell(self, reader: CaptureReader) -> None:
        """What there is of a file once: its log lines and media figures, and what its reader counted."""
        result, counters = self._result, reader.counters
        lines = [log_record(line, environment=self._environment) for line in reader.logs]
        media = [encode_media(report, environment=self._environment) for report in reader.media if report.leg]
        if fresh := new_logs(self._store, [*lines, *media]):
            self._store.write_logs(fresh)
        result.packets, result.media_packets = counters.packets, counters.media_packets
        result.logs, result.media = len(lines), len(media)
        result.ignored.update(counters.ignored)
        result.problem = reader.problem

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


def _cut(reader: CaptureReader, mark: Mark) -> Iterator[list[SightingTuple]]:
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
