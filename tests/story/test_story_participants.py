"""Who took part: one lane a party, its name, kind and place."""

from __future__ import annotations

from ringback.sessions.correlate import build_session
from ringback.sessions.story import NodeInfo, Participant, Session
from scenario import play
from told import told

CHAIN = """
alice = 198.51.100.23:5060 ua=Yealink
edge  = 192.0.2.10:5060  agent=101
core  = 192.0.2.20:5060  agent=102
gw    = 203.0.113.50:5060 ua=Sonus-SBC
0.000 alice -> edge INVITE sip:200@acme.example from=100 sdp
0.010 edge -> core INVITE
0.020 core -> gw INVITE
0.100 gw -> core 200
0.110 core -> edge 200
0.120 edge -> alice 200
"""


def lanes(session: Session) -> list[tuple[str, str, bool]]:
    return [(one.label, one.kind, one.cluster) for one in session.participants]


def test_without_a_register_who_forwards_is_the_switch() -> None:
    assert lanes(told(CHAIN)) == [
        ("198.51.100.23:5060", "phone", False),
        ("192.0.2.10:5060", "edge", True),
        ("192.0.2.20:5060", "core", True),
        ("203.0.113.50:5060", "gateway", False),
    ]


def test_the_register_names_nodes_by_address_port_and_capture_agent() -> None:
    nodes = [
        NodeInfo("edge1", "edge", True, "#1f5fbf", addresses=frozenset({"192.0.2.10"})),
        NodeInfo("core1", "core", True, agents=frozenset({"102"})),
        NodeInfo("Carrier A", "gateway", False, addresses=frozenset({"203.0.113.50:5060"})),
        NodeInfo("elsewhere", "core", True, addresses=frozenset({"192.0.2.99"})),
    ]
    session = build_session(play(CHAIN).sightings, nodes=nodes)
    assert lanes(session) == [
        ("198.51.100.23:5060", "phone", False),
        ("edge1", "edge", True),
        ("core1", "core", True),
        ("Carrier A", "gateway", False),
    ]
    assert session.participants[1].colour == "#1f5fbf"
    assert [one.agents for one in session.participants] == [[], ["101"], ["102"], []]


def test_a_registered_node_that_forwards_stays_what_the_register_says() -> None:
    nodes = [NodeInfo("transit", "gateway", False, addresses=frozenset({"192.0.2.20"}))]
    session = build_session(play(CHAIN).sightings, nodes=nodes)
    assert lanes(session) == [
        ("198.51.100.23:5060", "phone", False),
        ("192.0.2.10:5060", "edge", True),
        ("transit", "gateway", False),
        ("203.0.113.50:5060", "gateway", False),
    ]


def test_one_node_with_several_addresses_is_one_lane_though_they_speak_to_each_other() -> None:
    ladder = CHAIN.replace("core  = 192.0.2.20:5060", "core  = 10.0.0.2:5060")
    both = NodeInfo("node", "core", True, addresses=frozenset({"192.0.2.10", "10.0.0.2:5060"}))
    session = build_session(play(ladder).sightings, nodes=[both])
    assert [one.label for one in session.participants] == ["198.51.100.23:5060", "node", "203.0.113.50:5060"]
    assert [(one.source, one.destination) for one in session.arrows][1] == ("node", "node")


def test_a_register_entry_for_a_loopback_host_does_not_swallow_everyone_on_it() -> None:
    session = build_session(
        play("alice = 127.0.0.1:5080\nedge = 127.0.0.1:5060\n0 alice -> edge REGISTER from=100").sightings,
        nodes=[NodeInfo("edge", "edge", True, addresses=frozenset({"127.0.0.1"}))],
    )
    assert [one.label for one in session.participants] == ["127.0.0.1:5080", "127.0.0.1:5060"]


def test_a_node_that_takes_calls_on_one_address_and_makes_them_on_another_is_one_lane() -> None:
    session = build_session(
        play(
            """
alice = 198.51.100.23:5060
inside = 192.0.2.10:5060
outside = 10.0.0.2:5080
bob = 203.0.113.9:5060
0 alice -> inside INVITE sip:200@acme.example from=100
.1 outside -> bob INVITE sip:200@acme.example from=100 leg=b
"""
        ).sightings,
        nodes=[NodeInfo("pbx", "core", True, addresses=frozenset({"192.0.2.10", "10.0.0.2:5080"}))],
    )
    assert [(one.label, sorted(one.addresses)) for one in session.participants] == [
        ("198.51.100.23:5060", ["198.51.100.23:5060"]),
        ("pbx", ["10.0.0.2:5080", "192.0.2.10:5060"]),
        ("203.0.113.9:5060", ["203.0.113.9:5060"]),
    ]


