"""John Doe, subscriber 0, first; then what takes longest, so that the recording ends soon after the last begins."""

from __future__ import annotations

from dataclasses import replace

from scripts.record_demo.dialogue import Party
from scripts.record_demo.scenarios.registry import scenario
from scripts.record_demo.stage import Stage, register


@scenario
def premium_not_allowed(stage: Stage) -> None:
    """edge1 refuses a premium number by policy."""
    phone = stage.alone(stage.phone(), Party("18660333777", stage.plan.gateway(0), ""))
    phone.call()
    phone.refused(403)


@scenario
def session_timer_expired(stage: Stage) -> None:
    """Answered with a session interval of 90 s; nobody refreshes, and the callee's side drops the call at its end."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call(headers=("Supported: timer", "Session-Expires: 90", "Min-SE: 90"))
    phone.answered()
    phone.is_hung_up()
    gateway.rings()
    gateway.answers(headers=("Require: timer", "Session-Expires: 90;refresher=uac"))
    gateway.talk(89.9)
    gateway.hang_up()


@scenario
def missing_ack(stage: Stage) -> None:
    """The caller's ACK never comes: the 200 is sent again and again, and the callee's side gives up after 32 s."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call()
    phone.answered(ack=False)
    phone.is_hung_up()
    gateway.rings()
    gateway.answers(acked=False)
    gateway.hang_up()


@scenario
def no_answer(stage: Stage) -> None:
    """Rings until core1's timer ends the call."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call()
    phone.refused(408)
    gateway.rings(keep_vias=3)
    gateway.is_cancelled()


@scenario
def stuck_after_trying(stage: Stage) -> None:
    """The gateway says 100 and nothing else, not even to the CANCEL."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call()
    phone.refused(408)
    gateway.receive("INVITE")
    gateway.reply(100, "Trying")
    gateway.wait(0.2)


@scenario
def cancel_unanswered(stage: Stage) -> None:
    """The caller gives up while it rings; the gateway answers neither the CANCEL nor the INVITE."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call()
    phone.expect(100, optional=True)
    phone.expect(180)
    phone.wait(2)
    phone.send_cancel()
    phone.expect(200)
    phone.wait(0.1)
    gateway.rings()
    gateway.wait(0.2)


@scenario
def long_post_dial_delay(stage: Stage) -> None:
    """Twelve seconds of silence before it rings."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier(via="west"))
    phone.call()
    phone.answered()
    phone.talk(3)
    phone.hang_up()
    gateway.rings(12.0)
    gateway.answers()
    gateway.is_hung_up()


@scenario
def no_response(stage: Stage) -> None:
    """The gateway is down: INVITE goes out again and again, nothing comes back."""
    phone = stage.alone(stage.phone(), stage.carrier())
    phone.call()
    phone.refused(408)


@scenario
def failover(stage: Stage) -> None:
    """gw-east has no capacity (503), gw-west takes the call."""
    second = stage.backup()
    first = stage.carrier(backup=second)
    phone, other = stage.leg(stage.phone(), replace(second, number=first.number))
    gateway = stage.elsewhere(first, phone.me)
    phone.call()
    phone.answered()
    phone.talk(4)
    phone.hang_up()
    gateway.refuses(503, "Service Unavailable", 'Reason: Q.850;cause=34;text="No circuit/channel available"')
    other.rings()
    other.answers()
    other.is_hung_up()


@scenario
def failover_from_dead_gateway(stage: Stage) -> None:
    """gw-east does not answer at all; after 6 s core1 tries gw-west, which takes the call."""
    second = stage.backup()
    first = stage.carrier(backup=second)
    phone, other = stage.leg(stage.phone(), replace(second, number=first.number))
    phone.call()
    phone.answered()
    phone.talk(4)
    phone.hang_up()
    other.rings()
    other.answers()
    other.is_hung_up()


@scenario
def failover_exhausted(stage: Stage) -> None:
    """Both gateways say 503: no circuits. Towards the caller a proxy makes that a 500 (RFC 3261 section 16.7)."""
    second = stage.backup()
    first = stage.carrier(backup=second)
    phone, other = stage.leg(stage.phone(), replace(second, number=first.number))
    gateway = stage.elsewhere(first, phone.me)
    phone.call()
    phone.refused(500)
    for side in (gateway, other):
        side.refuses(503, "Service Unavailable", 'Reason: Q.850;cause=34;text="No circuit/channel available"')


@scenario
def bye_unanswered(stage: Stage) -> None:
    """The callee's side is gone when the caller hangs up."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call()
    phone.answered()
    phone.talk(3)
    phone.within("BYE")
    phone.expect(408)
    gateway.rings()
    gateway.answers()


@scenario
def nonce_expired(stage: Stage) -> None:
    """A phone refreshes its registration with the nonce of long ago, and gives up when challenged anew."""
    side = stage.registration(stage.phone())
    side.wait(14)
    register(side, 600, credentials=True)
    side.expect(401)
