"""Traffic that looks like trouble and is none, and calls of several legs: exactly which issues they show, primary first."""

from __future__ import annotations

import pytest
from diagnosis_ladders import ANSWER, CANCEL, DIAL, NODES, RING, TALK, hang_up, refused

from ringback.sessions.correlate import build_sessions
from ringback.sessions.diagnose import diagnose, load_catalogue
from ringback.sessions.story import Issue
from scenario import play

_B2BUA = """
    alice = 198.51.100.23:5060  ua=Yealink
    pbx   = 192.0.2.10:5060     agent=101 node=core cluster ua=Asterisk
    gw    = 203.0.113.1:5060    node=gateway
    gw2   = 203.0.113.2:5060    node=gateway

    0.000  alice -> pbx  INVITE sip:18660333777@acme.example  from=12103355787 sdp callid=one
    +.002  pbx -> alice  100
    +.010  pbx -> gw     INVITE sip:18660333777@203.0.113.1 leg=b callid=two sdp
        X-CID: one
    +.010  gw -> pbx     100 leg=b
"""
_B2BUA_ANSWERED = """
    +.080  {gw} -> pbx     180 leg={leg}
    +.001  pbx -> alice  180
    +2     {gw} -> pbx     200 OK leg={leg} sdp
    +.001  pbx -> {gw}     ACK leg={leg}
    +.001  pbx -> alice  200 OK sdp
    +.030  alice -> pbx  ACK
    +20    alice -> pbx  BYE
    +.001  pbx -> alice  200
    +.001  pbx -> {gw}     BYE leg={leg}
    +.010  {gw} -> pbx     200 leg={leg}
"""
_GROUP = """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060     agent=101 node=edge cluster
    bob   = 203.0.113.9:5060    ua=Snom
    carol = 203.0.113.10:5060   ua=Snom

    0.000  alice -> edge  INVITE sip:600@acme.example  from=12103355787 sdp
    +.002  edge -> alice  100
    +.001  edge -> bob    INVITE sip:600@203.0.113.9
    +.001  edge -> carol  INVITE sip:600@203.0.113.10
    +.080  bob -> edge    180
    +.001  edge -> alice  180
    +.020  carol -> edge  180
    +.001  edge -> alice  180
    +5     carol -> edge  200 OK sdp
    +.001  edge -> alice  200
    +.001  edge -> bob    CANCEL
        Reason: SIP;cause=200;text="Call completed elsewhere"
    +.010  bob -> edge    200 OK for=CANCEL
    +.001  bob -> edge    487 for=INVITE
    +.001  edge -> bob    ACK
    +.030  alice -> edge  ACK
    +.001  edge -> carol  ACK
    +20    alice -> edge  BYE
    +.001  edge -> carol  BYE
    +.010  carol -> edge  200
    +.001  edge -> alice  200
"""
_REINVITE = """
    +{after}  {by} -> edge  INVITE sdp
    +.001  edge -> {far}    INVITE
    +.030  {far} -> edge    {answer}
    +.001  edge -> {by}  {answer}
    +.010  {by} -> edge  ACK
    +.001  edge -> {far}    ACK
"""

