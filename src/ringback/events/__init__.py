"""The event store: legs, message blocks, log lines and audit rows behind one protocol (`store`), an engine per folder."""

from pathlib import Path

from ringback.events.store import (
    DAY_US,
    FINE_OUTCOMES,
    AuditPage,
    AuditQuery,
    AuditRow,
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
    StoreAway,
    StoreFull,
    StoreStatus,
    Trouble,
    WriteRefused,
    call_hash,
)

__all__ = [
    "DAY_US",
    "FINE_OUTCOMES",
    "AuditPage",
    "AuditQuery",
    "AuditRow",
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
    "StoreAway",
    "StoreFull",
    "StoreStatus",
    "Trouble",
    "WriteRefused",
    "call_hash",
    "open_store",
]


def open_store(url: str) -> EventStore:
    """The store that RINGBACK_EVENTS_URL names: ``sqlite:FOLDER``, or ``http://`` and ``https://`` for OpenSearch and
    Elasticsearch (see `ringback.events.opensearch.address`). Raises EventStoreError."""
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite" and rest:
        from ringback.events.sqlite import SqliteEventStore

        return SqliteEventStore(Path(rest))
    if scheme in ("http", "https"):
        from ringback.events.opensearch import Address, OpenSearchEventStore

        return OpenSearchEventStore(Address.parsed(url))
    raise EventStoreError(  # without the rest, which may hold a password
        f"RINGBACK_EVENTS_URL begins with {scheme[:20]!r}: not a store this release knows; write sqlite:FOLDER or"
        " https://USER:PASSWORD@HOST:9200"
    )
