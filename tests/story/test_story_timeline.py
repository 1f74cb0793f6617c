"""The merged list of messages, log lines and media reports."""

from __future__ import annotations

from ringback.sessions.correlate import build_sessions
from ringback.sessions.story import LogLine, NodeInfo
from scenario import play


def test_a_log_line_stands_under_the_name_of_the_node_whose_capture_id_it_came_with() -> None:
    played = play("""
        alice = 198.51.100.23:5060
        edge  = 192.0.2.10:5060  agent=101
        0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 callid=one@x
        +.002  edge -> alice  403
        +.001  alice -> edge  ACK
    """)
    line = LogLine(played.sightings[0].time_us + 1000, "node", "101", "info", "premium numbers are barred", "one@x")
    node = NodeInfo("edge1", "edge", cluster=True, agents=frozenset({"101"}), addresses=frozenset({"192.0.2.10"}))
    (session,) = build_sessions(played.sightings, logs=[line], nodes=[node])
    assert [(entry.kind, entry.node) for entry in session.entries if entry.kind == "log"] == [("log", "edge1")]