def test_connections_from_ephemeral_ports_belong_to_the_node_that_its_via_names() -> None:
    session = told(
        """
alice = 198.51.100.23:5060 tcp
edge  = 192.0.2.10:5060 tcp
core  = 192.0.2.20:5060 tcp
0.000 alice -> edge INVITE sip:200@acme.example from=100
    Via: SIP/2.0/TCP 198.51.100.23:5060;branch=z9hG4bK1
0.010 edge -> core INVITE sport=41234
    Via: SIP/2.0/TCP 192.0.2.10:5060;branch=z9hG4bK2, SIP/2.0/TCP 198.51.100.23:5060;branch=z9hG4bK1
0.100 core -> edge 200 dport=41234
0.110 edge -> alice 200
"""
    )
    assert [one.addresses for one in session.participants] == [
        ["198.51.100.23:5060"],
        ["192.0.2.10:5060", "192.0.2.10:41234"],
        ["192.0.2.20:5060"],
    ]


def test_a_phone_behind_a_nat_that_got_a_new_port_is_one_lane() -> None:
    session = told(
        """
alice = 198.51.100.23:1024
edge  = 192.0.2.10:5060
0 alice -> edge REGISTER from=100
    Via: SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bK1;rport
.1 edge -> alice 200
50 alice -> edge REGISTER sport=1025
    Via: SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bK2;rport
50.1 edge -> alice 200 dport=1025
"""
    )
    assert [sorted(one.addresses) for one in session.participants] == [
        ["198.51.100.23:1024", "198.51.100.23:1025"],
        ["192.0.2.10:5060"],
    ]


def test_a_phone_that_makes_its_second_call_from_another_port_is_one_lane() -> None:
    ladder = """
line1 = 198.51.100.23:5060 ua=Polycom
line2 = 198.51.100.23:5062 ua=Polycom
edge  = 192.0.2.10:5060
0 line1 -> edge INVITE sip:200@acme.example from=100
9 line2 -> edge INVITE sip:300@acme.example from=100 leg=b
"""
    assert [one.addresses for one in told(ladder).participants] == [
        ["198.51.100.23:5060", "198.51.100.23:5062"], ["192.0.2.10:5060"],
    ]  # fmt: skip
    another_user = ladder.replace("from=100 leg=b", "from=101 leg=b")
    assert len(told(another_user).participants) == 3


def test_two_phones_behind_one_nat_are_two_lanes() -> None:
    session = told(
        """
alice = 198.51.100.23:1024 ua=Yealink
bob   = 198.51.100.23:1025 ua=Yealink
edge  = 192.0.2.10:5060
0 alice -> edge INVITE sip:bob@acme.example from=100
    Via: SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bK1;rport
.1 edge -> bob INVITE sip:bob@10.0.0.8:5060
.2 bob -> edge 180
"""
    )
    assert [one.label for one in session.participants] == [
        "198.51.100.23:1024",
        "192.0.2.10:5060",
        "198.51.100.23:1025",
    ]


def test_nodes_and_phones_on_the_loopback_stay_apart() -> None:
    session = told(
        """
alice = 127.0.0.1:5080 ua=SIPp
edge  = 127.0.0.1:5060 agent=101 ua=kamailio
core  = 127.0.0.1:5062 agent=102 ua=kamailio
bob   = 127.0.0.1:5070 ua=SIPp
0.000 alice -> edge INVITE sip:200@acme.example from=100 sdp
0.010 edge -> core INVITE
0.020 core -> bob INVITE
0.100 bob -> core 200
0.110 core -> edge 200
0.120 edge -> alice 200
"""
    )
    assert [(one.label, one.agents) for one in session.participants] == [
        ("127.0.0.1:5080", []), ("127.0.0.1:5060", ["101"]), ("127.0.0.1:5062", ["102"]), ("127.0.0.1:5070", []),
    ]  # fmt: skip


def test_a_switch_with_two_profiles_is_one_lane() -> None:
    session = told(
        """
alice = 198.51.100.23:5060
in    = 192.0.2.10:5060 ua=FreeSWITCH
out   = 192.0.2.10:5080 ua=FreeSWITCH
bob   = 203.0.113.9:5060
0 alice -> in INVITE sip:200@acme.example from=100
.1 in -> alice 100
.1 out -> bob INVITE sip:200@acme.example from=100 leg=b
    X-CID: a-call@acme.example
.2 bob -> out 180 leg=b
"""
    )
    assert lanes(session) == [
        ("198.51.100.23:5060", "phone", False), ("192.0.2.10:5060", "edge", True), ("203.0.113.9:5060", "far-end", False),
    ]  # fmt: skip


