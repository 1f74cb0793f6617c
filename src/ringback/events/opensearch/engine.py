"""The event store in an engine of its own: see the README of the room for the indices and what holds."""

from __future__ import annotations

import binascii
import threading
import uuid
from base64 import b64decode
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

from ringback import clock
from ringback.events.audit import matches as audit_matches
from ringback.events.cursors import checked_limit
from ringback.events.opensearch import audit, days, leg_query, legs, logs, segments, templates, writing
from ringback.events.opensearch import cursor as cursors
from ringback.events.opensearch.address import Address
from ringback.events.opensearch.bulk import Action, Bulk, encoded
from ringback.events.opensearch.client import CONNECT_S, Client, Deadline, Refused
from ringback.events.opensearch.days import AUDIT, BLOCKS, COUNTS, LEGS, LOGS, Names
from ringback.events.opensearch.reading import Hit, Reader, Search
from ringback.events.opensearch.texts import USUAL, digest, readable
from ringback.events.store import (
    DAY_US,
    AuditPage,
    AuditQuery,
    AuditRow,
    Batch,
    BlockSlice,
    Bucket,
    EventStoreError,
    LegPage,
    LegQuery,
    LegRow,
    LogPage,
    LogQuery,
    LogRecord,
    SearchTimedOut,
    SegmentUnreadable,
    StoreAway,
    StoreStatus,
)

Row = TypeVar("Row")
Written = TypeVar("Written", LogRecord, AuditRow)

MINUTE_US = 60_000_000
_NEWEST = (("started_us", "desc"), ("tie", "desc"))
_OLDEST = (("started_us", "asc"), ("tie", "asc"))
_NEWEST_AUDIT = (("time_us", "desc"), ("id", "desc"))
_LOG_SORT = ("time_us", "written_us", "tie")
_BLOCKS_PAGE = 50  # blocks are large
_BLOCK_LEGS = 20_000  # looked for at once
_ADMIN_S = 60.0
_DROP_S = 300.0  # days of audit rows are taken out of an index
_STATUS_S = 15.0
_MOST_UNSURE = 1000


