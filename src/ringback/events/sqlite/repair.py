"""Saving what can be read of a damaged segment: `ringback events repair NAME`.

Rows are read as far as they go, past every page that cannot be read, and written into a fresh file: rows keep their
ids (so references stay valid), index entries, chains of blocks and totals are made anew. The damaged file stays beside
the new one. Run it in a process of its own: it copies the file, which drops the process's locks on it.
"""

from __future__ import annotations

import secrets
import shutil
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

from ringback.events.sqlite import salvage
from ringback.events.sqlite.files import Folder, SegmentFile
from ringback.events.sqlite.rebuild import rebuild
from ringback.events.sqlite.schema import connect, fill
from ringback.events.store import EventStoreError


@dataclass(slots=True)
class RepairReport:
    """What a repair saved and lost. A loss of None is not known: the totals themselves could not be read."""

    segment: str  # where what was saved is found; another name than the one asked for where the day goes on
    damaged: bool  # False: everything is readable, nothing was changed
    kept: str = ""  # file name of the damaged original
    legs: int = 0
    messages: int = 0
    logs: int = 0
    audits: int = 0
    lost_legs: int | None = 0
    lost_messages: int | None = 0
    lost_logs: int | None = 0
    lost_audits: int | None = 0
    lost_batches: int | None = 0  # acknowledged, but not in the file: a missing or torn -wal
    notes: list[str] = field(default_factory=list)  # what could not be read, and where


def repair(folder: Path, segment: str) -> RepairReport:
    """`folder` is the store's (``sqlite:FOLDER``), `segment` a name such as sip-2026-11-22.

    Raises EventStoreError where there is no such segment or nothing can be saved, ValueError for what is no name.
    """
    segments = Folder(folder)
    file = segments.named(segment)
    if not file.path.exists():
        raise EventStoreError(f"there is no segment {file.name} in {folder}")
    work = folder / f".repair-{secrets.token_hex(4)}"
    work.mkdir()
    try:
        report = _rebuilt(file, work)
        if not report.damaged:
            file.beside("-problem").unlink(missing_ok=True)
            return report
        if file.part == 0:
            # Its writers go on in a fresh file; what they wrote since the copy was made is saved as well.
            aside = segments.set_aside(file, file.inode())
            if aside is None:
                raise EventStoreError(f"{file.name} was replaced in the meantime: look at the status again")
            file = aside
            _wait_for_writers(file)
            report = _rebuilt(file, work)
        report.segment = file.name
        report.kept = _swap(segments, file, work / "new.sqlite")
        return report
    except (OSError, sqlite3.DatabaseError, salvage.Unsalvageable) as error:
        raise EventStoreError(f"{file.name} was left as it is: {error}") from error
    finally:
        shutil.rmtree(work)


def _rebuilt(file: SegmentFile, work: Path) -> RepairReport:
    """Everything readable of `file` stands in work/new.sqlite afterwards."""
    copy, new = work / "copy.sqlite", work / "new.sqlite"
    for old in work.iterdir():
        old.unlink()
    acknowledged = file.acknowledged()
    shutil.copyfile(file.path, copy)
    if file.beside("-wal").exists():
        shutil.copyfile(file.beside("-wal"), copy.with_name(copy.name + "-wal"))
    source = salvage.opened(file, copy)
    fill(file.kind, new)
    target = sqlite3.connect(new, isolation_level=None)
    try:
        sound = source.sound(target)
        result = rebuild(source, target, file)
    finally:
        target.close()
        source.close()
    lost_batches = None if result.batches is None else max(acknowledged - result.batches, 0)
    losses = (result.lost_legs, result.lost_messages, result.lost_logs, result.lost_audits, lost_batches)
    return RepairReport(
        segment=file.name,
        damaged=not sound or bool(source.notes) or any(loss != 0 for loss in losses),
        legs=result.legs,
        messages=result.messages,
        logs=result.logs,
        audits=result.audits,
        lost_legs=result.lost_legs,
        lost_messages=result.lost_messages,
        lost_logs=result.lost_logs,
        lost_audits=result.lost_audits,
        lost_batches=lost_batches,
        notes=source.notes,
    )


def _wait_for_writers(file: SegmentFile) -> None:
    """A writer that began before the file was set aside ends first; the next one finds it gone."""
    try:
        connection = connect(file, writer=True)
    except (EventStoreError, sqlite3.DatabaseError):
        return  # so damaged that nobody can be writing to it
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.DatabaseError:
        return
    finally:
        connection.close()


def _swap(segments: Folder, file: SegmentFile, new: Path) -> str:
    """Give the rebuilt file the segment's name; returns the name of the damaged one."""
    kept = file.beside(".damaged")
    number = 1
    while kept.exists():
        number += 1
        kept = file.beside(f".damaged-{number}")
    with segments.locked():
        if file.beside("-wal").exists():
            file.beside("-wal").rename(kept.with_name(kept.name + "-wal"))
        for suffix in ("-shm", "-seq", "-keys", "-problem"):
            file.beside(suffix).unlink(missing_ok=True)
        kept.hardlink_to(file.path)
        new.replace(file.path)  # the name never stands empty
    return kept.name
