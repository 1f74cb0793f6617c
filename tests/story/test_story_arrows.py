"""Sightings become arrows: each hop once, retransmissions kept, each sighting in one arrow."""

from __future__ import annotations

import pytest

from ringback.sessions.correlate import build_session
from ringback.sessions.story import CUT_BY_CAPTURE, IP_ID_KNOWN
from scenario import play
from told import flow, told

TWO_AGENTS = """
alice = 198.51.100.23:5060
edge  = 192.0.2.10:5060  agent=101
core  = 192.0.2.20:5060  agent=102
bob   = 203.0.113.9:5060
"""


def test_a_message_that_both_ends_of_a_hop_report_is_one_arrow() -> None:
    session = told(
        TWO_AGENTS
        + """
0.000 alice -> edge INVITE sip:200@acme.example from=100
0.002 edge -> core INVITE
"""
    )
    assert [len(arrow.sightings) for arrow in session.arrows] == [1, 2]
    assert {sighting.hop.agent for sighting in session.arrows[1].sightings} == {"101", "102"}
    assert session.message_count == 3


def test_retransmissions_that_two_agents_see_pair_up_one_to_one() -> None:
    session = told(
        TWO_AGENTS
        + """
0.000 edge -> core INVITE sip:200@acme.example from=100
0.500,1.500,3.500 edge -> core again INVITE
"""
    )
    assert [len(arrow.sightings) for arrow in session.arrows] == [2, 2, 2, 2]
    assert [arrow.retransmission_of for arrow in session.arrows] == [None, 1, 1, 1]
    assert session.retransmission_count == 3


def test_a_retransmission_that_one_agent_missed_pairs_with_the_nearest_in_time() -> None:
    session = told(
        TWO_AGENTS
        + """
0.000 edge -> core INVITE sip:200@acme.example from=100 lost
0.500 edge -> core again INVITE
1.500 edge -> core again INVITE lost
3.500 edge -> core again INVITE
"""
    )
    assert [len(arrow.sightings) for arrow in session.arrows] == [1, 2, 1, 2]


def test_one_packet_captured_on_two_interfaces_is_no_retransmission() -> None:
    session = told(
        """
alice = 198.51.100.23:5060
edge  = 192.0.2.10:5060
0.000 alice -> edge INVITE sip:200@acme.example from=100 duplicate
0.500 alice -> edge again INVITE duplicate
"""
    )
    assert [len(arrow.sightings) for arrow in session.arrows] == [2, 2]
    assert session.retransmission_count == 1


@pytest.mark.parametrize(
    ("apart_us", "marks", "arrows"),
    [
        (9_900, (0, 0), 1),  # no retransmission timer is that short
        (10_100, (0, 0), 2),
        (900, (IP_ID_KNOWN | 7, IP_ID_KNOWN | 8), 2),  # two packets, whoever sent them
        (4_900, (IP_ID_KNOWN | 7, IP_ID_KNOWN | 7), 1),
        (5_100, (IP_ID_KNOWN | 7, IP_ID_KNOWN | 7), 2),
    ],
)
def test_the_same_bytes_from_one_agent(apart_us: int, marks: tuple[int, int], arrows: int) -> None:
    played = play(
        "alice = 198.51.100.23:5060\nedge = 192.0.2.10:5060\n0 alice -> edge INVITE sip:200@acme.example from=1"
    )
    seen = played.sightings[0]
    session = build_session(
        [seen._replace(marks=marks[0]), seen._replace(time_us=seen.time_us + apart_us, marks=marks[1])]
    )
    assert len(session.arrows) == arrows


def test_stamps_of_two_agents_more_than_half_a_second_apart_are_two_arrows() -> None:
    """With no more to go by than one message, nothing tells a slow clock from a retransmission; 250 ms still may be either."""
    played = play(TWO_AGENTS + "0 edge -> core INVITE sip:200@acme.example from=1")
    first, second = played.sightings
    near = build_session([first, second._replace(time_us=first.time_us + 240_000)])
    assert [len(arrow.sightings) for arrow in near.arrows] == [2]


def test_a_copy_that_the_capture_cut_short_joins_the_whole_message() -> None:
    played = play(TWO_AGENTS + "0 edge -> core INVITE sip:200@acme.example from=1 sdp")
    whole, cut = played.sightings
    session = build_session([whole, cut._replace(payload=cut.payload[:200], marks=CUT_BY_CAPTURE)])
    assert len(session.arrows) == 1
    arrow = session.arrows[0]
    assert arrow.payload == whole.payload
    assert not arrow.marks & CUT_BY_CAPTURE
    assert len(arrow.sightings) == 2


def test_a_message_that_was_only_seen_cut_short_keeps_the_mark() -> None:
    played = play(TWO_AGENTS + "0 alice -> edge INVITE sip:200@acme.example from=1 sdp")
    (seen,) = played.sightings
    session = build_session([seen._replace(payload=seen.payload[:200], marks=CUT_BY_CAPTURE)])
    assert session.arrows[0].marks & CUT_BY_CAPTURE


def test_a_message_through_a_nat_is_an_arrow_on_each_side() -> None:
    """The same bytes between other addresses are another hop."""
    played = play(
        "alice = 10.0.0.5:5060\nnat = 192.0.2.1:1024\nedge = 198.51.100.1:5060\n0 alice -> edge OPTIONS sip:edge@acme.example"
    )
    (inside,) = played.sightings
    outside = inside._replace(
        hop=type(inside.hop)("udp", "192.0.2.1", 1024, "198.51.100.1", 5060), time_us=inside.time_us + 90
    )
    session = build_session([outside, inside])
    assert len(session.arrows) == 2
    assert [transaction.parent for transaction in session.transactions] == [None, 0]


def test_the_numbers_of_arrows_are_their_places_in_the_timeline() -> None:
    played = play(
        TWO_AGENTS
        + """
0.000 alice -> edge INVITE sip:200@acme.example from=100
0.001 edge ! info asked the billing engine
0.002 edge -> core INVITE
0.003 alice => bob PCMU 0.5s
"""
    )
    session = build_session(played.sightings, logs=played.logs, media=played.media)
    assert [(entry.number, entry.kind) for entry in session.entries] == [
        (1, "sip"),
        (2, "log"),
        (3, "sip"),
        (4, "media"),
    ]
    assert [arrow.number for arrow in session.arrows] == [1, 3]
    assert flow(session, played) == ["alice > edge INVITE", "edge > core INVITE"]


def test_what_is_no_sip_is_told_and_left_out() -> None:
    played = play(TWO_AGENTS + "0 alice -> edge INVITE sip:200@acme.example from=1")
    noise = played.sightings[0]._replace(payload=b"\0\1\2 nothing")
    session = build_session([*played.sightings, noise])
    assert session.notes == ["1 captured packets could not be read as SIP."]
    with pytest.raises(ValueError, match="no SIP message"):
        build_session([noise])
