"""What the event store holds, for pages that refresh themselves and for scrapes.

An engine of many nodes adds it up over every day that it holds: what took long is told again for a while.
"""

from __future__ import annotations

import time
from weakref import WeakKeyDictionary

from ringback.events.store import EventStore, StoreStatus

LEAST_SECONDS, MOST_SECONDS = 2.0, 300.0  # that an answer is told again
TIMES = 20.0  # as long as it took: a twentieth of the time, at most, goes into asking

_told: WeakKeyDictionary[EventStore, tuple[float, StoreStatus]] = WeakKeyDictionary()  # until when, and what


def store_status(events: EventStore) -> StoreStatus:
    """Of files at once; of another engine perhaps as it was some minutes ago. Raises EventStoreError."""
    until, status = _told.get(events, (0.0, None))
    began = time.monotonic()
    if status is not None and began < until:
        return status
    status = events.status()
    if status.engine != "sqlite":
        took = time.monotonic() - began
        _told[events] = (time.monotonic() + min(MOST_SECONDS, max(LEAST_SECONDS, TIMES * took)), status)
    return status
