"""Calls that were answered, well or badly."""

from __future__ import annotations

from urllib.parse import quote

from ringback.demo.cast import DOMAIN
from scripts.record_demo.dialogue import Party, sdp
from scripts.record_demo.scenarios.registry import scenario
from scripts.record_demo.stage import Stage


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
