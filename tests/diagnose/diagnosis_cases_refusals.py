"""Final responses and what they mean."""

from __future__ import annotations

from diagnosis_ladders import ANSWER, CANCEL, DIAL, HEALTHY, NODES, RING, TALK, Case, hang_up, refused


def _ended(answer: str, *headers: str) -> str:
    return NODES + DIAL + refused(answer, *headers)


def _q850(code: str, cause: int) -> str:
    return _ended(code, f"Reason: Q.850;cause={cause}")


_RETRIED = (
    """
    +.1    alice -> edge  INVITE sip:{number}@acme.example sdp new
    +.001  edge -> alice  100
    +.001  edge -> bob    INVITE sip:{number}@203.0.113.9
"""
    + RING
    + ANSWER
)
_OPTIONS = """
    alice = 198.51.100.23:5060
    edge  = 192.0.2.10:5060     agent=101
    0.0   edge -> alice  OPTIONS sip:1001@198.51.100.23 from=ping
    +.02  alice -> edge  {answer}
"""
_IN_CALL = """
    +5     alice -> edge  {method}
    +.001  edge -> bob    {method}
    +.020  bob -> edge    {answer}
    +.001  edge -> alice  {answer}
"""
_FORWARDED = (
    """
    carol = 203.0.113.77:5060
"""
    + NODES
    + DIAL
    + """
    +.02   bob -> edge    302
        Contact: <sip:15550001@203.0.113.77>
    +.001  edge -> bob    ACK
    +.001  edge -> carol  INVITE sip:15550001@203.0.113.77
    +.080  carol -> edge  180
    +.001  edge -> alice  180
    +2     carol -> edge  200 OK sdp=PCMA
    +.001  edge -> alice  200
    +.030  alice -> edge  ACK
    +.001  edge -> carol  ACK
    +20    alice -> edge  BYE
    +.001  edge -> carol  BYE
    +.020  carol -> edge  200
    +.001  edge -> alice  200
"""
)
_LOOP = """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060     agent=101 node=edge cluster
    core  = 192.0.2.20:5060     agent=102 node=core cluster
    sbc   = 192.0.2.30:5060     node=core cluster

    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp
    +.002  edge -> alice  100
    +.001  edge -> core   INVITE sip:18660333777@acme.example
    +.001  core -> sbc    INVITE sip:18660333777@acme.example
    +.001  sbc -> edge    INVITE sip:18660333777@acme.example
    +.001  edge -> sbc    {answer}
    +.001  sbc -> core    {answer}
    +.001  core -> edge   {answer}
    +.001  edge -> alice  {answer}
    +.010  alice -> edge  ACK
"""

