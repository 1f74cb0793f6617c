"""From one event store to another of any engine, by what the protocol offers: day by day, and where it stopped it goes on.

A mark in the target, written together with the rows, tells how far each day is. Legs are read newest first and logs
oldest first, in pages that end between two microseconds, so that a page that is read again is the same page. Blocks are cut
anew: a block of the source holds messages of legs of several pages. Audit rows have ids: writing one again does no harm.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from ringback.events.store import (
    DAY_US,
    AuditQuery,
    AuditRow,
    Batch,
    BlockPart,
    BlockWrite,
    EventStore,
    EventStoreError,
    LegQuery,
    LegRow,
    LogQuery,
    LogRecord,
    StoreStatus,
    WriteRefused,
    call_hash,
)

Message = TypeVar("Message", bound=tuple[Any, ...])  # its first field is the time, µs

PAGE_LEGS = 5_000
PAGE_LOGS = 5_000
PAGE_AUDIT = 5_000
BLOCK_MESSAGES = 500
BLOCK_BYTES = 1 << 20
READ_SECONDS = 600.0  # nobody waits at a page
MINUTE_US = 60_000_000
_SAMPLE = 20  # newest legs of a day that tell whether it is there already
_LOOKS, _LOOK_SECONDS = 5, 1.0  # at the target: an engine counts what it was given a moment later
_KINDS = {"legs": "legs", "messages": "messages", "logs": "log lines", "audits": "audit rows"}
_MOST_TOLD = 20  # of what could not be copied, a day


@dataclass(frozen=True, slots=True)
class Codec(Generic[Message]):
    """How the caller reads and writes the blocks, which are opaque here.

    `decode` gives messages `first` .. `first + count - 1`; it raises ValueError where there are no such ones.
    """

    decode: Callable[[bytes, int, int], Sequence[Message]]
    encode: Callable[[Sequence[Message]], bytes]
    size: Callable[[Message], int]  # bytes, about


@dataclass(slots=True)
class Figures:
    legs: int = 0
    messages: int = 0
    logs: int = 0
    audits: int = 0

    def add(self, other: Figures) -> None:
        self.legs += other.legs
        self.messages += other.messages
        self.logs += other.logs
        self.audits += other.audits


@dataclass(slots=True)
class DayReport:
    """What became of one day. `problems` is what could not be copied or does not add up, `remarks` what may surprise."""

    day: str
    source: Figures  # what the source's status says
    copied: Figures = field(default_factory=Figures)  # in this run
    before: Figures = field(default_factory=Figures)  # by earlier runs
    target: Figures = field(default_factory=Figures)  # what the target's status says afterwards
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """The target holds as much as the source, or more."""
        return all(getattr(self.target, what) >= getattr(self.source, what) for what in _KINDS)

    def note(self, problem: str) -> None:
        if len(self.problems) < _MOST_TOLD:
            self.problems.append(problem)
        elif len(self.problems) == _MOST_TOLD:
            self.problems.append("and more of the kind")


@dataclass(slots=True)
class _Mark:
    """How far a day is."""

    place_us: int  # legs: all that begin here or later are copied; logs: all before
    careful: bool = False  # each row is looked for in the target first
    of: int | None = None  # done: of a day that held so much
    legs: int = 0  # copied
    messages: int = 0
    logs: int = 0
    audits: int = 0


def copy_events(
    source: EventStore,
    target: EventStore,
    codec: Codec[Message],
    *,
    name: str,
    environments: Sequence[str] = ("default",),
    since_us: int = 0,
    until_us: int,
    progress: Callable[[str, float], None] | None = None,
) -> list[DayReport]:
    """Every day of the source that begins in [since_us, until_us), oldest first; `name` stands for the source in the marks.

    Run again it goes on, and copies what came to a day meanwhile. `progress` hears (day, fraction of all). What cannot be
    read is told in the reports and left out. Raises EventStoreError where the target cannot be written.
    """
    copying = _Copying(source, target, codec, name, tuple(environments))
    reports = _days(source.status(), since_us, until_us)
    every = sum(_weight(report.source) for report in reports.values()) or 1
    behind = 0
    for midnight, report in reports.items():

        def tell(done: Figures, report: DayReport = report, behind: int = behind) -> None:
            if progress:
                progress(report.day, min(1.0, (behind + _weight(done)) / every))

        copying.day(midnight, report, tell)
        behind += _weight(report.source)
    for left in range(_LOOKS - 1, -1, -1):
        held = _days(target.status(), since_us, until_us)
        for midnight, report in reports.items():
            report.target = held[midnight].source if midnight in held else Figures()
        if not left or all(report.complete for report in reports.values()):
            break
        time.sleep(_LOOK_SECONDS)
    for report in reports.values():
        _verify(report)
    return list(reports.values())


class _Copying(Generic[Message]):
    def __init__(
        self, source: EventStore, target: EventStore, codec: Codec[Message], name: str, environments: tuple[str, ...]
    ) -> None:
        self._source = source
        self._target = target
        self._codec = codec
        self._name = name
        self._environments = environments

    def day(self, midnight: int, report: DayReport, tell: Callable[[Figures], None]) -> None:
        done = Figures()

        def note(more: Figures) -> None:
            done.add(more)
            tell(done)

        for environment in self._environments:
            held = report.source
            kinds = ((self._legs, held.legs), (self._logs, held.logs), (self._audit, held.audits))
            for copy, rows in kinds:
                try:
                    if rows:
                        copy(environment, midnight, report, note)
                except _Unreadable as error:
                    report.note(f"{environment}: {error}")

    def _legs(self, environment: str, midnight: int, report: DayReport, tell: Callable[[Figures], object]) -> None:
        query = LegQuery((environment,), midnight, midnight + DAY_US)
        name = f"copy {self._name} {environment} {report.day}"
        mark = self._mark(name, _Mark(query.end_us))
        before = Figures(mark.legs, mark.messages)
        report.before.add(before)
        tell(before)
        held = report.source.legs + report.source.messages
        if mark.of == held:
            return
        begins = mark.place_us == query.end_us
        if mark.of is not None or (begins and self._is_there(query)):
            mark = replace(mark, place_us=query.end_us, of=None, careful=True)
        counts = self._counts(query) if begins and not mark.careful else []
        for rows, last in self._leg_pages(replace(query, end_us=mark.place_us)):
            page = self._page(self._absent(environment, rows, report) if mark.careful else rows, report)
            place_us = rows[-1].started_us if rows else query.start_us
            mark = replace(mark, place_us=place_us, of=held if last else None)
            mark.legs += page.figures.legs
            mark.messages += page.figures.messages
            first, *others = page.apart()
            for number, part in enumerate(others):
                # A second row of one Call-ID and microsecond: another mark makes it another row to any engine.
                self._write(Batch(part.legs, list(part.blocks(self._codec)), [], {f"{name} {number}": ""}), report)
            marks = {name: json.dumps(asdict(mark))}
            self._write(Batch(first.legs, list(first.blocks(self._codec)), counts, marks), report)
            counts = []
            report.copied.add(page.figures)
            tell(page.figures)

    def _leg_pages(self, query: LegQuery) -> Iterator[tuple[list[LegRow], bool]]:
        """Each ends between two microseconds; the flag is on the last one, which may be empty."""
        end_us = query.end_us
        while True:
            asked, cursor, rows = replace(query, end_us=end_us), None, list[LegRow]()
            while not rows or (cursor and rows[0].started_us == rows[-1].started_us):
                with _from_source():
                    page = self._source.search(asked, PAGE_LEGS, cursor, deadline_s=READ_SECONDS)
                rows, cursor = rows + page.rows, page.cursor
                if cursor is None:
                    break
            if cursor:
                cut_us = rows[-1].started_us
                rows = [row for row in rows if row.started_us > cut_us]
            yield rows, cursor is None
            if cursor is None:
                return
            end_us = rows[-1].started_us

    def _is_there(self, query: LegQuery) -> bool:
        """Whether the newest legs of the source's day stand in the target, though no mark of ours says so."""
        with _from_source():
            newest = self._source.search(query, _SAMPLE, deadline_s=READ_SECONDS).rows
        return bool(newest) and len(self._held(query.environments[0], newest)) == len(
            {_identity(row) for row in newest}
        )

    def _held(self, environment: str, rows: Sequence[LegRow]) -> dict[tuple[str, int], int]:
        """Identity -> messages of those of the rows that the target has."""
        hashes = tuple({call_hash(environment, row.call_id) for row in rows})
        first, last = rows[-1].started_us, rows[0].started_us
        query = LegQuery((environment,), first, last + 1, call_hashes=hashes)
        wanted = {_identity(row) for row in rows}
        held: dict[tuple[str, int], int] = {}
        cursor = None
        while True:
            page = self._target.search(query, PAGE_LEGS, cursor, deadline_s=READ_SECONDS)
            for row in page.rows:
                if _identity(row) in wanted:
                    held[_identity(row)] = max(row.messages, held.get(_identity(row), 0))
            cursor = page.cursor
            if cursor is None:
                return held

    def _absent(self, environment: str, rows: Sequence[LegRow], report: DayReport) -> list[LegRow]:
        held = self._held(environment, rows) if rows else {}
        for row in rows:
            there = held.get(_identity(row))
            if there is not None and there < row.messages:
                report.note(f"{row.call_id}: {row.messages - there} messages came to it after it was copied")
        return [row for row in rows if _identity(row) not in held]

    def _page(self, rows: Sequence[LegRow], report: DayReport) -> _Page[Message]:
        """With the messages of each leg; those that cannot be read are told and left out."""
        page: _Page[Message] = _Page()
        try:
            page.add(rows, self._messages(rows))
        except (_Unreadable, ValueError):
            page = _Page()
            for row in rows:
                try:
                    page.add([row], self._messages([row]))
                except (_Unreadable, ValueError) as error:
                    report.note(f"{row.call_id}: {error}")
        return page

    def _messages(self, rows: Sequence[LegRow]) -> dict[str, list[Message]]:
        """By the leg's ref. Raises _Unreadable, ValueError."""
        if not rows:
            return {}
        with _from_source():
            slices = self._source.blocks(rows, deadline_s=READ_SECONDS)
        by_block: defaultdict[bytes, list[tuple[int, int, int, str]]] = defaultdict(list)
        for order, each in enumerate(slices):
            by_block[each.data].append((order, each.first, each.count, each.leg_ref))
        found: list[tuple[int, str, Sequence[Message]]] = []
        for data, parts in by_block.items():
            low = min(first for _, first, _, _ in parts)
            high = max(first + count for _, first, count, _ in parts)
            messages = self._codec.decode(data, low, high - low)
            found += [(order, ref, messages[first - low : first - low + count]) for order, first, count, ref in parts]
        by_leg: defaultdict[str, list[Message]] = defaultdict(list)
        for _, ref, some in sorted(found, key=lambda each: each[0]):
            by_leg[ref] += some
        return by_leg

    def _counts(self, query: LegQuery) -> list[tuple[str, int, str, int]]:
        with _from_source():
            buckets = self._source.histogram(query, MINUTE_US, READ_SECONDS)
        return [
            (query.environments[0], bucket.start_us, outcome, count)
            for bucket in buckets
            for outcome, count in bucket.outcomes.items()
        ]

    def _logs(self, environment: str, midnight: int, report: DayReport, tell: Callable[[Figures], object]) -> None:
        query = LogQuery((environment,), midnight, midnight + DAY_US)
        name = f"copy {self._name} {environment} {report.day} logs"
        mark = self._mark(name, _Mark(midnight))
        report.before.add(Figures(logs=mark.logs))
        tell(Figures(logs=mark.logs))
        held = report.source.logs
        if mark.of == held:
            return
        if mark.of is not None:
            mark = replace(mark, place_us=midnight, of=None, careful=True)
        unsure = True  # of the first page nobody knows how much of it an earlier run had written
        for lines, last in self._log_pages(replace(query, start_us=mark.place_us)):
            wanted = self._absent_lines(query, lines) if unsure or mark.careful else lines
            if mark.place_us == midnight and len(wanted) < len(lines):
                mark = replace(mark, careful=True)
            unsure = False
            if wanted:
                try:
                    self._target.write_logs(wanted)
                except WriteRefused as error:
                    report.note(str(error))
            place_us = lines[-1].time_us + 1 if lines else query.end_us
            mark = replace(mark, place_us=place_us, of=held if last else None, logs=mark.logs + len(wanted))
            self._write(Batch([], [], [], {name: json.dumps(asdict(mark))}), report)
            report.copied.logs += len(wanted)
            tell(Figures(logs=len(wanted)))

    def _log_pages(self, query: LogQuery) -> Iterator[tuple[list[LogRecord], bool]]:
        """As `_leg_pages`, oldest first."""
        start_us = query.start_us
        while True:
            asked, cursor, lines = replace(query, start_us=start_us), None, list[LogRecord]()
            while not lines or (cursor and lines[0].time_us == lines[-1].time_us):
                with _from_source():
                    page = self._source.search_logs(asked, PAGE_LOGS, cursor, deadline_s=READ_SECONDS)
                lines, cursor = lines + page.records, page.cursor
                if cursor is None:
                    break
            if cursor:
                cut_us = lines[-1].time_us
                lines = [line for line in lines if line.time_us < cut_us]
            yield lines, cursor is None
            if cursor is None:
                return
            start_us = lines[-1].time_us + 1

    def _absent_lines(self, query: LogQuery, lines: Sequence[LogRecord]) -> list[LogRecord]:
        """Those that the target lacks; of equal lines as many as it has fewer."""
        if not lines:
            return []
        span = replace(query, start_us=lines[0].time_us, end_us=lines[-1].time_us + 1)
        held: Counter[str] = Counter()
        cursor = None
        while True:
            page = self._target.search_logs(span, PAGE_LOGS, cursor, deadline_s=READ_SECONDS)
            held.update(map(_line_identity, page.records))
            cursor = page.cursor
            if cursor is None:
                break
        absent = []
        for line in lines:
            if held[_line_identity(line)] > 0:
                held[_line_identity(line)] -= 1
            else:
                absent.append(line)
        return absent

    def _audit(self, environment: str, midnight: int, report: DayReport, tell: Callable[[Figures], object]) -> None:
        query = AuditQuery((environment,), midnight, midnight + DAY_US)
        name = f"copy {self._name} {environment} {report.day} audit"
        mark = self._mark(name, _Mark(query.end_us))
        report.before.add(Figures(audits=mark.audits))
        tell(Figures(audits=mark.audits))
        held = report.source.audits
        if mark.of == held:
            return
        if mark.of is not None:
            mark = replace(mark, place_us=query.end_us, of=None)
        query, cursor = replace(query, end_us=mark.place_us), None
        while True:
            with _from_source():
                page = self._source.search_audit(query, PAGE_AUDIT, cursor, deadline_s=READ_SECONDS)
            wanted, cursor = self._absent_rows(query, page.rows), page.cursor
            if wanted:
                try:
                    self._target.write_audit(wanted)
                except WriteRefused as error:
                    report.note(str(error))
            # Rows of the last microsecond that are there already are told from those that are not.
            place_us = page.rows[-1].time_us + 1 if page.rows else mark.place_us
            mark = replace(mark, place_us=place_us, of=None if cursor else held, audits=mark.audits + len(wanted))
            self._write(Batch([], [], [], {name: json.dumps(asdict(mark))}), report)
            report.copied.audits += len(wanted)
            tell(Figures(audits=len(wanted)))
            if cursor is None:
                return

    def _absent_rows(self, query: AuditQuery, rows: Sequence[AuditRow]) -> list[AuditRow]:
        """Those that the target lacks, or has otherwise."""
        if not rows:
            return []
        asked = replace(
            query, start_us=rows[-1].time_us, end_us=rows[0].time_us + 1, ids=tuple(row.id for row in rows)
        )
        there = {row.id: row for row in self._target.search_audit(asked, len(rows), deadline_s=READ_SECONDS).rows}
        return [row for row in rows if there.get(row.id) != row]

    def _mark(self, name: str, default: _Mark) -> _Mark:
        text = self._target.mark(name)
        return _Mark(**json.loads(text)) if text else default

    def _write(self, batch: Batch, report: DayReport) -> None:
        try:
            self._target.write(batch)
        except WriteRefused as error:
            report.note(str(error))


