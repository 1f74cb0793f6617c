"""The order of a story: never against causality, always the same, and right though clocks are wrong."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringback.sessions.correlate import build_session
from ringback.sessions.story import Arrow, Session, Sighting
from scenario import START_US, play
from told import flow

CHAIN = """
alice = 198.51.100.23:5060
edge  = 192.0.2.10:5060  agent=101
core  = 192.0.2.20:5060  agent=102
gw    = 192.0.2.30:5060  agent=103
bob   = 203.0.113.9:5060
"""
CALL = (
    CHAIN
    + """
0.000 alice -> edge INVITE sip:200@acme.example from=100 sdp
+.002 edge -> alice 407 auth=n1
+.002 alice -> edge ACK
+.002 alice -> edge INVITE sip:200@acme.example sdp auth=n1
+.002 edge -> alice 100
+.002 edge -> core INVITE
+.002 core -> edge 100
+.002 core -> gw INVITE
+.002 gw -> core 100
+.002 gw -> bob INVITE
+.080 bob -> gw 180
+.002 gw -> core 180
+.002 core -> edge 180
+.002 edge -> alice 180
+1.50 bob -> gw 200 sdp
+.002 gw -> core 200
+.002 core -> edge 200
+.002 edge -> alice 200
+.002 alice -> edge ACK
+.002 edge -> core ACK
+.002 core -> gw ACK
+.002 gw -> bob ACK
+9.00 bob -> gw BYE
+.002 gw -> core BYE
+.002 core -> edge BYE
+.002 edge -> alice BYE
+.002 alice -> edge 200
+.002 edge -> core 200
+.002 core -> gw 200
+.002 gw -> bob 200
"""
)
CANCELLED = (
    CHAIN
    + """
0.000 alice -> edge INVITE sip:200@acme.example from=100 sdp
+.002 edge -> alice 100
+.002 edge -> core INVITE
+.002 core -> edge 100
+.002 core -> bob INVITE
+.080 bob -> core 180
+.002 core -> edge 180
+.002 edge -> alice 180
+5.00 alice -> edge CANCEL
+.002 edge -> alice 200 for=CANCEL
+.002 edge -> core CANCEL
+.002 core -> edge 200 for=CANCEL
+.002 core -> bob CANCEL
+.002 bob -> core 200 for=CANCEL
+.002 bob -> core 487 for=INVITE
+.002 core -> bob ACK
+.002 core -> edge 487 for=INVITE
+.002 edge -> core ACK
+.002 edge -> alice 487 for=INVITE
+.002 alice -> edge ACK
"""
)
FORKED = (
    CHAIN
    + """
