"""Codecs, encryption, fax, addresses behind NAT, and what was heard."""

from __future__ import annotations

from diagnosis_ladders import ANSWER, DIAL, NODES, RING, TALK, Case, hang_up, refused

_FAX = """
    +5     bob -> edge    INVITE sdp=t38
    +.001  edge -> alice  INVITE
    +.030  alice -> edge  {answer}
    +.001  edge -> bob    {answer}
    +.010  bob -> edge    ACK
    +.001  edge -> alice  ACK
"""
_REINVITE = """
    +{after}  alice -> edge  INVITE sdp=PCMA/{mode}
    +.001  edge -> bob    INVITE
    +.030  bob -> edge    {answer}
    +.001  edge -> alice  {answer}
    +.010  alice -> edge  ACK
    +.001  edge -> bob    ACK
"""
_NAT = DIAL.replace("sdp=PCMU,PCMA", "sdp=PCMU,PCMA@{address}")
_DIRECT = """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060     agent=101 node=edge cluster

    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 {offer}
    +.002  edge -> alice  100
    +.080  edge -> alice  180
    +2     edge -> alice  200 OK {answer}
    +.030  alice -> edge  ACK
    +{lasts}  alice -> edge  BYE
    +.010  edge -> alice  200
"""


def _direct(lasts: float = 30, offer: str = "sdp=PCMA", answer: str = "sdp=PCMA", media: str = "") -> str:
    return _DIRECT.format(lasts=lasts, offer=offer, answer=answer) + media


_BOTH = "    2.2 alice => edge PCMA 20s\n    2.2 edge => alice PCMA 20s\n"