@contextmanager
def _from_source() -> Iterator[None]:
    """Tells an error of the source from one of the target."""
    try:
        yield
    except EventStoreError as error:
        raise _Unreadable(str(error)) from error


class _Unreadable(Exception):
    """The source did not give it."""


class _Page(Generic[Message]):
    """Legs to be written, as rows of their own, with their messages."""

    def __init__(self) -> None:
        self.legs: list[LegRow] = []
        self._messages: list[list[Message]] = []

    def add(self, rows: Sequence[LegRow], messages: dict[str, list[Message]]) -> None:
        for row in rows:
            self._messages.append(messages.get(row.ref or "", []))
            self.legs.append(replace(row, ref=None, engine=None))

    @property
    def figures(self) -> Figures:
        return Figures(len(self.legs), sum(map(len, self._messages)))

    def apart(self) -> list[_Page[Message]]:
        """Pages none of which has two rows of one identity; at least one."""
        seen: Counter[tuple[str, int]] = Counter()
        pages: list[_Page[Message]] = [_Page()]
        for leg, messages in zip(self.legs, self._messages, strict=True):
            number = seen[_identity(leg)]
            seen[_identity(leg)] += 1
            if number == len(pages):
                pages.append(_Page())
            pages[number].legs.append(leg)
            pages[number]._messages.append(messages)
        return pages

    def blocks(self, codec: Codec[Message]) -> Iterator[BlockWrite]:
        messages: list[Message] = []
        parts: list[BlockPart] = []
        size = 0
        for leg, own in zip(self.legs, self._messages, strict=True):
            for start in range(0, len(own), BLOCK_MESSAGES):
                some = own[start : start + BLOCK_MESSAGES]
                parts.append(BlockPart(leg, len(messages), len(some)))
                messages += some
                size += sum(map(codec.size, some))
                if len(messages) >= BLOCK_MESSAGES or size >= BLOCK_BYTES:
                    yield _block(codec, messages, parts)
                    messages, parts, size = [], [], 0
        if messages:
            yield _block(codec, messages, parts)


