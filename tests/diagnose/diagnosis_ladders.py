"""Pieces of test calls: a phone, the provider's edge that sees both hops, and a far phone. See `scenario` for the language."""

from __future__ import annotations

from dataclasses import dataclass

NODES = """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060     agent=101 node=edge cluster
    bob   = 203.0.113.9:5060    ua=Snom
"""
DIAL = """
    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp=PCMU,PCMA
    +.002  edge -> alice  100
    +.001  edge -> bob    INVITE sip:18660333777@203.0.113.9
    +.010  bob -> edge    100
"""
RING = """
    +.080  bob -> edge    180
    +.001  edge -> alice  180
"""
ANSWER = """
    +2     bob -> edge    200 OK  sdp=PCMA
    +.001  edge -> alice  200
    +.030  alice -> edge  ACK
    +.001  edge -> bob    ACK
"""
CANCEL = """
    +.001  alice -> edge  CANCEL
    +.001  edge -> alice  200 OK for=CANCEL
    +.001  edge -> bob    CANCEL
    +.020  bob -> edge    200 OK for=CANCEL
    +.001  bob -> edge    487 for=INVITE
    +.001  edge -> bob    ACK
    +.001  edge -> alice  487 for=INVITE
    +.010  alice -> edge  ACK
"""
TALK = DIAL + RING + ANSWER


@dataclass(frozen=True)
class Case:
    """Ladders that must show the issue, and ladders much like them that must not."""

    shows: tuple[str, ...]
    near: tuple[str, ...]


def refused(answer: str, *headers: str, after: str = "+.2") -> str:
    """The far phone refuses, the edge passes it on."""
    lines = "".join(f"        {one}\n" for one in headers)
    return f"""
    {after}  bob -> edge    {answer}
{lines}
    +.001  edge -> bob    ACK
    +.001  edge -> alice  {answer}
    +.010  alice -> edge  ACK
"""


def wait(seconds: float) -> str:
    """Moves the clock: a keep-alive of another session, which the capture holds too."""
    return f"""
    +{seconds}  alice -> edge  OPTIONS sip:acme.example leg=watch callid=watch@elsewhere from=watch
    +.010  edge -> alice  200 OK leg=watch
"""


def hang_up(after: float = 30, by: str = "alice", *headers: str) -> str:
    far = "bob" if by == "alice" else "alice"
    lines = "".join(f"        {one}\n" for one in headers)
    return f"""
    +{after}  {by} -> edge    BYE
{lines}
    +.001  edge -> {far}      BYE
{lines}
    +.020  {far} -> edge      200
    +.001  edge -> {by}       200
"""


HEALTHY = NODES + TALK + hang_up()
