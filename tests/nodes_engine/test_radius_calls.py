"""A RADIUS node, FreeRADIUS with the shipped site, and the billing engine: who may call, for how long, what it costs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from provider import CALLER, PASSWORD, PREMIUM, Provider
from radius import Radius

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(120)]

UMLAUTS, TRUNK, LITTLE = "12105550102", "12105550103", "12105550104"


@pytest.fixture(scope="module")
def node(books: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Radius]:
    with books.radius(tmp_path_factory.mktemp("radius")) as running:
        yield running


def _call(conf_id: str, **more: str) -> dict[str, str | list[str]]:
    return {
        "User_Name": CALLER, "User_Password": PASSWORD, "Calling_Station_Id": CALLER,
        "Called_Station_Id": "12103355787", "h323_conf_id": f"h323-conf-id={conf_id}",
        "h323_remote_address": "h323-remote-address=192.0.2.7", **more,
    }  # fmt: skip


def test_an_allowed_call_gets_its_seconds(node: Radius) -> None:
    reply = node.authorize(**_call("1 1 1 1"))
    assert reply.code == "Access-Accept"
    assert reply.one("h323-return-code") == "h323-return-code=0"
    assert reply.one("h323-currency") == "h323-currency=USD"
    seconds = int(reply.one("Session-Timeout"))
    assert reply.one("h323-credit-time") == f"h323-credit-time={seconds}"
    assert 9_000 <= seconds <= 10_010  # 100 USD at a cent a second, and what other tests of the customer moved


@pytest.mark.parametrize(
    ("more", "code", "error_name"),
    [
        ({"Called_Station_Id": PREMIUM}, 9, "cld_blocked"),
        ({"Called_Station_Id": "420222333444"}, 9, "cld_blocked"),
        ({"User_Password": "battery-staple"}, 2, "wrong_passwd"),
        ({"User_Name": "nobody"}, 1, "invalid_account"),
    ],
)
def test_a_refusal_says_why(node: Radius, more: dict[str, str], code: int, error_name: str) -> None:
    reply = node.authorize(**_call("2 2 2 2", **more))
    assert reply.code == "Access-Reject"
    assert reply.one("h323-return-code") == f"h323-return-code={code}"
    assert f"error-name={error_name}" in reply.attributes["Cisco-AVPair"]
    assert reply.one("Reply-Message")


def test_a_phones_digest_is_checked(node: Radius) -> None:
    def digest(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode()).hexdigest()

    uri, nonce, nc, cnonce = "sip:12103355787@sip.acme.example", "3bada1a0", "00000001", "56"
    for password, code in ((PASSWORD, "Access-Accept"), ("battery-staple", "Access-Reject")):
        proof = digest(digest(CALLER, "sip.acme.example", password), nonce, nc, cnonce, "auth", digest("INVITE", uri))
        reply = node.authorize(
            User_Name=CALLER, Called_Station_Id="12103355787", h323_conf_id="h323-conf-id=3 3 3 3",
            Digest_Response=proof, Digest_Realm="sip.acme.example", Digest_Nonce=nonce, Digest_Method="INVITE",
            Digest_URI=uri, Digest_Algorithm="MD5", Digest_QOP="auth", Digest_User_Name=CALLER, Digest_CNonce=cnonce,
            Digest_Nonce_Count=nc,
        )  # fmt: skip
        assert reply.code == code


def test_a_password_with_umlauts_is_the_same_on_the_way(books: Provider, node: Radius) -> None:
    books.account(UMLAUTS, service_password="Grüße-aus-Köln")
    assert (
        node.authorize(**_call("4 4 4 4", User_Name=UMLAUTS, User_Password="Grüße-aus-Köln")).code == "Access-Accept"
    )


def test_a_user_that_is_an_address_is_the_account_of_that_address(books: Provider, node: Radius) -> None:
    books.account(TRUNK, allowed_addresses=["198.51.100.7"])
    asked = _call("5 5 5 5", User_Name="198.51.100.7")
    del asked["User_Password"]
    assert node.authorize(**asked).code == "Access-Accept"
    assert node.authorize(**asked | {"User_Name": "198.51.100.8"}).one("h323-return-code") == "h323-return-code=1"


def test_a_call_is_charged_at_its_stop_by_what_was_allowed(books: Provider, node: Radius) -> None:
    """The accounting has another session id than the request: `Class` joins them."""
    accepted = node.authorize(**_call("6 6 6 6"))
    told: dict[str, str | list[str]] = {
        "User_Name": CALLER, "Acct_Session_Id": "00000A1B", "Calling_Station_Id": CALLER,
        "Called_Station_Id": "12103355787", "h323_conf_id": "h323-conf-id=6 6 6 6",
        "h323_call_origin": "h323-call-origin=answer", "Class": bytes.fromhex(accepted.one("Class")[2:]).decode(),
    }  # fmt: skip
    before = len(books.xdrs(CALLER))
    assert node.account(**told | {"Acct_Status_Type": "Start"}).code == "Accounting-Response"
    assert books.xdrs(CALLER)[before:] == []
    stop = told | {
        "Acct_Status_Type": "Stop", "Acct_Session_Time": "37", "h323_disconnect_cause": "h323-disconnect-cause=10",
    }  # fmt: skip
    for _ in range(2):  # nodes send again what they think was lost
        assert node.account(**stop).code == "Accounting-Response"
    xdr = books.charged(CALLER, before + 1)
    assert (xdr["charged_seconds"], float(xdr["amount"]), xdr["cause"]) == (37, 0.37, "16")


def test_funds_bound_the_call_and_their_end_refuses_the_next(books: Provider, node: Radius) -> None:
    books.prepaid(LITTLE, "0.03")
    accepted = node.authorize(**_call("7 7 7 7", User_Name=LITTLE))
    assert accepted.one("Session-Timeout") == "3"
    node.account(
        User_Name=LITTLE, Acct_Status_Type="Stop", Acct_Session_Id="7", Acct_Session_Time="3",
        Called_Station_Id="12103355787", Class=bytes.fromhex(accepted.one("Class")[2:]).decode(),
    )  # fmt: skip
    assert float(books.charged(LITTLE, 1)["amount"]) == 0.03
    assert node.authorize(**_call("8 8 8 8", User_Name=LITTLE)).one("h323-return-code") == "h323-return-code=4"


def test_what_was_told_while_the_engine_was_away_is_charged_later(books: Provider, node: Radius) -> None:
    before = len(books.xdrs(CALLER))
    with books.away():
        assert node.authorize(**_call("9 9 9 9")).one("h323-return-code") == "h323-return-code=8"
        reply = node.account(
            User_Name=CALLER, Acct_Status_Type="Stop", Acct_Session_Id="9", Acct_Session_Time="5",
            Called_Station_Id="12103355787",
        )  # fmt: skip
        assert reply.code == "Accounting-Response"
    assert books.charged(CALLER, before + 1)["charged_seconds"] == 5
