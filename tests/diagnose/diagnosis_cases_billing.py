"""What the billing engine says: refusals, silence, and xDRs that are not the call."""

from __future__ import annotations

from diagnosis_ladders import ANSWER, DIAL, HEALTHY, NODES, RING, Case, hang_up, refused, wait

_CALL = """
    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp=PCMU,PCMA
    +.002  edge -> alice  100
"""
_ASKED = "    +.001  edge $ request engine=ringback account=12103355787: 12103355787 calls 18660333777\n"
_ALLOWED = _ASKED + "    +.004  edge $ decision engine=ringback result=allowed max_seconds=3600: Allowed for 3600 s\n"
_BILLED = (
    "    +.002  edge $ stop engine=ringback seconds={seconds}: The call has ended after {seconds} s\n"
    "    +.010  edge $ xdr engine=ringback xdr=2204 amount=0.45 seconds={seconds}: Charged 0.45 USD\n"
)
_STARTED = "    +.001  edge $ start engine=ringback: The call was answered\n"


def decided(
    reason: str, answer: str = "403 Forbidden", step: str = "status", fields: str = "", engine: str = "ringback"
) -> str:
    """The edge asks, is refused, and refuses."""
    return (
        NODES
        + _CALL
        + _ASKED
        + f"""
    +.001  edge $ {step} engine={engine} {fields}: what the engine found
    +.002  edge $ decision engine={engine} result=refused reason={reason} link_type=account link_id=7: Refused
    +.010  edge -> alice  {answer}
    +.010  alice -> edge  ACK
"""
    )


def _said(fields: str, answer: str = "403 Forbidden") -> str:
    """Another engine's one line, under its own name."""
    return (
        NODES
        + _CALL
        + f"""
    +.004  oldbill $ - asked_by=edge {fields}: call rejected
    +.010  edge -> alice  {answer}
    +.010  alice -> edge  ACK
"""
    )


_RATE = "prefix=1866 destination=Premium_numbers_866 i_rate=12"
_NAMES = "tariff=Home_voice product=Home_Phone"
FORBIDDEN = decided("destination-forbidden", "403 Destination forbidden", "rate", f"{_RATE} {_NAMES}")
UNNAMED = decided("destination-forbidden", "403 Destination forbidden", "rate", _RATE)  # an older line
_ALLOWED_AND_BUSY = (
    NODES + _CALL + _ALLOWED + "    +.001 edge -> bob INVITE sip:18660333777@203.0.113.9\n" + refused("486")
)
# Refused without credentials, allowed with them, and then lost for another reason.
_SECOND_TRY = (
    decided("account-blocked")
    + """
    +.1    alice -> edge  INVITE sip:18660333777@acme.example sdp new
    +.002  edge -> alice  100
"""
    + _ALLOWED
    + "    +.001 edge -> bob INVITE sip:18660333777@203.0.113.9\n"
    + refused("486")
)
# The engine refused a leg that the edge forwarded; the phone that rang beside it was busy.
_OTHER_BRANCH = (
    NODES
    + _CALL
    + _ALLOWED
    + "    +.001 edge -> bob INVITE sip:18660333777@203.0.113.9\n"
    + """
    +.001  edge $ request engine=ringback: a second branch
    +.002  edge $ decision engine=ringback result=refused reason=destination-forbidden: Refused
"""
    + refused("486")
)
_REGISTER = (
    NODES
    + """
    0.000  alice -> edge  REGISTER sip:acme.example from=12103355787
    +.001  edge $ request engine=ringback account=12103355787: 12103355787 registers
    +.001  edge $ decision engine=ringback result=refused reason={reason}: Refused
    +.010  edge -> alice  403 Forbidden
"""
)
_PLAIN_403 = NODES + _CALL + "    +.010 edge -> alice 403 Forbidden\n    +.010 alice -> edge ACK\n"
_UNREACHABLE = (
    NODES
    + _CALL
    + """
    +2     edge ! error {words}
    +.010  edge -> alice  {answer}
    +.010  alice -> edge  ACK
"""
)
_UP = _STARTED.join((NODES + DIAL + _ALLOWED + RING + ANSWER, ""))
BILLED_CALL = _UP + hang_up() + _BILLED.format(seconds=30) + wait(90)
_NOT_BILLED = _UP + hang_up() + wait(90)

_STATUSES = (
    "account-blocked", "account-suspended", "account-closed", "account-expired", "account-not-active-yet",
    "customer-blocked", "customer-suspended", "customer-limited", "insufficient-balance", "credit-limit-reached",
)  # fmt: skip
_STEPS = {"insufficient-balance": "balance", "credit-limit-reached": "balance"}