class OpenSearchEventStore:
    """An `EventStore` in OpenSearch or Elasticsearch at `address`. Many hosts may share it.

    An engine that is away when the store is opened is asked again with every call; whatever else is wrong with it or
    with the address raises EventStoreError at once.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._client = Client(address)
        self._reader = Reader(self._client)
        self._names = Names(address.prefix)
        self._writer = uuid.uuid4().hex[:16]
        self._writing = threading.Lock()
        self._preparing = threading.Lock()
        self._written_us = 0
        self._going_on: set[str] = set()  # owners of marks whose batches are written here
        self._unsure: dict[str, str] = {}  # content of a failed write -> its token, for the next try
        with suppress(StoreAway, SearchTimedOut):  # told by the first call that needs it
            self._prepare(Deadline(2 * CONNECT_S))

    def write(self, batch: Batch) -> None:
        now = clock.now_us()
        with self._writing:
            self._go_on(batch.marks)
            plan = writing.Plan(batch, self._names, self._writer, self._moment(len(batch.blocks)), days.text(now))
            token = self._token(plan.content, unique=plan.only_counts)
            plan.name_legs()
            if not (batch.legs or batch.blocks or batch.counts or batch.marks):
                return
            self._send(plan.content, token, [plan.blocks(), _all(plan.legs(), plan.counts(token)), plan.marks()])

    def write_logs(self, records: Sequence[LogRecord]) -> None:
        if not records:
            return
        with self._writing:
            content = digest(*(repr(record) for record in records), size=16)
            token = self._token(content, unique=True)
            tie = legs.tie(digest(token))
            written_us = self._moment(len(records))
            actions = [
                Action(
                    self._names.index(LOGS, days.text(record.time_us)),
                    digest(token, str(at)),
                    encoded(logs.document(_checked(record), written_us + at, tie)),
                )
                for at, record in enumerate(records)
            ]
            self._send(content, token, [actions])

    def write_audit(self, rows: Sequence[AuditRow]) -> None:
        if not rows:
            return
        with self._writing:
            last = {row.id: row for row in rows}
            actions = [
                Action(self._names.index(AUDIT, days.month(row.time_us)), str(row.id), encoded(audit.document(row)))
                for row in map(_checked, last.values())
            ]
            self._send("", "", [actions])

    def mark(self, name: str) -> str | None:
        found = self._mark(name, self._ready(_ADMIN_S))
        return readable(found["value"]) if found else None

    def search(
        self, query: LegQuery, limit: int = 50, cursor: str | None = None, deadline_s: float = 10.0
    ) -> LegPage:
        limit = checked_limit(limit)
        place = cursors.parsed(cursor, query, len(_NEWEST))
        deadline = self._ready(deadline_s)
        found: list[LegRow] = []
        last: cursors.Place = ()
        for hit, leg in self._legs(query, place, limit + 1, deadline):
            if len(found) == limit:
                return LegPage(found, cursors.written(last, query))
            found.append(leg)
            last = tuple(hit["sort"])
        return LegPage(found, None)

    def by_keys(
        self,
        environments: tuple[str, ...],
        keys: Iterable[str],
        start_us: int,
        end_us: int,
        limit: int = 200,
        deadline_s: float = 10.0,
    ) -> list[LegRow]:
        deadline = self._ready(deadline_s)
        wanted = tuple(dict.fromkeys(keys))
        if not wanted or not environments or start_us >= end_us or limit < 1:
            return []
        # A leg that overlaps the interval may begin before it, but not before the day.
        query = LegQuery(environments, start_us // DAY_US * DAY_US, end_us, keys=wanted)
        filters = leg_query.filters(query)
        filters["bool"]["filter"].append({"range": {"ended_us": {"gte": start_us}}})
        search = Search(self._names.covering(LEGS, query.start_us, end_us), filters, _OLDEST)
        found: list[LegRow] = []
        for _, leg in self._matching(search, query, limit, deadline):
            found.append(leg)
            if len(found) == limit:
                break
        return found

    def blocks(self, legs_: Sequence[LegRow], deadline_s: float = 10.0) -> list[BlockSlice]:
        deadline = self._ready(deadline_s)
        by_day: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for leg in legs_:
            place = legs.place(leg)
            if place is None:
                raise ValueError(f"leg {leg.call_id} was never written")
            by_day[place[0]][place[1]] = leg.ref or ""
        slices: dict[tuple[int, ...], BlockSlice] = {}
        for day, refs in sorted(by_day.items()):
            self._check_day(day, deadline)
            wanted = list(refs)
            for at in range(0, len(wanted), _BLOCK_LEGS):
                group = wanted[at : at + _BLOCK_LEGS]
                slices.update(self._slices(day, {id_: refs[id_] for id_ in group}, deadline))
        return [slices[order] for order in sorted(slices)]

    def histogram(self, query: LegQuery, width_us: int, deadline_s: float = 10.0) -> list[Bucket]:
        if width_us <= 0 or width_us % MINUTE_US:
            raise ValueError(f"a bucket is whole minutes wide, not {width_us} µs")
        deadline = self._ready(deadline_s)
        counts: Counter[tuple[int, str]] = Counter()
        if query.environments and query.start_us < query.end_us:
            plain = query == LegQuery(query.environments, query.start_us, query.end_us, outcomes=query.outcomes)
            counts = self._by_minute(query, width_us, deadline) if plain else self._by_leg(query, width_us, deadline)
        buckets: dict[int, Bucket] = {}
        for (start, outcome), sessions in sorted(counts.items()):
            if sessions > 0:
                buckets.setdefault(start, Bucket(start, {})).outcomes[outcome] = sessions
        return list(buckets.values())

    def search_logs(
        self, query: LogQuery, limit: int = 500, cursor: str | None = None, deadline_s: float = 10.0
    ) -> LogPage:
        limit = checked_limit(limit)
        place = cursors.parsed(cursor, query, len(_LOG_SORT))
        deadline = self._ready(deadline_s)
        if not query.environments or query.start_us >= query.end_us:
            return LogPage([], None)
        sort = [(name, "desc" if query.newest_first else "asc") for name in _LOG_SORT]
        search = Search(self._names.covering(LOGS, query.start_us, query.end_us), logs.filters(query), sort, place)
        found: list[LogRecord] = []
        last: cursors.Place = ()
        for hit in self._read(search, limit + 1, deadline):
            record = _made(_line, hit)
            if not logs.matches(query, record):
                continue
            if len(found) == limit:
                return LogPage(found, cursors.written(last, query))
            found.append(record)
            last = tuple(hit["sort"])
        return LogPage(found, None)

    def search_audit(
        self, query: AuditQuery, limit: int = 50, cursor: str | None = None, deadline_s: float = 10.0
    ) -> AuditPage:
        limit = checked_limit(limit)
        place = cursors.parsed(cursor, query, len(_NEWEST_AUDIT))
        deadline = self._ready(deadline_s)
        found: list[AuditRow] = []
        last: cursors.Place = ()
        for hit, row in self._audit(query, audit.filters(query), place, limit + 1, deadline):
            if len(found) == limit:
                return AuditPage(found, cursors.written(last, query))
            found.append(row)
            last = tuple(hit["sort"])
        return AuditPage(found, None)

    def count_audit(self, query: AuditQuery, at_most: int = 10_000, deadline_s: float = 10.0) -> int:
        deadline = self._ready(deadline_s)
        filters = audit.filters(query)
        if not query.environments or query.start_us >= query.end_us or at_most < 1:
            return 0
        if query.names:  # words alone do not say that a row matches
            found = self._audit(query, filters, None, at_most, deadline)
            return sum(1 for _ in islice(found, at_most))
        indices = self._names.covering(AUDIT, query.start_us, query.end_us)
        plain = {"bool": {"filter": [filters], "must_not": [leg_query.ODD]}}
        count = self._reader.count(indices, plain, at_most, deadline)
        odd = {"bool": {"filter": [filters, leg_query.ODD]}}
        return count + sum(1 for _ in islice(self._audit(query, odd, None, at_most, deadline), at_most - count))

    def status(self) -> StoreStatus:
        deadline = self._ready(_STATUS_S)
        found = segments.statuses(self._client, self._reader, self._names, deadline)
        return StoreStatus(self._reader.flavour, found, segments.free_bytes(self._client, deadline))

    def drop_before(self, kind: str, before_us: int, *, written_before_us: int | None = None) -> list[str]:
        deadline = self._ready(_DROP_S)
        return segments.drop_before(
            self._client, self._reader, self._names, kind, before_us, written_before_us, deadline
        )

    def close(self) -> None:
        with self._writing:
            self._client.close()

    def _prepare(self, deadline: Deadline) -> None:
        """The engine is known and has the templates. Raises StoreAway, EventStoreError."""
        if self._reader.flavour:
            return
        if not self._preparing.acquire(timeout=deadline.left()):
            raise deadline.passed()
        try:
            if not self._reader.flavour:
                flavour = templates.flavour(self._client, deadline)
                templates.install(self._client, self._names, flavour, deadline)
                self._reader.flavour = flavour
        except Refused as error:
            raise StoreAway(f"{self._address.shown} is not ready: {error}") from None
        finally:
            self._preparing.release()

    def _ready(self, deadline_s: float) -> Deadline:
        deadline = Deadline(deadline_s)
        deadline.left()
        self._prepare(deadline)
        return deadline

    def _mark(self, name: str, deadline: Deadline) -> dict[str, Any] | None:
        indices = self._names.every(COUNTS)
        self._reader.refresh(indices, deadline)
        wanted = {"bool": {"filter": [{"term": {"what": "mark"}}, {"term": {"name": writing.mark_name(name)}}]}}
        for hit in self._reader.hits(Search(indices, wanted, [("written_us", "desc")]), 1, deadline):
            source: dict[str, Any] = hit["_source"]
            return source
        return None

    def _go_on(self, marks: Iterable[str]) -> None:
        """Takes back what a writer that died stored since its last mark: this one writes it again."""
        owner = writing.owner_of(marks)
        if not owner or owner in self._going_on:
            return
        try:
            deadline = self._ready(_ADMIN_S)
            marked = [found["written_us"] for name in marks if (found := self._mark(name, deadline))]
            if marked:  # without any, what is there may be all that an administrator left of it
                self._written_us = max(self._written_us, *marked)
                self._reader.delete(
                    f"{self._names.every(BLOCKS)},{self._names.every(COUNTS)}",
                    [{"term": {"owner": owner}}, {"range": {"batch_us": {"gt": max(marked)}}}],
                    deadline,
                )
        except SearchTimedOut as error:
            raise StoreAway(f"the event store at {self._address.shown} does not answer: {error}") from None
        self._going_on.add(owner)

    def _moment(self, count: int) -> int:
        """Of a write: later than the one before it, also where the clock stands still or goes back."""
        self._written_us = max(clock.now_us(), self._written_us + 1)
        moment = self._written_us
        self._written_us += count
        return moment

    def _token(self, content: str, *, unique: bool) -> str:
        """What the ids of a write are made of: the same when it is tried again."""
        if not unique:
            return content
        return self._unsure.get(content) or digest(content, self._writer, str(self._written_us), size=16)

    def _send(self, content: str, token: str, stages: Sequence[Iterable[Action]]) -> None:
        bulk = Bulk(self._client, refresh=self._address.refresh)
        try:
            try:
                self._prepare(Deadline(2 * CONNECT_S))
            except SearchTimedOut as error:
                raise StoreAway(f"the event store at {self._address.shown} does not answer: {error}") from None
            for actions in stages:
                bulk.send(actions)
            bulk.check()
        except EventStoreError:
            self._unsure[content] = token
            if len(self._unsure) > _MOST_UNSURE:
                del self._unsure[next(iter(self._unsure))]
            raise
        self._unsure.pop(content, None)

    def _legs(
        self, query: LegQuery, place: cursors.Place | None, count: int, deadline: Deadline
    ) -> Iterator[tuple[Hit, LegRow]]:
        """Newest first; at least `count` of them where there are as many."""
        if not query.environments or query.start_us >= query.end_us:
            return iter(())
        indices = self._names.covering(LEGS, query.start_us, query.end_us)
        return self._matching(Search(indices, leg_query.filters(query), _NEWEST, place), query, count, deadline)

    def _matching(
        self, search: Search, query: LegQuery, count: int, deadline: Deadline
    ) -> Iterator[tuple[Hit, LegRow]]:
        for hit in self._read(search, count, deadline):
            leg = _made(_leg, hit)
            if not hit["_source"].get("odd") or legs.matches(query, leg):
                yield hit, leg

    def _read(self, search: Search, count: int, deadline: Deadline) -> Iterator[Hit]:
        """`count` rows, and where the reader takes more of them, for some were not what it seeks, what follows."""
        while True:
            read, last = 0, None
            for hit in self._reader.hits(search, count, deadline):
                read, last = read + 1, hit
                yield hit
            if last is None or read < count:
                return
            search = replace(search, after=tuple(last["sort"]))

    def _audit(
        self,
        query: AuditQuery,
        filters: leg_query.Filter,
        place: cursors.Place | None,
        count: int,
        deadline: Deadline,
    ) -> Iterator[tuple[Hit, AuditRow]]:
        """As `_legs`."""
        if not query.environments or query.start_us >= query.end_us:
            return
        indices = self._names.covering(AUDIT, query.start_us, query.end_us)
        for hit in self._read(Search(indices, filters, _NEWEST_AUDIT, place), count, deadline):
            row = _made(_audit_row, hit)
            if audit_matches(query, row):
                yield hit, row

    def _slices(
        self, day: str, refs: dict[str, str], deadline: Deadline
    ) -> Iterator[tuple[tuple[int, ...], BlockSlice]]:
        """With what they are ordered by."""
        index = self._names.index(BLOCKS, day) + "*"
        sort = [(name, "asc") for name in ("started_us", "written_us", "tie")]
        search = Search(index, leg_query.terms("legs", list(refs)), sort)
        for hit in self._reader.hits(search, 1 << 62, deadline, page=_BLOCKS_PAGE):
            source = hit["_source"]
            try:
                data = b64decode(source["data"], validate=True)
                parts = writing.parsed_parts(source["parts"])
                owners = zip(source["legs"], parts, strict=True)
                for id_, (first, count) in owners:
                    if id_ in refs:
                        yield (*hit["sort"], first), BlockSlice(data, first, count, refs[id_])
            except (LookupError, TypeError, ValueError, binascii.Error) as error:
                raise SegmentUnreadable(f"block {hit['_index']}/{hit['_id']} makes no sense: {error!r}") from error

    def _check_day(self, day: str, deadline: Deadline) -> None:
        """Raises SegmentUnreadable where retention took it away."""
        index = self._names.index(LEGS, day)
        if not self._client.read("HEAD", f"/{index}", deadline):
            raise SegmentUnreadable(f"segment {days.segment('sip', day)} is no longer stored: retention took it away")

    def _by_minute(self, query: LegQuery, width_us: int, deadline: Deadline) -> Counter[tuple[int, str]]:
        """A minute counts as a whole when it begins in the interval or the interval begins in it."""
        start_us = query.start_us // MINUTE_US * MINUTE_US
        conditions = [
            {"term": {"what": "count"}},
            leg_query.terms("environment", leg_query.stored(query.environments)),
            *leg_query.interval("minute_us", start_us, query.end_us),
        ]
        if query.outcomes:
            conditions.append(leg_query.terms("outcome", leg_query.stored(query.outcomes)))
        counts: Counter[tuple[int, str]] = Counter()
        indices = self._names.covering(COUNTS, start_us, query.end_us)
        sources = _sources("minute_us", width_us)
        for bucket in self._reader.buckets(
            indices, {"bool": {"filter": conditions}}, sources, {"sessions": "sessions"}, deadline
        ):
            counts[int(bucket["key"]["start"]), readable(bucket["key"]["outcome"])] += int(
                bucket["sessions"]["value"]
            )
        return counts

    def _by_leg(self, query: LegQuery, width_us: int, deadline: Deadline) -> Counter[tuple[int, str]]:
        """Legs that the query finds, each counted at its start."""
        counts: Counter[tuple[int, str]] = Counter()
        indices = self._names.covering(LEGS, query.start_us, query.end_us)
        filters = leg_query.filters(query)
        plain = {"bool": {"filter": [filters], "must_not": [leg_query.ODD]}}
        for bucket in self._reader.buckets(indices, plain, _sources("started_us", width_us), {}, deadline):
            counts[int(bucket["key"]["start"]), readable(bucket["key"]["outcome"])] += bucket["doc_count"]
        odd = Search(indices, {"bool": {"filter": [filters, leg_query.ODD]}}, _NEWEST)
        for _, leg in self._matching(odd, query, 100, deadline):
            counts[leg.started_us // width_us * width_us, leg.outcome] += 1
        return counts


def _sources(field: str, width_us: int) -> list[dict[str, object]]:
    return [
        {"start": {"histogram": {"field": field, "interval": width_us}}},
        {"outcome": {"terms": {"field": "outcome"}}},
    ]


def _all(*many: Iterable[Action]) -> Iterator[Action]:
    for each in many:
        yield from each


def _leg(hit: Hit) -> LegRow:
    return legs.leg_row(hit["_source"], hit["_index"][-10:], hit["_id"])


def _line(hit: Hit) -> LogRecord:
    return logs.log_record(hit["_source"])


def _audit_row(hit: Hit) -> AuditRow:
    return audit.audit_row(hit["_source"])


def _checked(record: Written) -> Written:
    if len(record.environment) > USUAL:
        raise ValueError(f"an environment's name of {len(record.environment)} characters")
    return record


def _made(make: Callable[[Hit], Row], hit: Hit) -> Row:
    """Raises SegmentUnreadable where the document is nothing that a writer writes."""
    try:
        return make(hit)
    except (LookupError, TypeError, ValueError) as error:
        raise SegmentUnreadable(f"document {hit['_index']}/{hit['_id']} makes no sense: {error!r}") from error
