"""What the diagrams draw in red."""

from __future__ import annotations

import pytest

from ringback.sessions.correlate import build_sessions
from ringback.sessions.diagnose import diagnose, load_catalogue
from ringback.sessions.diagram.rows import failing_numbers
from scenario import play

PLACES = """
    alice = 198.51.100.23:5060  ua=Yealink
    bob   = 203.0.113.9:5060    ua=Snom
"""
ONE_WAY = (
    PLACES
    + """
    0.000  alice -> bob  INVITE sip:18660333777@acme.example  from=12103355787 sdp=PCMU
    +.100  bob -> alice  180
    1.000  bob -> alice  200 OK  sdp=PCMU
    +.010  alice -> bob  ACK
    1.100  alice => bob  PCMU 20s
    22.00  alice -> bob  BYE
    +.010  bob -> alice  200
"""
)
REFUSED = (
    PLACES
    + """
    0.000  alice -> bob  INVITE sip:18660333777@acme.example  from=12103355787 sdp=PCMU
    +.100  bob -> alice  404
    +.010  alice -> bob  ACK
"""
)


@pytest.mark.parametrize(
    ("ladder", "issue", "failing"), [(ONE_WAY, "one-way-audio", set()), (REFUSED, "number-unknown", {2})]
)
def test_only_what_a_session_failed_at_is_drawn_as_a_failure(ladder: str, issue: str, failing: set[int]) -> None:
    played = play(ladder)
    (session,) = build_sessions(played.sightings, media=played.media)
    issues = diagnose(session, load_catalogue())
    assert issues[0].id == issue
    assert failing_numbers(session, issues) == failing
