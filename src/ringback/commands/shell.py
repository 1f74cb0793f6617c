"""What all commands share: the data folder, the records, what is said and how a command fails, bars where a person waits."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from rich.progress import TaskID
    from sqlalchemy import Engine

    from ringback.settings import Settings

Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The data folder. Else RINGBACK_DATA, else ./data where it exists."),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


def group(about: str) -> typer.Typer:
    """Commands under one word."""
    return typer.Typer(help=about, no_args_is_help=True, rich_markup_mode=None)


def say(line: str) -> None:
    """To standard output, at once: a script may be waiting for the line."""
    print(line, flush=True)


def warn(reason: str) -> None:
    print(f"ringback: {reason}", file=sys.stderr)


def fail(reason: str, code: int = 1) -> NoReturn:
    warn(reason)
    raise typer.Exit(code)


def settings_of(data: Path | None, **options: str | None) -> Settings:
    from ringback.settings import SettingsError, load_settings

    folder = data
    if folder is None and "RINGBACK_DATA" not in os.environ and Path("data").is_dir():
        folder = Path("data")
    try:
        return load_settings(os.environ, data=folder, **options)
    except SettingsError as error:
        fail(str(error), code=2)


def records_of(data: Path | None) -> Engine:
    """The records, up to date."""
    from sqlalchemy.exc import DatabaseError

    from ringback.composition import compose
    from ringback.records.engine import RecordsUnavailable, open_engine, reason
    from ringback.records.schema import SchemaTooNew, migrate

    settings = settings_of(data)
    compose(settings)
    try:
        engine = open_engine(settings.records_url)
        migrate(engine)
    except (RecordsUnavailable, SchemaTooNew) as error:
        fail(str(error))
    except DatabaseError as error:
        fail(f"the records cannot be brought up to date: {reason(error)}")
    return engine


def day(option: str, text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        fail(f"{option} {text!r} is no day, such as 2026-11-22", code=2)


@contextmanager
def bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each name on standard error, where a person waits; it hears (name, how many are done, of all)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as shown:
        tasks: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = shown.add_task(name)
            shown.update(tasks[name], completed=max(done, 0), total=total)

        yield show
