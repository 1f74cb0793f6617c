"""The event store in files of one folder: see the README of the room for the format and what holds."""

from __future__ import annotations

import shutil
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

from ringback import clock
from ringback.events.cursors import checked_limit
from ringback.events.sqlite import audit, chains, key_filter, leg_search, logs, rollups
from ringback.events.sqlite import cursor as cursors
from ringback.events.sqlite.audit import AuditWriter
from ringback.events.sqlite.cursor import Place
from ringback.events.sqlite.entries import id_range
from ringback.events.sqlite.files import Folder, SegmentFile
from ringback.events.sqlite.logs import LogWriter
from ringback.events.sqlite.readers import Deadline, Readers
from ringback.events.sqlite.schema import AUDIT_BITS, TIME_BITS, Damaged
from ringback.events.sqlite.sip_writer import SipWriter
from ringback.events.sqlite.writers import Writers
from ringback.events.store import (
    DAY_US,
    AuditPage,
    AuditQuery,
    AuditRow,
    Batch,
    BlockSlice,
    BlockWrite,
    Bucket,
    EventStoreError,
    LegPage,
    LegQuery,
    LegRow,
    LogPage,
    LogQuery,
    LogRecord,
    SegmentStatus,
    SegmentUnreadable,
    StoreStatus,
)

_STATUS_SECONDS = 10.0
_MARK_SECONDS = 60.0

Timed = TypeVar("Timed", LogRecord, AuditRow)


