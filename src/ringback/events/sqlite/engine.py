"""The event store in files of one folder: see the README of the room for the format and what holds."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from ringback import clock
from ringback.events.sqlite import chains, leg_search
from ringback.events.sqlite import cursor as cursors
from ringback.events.sqlite.cursor import Place
from ringback.events.sqlite.files import Folder, SegmentFile
from ringback.events.sqlite.readers import Deadline, Readers
from ringback.events.sqlite.sip_writer import SipWriter
from ringback.events.sqlite.writers import Writers
from ringback.events.store import (
    DAY_US,
    Batch,
    BlockSlice,
    BlockWrite,
    LegPage,
    LegQuery,
    LegRow,
    SegmentUnreadable,
)  # fmt: skip


class SqliteEventStore:
    """An `EventStore` in the folder `path`, which is made where it is missing. Many processes may share it."""

    def __init__(self, path: Path) -> None:
        self._folder = Folder(path)
        self._readers = Readers()
        self._writing = threading.Lock()
        self._sip = Writers(self._folder, SipWriter)

    def write(self, batch: Batch) -> None:
        work = {
            self._folder.main("sip", midnight): partial(_stage, day=day) for midnight, day in _by_day(batch).items()
        }
        with self._writing:
            self._sip.write(work)

    def mark(self, name: str) -> str | None:
        newest: tuple[int, str] | None = None
        deadline = Deadline(60)
        for file in self._folder.segments("sip"):
            with self._readers.open(file, deadline) as reader:
                if reader:
                    for written, value in reader.rows("SELECT written, value FROM mark WHERE name = ?", (name,)):
                        newest = max(newest or (written, value), (written, value))
        return newest[1] if newest else None

    def search(
        self, query: LegQuery, limit: int = 50, cursor: str | None = None, deadline_s: float = 10.0
    ) -> LegPage:
        deadline = Deadline(deadline_s)
        place = cursors.parsed(cursor, query)
        found: list[tuple[Place, LegRow]] = []
        for midnight, files in reversed(self._days("sip", query.start_us, query.end_us)):
            if len(found) > limit or (place and midnight > place.midnight_us):
                continue
            day: list[tuple[Place, LegRow]] = []
            for file in files:
                low, high = leg_search.id_range(midnight, query.start_us, query.end_us)
                if place and midnight == place.midnight_us:
                    high = min(high, place.id if file.part < place.part else place.id - 1)
                with self._readers.open(file, deadline) as reader:
                    if reader:
                        legs = leg_search.legs(reader, query, low, high)
                        day += [(_place(file, leg), leg) for leg in islice(legs, limit + 1 - len(found))]
            day.sort(key=lambda each: (each[0].id, each[0].part), reverse=True)
            found += day
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
        for midnight, files in self._days("sip", start_us, end_us):
            # A leg that overlaps the interval may begin before it, but not before the day.
            query = LegQuery(environments, midnight, min(end_us, midnight + DAY_US), keys=wanted)
            day: list[LegRow] = []
            for file in files:
                low, high = leg_search.id_range(midnight, query.start_us, query.end_us)
                with self._readers.open(file, deadline) as reader:
                    if reader and wanted:
                        legs = leg_search.oldest_legs(reader, query, low, high)
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
        return [slice_ for _, _, slice_ in sorted(found, key=lambda each: each[:2])]

    def close(self) -> None:
        with self._writing:
            self._sip.close()
        self._readers.close()

    def _days(self, kind: str, start_us: int, end_us: int) -> list[tuple[int, list[SegmentFile]]]:
        """Segments by the midnight their day begins with, oldest first."""
        days: dict[int, list[SegmentFile]] = defaultdict(list)
        for file in self._folder.segments(kind, start_us, end_us) if start_us < end_us else ():
            days[file.start_us].append(file)
        return sorted(days.items())


class _Day:
    """What of a batch belongs to one day."""

    def __init__(self) -> None:
        self.legs: list[LegRow] = []
        self.blocks: list[BlockWrite] = []
        self.counts: list[tuple[str, int, str, int]] = []
        self.marks: dict[str, str] = {}


def _by_day(batch: Batch) -> dict[int, _Day]:
    """Raises ValueError where a block's part names a leg of another day, or none of the batch."""
    days: defaultdict[int, _Day] = defaultdict(_Day)
    for leg in batch.legs:
        days[leg.started_us // DAY_US * DAY_US].legs.append(leg)
    for block in batch.blocks:
        days[block.started_us // DAY_US * DAY_US].blocks.append(block)
    for count in batch.counts:
        days[count[1] // DAY_US * DAY_US].counts.append(count)
    if batch.marks:
        # Days are committed in order: the mark comes last, so it never tells of more than is stored.
        last = max(days) if days else clock.now_us() // DAY_US * DAY_US
        days[last].marks = batch.marks
    return days


def _stage(writer: SipWriter, day: _Day) -> None:
    writer.stage(day.legs, day.blocks, day.counts, day.marks)


def _place(file: SegmentFile, leg: LegRow) -> Place:
    return Place(file.start_us, int((leg.ref or "").rpartition("/")[2], 16), file.part)
