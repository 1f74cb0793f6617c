"""Registrations, messages, subscriptions and pings."""

from __future__ import annotations

from ringback.demo.cast import DOMAIN
from scripts.record_demo.dialogue import Side
from scripts.record_demo.scenarios.registry import scenario
from scripts.record_demo.stage import Stage, register


@scenario
def registration(stage: Stage) -> None:
    """A phone registers."""
    stage.registration(stage.phone())


@scenario
def unregistration(stage: Stage) -> None:
    """A phone signs off."""
    stage.registration(stage.phone(), expires=0)


@scenario
def registration_wrong_password(stage: Stage) -> None:
    """A wrong password; the proxy challenges again, with a new nonce because a second has passed."""
    side = stage.registration(stage.phone(), succeeds=False)
    side.password = "wrong"
    side.wait(1.3)
    register(side, 600, credentials=True)
    side.expect(401)


@scenario
def registration_too_brief(stage: Stage) -> None:
    """A phone asks for 30 s, less than the proxy grants."""
    phone = stage.phone()
    side = stage.alone(phone, phone)
    register(side, 30)
    side.expect(423)


@scenario
def registration_flapping(stage: Stage) -> None:
    """A phone signs on and off every few seconds."""
    side = stage.registration(stage.phone())
    for expires in (0, 600) * 4:
        side.wait(1.2)
        register(side, expires, credentials=True)
        side.expect(200)


@scenario
def text_message(stage: Stage) -> None:
    """A text message that the carrier accepts."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    _message(phone)
    phone.expect(202)
    gateway.receive("MESSAGE")
    gateway.reply(202, "Accepted")


@scenario
def method_not_supported(stage: Stage) -> None:
    """A text message to a gateway that takes none."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    _message(phone)
    phone.expect(405)
    gateway.receive("MESSAGE")
    gateway.reply(405, "Method Not Allowed", headers=("Allow: INVITE, ACK, CANCEL, BYE, OPTIONS",))


def _message(phone: Side) -> None:
    text = "Your parcel is at the door."
    phone.request("MESSAGE", body=text, body_type="text/plain")
    phone.expect(407, challenge=True)
    phone.request("MESSAGE", body=text, body_type="text/plain", credentials=True)


@scenario
def options_ping(stage: Stage) -> None:
    """A phone asks whether the proxy is there."""
    me = stage.phone()
    phone = stage.alone(me, me)
    phone.request("OPTIONS", uri=f"sip:{DOMAIN}")
    phone.expect(200)


@scenario
def voicemail_subscription(stage: Stage) -> None:
    """A phone subscribes to its mailbox and is told at once."""
    phone, mailbox = stage.leg(stage.phone(), stage.carrier(via="west"))
    headers = ("Event: message-summary", "Expires: 600", "Accept: application/simple-message-summary")
    phone.request("SUBSCRIBE", headers=headers)
    phone.expect(407, challenge=True)
    phone.request("SUBSCRIBE", headers=headers, credentials=True)
    phone.expect(200)
    phone.receive("NOTIFY")
    phone.reply(200, "OK", in_dialog=True)
    mailbox.receive("SUBSCRIBE", routes=True)
    mailbox.reply(200, "OK", headers=("Expires: 600",))
    mailbox.within(
        "NOTIFY",
        headers=("Event: message-summary", "Subscription-State: active;expires=600"),
        body="Messages-Waiting: yes\nVoice-Message: 2/8 (0/0)",
        body_type="application/simple-message-summary",
    )
    mailbox.expect(200)
