"""A real phone, the shipped Kamailio and the billing engine: who may call, for how long, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from edge import Edge
from provider import CALLER, TOLL_FREE, Provider
from scripts.record_demo.stage import register

LITTLE = "12105550101"

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def node(books: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with books.edge(tmp_path_factory.mktemp("edge")) as running:
        yield running


@pytest.fixture(autouse=True)
def the_usual_call(node: Edge) -> None:
    node.caller, node.called = CALLER, "12103355787"


def test_a_call_is_answered_and_charged_once(books: Provider, node: Edge) -> None:
    before = len(books.xdrs(CALLER))
    node.answered(1.2)
    xdr = books.charged(CALLER, before + 1)
    assert xdr["charged_seconds"] >= 1
    assert float(xdr["amount"]) == pytest.approx(0.01 * xdr["charged_seconds"])


def test_a_forbidden_destination_is_refused_until_its_rate_allows_it(books: Provider, node: Edge) -> None:
    node.called = TOLL_FREE
    node.refused(403)
    books.told(CALLER, TOLL_FREE, 403, "Destination forbidden", "destination-forbidden")

    books.allow("1866")
    before = len(books.xdrs(CALLER))
    node.answered(0.6)
    assert books.charged(CALLER, before + 1)["destination"] == "USA"


def test_a_wrong_password_is_refused(books: Provider, node: Edge) -> None:
    node.called = "12103355001"
    node.refused(403, password="battery-staple")
    books.told(CALLER, node.called, 403, "Wrong password", "credentials-rejected")


def test_a_call_ends_when_its_funds_do_and_the_next_is_refused(books: Provider, node: Edge) -> None:
    books.prepaid(LITTLE, "0.03")
    node.caller = LITTLE
    phone = node.phone()
    phone.call()
    phone.answered()
    phone.is_hung_up()
    gateway = node.gateway(phone)
    gateway.rings(0.1)
    gateway.answers(0.1)
    gateway.is_hung_up()
    node.play(phone, gateway)
    xdr = books.charged(LITTLE, 1)
    assert 2 <= xdr["charged_seconds"] <= 3
    if xdr["charged_seconds"] == 3:
        node.called = "12103355002"
        node.refused(403)
        books.told(LITTLE, node.called, 403, "Insufficient balance", "insufficient-balance")


def test_a_phone_registers_with_the_accounts_password(node: Edge) -> None:
    for password, code in (("correct-horse", 200), ("battery-staple", 403)):
        phone = node.phone(password)
        register(phone, 600)
        phone.expect(401, challenge=True)
        register(phone, 600, credentials=True)
        phone.expect(code)
        node.play(phone)


def test_an_engine_that_is_away_refuses_calls_and_the_trace_says_so(books: Provider, node: Edge) -> None:
    node.called = "12103355003"
    with books.away():
        node.refused(503)
    books.told(CALLER, node.called, 503, "Billing Unreachable", "billing-unreachable")
    before = len(books.xdrs(CALLER))
    node.answered()
    books.charged(CALLER, before + 1)


def test_a_call_that_ends_while_the_engine_is_away_is_charged_when_it_is_back(books: Provider, node: Edge) -> None:
    before = len(books.xdrs(CALLER))
    phone = node.phone()
    gateway = node.gateway(phone)
    phone.call()
    phone.answered()
    phone.talk(5)
    phone.hang_up()
    gateway.rings(0.1)
    gateway.answers(0.1)
    gateway.is_hung_up()
    with books.away_once_a_call_began():
        node.play(phone, gateway)
        assert len(books.xdrs(CALLER)) == before
    assert books.charged(CALLER, before + 1)["charged_seconds"] >= 5
