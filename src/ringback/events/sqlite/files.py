"""The folder of segments: names, days, creation, setting aside, removal. Nothing here reads a segment's content.

    sip-2026-11-22.sqlite       one kind and UTC day; `-wal` and `-shm` beside it are SQLite's
    sip-2026-11-22.1.sqlite     a further part of the day: what was set aside because it was damaged, then repaired
    sip-2026-11-22.sqlite-seq   number of the last batch that was acknowledged (8 bytes, see `schema`)
    sip-2026-11-22.sqlite-problem   why somebody found it unreadable, for `status`
    audit-2026-11-22.sqlite-keys    which customers, entities ... it may hold rows of, see `key_filter`
    sip-2026-11-22.sqlite.damaged   what a repair left of the original

A segment file is never opened but by SQLite: closing any descriptor of it would drop the process's POSIX locks on it.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from ringback.events.store import DAY_US

_NAME = re.compile(r"(?P<kind>sip|log|audit)-(?P<day>\d{4}-\d{2}-\d{2})(?:\.(?P<part>\d{1,4}))?")
_EPOCH_DAY = date(1970, 1, 1)
_STALE_SECONDS = 3600.0
BESIDE = ("", "-wal", "-shm", "-seq", "-keys", "-problem")


@dataclass(frozen=True, slots=True, order=True)
class SegmentFile:
    """One segment: where it lies and which time it holds. Sorts by kind, day and part."""

    kind: str  # sip | log | audit
    day: str  # 2026-11-22
    part: int
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.day}" + (f".{self.part}" if self.part else "")

    @property
    def path(self) -> Path:
        return self.folder / f"{self.name}.sqlite"

    def beside(self, suffix: str) -> Path:
        return self.folder / f"{self.name}.sqlite{suffix}"

    @property
    def start_us(self) -> int:
        return (date.fromisoformat(self.day) - _EPOCH_DAY).days * DAY_US

    @property
    def end_us(self) -> int:
        return self.start_us + DAY_US

    def inode(self) -> int | None:
        """Which file stands under the name now; None: no such file."""
        try:
            return self.path.stat().st_ino
        except FileNotFoundError:
            return None

    def size(self) -> int:
        total = 0
        for suffix in ("", "-wal"):
            try:
                total += self.beside(suffix).stat().st_size
            except FileNotFoundError:
                continue
        return total

    def problem(self) -> str:
        """Why a reader found it unreadable, "" when none did."""
        try:
            return self.beside("-problem").read_text()
        except FileNotFoundError:
            return ""

    def written_us(self) -> int:
        """When the last batch was acknowledged; 0 when nothing was, or the file is gone."""
        try:
            return self.beside("-seq").stat().st_mtime_ns // 1000
        except FileNotFoundError:
            return 0

    def acknowledged(self) -> int:
        """Number of the last batch whose write returned; 0 when none is on record."""
        try:
            return int.from_bytes(self.beside("-seq").read_bytes()[:8], "little")
        except FileNotFoundError:
            return 0


def day_text(time_us: int) -> str:
    return (_EPOCH_DAY + timedelta(days=time_us // DAY_US)).isoformat()


class Folder:
    """The segments below one directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def main(self, kind: str, time_us: int) -> SegmentFile:
        """The segment that takes new rows of that day."""
        return SegmentFile(kind, day_text(time_us), 0, self.path)

    def named(self, name: str) -> SegmentFile:
        """Raises ValueError where the name is none of a segment."""
        found = _NAME.fullmatch(name.removesuffix(".sqlite"))
        if not found:
            raise ValueError(f"{name!r} is no segment; a name looks like sip-2026-11-22 or sip-2026-11-22.1")
        return SegmentFile(found["kind"], found["day"], int(found["part"] or 0), self.path)

    def segments(self, kind: str = "", start_us: int | None = None, end_us: int | None = None) -> list[SegmentFile]:
        """Those whose day touches [start_us, end_us), oldest first."""
        first = day_text(start_us) if start_us is not None else ""
        last = day_text(max(end_us - 1, 0)) if end_us is not None else "9999"
        found = []
        for entry in os.listdir(self.path):  # noqa: PTH208 - names only, and there may be thousands
            if not entry.endswith(".sqlite") or not (match := _NAME.fullmatch(entry[:-7])):
                continue
            if (not kind or match["kind"] == kind) and first <= match["day"] <= last:
                found.append(SegmentFile(match["kind"], match["day"], int(match["part"] or 0), self.path))
        return sorted(found)

    def create(self, file: SegmentFile, fill: Callable[[Path], None]) -> None:
        """Make the segment whole elsewhere, then give it its name: nobody ever sees half of one. A segment that
        another process made in the meantime stays."""
        self._sweep()
        new = self.path / f"{file.name}.sqlite.new-{secrets.token_hex(4)}"
        fill(new)
        with self.locked():
            if not file.path.exists():
                for suffix in ("-wal", "-shm", "-seq", "-keys"):  # left by a segment that somebody removed by hand
                    file.beside(suffix).unlink(missing_ok=True)
                new.rename(file.path)
        new.unlink(missing_ok=True)

    def set_aside(self, file: SegmentFile, inode: int | None) -> SegmentFile | None:
        """Rename a day's damaged segment to a further part of the day, so that a fresh one can take new rows.
        None when `inode` no longer stands under the name: somebody else did it."""
        with self.locked():
            if inode is None or file.inode() != inode:
                return None
            taken = {other.part for other in self.segments(file.kind) if other.day == file.day}
            aside = SegmentFile(file.kind, file.day, max(taken) + 1, self.path)
            for suffix in (
                "-wal",
                "-shm",
                "-seq",
                "-keys",
                "-problem",
                "",
            ):  # itself last: found under one of the names always
                try:
                    file.beside(suffix).rename(aside.beside(suffix))
                except FileNotFoundError:
                    continue
            return aside

    def remove(self, file: SegmentFile) -> None:
        """Readers that hold it open go on reading what is no longer there."""
        with self.locked():
            for suffix in BESIDE:
                file.beside(suffix).unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process at a time gives, changes or takes away names."""
        descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _sweep(self) -> None:
        """Drop what a process that died while creating a segment left."""
        for path in self.path.glob("*.sqlite.new-*"):
            try:
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink()
            except FileNotFoundError:
                continue
