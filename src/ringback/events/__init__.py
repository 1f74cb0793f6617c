"""The event store: legs, message blocks and log lines behind one protocol (`store`), an engine per folder."""

from pathlib import Path

from ringback.events.store import (
    DAY_US,
    FINE_OUTCOMES,
    BadCursor,
    Batch,
    BlockPart,
    BlockSlice,
    BlockWrite,
    Bucket,
    EventStore,
    EventStoreError,
    LegPage,
    LegQuery,
    LegRow,
    LogPage,
    LogQuery,
    LogRecord,
    NumberPattern,
    Role,
    SearchTimedOut,
    SegmentStatus,
    SegmentUnreadable,
    StoreFull,
    StoreStatus,
    Trouble,
    call_hash,
)

__all__ = [
    "DAY_US",
    "FINE_OUTCOMES",
    "BadCursor",
    "Batch",
    "BlockPart",
    "BlockSlice",
    "BlockWrite",
    "Bucket",
    "EventStore",
    "EventStoreError",
    "LegPage",
    "LegQuery",
    "LegRow",
    "LogPage",
    "LogQuery",
    "LogRecord",
    "NumberPattern",
    "Role",
    "SearchTimedOut",
    "SegmentStatus",
    "SegmentUnreadable",
    "StoreFull",
    "StoreStatus",
    "Trouble",
    "call_hash",
    "open_store",
]


def open_store(url: str) -> EventStore:
    """The store that RINGBACK_EVENTS_URL names: ``sqlite:FOLDER``. Raises EventStoreError for any other scheme."""
    scheme, _, rest = url.partition(":")
    if scheme != "sqlite" or not rest:
        raise EventStoreError(f"RINGBACK_EVENTS_URL {url!r}: not a store this release knows; write sqlite:FOLDER")
    from ringback.events.sqlite import SqliteEventStore

    return SqliteEventStore(Path(rest))
