"""`ringback import`: captures into the store, with a progress bar on a terminal and a summary at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ringback.events import EventStoreError, open_store
from ringback.sessions.ingest.files import ImportProgress, ImportSummary, import_files
from ringback.sessions.keys import KeyRulesError, load_rules
from ringback.sessions.ownership.following import RulesUnknown, read_rules
from ringback.sessions.ownership.rules import ONE_TENANT
from ringback.sessions.uploads.documents import FileDocument, ImportDocument, import_document
from ringback.settings import Settings


def import_captures(
    settings: Settings, files: Sequence[Path], *, force: bool, as_json: bool, environment: str
) -> int:
    """Returns the exit code: 0, or 1 when a file could not be read or the store not be written (said on stderr).

    `environment` "": the rules of ownership say where each session goes.
    """
    try:
        owners = ONE_TENANT if environment else read_rules(settings.records_url)
        rules = load_rules(settings.correlation_file)
        store = open_store(settings.store_url)
        try:
            with _progress(files, shown=sys.stderr.isatty()) as progress:
                summary = import_files(
                    store,
                    files,
                    progress,
                    force=force,
                    environment=environment,
                    owners=owners,
                    rules=rules,
                    store_url=settings.store_url,
                )
        finally:
            store.close()
    except RulesUnknown as error:
        print(f"ringback: whose traffic it is cannot be told: {error}. Name it: --environment NAME", file=sys.stderr)
        return 1
    except (KeyRulesError, OSError) as error:
        print(f"ringback: {error}", file=sys.stderr)
        return 1
    except EventStoreError as error:
        print(f"ringback: {error} (what was imported till then is stored; the same command goes on)", file=sys.stderr)
        return 1
    _report(summary, as_json=as_json)
    return 1 if any(file.status == "failed" for file in summary.files) else 0


def _report(summary: ImportSummary, *, as_json: bool) -> None:
    document = import_document(summary)
    if as_json:
        import orjson

        sys.stdout.buffer.write(orjson.dumps(document) + b"\n")
        sys.stdout.buffer.flush()
        return
    for file in document["files"]:
        print(_line(file), file=sys.stderr if file["status"] == "failed" else sys.stdout)
    print(_total(document))


def _line(file: FileDocument) -> str:
    name = file["name"]
    if file["status"] == "failed":
        return f"{name}: {file['problem']}"
    if file["status"] == "already":
        return f"{name}: imported before ({file['messages']} messages); --force imports it again"
    ignored = ", ".join(f"{reason} {count}" for reason, count in file["ignored"].items())
    text = f"{name}: {file['messages']} messages in {file['legs']} sessions' legs, {file['packets']} packets"
    if file["media"]:
        text += f", {file['media']} media streams"
    if file["logs"]:
        text += f", {file['logs']} log lines"
    if ignored:
        text += f"; not taken: {ignored}"
    if file["problem"]:
        text += f"; {file['problem']}"
    return text


def _total(document: ImportDocument) -> str:
    seconds = document["seconds"]
    rate = f", {document['messages'] / seconds:,.0f} a second" if seconds > 0 and document["messages"] else ""
    return f"{document['messages']} messages stored in {seconds:.1f} s{rate}"


@contextmanager
def _progress(files: Sequence[Path], *, shown: bool) -> Iterator[Callable[[ImportProgress], None] | None]:
    """A bar on standard error, for a person who waits."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[messages]} messages"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks = {path: bars.add_task(path.name, total=1.0, start=False, messages=0) for path in files}

        def show(progress: ImportProgress) -> None:
            task = tasks[progress.path]
            bars.start_task(task)
            bars.update(task, completed=progress.fraction, messages=progress.messages)

        yield show
