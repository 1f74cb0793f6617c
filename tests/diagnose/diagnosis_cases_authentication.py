"""Credentials, challenges, registrations: what must be recognised, and what looks much like it."""

from __future__ import annotations

from diagnosis_ladders import ANSWER, DIAL, NODES, RING, Case, hang_up, refused

REGISTRAR = """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060     agent=101 node=edge cluster
"""
_FIRST = """
    0.0   alice -> edge  REGISTER sip:acme.example from=1001 expires=3600
    +.01  edge -> alice  401 Unauthorized auth=n1
"""
_ACCEPTED = """
    +.05  alice -> edge  REGISTER sip:acme.example auth=n1 expires=3600
    +.01  edge -> alice  200 OK expires=3600
"""
_TRY_AGAIN = "    +{after}  alice -> edge  REGISTER sip:acme.example auth={nonce} expires=3600\n"
_CHALLENGED_CALL = """
    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp
    +.002  edge -> alice  407 auth=n1
    +.010  alice -> edge  ACK
"""
_CALL_WITH_CREDENTIALS = """
    +.010  alice -> edge  INVITE sip:18660333777@acme.example  auth=n1 sdp
"""


def _register(at: float, contact: str, agent: str, listed: str = "", expires: int = 3600) -> str:
    return f"""
    {at}  alice -> edge  REGISTER sip:acme.example from=1001 contact=<sip:1001@{contact}> expires={expires}
        User-Agent: {agent}
    +.01  edge -> alice  200 OK
        Contact: {listed or f"<sip:1001@{contact}>;expires={expires}"}
"""


def _two(at: float, contact: str, agent: str) -> str:
    both = "<sip:1001@198.51.100.23:5060>;expires=3600, <sip:1001@198.51.100.77:5060>;expires=3600"
    return _register(at, contact, agent, both)


