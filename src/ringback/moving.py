"""`ringback events copy`: one event store into another, with a progress bar on a terminal and a line a day."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import inspect, select

from ringback import clock
from ringback.billing.entities.models import Environment
from ringback.events import DAY_US, EventStore, EventStoreError, open_store
from ringback.events.copying import Codec, DayReport, copy_events
from ringback.records.engine import open_engine, reading
from ringback.records.tables import DEFAULT_ENVIRONMENT, INSTALLATION, UNASSIGNED
from ringback.records.wall import EVERYWHERE
from ringback.sessions.ingest.blocks import decode_block, encode_block
from ringback.sessions.story import Sighting
from ringback.settings import Settings

CODEC: Codec[Sighting] = Codec(decode_block, encode_block, lambda message: len(message.payload))


def environments_of(settings: Settings) -> list[str]:
    """Keys of all that the records know. Records of a version with one tenant know none. Raises RecordsUnavailable."""
    engine = open_engine(settings.records_url, must_exist=True)
    try:
        with reading(engine, EVERYWHERE) as session:
            if not inspect(session.connection()).has_table(Environment.__tablename__):
                return [DEFAULT_ENVIRONMENT]
            return list(session.scalars(select(Environment.key).order_by(Environment.key)))
    finally:
        engine.dispose()


def source_name(url: str) -> str:
    """What the marks in the target call the source: the host with the folder, or the engine's address without secrets."""
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite":
        return f"{socket.gethostname()}:{os.path.realpath(rest)}"
    return rest.rpartition("@")[2]


def copy_between(
    from_url: str,
    to_url: str,
    *,
    name: str,
    environments: Sequence[str],
    since: date | None,
    today: bool,
    say: Callable[[str], None],
) -> int:
    """Of the environments named, and of what belongs to none of them: traffic that no rule assigned, audit rows of the
    installation. Returns the exit code: 0, or 1 where something could not be copied. Raises EventStoreError."""
    midnight = clock.now_us() // DAY_US * DAY_US
    until_us = midnight + DAY_US if today else midnight
    since_us = _midnight_us(since) if since else 0
    every = list(dict.fromkeys([*environments, UNASSIGNED, INSTALLATION]))
    with _opened(from_url) as source, _opened(to_url) as target, _bar(shown=sys.stderr.isatty()) as progress:
        try:
            reports = copy_events(
                source, target, CODEC,
                name=name, environments=every, since_us=since_us, until_us=until_us, progress=progress,
            )  # fmt: skip
        except EventStoreError as error:
            raise EventStoreError(f"{error} (what was copied till then is kept; the same command goes on)") from error
        unfinished = any(_midnight_us(date.fromisoformat(each.day)) >= until_us for each in source.status().segments)
    for report in reports:
        for line in _lines(report):
            say(line)
    if unfinished:
        say(
            "Today is not copied while the source is in use: stop what writes to it, then run this again with --today."
        )
    if not reports:
        say("There is nothing to copy.")
    return 1 if any(report.problems for report in reports) else 0


def _lines(report: DayReport) -> Iterator[str]:
    copied, before = report.copied, report.before
    line = f"{report.day}  {copied.legs:>11,} legs  {copied.messages:>13,} messages  {copied.logs:>11,} log lines"
    line += f"  {copied.audits:>9,} audit rows"
    if before.legs or before.logs or before.audits:
        line += f"  (before: {before.legs:,}, {before.messages:,}, {before.logs:,}, {before.audits:,})"
    if report.source == report.target:
        line += "  verified"
    yield line
    for remark in report.remarks:
        yield f"  {remark}"
    for problem in report.problems:
        yield f"  NOT COPIED: {problem}"


@contextmanager
def _opened(url: str) -> Iterator[EventStore]:
    store = open_store(url)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _bar(*, shown: bool) -> Iterator[Callable[[str, float], None] | None]:
    """On standard error, for a person who waits."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=1.0)
        yield lambda day, fraction: bars.update(task, description=day, completed=fraction)


def _midnight_us(day: date) -> int:
    return (datetime(day.year, day.month, day.day, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        microseconds=1
    )