def _block(codec: Codec[Message], messages: Sequence[Message], parts: Sequence[BlockPart]) -> BlockWrite:
    times = [message[0] for message in messages]
    return BlockWrite(min(times), max(times), len(messages), codec.encode(messages), parts)


def _identity(row: LegRow) -> tuple[str, int]:
    return row.call_id, row.started_us


def _line_identity(record: LogRecord) -> str:
    return repr(replace(record, fields=dict(sorted(record.fields.items()))))


def _days(status: StoreStatus, since_us: int, until_us: int) -> dict[int, DayReport]:
    """By midnight, oldest first."""
    reports: dict[int, DayReport] = {}
    for segment in sorted(status.segments, key=lambda each: each.day):
        midnight = _midnight_us(segment.day)
        if since_us <= midnight < until_us:
            report = reports.setdefault(midnight, DayReport(segment.day, Figures()))
            report.source.add(Figures(segment.legs, segment.messages, segment.logs, segment.audits))
            if segment.problem:
                report.note(f"{segment.name}: {segment.problem}")
    return reports


def _midnight_us(day: str) -> int:
    moment = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000


def _weight(figures: Figures) -> int:
    return figures.messages + figures.legs + figures.logs + figures.audits


def _verify(report: DayReport) -> None:
    """What was copied by all runs, and what the target holds, against what the source has."""
    for what, shown in _KINDS.items():
        has, holds = getattr(report.source, what), getattr(report.target, what)
        copied = getattr(report.copied, what) + getattr(report.before, what)
        if holds < has:
            report.note(f"the target holds {holds:,} of {has:,} {shown}")
        elif copied < has:
            report.remarks.append(
                f"{copied:,} of {has:,} {shown} were copied under this name: the others were there already, "
                "or belong to environments that were not named"
            )
