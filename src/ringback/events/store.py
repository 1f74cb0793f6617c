"""The event store's protocol: what every engine can do, and the plain rows that go in and out.

One engine is chosen by RINGBACK_EVENTS_URL; nothing outside this room knows which. A session's legs are indexed
rows; its messages are opaque compressed blocks that cost no index entry. Every row carries an environment and every
read names the environments it may see.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Protocol


class EventStoreError(Exception):
    """Base of what an engine raises; the text is fit to be shown."""


class SearchTimedOut(EventStoreError):
    """The deadline passed before everything was read: the answer would have been partial."""


class SegmentUnreadable(EventStoreError):
    """A segment (or shard) could not be read: names it, says why and what to do."""


class StoreFull(EventStoreError):
    """No space: nothing of the batch was written."""


class StoreAway(EventStoreError):
    """The engine does not answer, or has no time: the same again later may succeed. Some of a batch may be stored;
    writing it again does no harm."""


class WriteRefused(EventStoreError):
    """The engine will never take some of the rows, which the text names; the others of the batch are stored."""


class BadCursor(EventStoreError):
    """The cursor is not one of ours, or belongs to another query."""


class Role(IntFlag):
    """Where in a leg a number was seen. One row may hold several."""

    FROM = 1
    TO = 2
    REQUEST_URI = 4
    ASSERTED = 8  # P-Asserted-Identity, P-Preferred-Identity
    REMOTE_PARTY = 16  # Remote-Party-ID
    DIVERSION = 32
    HISTORY = 64  # History-Info
    CONTACT = 128
    AUTH_USER = 256  # username of Authorization / Proxy-Authorization
    ACCOUNT = 512


class Trouble(IntFlag):
    """Cheap marks that ingest sees in passing; a leg with none of them and a good outcome is left undiagnosed in lists."""

    RETRANSMITTED = 1
    CHALLENGED_TWICE = 2
    FAILED_BRANCH = 4  # a final failure on one hop though the leg went on
    NO_FINAL = 8
    TRUNCATED = 16
    LATE_RINGING = 32
    ABNORMAL_BYE = 64  # a BYE with a Reason other than normal clearing, or refused
    OTHER = 128


DAY_US = 86_400_000_000
FINE_OUTCOMES = frozenset({"answered", "registered", "unregistered", "succeeded", "in_progress"})


def call_hash(environment: str, call_id: str) -> int:
    """63 bits that stand for a leg in indexes and URLs: the same in every engine and every year."""
    digest = hashlib.blake2b(f"{environment}\0{call_id}".encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


@dataclass(slots=True)
class LegRow:
    """One Call-ID as one writer saw it within one day (UTC). Readers merge rows of one Call-ID.

    Mutable: the writer keeps it while the leg is open and writes it again when it changed. `ref` and `engine` are the
    engine's: None until first written, opaque afterwards; `ref` is valid for `EventStore.write` and the readers of the
    same store. Between two writes everything may change but environment, call_id and started_us; addresses, agents,
    numbers (and their Role bits) and keys only grow.

    A leg that goes on after midnight UTC is a second row: the writer starts a new LegRow with the first message of
    the new day, with all numbers and keys known so far, and a block's parts all name rows of one day.
    """

    environment: str
    call_id: str
    kind: str  # call registration message options subscription other
    method: str  # of the first request, or of the CSeq of the first response
    started_us: int
    ended_us: int
    caller: str = ""
    called: str = ""
    outcome: str = "in_progress"
    code: int = 0  # final response to the leg's first request; 0 none
    phrase: str = ""
    reason: str = ""  # Reason header that came with the end
    answered_us: int = 0
    duration_ms: int = 0  # answer to BYE; 0 unknown
    source: str = ""  # address:port of the first message
    destination: str = ""
    addresses: list[str] = field(default_factory=list)  # every address seen, without port, distinct
    agents: list[str] = field(default_factory=list)  # every capture agent, distinct
    messages: int = 0
    trouble: int = 0  # Trouble bits
    numbers: dict[str, int] = field(default_factory=dict)  # digits (or lower-case user name) -> Role bits
    keys: set[str] = field(default_factory=set)  # correlation keys, "icid:...", "session-id:...", "cid:...", ...
    ref: str | None = None
    engine: object = field(default=None, repr=False, compare=False)  # the engine's own note of what it has stored

    @property
    def troubled(self) -> bool:
        """A bad end or any mark of trouble: worth a diagnosis."""
        return bool(self.trouble) or self.outcome not in FINE_OUTCOMES


@dataclass(slots=True)  # not frozen: a second's traffic makes tens of thousands of them
class BlockPart:
    """Messages `first` .. `first + count - 1` of a block belong to `leg`."""

    leg: LegRow  # in writes: one of the batch's legs (its ref is set by the write)
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class BlockWrite:
    """Messages of one day, compressed by the caller; opaque to the engine.

    The day is that of its legs: parts of one block name rows of one day. `parts` are in the order of `first` and do
    not overlap; a block holds at most 65,535 messages. Sort the messages by leg before they are compressed: one part
    a leg and batch keeps them cheap.
    """

    started_us: int
    ended_us: int
    messages: int
    data: bytes
    parts: Sequence[BlockPart]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one `write` stores. It may hold several days: the engine takes it apart by the day of each leg's start,
    each block's legs and each count's minute. All or nothing per day; `marks` are stored with the last day, so after a
    crash they never tell of more than is there.

    `counts` are (environment, minute_us, outcome, delta) of *sessions begun in that minute*: deltas, so that a leg
    that goes from in_progress to answered writes -1 and +1.
    `marks` are the writer's own progress ("import:<fingerprint>" -> "offset"), stored with the batch.
    """

    legs: Sequence[LegRow]  # new and changed
    blocks: Sequence[BlockWrite]
    counts: Sequence[tuple[str, int, str, int]] = ()
    marks: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BlockSlice:
    """A block and which of its messages a leg owns."""

    data: bytes
    first: int
    count: int
    leg_ref: str


