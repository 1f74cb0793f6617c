"""Connections for reading: kept, bounded, each used by one thread at a time, each read in one snapshot.

Whatever SQLite says on the way comes out as the store's own errors: a deadline as SearchTimedOut, damage as
SegmentUnreadable. Another process that just opens, recovers or checkpoints the file is waited for.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import zstandard

from ringback.events.sqlite.files import SegmentFile
from ringback.events.sqlite.rows import Stored, from_path_list, leg_row, readable, storable
from ringback.events.sqlite.schema import Damaged, connect, is_busy, is_damage, note_problem
from ringback.events.store import EventStoreError, LegRow, SearchTimedOut

_KEPT = 32
_STEPS = 20_000  # of SQLite's machine between two looks at the clock: some 0.5 ms
_ROUTES_KEPT = 20_000
_PAUSE = 0.005


class Deadline:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends = time.monotonic() + seconds

    def left(self) -> float:
        return self._ends - time.monotonic()

    def passed(self) -> bool:
        return time.monotonic() >= self._ends

    def check(self) -> None:
        """Raises SearchTimedOut."""
        if self.passed():
            raise self.error()

    def error(self) -> SearchTimedOut:
        return SearchTimedOut(
            f"not everything could be read within {self._seconds:g} s: narrow the time range or the filters"
        )


class Reader:
    """One open segment. Raises sqlite3.Error; `Readers.open` translates."""

    def __init__(self, file: SegmentFile, inode: int, connection: sqlite3.Connection) -> None:
        self.file = file
        self.inode = inode
        self.connection = connection
        self._words: dict[int, str] = {}
        self._routes: dict[int, tuple[Stored, Stored]] = {}
        self._texts: dict[str, dict[int, str]] = {"shape": {}, "fields": {}}
        self.decompressor = zstandard.ZstdDecompressor()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, parameters).fetchall()

    def word(self, stored: Stored) -> str:
        if not isinstance(stored, int):
            return readable(stored)
        text = self._words.get(stored)
        if text is None:
            self._words = {id_: readable(text) for id_, text in self.connection.execute("SELECT id, text FROM word")}
            text = self._words[stored]
        return text

    def word_ids(self, texts: Sequence[str]) -> list[Stored]:
        """The numbers of those words that the segment has a number for."""
        marks = ", ".join("?" * len(texts))
        stored = [storable(text) for text in texts]
        return [id_ for (id_,) in self.rows(f"SELECT id FROM word WHERE text IN ({marks})", stored)]

    def shape(self, id_: int) -> str:
        return self._text("shape", id_)

    def fields(self, id_: int) -> str:
        return self._text("fields", id_)

    def _text(self, table: str, id_: int) -> str:
        """Raises LookupError."""
        known = self._texts[table]
        if id_ not in known:
            row = self.connection.execute(f"SELECT text FROM {table} WHERE id = ?", (id_,)).fetchone()
            if row is None:
                raise LookupError(f"{table} {id_} is not there")
            known[id_] = row[0]
        return known[id_]

    def route(self, id_: int) -> tuple[list[str], list[str]]:
        found = self._routes.get(id_)
        if found is None:
            if len(self._routes) >= _ROUTES_KEPT:
                self._routes.clear()
            row = self.connection.execute("SELECT addresses, agents FROM route WHERE id = ?", (id_,)).fetchone()
            if row is None:
                raise LookupError(f"route {id_} is not there")
            found = self._routes[id_] = row
        return from_path_list(found[0]), from_path_list(found[1])

    def leg(self, columns: Sequence[Any]) -> LegRow:
        """Raises Damaged where the row is nothing that a writer writes."""
        try:
            return leg_row(columns, self.file.start_us, self.file.name, self.word, self.route)
        except (ValueError, TypeError, LookupError) as error:
            raise Damaged(self.file, f"leg {columns[0]!r} makes no sense ({error!r})") from error


class Readers:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: OrderedDict[int, Reader] = OrderedDict()  # by use, the oldest first
        self._next = 0
        self._closed = False

    @contextmanager
    def open(self, file: SegmentFile, deadline: Deadline) -> Iterator[Reader | None]:
        """A snapshot of the segment for the `with` block; None where retention took it away."""
        reader = None
        try:
            reader = self._reader(file, deadline)
            yield reader
        except sqlite3.DatabaseError as error:
            raise self._translated(file, error, deadline) from error
        except Damaged as error:
            raise self._damaged(error) from None
        else:
            if reader:
                self._give_back(reader)
                reader = None
        finally:
            if reader:
                reader.connection.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for reader in self._idle.values():
                reader.connection.close()
            self._idle.clear()

    def _reader(self, file: SegmentFile, deadline: Deadline) -> Reader | None:
        while True:
            deadline.check()
            inode = file.inode()
            if inode is None:
                return None
            reader = self._take(file, inode)
            try:
                if reader is None:
                    connection = connect(file, busy_seconds=max(deadline.left(), 0.001))
                    reader = Reader(file, inode, connection)
                reader.connection.set_progress_handler(deadline.passed, _STEPS)
                reader.connection.execute("BEGIN")
                reader.connection.execute("SELECT 1 FROM meta").fetchone()  # the snapshot begins here
                return reader
            except FileNotFoundError:
                return None
            except sqlite3.OperationalError as error:
                if reader:
                    reader.connection.close()
                if file.inode() != inode:
                    continue
                if not is_busy(error):
                    raise
                time.sleep(_PAUSE)

    def _take(self, file: SegmentFile, inode: int) -> Reader | None:
        """An idle connection to that very file. Those of files that went away are closed."""
        with self._lock:
            for key, reader in reversed(self._idle.items()):
                if reader.file == file:
                    del self._idle[key]
                    if reader.inode == inode:
                        return reader
                    reader.connection.close()
                    return None
        return None

    def _give_back(self, reader: Reader) -> None:
        reader.connection.set_progress_handler(None, 0)
        reader.connection.execute("ROLLBACK")
        with self._lock:
            if self._closed:
                reader.connection.close()
                return
            self._next += 1
            self._idle[self._next] = reader
            while len(self._idle) > _KEPT:
                self._idle.popitem(last=False)[1].connection.close()

    def forget(self, file: SegmentFile) -> None:
        """Close what is idle of a segment that was removed, so that its space comes free."""
        with self._lock:
            for key in [key for key, reader in self._idle.items() if reader.file == file]:
                self._idle.pop(key).connection.close()

    def _translated(self, file: SegmentFile, error: sqlite3.DatabaseError, deadline: Deadline) -> EventStoreError:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT or is_busy(error):
            return deadline.error()
        if is_damage(error):
            return self._damaged(Damaged(file, str(error)))
        return EventStoreError(f"segment {file.name} could not be read: {error}")

    def _damaged(self, error: Damaged) -> Damaged:
        with suppress(OSError):  # a full or read-only disk: the error itself still reaches the reader
            note_problem(error.file, error.reason)
        return error
