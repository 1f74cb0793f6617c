"""What the shipped Kamailio asks and tells the billing engine, and what it makes of the answers: on the wire."""

from __future__ import annotations

import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from edge import Edge, edge
from hep_collector import Collector, collector
from raw_phone import RawPhone
from recorder import ALLOWED, REFUSED, Recorder, recorder
from scripts.record_demo.dialogue import Party, Side
from scripts.record_demo.stage import register

from running import until

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(120)]

TOKEN = "rb_of-the-tests"


@dataclass
class Running:
    edge: Edge
    engine: Recorder
    hep: Collector


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with (
        recorder() as engine,
        collector() as hep,
        edge(
            tmp_path_factory.mktemp("edge"), engine.url, TOKEN, HEP_COLLECTOR=hep.address, INTERIM_SECONDS="1",
            BILLING_PAUSE_SECONDS="1",
        ) as node,
    ):  # fmt: skip
        yield Running(node, engine, hep)


@pytest.fixture
def running(started: Running) -> Running:
    """With an engine that allows all, and has heard of nothing yet; its failures are forgotten."""
    started.edge.forget_failures()
    started.engine.answer, started.engine.report_answer = (200, ALLOWED), (200, {})
    started.engine.asked.clear()
    return started


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Running]:
    """Its edge waits for the engine as long as a test may take."""
    with (
        recorder() as engine,
        collector() as hep,
        edge(tmp_path, engine.url, TOKEN, HEP_COLLECTOR=hep.address, BILLING_TIMEOUT_SECONDS="60") as node,
    ):
        yield Running(node, engine, hep)


def test_a_call_is_asked_about_and_told_from_start_to_stop(running: Running) -> None:
    call = running.edge.answered(3)
    (asked,) = running.engine.of("authorize")
    credentials = asked.pop("authorization")
    assert asked == {
        "node": "edge1", "call_id": call.call_id, "service": "voice", "direction": "outgoing", "method": "INVITE",
        "caller": running.edge.caller, "called": running.edge.called,
    }  # fmt: skip
    assert credentials.startswith('Digest username="12105550100",realm="sip.acme.example"')
    assert 'uri="sip:12103355787@' in credentials
    headers = running.engine.asked[0].headers
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["Content-Type"] == "application/json"

    reports = running.engine.reports(call.call_id)
    shared = {"node": "edge1", "session": "s-1", "account": "12105550100", "call_id": call.call_id,
              "caller": running.edge.caller, "called": running.edge.called}  # fmt: skip
    assert [reports[0]["event"], *{one["event"] for one in reports[1:-1]}, reports[-1]["event"]] == [
        "start",
        "interim",
        "stop",
    ]
    assert all(one | shared == one for one in reports)
    stop = reports[-1]
    assert reports[0]["connected_at"] == stop["connected_at"]
    lasted = datetime.fromisoformat(stop["ended_at"]) - datetime.fromisoformat(stop["connected_at"])
    assert abs(stop["seconds"] - lasted.total_seconds()) <= 1  # of moments in whole seconds
    assert 0 <= reports[1]["seconds"] <= stop["seconds"] >= 3
    assert stop["cause"] == "16"
    assert running.hep.lines(call.call_id)[0] == "the billing engine allowed the call to 12103355787, at most 600 s"


def test_credentials_go_no_further_than_the_edge(running: Running) -> None:
    call = running.edge.answered()
    running.hep.messages(call.call_id, "BYE ", at_least=2)  # after all that is looked at
    of_call = running.hep.messages(call.call_id, "INVITE ")
    assert [one for one in of_call if b"Proxy-Authorization" in one]  # as the phone sent it
    sent = [one for one in of_call if b"Record-Route" in one]  # as the edge sent it
    assert sent
    assert not [one for one in sent if b"Proxy-Authorization" in one]


def test_a_refusal_reaches_the_phone_with_code_and_phrase(running: Running) -> None:
    running.engine.answer = (200, REFUSED)
    call = running.edge.refused(403)
    (line,) = running.hep.lines(call.call_id)
    assert line == (
        "the billing engine refused INVITE to 12103355787: destination-forbidden, answered with 403 Destination forbidden"
    )
    assert running.hep.messages(call.call_id, "SIP/2.0 403 Destination forbidden\r\n")
    assert _told_before_the_next_call(running, call.call_id) == []


def _told_before_the_next_call(running: Running, call_id: str) -> list[dict[str, Any]]:
    """All that is ever told of a call that is over: reports go out in their order."""
    running.engine.answer = (200, ALLOWED)
    running.engine.reports(running.edge.answered().call_id)
    return [one for one in running.engine.of("accounting") if one["call_id"] == call_id]