@dataclass(frozen=True, slots=True)
class NumberPattern:
    """What a person typed, normalised. `text` is digits or a lower-case user name; `%` was the wildcard.

    suffix: ends with text (the default for a bare number: people type local forms); prefix: starts with; exact; contains.
    """

    text: str
    match: str = "suffix"  # exact | prefix | suffix | contains

    def matches(self, word: str) -> bool:
        """Whether `word`, digits or a lower-case user name, is what is asked for."""
        match self.match:
            case "suffix":
                return word.endswith(self.text)
            case "prefix":
                return word.startswith(self.text)
            case "contains":
                return self.text in word
            case _:
                return word == self.text


@dataclass(frozen=True, slots=True)
class LegQuery:
    """Everything is and-ed; the values of one tuple are or-ed. Newest first."""

    environments: tuple[str, ...]
    start_us: int
    end_us: int  # exclusive; a leg matches when its start lies inside
    number: NumberPattern | None = None
    roles: int = 0  # Role bits `number` must match in; 0 any
    numbers: tuple[str, ...] = ()  # digits or lower-case user names as a whole, or-ed, in any role
    call_ids: tuple[str, ...] = ()
    call_hashes: tuple[int, ...] = ()  # call_hash() of legs, or-ed: what a session's URL holds
    call_id_prefix: str = ""
    keys: tuple[str, ...] = ()  # correlation keys, or-ed
    outcomes: tuple[str, ...] = ()
    codes: tuple[int, ...] = ()
    kinds: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()  # without port; a prefix ends with "*"
    troubled: bool | None = None  # True: bad outcome or any Trouble bit; False: neither
    min_duration_ms: int | None = None
    max_duration_ms: int | None = None


@dataclass(frozen=True, slots=True)
class LegPage:
    rows: list[LegRow]
    cursor: str | None  # None: nothing more


