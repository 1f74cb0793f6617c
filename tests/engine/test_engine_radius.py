"""The same answers to FreeRADIUS's rlm_rest: attributes in, attributes out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from engine_asked import JOHN, PRAGUE, TOLL_FREE, Asking, Books, Running
from requests.auth import HTTPDigestAuth
from sqlalchemy import Engine, select

from ringback import clock
from ringback.billing.engine.models import EngineSession
from ringback.records.engine import reading

pytestmark = pytest.mark.parametrize("database", ["sqlite"])

CALL = {
    "User-Name": {"type": "string", "value": [JOHN]},
    "NAS-Identifier": {"type": "string", "value": ["edge-1"]},
    "Calling-Station-Id": {"type": "string", "value": [JOHN]},
    "Called-Station-Id": {"type": "string", "value": [PRAGUE]},
    "Acct-Session-Id": {"type": "string", "value": ["c1"]},
    "h323-conf-id": {"type": "string", "value": ["h323-conf-id=F00 BA4"]},
}


def ask(node: Asking, path: str, **more: object) -> dict[str, Any]:
    """The first value of each attribute."""
    given = CALL | {name.replace("_", "-"): value for name, value in more.items()}
    answer = node.client.post(f"/aaa/v1/{path}?format=radius", json=given)
    assert answer.status_code == 200, answer.text
    for attribute in answer.json().values():
        assert attribute["do_xlat"] is False, "a value is no program of FreeRADIUS"
    return {name: attribute["value"][0] for name, attribute in answer.json().items()}


def test_a_call_is_allowed_told_of_and_charged(live: Running, node: Asking) -> None:
    allowed = ask(node, "authorize")
    assert allowed["control:Auth-Type"] == "Accept"
    assert allowed["reply:h323-return-code"] == "h323-return-code=0"
    assert allowed["reply:h323-credit-time"] == "h323-credit-time=14400"
    assert allowed["reply:Session-Timeout"] == "14400"
    assert allowed["reply:h323-currency"] == "h323-currency=USD"
    assert ask(node, "accounting", Acct_Status_Type="Start") == {}
    assert ask(node, "accounting", Acct_Status_Type="Interim-Update", Acct_Session_Time=30) == {}
    stop = {"Acct_Status_Type": {"type": "integer", "value": ["Stop"]}, "Acct_Session_Time": {"value": [61]},
            "h323_disconnect_cause": "h323-disconnect-cause=10"}  # fmt: skip
    assert ask(node, "accounting", **stop) == {}
    (xdr,) = live.xdrs()
    assert (xdr.seconds, xdr.conf_id, xdr.cause) == (61, "F00 BA4", "16")


def test_accounting_is_joined_by_class_where_the_session_id_is_another(live: Running, node: Asking) -> None:
    allowed = ask(node, "authorize", Acct_Session_Id="")
    given = "0x" + allowed["reply:Class"].encode().hex()
    told = {"Acct_Session_Id": "00000A1B", "Class": {"type": "octets", "value": [given]}, "h323_conf_id": ""}
    ask(node, "accounting", Acct_Status_Type="Stop", Acct_Session_Time=61, Acct_Delay_Time=600, **told)
    (xdr,) = live.xdrs()
    assert xdr.session_key == allowed["reply:Class"]
    assert 595 <= (clock.now() - xdr.occurred_at).total_seconds() <= 720


STOP = {"Acct_Status_Type": "Stop", "Acct_Session_Time": 61}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"NAS_Identifier": "edge-1"}, {"NAS_Identifier": "edge-2"}),
        ({"h323_conf_id": "1 1 1 1"}, {"h323_conf_id": "2 2 2 2"}),
    ],
    ids=["two nodes count alike", "a node counts anew"],
)
def test_calls_of_the_same_session_id_are_two(
    live: Running, node: Asking, first: dict[str, object], second: dict[str, object]
) -> None:
    shared: dict[str, object] = {"Acct_Session_Id": "0000001A", "h323_conf_id": ""}
    for call in (first, second, second):
        ask(node, "accounting", **STOP, **shared | call)
    assert [xdr.seconds for xdr in live.xdrs()] == [61, 61]


def test_a_trunk_that_is_known_by_its_address_is_charged_without_class(
    live: Running, books: Books, node: Asking
) -> None:
    trunk = books.account("trunk-1", allowed_addresses=["203.0.113.7"])
    assert ask(node, "authorize", User_Name="203.0.113.7")["control:Auth-Type"] == "Accept"
    ask(node, "accounting", User_Name="203.0.113.7", **STOP)
    assert [(xdr.account_id, xdr.seconds) for xdr in live.xdrs()] == [(trunk, 61)]


def test_the_times_of_a_clock_that_is_not_set_are_not_taken(live: Running, node: Asking) -> None:
    ask(node, "accounting", **STOP, h323_connect_time="*00:01:00.000 UTC Mon Mar 1 1993",
        h323_disconnect_time="*00:02:01.000 UTC Fri Mar 1 2002")  # fmt: skip
    (xdr,) = live.xdrs()
    assert xdr.seconds == 61
    assert abs((clock.now() - xdr.occurred_at).total_seconds()) < 120


def test_a_start_that_is_told_late_began_before(live: Running, node: Asking, engine: Engine) -> None:
    ask(node, "authorize")
    ask(node, "accounting", Acct_Status_Type="Start", Acct_Delay_Time=600)
    with reading(engine, ("default",)) as session:
        began = session.scalars(select(EngineSession.started_at)).one()
    assert began is not None
    assert 600 <= (clock.now() - began).total_seconds() < 720


def test_text_is_read_as_rlm_rest_writes_it(books: Books, node: Asking) -> None:
    books.account("420111222333", service_password="Grüße-aus-Köln")
    asked = {"User_Name": "420111222333", "User_Password": "Grüße-aus-Köln".encode().decode("latin-1")}
    assert ask(node, "authorize", **asked)["control:Auth-Type"] == "Accept"


def test_a_refusal_has_its_code_and_name(node: Asking) -> None:
    refused = ask(node, "authorize", Called_Station_Id=TOLL_FREE)
    assert refused["control:Auth-Type"] == "Reject"
    assert refused["reply:h323-return-code"] == "h323-return-code=9"
    assert refused["reply:Cisco-AVPair"] == "error-name=cld_blocked"
    assert "forbidden" in refused["reply:Reply-Message"]
    assert len(refused["reply:Reply-Message"]) <= 253


def test_a_long_reason_is_cut_to_the_bytes_that_an_attribute_has(books: Books, node: Asking) -> None:
    books.rate("333", "Ü" * 119, "0", "0", 1, 1, forbidden=True)
    message = ask(node, "authorize", Called_Station_Id="333")["reply:Reply-Message"]
    assert 252 <= len(message.encode()) <= 253


@pytest.mark.parametrize("proof", ["CHAP-Password", "MS-CHAP2-Response", "EAP-Message"])
def test_a_password_that_cannot_be_checked_is_wrong(node: Asking, proof: str) -> None:
    refused = ask(node, "authorize", **{proof: {"type": "octets", "value": ["0x0102"]}})
    assert refused["reply:h323-return-code"] == "h323-return-code=2"
    assert proof in refused["reply:Reply-Message"]


def test_passwords_and_digests(node: Asking) -> None:
    assert ask(node, "authorize", User_Password="geheim")["control:Auth-Type"] == "Accept"
    assert ask(node, "authorize", User_Password="1234")["reply:h323-return-code"] == "h323-return-code=2"
    auth: Any = HTTPDigestAuth(JOHN, "geheim")
    auth.init_per_thread_state()
    auth._thread_local.chal = {"realm": "sip.example.net", "nonce": "Zm9v", "qop": "auth"}
    header = auth.build_digest_header("INVITE", "http://sip.example.net/420")
    parts = dict(part.strip().split("=", 1) for part in header.removeprefix("Digest ").split(","))
    names = {"realm": "Digest-Realm", "nonce": "Digest-Nonce", "uri": "Digest-URI", "response": "Digest-Response",
             "qop": "Digest-QOP", "cnonce": "Digest-CNonce", "nc": "Digest-Nonce-Count"}  # fmt: skip
    digest = {of: parts[part].strip('"') for part, of in names.items()} | {"Digest-Method": "INVITE"}
    assert ask(node, "authorize", **digest)["control:Auth-Type"] == "Accept"
    digest["Digest-Response"] = "0" * 32
    assert ask(node, "authorize", **digest)["reply:h323-return-code"] == "h323-return-code=2"


def test_times_directions_and_addresses(live: Running, books: Books, node: Asking) -> None:
    began = clock.now() - timedelta(days=1)
    ended = began + timedelta(seconds=61)
    times = {"h323_connect_time": f"h323-connect-time=*{began:%H:%M:%S}.000 UTC {began:%a %b %d %Y}",
             "h323_disconnect_time": f"{ended:%H:%M:%S}.000 GMT {ended:%a %b %d %Y}"}  # fmt: skip
    ask(node, "accounting", Acct_Status_Type="2", **times)
    assert [xdr.seconds for xdr in live.xdrs()] == [61]
    books.account("trunk-1", allowed_addresses=["203.0.113.7"])
    by_address = ask(node, "authorize", User_Name="", h323_remote_address="h323-remote-address=203.0.113.7")
    assert by_address["control:Auth-Type"] == "Accept"
    by_name = ask(node, "authorize", User_Name="203.0.113.7")
    assert by_name["control:Auth-Type"] == "Accept"
    by_node = ask(node, "authorize", NAS_Identifier="", NAS_IP_Address="192.0.2.1")
    assert by_node["control:Auth-Type"] == "Accept"
    assert ask(node, "authorize", h323_call_origin="originate")["control:Auth-Type"] == "Accept"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], None),
        ({"Acct-Status-Type": "Accounting-On"}, "Acct-Status-Type"),
        ({"Acct-Status-Type": "Stop"}, "node"),
        ({"Acct-Status-Type": {"value": [[1]]}}, "Acct-Status-Type"),
    ],
)
def test_what_is_no_accounting_is_told(node: Asking, body: object, field: str | None) -> None:
    answer = node.client.post("/aaa/v1/accounting?format=radius", json=body)
    assert answer.status_code == 422
    assert answer.json().get("field") == field