carol = 203.0.113.10:5060
0.000 alice -> edge INVITE sip:200@acme.example from=100 sdp
0.000 edge -> alice 100
0.000 edge -> bob INVITE
0.000 edge -> carol INVITE
0.100 bob -> edge 486
0.100 edge -> bob ACK
0.500,1.500 edge -> carol again INVITE
1.600 carol -> edge 180
1.600 edge -> alice 180
2.000 carol -> edge 200 sdp
2.000 edge -> alice 200
2.000 alice -> edge ACK
2.000 edge -> carol ACK
2.500 alice -> edge UPDATE
2.500 edge -> carol UPDATE
2.500 carol -> edge 200
2.500 edge -> alice 200
3.000 carol -> edge BYE
3.000 edge -> alice BYE
3.000 alice -> edge 200
3.000 edge -> carol 200
"""
)
STORIES = {"call": CALL, "cancelled": CANCELLED, "forked": FORKED}


@pytest.mark.parametrize("name", ["call", "cancelled"])
def test_a_story_is_told_in_the_order_it_happened(name: str) -> None:
    played = play(STORIES[name])
    session = build_session(played.sightings)
    assert flow(session, played) == ladder_lines(STORIES[name])


def ladder_lines(ladder: str) -> list[str]:
    """The messages of a ladder that were seen, as `flow` writes them."""
    lines = []
    for text in ladder.splitlines():
        words = text.split()
        if len(words) >= 5 and words[2] == "->" and "unseen" not in words:
            lines.append(f"{words[1]} > {words[3]} {words[4]}")
    return lines


@given(seed=st.integers(0, 2**32), name=st.sampled_from(sorted(STORIES)))
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_input_does_not_matter(seed: int, name: str) -> None:
    played = play(STORIES[name])
    shuffled = list(played.sightings)
    random.Random(seed).shuffle(shuffled)
    assert summary(build_session(shuffled)) == summary(build_session(played.sightings))


def summary(session: Session) -> list[object]:
    return [
        [(arrow.number, arrow.time_us, arrow.source, arrow.destination, arrow.payload, arrow.retransmission_of,
          arrow.transaction, len(arrow.sightings)) for arrow in session.arrows],
        session.participants, session.legs, session.links, session.notes, session.outcome,
    ]  # fmt: skip


@given(
    jitter=st.lists(st.integers(-250, 250), min_size=1, max_size=40),
    name=st.sampled_from(sorted(STORIES)),
)
@settings(max_examples=80, deadline=None)
def test_jitter_of_stamps_never_turns_causality_round(jitter: list[int], name: str) -> None:
    played = play(STORIES[name])
    moved = [one._replace(time_us=one.time_us + jitter[at % len(jitter)]) for at, one in enumerate(played.sightings)]
    session = build_session(moved)
    assert_causal(session)
    assert_all_there(session, moved)
    assert all(participant.skew_us == 0 for participant in session.participants), "noise is no skew"


@given(
    skews=st.tuples(*[st.integers(-3_600_000_000, 3_600_000_000)] * 3), name=st.sampled_from(["call", "cancelled"])
)
@settings(max_examples=80, deadline=None)
def test_clocks_that_are_wrong_by_anything_do_not_change_the_order(skews: tuple[int, int, int], name: str) -> None:
    played = play(STORIES[name])
    ahead = dict(zip(("101", "102", "103"), skews, strict=True))
    moved = [one._replace(time_us=one.time_us + ahead[one.hop.agent]) for one in played.sightings]
    session = build_session(moved)
    assert flow(session, played) == ladder_lines(STORIES[name])
    assert_all_there(session, moved)


@given(seed=st.integers(0, 2**32), name=st.sampled_from(sorted(STORIES)), lost=st.integers(1, 12))
@settings(max_examples=80, deadline=None)
def test_gaps_in_the_capture_do_no_harm(seed: int, name: str, lost: int) -> None:
    played = play(STORIES[name])
    rest = random.Random(seed).sample(played.sightings, len(played.sightings) - lost)
    session = build_session(rest)
    assert_causal(session)
    assert_all_there(session, rest)


def assert_all_there(session: Session, sightings: list[Sighting]) -> None:
    held = Counter(sighting for arrow in session.arrows for sighting in arrow.sightings)
    assert held == Counter(sightings), "every sighting stands in exactly one arrow"


def assert_causal(session: Session) -> None:
    """By rules of its own: the numbers of causes are lower than those of effects, and times never go back."""
    times = [arrow.time_us for arrow in session.arrows]
    assert times == sorted(times)
    for transaction in session.transactions:
        request = transaction.request
        finals = transaction.finals
        if request:
            assert all(
                request.number < other.number for other in (*transaction.provisional, *finals, *transaction.acks)
            )
        if finals:
            assert all(arrow.number < finals[0].number for arrow in transaction.provisional)
            assert all(finals[0].number < ack.number for ack in transaction.acks)
        if transaction.parent is not None:
            before = session.transactions[transaction.parent]
            if before.request and request:
                assert before.request.number < request.number
            for passed in before.finals[:1]:
                origin = first_like(passed, finals)
                assert origin is None or origin.number < passed.number
    for arrow in session.arrows:
        if arrow.retransmission_of:
            assert arrow.retransmission_of < arrow.number


def first_like(passed: Arrow, finals: list[Arrow]) -> Arrow | None:
    same = [one for one in finals if one.sip.status == passed.sip.status and one.sip.to_tag == passed.sip.to_tag]
    return same[0] if same else None


def test_a_node_two_seconds_off_is_put_right_and_told() -> None:
    played = play(CALL.replace("agent=102", "agent=102 skew=2"))
    session = build_session(played.sightings)
    assert flow(session, played) == ladder_lines(CALL)
    core = next(one for one in session.participants if "102" in one.agents)
    assert core.skew_us == pytest.approx(-2_000_000, abs=300)
    assert [one.skew_us for one in session.participants if one is not core] == [0, 0, 0, 0]
    assert session.notes == ["The clock of 192.0.2.20:5060 is 2 s ahead of the others; its times are corrected."]


def test_clocks_are_put_right_though_both_agents_missed_something() -> None:
    """No message was seen equally often by both: the first stamps must do."""
    ladder = """