@dataclass(frozen=True, slots=True)
class Bucket:
    start_us: int
    outcomes: dict[str, int]


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One log line with the keys that join it to a session or a task."""

    environment: str
    time_us: int
    kind: str  # node billing media task ...
    node: str
    level: str
    text: str
    call_id: str = ""
    conf_id: str = ""
    account: str = ""
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogQuery:
    environments: tuple[str, ...]
    start_us: int
    end_us: int
    call_ids: tuple[str, ...] = ()  # or-ed with conf_ids and accounts
    conf_ids: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    words: str = ""  # all words must occur
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class LogPage:
    records: list[LogRecord]
    cursor: str | None


READ = "read"


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One audit record as it is searched and listed. The record itself stands in the records, which are right where the
    two differ."""

    environment: str
    id: int  # of the record, unique over all environments
    seq: int  # its place in the chain of its environment
    time_us: int
    entity_type: str
    entity_id: str
    entity_name: str
    action: str  # created changed deleted read, or a room's own: payment.made
    properties: tuple[str, ...] = ()  # names of those that changed, or were read
    realm: str = ""
    actor_kind: str = ""
    actor: str = ""  # the name
    address: str = ""
    request_id: str = ""
    customer_id: int | None = None
    customer_name: str = ""
    account_id: int | None = None
    account_name: str = ""
    amount: int | None = None  # 1/100000 of the currency's unit
    currency: str = ""
    message_key: str = ""
    body: str = ""  # the whole record as its room wrote it: opaque, not searched
    personal: bool = False  # personal data was read or changed

    @property
    def kind(self) -> str:
        """change, or read"""
        return READ if self.action.rpartition(".")[2] == READ else "change"


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Everything is and-ed; the values of one tuple are or-ed."""

    environments: tuple[str, ...]
    start_us: int
    end_us: int  # exclusive
    entity_types: tuple[str, ...] = ()
    entity_id: str = ""  # ids of two types may be equal
    names: str = (
        ""  # all words occur in the names of entity, customer and account; one that ends in "*" is a beginning
    )
    actions: tuple[str, ...] = ()
    kind: str = ""  # change | read
    properties: tuple[str, ...] = ()
    realms: tuple[str, ...] = ()
    actor: str = ""
    address: str = ""  # a prefix ends with "*"
    request_id: str = ""
    customer_id: int | None = None
    account_id: int | None = None
    min_amount: int | None = None  # both inclusive; a row without an amount meets neither
    max_amount: int | None = None
    ids: tuple[int, ...] = ()
    personal: bool | None = None


@dataclass(frozen=True, slots=True)
class AuditPage:
    rows: list[AuditRow]
    cursor: str | None  # None: nothing more


@dataclass(frozen=True, slots=True)
class SegmentStatus:
    name: str  # "sip-2026-11-22"
    kind: str  # sip | log | audit
    day: str  # 2026-11-22
    bytes: int
    legs: int
    messages: int
    logs: int
    first_us: int
    last_us: int
    problem: str = ""  # what is wrong with it (it cannot be read, its last writes were lost), "" when nothing is
    audits: int = 0  # audit rows


@dataclass(frozen=True, slots=True)
class StoreStatus:
    engine: str
    segments: list[SegmentStatus]
    free_bytes: int | None  # of the disk, where there is one
    problem: str = ""


class EventStore(Protocol):
    """Thread-safe for readers; one writer object a thread. All times are microseconds UTC.

    Reads raise SearchTimedOut after `deadline_s` and SegmentUnreadable for damaged data, never a shorter answer.
    """

    def write(self, batch: Batch) -> None:
        """Durable against the death of the process when it returns. Sets `ref` of the legs.

        Raises StoreFull, EventStoreError; ValueError where a block's part names a leg of another day or none of the
        batch.
        """
        ...

    def write_logs(self, records: Sequence[LogRecord]) -> None:
        """As `write`."""
        ...

    def mark(self, name: str) -> str | None:
        """The writer's progress of that name, as last stored by `write`; None: never, or its day was dropped."""
        ...

    def search(
        self, query: LegQuery, limit: int = 50, cursor: str | None = None, deadline_s: float = 10.0
    ) -> LegPage:
        """Newest first by (started_us, ref). Rows of one Call-ID are not merged here.

        A cursor goes on with the very same query. Raises BadCursor; ValueError for a limit below 1.
        """
        ...

    def by_keys(
        self,
        environments: tuple[str, ...],
        keys: Iterable[str],
        start_us: int,
        end_us: int,
        limit: int = 200,
        deadline_s: float = 10.0,
    ) -> list[LegRow]:
        """Legs that carry any of the correlation keys and overlap the interval, the first `limit` by their start."""
        ...

    def blocks(self, legs: Sequence[LegRow], deadline_s: float = 10.0) -> list[BlockSlice]:
        """Where the messages of the legs lie, in order of time. The legs were written or read, whenever that was."""
        ...

    def histogram(self, query: LegQuery, width_us: int, deadline_s: float = 10.0) -> list[Bucket]:
        """Sessions begun, by outcome, in buckets of `width_us` (whole minutes) aligned to the epoch. Without other
        conditions than the interval it is read from the per-minute roll-ups."""
        ...

    def search_logs(
        self, query: LogQuery, limit: int = 500, cursor: str | None = None, deadline_s: float = 10.0
    ) -> LogPage: ...

    def write_audit(self, rows: Sequence[AuditRow]) -> None:
        """As `write`. A row whose id is stored already replaces it; the same row again changes nothing."""
        ...

    def search_audit(
        self, query: AuditQuery, limit: int = 50, cursor: str | None = None, deadline_s: float = 10.0
    ) -> AuditPage:
        """Newest first by (time_us, id). Cursors and errors as in `search`."""
        ...

    def count_audit(self, query: AuditQuery, at_most: int = 10_000, deadline_s: float = 10.0) -> int:
        """How many rows there are; `at_most` stands for that many or more."""
        ...

    def status(self) -> StoreStatus: ...

    def drop_before(self, kind: str, before_us: int, *, written_before_us: int | None = None) -> list[str]:
        """Retention: unlinks whole segments of days that ended before `before_us`; with `written_before_us` only those
        that nothing was written to since, so that an old capture stays for a while: audit rows do not. Returns their
        names."""
        ...

    def close(self) -> None: ...
