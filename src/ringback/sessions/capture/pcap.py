"""Capture files read: SIP messages as sightings, media as figures, and a count of everything else.

The path of nearly every packet of a SIP capture (plain IPv4 and UDP, one message in one packet) is one loop here;
whatever is less plain goes to `packets.Dissector`.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ringback.sessions.capture import pcap_file, pcapng_file
from ringback.sessions.capture.frames import FrameFile, Frames, Interface, NotACapture, Record, Source
from ringback.sessions.capture.packets import Dissector, Seen, hop_of
from ringback.sessions.capture.pcap_file import PcapFile
from ringback.sessions.capture.pcapng_file import PcapngFile
from ringback.sessions.capture.sip import REQUEST_WORDS, RESPONSE_WORD
from ringback.sessions.story import IP_ID_KNOWN, LogLine, SightingTuple, StreamReport

__all__ = ["CaptureReader", "Counters", "NotACapture", "read_capture"]

# From two bytes before the IPv4 header: link type, version and length, type of service; total length,
# identification, fragment, protocol, (addresses and ports), UDP length, (first four bytes of the payload).
_IPV4_UDP = struct.Struct(">IHHHxB2x12sH2x4s")


@dataclass(slots=True)
class Counters:
    """What a capture held. Every packet is one of: carrier of SIP, media, or `ignored` by a reason."""

    packets: int = 0
    sip_messages: int = 0
    media_packets: int = 0  # RTP and RTCP
    ignored: Counter[str] = field(default_factory=Counter)


def read_capture(source: Path | str | BinaryIO, *, start: int = 0) -> CaptureReader:
    """A pcap or pcapng file, also compressed with gzip, also a pipe.

    `start` is a `position` of an earlier reading of the same file: what was yielded up to there is not yielded again.
    The file is still read from its beginning, for without it the streams, fragments and counters would not be the
    same; that costs a fraction of what storing the messages did.

    Raises OSError, and NotACapture (a ValueError) with what was found instead.
    """
    if isinstance(source, Path | str):
        path = Path(source)
        return CaptureReader(path.open("rb", buffering=0), start, path.stat().st_size, owns_file=True)
    return CaptureReader(source, start, _size_of(source), owns_file=False)


class CaptureReader:
    """Yields sightings in file order (time may go back), as plain tuples of the shape of story.Sighting.

    A message is yielded when its last packet has come. While iterating, `position` is the place up to which everything
    was yielded; `counters` tell of all that was read. After the end `media`, `logs` and `problem` are complete.
    """

    def __init__(self, file: BinaryIO, start: int, total: int | None, *, owns_file: bool) -> None:
        """Use `read_capture`."""
        self.counters = Counters()
        self.position = 0  # in bytes of the uncompressed file: fit for `start`
        self.total = total  # bytes of the file as it lies there; None for a pipe
        self.media: list[StreamReport] = []
        self.problem = ""  # why reading stopped before the end of the file, fit to be shown
        self._file = file if owns_file else None
        self._start = start
        self._dissector = Dissector(self.counters.ignored)
        try:
            self._source = Source(file)
            self._frames = _open_frames(self._source)
        except BaseException:
            self.close()
            raise

    @property
    def fraction(self) -> float:
        """How much of the file was read, 0.0-1.0; 0.0 where its size is unknown."""
        return min(1.0, self._source.bytes_read / self.total) if self.total else 0.0

    @property
    def logs(self) -> list[LogLine]:
        """Log lines and quality reports that travelled as HEP inside the capture."""
        return self._dissector.logs

    def close(self) -> None:
        """Also done at the end of the iteration. A file that was handed in open stays open."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __iter__(self) -> Iterator[SightingTuple]:
        for batch in self.batches():
            yield from batch

    def batches(self) -> Iterator[list[SightingTuple]]:
        """Lists of sightings, out of about 128 KiB of the file each, some empty: for those in a hurry."""
        counters, dissector = self.counters, self._dissector
        try:
            for frames in self._frames.runs():
                batch = self._read(frames)
                counters.packets += len(frames.records)
                counters.media_packets = dissector.media.packets
                if frames.position > self._start:
                    self.position = frames.position
                    yield batch
            self.problem = self._frames.problem
            batch = []
            dissector.finish(batch)
            self.media = dissector.media.finish()
            counters.sip_messages += len(batch)
            counters.media_packets = dissector.media.packets
            yield batch
        finally:
            self.close()

    def _read(self, frames: Frames) -> list[SightingTuple]:
        """What the frames complete; of those before the start only their effect on what follows."""
        data, interface, records, base, _ = frames
        if records and base + records[0][1] < self._start:
            before = [record for record in records if base + record[2] <= self._start]
            self._dissect(data, interface, before)
            records = records[len(before) :]
        return self._dissect(data, interface, records)

    def _dissect(self, data: bytes, interface: Interface, records: list[Record]) -> list[SightingTuple]:
        out: list[SightingTuple] = []
        append = out.append
        unpack = _IPV4_UDP.unpack_from
        hops, mask, mark, ip_at = interface.hops, interface.mask, interface.mark, interface.ip_at
        dissector = self._dissector
        dissector.media.sightings_to_read(out)
        for time_us, start, end in records:
            ip = start + ip_at
            if ip + 32 <= end and time_us is not None:
                version, total, identification, fragment, protocol, flow, length, word = unpack(data, ip - 2)
                if (
                    version & mask == mark
                    and protocol == 17
                    and length == total - 20
                    and ip + total <= end
                    and not fragment & 0x3FFF
                ):
                    payload = data[ip + 28 : ip + total]
                    line = payload.find(b"\n", 4, 1024) if word in REQUEST_WORDS else 0
                    if (payload[line - 9 : line] == b" SIP/2.0\r" and line > 0) or (
                        word == RESPONSE_WORD and payload[4:8] == b"2.0 " and payload[8:11].isdigit()
                    ):
                        hop = hops.get(flow) or hop_of(interface, "udp", flow)
                        append((time_us, hop, payload, IP_ID_KNOWN | identification, ""))
                        continue
                    dissector.udp(Seen(time_us, interface, out), flow, payload, IP_ID_KNOWN | identification)
                    continue
            if time_us is None and out:
                dissector.last_time_us = out[-1][0]
            dissector.frame(time_us, data, start, end, interface, out)
        self.counters.sip_messages += len(out)
        if records and records[-1][0] is not None:
            dissector.last_time_us = records[-1][0]
        return out


def _open_frames(source: Source) -> FrameFile:
    magic = source.read(4)
    if magic == pcapng_file.MAGIC:
        return PcapngFile(source)
    if magic in pcap_file.MAGICS:
        return PcapFile(source, magic)
    raise NotACapture(_what_it_is(magic, source))


def _what_it_is(magic: bytes, source: Source) -> str:
    if source.problem:
        return source.problem
    if not magic:
        return "the file is empty"
    return f"neither a pcap nor a pcapng file (it begins with {magic!r})"


def _size_of(file: BinaryIO) -> int | None:
    """None where the file cannot seek."""
    if not file.seekable():
        return None
    here = file.tell()
    size = file.seek(0, 2) - here
    file.seek(here)
    return size