@pytest.mark.parametrize(
    ("code", "phrase", "sent"), [(200, "OK", "403 OK"), (None, None, "403 "), (503, "Later", "503 Later")]
)
def test_a_refusal_is_never_an_answer(running: Running, code: int | None, phrase: str | None, sent: str) -> None:
    running.engine.answer = (200, REFUSED | {"sip_code": code, "sip_reason": phrase})
    call = running.edge.refused(int(sent[:3]))
    assert running.hep.messages(call.call_id, f"SIP/2.0 {sent}")


def test_a_call_that_is_not_answered_is_told_to_have_ended(running: Running) -> None:
    phone = running.edge.phone()
    phone.call()
    phone.refused(486)
    gateway = running.edge.gateway(phone)
    gateway.refuses(486, "Busy Here")
    running.edge.play(phone, gateway)
    (report,) = running.engine.reports(phone.call_id)
    assert (report["event"], report["session"], report["seconds"]) == ("stop", "s-1", 0)
    assert "connected_at" not in report


def test_a_cancelled_call_is_told_to_have_ended(running: Running) -> None:
    phone = running.edge.phone()
    phone.call()
    phone.expect(100, optional=True)
    phone.expect(180)
    phone.wait(0.3)
    phone.cancel()
    gateway = running.edge.gateway(phone)
    gateway.rings(0.1, keep_vias=2)
    gateway.is_cancelled(vias=2)
    running.edge.play(phone, gateway)
    assert [(one["event"], one["seconds"]) for one in running.engine.reports(phone.call_id)] == [("stop", 0)]


def test_a_call_that_is_cancelled_while_the_engine_thinks_goes_nowhere(patient: Running) -> None:
    with RawPhone(patient.edge.plan.phone(2), patient.edge.plan.edge) as phone:
        with patient.engine.hanging():
            phone.ask(phone.answer(phone.invite()))
            until(lambda: patient.engine.of("authorize"))
            phone.cancel()
        assert phone.final().code == 487
        assert [one["event"] for one in patient.engine.reports(phone.call_id)] == ["stop"]
        assert patient.hep.messages(phone.call_id, "SIP/2.0 487")  # the last that the edge sends of it
        assert not [one for one in patient.hep.messages(phone.call_id, "INVITE ") if b"Record-Route" in one]


def test_the_id_that_joins_legs_is_passed_on(running: Running) -> None:
    running.engine.answer = (200, REFUSED)
    joins = "h323-conf-id: 8F0BC7A4 11D811DC 8A45B4F3 C5C5B4F3"
    with RawPhone(running.edge.plan.phone(2), running.edge.plan.edge) as phone:
        assert phone.invite(joins, phone.answer(phone.invite())).code == 403
    assert running.engine.of("authorize")[0]["conf_id"] == "8F0BC7A4 11D811DC 8A45B4F3 C5C5B4F3"


def test_a_call_is_ended_at_its_limit_also_where_a_reinvite_comes(running: Running) -> None:
    running.engine.answer = (200, ALLOWED | {"max_seconds": 3})
    phone = running.edge.phone()
    gateway = running.edge.gateway(phone)
    phone.call()
    phone.answered()
    phone.talk(1)
    phone.reinvite("v=0\no=- 1 2 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP 0\n")
    phone.is_hung_up()
    gateway.rings(0.1)
    gateway.answers(0.1)
    gateway.is_reinvited("v=0\no=- 1 2 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP 0\n")
    gateway.is_hung_up()
    running.edge.play(phone, gateway)
    stop = running.engine.reports(phone.call_id)[-1]
    assert stop["event"] == "stop"
    assert 2 <= stop["seconds"] <= 3
    assert "the call reached its limit of 3 s and is ended" in running.hep.lines(phone.call_id, at_least=2)


def _call_by_address(edge: Edge) -> Side:
    phone = edge.phone(index=1)
    phone.call(challenged=False)
    phone.answered()
    phone.hang_up()
    gateway = edge.gateway(phone)
    gateway.peer_cseq = 1
    gateway.rings(0.1)
    gateway.answers(0.1)
    gateway.is_hung_up()
    edge.play(phone, gateway)
    return phone


def test_who_is_known_by_address_sends_no_credentials(running: Running) -> None:
    phone = _call_by_address(running.edge)
    (asked,) = running.engine.of("authorize")
    assert asked["ip"] == running.edge.plan.phone(1)
    assert not {"authorization", "method"} & set(asked)
    assert {one["account"] for one in running.engine.reports(phone.call_id)} == {"12105550100"}  # as the engine said