edge  = 192.0.2.10:5060  agent=101
core  = 192.0.2.20:5060  agent=102 skew=60
0.000 edge -> core INVITE sip:200@acme.example from=100
0.500 edge -> core again INVITE lost
0.700 core -> edge 100
1.200 core -> edge again 100 only=core
"""
    session = build_session(play(ladder).sightings)
    assert [arrow.sip.method + str(arrow.sip.status) for arrow in session.arrows] == ["INVITE0"] * 2 + [
        "INVITE100"
    ] * 2
    assert [len(arrow.sightings) for arrow in session.arrows] == [2, 1, 2, 1]


def test_clocks_that_share_no_message_are_held_together_by_causality() -> None:
    """The edge sees one side, the gateway the other; between them nothing was captured."""
    ladder = """
alice = 198.51.100.23:5060  agent=1
edge  = 192.0.2.10:5060
gw    = 192.0.2.30:5060
bob   = 203.0.113.9:5060    agent=4 skew=-30
0.000 alice -> edge INVITE sip:200@acme.example from=100 sdp
0.002 edge -> alice 100
0.004 edge -> gw INVITE unseen
0.006 gw -> bob INVITE
0.080 bob -> gw 180
0.082 gw -> edge 180 unseen
0.084 edge -> alice 180
2.000 bob -> gw 200 sdp
2.002 gw -> edge 200 unseen
2.004 edge -> alice 200
"""
    played = play(ladder)
    session = build_session(played.sightings)
    assert flow(session, played) == ladder_lines(ladder)
    assert session.transactions[1].parent == 0
    assert len(session.notes) == 1


def test_a_forwarded_request_that_is_stamped_before_its_origin_tells_of_a_wrong_clock() -> None:
    ladder = """
alice = 198.51.100.23:5060  agent=1
edge  = 192.0.2.10:5060
bob   = 203.0.113.9:5060    agent=4 skew=-30
0.000 alice -> edge INVITE sip:200@acme.example from=100 sdp
0.002 edge -> alice 100
0.004 edge -> bob INVITE
0.080 bob -> edge 180
0.084 edge -> alice 180
2.000 bob -> edge 200 sdp
2.004 edge -> alice 200
2.010 alice -> edge ACK
2.014 edge -> bob ACK
"""
    played = play(ladder)
    session = build_session(played.sightings)
    assert flow(session, played) == ladder_lines(ladder)
    (note,) = session.notes
    apart = r"The clocks of 192\.0\.2\.10:5060 and 203\.0\.113\.9:5060 are (30(\.0\d+)?|29\.9\d+) s apart; .*"
    assert re.fullmatch(apart, note)


def test_a_busy_node_that_stamps_most_of_its_messages_late_has_no_wrong_clock() -> None:
    """One stamp that agrees each way is enough."""
    played = play(CALL)
    agreed: set[tuple[str, str]] = set()
    moved = []
    for one in played.sightings:
        way = (one.hop.source, one.hop.destination)
        late = one.hop.agent == "102" and way in agreed
        if one.hop.agent == "102":
            agreed.add(way)
        moved.append(one._replace(time_us=one.time_us + 30_000 * late))
    session = build_session(moved)
    assert_causal(session)
    assert_all_there(session, moved)
    assert not session.notes


def test_a_quarter_of_a_millisecond_is_put_in_order_without_a_word() -> None:
    played = play(CHAIN + "0.000 alice -> edge INVITE sip:200@acme.example from=1\n0.001 edge -> alice 100")
    request, response = played.sightings
    session = build_session([request, response._replace(time_us=request.time_us - 200)])
    assert [arrow.sip.status for arrow in session.arrows] == [0, 100]
    assert session.arrows[1].time_us == session.arrows[0].time_us
    assert session.arrows[1].observed_us == request.time_us - 200
    assert not session.notes


def test_a_node_that_stamped_some_messages_late_has_no_wrong_clock() -> None:
    """A busy node: what it sent and received early in the call was stamped 12.5 ms late, as seen on a real chain."""
    ladder = """
alice = 198.51.100.23:5060
edge  = 192.0.2.10:5060  agent=101
core  = 192.0.2.20:5060  agent=102
bob   = 203.0.113.9:5060

0.000 alice -> edge  INVITE sip:200@acme.example from=1
0.001 edge -> core   INVITE sip:200@acme.example
0.002 core -> edge   100
0.003 core -> bob    INVITE sip:200@acme.example
0.153 bob -> core    503
0.154 core -> bob    ACK
0.155 core -> edge   500 Service Unavailable new
0.156 edge -> core   ACK
0.157 edge -> alice  500 Service Unavailable
"""
    played = play(ladder)
    late = [
        one._replace(time_us=one.time_us + 12_500)
        if one.hop.agent == "101" and one.time_us - START_US in range(900, 100_000)
        else one
        for one in played.sightings
    ]
    session = build_session(late)
    assert flow(session, played) == ladder_lines(ladder)
    assert not session.notes
