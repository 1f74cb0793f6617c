"""Sessions whose end no node told: closed by the work role, and charged for what was told of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta

import structlog
from sqlalchemy import Engine

from ringback import clock
from ringback.billing.engine import accounting, queries
from ringback.billing.engine.billing_log import Trail
from ringback.billing.engine.models import LOST
from ringback.changes.schemas import Actor
from ringback.changes.service import do_changing
from ringback.events import EventStore, EventStoreError, open_store
from ringback.hosts.due import Due
from ringback.records.engine import UnitOfWork, do_in_unit_of_work, reading
from ringback.records.wall import EVERYWHERE
from ringback.settings import Settings

KEPT = timedelta(days=7)  # that a closed session is known, for what nodes send again
_AT_ONCE = 500
_ACTOR = Actor("system", "billing engine", "engine")

_log = structlog.get_logger()


def lost_sessions(settings: Settings) -> Due:
    """Once a minute."""

    def close(engine: Engine) -> None:
        with closing(open_store(settings.store_url)) as events:
            close_lost(engine, events)

    return Due(
        settings,
        "engine sessions",
        close,
        every=timedelta(seconds=60),
        at_most=timedelta(minutes=10),
        failed="lost sessions were not closed",
        fails=(EventStoreError,),
    )


def close_lost(engine: Engine, events: EventStore | None = None) -> int:
    """How many calls were closed. Done by two at a time it does no harm."""
    now = clock.now()
    do_in_unit_of_work(engine, lambda work: queries.close_reserved(work, now), EVERYWHERE)
    do_in_unit_of_work(engine, lambda work: queries.forget_closed(work, now - KEPT), EVERYWHERE)
    count = 0
    while True:
        with reading(engine, EVERYWHERE) as session:
            found = queries.lapsed(session, now, _AT_ONCE)
        trails = [_close(engine, *each) for each in found]
        told = [trail for trail in trails if trail is not None]
        count += len(told)
        _write(events, told)
        if len(found) < _AT_ONCE or not told:
            return count


def _close(engine: Engine, environment: str, key: str, call_id: str) -> Trail | None:
    now = clock.now()

    def work_on(work: UnitOfWork) -> Trail | None:
        work.lock("engine call", environment, call_id)
        row = queries.session_by_key(work, environment, key)
        if row is None or row.state != "started" or row.lapses_at > now:
            return None  # somebody told of it meanwhile
        row.ended_at = row.lapses_at
        trail = Trail(
            environment, row.node, row.call_id, row.conf_id, row.charging_id, caller=row.caller, called=row.called
        )
        seconds = f"the last word was {row.seconds} s" if row.told else "nobody told how long it lasted"
        trail.tell("stop", f"No node told that the call has ended; it is closed: {seconds}.", "warning",
                   cause=LOST, seconds=row.seconds, session=row.key, i_account=row.account_id)  # fmt: skip
        _, lines = accounting.close(work, row, LOST)
        row.state = LOST
        for step, text, level, fields in lines:
            trail.tell(step, text, level, **{name: value for name, value in fields.items() if name != "account"})
        return trail

    return do_changing(engine, _ACTOR, (environment,), work_on)


def _write(events: EventStore | None, trails: Sequence[Trail]) -> None:
    if events is None or not trails:
        return
    try:
        events.write_logs([record for trail in trails for record in trail.records()])
    except EventStoreError as error:
        _log.warning("lines of the billing log are lost", problem=str(error), sessions=len(trails))