def test_a_node_that_bridges_two_legs_is_the_switch_and_a_party_that_transfers_is_not() -> None:
    bridge = """
alice = 198.51.100.23:5060
pbx   = 192.0.2.10:5060
bob   = 203.0.113.9:5060
carol = 203.0.113.10:5060
0 alice -> pbx INVITE sip:200@acme.example from=100
.1 pbx -> bob INVITE sip:200@acme.example from=100 leg=b
.2 bob -> pbx 200 leg=b
.3 pbx -> alice 200
"""
    transfer = """
9 bob -> carol INVITE sip:300@acme.example from=200 leg=c
9.1 carol -> bob 180 leg=c
"""
    clusters = {one.label: one.cluster for one in told(bridge + transfer).participants}
    assert clusters == {
        "198.51.100.23:5060": False, "192.0.2.10:5060": True, "203.0.113.9:5060": False, "203.0.113.10:5060": False,
    }  # fmt: skip


def test_a_node_that_asks_for_credentials_or_keeps_registrations_is_the_switch() -> None:
    people = "alice = 198.51.100.23:5060\nsrv = 192.0.2.10:5060\n"
    asked = told(people + "0 alice -> srv INVITE sip:200@acme.example from=100\n.1 srv -> alice 407 auth=n")
    registrar = told(people + "0 alice -> srv REGISTER from=100\n.1 srv -> alice 200")
    peer = told(people + "0 alice -> srv INVITE sip:200@acme.example from=100\n.1 srv -> alice 486")
    assert [session.participants[1].cluster for session in (asked, registrar, peer)] == [True, True, False]


def test_a_user_agent_is_taken_only_from_what_its_owner_wrote() -> None:
    ladder = """
alice = 198.51.100.23:5060 ua=Yealink
edge  = 192.0.2.10:5060 ua=kamailio
bob   = 203.0.113.9:5060 ua=Snom
0 alice -> edge INVITE sip:200@acme.example from=100
.1 edge -> alice 100
.2 edge -> bob INVITE
.3 bob -> edge 200
.4 edge -> alice 200
"""
    assert [one.user_agent for one in told(ladder).participants] == ["Yealink", "kamailio", "Snom"]
    one_sided = ladder.replace(".2 edge -> bob INVITE", ".2 edge -> bob INVITE unseen").replace(
        ".3 bob -> edge 200", ".3 bob -> edge 200 unseen"
    )
    assert [one.user_agent for one in told(one_sided).participants] == ["Yealink", "kamailio"]


def test_the_switch_stands_together_and_the_caller_before_it() -> None:
    """The failed branch outside was tried before the second node of the switch."""
    session = told(
        """
bob   = 203.0.113.9:5060
edge  = 192.0.2.10:5060 node=edge cluster
vm    = 192.0.2.30:5060 node=core cluster
alice = 198.51.100.23:5060
0 alice -> edge INVITE sip:200@acme.example from=100
.1 edge -> bob INVITE sip:200@203.0.113.9
.2 bob -> edge 480
.3 edge -> vm INVITE sip:vm@192.0.2.30
.4 vm -> edge 200
.5 edge -> alice 200
"""
    )
    assert [one.label for one in session.participants] == ["198.51.100.23:5060", "edge", "vm", "203.0.113.9:5060"]


def test_the_caller_comes_first_though_only_responses_to_him_were_captured() -> None:
    session = told(
        """
alice = 198.51.100.23:5060
edge  = 192.0.2.10:5060
bob   = 203.0.113.9:5060
0 alice -> edge INVITE sip:200@acme.example from=100 unseen
.1 edge -> bob INVITE
.2 bob -> edge 180
.3 edge -> alice 180
"""
    )
    assert lanes(session) == [
        ("198.51.100.23:5060", "phone", False), ("192.0.2.10:5060", "edge", True), ("203.0.113.9:5060", "far-end", False),
    ]  # fmt: skip


def test_ipv6_is_written_in_brackets() -> None:
    session = told("a = [2001:db8::1]:5060\nb = [2001:db8::2]:5060\n0 a -> b OPTIONS sip:x@[2001:db8::2]")
    assert [one.label for one in session.participants] == ["[2001:db8::1]:5060", "[2001:db8::2]:5060"]


def test_a_registered_node_that_only_wrote_log_lines_has_a_lane() -> None:
    played = play(CHAIN + "0.005 billing ! info allowed")
    played.logs[0].kind = "billing"
    node = NodeInfo("billing", "billing", True)
    found: list[Participant] = build_session(played.sightings, logs=played.logs, nodes=[node]).participants
    assert [one.label for one in found if not one.addresses] == ["billing"]
    assert [one.cluster for one in found] == [False, True, True, True, False]