CASES = {
    "callee-busy": Case(
        shows=(_ended("486"), _ended("600"), _q850("480", 17), _q850("503", 17), NODES + DIAL + RING + refused("486")),
        near=(_ended("480"), _ended("503"), NODES + DIAL + RING + CANCEL),
    ),
    "callee-declined": Case(
        shows=(_ended("603"), _ended("607 Unwanted"), _q850("480", 21), _ended("480 Do not disturb"), _ended("605 Whatever")),
        near=(_ended("486"), _q850("403", 21), _q850("603", 34)),
    ),
    "callee-unavailable": Case(
        shows=(_ended("480"), _q850("480", 18), _q850("480", 31), _ended("430 Flow Failed")),
        near=(_q850("480", 20), _q850("480", 17), NODES + DIAL + RING + refused("480", after="+30")),
    ),
    "number-unknown": Case(
        shows=(
            _ended("404"), _ended("604 Does Not Exist Anywhere"), _q850("404", 1), _q850("480", 1), _q850("500", 3),
            _ended("480 Unallocated number"),
        ),
        near=(_q850("404", 3), _ended("410 Gone"), _ended("404 No route to destination")),
    ),
    "number-incomplete": Case(
        shows=(_ended("484 Address Incomplete"), _q850("500", 28)),
        near=(
            _ended("404"),
            # overlap dialling: more digits followed
            _ended("484 Address Incomplete") + _RETRIED.format(number="186603337771") + hang_up(),
        ),
    ),
    "number-changed": Case(
        shows=(_ended("410 Gone"), _q850("500", 22)),
        near=(_ended("404"), _ended("301 Moved Permanently")),
    ),
    "ambiguous-number": Case(shows=(_ended("485 Ambiguous"),), near=(_ended("484 Address Incomplete"), _ended("404"))),
    "loop-detected": Case(
        shows=(_LOOP.format(answer="482 Loop Detected"), _ended("483 Too Many Hops"), _q850("500", 25)),
        near=(
            HEALTHY,
            # the second copy of a forked call is refused, the first one is answered
            NODES.replace("    edge", "    core  = 192.0.2.20:5060\n    edge") + DIAL + """
    +.001  edge -> core   INVITE sip:18660333777@192.0.2.20
    +.010  core -> edge   482 Request merged
    +.001  edge -> core   ACK
""" + RING + ANSWER + hang_up(),
        ),
    ),
    "no-route": Case(
        shows=(_q850("404", 3), _q850("503", 2), _ended("503 No gateway available"), _ended("404 No route to destination")),
        near=(_q850("404", 1), _ended("503"), _ended("404")),
    ),
    "network-congestion": Case(
        shows=(
            _ended("503"), _q850("503", 34), _q850("480", 42), _ended("403 CPS limit exceeded"),
            # cut while talking
            NODES + TALK + hang_up(30, "bob", 'Reason: Q.850;cause=41;text="Temporary failure"'),
        ),
        near=(
            _q850("503", 3), _q850("503", 17), _ended("502"),
            NODES + TALK + hang_up(30, "bob", 'Reason: Q.850;cause=16;text="Normal call clearing"'),
        ),
    ),
    "gateway-failure": Case(
        shows=(
            _ended("502"), _ended("504"), _q850("480", 27),
            NODES + TALK + hang_up(30, "bob", 'Reason: Q.850;cause=102;text="Recovery on timer expiry"'),
        ),
        near=(_ended("503"), _ended("500"), NODES + TALK + hang_up(30, "bob", "Reason: Q.850;cause=31")),
    ),
    "server-error": Case(
        shows=(_ended("500"), _ended("580 Precondition Failure"), _q850("500", 111)),
        near=(_ended("503"), _q850("500", 34), _ended("400 Bad Request"), _ended("501 Not Implemented")),
    ),
    "method-not-supported": Case(
        shows=(
            _ended("405 Method Not Allowed", "Allow: OPTIONS, REGISTER"),
            _OPTIONS.replace("OPTIONS", "SUBSCRIBE").format(answer="489 Bad Event"),
            _ended("501 Not Implemented"), _q850("500", 79),
            NODES + TALK + _IN_CALL.format(method="REFER", answer="405 Method Not Allowed") + hang_up(),
        ),
        near=(
            _OPTIONS.format(answer="405 Method Not Allowed"),
            NODES + TALK + _IN_CALL.format(method="UPDATE", answer="405 Method Not Allowed") + hang_up(),
            NODES + TALK + _IN_CALL.format(method="REFER", answer="202") + hang_up(),
        ),
    ),
    "extension-required": Case(
        shows=(_ended("420 Bad Extension", "Unsupported: 100rel"), _ended("421 Extension Required", "Require: timer")),
        near=(_ended("420 Bad Extension", "Unsupported: 100rel") + _RETRIED.format(number="18660333777") + hang_up(),),
    ),
    "malformed-request": Case(
        shows=(_ended("400 Missing Contact header"), _ended("416 Unsupported URI Scheme"), _ended("400")),
        near=(_ended("404"), _ended("400 Invalid number format"), _OPTIONS.format(answer="400 Bad Request")),
    ),
    "session-timer-too-small": Case(
        shows=(_ended("422 Session Interval Too Small", "Min-SE: 90"),),
        near=(_ended("422 Session Interval Too Small", "Min-SE: 90") + _RETRIED.format(number="18660333777") + hang_up(),),
    ),
    "redirected": Case(
        shows=(_ended("302", "Contact: <sip:15550001@203.0.113.77>"), _FORWARDED),
        near=(_ended("486"), HEALTHY),
    ),
    "dialog-lost": Case(
        shows=(
            # the refresh is refused and the call is dropped
            NODES + TALK + _IN_CALL.format(method="UPDATE", answer="481") + hang_up(0.5),
            # hung up after the other side had forgotten the call
            NODES + TALK + """
    +30    alice -> edge  BYE
    +.001  edge -> bob    BYE
    +.020  bob -> edge    481
    +.001  edge -> alice  481
""",
            # the call to be taken over is gone
            NODES + DIAL.replace("sdp=PCMU,PCMA", "sdp\n        Replaces: x;to-tag=a;from-tag=b", 1) + refused("481"),
        ),
        near=(
            # two BYEs crossed
            NODES + TALK + """
    +30    alice -> edge  BYE
    +.001  edge -> bob    BYE
    +.000  bob -> edge    BYE new
    +.001  edge -> alice  BYE
    +.020  bob -> edge    200
    +.001  edge -> alice  200
    +.020  alice -> edge  481
    +.001  edge -> bob    481
""",
            # a CANCEL that came too late
            NODES + DIAL + RING + """
    +2     bob -> edge    200 OK  sdp=PCMA
    +.001  edge -> alice  200
    +.000  alice -> edge  CANCEL
    +.001  edge -> alice  481 for=CANCEL
    +.030  alice -> edge  ACK
    +.001  edge -> bob    ACK
""" + hang_up(1),
            HEALTHY,
        ),
    ),
}  # fmt: skip
