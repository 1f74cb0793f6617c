"""What FreeRADIUS with the shipped site asks and tells the billing engine, and what nodes get: on the wire."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from radius import NODE, SHIPPED, Radius, freeradius
from recorder import Recorder, recorder

from running import until

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(120)]

DEBIAN = Path("/etc/freeradius/3.0")
CALL: dict[str, str | list[str]] = {
    "User_Name": "12105550100",
    "User_Password": "geheim",
    "Calling_Station_Id": "12105550100",
    "Called_Station_Id": "12103355787",
    "h323_conf_id": "h323-conf-id=8F0BC7A4 11D811DC 8A45B4F3 C5C5B4F3",
    "h323_remote_address": "h323-remote-address=192.0.2.7",
    "Cisco_AVPair": ["call-id=a84b4c76e66710@192.0.2.7", "h323-ivr-out=x:y"],
    "NAS_Identifier": "somebody-else",
}
STOP: dict[str, str | list[str]] = {
    "User_Name": "12105550100",
    "Acct_Status_Type": "Stop",
    "Acct_Session_Id": "0A1B",
    "Acct_Session_Time": "37",
    "h323_call_origin": "h323-call-origin=answer",
    "Class": "s-1",
}


def _listed(**attributes: object) -> dict[str, Any]:
    """As the engine answers; `list_Name_of_it` for `list:Name-of-it`."""
    return {
        name.replace("_", ":", 1).replace("_", "-"): {
            "op": ":=", "do_xlat": False, "value": value if isinstance(value, list) else [value],
        }
        for name, value in attributes.items()
    }  # fmt: skip


ACCEPTED = _listed(
    control_Auth_Type="Accept", reply_h323_return_code="h323-return-code=0", reply_Class="s-1",
    reply_h323_credit_time="h323-credit-time=600", reply_Session_Timeout="600",
)  # fmt: skip
REJECTED = _listed(
    control_Auth_Type="Reject", reply_h323_return_code="h323-return-code=9",
    reply_Cisco_AVPair="error-name=cld_blocked", reply_Reply_Message="No calls to %{User-Password} 100%",
)  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Iterator[Recorder]:
    with recorder() as kept:
        yield kept


@pytest.fixture(scope="module")
def started(engine: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Radius]:
    with freeradius(tmp_path_factory.mktemp("radius"), engine.url, "rb_of-the-tests", timeout="1.0") as node:
        yield node


@pytest.fixture
def radius(started: Radius, engine: Recorder) -> Radius:
    engine.answer, engine.report_answer = (200, ACCEPTED), (200, {})
    engine.asked.clear()
    return started


def test_an_access_request_is_asked_about_with_all_its_attributes(radius: Radius, engine: Recorder) -> None:
    reply = radius.authorize(**CALL)
    assert reply.code == "Access-Accept"
    assert reply.one("h323-return-code") == "h323-return-code=0"
    assert reply.one("h323-credit-time") == "h323-credit-time=600"
    assert reply.one("Session-Timeout") == "600"
    assert bytes.fromhex(reply.one("Class")[2:]) == b"s-1"
    (asked,) = engine.asked
    assert asked.path == "/aaa/v1/authorize?format=radius"
    assert asked.headers["Authorization"] == "Bearer rb_of-the-tests"
    values = {name: one["value"] for name, one in asked.body.items()}
    assert values == {
        "User-Name": ["12105550100"],
        "User-Password": ["geheim"],
        "Calling-Station-Id": ["12105550100"],
        "Called-Station-Id": ["12103355787"],
        "h323-conf-id": ["h323-conf-id=8F0BC7A4 11D811DC 8A45B4F3 C5C5B4F3"],
        "h323-remote-address": ["h323-remote-address=192.0.2.7"],
        "Cisco-AVPair": ["call-id=a84b4c76e66710@192.0.2.7", "h323-ivr-out=x:y"],
        "NAS-Identifier": [NODE],
    }  # fmt: skip -- the node is who knows the secret, not who it says it is


def test_digest_attributes_arrive_in_parts(radius: Radius, engine: Recorder) -> None:
    digest = {"Digest_Realm": "sip.acme.example", "Digest_Nonce": "3bada1a0", "Digest_Method": "INVITE",
              "Digest_URI": "sip:12103355787@sip.acme.example", "Digest_Algorithm": "MD5", "Digest_QOP": "auth",
              "Digest_User_Name": "12105550100", "Digest_CNonce": "56", "Digest_Nonce_Count": "00000001"}  # fmt: skip
    response = "3bfd2f62e2e6c2a59fcdd7a2a4f0b2d5"
    assert radius.authorize(User_Name="12105550100", Digest_Response=response, **digest).code == "Access-Accept"
    asked = engine.of("authorize")[0]
    assert {name: asked[name]["value"][0] for name in asked if name.startswith("Digest-")} | {
        "Digest-Attributes": ""
    } == {name.replace("_", "-"): value for name, value in digest.items()} | {
        "Digest-Response": response, "Digest-Attributes": "",
    }  # fmt: skip


def test_a_refusal_travels_in_the_reject_and_is_not_expanded(radius: Radius, engine: Recorder) -> None:
    engine.answer = (200, REJECTED)
    reply = radius.authorize(**CALL)
    assert reply.code == "Access-Reject"
    assert reply.one("h323-return-code") == "h323-return-code=9"
    assert reply.one("Cisco-AVPair") == "error-name=cld_blocked"
    assert reply.one("Reply-Message") == "No calls to %{User-Password} 100%"


@pytest.mark.parametrize("status", [500, 503, 401, 403, 404, 422])
def test_an_engine_that_does_not_decide_is_a_system_error(radius: Radius, engine: Recorder, status: int) -> None:
    engine.answer = (status, ACCEPTED)
    reply = radius.authorize(**CALL)
    assert reply.code == "Access-Reject"
    assert reply.one("h323-return-code") == "h323-return-code=8"
    assert reply.one("Reply-Message") == "billing-unreachable"


def test_an_answer_that_decides_nothing_lets_nobody_through(radius: Radius, engine: Recorder) -> None:
    engine.answer = (200, {})
    assert radius.authorize(**CALL).code == "Access-Reject"


@pytest.mark.parametrize(
    "proof",
    [{"CHAP_Password": "wrong"}, {"MS_CHAP_Challenge": "0x0102030405060708"},
     {"EAP_Message": "0x0201000a01", "Message_Authenticator": "0x00"}],
)  # fmt: skip
def test_a_password_that_cannot_be_checked_is_not_taken_for_a_name_alone(
    radius: Radius, engine: Recorder, proof: dict[str, str | list[str]]
) -> None:
    asked = {name: value for name, value in CALL.items() if name != "User_Password"}
    reply = radius.authorize(**asked | proof)
    assert (reply.code, reply.one("h323-return-code")) == ("Access-Reject", "h323-return-code=2")
    assert engine.asked == []


def test_an_engine_that_hangs_is_waited_for_as_long_as_is_set(radius: Radius, engine: Recorder) -> None:
    with engine.hanging():
        assert radius.authorize(**CALL).one("h323-return-code") == "h323-return-code=8"


def test_known_callers_are_let_through_where_that_is_set(tmp_path: Path, engine: Recorder) -> None:
    with freeradius(
        tmp_path, engine.url, "rb_of-the-tests", let_through='"yes"', let_through_seconds="900"
    ) as radius:
        engine.answer = (503, {})
        assert radius.authorize(**CALL).code == "Access-Reject"
        engine.answer = (200, ACCEPTED)
        assert radius.authorize(**CALL).code == "Access-Accept"
        for status in (503, 401):
            engine.answer = (status, {})
            reply = radius.authorize(**CALL)
            assert (reply.code, reply.one("h323-credit-time")) == ("Access-Accept", "h323-credit-time=900")
        assert radius.authorize(**CALL | {"h323_remote_address": "192.0.2.8"}).code == "Access-Reject"
        engine.answer = (422, {})
        assert radius.authorize(**CALL).code == "Access-Reject"


def test_accounting_is_told_and_answered(radius: Radius, engine: Recorder) -> None:
    assert radius.account(**STOP).code == "Accounting-Response"
    (told,) = engine.of("accounting")
    assert {name: one["value"] for name, one in told.items()} == {
        "User-Name": ["12105550100"], "Acct-Status-Type": ["Stop"], "Acct-Session-Id": ["0A1B"],
        "Acct-Session-Time": [37], "h323-call-origin": ["h323-call-origin=answer"], "Class": ["0x732d31"],
        "NAS-Identifier": [NODE],
    }  # fmt: skip


def test_the_leg_to_the_callee_is_answered_and_not_told(radius: Radius, engine: Recorder) -> None:
    assert radius.account(**STOP | {"h323_call_origin": "h323-call-origin=originate"}).code == "Accounting-Response"
    assert engine.asked == []


def test_what_the_engine_cannot_read_is_answered_and_not_told_again(radius: Radius, engine: Recorder) -> None:
    engine.report_answer = (422, {})
    assert radius.account(**STOP).code == "Accounting-Response"
    assert not (radius.folder / "log" / "radacct" / "ringback" / "later").exists()


@pytest.mark.parametrize("status", [503, 401])
def test_what_the_engine_did_not_take_is_kept_on_disk_and_told_later(
    radius: Radius, engine: Recorder, status: int
) -> None:
    engine.report_answer = (status, {})
    assert radius.account(**STOP | {"Acct_Session_Id": f"late-{status}"}).code == "Accounting-Response"
    assert engine.of("accounting", status=status)
    engine.report_answer = (200, {})
    until(lambda: engine.of("accounting", status=200))
    told = engine.of("accounting", status=200)[0]
    assert told["Acct-Session-Id"]["value"] == [f"late-{status}"]
    assert told["NAS-Identifier"]["value"] == [NODE]
    assert "Acct-Delay-Time" in told


@pytest.mark.skipif(
    not os.access(DEBIAN / "radiusd.conf", os.R_OK), reason="Debian's configuration is root's to read"
)
def test_debians_configuration_takes_it_as_documented(tmp_path: Path) -> None:
    raddb = tmp_path / "raddb"
    shutil.copytree(DEBIAN, raddb, symlinks=True)
    for file in SHIPPED.rglob("*"):
        if file.is_file():
            shutil.copy(file, raddb / file.relative_to(SHIPPED))
    for folder in ("mods", "sites"):
        (raddb / f"{folder}-enabled" / "ringback").symlink_to(f"../{folder}-available/ringback")
    (raddb / "sites-enabled" / "default").unlink()
    main = raddb / "radiusd.conf"
    text = main.read_text().replace("raddbdir = /etc/freeradius/3.0", f"raddbdir = {raddb}")
    main.write_text(re.sub(r"(?m)^\t(user|group) = freerad$", "", text))  # who may not read this copy
    checked = subprocess.run(["freeradius", "-XC", "-d", str(raddb)], capture_output=True, text=True, timeout=30)
    assert "Configuration appears to be OK" in checked.stdout, checked.stdout[-2000:]
