"""What is fuzzed: each target takes any bytes and raises only when a promise of the capture room is broken."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from ringback.sessions.capture.hep import HepError, StreamSplitter, decode
from ringback.sessions.capture.hep_logs import stream_report, to_log
from ringback.sessions.capture.media import pair
from ringback.sessions.capture.pcap import NotACapture, read_capture
from ringback.sessions.capture.pcap_writer import write_pcap
from ringback.sessions.capture.sdp import parse_sdp, sdp_of
from ringback.sessions.capture.sip import NotSip, looks_like_sip, parse, scan
from ringback.sessions.capture.sip_stream import SipFramer
from ringback.sessions.story import TIME_OF_RECEIPT, Sighting, SightingTuple

HERE = Path(__file__).parent
NOW_US = 1_790_000_000_000_000
SECONDS_PER_INPUT = 10  # more is a hang
MEGABYTES = 768  # of the whole process; more is a leak, or memory that a sender can make grow


def hep(data: bytes) -> None:
    try:
        packet = decode(data, NOW_US)
    except HepError:
        return
    assert decode(data, NOW_US) == packet, "the second time by the prefix that was remembered"
    assert len(packet.payload) <= max(1 << 20, len(data))
    line = to_log(packet)
    if line is not None:
        stream_report(line)


def hep_stream(data: bytes) -> None:
    """The first byte says how the rest is split; however that is, the same packets come out."""
    step = data[0] + 1 if data else 1
    assert _split(data[1:], step) == _split(data[1:], len(data) + 1)


def _split(stream: bytes, step: int) -> list[bytes]:
    splitter = StreamSplitter()
    packets: list[bytes] = []
    try:
        for at in range(0, len(stream), step):
            for packet in splitter.feed(stream[at : at + step]):
                packets.append(packet)
            assert splitter.pending <= 0xFFFF
    except HepError:
        packets.append(b"broken")
    return packets


def sip(data: bytes) -> None:
    scanned = scan(data)
    assert looks_like_sip(data) == (scanned is not None)
    framer = SipFramer()
    for at in range(0, len(data), 100):
        for framed in framer.feed(NOW_US, data[at : at + 100], 0):
            parse(framed.payload)
    for framed in framer.gap():
        parse(framed.payload)
    try:
        message = parse(data)
    except NotSip:
        assert scanned is None
        return
    assert scanned is not None
    assert scanned[2] == message.cseq
    for name in ("from", "to", "contact", "p-asserted-identity", "diversion", "history-info", "refer-to"):
        message.addresses(name)
    assert message.top_via is None or message.vias
    assert message.from_tag is not None
    assert message.to_tag is not None
    sdp_of(message)


def sdp(data: bytes) -> None:
    for section in parse_sdp(data).media:
        assert 0 <= section.port <= 65535
        assert section.on_hold in (True, False)
        assert section.encrypted in (True, False)


def pcap(data: bytes) -> None:
    try:
        reader = read_capture(io.BytesIO(data))
    except NotACapture:
        return
    sightings = list(reader)
    for sighting in sightings:
        parse(sighting[2])
    pair(reader.media)
    assert reader.counters.sip_messages == len(sightings)
    write_pcap(io.BytesIO(), [Sighting(*sighting) for sighting in sightings])
    if data[:2] != b"\x1f\x8b":
        assert reader.position <= len(data)
    again = read_capture(io.BytesIO(data), start=reader.position)
    rest = list(map(_timed, again))
    whole = list(map(_timed, sightings))
    assert rest == whole[len(whole) - len(rest) :], "what is left at the end is all that is told again"
    assert again.counters == reader.counters


def _timed(sighting: SightingTuple) -> SightingTuple:
    """A message without a time of its own has that of reading, another one each time."""
    return (0, *sighting[1:]) if sighting[3] & TIME_OF_RECEIPT else sighting


TARGETS: dict[str, Callable[[bytes], None]] = {
    "hep": hep,
    "hep-stream": hep_stream,
    "sip": sip,
    "sdp": sdp,
    "pcap": pcap,
    "pcapng": pcap,
}


def inputs(folder: str, target: str) -> list[Path]:
    """The files of `folder` ("seeds" or "regressions") for a target."""
    return sorted(path for path in (HERE / folder / target).glob("*") if path.is_file())
