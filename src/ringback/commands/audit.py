"""`ringback audit`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ringback.commands.shell import AsJson, Data, bars, day, fail, group, records_of, say, settings_of, warn

audit = group("Who changed what.")


@audit.command("verify")
def audit_verify(
    data: Data = None,
    environment: Annotated[list[str] | None, typer.Option(metavar="KEY", help="Else all.")] = None,
    from_anchor: Annotated[
        bool, typer.Option("--from-anchor", help="Only what came after the last signed anchor.")
    ] = False,
    key: Annotated[
        list[Path] | None, typer.Option(metavar="PEM", help="A public key that anchors may be signed by.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prove that no audit record was changed, removed or put in. Exit code 1: one was; 3: it cannot be told."""
    from ringback.audit.commands import verify_chains

    settings, engine = settings_of(data), records_of(data)
    with bars() as show:
        code = verify_chains(
            engine, settings, environment or [], from_anchor=from_anchor, public_keys=key or [], as_json=as_json,
            say=say, warn=warn, progress=show,
        )  # fmt: skip
    raise typer.Exit(code)


@audit.command("anchor")
def audit_anchor(data: Data = None) -> None:
    """Sign where each chain ends now. The work role does so once a day."""
    from ringback.audit.commands import anchor_chains
    from ringback.audit.keys import AuditKeyUnavailable

    try:
        anchor_chains(records_of(data), settings_of(data), say)
    except AuditKeyUnavailable as error:
        fail(str(error))


@audit.command("key")
def audit_key(data: Data = None) -> None:
    """Print the public key of the anchors, for who verifies elsewhere."""
    from ringback.audit.commands import public_key
    from ringback.audit.keys import AuditKeyUnavailable

    try:
        say(public_key(settings_of(data)).rstrip())
    except AuditKeyUnavailable as error:
        fail(str(error))


@audit.command("export")
def audit_export(
    data: Data = None,
    environment: Annotated[str, typer.Option(metavar="KEY", help="Whose audit log.")] = "default",
    filter_: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="NAME=VALUE", help="As in the URL of the search: type=customer, last=180d."),
    ] = None,
) -> None:
    """Write audit records as CSV to standard output."""
    from ringback.access.commands import shell_actor
    from ringback.audit.commands import export
    from ringback.events import EventStoreError

    filters = [(name, value) for name, _, value in (each.partition("=") for each in filter_ or [])]
    try:
        export(records_of(data), settings_of(data), environment, filters, shell_actor(), say)
    except ValueError as error:
        fail(str(error), code=2)
    except EventStoreError as error:
        fail(str(error))


@audit.command("rebuild")
def audit_rebuild(
    data: Data = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="DAY", help="Only what was written since that day (UTC), such as 2026-11-22."),
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Drop the copies first: after older records were restored from a backup.")
    ] = False,
) -> None:
    """Copy the audit records to the event store again, where they are searched. A server may be running."""
    if since and anew:
        fail("--since keeps the copies of the days before, --anew drops all: leave out one of them", code=2)
    first = day("--since", since)
    from sqlalchemy.exc import DatabaseError

    from ringback import clock
    from ringback.audit.relay import rebuild
    from ringback.events import EventStoreError
    from ringback.records.engine import reason
    from ringback.sessions.ownership import models as _rules  # noqa: F401 -- of them too it is copied what is personal

    since_us = clock.to_us(datetime(first.year, first.month, first.day, tzinfo=UTC)) if first else 0
    settings = settings_of(data)
    records_of(data).dispose()  # up to date
    try:
        with bars() as show:
            count = rebuild(
                settings, since_us=since_us, anew=anew,
                progress=lambda left, every: show("audit records", every - left, every),
            )  # fmt: skip
    except (EventStoreError, OSError) as error:
        fail(f"{error} (the same command starts again; a running server goes on where this stopped)")
    except DatabaseError as error:
        fail(f"the records: {reason(error)}")
    say(f"{count:,} audit records copied to the event store.")
