"""What can be done with the servers' own records: tell that a role lives, see who lives, do work one at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, delete, or_, select
from sqlalchemy.exc import IntegrityError

from ringback import __version__, clock
from ringback.hosts.models import Lease, RoleRun
from ringback.records.engine import reading, unit_of_work

BEAT_SECONDS = 5.0  # between two signs of life
SILENT_AFTER = timedelta(seconds=20)  # of the last one: a few may be late, as may a clock
FORGOTTEN_AFTER = timedelta(days=7)  # a host that fell silent
STOPPED_FORGOTTEN_AFTER = timedelta(days=1)  # one that was stopped in order


@dataclass(frozen=True, slots=True)
class RoleState:
    """One role on one host."""

    host: str
    role: str
    run: str
    version: str
    started_at: datetime
    updated_at: datetime
    stopped_at: datetime | None
    status: str  # JSON, of the role's own shape

    @property
    def stopped(self) -> bool:
        return self.stopped_at is not None

    @property
    def running(self) -> bool:
        """Neither stopped nor silent."""
        return not self.stopped and clock.now() - self.updated_at < SILENT_AFTER


def tell(
    engine: Engine,
    host: str,
    role: str,
    *,
    run: str,
    started_at: datetime,
    status: str = "{}",
    stopped: bool = False,
) -> str:
    """A sign of life. Returns the `run` that told last: another one's means that two servers go by one host name.

    Raises sqlalchemy.exc.SQLAlchemyError.
    """
    now = clock.now()
    with unit_of_work(engine) as work:
        row = work.get(RoleRun, (host, role), with_for_update=True)
        before = row.run if row and row.stopped_at is None and now - row.updated_at < SILENT_AFTER else run
        if row is None:
            row = RoleRun(host=host, role=role)
            work.add(row)
        row.run, row.version, row.status = run, __version__, status
        row.started_at, row.updated_at, row.stopped_at = started_at, now, now if stopped else None
    return before


def role_states(engine: Engine) -> list[RoleState]:
    """Of every host, by host and role. Raises sqlalchemy.exc.SQLAlchemyError."""
    with reading(engine) as session:
        rows = session.scalars(select(RoleRun).order_by(RoleRun.host, RoleRun.role)).all()
    return [
        RoleState(
            each.host,
            each.role,
            each.run,
            each.version,
            each.started_at,
            each.updated_at,
            each.stopped_at,
            each.status,
        )
        for each in rows
    ]


def forget_gone(engine: Engine) -> None:
    """Roles that were not heard of for a week, or were stopped a day ago, are no longer listed."""
    now = clock.now()
    silent = RoleRun.updated_at < now - FORGOTTEN_AFTER
    stopped = RoleRun.stopped_at < now - STOPPED_FORGOTTEN_AFTER
    with unit_of_work(engine) as work:
        work.execute(delete(RoleRun).where(or_(silent, stopped)))


def run_due(
    engine: Engine, name: str, holder: str, work: Callable[[], object], *, every: timedelta, at_most: timedelta
) -> bool:
    """Do `work` where it was not done within `every` and nobody else is at it. Returns whether it was done here.

    `at_most` is how long the work may take: a holder that died is waited for no longer. Work that outlasts it may be
    done twice at a time, so it has to be harmless then. Raises what `work` raises, and SQLAlchemyError.
    """
    if not _claim(engine, name, holder, every, at_most):
        return False
    done = False
    try:
        work()
        done = True
    finally:
        _release(engine, name, holder, done=done)
    return True


def last_done(engine: Engine, name: str) -> datetime | None:
    with reading(engine) as session:
        lease = session.get(Lease, name)
        return lease.done_at if lease else None


def _claim(engine: Engine, name: str, holder: str, every: timedelta, at_most: timedelta) -> bool:
    now = clock.now()
    try:
        with unit_of_work(engine) as work:
            lease = work.get(Lease, name, with_for_update=True)
            if lease is None:
                work.add(Lease(name=name, holder=holder, held_until=now + at_most))
                return True
            held = lease.held_until > now and lease.holder != holder
            if held or (lease.done_at is not None and now - lease.done_at < every):
                return False
            lease.holder, lease.held_until = holder, now + at_most
            return True
    except IntegrityError:
        return False  # another one made the lease at the same moment


def _release(engine: Engine, name: str, holder: str, *, done: bool) -> None:
    now = clock.now()
    with unit_of_work(engine) as work:
        lease = work.get(Lease, name, with_for_update=True)
        if lease is not None and lease.holder == holder:
            lease.held_until = now
            lease.done_at = now if done else lease.done_at
