"""Everything that is played. The name of a function is the id of its scenario; its docstring tells what happens.

What Ringback must make of each is in tests/nodes/test_recording.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

from ringback.demo.cast import DOMAIN, outside_number
from scripts.record_demo.dialogue import Party, Side, sdp
from scripts.record_demo.stage import Scenario, Stage, register

SCENARIOS: dict[str, Scenario] = {}


def scenario(write: Callable[[Stage], None]) -> Callable[[Stage], None]:
    name = write.__name__.replace("_", "-")
    SCENARIOS[name] = Scenario(name, (write.__doc__ or "").strip(), write)
    return write


def answered_call(stage: Stage, caller: Party, called: Party, talk_s: float = 4.0) -> None:
    """Challenged, rings, answered; the caller hangs up."""
    phone, gateway = stage.leg(caller, called)
    phone.call()
    phone.answered()
    phone.talk(talk_s)
    phone.hang_up()
    gateway.rings()
    gateway.answers()
    gateway.is_hung_up()


def refused_call(stage: Stage, status: int, phrase: str, *headers: str, offer: str | None = None) -> None:
    """The gateway refuses a call that the proxies let through."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call(offer=offer)
    phone.refused(500 if status == 503 else status)  # RFC 3261 section 16.7: a proxy passes no 503 on
    gateway.refuses(status, phrase, *headers)


# John Doe, subscriber 0, first; then the longest, so that the recording ends soon after the last begins.


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


# Answered calls.


@scenario
def answered(stage: Stage) -> None:
    """An everyday call to the public network."""
    answered_call(stage, stage.phone(), stage.carrier())


@scenario
def answered_west(stage: Stage) -> None:
    """Another, through the other carrier; the callee hangs up."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier(via="west"))
    phone.call()
    phone.answered()
    phone.is_hung_up()
    gateway.rings()
    gateway.answers(0.9)
    gateway.talk(5.5)
    gateway.hang_up('Reason: Q.850;cause=16;text="Normal call clearing"')


@scenario
def answered_early_media(stage: Stage) -> None:
    """The gateway plays an announcement (183 with SDP) before the answer."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call()
    phone.answered()
    phone.talk(3.5)
    phone.hang_up()
    gateway.receive("INVITE", routes=True)
    gateway.reply(100, "Trying")
    gateway.wait(0.5)
    gateway.reply(183, "Session Progress", body=sdp(gateway.me.host))
    gateway.answers(2)
    gateway.is_hung_up()


@scenario
def answered_over_tcp(stage: Stage) -> None:
    """The phone speaks TCP, the carrier UDP."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier(), transport="TCP")
    phone.call()
    phone.answered()
    phone.talk(3)
    phone.hang_up()
    gateway.rings()
    gateway.answers()
    gateway.is_hung_up()


@scenario
def answered_inside(stage: Stage) -> None:
    """One subscriber calls another: edge1, core1 and edge1 again."""
    caller, called = stage.phone(), stage.phone()
    stage.registration(called)
    phone, other = stage.leg(caller, called, after_s=2.2, called_after_s=1.4)
    phone.call()
    phone.answered()
    phone.talk(4)
    phone.hang_up()
    other.rings()
    other.answers()
    other.is_hung_up()


@scenario
def answered_inbound(stage: Stage) -> None:
    """A call from the public network to a subscriber."""
    called = stage.phone()
    stage.registration(called)
    gateway, phone = stage.leg(stage.carrier(via="west"), called, after_s=2.2, called_after_s=1.4, peer_cseq=1)
    gateway.call(challenged=False)
    gateway.answered()
    gateway.talk(4)
    gateway.hang_up()
    phone.rings()
    phone.answers()
    phone.is_hung_up()


@scenario
def forked(stage: Stage) -> None:
    """A subscriber with two phones: both ring, one answers, the other is told so. Nothing is wrong."""
    desk = stage.phone()
    mobile = stage.second_phone(desk)
    stage.registration(desk)
    stage.registration(mobile)
    gateway, first = stage.leg(stage.carrier(via="west"), desk, after_s=2.4, called_after_s=1.5, peer_cseq=1)
    second = stage.elsewhere(mobile, gateway.me, after_s=1.5, peer_cseq=1)
    gateway.call(challenged=False)
    gateway.answered()
    gateway.talk(3.5)
    gateway.hang_up()
    first.rings()
    first.answers(2)
    first.is_hung_up()
    second.rings(keep_vias=3)
    second.is_cancelled()


@scenario
def hold(stage: Stage) -> None:
    """The caller puts the callee on hold and takes the call back."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call()
    phone.answered()
    phone.talk(2)
    phone.reinvite(sdp(phone.me.host, direction="sendonly", version=2))
    phone.talk(4)
    phone.reinvite(sdp(phone.me.host, version=3))
    phone.talk(2)
    phone.hang_up()
    gateway.rings()
    gateway.answers()
    gateway.is_reinvited(sdp(gateway.me.host, direction="recvonly", version=2))
    gateway.is_reinvited(sdp(gateway.me.host, version=3))
    gateway.is_hung_up()


