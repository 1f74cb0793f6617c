"""What writing a segment of either kind needs: the transaction, words, slices, and the number of the batch."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from ringback.events.sqlite.files import SegmentFile
from ringback.events.sqlite.rows import Stored, storable
from ringback.events.sqlite.schema import BUSY_SECONDS, SLICE_ROWS, connect, is_busy, note_problem

_MANY = 4096
_POLL_SECONDS = 0.001
_log = logging.getLogger(__name__)


class Moved(Exception):
    """The file is no longer what stands under the segment's name: open that instead."""

    def __init__(self, file: SegmentFile) -> None:
        super().__init__(file.name)
        self.file = file


class Words(dict[str, Stored]):
    """text -> its number in the segment; a missing one is added in the open transaction."""

    def __init__(self, connection: sqlite3.Connection, *, bounded: bool = False) -> None:
        """`bounded`: from the 4,096th word of the segment on, words that are not there yet stand in the rows
        themselves: phrases that an attacker makes up shall not fill the memory."""
        super().__init__()
        self._connection = connection
        self._bounded = bounded
        self._fresh: list[str] = []

    def __missing__(self, text: str) -> Stored:
        stored = storable(text)
        row = self._connection.execute("SELECT id FROM word WHERE text = ?", (stored,)).fetchone()
        if row is None:
            (last,) = self._connection.execute("SELECT max(id) FROM word").fetchone()
            if self._bounded and last >= _MANY:
                return stored
            row = (last + 1,)
            self._connection.execute("INSERT INTO word VALUES (?, ?)", (last + 1, stored))
        self[text] = number = int(row[0])
        self._fresh.append(text)
        return number

    def committed(self) -> None:
        self._fresh.clear()

    def rolled_back(self) -> None:
        for text in self._fresh:
            del self[text]
        self._fresh.clear()


class SegmentWriter:
    """One open segment file. Not thread-safe. Raises sqlite3.Error, Moved."""

    def __init__(self, file: SegmentFile) -> None:
        self.file = file
        self.inode = file.inode()
        self.connection = connect(file, writer=True)
        self.words = Words(self.connection)  # environments, kinds, outcomes
        self.phrases = Words(self.connection, bounded=True)  # what comes from outside
        self._acknowledged = os.open(file.beside("-seq"), os.O_RDWR | os.O_CREAT, 0o644)
        self._batch = 0
        self._tell_losses()

    def begin(self) -> None:
        """Wait for other writers, then be the only one. The name is looked at under the lock, so that nothing is
        written to a file that retention or a repair took away."""
        if self.file.inode() != self.inode:
            raise Moved(self.file)
        self._wait_for_turn()
        if self.file.inode() != self.inode:
            self.rollback()
            raise Moved(self.file)
        (self._batch,) = self.connection.execute("SELECT value + 1 FROM meta WHERE name = 'batches'").fetchone()

    def _wait_for_turn(self) -> None:
        """SQLite's own waiting sleeps up to 100 ms at a time: writers that take turns would idle half of theirs."""
        deadline = time.monotonic() + BUSY_SECONDS
        self.connection.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    self.connection.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    if not is_busy(error) or time.monotonic() >= deadline:
                        raise
                    time.sleep(_POLL_SECONDS)
                else:
                    return
        finally:
            self.connection.execute(f"PRAGMA busy_timeout = {round(BUSY_SECONDS * 1000)}")

    def _tell_losses(self) -> None:
        """A machine that lost its power loses what the disk had not yet: say so, once."""
        acknowledged = self.file.acknowledged()  # first: other writers go on
        (stored,) = self.connection.execute("SELECT value FROM meta WHERE name = 'batches'").fetchone()
        if stored < acknowledged and self.file.inode() == self.inode:
            lost = f"its last {acknowledged - stored} batches were lost: the machine or its disk stopped suddenly"
            _log.error("segment %s: %s", self.file.name, lost)
            note_problem(self.file, lost)
            os.pwrite(self._acknowledged, stored.to_bytes(8, "little"), 0)

    def commit(self) -> None:
        self.connection.execute("UPDATE meta SET value = ? WHERE name = 'batches'", (self._batch,))
        self.connection.execute("COMMIT")
        with suppress(OSError):  # an older number only means that a loss of this batch could not be noticed
            os.pwrite(self._acknowledged, self._batch.to_bytes(8, "little"), 0)
        self.words.committed()
        self.phrases.committed()
        self.committed()

    def rollback(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        self.words.rolled_back()
        self.phrases.rolled_back()
        self.rolled_back()

    def committed(self) -> None:
        """The transaction is durable: let others know what it stored."""

    def rolled_back(self) -> None:
        """Forget what the transaction would have stored."""

    def executemany(self, sql: str, values: Sequence[tuple[Any, ...]]) -> int:
        """Rows touched."""
        return self.connection.executemany(sql, values).rowcount if values else 0

    def free_ids(self, table: str, starts: Sequence[tuple[int, int]]) -> dict[int, int]:
        """key -> an id that no row has, for each (wanted id, key): the wanted one or the next that is free."""
        ids: dict[int, int] = {}
        wanted = sorted(starts)
        reach = len(wanted)
        while len(ids) < len(wanted):
            first, last = wanted[0][0], wanted[-1][0] + reach
            rows = self.connection.execute(f"SELECT id FROM {table} WHERE id BETWEEN ? AND ?", (first, last))
            taken = {id_ for (id_,) in rows}
            ids.clear()
            following = 0
            for start, key in wanted:
                id_ = max(start, following)
                while id_ in taken:
                    id_ += 1
                if id_ > last:  # beyond what was looked at
                    reach *= 8
                    break
                ids[key] = id_
                following = id_ + 1
        return ids

    def slice(self) -> int:
        """The slice for new rows: the newest, or one more when that is full."""
        row = self.connection.execute("SELECT id, rows FROM slice ORDER BY id DESC LIMIT 1").fetchone()
        if row is not None and row[1] < SLICE_ROWS:
            return int(row[0])
        number = row[0] + 1 if row else 1
        self.connection.execute("INSERT INTO slice VALUES (?, 0, 0, NULL, NULL, 0)", (number,))
        return int(number)

    def grow_slice(self, slice_: int, ids: Iterable[int], messages: int, last_us: int) -> None:
        """`ids`: of the rows that are new in it."""
        new = list(ids)
        self.connection.execute(
            "UPDATE slice SET rows = rows + ?, messages = messages + ?, last_us = max(last_us, ?) WHERE id = ?",
            (len(new), messages, last_us, slice_),
        )
        if new:
            self.connection.execute(
                "UPDATE slice SET first = min(coalesce(first, ?1), ?1), last = max(coalesce(last, ?2), ?2)"
                " WHERE id = ?3",
                (min(new), max(new), slice_),
            )

    def close(self) -> None:
        self.connection.close()
        os.close(self._acknowledged)
