"""One share of a capture file: the messages of its Call-IDs, stored batch by batch and marked.

With every batch goes a mark of how much of the file is stored, so an import that was killed goes on where it stood: the
file is read again from its beginning to bring the leg table to the same state (a fraction of the first cost), and
writing begins behind the mark. Batches are cut by counts alone, so the second reading cuts them alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import orjson

from ringback.events import Batch, EventStore, LegQuery, LegRow
from ringback.sessions.ingest.details import DetailReader
from ringback.sessions.ingest.legs import LegTable, Taken
from ringback.sessions.ingest.packing import batches, stored
from ringback.sessions.keys import KeyRules
from ringback.sessions.ownership.rules import TrafficRules
from ringback.sessions.story import SightingTuple

OPEN_LEGS = 20_000
_LOOK_UPS = 200


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


@dataclass(frozen=True, slots=True)
class Work:
    """A share of a file; `name` is that of its mark, `mark` what the store held under it, None where nothing; `owners` say
    whose its legs are."""

    path: Path
    name: str
    owners: TrafficRules
    rules: KeyRules
    mark: Mark | None = None


class Cut(NamedTuple):
    """The messages of one share between two places of a file."""

    fed: int  # messages of the file, of all shares, up to the second place
    first_us: int  # of all messages between the places
    last_us: int
    messages: list[SightingTuple]


class ShareImport:
    """Give it all cuts of the file and then `finish`: nothing is done by either when it was imported before. Every call
    may raise EventStoreError."""

    def __init__(self, store: EventStore, work: Work) -> None:
        self.result = FileImport(work.path)
        self._store = store
        self._work = work
        self._table = LegTable(owners=work.owners, most=OPEN_LEGS, details=DetailReader(work.rules))
        self._name = work.name
        self._mark = work.mark or Mark()
        self._fed = 0  # messages of the file dealt with
        self._own = 0  # of these, messages of this share
        self._clock_us = 0
        self._last_row: Sequence[LegRow] = ()  # tells the day that the last mark is stored with
        if work.mark:
            self.result.status = "resumed"
        if figures := self._mark.done:
            result = self.result
            result.status = "already"
            result.messages, result.legs = figures["messages"], figures["legs"]
            result.first_us, result.last_us = figures.get("first"), figures.get("last")

    @property
    def is_done(self) -> bool:
        return self._mark.done is not None

    def take(self, cut: Cut) -> None:
        if self.is_done:
            return
        result, table = self.result, self._table
        self._fed, first_us, last_us, messages = cut
        self._clock_us = max(self._clock_us, last_us)
        result.first_us = first_us if result.first_us is None else min(result.first_us, first_us)
        self._own += len(messages)
        table.add(messages)
        taken = table.take(self._clock_us)
        if self._fed <= self._mark.messages:
            stored(taken)  # by the import before
            if self._fed == self._mark.messages:
                self._find_again(table.open_rows())
        else:
            self._write(taken, Mark(self._fed))

    def finish(self) -> None:
        """After the last cut."""
        if self.is_done:
            return
        result, table = self.result, self._table
        result.last_us = self._clock_us or None
        result.messages, result.legs = self._own - table.refused.total(), table.opened
        result.ignored.update(table.refused)
        settled = table.finish(self._clock_us)
        if self._fed:
            figures = {"messages": result.messages, "legs": result.legs}
            if result.first_us is not None and result.last_us is not None:
                figures |= {"first": result.first_us, "last": result.last_us}
            done = Mark(self._fed, done=figures)
            if settled.settled or settled.counts:
                self._write(settled, done)
            else:
                self._store.write(Batch(self._last_row, (), (), {self._name: str(done)}))

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

    def _find_again(self, rows: Iterable[LegRow]) -> None:
        """The references of rows that an import before this one stored."""
        missing = [row for row in rows if row.ref is None]
        for start in range(0, len(missing), _LOOK_UPS):
            part = {(row.environment, row.call_id, row.started_us): row for row in missing[start : start + _LOOK_UPS]}
            times = [started for _, _, started in part]
            query = LegQuery(
                tuple({environment for environment, _, _ in part}), min(times), max(times) + 1,
                call_ids=tuple({call_id for _, call_id, _ in part}),
            )  # fmt: skip
            cursor = None
            while True:
                page = self._store.search(query, limit=500, cursor=cursor, deadline_s=60)
                for found in page.rows:
                    row = part.get((found.environment, found.call_id, found.started_us))
                    if row is not None and (row.ref is None or found.messages == row.messages):
                        row.ref = found.ref
                cursor = page.cursor
                if cursor is None:
                    break
