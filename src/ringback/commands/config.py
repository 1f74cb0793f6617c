"""`ringback config`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringback.commands.shell import AsJson, Data, fail, group, records_of, say, settings_of

if TYPE_CHECKING:
    from ringback.configuring import Configuring

config = group("Options: save, verify, apply, roll back.")
Environment = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="What holds in this environment alone. Else in the whole installation."),
]
As = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Who does it. Else the login name of the shell.")
]


@config.command("get")
def config_get(
    names: Annotated[list[str] | None, typer.Argument(metavar="[OPTION]...", help="Else all.")] = None,
    environment: Environment = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what holds and why, and what the draft would make of it."""
    with _configuring(data, environment) as configuring:
        configuring.get(names or [], as_json=as_json)


@config.command("set")
def config_set(
    name: Annotated[str, typer.Argument(metavar="OPTION")],
    value: Annotated[str | None, typer.Argument(help="Left out with --default, --add and --drop.")] = None,
    default: Annotated[bool, typer.Option("--default", help="Go back to the default.")] = False,
    add: Annotated[bool, typer.Option("--add", help="Add a secret, which is read from standard input.")] = False,
    drop: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Drop a secret; several times for more.")
    ] = None,
    environment: Environment = None,
    who: As = None,
    data: Data = None,
) -> None:
    """Put a value into the draft. Nothing changes before it is verified and applied."""
    if (value is not None) + default + (add or bool(drop)) != 1:
        fail("give a value, or --default, or --add and --drop", code=2)
    with _configuring(data, environment, who) as configuring:
        if add or drop:
            configuring.drop_keys(name, drop or [], [_secret()] if add else [])
        else:
            configuring.set(name, value, None, [])


@config.command("discard")
def config_discard(environment: Environment = None, who: As = None, data: Data = None) -> None:
    """Empty the draft."""
    with _configuring(data, environment, who) as configuring:
        configuring.discard()


@config.command("verify")
def config_verify(environment: Environment = None, who: As = None, data: Data = None) -> None:
    """Say what is wrong with the draft, what it would change, and what that touches. Exit code 1 where it is wrong."""
    with _configuring(data, environment, who) as configuring:
        if not configuring.verify():
            raise typer.Exit(1)


@config.command("apply")
def config_apply(
    reason: Annotated[str, typer.Option(metavar="WHY", help="Stands in the history and in the audit log.")],
    environment: Environment = None,
    who: As = None,
    data: Data = None,
) -> None:
    """Make the verified draft hold, on all processes within 5 seconds."""
    with _configuring(data, environment, who) as configuring:
        configuring.apply(reason)


@config.command("history")
def config_history(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many entries.")] = 20,
    environment: Environment = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what was applied: when, by whom, why, and each old and new value."""
    with _configuring(data, environment) as configuring:
        configuring.history(limit, as_json=as_json)


@config.command("rollback")
def config_rollback(
    entry: Annotated[int, typer.Argument(min=0, help="The entry whose values come back; 0: before the first.")],
    environment: Environment = None,
    who: As = None,
    data: Data = None,
) -> None:
    """Make a draft of what held after an entry of the history, to be verified and applied."""
    with _configuring(data, environment, who) as configuring:
        configuring.roll_back(entry)


@contextmanager
def _configuring(data: Path | None, environment: str | None, who: str | None = None) -> Iterator[Configuring]:
    from sqlalchemy.exc import DatabaseError

    from ringback.access.commands import shell_actor
    from ringback.configuration.schemas import ConfigurationError
    from ringback.configuring import Configuring
    from ringback.records.engine import reason

    records = records_of(data)
    try:
        yield Configuring(records, settings_of(data), environment, who or shell_actor().name, say)
    except ConfigurationError as error:
        fail(str(error))
    except DatabaseError as error:
        fail(f"the records: {reason(error)}")
    finally:
        records.dispose()


def _secret() -> str:
    """Asked for without an echo where a person types it."""
    if sys.stdin.isatty():
        from getpass import getpass

        return getpass("Secret: ")
    return sys.stdin.read().strip()
