"""Whatever bytes arrive, a story is told or the bytes are left out: no crash, no lost sighting, no unsound drawing."""

from __future__ import annotations

import sys
from collections import Counter
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from ringback.sessions.capture.sip import NotSip, parse
from ringback.sessions.correlate import build_session, build_sessions
from ringback.sessions.diagram.svg import advanced_svg, basic_svg
from ringback.sessions.diagram.text import ladder
from ringback.sessions.story import Hop, Sighting
from scenario import START_US, play

CALL = play(
    """
alice = 198.51.100.23:5060
edge  = 192.0.2.10:5060  agent=101
core  = 192.0.2.20:5060  agent=102
bob   = 203.0.113.9:5060
0 alice -> edge INVITE sip:200@acme.example from=100 sdp
+.002 edge -> core INVITE
+.002 core -> bob INVITE
+.080 bob -> core 180
+.002 core -> edge 180
+5 edge -> core CANCEL
+.002 core -> edge 200 for=CANCEL
+.002 core -> edge 487 for=INVITE
+.002 edge -> core ACK
"""
).sightings

change = st.tuples(
    st.integers(0, len(CALL) - 1),
    st.integers(0, 600),
    st.integers(0, 40),
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from(
            [b"", b"\r\n", b"Via: ", b",", b"<", b'"', b";tag=", b"branch=", b"CSeq: 1 ACK\r\n", b"\xff\xfe", b"*"]
        ),
    ),
    st.integers(-3_000_000, 3_000_000),
)


@given(changes=st.lists(change, min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_damaged_messages_do_no_harm(changes: list[tuple[int, int, int, bytes, int]]) -> None:
    sightings = list(CALL)
    for at, start, length, put, shift in changes:
        one = sightings[at]
        payload = one.payload[:start] + put + one.payload[start + length :]
        sightings[at] = one._replace(payload=payload, time_us=one.time_us + shift)
    readable = [one for one in sightings if is_sip(one.payload)]
    sessions = build_sessions(sightings)
    held = Counter(seen for session in sessions for arrow in session.arrows for seen in arrow.sightings)
    assert held == Counter(readable)
    for session in sessions:
        times = [entry.time_us for entry in session.entries]
        assert times == sorted(times)
        assert all(character.isprintable() or character == "\n" for character in ladder(session, 80, colour=False))
        for drawn in (basic_svg(session), advanced_svg(session)):
            ElementTree.fromstring(f"<root>{drawn}</root>")


def is_sip(payload: bytes) -> bool:
    try:
        parse(payload)
    except NotSip:
        return False
    return True


def test_a_circle_of_causes_is_broken() -> None:
    """Two requests that each claim the other's branch below their own."""
    head = (
        "INVITE sip:2@x SIP/2.0\r\n{0}From: <sip:1@x>;tag=t\r\nTo: <sip:2@x>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n"
    )
    paths = [("a", "b"), ("b", "a"), ("a", "b", "a"), ("b", "a", "b")]
    sightings = []
    for number, path in enumerate(paths):
        vias = "".join(f"Via: SIP/2.0/UDP 192.0.2.{ord(via)};branch=z9hG4bK{via}\r\n" for via in path)
        hop = Hop("udp", f"192.0.2.{number}", 5060, f"192.0.2.{number + 1}", 5060)
        sightings.append(Sighting(START_US + number, hop, head.format(vias).encode()))
    session = build_session(sightings)
    assert len(session.arrows) == 4
    ladder(session, 80, colour=False)
    advanced_svg(session)


def test_the_work_grows_with_the_messages_not_with_their_square() -> None:
    """A leg of thousands of messages, and one message thousands of times: what a loop or a flood leaves behind."""
    request = (
        "OPTIONS sip:2@x SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{0}\r\nFrom: <sip:1@x>;tag=t\r\n"
        "To: <sip:2@x>\r\nCall-ID: c\r\nCSeq: {1} OPTIONS\r\n\r\n"
    )
    hop = Hop("udp", "192.0.2.1", 5060, "192.0.2.2", 5060, "7")
    loop = [Sighting(START_US + at * 1_000, hop, request.format(at, at).encode()) for at in range(4_000)]
    flood = [Sighting(START_US + at * 100, hop, request.format(0, 0).encode()) for at in range(4_000)]
    for sightings in (loop, flood):
        assert calls_of(sightings) < 5 * calls_of(sightings[:1_000])


def calls_of(sightings: list[Sighting]) -> int:
    """Of functions, by the story and its diagram: how long they take says what else the machine does."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        session = build_session(sightings)
        advanced_svg(session)
    finally:
        sys.setprofile(before)
    assert session.message_count == len(sightings)
    return calls