class SqliteEventStore:
    """An `EventStore` in the folder `path`, which is made where it is missing. Many processes may share it."""

    def __init__(self, path: Path) -> None:
        self._folder = Folder(path)
        self._readers = Readers()
        self._writing = threading.Lock()
        self._marked_us = 0
        self._sip = Writers(self._folder, SipWriter)
        self._log = Writers(self._folder, LogWriter)
        self._audit = Writers(self._folder, AuditWriter)

    def write(self, batch: Batch) -> None:
        days = {self._folder.main("sip", midnight): day for midnight, day in _by_day(batch).items()}
        with self._writing:
            # Later than the mark before it even where the clock stands still or goes back.
            self._marked_us = max(clock.now_us(), self._marked_us + 1)
            self._sip.write({file: partial(_stage, day=day, marked_us=self._marked_us) for file, day in days.items()})

    def write_logs(self, records: Sequence[LogRecord]) -> None:
        work = {
            file: partial(LogWriter.stage, records=theirs) for file, theirs in self._by_file("log", records).items()
        }
        with self._writing:
            self._log.write(work)

    def write_audit(self, rows: Sequence[AuditRow]) -> None:
        work = {
            file: partial(AuditWriter.stage, rows=theirs) for file, theirs in self._by_file("audit", rows).items()
        }
        with self._writing:
            self._audit.write(work)

    def _by_file(self, kind: str, rows: Sequence[Timed]) -> dict[SegmentFile, list[Timed]]:
        days: dict[int, list[Timed]] = defaultdict(list)
        for row in rows:
            days[row.time_us // DAY_US].append(row)
        return {self._folder.main(kind, day * DAY_US): theirs for day, theirs in days.items()}

    def mark(self, name: str) -> str | None:
        newest: tuple[int, str] | None = None
        deadline = Deadline(_MARK_SECONDS)
        for file in self._folder.segments("sip"):
            with self._readers.open(file, deadline) as reader:
                if reader:
                    for written, value in reader.rows("SELECT written, value FROM mark WHERE name = ?", (name,)):
                        newest = max(newest or (written, value), (written, value))
        return newest[1] if newest else None

    def search(
        self, query: LegQuery, limit: int = 50, cursor: str | None = None, deadline_s: float = 10.0
    ) -> LegPage:
        deadline, limit = Deadline(deadline_s), checked_limit(limit)
        place = cursors.parsed(cursor, query)
        found: list[tuple[Place, LegRow]] = []
        for midnight, files in reversed(self._days("sip", query.start_us, query.end_us)):
            if len(found) > limit or (place and place.is_behind(midnight)):
                continue
            day: list[tuple[Place, LegRow]] = []
            for file in files:
                low, high = id_range(midnight, query.start_us, query.end_us)
                if place and midnight == place.midnight_us:
                    low, high = place.narrowed(low, high, file.part)
                with self._readers.open(file, deadline) as reader:
                    if reader:
                        legs = leg_search.legs(reader, query, low, high)
                        day += [(_place(file, leg), leg) for leg in islice(legs, limit + 1 - len(found))]
            found += sorted(day, key=itemgetter(0), reverse=True)
        rows = [leg for _, leg in found[:limit]]
        return LegPage(rows, cursors.written(found[limit - 1][0], query) if len(found) > limit else None)

    def by_keys(
        self,
        environments: tuple[str, ...],
        keys: Iterable[str],
        start_us: int,
        end_us: int,
        limit: int = 200,
        deadline_s: float = 10.0,
    ) -> list[LegRow]:
        deadline = Deadline(deadline_s)
        wanted = tuple(keys)
        found: list[LegRow] = []
        for midnight, files in self._days("sip", start_us, end_us) if wanted else ():
            # A leg that overlaps the interval may begin before it, but not before the day.
            query = LegQuery(environments, midnight, min(end_us, midnight + DAY_US), keys=wanted)
            low, high = id_range(midnight, query.start_us, query.end_us)
            day: list[LegRow] = []
            for file in files:
                with self._readers.open(file, deadline) as reader:
                    if reader:
                        legs = leg_search.legs(reader, query, low, high, newest_first=False)
                        day += islice((leg for leg in legs if leg.ended_us >= start_us), limit - len(found))
            found += sorted(day, key=lambda leg: (leg.started_us, leg.ref or ""))[: limit - len(found)]
        return found

    def blocks(self, legs: Sequence[LegRow], deadline_s: float = 10.0) -> list[BlockSlice]:
        deadline = Deadline(deadline_s)
        refs: dict[str, list[str]] = defaultdict(list)
        for leg in legs:
            if leg.ref is None:
                raise ValueError(f"leg {leg.call_id} was never written")
            refs[leg.ref.partition("/")[0]].append(leg.ref)
        found: list[tuple[int, int, BlockSlice]] = []
        for name in sorted(refs):
            with self._readers.open(self._folder.named(name), deadline) as reader:
                if reader is None:
                    raise SegmentUnreadable(f"segment {name} is no longer stored: retention took it away")
                found += chains.slices(reader, dict.fromkeys(refs[name]), deadline)
        return [slice_ for *_, slice_ in sorted(found, key=lambda each: (*each[:2], each[2].first))]

    def histogram(self, query: LegQuery, width_us: int, deadline_s: float = 10.0) -> list[Bucket]:
        if width_us <= 0 or width_us % rollups.MINUTE_US:
            raise ValueError(f"a bucket is whole minutes wide, not {width_us} µs")
        deadline = Deadline(deadline_s)
        counts: rollups.Counts = Counter()
        for midnight, files in self._days("sip", query.start_us, query.end_us):
            low, high = id_range(midnight, query.start_us, query.end_us)
            for file in files:
                with self._readers.open(file, deadline) as reader:
                    if reader and rollups.is_plain(query):
                        counts.update(rollups.by_minute(reader, query, width_us))
                    elif reader:
                        counts.update(rollups.by_leg(reader, query, width_us, low, high))
        buckets: dict[int, Bucket] = {}
        for (start, outcome), sessions in sorted(counts.items()):
            if sessions > 0:
                buckets.setdefault(start, Bucket(start, {})).outcomes[outcome] = sessions
        return list(buckets.values())

    def search_logs(
        self, query: LogQuery, limit: int = 500, cursor: str | None = None, deadline_s: float = 10.0
    ) -> LogPage:
        deadline, limit = Deadline(deadline_s), checked_limit(limit)
        place = cursors.parsed(cursor, query)
        backwards = query.newest_first
        days = self._days("log", query.start_us, query.end_us)
        found: list[tuple[Place, LogRecord]] = []
        for midnight, files in reversed(days) if backwards else days:
            if len(found) > limit or (place and place.is_behind(midnight, newest_first=backwards)):
                continue
            day: list[tuple[Place, LogRecord]] = []
            for file in files:
                low, high = id_range(midnight, query.start_us, query.end_us)
                if place and midnight == place.midnight_us:
                    low, high = place.narrowed(low, high, file.part, newest_first=backwards)
                with self._readers.open(file, deadline) as reader:
                    if reader:
                        lines = islice(logs.records(reader, query, low, high), limit + 1 - len(found))
                        day += [(Place(midnight, id_, file.part), record) for id_, record in lines]
            found += sorted(day, key=itemgetter(0), reverse=backwards)
        records = [record for _, record in found[:limit]]
        return LogPage(records, cursors.written(found[limit - 1][0], query) if len(found) > limit else None)

    def search_audit(
        self, query: AuditQuery, limit: int = 50, cursor: str | None = None, deadline_s: float = 10.0
    ) -> AuditPage:
        deadline, limit = Deadline(deadline_s), checked_limit(limit)
        place = cursors.parsed(cursor, query)
        found: list[tuple[Place, AuditRow]] = []
        for midnight, files in reversed(self._audit_days(query)):
            if len(found) > limit or (place and place.is_behind(midnight)):
                continue
            before = place.id if place and place.midnight_us == midnight else None
            day = self._audit_day(query, files, before, limit + 1 - len(found), deadline)
            found += [(Place(midnight, id_, 0), row) for id_, row in day]
        rows = [row for _, row in found[:limit]]
        return AuditPage(rows, cursors.written(found[limit - 1][0], query) if len(found) > limit else None)

    def count_audit(self, query: AuditQuery, at_most: int = 10_000, deadline_s: float = 10.0) -> int:
        deadline, found = Deadline(deadline_s), 0
        for _, files in self._audit_days(query):
            if found < at_most:
                day = set[int]()
                for file in files:
                    low, high = id_range(file.start_us, query.start_us, query.end_us, AUDIT_BITS)
                    with self._readers.open(file, deadline) as reader:
                        if reader:
                            some = islice(audit.ids(reader, query, low, high), at_most - found)
                            day |= {record for _, record in some}
                found = min(found + len(day), at_most)
        return found

    def status(self) -> StoreStatus:
        segments = [segment for file in self._folder.segments() if (segment := self._segment_status(file))]
        return StoreStatus("sqlite", segments, shutil.disk_usage(self._folder.path).free)

    def drop_before(self, kind: str, before_us: int, *, written_before_us: int | None = None) -> list[str]:
        dropped = []
        for file in self._folder.segments(kind):
            spared = written_before_us is not None and kind != "audit"
            fresh = spared and file.written_us() >= (written_before_us or 0)
            if file.end_us <= before_us and not fresh:
                self._folder.remove(file)
                self._readers.forget(file)
                dropped.append(file.name)
        return dropped

    def close(self) -> None:
        with self._writing:
            self._sip.close()
            self._log.close()
            self._audit.close()
        self._readers.close()

    def _days(self, kind: str, start_us: int, end_us: int) -> list[tuple[int, list[SegmentFile]]]:
        """Segments by the midnight their day begins with, oldest first."""
        days: dict[int, list[SegmentFile]] = defaultdict(list)
        for file in self._folder.segments(kind, start_us, end_us) if start_us < end_us else ():
            days[file.start_us].append(file)
        return sorted(days.items())

    def _audit_days(self, query: AuditQuery) -> list[tuple[int, list[SegmentFile]]]:
        """Of those segments that may have rows of the query."""
        wanted = audit.wanted_keys(query)
        days = self._days("audit", query.start_us, query.end_us) if query.environments else []
        held = [(day, [file for file in files if key_filter.may_hold(file, wanted)]) for day, files in days]
        return [(day, files) for day, files in held if files]

    def _audit_day(
        self, query: AuditQuery, files: list[SegmentFile], before: int | None, count: int, deadline: Deadline
    ) -> list[tuple[int, AuditRow]]:  # fmt: skip
        """The `count` newest with an id below `before`. A row that stands in two parts of the day, for it was written
        again after one was damaged, is one row: in both it has the same id."""
        found: dict[int, tuple[int, AuditRow]] = {}
        for file in files:
            low, high = id_range(file.start_us, query.start_us, query.end_us, AUDIT_BITS)
            if before is not None:
                high = min(high, before - 1)
            with self._readers.open(file, deadline) as reader:
                if reader:
                    some = islice(audit.rows(reader, query, low, high), count)
                    found |= {row.id: (id_, row) for id_, row in some}
        return sorted(found.values(), key=itemgetter(0), reverse=True)[:count]

    def _segment_status(self, file: SegmentFile) -> SegmentStatus | None:
        """None where the segment went away in the meantime."""
        rows = messages = first_us = last_us = 0
        problem = file.problem()
        try:
            with self._readers.open(file, Deadline(_STATUS_SECONDS)) as reader:
                if reader is None:
                    return None
                ((rows, messages, first, last_us),) = reader.rows(
                    "SELECT coalesce(sum(rows), 0), coalesce(sum(messages), 0), coalesce(min(first), 0),"
                    " coalesce(max(last_us), 0) FROM slice"
                )
                first_us = file.start_us + (first >> TIME_BITS[file.kind]) if rows else 0
        except EventStoreError as error:
            problem = error.reason if isinstance(error, Damaged) else str(error)
        return SegmentStatus(
            name=file.name,
            kind=file.kind,
            day=file.day,
            bytes=file.size(),
            legs=rows if file.kind == "sip" else 0,
            messages=messages,
            logs=rows if file.kind == "log" else 0,
            first_us=first_us,
            last_us=last_us,
            problem=problem,
            audits=rows if file.kind == "audit" else 0,
        )


class _Day:
    """What of a batch belongs to one day."""

    def __init__(self) -> None:
        self.legs: list[LegRow] = []
        self.blocks: list[BlockWrite] = []
        self.counts: list[tuple[str, int, str, int]] = []
        self.marks: dict[str, str] = {}


def _by_day(batch: Batch) -> dict[int, _Day]:
    """By the midnight that the day begins with."""
    days: defaultdict[int, _Day] = defaultdict(_Day)
    for leg in batch.legs:
        days[leg.started_us // DAY_US * DAY_US].legs.append(leg)
    for block in batch.blocks:
        start = block.parts[0].leg.started_us if block.parts else block.started_us
        days[start // DAY_US * DAY_US].blocks.append(block)
    for count in batch.counts:
        days[count[1] // DAY_US * DAY_US].counts.append(count)
    if batch.marks:
        # Days are committed in order: the mark comes last, so it never tells of more than is stored.
        days[max(days, default=clock.now_us() // DAY_US * DAY_US)].marks = batch.marks
    return days


def _stage(writer: SipWriter, day: _Day, marked_us: int) -> None:
    writer.stage(day.legs, day.blocks, day.counts, day.marks, marked_us)


def _place(file: SegmentFile, leg: LegRow) -> Place:
    return Place(file.start_us, int((leg.ref or "").rpartition("/")[2], 16), file.part)
