"""Silence, timers, ends of calls, and what was slow."""

from __future__ import annotations

from diagnosis_ladders import ANSWER, CANCEL, DIAL, HEALTHY, NODES, RING, TALK, Case, hang_up, refused, wait

_TO_EDGE = """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060     agent=101 node=edge cluster
    bob   = 203.0.113.9:5060

    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp
    +.002  edge -> alice  100
    +.001  edge -> bob    INVITE sip:18660333777@203.0.113.9
"""
_AGAIN = "".join(f"    +{pause}  edge -> bob  again INVITE\n" for pause in (0.5, 1, 2))
_TIMED_OUT = """
    +4     edge -> alice  408
    +.010  alice -> edge  ACK
"""
_RING_TIMER = """
    +{after}  edge -> bob    CANCEL
    +.020  bob -> edge    200 OK for=CANCEL
    +.001  bob -> edge    487 for=INVITE
    +.001  edge -> bob    ACK
    +.001  edge -> alice  {answer}
    +.010  alice -> edge  ACK
"""
_UNANSWERED_ANSWER = """
    +2     bob -> edge    200 OK  sdp=PCMA
    +.001  edge -> alice  200
"""
_REPEATED = """
    +.5    bob -> edge    again 200
    +.001  edge -> alice  again 200
    +1     bob -> edge    again 200
    +.001  edge -> alice  again 200
"""
_BIG = "".join(f"        X-Filler-{n}: {'x' * 200}\n" for n in range(8))
_TWO_ROUTES = """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060     agent=101 node=edge cluster
    gw1   = 203.0.113.1:5060    node=gateway
    gw2   = 203.0.113.2:5060    node=gateway

    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp
    +.002  edge -> alice  100
    +.001  edge -> gw1    INVITE sip:18660333777@203.0.113.1
{first}
    +.001  edge -> gw2    INVITE sip:18660333777@203.0.113.2
    +.080  gw2 -> edge    180
    +.001  edge -> alice  180
    +2     gw2 -> edge    200 OK sdp
    +.001  edge -> alice  200
    +.030  alice -> edge  ACK
    +.001  edge -> gw2    ACK
    +20    alice -> edge  BYE
    +.001  edge -> gw2    BYE
    +.020  gw2 -> edge    200
    +.001  edge -> alice  200
"""
_TIMED_CALL = (
    NODES + DIAL + RING
    + ANSWER.replace("200 OK  sdp=PCMA", "200 OK  sdp=PCMA\n        Session-Expires: 90;refresher=uac")
)  # fmt: skip
_REFRESH = """
    +45    alice -> edge  UPDATE
        Session-Expires: 90;refresher=uac
    +.001  edge -> bob    UPDATE
    +.020  bob -> edge    {answer}
        Session-Expires: 90;refresher=uac
    +.001  edge -> alice  {answer}
"""

_FAILED_REFRESH = """
    +45    alice -> edge  UPDATE
        Session-Expires: 90;refresher=uac
    +.001  edge -> bob    UPDATE
    +4     edge -> alice  408
"""

