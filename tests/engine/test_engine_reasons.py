"""Every reason to refuse is reached over HTTP, and told to the node and to the billing log alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from engine_asked import JOHN, PRAGUE, TOLL_FREE, Asking, Books, Running
from sqlalchemy import Engine

from ringback.billing.engine.reasons import REASONS

Case = Callable[[Books, Asking], dict[str, Any]]
CASES: dict[str, Case] = {}


def reason(name: str) -> Callable[[Case], Case]:
    def add(case: Case) -> Case:
        CASES[name] = case
        return case

    return add


@reason("destination-forbidden")
def _(books: Books, node: Asking) -> dict[str, Any]:
    return node.authorize(call_id="c1", called=TOLL_FREE) | {"link": ("rate", books.made["forbidden"])}


@reason("destination-not-in-tariff")
def _(books: Books, node: Asking) -> dict[str, Any]:
    return node.authorize(call_id="c1", called="33123456789") | {"link": ("tariff", books.made["tariff"])}


@reason("insufficient-balance")
def _(books: Books, node: Asking) -> dict[str, Any]:
    account = books.account("777", billing_model="debit")
    books.top_up("0.11", account)
    return node.authorize(call_id="c1", account="777") | {"link": ("account", account)}


@reason("credit-limit-reached")
def _(books: Books, node: Asking) -> dict[str, Any]:
    books.change("customer", credit_limit="100")
    books.owe("99.90")
    return node.authorize(call_id="c1") | {"link": ("customer", books.made["customer"])}


def account_case(**given: object) -> Case:
    def case(books: Books, node: Asking) -> dict[str, Any]:
        books.change("account", **given)
        return node.authorize(call_id="c1") | {"link": ("account", books.made["account"])}

    return case


def customer_case(**given: object) -> Case:
    def case(books: Books, node: Asking) -> dict[str, Any]:
        books.change("customer", **given)
        return node.authorize(call_id="c1") | {"link": ("customer", books.made["customer"])}

    return case


CASES |= {
    "account-blocked": account_case(blocked=True),
    "account-suspended": account_case(status="suspended"),
    "account-closed": account_case(status="closed"),
    "account-expired": account_case(expiration_date="2026-01-01"),
    "account-not-active-yet": account_case(activation_date="2199-01-01"),
    "customer-blocked": customer_case(blocked=True),
    "customer-suspended": customer_case(bill_status="suspended"),
    "customer-limited": customer_case(limited=True),
}


@reason("account-unknown")
def _(books: Books, node: Asking) -> dict[str, Any]:
    return node.authorize(call_id="c1", account="999") | {"link": None}


@reason("wrong-password")
def _(books: Books, node: Asking) -> dict[str, Any]:
    answer = node.authorize(call_id="c1", username=JOHN, password="1234")
    return answer | {"link": ("account", books.made["account"])}


@reason("service-not-in-product")
def _(books: Books, node: Asking) -> dict[str, Any]:
    return node.authorize(call_id="c1", service="data") | {"link": ("product", books.made["product"])}


@reason("node-not-in-product")
def _(books: Books, node: Asking) -> dict[str, Any]:
    books.change("entry", i_node=books.world.make("node", name="core-1"))
    return node.authorize(call_id="c1") | {"link": ("product", books.made["product"])}


@reason("node-unknown")
def _(books: Books, node: Asking) -> dict[str, Any]:
    return node.authorize(call_id="c1", node="edge-9") | {"link": None}


@reason("too-many-simultaneous-calls")
def _(books: Books, node: Asking) -> dict[str, Any]:
    books.change("account", simultaneous_calls=1)
    assert node.authorize(call_id="c0")["allowed"]
    return node.authorize(call_id="c1") | {"link": ("account", books.made["account"])}


@reason("system-error")
def _(books: Books, node: Asking) -> dict[str, Any]:
    """A Call-ID that was charged as often as one can be."""
    for _ in range(20):
        session = node.authorize(call_id="c1")["session"]
        node.tell("stop", call_id="c1", session=session, seconds=1)
    return node.authorize(call_id="c1") | {"link": None}


def test_every_reason_is_here() -> None:
    assert CASES.keys() == REASONS.keys()


@pytest.mark.parametrize("name", CASES)
def test_a_call_is_refused(name: str, live: Running, books: Books, node: Asking) -> None:
    answer = CASES[name](books, node)
    expected = REASONS[name]
    assert (answer["allowed"], answer["reason"]) == (False, name), answer["text"]
    assert answer["session"] is None
    assert answer["max_seconds"] == 0
    assert (answer["sip_code"], answer["sip_reason"]) == (expected.sip_code, expected.sip_reason)
    assert (answer["h323_return_code"], answer["error_name"]) == (expected.h323_return_code, expected.error_name)
    decision = live.lines("c1", step="decision")[-1]
    assert decision.level == "warning"
    assert answer["text"] in decision.text
    told = decision.fields
    assert (told["result"], told["reason"], told["error_name"]) == ("refused", name, expected.error_name)
    assert (told["sip_code"], told["h323_return_code"]) == (str(expected.sip_code), str(expected.h323_return_code))
    link = answer["link"]
    assert (told.get("link_type"), told.get("link_id")) == ((link[0], str(link[1])) if link else (None, None))
    assert told["engine"] == "ringback"


STATUSES = [
    ("account", {"status": "inactive"}, "account-suspended"),
    ("account", {"status": "frozen"}, "account-suspended"),
    ("account", {"status": "quarantine"}, "account-blocked"),
    ("account", {"status": "screening"}, "account-blocked"),
    ("account", {"status": "limited"}, "customer-limited"),
    ("customer", {"bill_status": "deactivated"}, "customer-suspended"),
]


@pytest.mark.parametrize("database", ["sqlite"])
@pytest.mark.parametrize(("name", "given", "expected"), STATUSES)
def test_other_statuses_that_refuse(
    books: Books, node: Asking, name: str, given: dict[str, object], expected: str
) -> None:
    books.change(name, **given)
    assert node.authorize()["reason"] == expected


@pytest.mark.parametrize("database", ["sqlite"])
def test_limited_services_are_free_calls_and_incoming_ones(books: Books, node: Asking) -> None:
    books.rate("112", "Emergency", "0", "0", 1, 1)
    books.change("customer", limited=True)
    assert node.authorize()["reason"] == "customer-limited"
    assert node.authorize(called="112")["allowed"]
    assert node.authorize(direction="incoming")["allowed"]


@pytest.mark.parametrize("number", ["18660333777;npdi=yes", "18660333777#", "+1 866 033x"])
@pytest.mark.parametrize("database", ["sqlite"])
def test_what_is_put_behind_a_number_is_no_way_past_a_forbidden_prefix(
    books: Books, node: Asking, number: str
) -> None:
    books.rate("", "All other", "0.01", "0.01", 60, 60)
    assert node.authorize(called=number)["reason"] == "destination-forbidden"
    assert node.authorize(called="33123")["allowed"]


@pytest.mark.parametrize("database", ["sqlite"])
def test_nothing_left_has_a_code_of_its_own_and_free_calls_go_on(books: Books, node: Asking) -> None:
    books.rate("112", "Emergency", "0", "0", 1, 1)
    books.account("777", billing_model="debit")
    empty = node.authorize(account="777")
    assert (empty["reason"], empty["h323_return_code"]) == ("insufficient-balance", 4)
    assert node.authorize(account="777", called="112")["allowed"]


@pytest.mark.parametrize("database", ["sqlite"])
def test_seconds_are_as_many_as_funds_pay_for(live: Running, books: Books, node: Asking) -> None:
    account = books.account("777", billing_model="debit")
    books.top_up("0.42", account)
    assert node.authorize(account="777")["max_seconds"] == 240, "0.12 and three times 0.10"
    prepaid = books.world.make("customer", name="Jane", currency="USD", balance_control="prepaid")
    books.account("888", i_customer=prepaid)
    assert node.authorize(account="888")["reason"] == "insufficient-balance"
    books.world.change("customer", prepaid, {"credit_limit": "0.22"})
    assert node.authorize(account="888")["max_seconds"] == 120
    books.change("account", credit_limit="0.12")
    assert node.authorize()["max_seconds"] == 60
    live.configured.given["Engine.Longest_Call"] = 30
    assert node.authorize()["max_seconds"] == 30


def test_accounts_are_found_by_number_alias_did_address_and_password(books: Books, node: Asking) -> None:
    books.account("alias-1", billing_model="alias", i_master_account=books.made["account"])
    books.world.make("did_number", number="4420777", state="assigned", i_account=books.made["account"])
    for asked in ({"account": f"+{JOHN}"}, {"account": "alias-1"}, {"account": "4420777"}, {"account": "+44 20 777"},
                  {"username": JOHN, "password": "geheim"}, {"username": "alias-1", "password": "geheim"}):  # fmt: skip
        answer = node.authorize(**asked)
        assert (answer["allowed"], answer["i_account"]) == (True, books.made["account"]), (asked, answer["text"])


def test_an_alias_that_is_blocked_stops_its_own_calls_alone(books: Books, node: Asking) -> None:
    books.account("alias-1", billing_model="alias", i_master_account=books.made["account"], blocked=True)
    assert node.authorize(account="alias-1")["reason"] == "account-blocked"
    assert node.authorize()["allowed"]


def test_an_address_finds_the_account_of_the_smallest_network(books: Books, node: Asking) -> None:
    trunk = books.account("trunk-1", allowed_addresses=["203.0.113.0/24"])
    office = books.account("15551", allowed_addresses=["203.0.113.7", "2001:db8::/64"])
    assert node.authorize(ip="203.0.113.9")["i_account"] == trunk
    assert node.authorize(ip="203.0.113.7")["i_account"] == office
    assert node.authorize(ip="::ffff:203.0.113.7")["i_account"] == office
    assert node.authorize(ip="2001:db8::5")["i_account"] == office
    assert node.authorize(ip="198.51.100.1")["reason"] == "account-unknown"
    assert node.authorize(ip="nowhere")["reason"] == "account-unknown"
    second = books.account("15552", allowed_addresses=["203.0.113.7"])
    assert node.authorize(ip="203.0.113.7", caller="+1 555 2")["i_account"] == second, "by the number that it shows"
    assert node.authorize(ip="203.0.113.7", caller="999")["reason"] == "account-unknown"
    books.world.change("account", office, {"allowed_addresses": []})
    assert node.authorize(ip="203.0.113.7", caller="999")["i_account"] == second


def test_add_on_products_are_asked_first_while_they_last(books: Books, node: Asking) -> None:
    world, made = books.world, books.made
    cheap = world.make("tariff", name="Cheap", currency="USD")
    books.rate("420", "Czech Republic", "0.01", "0.01", 60, 60, tariff=cheap)
    add_on = world.make("product", name="Czech flat", currency="USD")
    world.make("rating_entry", i_product=add_on, i_tariff=cheap, i_node=None, service="voice")
    ended = {"effective_from": "2026-01-01", "effective_to": "2026-02-01"}
    bound = world.make("account_add_on", i_account=made["account"], i_product=add_on, priority=5, **ended)
    assert node.authorize()["rate"]["price_first"] == "0.12"
    world.change("account_add_on", bound, {"effective_to": None})
    assert node.authorize()["rate"]["price_first"] == "0.01"
    assert node.authorize(called=TOLL_FREE)["reason"] == "destination-forbidden", (
        "what it has no rate for is the product's"
    )


def test_entries_of_the_node_and_the_direction_go_first(books: Books, node: Asking) -> None:
    world, made = books.world, books.made
    for price, more in (
        ("0.05", {"i_node": made["node"]}),
        ("0.06", {"i_node": None, "direction": "incoming"}),
    ):
        tariff = world.make("tariff", name=f"Of {price}", currency="USD")
        books.rate("", "All", price, price, 60, 60, tariff=tariff)
        world.make("rating_entry", i_product=made["product"], i_tariff=tariff, service="voice", **more)
    assert node.authorize(called=PRAGUE)["rate"]["price_first"] == "0.05"
    world.make("node", name="edge-2")
    assert node.authorize(node="edge-2")["rate"]["price_first"] == "0.12"
    assert node.authorize(node="edge-2", direction="incoming")["rate"]["price_first"] == "0.06"


@pytest.mark.parametrize("database", ["sqlite"])
def test_a_rate_holds_from_its_time_on(books: Books, node: Asking) -> None:
    books.rate("420", "Czech Republic", "0.50", "0.50", 60, 60, since="2030-01-01T00:00:00Z")
    assert node.authorize()["rate"]["price_first"] == "0.12"
    assert node.authorize(at="2030-01-01T00:00:00Z")["rate"]["price_first"] == "0.50"


@pytest.mark.parametrize("database", ["sqlite"])
def test_days_end_in_the_zone_of_the_environment(engine: Engine, books: Books, node: Asking) -> None:
    books.change("account", expiration_date="2027-06-30")
    assert node.authorize(at="2027-06-30T23:30:00Z")["allowed"]
    from sqlalchemy import select

    from goods import ANN
    from ringback.billing.entities.models import Environment
    from ringback.changes.service import changing

    with changing(engine, ANN, ("default",)) as work:
        work.scalars(select(Environment)).one().time_zone = "Asia/Tokyo"
    assert node.authorize(at="2027-06-30T23:30:00Z")["reason"] == "account-expired"


@pytest.mark.parametrize("database", ["sqlite"])
def test_a_node_that_is_not_active_or_known_by_its_address(live: Running, books: Books, node: Asking) -> None:
    assert node.authorize(node="192.0.2.1", call_id="c7")["allowed"]
    assert {each.node for each in live.lines("c7")} == {"edge-1"}
    books.change("node", active=False)
    assert node.authorize()["reason"] == "node-unknown"