@scenario
def fax_refused(stage: Stage) -> None:
    """The gateway wants T.38, the phone refuses with 488; the call goes on as audio."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call()
    phone.answered()
    phone.receive("INVITE")
    phone.reply(488, "Not Acceptable Here", resend=True, in_dialog=True)
    phone.receive("ACK")
    phone.talk(8)
    phone.hang_up()
    gateway.rings()
    gateway.answers()
    gateway.talk(1.5)
    gateway.within("INVITE", body=sdp(gateway.me.host, fax=True, version=2))
    gateway.expect(100, optional=True)
    gateway.expect(488)
    gateway.ack_within()
    gateway.is_hung_up()


@scenario
def private_address_in_sdp(stage: Stage) -> None:
    """The phone names its home network's address for audio: nobody can send there."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call(offer=sdp("192.168.1.20"))
    phone.answered()
    phone.talk(5)
    phone.hang_up()
    gateway.rings()
    gateway.answers()
    gateway.is_hung_up()


@scenario
def private_address_in_contact(stage: Stage) -> None:
    """A phone behind NAT gives its private address as Contact: the callee's BYE cannot reach it."""
    phone, gateway = stage.leg(stage.phone(told_address="192.168.1.20"), stage.carrier())
    phone.call()
    phone.answered()
    phone.talk(5)
    gateway.rings()
    gateway.answers()
    gateway.talk(3)
    gateway.within("BYE")
    gateway.expect(477)


@scenario
def short_call(stage: Stage) -> None:
    """Answered, and hung up by the callee a second later."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.call()
    phone.answered()
    phone.is_hung_up()
    gateway.rings()
    gateway.answers()
    gateway.talk(0.8)
    gateway.hang_up()


@scenario
def slow_core(stage: Stage) -> None:
    """core1 holds the INVITE 1.6 s for a number look-up before it goes on."""
    answered_call(stage, stage.phone(), stage.carrier("17735550142"))


@scenario
def forwarded(stage: Stage) -> None:
    """The called number is forwarded by the PBX: a second leg, whose Call-ID is the first's with _b2b-1."""
    target = stage.carrier(via="west")
    _forwarded_to(stage, target, stage.pbx(target, "suffix"))


@scenario
def forwarded_x_cid(stage: Stage) -> None:
    """As before, but the second leg has a Call-ID of its own and names the first in X-CID."""
    target = stage.carrier()
    _forwarded_to(stage, target, stage.pbx(target, "x-cid"))


def _forwarded_to(stage: Stage, target: Party, pbx: Party) -> None:
    phone = stage.alone(stage.phone(), pbx)
    mobile = stage.elsewhere(target, phone.me)
    phone.call()
    phone.answered()
    phone.talk(4)
    phone.hang_up()
    mobile.rings()
    mobile.answers()
    mobile.is_hung_up()


@scenario
def attended_transfer(stage: Stage) -> None:
    """A calls B; B asks C (second leg), then sends A to C (REFER with Replaces, third leg)."""
    a, b = stage.phone(), stage.carrier()
    c, c_direct = stage.carrier(via="west"), stage.carrier(via="west")
    first, b_first = stage.leg(a, b)
    second, c_second = stage.leg(b, c, after_s=4.0)
    third, c_third = stage.leg(a, c_direct, after_s=9.6)
    second.port = third.port = 5062
    replaces = f"{second.call_id};to-tag={second.seed}b;from-tag={second.seed}a"
    refer = f"Refer-To: <sip:{c_direct.number}@{DOMAIN}?Replaces={quote(replaces, safe='')}>"
    told = ("Event: refer", "Subscription-State: active;expires=60")
    done = ("Event: refer", "Subscription-State: terminated;reason=noresource")

    first.call()
    first.answered()
    first.receive("REFER")
    first.reply(202, "Accepted", in_dialog=True)
    first.within("NOTIFY", headers=told, body="SIP/2.0 100 Trying", body_type="message/sipfrag")
    first.expect(200)
    first.wait(2.5)
    first.within("NOTIFY", headers=done, body="SIP/2.0 200 OK", body_type="message/sipfrag")
    first.expect(200)
    first.is_hung_up()
    b_first.rings()
    b_first.answers()
    b_first.talk(6)
    b_first.within("REFER", headers=(refer, f"Referred-By: <sip:{b.number}@{DOMAIN}>"))
    b_first.expect(202)
    for _ in range(2):
        b_first.receive("NOTIFY")
        b_first.reply(200, "OK", in_dialog=True)
    b_first.hang_up()

    second.call(challenged=False)
    second.answered()
    second.is_hung_up()
    c_second.rings()
    c_second.answers(0.8)
    c_second.talk(4.5)
    c_second.hang_up()

    third.call(headers=(f"Replaces: {replaces}", f"Referred-By: <sip:{b.number}@{DOMAIN}>"))
    third.answered()
    third.talk(3)
    third.hang_up()
    c_third.receive("INVITE", routes=True)
    c_third.reply(100, "Trying")
    c_third.answers(0.1)
    c_third.is_hung_up()


# Calls that failed.


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


# What is no call.


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
