"""May a phone register? Its password and its account's status decide, and nothing is reserved or sold."""

from __future__ import annotations

import pytest
from engine_asked import JOHN, Asking, Books, Running

pytestmark = pytest.mark.parametrize("database", ["sqlite"])

REGISTER = {"service": "registration", "method": "REGISTER", "direction": "incoming", "called": JOHN}


def test_a_phone_registers_whatever_its_funds(live: Running, books: Books, node: Asking) -> None:
    books.owe("100")
    books.change("customer", credit_limit="1")
    answer = node.authorize(username=JOHN, password="geheim", call_id="r1", **REGISTER)
    assert (answer["allowed"], answer["session"], answer["rate"], answer["account"]) == (True, None, None, JOHN)
    lines = live.lines("r1")
    assert [line.fields["step"] for line in lines] == ["request", "account", "status", "decision"]
    assert lines[0].text == f"edge-1 asks whether {JOHN} may register."
    assert lines[-1].text == "The registration is allowed."


@pytest.mark.parametrize(
    ("change", "password", "reason"),
    [({}, "1234", "wrong-password"), ({"blocked": True}, "geheim", "account-blocked")],
)
def test_a_phone_that_may_not(
    books: Books, node: Asking, change: dict[str, object], password: str, reason: str
) -> None:
    books.change("account", **change)
    answer = node.authorize(username=JOHN, password=password, **REGISTER)
    assert (answer["allowed"], answer["reason"], answer["sip_code"]) == (False, reason, 403)
