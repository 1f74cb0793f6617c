"""The spool: packets that come faster than they can be stored wait on disk, in DATA/spool/, in the order of their receipt.

    file   named by the number of its first frame, 20 digits, and ".spool": frames end to end, cut at FILE_BYTES
    frame  b"RSF1", u32 bytes that follow the head, u32 packets, u64 number, u64 time of receipt of its first packet
           (microseconds), u32 CRC-32 of what follows the head, u32 CRC-32 of the head before it
           | one zstd frame of chunks, end to end (see `chunks`)
All numbers are little-endian. Frames are numbered in steps of STEP: the numbers between are for what a worker held when
it had to end without its store (see `backlog`). A frame is found by its head alone, so a torn or damaged one costs itself.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import orjson
import zstandard

FILE_BYTES = 64 * 1024 * 1024
FRAME_BYTES = 4 * 1024 * 1024  # of chunks, before compression
STEP = 1 << 20
RESERVE_BYTES = 1024 * 1024 * 1024  # of the disk that the spool leaves free, for the store
_MAGIC = b"RSF1"
_HEAD = struct.Struct("<4sIIQQII")
_LARGEST = 256 * 1024 * 1024  # bytes of a frame unpacked; no writer comes near
_LAYOUT = "layout.json"


class SpoolFull(Exception):
    """The limit, or the reserve of the disk, is reached: nothing was written."""


class FrameDamaged(ValueError):
    """A frame's bytes are not those that were written: the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a frame lies. `file` is the number in the file's name, `offset` that of its head, `size` with its head."""

    number: int
    packets: int
    received_us: int
    file: int
    offset: int
    size: int


class SpoolWriter:
    """Appends frames to a file of its own, which is made with the first. `drop` may be called by another thread than
    `append`, but not for the file that is being written."""

    def __init__(self, folder: Path, limit: int) -> None:
        """`limit`: bytes that all files of the folder together may have."""
        self._folder = folder
        self._limit = limit
        self._lock = threading.Lock()
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._sizes = sizes(folder)
        self._fd = -1
        self.size = sum(self._sizes.values())  # of all files
        self.file = 0  # the one that is being written

    @property
    def files(self) -> set[int]:
        return set(self._sizes)

    def append(self, number: int, data: bytes, packets: int, received_us: int) -> Frame:
        """Numbers only grow. Raises SpoolFull; OSError where the disk refuses, and then nothing was written either."""
        body = self._compressor.compress(data)
        head = _HEAD.pack(_MAGIC, len(body), packets, number, received_us, crc32(body), 0)[:-4]
        frame = head + struct.pack("<I", crc32(head)) + body
        self._check_room(len(frame))
        if self._fd < 0 or self._sizes[self.file] + len(frame) > FILE_BYTES:
            self._begin(number)
        offset = self._sizes[self.file]
        try:
            written = 0
            while written < len(frame):
                written += os.pwrite(self._fd, frame[written:], offset + written)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._fd, offset)
            raise
        with self._lock:
            self._sizes[self.file] = offset + len(frame)
            self.size += len(frame)
        return Frame(number, packets, received_us, self.file, offset, len(frame))

    def drop(self, files: set[int]) -> None:
        """Unlinks files of which nothing is needed any more."""
        with self._lock:
            for file in files & self._sizes.keys():
                if file == self.file:
                    self.close()
                _path(self._folder, file).unlink(missing_ok=True)
                self.size -= self._sizes.pop(file)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _begin(self, number: int) -> None:
        fd = os.open(_path(self._folder, number), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        self.close()
        with self._lock:
            self._sizes[number] = 0
        self._fd, self.file = fd, number

    def _check_room(self, size: int) -> None:
        if self.size + size > self._limit:
            raise SpoolFull(f"it holds {self.size} bytes of the {self._limit} that RINGBACK_SPOOL_BYTES allows")
        free = free_bytes(self._folder)
        if free - size < RESERVE_BYTES:
            raise SpoolFull(
                f"{free} bytes are free on the disk of {self._folder}; {RESERVE_BYTES} are left to the store"
            )


class Numbers:
    """Numbers for new frames: never one again, also when the frames before are gone, for marks tell of them still."""

    def __init__(self, folder: Path, newest: int) -> None:
        """`newest`: the highest of the frames that are there. Raises OSError."""
        self._fd = os.open(folder / "last", os.O_RDWR | os.O_CREAT, 0o640)
        self._last = max(newest, int.from_bytes(os.pread(self._fd, 8, 0), "little"))
        self._keep()

    def next(self) -> int:
        self._last = next_number(self._last)
        self._keep()
        return self._last

    def close(self) -> None:
        os.close(self._fd)

    def _keep(self) -> None:
        os.pwrite(self._fd, self._last.to_bytes(8, "little"), 0)


def next_number(number: int) -> int:
    """The next one that a new frame may get."""
    return number - number % STEP + STEP


def has_room(folder: Path, limit: int) -> bool:
    """Whether another frame would find room."""
    return sum(sizes(folder).values()) + FRAME_BYTES <= limit and free_bytes(folder) - FRAME_BYTES >= RESERVE_BYTES


def free_bytes(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def sizes(folder: Path) -> dict[int, int]:
    """Bytes of each file, by the number in its name."""
    found = {}
    for path in folder.glob("*.spool"):
        with suppress(ValueError, FileNotFoundError):
            found[int(path.stem)] = path.stat().st_size
    return found


def scan(folder: Path) -> tuple[list[Frame], int]:
    """Every whole frame in order of the numbers, and the bytes in which none is: torn ends and damage."""
    frames: list[Frame] = []
    damaged = 0
    for file in sizes(folder):
        with _path(folder, file).open("rb") as opened:
            if not os.fstat(opened.fileno()).st_size:
                continue
            with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
                found = list(_frames(data, file))
                damaged += len(data) - sum(frame.size for frame in found)
                frames += found
    return sorted(frames, key=lambda frame: frame.number), damaged


def read_frame(folder: Path, file: int, offset: int, number: int) -> bytes:
    """The chunks of a frame. Raises FrameDamaged; OSError where the file cannot be read."""
    fd = os.open(_path(folder, file), os.O_RDONLY)
    try:
        head = os.pread(fd, _HEAD.size, offset)
        size, _, found, _, checksum = _head(head)
        body = os.pread(fd, size, offset + _HEAD.size)
    finally:
        os.close(fd)
    if found != number:
        raise FrameDamaged(f"frame {found} stands where {number} was written")
    if len(body) < size or crc32(body) != checksum:
        raise FrameDamaged(f"frame {number} is cut or damaged")
    try:
        return zstandard.ZstdDecompressor().decompress(body, max_output_size=_LARGEST)
    except zstandard.ZstdError as error:
        raise FrameDamaged(f"frame {number} cannot be unpacked: {error}") from error


def drop_committed(folder: Path, number: int) -> None:
    """Unlinks the files that hold no frame after `number`."""
    frames, _ = scan(folder)
    needed = {frame.file for frame in frames if frame.number > number}
    for file in sizes(folder).keys() - needed:
        _path(folder, file).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Layout:
    """Who has read the spool: `layers` are the numbers of workers, the present one last. The marks that tell how far each
    has come are named after `id`, the layer and the worker."""

    id: str
    layers: tuple[int, ...]


def lay_out(folder: Path, workers: int, id_: str) -> tuple[Layout, bool]:
    """The layout for `workers` from now on, and whether frames may be there: of an empty spool nothing needs to be known.
    Raises OSError."""
    path = folder / _LAYOUT
    layout = Layout(id_, (workers,))
    kept = bool(sizes(folder))
    if kept:
        with suppress(FileNotFoundError, orjson.JSONDecodeError, KeyError):
            document = orjson.loads(path.read_bytes())
            layers = tuple(document["layers"])
            layout = Layout(document["id"], layers if layers[-1] == workers else (*layers, workers))
    written = path.with_name(f"{_LAYOUT}.{os.getpid()}")
    written.write_bytes(orjson.dumps({"id": layout.id, "layers": layout.layers}))
    written.replace(path)
    return layout, kept


@contextmanager
def locked(folder: Path, patience_s: float) -> Iterator[int]:
    """The spool for one collector and its processes, which inherit the descriptor: it is free when all have ended.
    Raises TimeoutError, OSError."""
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o640)
    try:
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"processes of an earlier collector still use {folder}") from None
                time.sleep(0.05)
        yield fd
    finally:
        os.close(fd)


class Board:
    """Memory that the receiver and its workers share: how far each worker has come, as numbers of frames."""

    def __init__(self, fd: int, workers: int) -> None:
        self._workers = workers
        self._numbers = memoryview(mmap.mmap(fd, 16 * workers)).cast("Q")

    @staticmethod
    def make(workers: int) -> int:
        """A descriptor for processes to inherit."""
        fd = os.memfd_create("ringback-spool")
        os.ftruncate(fd, 16 * workers)
        return fd

    @property
    def taken(self) -> int:
        """All have read up to this frame."""
        return min(self._numbers[: self._workers])

    @property
    def committed(self) -> int:
        """All have stored what is theirs up to this frame."""
        return min(self._numbers[self._workers :])

    def take(self, worker: int, number: int) -> None:
        self._numbers[worker] = max(number, self._numbers[worker])

    def commit(self, worker: int, number: int) -> None:
        self._numbers[self._workers + worker] = max(number, self._numbers[self._workers + worker])


def _path(folder: Path, file: int) -> Path:
    return folder / f"{file:020d}.spool"


def _head(head: bytes) -> tuple[int, int, int, int, int]:
    """Bytes that follow, packets, number, time of receipt, checksum of what follows. Raises FrameDamaged."""
    if len(head) < _HEAD.size:
        raise FrameDamaged("the head of a frame is cut")
    magic, size, packets, number, received_us, checksum, own = _HEAD.unpack(head)
    if magic != _MAGIC or own != crc32(head[:-4]):
        raise FrameDamaged("the head of a frame is damaged")
    return size, packets, number, received_us, checksum


def _frames(data: mmap.mmap, file: int) -> Iterator[Frame]:
    at = 0
    while 0 <= at <= len(data) - _HEAD.size:
        try:
            size, packets, number, received_us, _ = _head(data[at : at + _HEAD.size])
        except FrameDamaged:
            at = data.find(_MAGIC, at + 1)
            continue
        end = at + _HEAD.size + size
        if end > len(data):  # torn; what looks like a frame inside of it is none of ours
            return
        yield Frame(number, packets, received_us, file, at, end - at)
        at = end
