"""What is past its days is dropped, whole day segments at a time. The days count from when something happened or, for an
old capture that is imported, from when it was stored: nobody looks at what is gone within the hour."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from ringback import clock
from ringback.events import DAY_US, EventStoreError, open_store
from ringback.hosts.service import forget_gone, run_due
from ringback.records.engine import RecordsUnavailable, open_engine
from ringback.settings import Settings

EVERY = timedelta(hours=1)
AT_MOST = timedelta(minutes=10)  # then the host at it is taken for dead

_log = structlog.get_logger()


class Retention:
    """Hourly for each store, however many hosts look after it: they agree in the records."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._holder = f"{settings.host_name} {clock.random_token(8)}"
        self._problem = ""

    def run_if_due(self) -> bool:
        """Whether this host did it. What fails is logged, and tried again when asked again, here or elsewhere."""
        settings, problem, done = self._settings, "", False
        try:
            engine = open_engine(settings.records_url)
            try:
                done = run_due(
                    engine, lease_name(settings), self._holder, lambda: drop_expired(settings), every=EVERY, at_most=AT_MOST
                )  # fmt: skip
                if done:
                    forget_gone(engine)
            finally:
                engine.dispose()
        except (EventStoreError, RecordsUnavailable, OSError) as error:
            problem = str(error)
        except SQLAlchemyError as error:
            problem = f"the records: {getattr(error, 'orig', None) or error}"
        if problem and problem != self._problem:
            _log.error("retention failed", error=problem)
        self._problem = problem
        return done


def lease_name(settings: Settings) -> str:
    """Of the store: folders of one path on two hosts are two stores."""
    url = settings.store_url
    where = f"{settings.host_name} {url}" if url.startswith("sqlite:") else url
    return f"retention {hashlib.blake2b(where.encode(), digest_size=8).hexdigest()}"


def drop_expired(settings: Settings) -> list[str]:
    """Names of the dropped segments. Raises EventStoreError, OSError. Done by two at a time it does no harm."""
    now = clock.now_us()
    days = {"sip": settings.keep_sessions_days, "log": settings.keep_logs_days}
    dropped: list[str] = []
    store = open_store(settings.store_url)
    try:
        for kind, kept in days.items():
            before = now - kept * DAY_US
            dropped += store.drop_before(kind, before, written_before_us=before)
    finally:
        store.close()
    if dropped:
        _log.info("retention", dropped=dropped)
    return dropped