EXACTLY = {
    "parallel fork, the loser cancelled": (_GROUP, ["normal"]),
    "ring group, one busy": (
        _GROUP.split("    +5     carol")[0].replace("    +.080  bob -> edge    180\n    +.001  edge -> alice  180\n", """
    +.05   bob -> edge    486
    +.001  edge -> bob    ACK
""") + "    +5     carol" + _GROUP.split("    +5     carol")[1].replace("""    +.001  edge -> bob    CANCEL
        Reason: SIP;cause=200;text="Call completed elsewhere"
    +.010  bob -> edge    200 OK for=CANCEL
    +.001  bob -> edge    487 for=INVITE
    +.001  edge -> bob    ACK
""", ""),
        ["normal"],
    ),
    "early media before the answer": (
        NODES + DIAL + RING.replace("180", "183 Session Progress sdp=PCMA") + ANSWER + hang_up(), ["normal"],
    ),
    "183, then PRACK, then the answer": (
        NODES + DIAL + RING.replace("180", "183") + """
    +.01   alice -> edge  PRACK
    +.001  edge -> bob    PRACK
    +.01   bob -> edge    200 OK for=PRACK
    +.001  edge -> alice  200 OK for=PRACK
""" + ANSWER + hang_up(),
        ["normal"],
    ),
    "two re-INVITEs collide": (
        NODES + TALK + _REINVITE.format(after=5, by="alice", far="bob", answer="491 Request Pending")
        + _REINVITE.format(after=3, by="alice", far="bob", answer="200 OK sdp") + hang_up(),
        ["normal"],
    ),
    "a re-INVITE is refused and the call goes on": (
        NODES + TALK + _REINVITE.format(after=5, by="bob", far="alice", answer="488") + hang_up(), ["normal"],
    ),
    "a 180 repeated every minute while it rings": (
        NODES + DIAL + RING + "    +60 bob -> edge again 180\n    +.001 edge -> alice again 180\n" + ANSWER + hang_up(),
        ["normal"],
    ),
    "the challenge of every call": (
        NODES + """
    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp
    +.002  edge -> alice  407 auth=n1
    +.010  alice -> edge  ACK
    +.010  alice -> edge  INVITE sip:18660333777@acme.example  auth=n1 sdp
    +.002  edge -> alice  100
    +.001  edge -> bob    INVITE sip:18660333777@203.0.113.9
""" + RING + ANSWER + hang_up(),
        ["normal"],
    ),
    "two proxies, each with a challenge of its own": (
        NODES + """
    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp
    +.002  edge -> alice  407 auth=n1
    +.010  alice -> edge  ACK
    +.010  alice -> edge  INVITE sip:18660333777@acme.example  auth=n1 sdp
    +.002  edge -> alice  100
    +.001  edge -> bob    INVITE sip:18660333777@203.0.113.9
    +.010  bob -> edge    401
        WWW-Authenticate: Digest realm="far", nonce="f1"
    +.001  edge -> bob    ACK
    +.001  edge -> alice  401
    +.010  alice -> edge  ACK
    +.010  alice -> edge  INVITE sip:18660333777@acme.example  auth=n1 sdp
        Authorization: Digest username="1", realm="far", nonce="f1", uri="sip:x", response="0"
    +.002  edge -> alice  100
    +.001  edge -> bob    INVITE sip:18660333777@203.0.113.9
""" + RING + ANSWER + hang_up(),
        ["normal"],
    ),
    "a lost INVITE, sent again once": (
        NODES + "    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp=PCMU,PCMA lost\n"
        "    +.5    alice -> edge  again INVITE\n" + "".join(DIAL.splitlines(keepends=True)[2:]) + RING + ANSWER + hang_up(),
        ["normal"],
    ),
    "a lost BYE, sent again once": (
        NODES + TALK
        + hang_up().replace("    +.020  bob -> edge      200", "    +.5 edge -> bob again BYE\n    +.02 bob -> edge 200"),
        ["normal"],
    ),
    "attended transfer: the far end replaces the call": (
        NODES + "    carol = 203.0.113.77:5060\n" + TALK + """
    +10    alice -> edge  REFER
        Refer-To: <sip:carol@acme.example>
    +.001  edge -> bob    REFER
    +.010  bob -> edge    202
    +.001  edge -> alice  202
    +.010  bob -> edge    NOTIFY
        Event: refer
        Subscription-State: active
    +.001  edge -> alice  NOTIFY
    +.010  alice -> edge  200
    +.001  edge -> bob    200
""" + hang_up(3, "bob"),
        ["normal"],
    ),
    "a B2BUA with two legs": (_B2BUA + _B2BUA_ANSWERED.format(gw="gw", leg="b"), ["normal"]),
    "a B2BUA whose far leg is refused": (
        _B2BUA + """
    +.1    gw -> pbx     404 Not Found leg=b
        Reason: Q.850;cause=1
    +.001  pbx -> gw     ACK leg=b
    +.001  pbx -> alice  480
    +.010  alice -> pbx  ACK
""",
        ["number-unknown"],
    ),
    "a B2BUA that tries a second gateway": (
        _B2BUA + """
    +.1    gw -> pbx     503 leg=b
    +.001  pbx -> gw     ACK leg=b
    +.010  pbx -> gw2    INVITE sip:18660333777@203.0.113.2 leg=c callid=three sdp
        X-CID: one
    +.010  gw2 -> pbx    100 leg=c
""" + _B2BUA_ANSWERED.format(gw="gw2", leg="c"),
        ["failover-used"],
    ),
    "a B2BUA whose ringing timer ends": (
        _B2BUA + """
    +.080  gw -> pbx     180 leg=b
    +.001  pbx -> alice  180
    +30    pbx -> gw     CANCEL leg=b
    +.010  gw -> pbx     200 OK for=CANCEL leg=b
    +.001  gw -> pbx     487 for=INVITE leg=b
    +.001  pbx -> gw     ACK leg=b
    +.001  pbx -> alice  480
    +.010  alice -> pbx  ACK
""",
        ["no-answer"],
    ),
    "a B2BUA whose far leg gets no answer": (
        _B2BUA.split("    +.010  gw -> pbx     100")[0] + """
    +.5    pbx -> gw     again INVITE leg=b
    +1     pbx -> gw     again INVITE leg=b
    +2     pbx -> alice  503
    +.010  alice -> pbx  ACK
""",
        ["no-response"],
    ),
    "a caller who hangs up while a B2BUA rings": (
        _B2BUA + """
    +.080  gw -> pbx     180 leg=b
    +.001  pbx -> alice  180
    +9     alice -> pbx  CANCEL
    +.001  pbx -> alice  200 OK for=CANCEL
    +.001  pbx -> alice  487 for=INVITE
    +.010  alice -> pbx  ACK
    +.001  pbx -> gw     CANCEL leg=b
    +.010  gw -> pbx     200 OK for=CANCEL leg=b
    +.001  gw -> pbx     487 for=INVITE leg=b
    +.001  pbx -> gw     ACK leg=b
""",
        ["caller-cancelled"],
    ),
    "the same 486 on two hops": (NODES + DIAL + refused("486"), ["callee-busy"]),
    "a proxy that turns 503 into 500": (
        NODES + DIAL + refused("503").replace("edge -> alice  503", "edge -> alice  500"),
        ["network-congestion"],
    ),
    "the answer and the CANCEL cross": (
        NODES + DIAL + RING + """
    +2     bob -> edge    200 OK  sdp=PCMA
    +.000  alice -> edge  CANCEL
    +.001  edge -> alice  200 OK for=INVITE
    +.001  edge -> alice  200 OK for=CANCEL
    +.030  alice -> edge  ACK
    +.001  edge -> bob    ACK
""" + hang_up(0.1),
        ["short-call"],
    ),
    "a capture that begins inside a call": (
        NODES + TALK.replace("-> edge  INVITE", "-> edge  INVITE unseen").replace("-> bob    INVITE", "-> bob    INVITE unseen")
        .replace("100\n", "100 unseen\n").replace("180\n", "180 unseen\n").replace("200 OK  sdp=PCMA", "200 OK sdp=PCMA unseen")
        .replace("alice  200\n", "alice  200 unseen\n") + hang_up(),
        ["capture-incomplete"],
    ),
    "the caller cancelled while two routes were tried": (NODES + DIAL + RING + CANCEL, ["caller-cancelled"]),
}  # fmt: skip


def issues_of(ladder: str) -> list[Issue]:
    played = play(ladder)
    sessions = build_sessions(played.sightings, logs=played.logs, media=played.media, nodes=played.nodes)
    assert len(sessions) == 1
    return diagnose(sessions[0], load_catalogue())


@pytest.mark.parametrize(("ladder", "expected"), EXACTLY.values(), ids=EXACTLY)
def test_exactly_these_issues(ladder: str, expected: list[str]) -> None:
    assert [issue.id for issue in issues_of(ladder)] == expected


def test_the_origin_of_a_refusal_is_named_and_what_the_caller_was_told() -> None:
    ladder = EXACTLY["a B2BUA whose far leg is refused"][0]
    issue = issues_of(ladder)[0]
    assert "gw answered the INVITE with 404 Not Found (Reason: Q.850;cause=1" in issue.description
    assert "The caller was told 480 Temporarily Unavailable by pbx." in issue.description


def test_evidence_of_a_refusal_seen_on_two_hops_stands_at_its_origin() -> None:
    issue = issues_of(NODES + DIAL + refused("486"))[0]
    told = {one.message: one.why for one in issue.evidence}
    assert told[5].startswith("486 Busy Here, first said by")
    assert 7 not in told
