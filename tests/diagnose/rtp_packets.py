"""RTP packets of the streams of a played ladder, so that a whole capture can be written."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ringback.sessions.story import Hop, Sighting, StreamReport
from scenario import Played

INTERVAL_US = 20_000
SAMPLES = 160
BURST = 16  # makes a mean jitter of 2 * 15 * 20 ms / 16


def with_media(played: Played) -> list[Sighting]:
    """The ladder's messages and its media, in order of time."""
    packets = [packet for stream in played.media for packet in rtp_of(stream)]
    return sorted([*played.sightings, *packets], key=lambda sighting: sighting.time_us)


def rtp_of(stream: StreamReport) -> Iterator[Sighting]:
    """20 ms packets with the stream's loss spread evenly; a low MOS as loss, much jitter as packets that arrive in bursts."""
    source, _, source_port = stream.source.rpartition(":")
    destination, _, port = stream.destination.rpartition(":")
    hop = Hop("udp", source, int(source_port), destination, int(port))
    total = stream.packets + (stream.lost or 0)
    lost = stream.lost or (total // 8 if stream.mos is not None and stream.mos < 3.6 else 0)
    every = total // lost if lost else 0
    burst = BURST if (stream.jitter_ms or 0) > 30 else 1
    for number in range(total):
        if every and number % every == every - 1:
            continue
        sent = number - number % burst + burst - 1
        header = struct.pack(">BBHII", 0x80, stream.payload_type or 0, number, number * SAMPLES, stream.ssrc or 1)
        yield Sighting(stream.started_us + sent * INTERVAL_US + number % burst, hop, header + bytes(SAMPLES))
