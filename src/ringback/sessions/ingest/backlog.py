"""A worker's side of the spool: which packets of a frame are its own and not stored yet, and how far it has come.

Every worker reads every frame and takes what `worker_of` gives it. How far it has come is a mark in the event store,
written with the very batch that holds the messages: after a crash nothing is stored twice and nothing is left out, also
where the number of workers is another one (each number that the spool has seen is a layer with marks of its own).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from ringback.events import EventStore
from ringback.sessions.ingest.chunks import Chunk, Reference, chunks_of, packets_in, worker_of
from ringback.sessions.ingest.spool import (
    FRAME_BYTES,
    Board,
    Layout,
    Numbers,
    SpoolWriter,
    has_room,
    next_number,
    read_frame,
    scan,
)

_SAVED_BYTES = 2 * FRAME_BYTES


@dataclass(frozen=True, slots=True)
class Progress:
    """Up to `frame` all is stored; of frames up to an `until` of `partial` only the days (midnights) beside it."""

    frame: int = 0
    partial: tuple[tuple[int, tuple[int, ...]], ...] = ()

    def __str__(self) -> str:
        return orjson.dumps([self.frame, self.partial]).decode()

    @classmethod
    def parse(cls, text: str) -> Progress:
        frame, partial = orjson.loads(text)
        return cls(frame, tuple((until, tuple(days)) for until, days in partial))

    def days(self, frame: int) -> set[int]:
        """Those of the frame that are stored."""
        return {day for until, days in self.partial if frame <= until for day in days}

    def after(self, frame: int) -> Progress:
        """With a batch stored whose frames end with `frame`."""
        return Progress(frame, tuple(each for each in self.partial if each[0] > frame))

    def after_days(self, frame: int, days: Sequence[int]) -> Progress:
        """With only these days of such a batch stored."""
        return Progress(self.frame, (*self.partial, (frame, tuple(days))))

    @property
    def last(self) -> int:
        """Nothing is stored of any frame behind it."""
        return max([self.frame, *(until for until, _ in self.partial)])


@dataclass(frozen=True, slots=True)
class Share:
    """A chunk's packets that are this worker's. `done`: the midnights of days that are stored already, of each."""

    received_us: int
    senders: list[str]
    sender_of: list[int] | None
    packets: list[bytes]
    done: list[set[int]] | None


class Backlog:
    def __init__(self, folder: Path, limit: int, layout: Layout, worker: int, board: Board) -> None:
        self.progress = Progress()
        self.taken = 0  # the last frame read
        self._folder = folder
        self._limit = limit
        self._layout = layout
        self._worker = worker
        self._workers = layout.layers[-1]
        self._board = board
        self._known = False
        self._before: list[list[Progress]] = []  # of each layer before, by worker

    @property
    def mark(self) -> str:
        return self._mark(len(self._layout.layers) - 1, self._worker)

    @property
    def has_room(self) -> bool:
        return has_room(self._folder, self._limit)

    @property
    def saves(self) -> bool:
        """Whether packets may be put there."""
        return self._limit > 0

    def recall(self, store: EventStore) -> None:
        """Reads the marks that earlier processes left. Raises EventStoreError."""
        *layers, _ = self._layout.layers
        self._before = [
            [_progress(store.mark(self._mark(layer, worker))) for worker in range(workers)]
            for layer, workers in enumerate(layers)
        ]
        self.begin(_progress(store.mark(self.mark)))

    def begin(self, progress: Progress | None = None) -> None:
        """Nothing is stored but what `progress` tells."""
        self.progress = progress or Progress()
        self._known = True
        self._board.commit(self._worker, self.progress.frame)

    def read(self, reference: Reference) -> Iterator[Share]:
        """Raises FrameDamaged, OSError."""
        self.taken = reference.number
        self._board.take(self._worker, reference.number)
        if reference.number <= self.progress.frame:
            return
        data = read_frame(self._folder, reference.file, reference.offset, reference.number)
        for chunk in chunks_of(data):
            share = self._share(chunk, reference)
            if share.packets:
                yield share

    def after_days(self, days: Sequence[int]) -> Progress:
        """With only these days of a batch stored that holds all frames taken."""
        return self.progress.after_days(self.taken, days)

    def after_all(self) -> Progress:
        """With all stored that was taken."""
        return self.progress.after(max(self.taken, self.progress.frame))

    def stored(self) -> None:
        """All that was taken is stored: there is a mark of it, or nothing of it was this worker's."""
        self.progress = self.after_all()
        self._board.commit(self._worker, self.progress.frame)

    @property
    def _last(self) -> int:
        """No mark tells of a frame behind it, of no layer."""
        return max([self.progress.last, *(each.last for layer in self._before for each in layer)])

    def save(self, chunks: list[bytes], *, partly: bool) -> None:
        """Chunks that came live and cannot be stored, before the frames that are not stored. `partly`: some days of the
        frames taken are. Raises OSError."""
        frames, _ = scan(self._folder)
        last = max(self._last, self.taken) if partly else self._last
        if not self._known:  # then behind all of them: a number that a mark covers would never be read
            numbers = Numbers(self._folder, frames[-1].number if frames else 0)
            last = numbers.next()
            numbers.close()
        number = max([last, *(frame.number for frame in frames if last < frame.number < next_number(last))])
        writer = SpoolWriter(self._folder, 1 << 62)  # what a batch holds is let in beyond the limit
        try:
            while chunks:
                count = size = 0
                while count < len(chunks) and size < _SAVED_BYTES:
                    size += len(chunks[count])
                    count += 1
                figures = [packets_in(chunk) for chunk in chunks[:count]]
                data, packets = b"".join(chunks[:count]), sum(each for each, _ in figures)
                number += 1
                with suppress(FileExistsError):  # another worker saves too: the next number then
                    writer.append(number, data, packets, figures[0][1])
                    chunks = chunks[count:]
        finally:
            writer.close()

    def _share(self, chunk: Chunk, reference: Reference) -> Share:
        packets = list(chunk.packets())
        own: list[int] | range = range(len(packets))
        if self._workers > 1:
            own = [index for index in own if worker_of(packets[index], self._workers) == self._worker]
        done = None
        if reference.kept and (self._before or self.progress.partial):
            own, done = self._missing(packets, own, reference.number)
        if len(own) < len(packets):
            packets = [packets[index] for index in own]
        sender_of = [chunk.sender_of[index] for index in own] if chunk.sender_of is not None else None
        return Share(chunk.received_us, chunk.senders, sender_of, packets, done)

    def _missing(self, packets: list[bytes], own: list[int] | range, frame: int) -> tuple[list[int], list[set[int]]]:
        """Those that no worker has stored, and the days of which they must not be."""
        missing, done = [], []
        for index in own:
            by = [layer[worker_of(packets[index], len(layer))] for layer in self._before]
            if all(frame > each.frame for each in by):
                missing.append(index)
                done.append(self.progress.days(frame).union(*(each.days(frame) for each in by)))
        return missing, done

    def _mark(self, layer: int, worker: int) -> str:
        return f"spool:{self._layout.id}:{layer}:{worker}"


def _progress(mark: str | None) -> Progress:
    return Progress() if mark is None else Progress.parse(mark)