def test_a_registered_phone_is_asked_about_and_gets_calls_from_the_next_hop(running: Running) -> None:
    running.engine.answer = (200, REFUSED | {"reason": "wrong-password", "sip_reason": "Wrong password"})
    phone = running.edge.phone()
    register(phone, 600)
    phone.expect(401, challenge=True)
    register(phone, 600, credentials=True)
    phone.expect(403)
    running.edge.play(phone)

    running.engine.answer = (200, ALLOWED | {"session": None, "max_seconds": None})
    phone = running.edge.phone()
    register(phone, 600)
    phone.expect(401, challenge=True)
    register(phone, 600, credentials=True)
    phone.expect(200)
    running.edge.play(phone)
    asked = running.engine.of("authorize")[-1]
    assert (asked["service"], asked["method"], asked["caller"]) == ("registration", "REGISTER", "12105550100")
    assert len(running.engine.of("authorize")) == 2

    gateway = Side(
        Party("12103355787", running.edge.plan.gateway(0), "Sonus"), phone.me, True, "ab12", "from-the-next-hop"
    )
    gateway.call(challenged=False)
    gateway.answered()
    gateway.hang_up()
    called = Side(phone.me, gateway.me, False, "ab12", "")
    called.rings(0.1)
    called.answers(0.1)
    called.is_hung_up()
    running.edge.play(gateway, called)
    assert len(running.engine.of("authorize")) == 2, "a call that comes in is nobody's to pay for here"
    assert _told_before_the_next_call(running, gateway.call_id) == []


def test_nobody_registers_the_number_of_somebody_else(running: Running) -> None:
    phone = running.edge.phone()
    phone.me = replace(phone.me, number="12105550199")
    register(phone, 600)
    phone.expect(401, challenge=True)
    register(phone, 600, credentials=True)
    phone.expect(403)
    phone._steps = [step.replace("username=12105550199", f"username={running.edge.caller}") for step in phone._steps]
    running.edge.play(phone)
    assert running.engine.of("authorize") == []


def test_a_tag_is_no_way_past_the_engine(running: Running) -> None:
    with RawPhone(running.edge.plan.phone(2), running.edge.plan.edge) as phone:
        phone.ask(f"Route: <sip:{running.edge.plan.edge};lr>", to_tag="made-up")
        assert phone.final().code == 481
    assert running.hep.messages(phone.call_id, "SIP/2.0 481")  # after which nothing more is sent
    assert len(running.hep.messages(phone.call_id, "INVITE ")) == 1  # as it came


def test_an_engine_that_fails_refuses_calls_with_503(running: Running) -> None:
    running.engine.answer = (500, {})
    call = running.edge.refused(503)
    assert running.hep.lines(call.call_id) == [
        "billing-unreachable: it answered 500, INVITE to 12103355787 refused with 503"
    ]
    assert running.hep.messages(call.call_id, "SIP/2.0 503 Billing Unreachable\r\n")


def test_an_engine_that_hangs_is_waited_for_a_second_and_then_left_alone_for_a_while(tmp_path: Path) -> None:
    with (
        recorder() as engine,
        collector() as hep,
        edge(tmp_path, engine.url, TOKEN, HEP_COLLECTOR=hep.address, BILLING_PAUSE_SECONDS="60") as node,
    ):
        node.answered()
        with engine.hanging():
            for _ in range(3):
                call = node.refused(503)
                assert hep.lines(call.call_id)[0].startswith("billing-unreachable: no answer within 1 s, INVITE to")
            until_when = node.asks_nothing_until
        assert until_when is not None
        assert timedelta(0) < until_when - datetime.now().astimezone() <= timedelta(seconds=60)
        call = node.refused(503)
        assert hep.lines(call.call_id)[0].startswith("billing-unreachable: it did not answer before, INVITE to")
        assert len(engine.of("authorize")) == 4
        node.forget_failures()  # what a minute does as well
        node.answered()
        assert len(engine.of("authorize")) == 5


def test_sip_goes_on_while_every_process_waits_for_the_engine(patient: Running) -> None:
    """More questions than BILLING_WORKERS, whose callers hang up, and a phone that is challenged nevertheless before the
    engine answers one."""
    patient.engine.answer = (200, REFUSED)
    with ExitStack() as phones:
        with patient.engine.hanging():
            waiting = []
            for _ in range(6):
                phone = phones.enter_context(RawPhone(patient.edge.plan.phone(2), patient.edge.plan.edge))
                phone.ask(phone.answer(phone.invite()))
                waiting.append(phone)
            until(lambda: len(patient.engine.of("authorize")) == 4)
            for phone in waiting:
                phone.cancel()
            other = phones.enter_context(RawPhone(patient.edge.plan.phone(3), patient.edge.plan.edge))
            assert other.invite().code == 407
        assert {phone.final().code for phone in waiting} == {403}


