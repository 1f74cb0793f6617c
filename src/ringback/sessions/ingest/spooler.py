"""The receiver's side of the spool: gathers chunks into frames, writes them beside the receiving, and forgets them again.

Compressing and writing are done by a thread: both leave the interpreter to the receiver meanwhile.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import structlog

from ringback import clock
from ringback.sessions.ingest.chunks import Reference, packets_in
from ringback.sessions.ingest.spool import FRAME_BYTES, Board, Frame, Numbers, SpoolFull, SpoolWriter, scan

LONGEST_US = 1_000_000  # that packets wait in memory for their frame to fill
BACKLOG_BYTES = 32 * 1024 * 1024  # gathered and not written yet; beyond it the receiver had better wait

_log = structlog.get_logger()


@dataclass(slots=True)
class _Gathered:
    """What becomes a frame."""

    chunks: list[bytes]
    size: int = 0  # bytes
    packets: int = 0
    received_us: int = 0


class Spooler:
    """All methods are for the receiver's thread."""

    def __init__(self, folder: Path, limit: int, board: Board) -> None:
        """Frames of an earlier collector are there at once. Raises OSError."""
        self.refused: Counter[str] = Counter()  # reason -> packets
        self.spooled = 0  # packets written since the start
        self._board = board
        frames, damaged = scan(folder)
        if damaged:
            _log.error("the spool is damaged or was cut: what its whole frames hold is stored", damaged_bytes=damaged)
        self.kept = frames[-1].number if frames else 0  # the last frame of earlier collectors
        self._waiting = deque(frames)  # not stored by all workers yet, the oldest first
        self._waiting_packets = sum(frame.packets for frame in frames)
        self._fresh = list(frames)  # not referred to yet
        self._newest = self.kept  # number of the last frame written
        self._numbers = Numbers(folder, self.kept)
        self._ends = {frame.file: frame.number for frame in frames}  # the last frame of each file
        self._forgotten = (0, 0)
        self._gathered = _Gathered([])
        self._jobs: SimpleQueue[tuple[int, _Gathered] | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[_Gathered, Frame | Exception]] = SimpleQueue()
        self._unwritten = 0  # bytes handed to the thread
        self._writer = SpoolWriter(folder, limit)
        self._full = False
        self._writer.drop(self._writer.files - self._ends.keys())  # no frame of them can be read
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    @property
    def limit_reached(self) -> bool:
        """The thread is slower than what comes."""
        return self._unwritten + self._gathered.size > BACKLOG_BYTES

    @property
    def caught_up(self) -> bool:
        """The workers have read every frame that there is, and no other is being written."""
        return not self._unwritten and not self._fresh and self._board.taken >= self._newest

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._writer.size

    @property
    def packets(self) -> int:
        """In frames that not all workers have stored yet, or on their way there."""
        return self._waiting_packets + self._gathered.packets

    @property
    def oldest_us(self) -> int:
        """When the oldest of them was received; 0 where there is none."""
        return self._waiting[0].received_us if self._waiting else self._gathered.received_us

    def add(self, chunk: bytes) -> None:
        gathered = self._gathered
        packets, received_us = packets_in(chunk)
        if not gathered.chunks:
            gathered.received_us = received_us
        gathered.chunks.append(chunk)
        gathered.size += len(chunk)
        gathered.packets += packets
        if gathered.size >= FRAME_BYTES:
            self.cut()

    def cut(self) -> None:
        """Makes a frame of what is gathered."""
        if self._gathered.chunks:
            self._unwritten += self._gathered.size
            self._jobs.put((self._numbers.next(), self._gathered))
            self._gathered = _Gathered([])

    def withdraw(self) -> list[bytes]:
        """What is gathered and not yet in a frame: it may go to the workers."""
        chunks = self._gathered.chunks
        self._gathered = _Gathered([])
        return chunks

    def turn(self) -> list[Reference]:
        """Does what is due. Returns references to the frames that are new, for the workers."""
        if self._gathered.chunks and clock.now_us() - self._gathered.received_us > LONGEST_US:
            self.cut()
        while not self._done.empty():
            self._note(*self._done.get())
        self._forget()
        references = [
            Reference(each.number, each.packets, each.file, each.offset, each.number <= self.kept)
            for each in self._fresh
        ]
        self._fresh.clear()
        return references

    def finish(self) -> None:
        """Writes what is gathered; no more can be added."""
        self.cut()
        self._jobs.put(None)
        self._thread.join()
        self.turn()
        self._writer.close()
        self._numbers.close()

    def _note(self, gathered: _Gathered, result: Frame | Exception) -> None:
        self._unwritten -= gathered.size
        if isinstance(result, Frame):
            self._fresh.append(result)
            self._waiting.append(result)
            self._newest = self._ends[result.file] = result.number
            self._waiting_packets += result.packets
            self.spooled += result.packets
            self._full = False
            return
        if isinstance(result, SpoolFull):
            self.refused["spool full"] += gathered.packets
        else:
            self.refused["spool failed"] += gathered.packets
        if not self._full:
            _log.error("packets are lost: the spool takes no more", problem=str(result))
        self._full = True

    def _forget(self) -> None:
        """Frames that all workers have stored; files with nothing else are unlinked."""
        committed = self._board.committed
        if self._forgotten == (committed, self._unwritten):
            return
        self._forgotten = (committed, self._unwritten)
        while self._waiting and self._waiting[0].number <= committed:
            self._waiting_packets -= self._waiting.popleft().packets
        done = {file for file, end in self._ends.items() if end <= committed}
        if self._unwritten:
            done.discard(self._writer.file)  # another frame may be in it by now
        if done:
            self._writer.drop(done)
            for file in done:
                del self._ends[file]

    def _write(self) -> None:
        while (job := self._jobs.get()) is not None:
            number, gathered = job
            try:
                frame = self._writer.append(number, b"".join(gathered.chunks), gathered.packets, gathered.received_us)
            except (SpoolFull, OSError) as error:
                self._done.put((gathered, error))
            else:
                self._done.put((gathered, frame))
