"""Which keys an audit segment may hold, in a small file beside it: so that of half a year's segments only those are
opened that have rows of the customer who is asked for.

A Bloom filter in blocks of 64 bytes, each key sets bits of one block, behind a header of the same size. A writer adds
bits under the segment's write lock, and has them on the disk before it commits; bits of a batch that was rolled back
stay. So a key without its bits has no row, whatever died when. A segment without the file, or with one that makes no
sense, may hold everything.
"""

from __future__ import annotations

import mmap
import os
import secrets
import struct
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from ringback.events.sqlite.files import SegmentFile

SUFFIX = "-keys"
FIRST_KEYS = 1 << 16  # that a new one has room for
_MAGIC = b"RBkeys1\0"
_HEADER = struct.Struct("<8sQQ")  # magic, blocks, keys that set a bit
_BLOCK = 64
_KEYS_A_BLOCK = 42  # 12 bits a key: one of 70 that are not there seems to be
_MIX = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1

Group = Collection[int]
"""Keys of 63 bits, of which a row has one."""


def may_hold(file: SegmentFile, wanted: Sequence[Group]) -> bool:
    """Whether the segment may have a row with a key of each group."""
    if not wanted:
        return True
    try:
        descriptor = os.open(file.beside(SUFFIX), os.O_RDONLY)
    except OSError:
        return True
    try:
        blocks = _blocks(os.pread(descriptor, _BLOCK, 0), os.fstat(descriptor).st_size)
        if not blocks:
            return True
        return all(any(_held(descriptor, blocks, key) for key in group) for group in wanted)
    finally:
        os.close(descriptor)


class KeyFilter:
    """The writer's end. Used by one thread, under the segment's write lock."""

    def __init__(self, file: SegmentFile) -> None:
        self._path = file.beside(SUFFIX)
        self._inode = 0
        self._map: mmap.mmap | None = None

    def add(self, keys: Collection[int], stored: Callable[[], Collection[int]]) -> None:
        """On the disk when it returns. `stored`: all keys that the segment has, with those; asked for where the file is
        not there, makes no sense or is full. Raises OSError."""
        opened = self._opened()
        if opened is None:
            write(self._path, stored())
            return
        _, blocks, held = _HEADER.unpack_from(opened)
        if held + len(keys) > blocks * _KEYS_A_BLOCK:
            write(self._path, stored())
        elif new := _set(opened, blocks, keys):
            _HEADER.pack_into(opened, 0, _MAGIC, blocks, held + new)
            opened.flush()

    def close(self) -> None:
        if self._map:
            self._map.close()
        self._map = None

    def _opened(self) -> mmap.mmap | None:
        """The file that stands there now; None: there is none that makes sense."""
        try:
            inode = self._path.stat().st_ino
        except FileNotFoundError:
            inode = 0
        if self._map and inode == self._inode:
            return self._map
        self.close()
        if not inode:
            return None
        descriptor = os.open(self._path, os.O_RDWR)
        try:
            found = os.fstat(descriptor)
            if _blocks(os.pread(descriptor, _BLOCK, 0), found.st_size):
                self._map, self._inode = mmap.mmap(descriptor, found.st_size), found.st_ino
        finally:
            os.close(descriptor)
        return self._map


def write(path: Path, keys: Collection[int]) -> None:
    """A new one with room for four times as many, in place of what stands there. Raises OSError."""
    blocks = max(FIRST_KEYS, 4 * len(keys)) // _KEYS_A_BLOCK + 1
    content = bytearray(_BLOCK * (blocks + 1))
    _HEADER.pack_into(content, 0, _MAGIC, blocks, _set(content, blocks, keys))
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with new.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        new.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # else the one before could stand there again after the power failed
        finally:
            os.close(folder)
    finally:
        with suppress(FileNotFoundError):
            new.unlink()


def _set(content: bytearray | mmap.mmap, blocks: int, keys: Iterable[int]) -> int:
    """How many keys set a bit."""
    new = 0
    for key in keys:
        block, bits = _place(key, blocks)
        before = int.from_bytes(content[block : block + _BLOCK], "little")
        if before | bits != before:
            content[block : block + _BLOCK] = (before | bits).to_bytes(_BLOCK, "little")
            new += 1
    return new


def _held(descriptor: int, blocks: int, key: int) -> bool:
    block, bits = _place(key, blocks)
    return int.from_bytes(os.pread(descriptor, _BLOCK, block), "little") & bits == bits


def _place(key: int, blocks: int) -> tuple[int, int]:
    """Where the key's block begins, and its six bits of 512."""
    mixed = key * _MIX & _MASK
    bits = 1 << (mixed >> 10 & 511) | 1 << (mixed >> 19 & 511) | 1 << (mixed >> 28 & 511)
    bits |= 1 << (mixed >> 37 & 511) | 1 << (mixed >> 46 & 511) | 1 << (mixed >> 55)
    return _BLOCK * (1 + key % blocks), bits


def _blocks(header: bytes, size: int) -> int:
    """0 where the file is none of ours."""
    if len(header) < _BLOCK:
        return 0
    magic, blocks, _ = _HEADER.unpack_from(header)
    return int(blocks) if magic == _MAGIC and size == _BLOCK * (blocks + 1) else 0
