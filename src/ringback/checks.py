"""What /readyz looks at: "ok", or what is wrong and fit to be shown. The pages' server and the admin listener share it."""

from __future__ import annotations

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ringback.events import EventStore, EventStoreError
from ringback.records.schema import migrations_current
from ringback.sessions.ingest.status import CollectorStatus

OK = "ok"
STOPPING = "is stopping; what is under way is finished"


def records(engine: Engine) -> str:
    try:
        return OK if migrations_current(engine) else "the tables are not those of this version"
    except SQLAlchemyError as error:
        return f"cannot be read: {getattr(error, 'orig', None) or type(error).__name__}"


def events(store: EventStore) -> str:
    try:
        return store.status().problem or OK
    except EventStoreError as error:
        return str(error)


def collector(status: CollectorStatus | None) -> str:
    if status is None or not status.running:
        return "does not run"
    return status.problem or OK


def behind(status: CollectorStatus | None) -> dict[str, float]:
    """How far storing is behind receiving. It makes nobody less ready: what waits on disk is not lost."""
    if status is None:
        return {"behind_s": 0.0, "packets": 0, "bytes": 0}
    return {"behind_s": status.behind_s, "packets": status.spool_packets, "bytes": status.spool_bytes}