CASES = {
    "no-response": Case(
        shows=(
            _TO_EDGE + _AGAIN + _TIMED_OUT,
            # the phone itself is not answered
            """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060
    0.0,0.5,1.5,3.5,7.5 alice -> edge REGISTER sip:acme.example from=1001 expires=3600
""",
            # asked once over TCP, and a node gave up
            _TO_EDGE.replace("203.0.113.9:5060", "203.0.113.9:5060 tcp") + _TIMED_OUT,
            # the caller gave up
            _TO_EDGE + _AGAIN + """
    +5     alice -> edge  CANCEL
    +.001  edge -> alice  200 OK for=CANCEL
    +.001  edge -> alice  487 for=INVITE
    +.010  alice -> edge  ACK
""",
        ),
        near=(
            # slow, but answered
            _TO_EDGE + _AGAIN + RING + ANSWER + hang_up(),
            # one request at the end of a capture
            "    alice = 198.51.100.23:5060\n    edge = 192.0.2.10:5060\n    0.0 alice -> edge INVITE sip:1@acme.example sdp\n",
            # the first route was silent, the second one refused
            _TWO_ROUTES.format(first=_AGAIN.replace("bob", "gw1")).split("    +.080")[0] + refused("486").replace("bob", "gw2"),
            # ringing, then a timer
            NODES + DIAL + RING + _RING_TIMER.format(after=30, answer="408"),
        ),
    ),
    "message-too-large": Case(
        shows=(
            NODES + DIAL + refused("513 Message Too Large"),
            # a smaller request to the same node was answered
            """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060     node=edge cluster
    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp
    +.002  edge -> alice  407 auth=n1
    +.010  alice -> edge  ACK
    +.010  alice -> edge  INVITE sip:18660333777@acme.example  auth=n1 sdp
""" + _BIG + "    +.5,+1,+2 alice -> edge again INVITE\n",
        ),
        near=(
            # large, and nothing from there was ever answered: it may be down
            _TO_EDGE.rstrip() + "\n" + _BIG + _AGAIN + _TIMED_OUT,
            # large, and answered
            NODES + DIAL.replace("sdp=PCMU,PCMA", "sdp=PCMU,PCMA\n" + _BIG.rstrip("\n"), 1) + RING + ANSWER + hang_up(),
        ),
    ),
    "stuck-after-trying": Case(
        shows=(
            NODES + DIAL + CANCEL.replace("+.001  alice -> edge  CANCEL", "+20    alice -> edge  CANCEL"),
            NODES + DIAL + _RING_TIMER.format(after=10, answer="408"),
            # the node that took the call reports the time-out itself
            _TO_EDGE.split("    +.001  edge -> bob")[0] + "    +32 edge -> alice 408\n    +.01 alice -> edge ACK\n",
            # the capture goes on for long after it
            NODES + DIAL + wait(60),
        ),
        near=(
            # an impatient caller
            NODES + DIAL + CANCEL.replace("+.001  alice -> edge  CANCEL", "+3     alice -> edge  CANCEL"),
            NODES + DIAL + RING + CANCEL.replace("+.001  alice -> edge  CANCEL", "+20    alice -> edge  CANCEL"),
            HEALTHY,
        ),
    ),
    "cancel-unanswered": Case(
        shows=(
            NODES + DIAL + RING + """
    +5     alice -> edge  CANCEL
    +.001  edge -> alice  200 OK for=CANCEL
    +.001  edge -> alice  487 for=INVITE
    +.010  alice -> edge  ACK
    +.001  edge -> bob    CANCEL
    +.5    edge -> bob    again CANCEL
    +1     edge -> bob    again CANCEL
""",
        ),
        near=(
            NODES + DIAL + RING + CANCEL,
            # sent twice, then confirmed
            NODES + DIAL + RING + CANCEL.replace(
                "    +.020  bob -> edge    200 OK for=CANCEL",
                "    +.5 edge -> bob again CANCEL\n    +.02 bob -> edge 200 OK for=CANCEL",
            ),
        ),
    ),
    "caller-cancelled": Case(
        shows=(
            NODES + DIAL + RING + CANCEL,
            NODES + DIAL + CANCEL,
        ),
        near=(
            # a node's own timer
            NODES + DIAL + RING + _RING_TIMER.format(after=30, answer="480"),
            # this phone of a group did not get the call, another one did
            NODES + DIAL + RING + CANCEL.replace(
                "alice -> edge  CANCEL", 'alice -> edge  CANCEL\n        Reason: SIP;cause=200;text="Call completed elsewhere"'
            ),
            HEALTHY,
        ),
    ),
    "no-answer": Case(
        shows=(
            NODES + DIAL + RING + _RING_TIMER.format(after=30, answer="408"),
            NODES + DIAL + RING + _RING_TIMER.format(after=30, answer="480"),
            NODES + DIAL + RING + refused("480", after="+25"),
            NODES + DIAL + RING + refused("480", 'Reason: Q.850;cause=19;text="No answer"', after="+5"),
            NODES + DIAL + RING + refused("487", after="+30"),
        ),
        near=(
            NODES + DIAL + refused("480"),
            NODES + DIAL + RING + CANCEL,
            NODES + DIAL + RING + refused("480", after="+1"),
            NODES + DIAL + RING + refused("486", after="+25"),
        ),
    ),
    "ack-missing": Case(
        shows=(
            NODES + DIAL + RING + _UNANSWERED_ANSWER + _REPEATED,
            # the called side gives up at 32 s
            NODES + DIAL + RING + _UNANSWERED_ANSWER + hang_up(32, "bob"),
            # lost behind the edge
            NODES + DIAL + RING + _UNANSWERED_ANSWER + "    +.03 alice -> edge ACK\n"
            "    +.5 bob -> edge again 200\n    +1 bob -> edge again 200\n",
        ),
        near=(
            # repeated once because the first was lost, then acknowledged
            NODES + DIAL + RING + _UNANSWERED_ANSWER
            + "    +.5 edge -> alice again 200\n    +.03 alice -> edge ACK\n    +.001 edge -> bob ACK\n" + hang_up(),
            # no ACK in the capture, and the caller hangs up at 32 s: proves nothing
            NODES + DIAL + RING + _UNANSWERED_ANSWER + hang_up(32, "alice"),
            # the call lived on: the ACK took another path
            NODES + DIAL + RING + _UNANSWERED_ANSWER + "    +.5 edge -> alice again 200\n" + hang_up(120),
            HEALTHY,
        ),
    ),
    "session-timer-expired": Case(
        shows=(
            _TIMED_CALL + hang_up(62, "bob"),
            _TIMED_CALL + hang_up(90, "alice"),
            _TIMED_CALL + _FAILED_REFRESH + hang_up(1),
            NODES + TALK + hang_up(200, "bob", 'Reason: SIP;cause=408;text="Session timer expired"'),
            NODES + TALK + hang_up(1800, "bob"),
        ),
        near=(
            _TIMED_CALL + hang_up(30),
            _TIMED_CALL + _REFRESH.format(answer="200 OK") + hang_up(40),
            NODES + TALK + hang_up(1795),
            # refreshed all along, and hung up in the usual second by chance
            NODES + TALK + _REFRESH.format(answer="200 OK").replace("        Session-Expires: 90;refresher=uac\n", "")
            + hang_up(1754.9),
        ),
    ),
    "bye-unanswered": Case(
        shows=(
            NODES + TALK + "    +30 alice -> edge BYE\n    +.001 edge -> bob BYE\n"
            "    +.5 edge -> bob again BYE\n    +1 edge -> bob again BYE\n",
            NODES + TALK + "    +30 alice -> edge BYE\n    +.001 edge -> bob BYE\n    +5 edge -> alice 408\n",
        ),
        near=(
            HEALTHY,
            # the capture ends with it
            NODES + TALK + "    +30 alice -> edge BYE\n    +.001 edge -> bob BYE\n",
            # repeated, then answered
            NODES + TALK + "    +30 alice -> edge BYE\n    +.001 edge -> bob BYE\n    +.5 edge -> bob again BYE\n"
            "    +.02 bob -> edge 200\n    +.001 edge -> alice 200\n",
        ),
    ),
    "failover-used": Case(
        shows=(
            _TWO_ROUTES.format(first="    +.1 gw1 -> edge 503\n    +.001 edge -> gw1 ACK"),
            _TWO_ROUTES.format(first=_AGAIN.replace("bob", "gw1")),
            # the phone itself goes to the next server, with the next CSeq
            """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060     agent=101 node=edge cluster
    edge2 = 192.0.2.11:5060     agent=102 node=edge cluster

    0.000  alice -> edge   INVITE sip:18660333777@acme.example  from=12103355787 sdp
    +.002  edge -> alice   503
    +.010  alice -> edge   ACK
    +.010  alice -> edge2  INVITE sip:18660333777@acme.example sdp
    +.100  edge2 -> alice  180
    +2     edge2 -> alice  200 OK sdp
    +.030  alice -> edge2  ACK
    +20    alice -> edge2  BYE
    +.010  edge2 -> alice  200
""",
        ),
        near=(
            # forwarded because it was busy
            _TWO_ROUTES.format(first="    +.1 gw1 -> edge 486\n    +.001 edge -> gw1 ACK"),
            # rang at both, one picked up
            _TWO_ROUTES.format(first="").replace("    +.080  gw2", "    +.02 gw1 -> edge 180\n    +.080  gw2"),
            HEALTHY,
        ),
    ),
    "slow-response": Case(
        shows=(
            # held by the edge
            NODES + DIAL.replace("+.001  edge -> bob    INVITE", "+2.5   edge -> bob    INVITE") + RING + ANSWER + hang_up(),
            # the far side slow to respond at all
            _TO_EDGE + _AGAIN + RING + ANSWER + hang_up(),
            # a registrar that thinks
            """
    alice = 198.51.100.23:5060
    edge  = 192.0.2.10:5060  agent=101 node=edge cluster
    0.0   alice -> edge  REGISTER sip:acme.example from=1001 expires=3600
    +3    edge -> alice  200 OK
""",
        ),
        near=(
            HEALTHY,
            # it rings for long
            NODES + DIAL + RING + ANSWER.replace("+2     bob", "+40    bob") + hang_up(),
            # the next route after a refusal that took its time
            _TWO_ROUTES.format(first="    +.01 gw1 -> edge 100\n    +4 gw1 -> edge 503\n    +.001 edge -> gw1 ACK"),
        ),
    ),
    "long-post-dial-delay": Case(
        shows=(NODES + DIAL + RING.replace("+.080", "+14") + ANSWER + hang_up(),),
        near=(
            HEALTHY,
            NODES + DIAL + RING.replace("+.080", "+6") + ANSWER + hang_up(),
            NODES + DIAL + refused("486", after="+15"),
        ),
    ),
    "short-call": Case(
        shows=(NODES + TALK + hang_up(1),),
        near=(HEALTHY, NODES + DIAL + RING + CANCEL),
    ),
    "normal": Case(
        shows=(
            HEALTHY,
            """
    alice = 198.51.100.23:5060
    edge  = 192.0.2.10:5060  agent=101
    0.0   alice -> edge  REGISTER sip:acme.example from=1001 expires=3600
    +.01  edge -> alice  200 OK expires=3600
""",
            # any answer shows that the other side lives
            """
    alice = 198.51.100.23:5060
    edge  = 192.0.2.10:5060  agent=101
    0.0   edge -> alice  OPTIONS sip:1001@198.51.100.23 from=ping
    +.02  alice -> edge  404 Not Found
""",
        ),
        near=(
            NODES + DIAL + refused("486"),
            NODES + TALK + hang_up(1),
            # still talking
            NODES + TALK,
        ),
    ),
}  # fmt: skip
