"""The recording on disk: HEP packets as they came, and beside them which scenario each Call-ID belongs to.

`recording.hep.zst`: zstd over packets, each preceded by its length as a big-endian u32.
`recording.json`: a list of `Played`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import zstandard

FOLDER = Path(__file__).parent
_PACKETS, _PLAYED = "recording.hep.zst", "recording.json"
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Played:
    """One scenario of the recording, and who took part."""

    id: str
    tells: str
    call_ids: tuple[str, ...]
    subscribers: tuple[int, ...]  # for `cast.subscriber`
    outside: tuple[str, ...]  # numbers that are nobody's of ours


def frames(data: bytes) -> Iterator[bytes]:
    """The packets of `data`. Raises ValueError when it ends within one."""
    at = 0
    while at < len(data):
        if at + _LENGTH.size > len(data):
            raise ValueError("the recording ends within a length")
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if at + length > len(data):
            raise ValueError("the recording ends within a packet")
        yield data[at : at + length]
        at += length


def save(packets: Iterable[bytes], played: Iterable[Played], folder: Path = FOLDER) -> None:
    raw = b"".join(_LENGTH.pack(len(packet)) + packet for packet in packets)
    (folder / _PACKETS).write_bytes(zstandard.ZstdCompressor(level=19).compress(raw))
    lines = orjson.dumps([asdict(each) for each in played], option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    (folder / _PLAYED).write_bytes(lines)


def load(folder: Path = FOLDER) -> tuple[list[bytes], list[Played]]:
    """Packets in the order they came, and the scenarios in the order they began."""
    raw = zstandard.ZstdDecompressor().decompress((folder / _PACKETS).read_bytes())
    played = [
        Played(each["id"], each["tells"], tuple(each["call_ids"]), tuple(each["subscribers"]), tuple(each["outside"]))
        for each in orjson.loads((folder / _PLAYED).read_bytes())
    ]
    return list(frames(raw)), played
