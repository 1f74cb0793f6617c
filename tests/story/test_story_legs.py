"""What a leg says in short: kind, parties, outcome, times."""

from __future__ import annotations

import pytest

from ringback.sessions.correlate import build_session
from scenario import START_US, play
from told import all_told, told

PEOPLE = """
alice = 198.51.100.23:5060
edge  = 192.0.2.10:5060
bob   = 203.0.113.9:5060
carol = 203.0.113.10:5060
"""
RINGING = """
0.00 alice -> edge INVITE sip:200@acme.example from=100 sdp
0.01 edge -> alice 100
0.02 edge -> bob INVITE
0.10 bob -> edge 180
0.11 edge -> alice 180
"""
REFUSED = """
0.00 alice -> edge INVITE sip:200@acme.example from=100 sdp
0.01 edge -> alice 100
"""
CALLS = {
    "answered": (
        RINGING + "2.00 bob -> edge 200 sdp\n2.01 edge -> alice 200\n2.02 alice -> edge ACK\n2.03 edge -> bob ACK",
        "answered",
        200,
    ),
    "answered after a challenge": (
        (
            "0 alice -> edge INVITE sip:200@acme.example from=100\n.01 edge -> alice 407 auth=n\n.02 alice -> edge ACK\n"
            ".03 alice -> edge INVITE sip:200@acme.example auth=n\n.04 edge -> alice 200"
        ),
        "answered",
        200,
    ),
    "busy": (RINGING + "1 bob -> edge 486\n1.01 edge -> bob ACK\n1.02 edge -> alice 486", "busy", 486),
    "busy everywhere": (RINGING + "1 bob -> edge 600\n1.02 edge -> alice 600", "busy", 600),
    "declined": (RINGING + "1 bob -> edge 603\n1.02 edge -> alice 603", "failed", 603),
    "forbidden": (REFUSED + "0.05 edge -> alice 403", "failed", 403),
    "redirected": (REFUSED + "0.05 edge -> alice 302 contact=<sip:9@x>", "redirected", 302),
    "challenge left alone": (REFUSED + "0.05 edge -> alice 407 auth=n", "failed", 407),
    "cancelled": (
        RINGING + "5 alice -> edge CANCEL\n5.01 edge -> alice 200 for=CANCEL\n5.02 edge -> bob CANCEL\n"
        "5.03 bob -> edge 200 for=CANCEL\n5.04 bob -> edge 487 for=INVITE\n5.05 edge -> alice 487 for=INVITE",
        "cancelled",
        487,
    ),
    "cancelled without a word from the other side": (RINGING + "5 alice -> edge CANCEL", "cancelled", None),
    "rang, then 408": (RINGING + "90 edge -> alice 408", "no_answer", 408),
    "rang, then 480": (RINGING + "30 bob -> edge 480\n30.01 edge -> alice 480", "no_answer", 480),
    "ended by the timer of the proxy": (
        RINGING + "30 edge -> bob CANCEL\n30.01 bob -> edge 200 for=CANCEL\n30.02 bob -> edge 487 for=INVITE\n"
        "30.03 edge -> alice 487 for=INVITE",
        "no_answer",
        487,
    ),
    "unavailable at once": (REFUSED + "0.5 edge -> alice 480", "failed", 480),
    "timed out without ringing": (REFUSED + "32 edge -> alice 408", "failed", 408),
    "nobody answers at all": (
        "0 alice -> edge INVITE sip:200@acme.example from=100\n0.5,1.5,3.5 alice -> edge again INVITE",
        "failed",
        None,
    ),
    "just begun": ("0 alice -> edge INVITE sip:200@acme.example from=100", "in_progress", None),
    "still ringing": (RINGING, "in_progress", None),
    "another branch answers": (
        (
            "0 alice -> edge INVITE sip:200@acme.example from=100\n.01 edge -> alice 100\n.02 edge -> bob INVITE\n"
            ".1 bob -> edge 503\n.11 edge -> bob ACK\n.12 edge -> carol INVITE\n.2 carol -> edge 200\n.21 edge -> alice 200"
        ),
        "answered",
        200,
    ),
    "the caller tries another server": (
        (
            "0 alice -> edge INVITE sip:200@acme.example from=100\n.1 edge -> alice 503\n.11 alice -> edge ACK\n"
            ".12 alice -> carol INVITE sip:200@acme.example\n.2 carol -> alice 486"
        ),
        "busy",
        486,
    ),
    "refused downstream, the caller yet to be told": (RINGING + "1 bob -> edge 486", "in_progress", None),
    "only the end": (
        (
            "0 alice -> edge INVITE sip:200@acme.example from=100 unseen\n.1 edge -> alice 200 unseen\n"
            ".2 alice -> edge ACK unseen\n9 alice -> edge BYE\n9.01 edge -> alice 200"
        ),
        "incomplete",
        None,
    ),
    "only the answer": (
        "0 alice -> edge INVITE sip:200@acme.example from=100 unseen\n.1 edge -> alice 200 sdp\n.2 alice -> edge ACK",
        "incomplete",
        200,
    ),
    "only the refusal": (
        "0 alice -> edge INVITE sip:200@acme.example from=100 unseen\n.1 edge -> alice 403",
        "failed",
        403,
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_outcome_of_a_call(name: str) -> None:
    ladder, outcome, code = CALLS[name]
    session = told(PEOPLE + ladder)
    assert (session.kind, session.outcome, session.final_code) == ("call", outcome, code)
    assert (session.caller, session.called) == ("100", "200")


OTHERS = {
    "registered": (
        ("0 alice -> edge REGISTER from=100 expires=3600\n.01 edge -> alice 401 auth=n\n"
        ".02 alice -> edge REGISTER auth=n expires=3600\n.03 edge -> alice 200"),
        "registration",
        "registered",
    ),
    "refreshed and refused": (
        ("0 alice -> edge REGISTER from=100 expires=60\n.01 edge -> alice 200\n"
        "50 alice -> edge REGISTER expires=60\n50.01 edge -> alice 403"),
        "registration",
        "rejected",
    ),
    "unregistered": (
        ("0 alice -> edge REGISTER from=100 expires=60\n.01 edge -> alice 200\n"
        "50 alice -> edge REGISTER expires=0\n50.01 edge -> alice 200"),
        "registration",
        "unregistered",
    ),
    "all contacts removed": (
        "0 alice -> edge REGISTER from=100 expires=0 contact=*\n.01 edge -> alice 200",
        "registration",
        "unregistered",
    ),
    "wrong password": (
        ("0 alice -> edge REGISTER from=100\n.01 edge -> alice 401 auth=n\n"
        ".02 alice -> edge REGISTER auth=n\n.03 edge -> alice 401 auth=n"),
        "registration",
        "rejected",
    ),
    "never came back with credentials": (
        "0 alice -> edge REGISTER from=100\n.01 edge -> alice 401 auth=n", "registration", "rejected",
    ),
    "registrar dead": (
        "0 alice -> edge REGISTER from=100\n.5,1.5,3.5 alice -> edge again REGISTER", "registration", "rejected",
    ),
    "message": ("0 alice -> edge MESSAGE sip:200@acme.example from=100\n.1 edge -> alice 202", "message", "succeeded"),
    "message refused": (
        "0 alice -> edge MESSAGE sip:200@acme.example from=100\n.1 edge -> alice 404", "message", "failed",
    ),
    "ping": ("0 edge -> bob OPTIONS sip:bob@203.0.113.9 from=ping\n.1 bob -> edge 200", "options", "succeeded"),
    "subscription": (
        ("0 alice -> edge SUBSCRIBE sip:200@acme.example from=100 expires=60\n.1 edge -> alice 202\n"
        ".2 edge -> alice NOTIFY\n.21 alice -> edge 200"),
        "subscription",
        "succeeded",
    ),
    "only notified": (
        ("0 alice -> edge SUBSCRIBE sip:200@acme.example from=100 unseen\n.1 edge -> alice 202 unseen\n"
        "9 edge -> alice NOTIFY\n9.01 alice -> edge 200"),
        "subscription",
        "succeeded",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_the_outcome_of_what_is_no_call(name: str) -> None:
    ladder, kind, outcome = OTHERS[name]
    session = told(PEOPLE + ladder)
    assert (session.kind, session.outcome) == (kind, outcome)


def test_every_ping_is_a_session_of_its_own() -> None:
    ping = "{0} edge -> bob OPTIONS sip:bob@203.0.113.9 from=ping leg=p{0}\n{0}.01 bob -> edge 200 leg=p{0}\n"
    sessions = all_told(PEOPLE + "".join(ping.format(second) for second in range(5)))
    assert [session.kind for session in sessions] == ["options"] * 5


def test_silence_after_the_last_message_tells_a_dead_call_from_one_that_goes_on() -> None:
    played = play(PEOPLE + "0 alice -> edge INVITE sip:200@acme.example from=100")
    at = [build_session(played.sightings, until_us=START_US + seconds * 1_000_000).outcome for seconds in (31, 33)]
    assert at == ["in_progress", "failed"]
    ringing = play(PEOPLE + RINGING)
    at = [build_session(ringing.sightings, until_us=START_US + seconds * 1_000_000).outcome for seconds in (190, 201)]
    assert at == ["in_progress", "no_answer"]


def test_the_times_of_a_call() -> None:
    session = told(
        PEOPLE + CALLS["answered"][0] + "\n12.01 bob -> edge BYE\n12.02 edge -> alice BYE\n12.03 alice -> edge 200"
    )
    (leg,) = session.legs
    assert leg.started_us == START_US
    assert leg.ringing_us == START_US + 110_000, "on the caller's hop"
    assert leg.answered_us == START_US + 2_010_000
    assert leg.duration_s == pytest.approx(10.0)
    assert leg.ended_us == START_US + 12_030_000


@pytest.mark.parametrize(
    ("headers", "caller"),
    [
        ("", "100"),
        ('From: "Anonymous" <sip:anonymous@anonymous.invalid>;tag=x', "anonymous"),
        ('From: <sip:anonymous@anonymous.invalid>;tag=x\n  P-Asserted-Identity: "J" <sip:+1210335@x>', "+1210335"),
        ("From: <sip:anonymous@anonymous.invalid>;tag=x\n  P-Asserted-Identity: <tel:+1-210-335>", "+1-210-335"),
        ("From: <sip:Restricted@x>;tag=x\n  Remote-Party-ID: <sip:77@x>;party=calling", "77"),
        ("From: <tel:+4930123>;tag=x", "+4930123"),
        ("From: <sip:%2B49%2030@x;user=phone>;tag=x", "+49 30"),
        ("From: <sip:acme.example>;tag=x", "acme.example"),
        ("From: nonsense", ""),
    ],
)
def test_who_called(headers: str, caller: str) -> None:
    extra = f"\n  {headers}" if headers else ""
    assert told(PEOPLE + f"0 alice -> edge INVITE sip:200@acme.example from=100{extra}").caller == caller


@pytest.mark.parametrize(
    ("uri", "called"),
    [
        ("sip:+49301@acme.example;user=phone", "+49301"),
        ("tel:+49-301;phone-context=x", "+49-301"),
        ("sip:acme.example", "200"),
        ("urn:service:sos", "service:sos"),
    ],
)
def test_who_was_called(uri: str, called: str) -> None:
    session = told(PEOPLE + f"0 alice -> edge INVITE {uri} from=100\n  To: <sip:200@acme.example>")
    assert session.called == called


def test_a_registration_names_the_address_that_is_registered() -> None:
    session = told(PEOPLE + OTHERS["registered"][0])
    assert (session.caller, session.called) == ("100", "100")
