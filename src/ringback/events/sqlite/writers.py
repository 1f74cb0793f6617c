"""The open segment writers of one store, and a transaction over several of them."""

from __future__ import annotations

import errno
import logging
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from ringback.events.sqlite.files import Folder, SegmentFile
from ringback.events.sqlite.schema import BUSY_SECONDS, Damaged, fill, is_busy, is_damage, is_full, note_problem
from ringback.events.sqlite.segment_writer import Moved, SegmentWriter
from ringback.events.store import EventStoreError, StoreFull
from ringback.garbage import uncollected

_KEPT = 4
_TRIES = 5
_log = logging.getLogger(__name__)

Writer = TypeVar("Writer", bound=SegmentWriter)


class Writers(Generic[Writer]):
    """Not thread-safe."""

    def __init__(self, folder: Folder, open_: Callable[[SegmentFile], Writer]) -> None:
        self._folder = folder
        self._open = open_
        self._writers: OrderedDict[SegmentFile, Writer] = OrderedDict()  # the oldest use first

    def write(self, work: Mapping[SegmentFile, Callable[[Writer], None]]) -> None:
        """Stage everything, then commit everything. A damaged segment is set aside and a fresh one takes the rows.

        Raises StoreFull, EventStoreError.
        """
        for _ in range(_TRIES):
            try:
                with uncollected():
                    self._write(work)
            except Moved as moved:
                self._close(moved.file)
            except Damaged as damaged:
                self._set_aside(damaged)
            else:
                return
        raise EventStoreError(
            f"{', '.join(file.name for file in work)} could not be written: the files keep changing"
        )

    def close(self) -> None:
        for file in list(self._writers):
            self._close(file)

    def _write(self, work: Mapping[SegmentFile, Callable[[Writer], None]]) -> None:
        begun: list[Writer] = []
        file = None
        try:
            for file in sorted(work):  # one order for all processes: they cannot wait for each other in a circle
                writer = self._writer(file, max(_KEPT, len(work)))
                writer.begin()
                begun.append(writer)
                work[file](writer)
            while begun:
                file = begun[0].file
                begun[0].commit()
                begun.pop(0)
        except sqlite3.DatabaseError as error:
            raise self._translated(file, error) from error
        except OSError as error:
            raise self._translated_os(file, error) from error
        finally:
            for writer in begun:
                self._roll_back(writer)

    def _writer(self, file: SegmentFile, most: int) -> Writer:
        if file in self._writers:
            self._writers.move_to_end(file)
            return self._writers[file]
        while len(self._writers) >= most:
            self._close(next(iter(self._writers)))
        if not file.path.exists():
            self._folder.create(file, lambda path: fill(file.kind, path))
        try:
            writer = self._writers[file] = self._open(file)
        except FileNotFoundError as error:
            raise Moved(file) from error
        return writer

    def _roll_back(self, writer: Writer) -> None:
        try:
            writer.rollback()
        except sqlite3.DatabaseError as error:
            _log.warning("segment %s: roll-back failed, opening it anew: %s", writer.file.name, error)
            self._close(writer.file)

    def _close(self, file: SegmentFile) -> None:
        writer = self._writers.pop(file, None)
        if writer:
            writer.close()

    def _set_aside(self, damaged: Damaged) -> None:
        writer = self._writers.get(damaged.file)
        inode = writer.inode if writer else damaged.file.inode()
        self._close(damaged.file)
        aside = self._folder.set_aside(damaged.file, inode)
        if aside:
            note_problem(aside, damaged.reason)
            _log.error(
                "segment %s is damaged (%s): set aside as %s, new rows go to a fresh file. Run: ringback events repair %s",
                damaged.file.name, damaged.reason, aside.name, aside.name,
            )  # fmt: skip

    def _translated(self, file: SegmentFile | None, error: sqlite3.DatabaseError) -> EventStoreError:
        name = file.name if file else "the segment"
        if is_full(error):
            return StoreFull(f"no space left to write {name}: {error}. Free some, or shorten the retention")
        if file and is_damage(error):
            return Damaged(file, str(error))
        if is_busy(error):
            return EventStoreError(f"{name} was locked by another process for {BUSY_SECONDS:g} s")
        return EventStoreError(f"{name} could not be written: {error}")

    def _translated_os(self, file: SegmentFile | None, error: OSError) -> EventStoreError:
        name = file.name if file else "the segment"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StoreFull(f"no space left to write {name}: {error}. Free some, or shorten the retention")
        return EventStoreError(f"{name} could not be written: {error}")