def test_reports_are_told_again_until_they_are_taken_and_in_order(running: Running) -> None:
    running.engine.report_answer = (503, {})
    call = running.edge.answered()
    assert {one["event"] for one in running.engine.reports(call.call_id, last="start")} == {"start"}
    running.engine.report_answer = (200, {})
    assert _ends(running.engine.reports(call.call_id, status=200)) == ["start", "stop"]
    assert {one["event"] for one in running.engine.reports(call.call_id, last="start", status=503)} == {"start"}


def _ends(reports: list[dict[str, Any]]) -> list[str]:
    """Events without those that come in between now and then."""
    return [one["event"] for one in reports if one["event"] != "interim"]


def test_a_report_that_the_engine_cannot_read_is_not_told_again(running: Running) -> None:
    running.engine.report_answer = (422, {"detail": "no"})
    call = running.edge.answered()
    assert _ends(running.engine.reports(call.call_id)) == ["start", "stop"]
    assert "the billing engine refused a report (422)" in running.edge.log


def test_a_question_that_the_engine_cannot_read_is_refused_with_400(running: Running) -> None:
    running.engine.answer = (422, {"detail": "no"})
    running.edge.refused(400)


def test_credentials_serve_once(running: Running) -> None:
    with RawPhone(running.edge.plan.phone(2), running.edge.plan.edge) as phone:
        running.engine.answer = (200, REFUSED)
        challenge = phone.invite()
        assert (challenge.code, "stale" in challenge.text) == (407, False)
        assert 'qop="auth"' in challenge.header("Proxy-Authenticate")
        credentials = phone.answer(challenge)
        assert phone.invite(credentials).code == 403
        again = phone.invite(credentials)
        assert (again.code, "stale=true" in again.header("Proxy-Authenticate")) == (407, True)
        assert phone.invite(phone.answer(again)).code == 403
    assert len(running.engine.of("authorize")) == 2


def test_a_late_answer_to_a_challenge_is_challenged_again_as_stale(tmp_path: Path) -> None:
    with (
        recorder() as engine,
        collector() as hep,
        edge(tmp_path, engine.url, TOKEN, HEP_COLLECTOR=hep.address, NONCE_SECONDS="1") as node,
        RawPhone(node.plan.phone(2), node.plan.edge) as phone,
    ):
        challenge = phone.invite()
        time.sleep(2.5)  # late is late, however slow the machine
        again = phone.invite(phone.answer(challenge))
        assert (again.code, "stale=true" in again.header("Proxy-Authenticate")) == (407, True)
        assert hep.lines(phone.call_id) == ["the nonce of 12105550100 is stale: challenged again, with stale=true"]
        assert engine.of("authorize") == []


def test_a_nonce_of_somebody_else_is_no_answer(running: Running) -> None:
    with RawPhone(running.edge.plan.phone(2), running.edge.plan.edge) as phone:
        challenge = phone.invite()
        nonce = challenge.header("Proxy-Authenticate").split('nonce="')[1].split('"')[0]
        forged = phone.answer(challenge).replace(nonce, nonce[:12] + nonce[12:-4].swapcase() + nonce[-4:])
        again = phone.invite(forged)
        assert (again.code, "stale" in again.header("Proxy-Authenticate")) == (407, False)
    assert running.engine.of("authorize") == []


def test_other_proxies_credentials_stay_as_they_are(running: Running) -> None:
    running.engine.answer = (200, REFUSED)
    other = (
        'Proxy-Authorization: Digest username="x", realm="elsewhere.example", nonce="1", uri="sip:x", response="1"'
    )
    with RawPhone(running.edge.plan.phone(2), running.edge.plan.edge) as phone:
        assert phone.invite(other, phone.answer(phone.invite())).code == 403
    (asked,) = running.engine.of("authorize")
    assert 'realm="sip.acme.example"' in asked["authorization"]


