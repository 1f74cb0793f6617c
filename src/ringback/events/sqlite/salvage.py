"""Reading a damaged segment: whatever rows can be reached, by way of a copy whose header is mended where it must be."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ringback.events.sqlite.files import SegmentFile
from ringback.events.sqlite.schema import PAGE_BYTES, ROWS, fill

_MAGIC = b"SQLite format 3\0"
_SIZE_AT, _CHANGES_AT, _VALID_FOR_AT = 28, 24, 92
_HIGHEST_ID = (1 << 63) - 1
_AT_ONCE = 512

Row = tuple[Any, ...]


class Unsalvageable(Exception):
    """Not even the tables can be found."""


class Salvage:
    """A damaged segment, opened for reading. `notes` tells what could not be read."""

    def __init__(self, connection: sqlite3.Connection, notes: list[str]) -> None:
        self.connection = connection
        self.notes = notes

    def by_id(self, table: str) -> Iterator[Row]:
        """All rows of a table with an integer id that can be reached, in order."""
        last, count, told = -1, _AT_ONCE, False
        sql = f"SELECT * FROM {table} WHERE id > ? ORDER BY id LIMIT ?"
        while True:
            try:
                rows = self.connection.execute(sql, (last, count)).fetchall()
            except sqlite3.DatabaseError as error:
                if count > 1:  # up to the edge, row by row
                    count = max(count // 8, 1)
                    continue
                if not told:
                    self.notes.append(f"{table}: unreadable after {last} ({error})")
                    told = True
                following = self._readable_after(table, last)
                if following is None:
                    return
                last = following
                continue
            yield from rows
            if len(rows) < count:
                return
            last, count = rows[-1][0], min(count * 2, _AT_ONCE)

    def all(self, sql: str) -> tuple[list[Row], bool]:
        """The rows up to the first error, and whether there was none."""
        rows: list[Row] = []
        try:
            for row in self.connection.execute(sql):
                rows.append(row)  # noqa: PERF402 - what came before an error counts
        except sqlite3.DatabaseError as error:
            self.notes.append(f"{sql}: {error}")
            return rows, False
        return rows, True

    def sound(self, like: sqlite3.Connection) -> bool:
        """Whether SQLite itself finds the structure whole, and everything is there that stands in `like`."""
        names = "SELECT name FROM sqlite_schema ORDER BY name"
        try:
            whole = self.connection.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)]
            return whole and self.connection.execute(names).fetchall() == like.execute(names).fetchall()
        except sqlite3.DatabaseError:
            return False

    def close(self) -> None:
        self.connection.close()

    def _readable_after(self, table: str, last: int) -> int | None:
        """The lowest id from which on rows can be read again; None: there is none. Only its neighbours are known to
        be unreadable: pages hold runs of ids, so doubling the distance and halving it again finds the edge."""
        step = 1
        while not self._reads(table, last + step):
            step *= 2
            if last + step > _HIGHEST_ID:
                return None
        bad, good = last + step // 2, last + step
        while good - bad > 1:
            middle = (good + bad) // 2
            if self._reads(table, middle):
                good = middle
            else:
                bad = middle
        return good

    def _reads(self, table: str, after: int) -> bool:
        try:
            self.connection.execute(f"SELECT * FROM {table} WHERE id > ? ORDER BY id LIMIT 1", (after,)).fetchone()
        except sqlite3.DatabaseError:
            return False
        return True


def opened(file: SegmentFile, copy: Path) -> Salvage:
    """`copy` is a copy of `file`, with its -wal beside it where there is one. Raises Unsalvageable."""
    notes: list[str] = []
    for mend in (None, _mend_size, _mend_header, _without_wal):
        if mend:
            mend(file, copy)
            notes.append(mend.__doc__ or "")
        connection = sqlite3.connect(copy, isolation_level=None)
        connection.text_factory = lambda raw: raw.decode(errors="replace")
        try:
            connection.execute("SELECT value FROM meta").fetchall()
            connection.execute(f"SELECT id FROM {ROWS[file.kind]} LIMIT 0").fetchall()
            connection.execute("PRAGMA journal_mode").fetchone()
        except sqlite3.DatabaseError:
            connection.close()
            continue
        return Salvage(connection, notes)
    raise Unsalvageable(f"{file.name}: not even its tables can be found")


def _mend_size(_: SegmentFile, copy: Path) -> None:
    """the file is shorter than its header says"""
    with copy.open("r+b") as stream:
        data = stream.read(PAGE_BYTES)
        if data.startswith(_MAGIC):
            pages = copy.stat().st_size // PAGE_BYTES
            stream.seek(_SIZE_AT)
            stream.write(pages.to_bytes(4, "big"))


def _mend_header(file: SegmentFile, copy: Path) -> None:
    """the first page was replaced by that of an empty segment, which has the same tables at the same pages"""
    empty = copy.with_name("empty")
    fill(file.kind, empty)
    page = bytearray(empty.read_bytes()[:PAGE_BYTES])
    page[_SIZE_AT : _SIZE_AT + 4] = (copy.stat().st_size // PAGE_BYTES).to_bytes(4, "big")
    page[_VALID_FOR_AT : _VALID_FOR_AT + 4] = page[_CHANGES_AT : _CHANGES_AT + 4]
    with copy.open("r+b") as stream:
        stream.write(page)


def _without_wal(_: SegmentFile, copy: Path) -> None:
    """what only the -wal held could not be used"""
    copy.with_name(copy.name + "-wal").unlink(missing_ok=True)
    copy.with_name(copy.name + "-shm").unlink(missing_ok=True)
