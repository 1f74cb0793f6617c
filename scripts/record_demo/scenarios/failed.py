"""Calls that failed, and who said so."""

from __future__ import annotations

from dataclasses import replace

from ringback.demo.cast import DOMAIN, outside_number
from scripts.record_demo.dialogue import Party, sdp
from scripts.record_demo.scenarios.registry import scenario
from scripts.record_demo.stage import Stage


def refused_call(stage: Stage, status: int, phrase: str, *headers: str, offer: str | None = None) -> None:
    """The gateway refuses a call that the proxies let through."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call(offer=offer)
    phone.refused(500 if status == 503 else status)  # RFC 3261 section 16.7: a proxy passes no 503 on
    gateway.refuses(status, phrase, *headers)


@scenario
def busy(stage: Stage) -> None:
    """The callee is on another call."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call()
    phone.refused(486)
    gateway.rings(0.3)
    gateway.refuse_now(486, "Busy Here", 'Reason: Q.850;cause=17;text="User busy"')


@scenario
def declined(stage: Stage) -> None:
    """The callee presses Reject."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call()
    phone.refused(603)
    gateway.rings()
    gateway.wait(2)
    gateway.refuse_now(603, "Decline")


@scenario
def cancelled(stage: Stage) -> None:
    """The caller hangs up while it rings."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call()
    phone.expect(100, optional=True)
    phone.expect(180)
    phone.wait(4)
    phone.cancel()
    gateway.rings(keep_vias=3)
    gateway.is_cancelled()


@scenario
def wrong_password(stage: Stage) -> None:
    """A call with a wrong password: challenged again."""
    phone = stage.alone(stage.phone(), stage.carrier())
    phone.password = "wrong"
    phone.call()
    phone.refused(407)


@scenario
def no_credentials_sent(stage: Stage) -> None:
    """A phone that never answers the challenge."""
    phone = stage.alone(stage.phone(), stage.carrier())
    phone.call(challenged=False)
    phone.refused(407)


@scenario
def unknown_subscriber(stage: Stage) -> None:
    """A phone set up for another provider."""
    phone = stage.alone(replace(stage.phone(), number="12145550188"), stage.carrier())
    phone.call()
    phone.refused(403)


@scenario
def unknown_number(stage: Stage) -> None:
    """The carrier knows no such number."""
    refused_call(stage, 404, "Not Found", 'Reason: Q.850;cause=1;text="Unallocated (unassigned) number"')


@scenario
def number_incomplete(stage: Stage) -> None:
    """Digits are missing."""
    refused_call(stage, 484, "Address Incomplete", 'Reason: Q.850;cause=28;text="Invalid number format"')


@scenario
def number_changed(stage: Stage) -> None:
    """The number is gone for good."""
    refused_call(stage, 410, "Gone", 'Reason: Q.850;cause=22;text="Number changed"')


@scenario
def ambiguous_number(stage: Stage) -> None:
    """The callee's switch finds more than one."""
    refused_call(stage, 485, "Ambiguous")


@scenario
def callee_unavailable(stage: Stage) -> None:
    """The callee's mobile is off."""
    refused_call(stage, 480, "Temporarily Unavailable")


@scenario
def not_registered(stage: Stage) -> None:
    """A call from outside to a subscriber whose phone is not registered."""
    gateway = stage.alone(stage.carrier(via="west"), stage.phone())
    gateway.call(challenged=False)
    gateway.refused(480)


@scenario
def no_route(stage: Stage) -> None:
    """The carrier has no route to the destination."""
    refused_call(stage, 503, "Service Unavailable", 'Reason: Q.850;cause=3;text="No route to destination"')


@scenario
def network_congestion(stage: Stage) -> None:
    """The carrier is full."""
    refused_call(
        stage,
        503,
        "Service Unavailable",
        "Retry-After: 30",
        'Reason: Q.850;cause=42;text="Switching equipment congestion"',
    )


@scenario
def gateway_failure(stage: Stage) -> None:
    """The carrier's far end did not answer in time."""
    refused_call(stage, 504, "Server Time-out")


@scenario
def server_error(stage: Stage) -> None:
    """The gateway has an internal error."""
    refused_call(stage, 500, "Server Internal Error")


@scenario
def codec_mismatch(stage: Stage) -> None:
    """The phone offers G.722 only, which the gateway does not speak."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call(offer=sdp(phone.me.host, codecs="9 101"))
    phone.refused(488)
    gateway.refuses(488, "Not Acceptable Here", f'Warning: 305 {gateway.me.host} "Incompatible media format"')


@scenario
def encryption_mismatch(stage: Stage) -> None:
    """The phone insists on SRTP, the gateway has RTP only."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call(offer=sdp(phone.me.host, profile="RTP/SAVP"))
    phone.refused(488)
    gateway.refuses(488, "Not Acceptable Here", f'Warning: 302 {gateway.me.host} "Incompatible transport protocol"')


@scenario
def malformed_request(stage: Stage) -> None:
    """The gateway cannot read the request."""
    refused_call(stage, 400, "Bad Request", offer="v=0\no=broken\n")


@scenario
def message_too_large(stage: Stage) -> None:
    """The gateway refuses the size of the request."""
    refused_call(stage, 513, "Message Too Large")


@scenario
def extension_required(stage: Stage) -> None:
    """The caller requires an extension that the gateway does not have."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call(headers=("Require: 100rel",))
    phone.refused(420)
    gateway.refuses(420, "Bad Extension", "Unsupported: 100rel")


@scenario
def session_timer_too_small(stage: Stage) -> None:
    """The caller's session interval is below the gateway's least."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call(headers=("Supported: timer", "Session-Expires: 90"))
    phone.refused(422)
    gateway.refuses(422, "Session Interval Too Small", "Min-SE: 1800")


@scenario
def redirected(stage: Stage) -> None:
    """The callee has moved: 302 with the new number."""
    refused_call(stage, 302, "Moved Temporarily", f"Contact: <sip:{outside_number(300)}@{DOMAIN}>")


@scenario
def loop(stage: Stage) -> None:
    """edge1 and core1 each think the other has the number, until the hops run out."""
    phone = stage.alone(stage.phone(), Party("12105550199", stage.plan.core, ""))
    phone.max_forwards = 12
    phone.call()
    phone.refused(483)


@scenario
def dialog_lost(stage: Stage) -> None:
    """The callee's side restarted: it knows nothing of the call when the caller hangs up."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call()
    phone.answered()
    phone.talk(3)
    phone.within("BYE")
    phone.expect(481)
    gateway.rings()
    gateway.answers()
    gateway.receive("BYE")
    gateway.reply(481, "Call/Transaction Does Not Exist", in_dialog=True)