CASES = {
    "credentials-rejected": Case(
        shows=(
            # the same nonce again
            REGISTRAR + _FIRST + _TRY_AGAIN.format(after=0.05, nonce="n1") + "    +.01 edge -> alice 401 auth=n1\n",
            # a new nonce at once, as Kamailio does
            REGISTRAR + _FIRST + _TRY_AGAIN.format(after=0.05, nonce="n1") + "    +.01 edge -> alice 401 auth=n2\n",
            NODES + _CHALLENGED_CALL + _CALL_WITH_CREDENTIALS
            + "    +.002  edge -> alice  407 auth=n1\n    +.01 alice -> edge ACK\n",
            # in words
            NODES + _CHALLENGED_CALL + _CALL_WITH_CREDENTIALS
            + "    +.002  edge -> alice  403 Wrong password\n    +.01 alice -> edge ACK\n",
            # the registrar does not know the user
            REGISTRAR + _FIRST + _TRY_AGAIN.format(after=0.05, nonce="n1") + "    +.01 edge -> alice 404 Not Found\n",
        ),
        near=(
            REGISTRAR + _FIRST + _ACCEPTED,
            NODES + _CHALLENGED_CALL + _CALL_WITH_CREDENTIALS
            + "    +.002  edge -> alice  403 Forbidden\n    +.01 alice -> edge ACK\n",
            # stale: the password may be right
            REGISTRAR + _FIRST + _TRY_AGAIN.format(after=0.05, nonce="n1") + "    +.01 edge -> alice 401 auth=n2 stale\n",
            # another server asks, for another realm
            NODES + _CHALLENGED_CALL + _CALL_WITH_CREDENTIALS
            + """    +.002  edge -> alice  407
                        Proxy-Authenticate: Digest realm="carrier", nonce="c1"
    +.01 alice -> edge ACK
""",
        ),
    ),
    "nonce-expired": Case(
        shows=(
            REGISTRAR + _FIRST + _TRY_AGAIN.format(after=0.05, nonce="n1") + "    +.01 edge -> alice 401 auth=n2 stale\n",
            # long after the challenge, with a new nonce
            REGISTRAR + _FIRST + _TRY_AGAIN.format(after=400, nonce="n1") + "    +.01 edge -> alice 401 auth=n2\n",
            # a nonce from before the capture
            REGISTRAR + "    0.0 alice -> edge REGISTER sip:acme.example from=1001 auth=old expires=3600\n"
            "    +.01 edge -> alice 401 auth=n2\n",
            REGISTRAR + _FIRST + _TRY_AGAIN.format(after=0.05, nonce="n1") + "    +.01 edge -> alice 403 Nonce expired\n",
        ),
        near=(
            # the refresh of a registration: stale, then accepted
            REGISTRAR + _FIRST + _ACCEPTED + _TRY_AGAIN.format(after=1800, nonce="n1")
            + "    +.01 edge -> alice 401 auth=n2 stale\n"
            + _TRY_AGAIN.format(after=0.05, nonce="n2") + "    +.01 edge -> alice 200 OK expires=3600\n",
            REGISTRAR + _FIRST + _TRY_AGAIN.format(after=0.05, nonce="n1") + "    +.01 edge -> alice 401 auth=n1\n",
        ),
    ),
    "no-credentials-sent": Case(
        shows=(
            REGISTRAR + _FIRST,
            NODES + _CHALLENGED_CALL,
            # for another realm only
            NODES + _CHALLENGED_CALL + _CALL_WITH_CREDENTIALS
            + """    +.002  edge -> alice  407
                        Proxy-Authenticate: Digest realm="carrier", nonce="c1"
    +.01 alice -> edge ACK
""",
        ),
        near=(
            REGISTRAR + _FIRST + _ACCEPTED,
            # a check of liveness needs no credentials
            REGISTRAR + "    0.0 alice -> edge OPTIONS sip:acme.example from=1001\n    +.01 edge -> alice 401 auth=n1\n",
            NODES + _CHALLENGED_CALL + _CALL_WITH_CREDENTIALS + """
    +.002  edge -> alice  100
    +.001  edge -> bob    INVITE sip:18660333777@203.0.113.9
""" + RING + ANSWER + hang_up(),
        ),
    ),
    "not-registered": Case(
        shows=(
            NODES + DIAL + refused("480", 'Reason: Q.850;cause=20;text="Subscriber absent"'),
            NODES + DIAL + refused("404 User not registered"),
            NODES + DIAL + refused("480 User offline"),
        ),
        near=(
            NODES + DIAL + refused("480"),
            NODES + DIAL + refused("404"),
            # this is about the caller
            NODES + DIAL + refused("403 Caller not registered"),
        ),
    ),
    "registration-too-brief": Case(
        shows=(
            REGISTRAR + """
    0.0   alice -> edge  REGISTER sip:acme.example from=1001 expires=30
    +.01  edge -> alice  423 Interval Too Brief
        Min-Expires: 300
""",
        ),
        near=(
            REGISTRAR + """
    0.0   alice -> edge  REGISTER sip:acme.example from=1001 expires=30
    +.01  edge -> alice  423 Interval Too Brief
        Min-Expires: 300
    +.05  alice -> edge  REGISTER sip:acme.example expires=300
    +.01  edge -> alice  200 OK
""",
        ),
    ),
    "registration-flapping": Case(
        shows=(
            # comes and goes
            REGISTRAR + "".join(_register(at, "198.51.100.23:5060", "Yealink", expires=expires)
                                for at, expires in ((0, 3600), (40, 0), (60, 3600), (90, 0), (120, 3600))),
            # a new port each time
            REGISTRAR + "".join(_register(60 * step, f"198.51.100.23:{40000 + step}", "Yealink") for step in range(5)),
            # far too often
            REGISTRAR + "".join(_register(20 * step, "198.51.100.23:5060", "Yealink") for step in range(6)),
        ),
        near=(
            # refreshed at half time
            REGISTRAR + "".join(_register(30 * step, "198.51.100.23:5060", "Yealink", expires=60) for step in range(8)),
            # moved house once
            REGISTRAR + _register(0, "198.51.100.23:5060", "Yealink") + _register(600, "198.51.100.99:5060", "Yealink")
            + _register(1800, "198.51.100.99:5060", "Yealink"),
            # switched off in the evening
            REGISTRAR + _register(0, "198.51.100.23:5060", "Yealink")
            + _register(1700, "198.51.100.23:5060", "Yealink", expires=0),
        ),
    ),
    "registrations-overwrite": Case(
        shows=(
            REGISTRAR + "".join(
                _register(300 * turn, *(("198.51.100.23:5060", "Yealink"), ("198.51.100.77:5060", "Zoiper"))[turn % 2])
                for turn in range(5)
            ),
        ),
        near=(
            # both stay
            REGISTRAR + "".join(
                _two(300 * turn, *(("198.51.100.23:5060", "Yealink"), ("198.51.100.77:5060", "Zoiper"))[turn % 2])
                for turn in range(5)
            ),
            # a new phone took over for good
            REGISTRAR + _register(0, "198.51.100.23:5060", "Yealink") + _register(300, "198.51.100.77:5060", "Zoiper")
            + _register(600, "198.51.100.77:5060", "Zoiper"),
        ),
    ),
    "caller-not-allowed": Case(
        shows=(
            NODES + DIAL + refused("403 Forbidden"),
            NODES + DIAL + refused("403 Call rejected", "Reason: Q.850;cause=21"),
            NODES + DIAL + refused("500", "Reason: Q.850;cause=57"),
            NODES + DIAL + refused("433 Anonymity Disallowed"),
        ),
        near=(
            NODES + DIAL + refused("403 Invalid password"),
            NODES + DIAL + refused("603 Decline"),
        ),
    ),
}  # fmt: skip
