"""What is past its days is dropped, whole day segments at a time. The days count from when something happened or, for an
old capture that is imported, from when it was stored: nobody looks at what is gone within the hour."""

from __future__ import annotations

import structlog

from ringback import clock
from ringback.events import DAY_US, EventStoreError, open_store
from ringback.settings import Settings

_log = structlog.get_logger()


def drop_expired(settings: Settings) -> list[str]:
    """Names of the dropped segments. What cannot be dropped is logged and tried again next time."""
    now = clock.now_us()
    days = {"sip": settings.keep_sessions_days, "log": settings.keep_logs_days}
    dropped: list[str] = []
    try:
        store = open_store(settings.store_url)
        try:
            for kind, kept in days.items():
                before = now - kept * DAY_US
                dropped += store.drop_before(kind, before, written_before_us=before)
        finally:
            store.close()
    except (EventStoreError, OSError) as error:
        _log.error("retention failed", error=str(error))
    if dropped:
        _log.info("retention", dropped=dropped)
    return dropped