CASES = {
    "codec-mismatch": Case(
        shows=(
            NODES + DIAL + refused("488"),
            NODES + DIAL + refused("606 Not Acceptable"),
            NODES + DIAL + refused("415 Unsupported Media Type"),
            NODES + DIAL + refused("500", "Reason: Q.850;cause=88;text=\"Incompatible destination\""),
            # answered with a codec that was not offered
            NODES + DIAL + RING + ANSWER.replace("sdp=PCMA", "sdp=G729") + hang_up(),
        ),
        near=(
            # to a re-INVITE, and the call went on
            NODES + TALK + _REINVITE.format(after=5, mode="sendrecv", answer="488") + hang_up(),
            NODES + DIAL.replace("PCMU,PCMA", "opus,PCMA,telephone-event") + RING + ANSWER + hang_up(),
            NODES + DIAL.replace("sdp=PCMU,PCMA", "sdp=PCMU/srtp") + refused("488 SRTP not supported"),
            # tried again with another codec, and answered
            NODES + DIAL.replace("PCMU,PCMA", "G729") + refused("488") + """
    +.1    alice -> edge  INVITE sip:18660333777@acme.example sdp=PCMA new
    +.001  edge -> alice  100
    +.001  edge -> bob    INVITE sip:18660333777@203.0.113.9
""" + RING + ANSWER + hang_up(),
        ),
    ),
    "t38-refused": Case(
        shows=(
            NODES + TALK + _FAX.format(answer="488") + hang_up(),
            NODES + TALK + _FAX.format(answer="488") + hang_up(1, "bob"),
            NODES + DIAL.replace("sdp=PCMU,PCMA", "sdp=t38") + refused("488"),
        ),
        near=(
            NODES + TALK + _FAX.format(answer="200 OK sdp=t38") + hang_up(),
            NODES + TALK + _FAX.format(answer="491 Request Pending") + hang_up(),
            NODES + TALK + _REINVITE.format(after=5, mode="sendrecv", answer="488") + hang_up(),
        ),
    ),
    "encryption-mismatch": Case(
        shows=(
            NODES + DIAL.replace("sdp=PCMU,PCMA", "sdp=PCMU/srtp") + refused("488 Encryption not supported"),
            NODES + DIAL.replace("sdp=PCMU,PCMA", "sdp=PCMU/srtp") + refused("488"),
            NODES + DIAL.replace("sdp=PCMU,PCMA", "sdp=PCMU/srtp") + RING + ANSWER.replace("sdp=PCMA", "sdp=PCMU") + hang_up(),
            NODES + DIAL + refused("488", 'Warning: 399 gw "SRTP required"'),
        ),
        near=(
            NODES + DIAL.replace("sdp=PCMU,PCMA", "sdp=PCMU/srtp") + RING
            + ANSWER.replace("sdp=PCMA", "sdp=PCMU/srtp") + hang_up(),
            NODES + DIAL + refused("488"),
        ),
    ),
    "private-address-in-sdp": Case(
        shows=(
            # passed on by the edge
            NODES + _NAT.format(address="192.168.1.20") + RING + ANSWER + hang_up(),
            # told by the phone itself, one side not heard
            _direct(offer="sdp=PCMA@10.0.0.7", media="    2.2 alice => edge PCMA 20s\n"),
            _direct(offer="sdp=PCMA@10.0.0.7"),
        ),
        near=(
            # mended by the edge on the next hop
            NODES + _NAT.format(address="192.168.1.20").replace(
                "INVITE sip:18660333777@203.0.113.9", "INVITE sip:18660333777@203.0.113.9 sdp=PCMU,PCMA@192.0.2.10"
            ) + RING + ANSWER + hang_up(),
            # within a private network
            """
    alice = 10.0.0.7:5060  ua=Yealink
    edge  = 10.0.0.1:5060  agent=101 node=edge cluster
""" + DIAL.split("    +.001  edge -> bob")[0] + refused("486").replace("bob -> edge", "edge -> alice").split("    +.001")[0],
            # both sides were heard all the same
            _direct(offer="sdp=PCMA@10.0.0.7", media=_BOTH),
        ),
    ),
    "private-address-in-contact": Case(
        shows=(
            _direct().replace("from=12103355787", "from=12103355787 contact=<sip:12103355787@192.168.1.20:5060>"),
            """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060     agent=101 node=edge cluster
    0.0   alice -> edge  REGISTER sip:acme.example from=1001 contact=<sip:1001@192.168.1.20:5060> expires=3600
    +.01  edge -> alice  200 OK
""",
        ),
        near=(
            _direct(),
            # the registrar noted where it came from
            """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060     agent=101 node=edge cluster
    0.0   alice -> edge  REGISTER sip:acme.example from=1001 contact=<sip:1001@192.168.1.20:5060> expires=3600
    +.01  edge -> alice  200 OK
        Contact: <sip:1001@192.168.1.20:5060>;expires=3600;received="sip:198.51.100.23:5060"
""",
        ),
    ),
    "one-way-audio": Case(
        shows=(
            _direct(media="    2.2 alice => edge PCMA 20s\n"),
            _direct(media="    2.2 edge => alice PCMA 20s\n"),
        ),
        near=(
            _direct(media=_BOTH),
            _direct(),
            # what came before the answer came from somewhere else, as an announcement does
            _direct(answer="sdp=PCMA@198.51.100.200:7000", media="    0.5 edge => alice PCMA 1.6s\n"),
            # only one direction was asked for
            _direct(answer="sdp=PCMA/sendonly", media="    2.2 edge => alice PCMA 20s\n"),
            # early media only
            _direct(media="    0.5 edge => alice PCMA 1.6s\n"),
            # hung up at once
            _direct(lasts=1, media="    2.2 alice => edge PCMA 0.8s\n"),
        ),
    ),
    "no-audio": Case(
        shows=(
            _direct(media="    0.5 edge => alice PCMA 1.6s\n"),
            NODES + TALK + hang_up(30, "bob", 'Reason: Q.850;cause=31;text="RTP Timeout"'),
        ),
        near=(
            _direct(),
            _direct(media=_BOTH),
            _direct(media="    2.2 alice => edge PCMA 20s\n"),
            _direct(answer="sdp=PCMA@198.51.100.200:7000", media="    0.5 edge => alice PCMA 1.6s\n"),
            _direct(lasts=1, media="    0.5 edge => alice PCMA 1.6s\n"),
        ),
    ),
    "poor-quality": Case(
        shows=(
            _direct(media="    2.2 alice => edge PCMA 20s lost=60\n    2.2 edge => alice PCMA 20s\n"),
            _direct(media="    2.2 alice => edge PCMA 20s lost=0 mos=3.1\n    2.2 edge => alice PCMA 20s\n"),
            _direct(media="    2.2 alice => edge PCMA 20s jitter=45\n    2.2 edge => alice PCMA 20s\n"),
        ),
        near=(
            _direct(media="    2.2 alice => edge PCMA 20s lost=10 mos=4.1 jitter=12\n    2.2 edge => alice PCMA 20s\n"),
            # too few packets to say
            _direct(media="    2.2 alice => edge PCMA 1s lost=9\n    2.2 edge => alice PCMA 20s\n"),
        ),
    ),
    "media-on-hold": Case(
        shows=(
            NODES + TALK + _REINVITE.format(after=5, mode="sendonly", answer="200 OK sdp=PCMA/recvonly")
            + _REINVITE.format(after=20, mode="sendrecv", answer="200 OK sdp=PCMA") + hang_up(),
            NODES + TALK + _REINVITE.format(after=5, mode="inactive", answer="200 OK sdp=PCMA/inactive") + hang_up(),
        ),
        near=(
            NODES + TALK + _REINVITE.format(after=5, mode="sendrecv", answer="200 OK sdp=PCMA") + hang_up(),
            NODES + TALK + _REINVITE.format(after=5, mode="sendonly", answer="488") + hang_up(),
        ),
    ),
}  # fmt: skip