CASES = {
    **{
        reason: Case(
            shows=(decided(reason, step=_STEPS.get(reason, "status")), decided(reason, "503 Try later")),
            near=(_PLAIN_403, FORBIDDEN, BILLED_CALL),
        )
        for reason in _STATUSES
    },
    "destination-forbidden": Case(
        shows=(
            FORBIDDEN, UNNAMED, decided("destination-forbidden", "486 Busy Here"), _said("result=refused reason=cld_blocked"),
            _said("h323_return_code=9"), _said("result=rejected cause=OUTGOING_CALL_BARRED", "480 Barred"),
        ),
        near=(_PLAIN_403, _ALLOWED_AND_BUSY, _OTHER_BRANCH, BILLED_CALL, decided("destination-not-in-tariff")),
    ),
    "destination-not-in-tariff": Case(
        shows=(decided("destination-not-in-tariff", step="rate"), _said("result=refused reason=UNAUTHORIZED_DESTINATION")),
        near=(FORBIDDEN, NODES + DIAL + refused("404 No route to destination")),
    ),
    "account-unknown": Case(
        shows=(decided("account-unknown", "404 Not Found", "account"), _said("h323_return_code=1")),
        near=(NODES + DIAL + refused("404"), decided("account-closed")),
    ),
    "service-not-in-product": Case(
        shows=(decided("service-not-in-product", step="product"), _said("result=refused reason=FACILITY_NOT_SUBSCRIBED")),
        near=(_PLAIN_403, decided("node-not-in-product")),
    ),
    "node-not-in-product": Case(
        shows=(decided("node-not-in-product", step="product"),), near=(_PLAIN_403, decided("service-not-in-product"))
    ),
    "node-unknown": Case(
        shows=(decided("node-unknown", "403 Node unknown", "request", "error_name=user_denied h323_return_code=8"),),
        near=(_PLAIN_403, decided("node-not-in-product")),
    ),
    "too-many-simultaneous-calls": Case(
        shows=(
            decided("too-many-simultaneous-calls", "403 Too many calls", "limit"),
            _said("result=refused error_name=in_use"),
        ),
        near=(NODES + DIAL + refused("403 CPS limit exceeded"), _ALLOWED_AND_BUSY),
    ),
    "billing-error": Case(
        shows=(decided("system-error", "503 Service Unavailable"), _said("h323_return_code=8", "500")),
        near=(NODES + DIAL + refused("500"), FORBIDDEN),
    ),
    "billing-refused": Case(
        shows=(decided("moon-phase"), _said("result=refused"), _said("result=refused reason=E4711")),
        near=(_PLAIN_403, FORBIDDEN, _SECOND_TRY, _said("result=allowed")),
    ),
    "billing-unreachable": Case(
        shows=(
            _UNREACHABLE.format(words="no answer from the billing engine within 2 s", answer="503 Service Unavailable"),
            _UNREACHABLE.format(words="RADIUS server timed out", answer="500 Server error"),
            NODES + _CALL + _ASKED + "    +3 edge -> alice 503 Service Unavailable\n    +.010 alice -> edge ACK\n",
            _UNREACHABLE.format(words="call ended", answer="503 Billing unavailable"),
            NODES + DIAL + "    +.1 edge ! warning billing-unreachable: call let through" + RING + ANSWER + hang_up(),
        ),
        near=(
            _UNREACHABLE.format(words="asked the billing engine, which answered", answer="503 Service Unavailable"),
            NODES + DIAL + refused("503"), FORBIDDEN, BILLED_CALL,
            # no answer from somebody else
            _UNREACHABLE.format(words="no answer from gw-east within 2 s", answer="503 Service Unavailable"),
        ),
    ),
    "rating-mismatch": Case(
        shows=(
            _UP + hang_up() + _BILLED.format(seconds=95) + wait(90),
            _NOT_BILLED,
            _NOT_BILLED.replace(_STARTED, ""),
            NODES + DIAL + _ALLOWED + refused("486") + _BILLED.format(seconds=12),
            _UP + hang_up() + _BILLED.format(seconds=95).replace("xdr=2204 amount=0.45 seconds=95", "xdr=2204") + wait(90),
            # our engine says that it charges nothing
            _UP + hang_up() + _BILLED.format(seconds=30).replace("xdr=2204 amount=0.45", "account=1") + wait(90),
        ),
        near=(
            BILLED_CALL, HEALTHY, HEALTHY + wait(90), FORBIDDEN, _ALLOWED_AND_BUSY,
            _UP + hang_up(),  # the xDR may come yet
            _UP + hang_up(0.4) + wait(90),  # nothing was said
            _UP + hang_up() + _BILLED.format(seconds=33) + wait(90),
            # an engine that logs its decisions only
            _NOT_BILLED.replace("engine=ringback", "engine=other").replace(_STARTED.replace("=ringback", "=other"), ""),
            NODES + DIAL + _ALLOWED + refused("486") + _BILLED.format(seconds=0).replace("amount=0.45", "amount=0"),
        ),
    ),
}  # fmt: skip

# Of issues that others have cases of.
ALSO = {"credentials-rejected": (decided("wrong-password"), _REGISTER.format(reason="wrong-password"))}
