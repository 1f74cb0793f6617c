"""What is past its days is dropped: whole day segments of the event store, and audit records. The days count from when
something happened or, for an old capture that is imported, from when it was stored: nobody looks at what is gone within the
hour.

`EXPIRING` names everything that is kept for some days, by which option, and both how it goes and how much of it would.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ringback import clock
from ringback.audit.retention import trim, trimmable
from ringback.configuration.options import Harmless, Looking, Option, touches
from ringback.configuration.reader import Current
from ringback.configuration.shared import LOG_MAX_AGE
from ringback.events import DAY_US, EventStore, EventStoreError, open_store
from ringback.hosts.due import Due
from ringback.hosts.service import forget_gone
from ringback.sessions.options import MAX_AGE
from ringback.settings import Settings
from ringback.web.formats import plural, size

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Stores:
    records: Engine
    events: EventStore


@dataclass(frozen=True, slots=True)
class Expiring:
    """`drop` removes what is older than a time (microseconds) and names what went; `count` says how much that would be,
    in words, "" for nothing."""

    option: Option[int]
    drop: Callable[[Stores, int], list[str]]
    count: Callable[[Stores, int], str]


def retention(settings: Settings, configuration: Current | None = None) -> Due:
    """Hourly for each store. `configuration`: of the process; None asks for one's own when needed."""
    current = configuration or Current(settings)

    def drop(engine: Engine) -> None:
        if not current.refresh():
            raise DaysUnknown("how long things are kept cannot be read from the records")
        drop_expired(settings, engine, current)
        forget_gone(engine)

    return Due(
        settings,
        lease_name(settings),
        drop,
        every=timedelta(hours=1),
        at_most=timedelta(minutes=10),
        failed="retention failed",
        fails=(EventStoreError, DaysUnknown, OSError),
    )


class DaysUnknown(Exception):
    """How long something is kept is not known for sure: nothing of it goes."""


def lease_name(settings: Settings) -> str:
    """Of the store: folders of one path on two hosts are two stores."""
    url = settings.store_url
    where = f"{settings.host_name} {url}" if url.startswith("sqlite:") else url
    return f"retention {hashlib.blake2b(where.encode(), digest_size=8).hexdigest()}"


def drop_expired(settings: Settings, records: Engine, configuration: Current) -> list[str]:
    """Names of what went. Raises EventStoreError, SQLAlchemyError, DaysUnknown, OSError. Done by two at a time it does
    no harm."""
    now = clock.now_us()
    dropped: list[str] = []
    with closing(open_store(settings.store_url)) as events:
        for each in EXPIRING:
            if not configuration.is_sound(each.option):
                raise DaysUnknown(f"{each.option.name}: what is applied does not hold in this version; apply it anew")
            before = now - configuration.value(each.option) * DAY_US
            dropped += each.drop(Stores(records, events), before)
    if dropped:
        _log.info("retention", dropped=dropped)
    return dropped


def _dropping(kind: str) -> Callable[[Stores, int], list[str]]:
    """Whole segments, but for those that something was written to since."""

    def drop(stores: Stores, before_us: int) -> list[str]:
        return stores.events.drop_before(kind, before_us, written_before_us=before_us)

    return drop


def _count_sessions(stores: Stores, before_us: int) -> str:
    legs, days, held = _segments(stores, "sip", "legs", before_us)
    return f"{plural(legs, 'leg')} of captured sessions ({plural(days, 'day')}, {size(held)})" if days else ""


def _count_lines(stores: Stores, before_us: int) -> str:
    lines, days, held = _segments(stores, "log", "logs", before_us)
    return f"{plural(lines, 'log line')} ({plural(days, 'day')}, {size(held)})" if days else ""


def _segments(stores: Stores, kind: str, what: str, before_us: int) -> tuple[int, int, int]:
    """(how many, days, bytes) of the segments of days that ended before."""
    last = clock.from_us(before_us - DAY_US).strftime("%Y-%m-%d")
    old = [each for each in stores.events.status().segments if each.kind == kind and each.day <= last]
    return sum(getattr(each, what) for each in old), len({each.day for each in old}), sum(each.bytes for each in old)


def _trim_records(stores: Stores, before_us: int) -> list[str]:
    gone = trim(stores.records, clock.from_us(before_us))
    return [plural(gone, "audit record")] if gone else []


def _count_records(stores: Stores, before_us: int) -> str:
    found = trimmable(stores.records, clock.from_us(before_us))
    return plural(found, "audit record") if found else ""


def _untold(_stores: Stores, _before_us: int) -> str:
    return ""  # copies of what is told already


EXPIRING = (
    Expiring(MAX_AGE, _dropping("sip"), _count_sessions),
    Expiring(LOG_MAX_AGE, _dropping("log"), _count_lines),
    Expiring(LOG_MAX_AGE, _trim_records, _count_records),
    Expiring(LOG_MAX_AGE, _dropping("audit"), _untold),
)


def what_goes(option: Option[int], looking: Looking, old: int, new: int) -> Iterator[str]:
    """What would go with other days than now, in sentences."""
    if new >= old:
        yield Harmless("Nothing goes; what is there now is kept longer.")
        return
    before = clock.to_us(looking.now) - new * DAY_US
    try:
        with closing(open_store(looking.settings.store_url)) as events:
            stores = Stores(looking.records, events)
            counted = [each.count(stores, before) for each in EXPIRING if each.option is option]
    except (EventStoreError, SQLAlchemyError, OSError) as error:
        yield f"What is older than {new} days will go within the hour. How much that is cannot be told: {error}"
        return
    day = clock.from_us(before).strftime("%-d %B %Y")
    for found in filter(None, counted):
        yield f"{found} older than {plural(new, 'day')} will go within the hour, for good: what is of before {day}."
    if not any(counted):
        yield Harmless(f"Nothing is older than {plural(new, 'day')} yet.")


for _option in dict.fromkeys(each.option for each in EXPIRING):
    touches(_option)(partial(what_goes, _option))