@pytest.mark.parametrize("caller", ["$var(x)$rs", "a%22b%5C", "'; --", "\udcff\udcfe", "${1}{{2}}"])
def test_odd_callers_break_nothing(running: Running, caller: str) -> None:
    running.engine.answer = (200, REFUSED)
    with RawPhone(running.edge.plan.phone(2), running.edge.plan.edge) as phone:
        challenge = phone.invite(caller=caller)
        if challenge.code == 407:
            assert phone.invite(phone.answer(challenge), caller=caller).code in (400, 403)
            assert running.engine.of("authorize")[0].get("caller", caller) == caller
        else:
            assert challenge.code == 400


@pytest.mark.parametrize(
    ("dialled", "called"),
    [("%318660333777", "18660333777"), ("%2B18660333777", "+18660333777"), ("*72%23", "*72#")],
)
def test_a_number_is_the_same_to_the_engine_however_it_is_escaped(
    running: Running, dialled: str, called: str
) -> None:
    running.engine.answer = (200, REFUSED)
    with RawPhone(running.edge.plan.phone(2), running.edge.plan.edge, called=dialled) as phone:
        assert phone.invite(phone.answer(phone.invite())).code == 403
    assert running.engine.of("authorize")[0]["called"] == called


@pytest.mark.parametrize("dialled", ["", "1%", "1%0a", "%zz1866"])
def test_a_number_that_cannot_be_read_goes_nowhere(running: Running, dialled: str) -> None:
    with RawPhone(running.edge.plan.phone(2), running.edge.plan.edge, called=dialled) as phone:
        response = phone.invite()
    assert (response.code, response.phrase) == (484, "Address Incomplete")
    assert running.engine.of("authorize") == []


def test_a_caller_without_a_number_is_told_as_none(running: Running) -> None:
    running.engine.answer = (200, REFUSED)
    with RawPhone(running.edge.plan.phone(2), running.edge.plan.edge) as phone:
        challenge = phone.invite(caller=None)
        assert phone.invite(phone.answer(challenge), caller=None).code == 403
    assert "caller" not in running.engine.of("authorize")[0]


def test_what_is_no_call_is_refused(running: Running) -> None:
    with RawPhone(running.edge.plan.phone(2), running.edge.plan.edge) as phone:
        response = phone.request("MESSAGE")
    assert (response.code, response.header("Allow")) == (405, "INVITE, ACK, BYE, CANCEL, REGISTER, OPTIONS")


def test_known_callers_are_let_through_where_that_is_set(tmp_path: Path) -> None:
    with (
        recorder() as engine,
        collector() as hep,
        edge(tmp_path, engine.url, TOKEN, "LET_THROUGH", HEP_COLLECTOR=hep.address, LET_THROUGH_SECONDS="2") as node,
    ):
        engine.answer = (200, REFUSED)
        node.refused(403)
        engine.answer = (503, {})
        unknown = node.refused(503)
        assert "refused with 503" in hep.lines(unknown.call_id)[0]
        engine.answer = (200, ALLOWED)
        node.answered()
        engine.answer, engine.report_answer = (503, {}), (503, {})
        node.refused(503, index=4)  # the same user, from elsewhere
        trunk = node.phone(index=1)
        trunk.call(challenged=False)
        trunk.refused(503)
        node.play(trunk)
        engine.answer = (200, ALLOWED | {"account": "trunk-1"})
        _call_by_address(node)
        engine.answer = (503, {})
        by_address = _call_by_address(node)

        phone = node.phone()
        phone.call()
        phone.answered()
        phone.is_hung_up()
        gateway = node.gateway(phone)
        gateway.rings(0.1)
        gateway.answers(0.1)
        gateway.is_hung_up()
        node.play(phone, gateway)
        assert (
            hep.lines(phone.call_id)[0] == "billing-unreachable: it answered 503, INVITE to 12103355787 let through"
        )

        engine.report_answer = (200, {})
        assert {one["account"] for one in engine.reports(by_address.call_id)} == {"trunk-1"}
        told = [one for one in engine.reports(phone.call_id, status=200) if one["event"] != "interim"]
        assert [(one["event"], one["account"], "session" in one) for one in told] == [
            ("start", "12105550100", False),
            ("stop", "12105550100", False),
        ]


def test_the_engine_is_asked_over_tls_and_only_where_its_certificate_is_good(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-keyout", key, "-out", certificate, "-subj", "/CN=engine", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with recorder(tls) as engine:
        with edge(tmp_path / "trusting", engine.url, TOKEN, "WITH_TLS", BILLING_CA=str(certificate)) as node:
            node.answered()
            assert engine.url.startswith("https:")
            assert len(engine.of("authorize")) == 1
        with edge(tmp_path / "doubting", engine.url, TOKEN, "WITH_TLS") as node:
            node.refused(503)
            assert len(engine.of("authorize")) == 1
