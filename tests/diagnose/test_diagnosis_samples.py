"""Public captures and recordings of real nodes, with the answers that were checked against tshark."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringback.sessions.capture import hep
from ringback.sessions.capture.pcap import read_capture
from ringback.sessions.correlate import build_sessions
from ringback.sessions.diagnose import diagnose, load_catalogue
from ringback.sessions.story import Session, Sighting

SAMPLES = Path(__file__).parents[3] / "shared" / "samples"

# file -> for every session (outcome, issues)
PCAP = {
    "simple_invite.pcap": [("answered", ["normal"])],
    "cancel.pcap": [("cancelled", ["caller-cancelled"])],
    "sip_rtp.pcap": [("answered", ["one-way-audio"])],  # 501 packets from 6001 to 6000, none back
    "sipp_sll.pcap": [("answered", ["short-call"])] * 5,
    "sip_tcp.pcap": [("registered", ["normal"])],
    "fragmented_tcp_sip.pcap": [("answered", ["short-call"])],
    "fragmented_udp_sip.pcap": [
        ("answered", ["message-truncated", "short-call"])
    ],  # fragments of the INVITE are missing
    "call_and_register.pcap": [("answered", []), ("registered", ["normal"]), ("in_progress", [])],  # no BYE
    "compact_form.pcap": [("in_progress", ["private-address-in-contact"])],
}
HEP = {
    "kamailio_two_nodes_udp.bin": [("answered", ["short-call"])] * 5,
    "kamailio_tcp.bin": [("answered", ["short-call"])] * 10,
    "kamailio_auth_key.bin": [("answered", [])] * 3,  # only the INVITE transaction was traced
}


def sample(kind: str, name: str) -> Path:
    path = SAMPLES / kind / name
    if not path.exists():
        pytest.skip(f"the sample {path} is not here")
    return path


def answers(sessions: list[Session]) -> list[tuple[str, list[str]]]:
    catalogue = load_catalogue()
    return [(one.outcome, sorted(issue.id for issue in diagnose(one, catalogue))) for one in sessions]


@pytest.mark.parametrize("name", PCAP)
def test_public_captures(name: str) -> None:
    reader = read_capture(sample("pcap", name))
    sightings = [Sighting(*one) for one in reader]
    assert answers(build_sessions(sightings, media=reader.media)) == PCAP[name]


@pytest.mark.parametrize("name", HEP)
def test_recordings_of_kamailio(name: str) -> None:
    sightings = [Sighting(*one[:5]) for one in packets(sample("hep", name)) if one.payload_type == hep.SIP]
    assert answers(build_sessions(sightings)) == HEP[name]


def packets(path: Path) -> Iterator[hep.HepPacket]:
    """Each is preceded by its length as a big-endian u32."""
    data, at = path.read_bytes(), 0
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        yield hep.decode(data[at + 4 : at + 4 + length], 0)
        at += 4 + length
