"""`ringback records` and `ringback events`."""

from __future__ import annotations

from typing import Annotated

import typer

from ringback.commands.shell import Data, bars, day, fail, group, say, settings_of

records = group("Users, tokens, nodes, links.")
events = group("The stored sessions and log lines.")


@records.command("copy")
def records_copy(
    source: Annotated[str, typer.Option("--from", metavar="URL", help="Where they are. It is not changed.")],
    target: Annotated[
        str, typer.Option("--to", metavar="URL", envvar="RINGBACK_DATABASE_URL", help="An empty database.")
    ],
) -> None:
    """Copy all records to another database: sqlite:////path/records.sqlite, postgresql://user@host/database."""
    from sqlalchemy.exc import DatabaseError

    from ringback.records.copying import CopyRefused, copy_records
    from ringback.records.engine import RecordsUnavailable, reason
    from ringback.records.schema import SchemaTooNew

    try:
        with bars() as show:
            copied = copy_records(source, target, lambda at: show(at.table, at.rows, at.total))
    except (CopyRefused, RecordsUnavailable, SchemaTooNew) as error:
        fail(str(error))
    except DatabaseError as error:
        fail(f"nothing was copied: {reason(error)}")
    for table, rows in copied.items():
        say(f"{table:20} {rows:>12,}")


@events.command("status")
def events_status(data: Data = None) -> None:
    """Show every stored segment. Exit code 1 when one cannot be read."""
    settings = settings_of(data)
    from ringback.events import EventStoreError
    from ringback.segments import show_status

    try:
        sound = show_status(settings.store_url, say)
    except EventStoreError as error:
        fail(str(error))
    if not sound:
        raise typer.Exit(1)


@events.command("repair")
def events_repair(
    segments: Annotated[
        list[str] | None, typer.Argument(metavar="[SEGMENT]...", help="Else all damaged ones.")
    ] = None,
    data: Data = None,
) -> None:
    """Save what can be read of damaged segments. A server may be running."""
    settings = settings_of(data)
    from ringback.events import EventStoreError
    from ringback.segments import repair_segments

    try:
        repair_segments(settings.store_url, segments or [], say)
    except (EventStoreError, ValueError) as error:
        fail(str(error))


@events.command("copy")
def events_copy(
    source: Annotated[str, typer.Option("--from", metavar="URL", help="sqlite:FOLDER or https://...")],
    target: Annotated[
        str, typer.Option("--to", metavar="URL", envvar="RINGBACK_EVENTS_URL", help="The same, of any kind.")
    ],
    today: Annotated[bool, typer.Option("--today", help="Today too: nothing writes to the source any more.")] = False,
    since: Annotated[str | None, typer.Option(metavar="DAY", help="The first day, such as 2026-11-22.")] = None,
    environment: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Else: all that the records of --data name.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the source is called in the target. Else by its place.")
    ] = None,
    data: Data = None,
) -> None:
    """Copy sessions and log lines to another store. What is copied already is not copied again."""
    from ringback.events import EventStoreError
    from ringback.moving import copy_between, environments_of, source_name
    from ringback.records.engine import RecordsUnavailable

    first = day("--since", since)
    try:
        every = environment or environments_of(settings_of(data))
    except RecordsUnavailable as error:
        fail(f"{error}. The records know which environments there are; without them, name each with --environment.")
    try:
        code = copy_between(
            source, target, name=name or source_name(source), environments=every,
            since=first, today=today, say=say,
        )  # fmt: skip
    except EventStoreError as error:
        fail(str(error))
    raise typer.Exit(code)
