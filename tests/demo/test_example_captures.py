"""The example captures come with the demo, moved to the present."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ringback.demo import recording
from ringback.demo.run import moved_to

EXAMPLES = sorted((recording.FOLDER / "examples").glob("*.pcap"))
START_US = 1_795_390_000_123_456


def times(pcap: bytes) -> list[int]:
    found, at = [], 24
    while at < len(pcap):
        seconds, microseconds, captured = struct.unpack_from("<III", pcap, at)
        found.append(seconds * 1_000_000 + microseconds)
        at += 16 + captured
    return found


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_a_moved_capture_begins_when_told_and_keeps_every_distance(file: Path) -> None:
    before, after = times(file.read_bytes()), times(moved_to(file.read_bytes(), START_US))
    assert after[0] == START_US
    assert [a - after[0] for a in after] == [b - before[0] for b in before]


def test_there_are_three_and_they_stay_small() -> None:
    assert len(EXAMPLES) == 3
    assert sum(file.stat().st_size for file in EXAMPLES) < 400_000


def test_another_kind_of_file_is_refused() -> None:
    with pytest.raises(ValueError, match="little-endian pcap"):
        moved_to(b"\x0a\x0d\x0d\x0a" + bytes(40), START_US)
