"""What /readyz looks at: "ok", or what is wrong and fit to be shown. The pages' server and the admin listener share it."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ringback import clock
from ringback.events import EventStore, EventStoreError, LegQuery
from ringback.records.schema import migrations_current
from ringback.records.tables import DEFAULT_ENVIRONMENT
from ringback.sessions.ingest.status import CollectorStatus

OK = "ok"
WAITS = "packets wait in the spool"
STOPPING = "is stopping; what is under way is finished"
SPOOL_FULL = 0.97  # of its limit: what comes now may find no room
_SEARCH_SECONDS = 5.0


def records(engine: Engine) -> str:
    try:
        return OK if migrations_current(engine) else "the tables are not those of this version"
    except SQLAlchemyError as error:
        return f"cannot be read: {getattr(error, 'orig', None) or type(error).__name__}"


def events(store: EventStore) -> str:
    """By a search that today's data answer at once; `status` would look at every day."""
    now = clock.now_us()
    try:
        store.search(LegQuery((DEFAULT_ENVIRONMENT,), now - 1_000_000, now), limit=1, deadline_s=_SEARCH_SECONDS)
    except EventStoreError as error:
        return str(error)
    return OK


def collector(status: CollectorStatus | None) -> dict[str, str]:
    """A store that cannot be written makes a collector no less ready while the spool has room."""
    if status is None or not status.running:
        return {"collect": "does not run"}
    found = {"collect": OK, "store": OK, "spool": OK}
    if status.spool_limit and status.spool_bytes >= SPOOL_FULL * status.spool_limit:
        found["spool"] = f"is full: {status.spool_bytes} of {status.spool_limit} bytes"
    if status.problem:
        waits = status.spool_limit and found["spool"] == OK
        found["store"] = f"{WAITS}: {status.problem}" if waits else status.problem
    return found


def ready(found: Mapping[str, str]) -> bool:
    return all(result == OK or result.startswith(WAITS) for result in found.values())


def behind(status: CollectorStatus | None) -> dict[str, float]:
    """How far storing is behind receiving. It makes nobody less ready: what waits on disk is not lost."""
    if status is None:
        return {"behind_s": 0.0, "packets": 0, "bytes": 0}
    return {"behind_s": status.behind_s, "packets": status.spool_packets, "bytes": status.spool_bytes}
