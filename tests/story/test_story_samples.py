"""Stories of public captures and of packets recorded from Kamailio, compared with what tshark shows of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringback.sessions.capture.hep import decode
from ringback.sessions.capture.pcap import read_capture
from ringback.sessions.correlate import build_sessions
from ringback.sessions.story import Session, Sighting

SAMPLES = Path(__file__).parents[3] / "shared" / "samples"
CALL = "INVITE 180 200 ACK BYE 200"
PCAPS = {
    "simple_invite.pcap": [("call", "sipp", "service", "answered", "INVITE 100 180 200 ACK BYE 200")],
    "cancel.pcap": [("call", "sipp", "receiver", "cancelled", "INVITE 100 180 CANCEL 200 487 ACK")],
    "sip_rtp.pcap": [("call", "sipp", "service", "answered", CALL)],
    "sipp_sll.pcap": [("call", "sipp", "service", "answered", CALL)] * 5,
    "fragmented_tcp_sip.pcap": [("call", "sipp", "service", "answered", CALL)],
    "fragmented_udp_sip.pcap": [("call", "sipp", "service", "answered", CALL)],
    "sip_tcp.pcap": [("registration", "987654", "987654", "registered", "REGISTER 200")],
    "compact_form.pcap": [("call", "816666", "97239287044", "in_progress", "INVITE")],
    "call_and_register.pcap": [
        ("call", "200.57.7.195", "francisco", "answered", "INVITE 100 180 200 ACK"),
        ("registration", "francisco", "francisco", "registered", "REGISTER 200"),
        ("call", "5514540002", "francisco", "in_progress", "INVITE 100 180"),
    ],
}


def sample(*parts: str) -> Path:
    path = SAMPLES.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"the sample {'/'.join(parts)} is not here")
    return path


def messages(session: Session) -> str:
    return " ".join(str(arrow.sip.status) if arrow.sip.status else arrow.sip.method for arrow in session.arrows)


@pytest.mark.parametrize("name", PCAPS)
def test_a_public_capture_tells_its_story(name: str) -> None:
    reader = read_capture(sample("pcap", name))
    sightings = list(reader)  # media are complete when all was read
    sessions = build_sessions(sightings, media=reader.media)
    assert [(one.kind, one.caller, one.called, one.outcome, messages(one)) for one in sessions] == PCAPS[name]
    assert all(not session.notes for session in sessions)


def test_the_stream_of_a_capture_stands_in_its_story() -> None:
    reader = read_capture(sample("pcap", "sip_rtp.pcap"))
    sightings = list(reader)  # media are complete when all was read
    (session,) = build_sessions(sightings, media=reader.media)
    assert [entry.kind for entry in session.entries] == ["sip"] * 4 + ["media"] + ["sip"] * 2
    assert session.media[0].packets == 501


def hep_packets(path: Path) -> Iterator[Sighting]:
    data, offset = path.read_bytes(), 0
    while offset < len(data):
        (length,) = struct.unpack_from(">I", data, offset)
        packet = decode(data[offset + 4 : offset + 4 + length], 0)
        if packet.payload_type == 1:
            yield Sighting(packet.time_us, packet.hop, packet.payload, 0, packet.correlation)
        offset += 4 + length


@pytest.mark.parametrize(
    ("name", "calls", "arrows", "lanes"),
    [
        ("kamailio_two_nodes_udp.bin", 5,
         "INVITE 100 INVITE 100 INVITE 180 180 180 200 200 200 ACK ACK ACK BYE BYE BYE 200 200 200",
         ["127.0.0.1:5080", "127.0.0.1:5060", "127.0.0.1:5062", "127.0.0.1:5070"]),
        ("kamailio_tcp.bin", 10, "INVITE 100 INVITE 180 180 200 200 ACK ACK BYE BYE 200 200",
         ["127.0.0.1:5080", "127.0.0.1:5060", "127.0.0.1:5070"]),
        ("kamailio_auth_key.bin", 3, "INVITE 100 INVITE 180 180 200 200",
         ["127.0.0.1:5080", "127.0.0.1:5060", "127.0.0.1:5070"]),
    ],
)  # fmt: skip
def test_what_kamailio_reports_is_told_hop_by_hop(name: str, calls: int, arrows: str, lanes: list[str]) -> None:
    sightings = list(hep_packets(sample("hep", name)))
    sessions = build_sessions(sightings)
    assert [session.outcome for session in sessions] == ["answered"] * calls
    assert {messages(session) for session in sessions} == {arrows}
    assert sum(session.message_count for session in sessions) == len(sightings)
    kinds = ["phone", "edge", "core", "far-end"] if len(lanes) == 4 else ["phone", "edge", "far-end"]
    for session in sessions:
        assert [one.label for one in session.participants] == lanes
        assert [one.kind for one in session.participants] == kinds
        assert not session.notes
        assert session.retransmission_count == 0
