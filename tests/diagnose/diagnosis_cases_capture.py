"""Captures with gaps, cut messages and wrong clocks, and captures without."""

from __future__ import annotations

from diagnosis_ladders import ANSWER, DIAL, HEALTHY, NODES, RING, TALK, Case, hang_up, refused

_TWO_PROBES = """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060     agent=101 node=edge cluster
    core  = 192.0.2.20:5060     agent=102 node=core cluster skew={skew}
    bob   = 203.0.113.9:5060    ua=Snom

    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp
    +.002  edge -> alice  100
    +.001  edge -> core   INVITE
    +.002  core -> edge   100
    +.001  core -> bob    INVITE
    +.080  bob -> core    180
    +.001  core -> edge   180
    +.001  edge -> alice  180
    +2     bob -> core    200 OK sdp
    +.001  core -> edge   200
    +.001  edge -> alice  200
    +.030  alice -> edge  ACK
    +.001  edge -> core   ACK
    +.001  core -> bob    ACK
    +30    alice -> edge  BYE
    +.001  edge -> core   BYE
    +.001  core -> bob    BYE
    +.020  bob -> core    200
    +.001  core -> edge   200
    +.001  edge -> alice  200
"""
_REINVITE = """
    +5     alice -> edge  INVITE sdp
    +.001  edge -> bob    INVITE
    +.020  bob -> edge    200 OK sdp
    +.001  edge -> alice  200
    +.010  alice -> edge  ACK
    +.001  edge -> bob    ACK
"""

CASES = {
    "capture-incomplete": Case(
        shows=(
            # begins inside the call
            NODES
            + TALK.replace(" -> edge  INVITE", " -> edge  INVITE unseen", 1).replace(
                "edge -> bob    INVITE", "edge -> bob    INVITE unseen", 1
            )
            + hang_up(),
            # the answer is missing, the ACK and BYE are there
            NODES
            + DIAL
            + RING
            + ANSWER.replace("200 OK  sdp=PCMA", "200 OK sdp=PCMA unseen").replace("alice  200", "alice  200 unseen")
            + hang_up(),
            # a request left out, as CSeq tells
            NODES + TALK + hang_up().replace("-> edge    BYE", "-> edge    BYE cseq=4"),
            # a hop lost its answer
            NODES + DIAL + RING + ANSWER.replace("200 OK  sdp=PCMA", "200 OK sdp=PCMA unseen") + hang_up(),
        ),
        near=(HEALTHY, NODES + TALK + _REINVITE + hang_up(), NODES + DIAL + refused("486")),
    ),
    "message-truncated": Case(
        shows=(
            NODES
            + DIAL.replace("sdp=PCMU,PCMA", "sdp=PCMU,PCMA\n        Content-Length: 900", 1)
            + RING
            + ANSWER
            + hang_up(),
        ),
        near=(HEALTHY,),
    ),
    "clock-skew": Case(
        shows=(_TWO_PROBES.format(skew="2.5"), _TWO_PROBES.format(skew="-61")),
        near=(_TWO_PROBES.format(skew="0"), _TWO_PROBES.format(skew="0.4")),
    ),
}
