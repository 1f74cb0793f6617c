"""Public captures, read as tshark reads them: `tshark -r FILE -Y sip -T fields -e sip.Method -e sip.Status-Code`."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringback.sessions.capture.pcap import CaptureReader, read_capture
from ringback.sessions.capture.sip import SipMessage, parse
from ringback.sessions.story import CUT_BY_CAPTURE, REASSEMBLED

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples" / "pcap"


ONE = "INVITE 180 200 ACK BYE 200"


def sample(name: str) -> tuple[list[SipMessage], CaptureReader]:
    path = SAMPLES / f"{name}.pcap"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    capture = read_capture(path)
    return [parse(sighting[2]) for sighting in capture], capture


@pytest.mark.parametrize(
    ("name", "packets", "told"),
    [
        ("simple_invite", 7, "INVITE 100 180 200 ACK BYE 200"),
        ("cancel", 7, "INVITE 100 180 CANCEL 200 487 ACK"),
        ("sip_rtp", 507, "INVITE 180 200 ACK BYE 200"),
        ("sip_tcp", 11, "REGISTER 200"),
        ("compact_form", 1, "INVITE"),
        ("call_and_register", 10, "INVITE 100 180 200 ACK REGISTER 200 INVITE 100 180"),
        ("fragmented_tcp_sip", 19, "INVITE 180 200 ACK BYE 200"),
        ("fragmented_udp_sip", 6, "180 200 ACK BYE 200 INVITE"),
        ("sipp_sll", 30, " ".join([ONE[:18], ONE, ONE, ONE, "BYE INVITE 200", ONE[7:]])),
    ],
)  # fmt: skip
def test_the_messages_are_those_that_tshark_shows(name: str, packets: int, told: str) -> None:
    messages, capture = sample(name)
    assert " ".join(message.method if message.is_request else str(message.status) for message in messages) == told
    assert capture.counters.packets == packets
    assert capture.counters.sip_messages == len(messages)
    carriers = packets - capture.counters.media_packets - sum(capture.counters.ignored.values())
    assert carriers >= len(messages)
    assert capture.problem == ""


def test_sip_over_tcp_in_two_segments() -> None:
    path = SAMPLES / "fragmented_tcp_sip.pcap"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    marks = [sighting[3] for sighting in read_capture(path)]
    assert [bool(mark & REASSEMBLED) for mark in marks].count(True) >= 1
    assert not any(mark & CUT_BY_CAPTURE for mark in marks)


def test_an_invite_whose_last_fragment_was_not_captured_is_told_as_cut() -> None:
    """tshark shows it as an IPv4 fragment only."""
    path = SAMPLES / "fragmented_udp_sip.pcap"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    last = list(read_capture(path))[-1]
    assert last[2].startswith(b"INVITE ")
    assert last[3] & CUT_BY_CAPTURE
    assert len(last[2]) == 1472


def test_the_rtp_of_a_call() -> None:
    """`tshark -q -z rtp,streams`: 501 packets PCMU, 0 lost."""
    _, capture = sample("sip_rtp")
    (stream,) = capture.media
    assert (stream.packets, stream.lost, stream.codec, stream.source) == (501, 0, "PCMU", "127.0.0.1:6001")
    assert stream.leg == "1-7879@127.0.0.1"
    assert stream.jitter_ms is not None
    assert stream.jitter_ms < 10
