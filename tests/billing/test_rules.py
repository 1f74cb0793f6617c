"""What must hold between fields, and between an entity and what it links to."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import Engine, select

from databases import at_once
from goods import ANN, HOME, World
from ringback.billing.entities.errors import WHOLE, EntityErrors, InUse
from ringback.billing.entities.models import TYPES, Environment
from ringback.billing.entities.senders import owners
from ringback.billing.entities.service import change, create
from ringback.changes.service import changing
from ringback.records.engine import reading


def refused(world: World, name: str, id_: int | None = None, /, **given: object) -> dict[str, str]:
    do = partial(world.make, name, **given) if id_ is None else partial(world.change, name, id_, given)
    with pytest.raises(EntityErrors) as caught:
        do()
    return caught.value.errors


def test_a_closed_customer_is_final_but_for_notes(world: World) -> None:
    customer = world.one("customer")
    account = world.make("account")
    assert "1 account is still open" in refused(world, "customer", customer, bill_status="closed")["bill_status"]
    world.change("account", account, {"status": "closed"})
    world.change("customer", customer, {"bill_status": "closed"})
    assert "final" in refused(world, "customer", customer, bill_status="open")[WHOLE]
    assert "final" in refused(world, "customer", customer, notes="x", city="Prague")[WHOLE]
    assert world.change("customer", customer, {"notes": "moved away"}).notes == "moved away"
    assert "closed" in refused(world, "account")["customer_id"]
    assert "closed" in refused(world, "cpe")["customer_id"]


def test_a_closed_account_is_final(world: World) -> None:
    account = world.one("account")
    world.change("account", account, {"status": "closed"})
    assert "final" in refused(world, "account", account, status="active")[WHOLE]
    assert "final" in refused(world, "account", account, blocked=True)[WHOLE]
    for name in ("account_add_on", "account_commitment"):
        assert "closed" in refused(world, name)["account_id"]
    assert "closed" in refused(world, "did_number", state="assigned", i_account=account)["account_id"]


def test_an_exported_customer_opens_again(world: World) -> None:
    customer = world.one("customer")
    world.change("customer", customer, {"bill_status": "exported"})
    assert "opened again" in refused(world, "customer", customer, bill_status="suspended")["bill_status"]
    world.change("customer", customer, {"bill_status": "open"})
    assert "cannot be closed" in refused(world, "customer", bill_status="closed")["bill_status"]


def test_an_alias_stands_for_an_account_of_the_same_customer(world: World) -> None:
    master = world.one("account")
    alias = world.make("account", billing_model="alias", i_master_account=master)
    assert "needs the account" in refused(world, "account", billing_model="alias")["alias_of_id"]
    assert "alias itself" in refused(world, "account", billing_model="alias", i_master_account=alias)["alias_of_id"]
    assert "Only an account" in refused(world, "account", i_master_account=master)["alias_of_id"]
    assert "no alias of itself" in refused(world, "account", alias, i_master_account=alias)["alias_of_id"]
    other = world.make("customer")
    given = {"billing_model": "alias", "i_master_account": master, "i_customer": other}
    assert "another customer" in refused(world, "account", None, **given)["alias_of_id"]
    with pytest.raises(InUse, match="1 account"):
        world.delete("account", master)


def test_currencies_are_one(world: World) -> None:
    euros = world.make("product", currency="EUR")
    assert "in EUR" in refused(world, "account", i_product=euros)["product_id"]
    assert "in EUR" in refused(world, "account", world.one("account"), i_product=euros)["product_id"]
    assert "in EUR" in refused(world, "account_add_on", i_product=euros)["product_id"]
    tariff = world.make("tariff", currency="EUR")
    assert "in EUR" in refused(world, "rating_entry", i_tariff=tariff)["tariff_id"]


def test_services_are_one(world: World) -> None:
    data = world.make("tariff", service="data")
    assert "another service" in refused(world, "rating_entry", i_tariff=data)["tariff_id"]
    assert "another service" in refused(world, "connection", i_tariff=data)["tariff_id"]
    world.make("rating_entry")
    assert "of its own" in refused(world, "tariff", world.one("tariff"), service="data")["service"]


def test_an_add_on_is_no_main_product_and_once_at_a_time(world: World) -> None:
    account = world.one("account")
    assert "main product" in refused(world, "account_add_on", i_product=world.one("product"))["product_id"]
    extra = world.make("product")
    first = world.make("account_add_on", i_product=extra, effective_to="2026-06-30")
    again = {"i_product": extra, "effective_from": "2026-06-30"}
    assert "already" in refused(world, "account_add_on", None, **again)["effective_from"]
    second = world.make("account_add_on", i_product=extra, effective_from="2026-07-01")
    assert "already" in refused(world, "account_add_on", first, effective_to=None)["effective_from"]
    world.change("account_add_on", second, {"effective_from": "2026-07-02"})
    assert account


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("account", "activation_date", "expiration_date"),
        ("account_add_on", "effective_from", "effective_to"),
        ("account_commitment", "assigned_from", "assigned_to"),
    ],
)
def test_what_ends_began_before(world: World, name: str, first: str, last: str) -> None:
    assert "not before" in refused(world, name, None, **{first: "2026-05-02", last: "2026-05-01"})[last]
    world.make(name, **{first: "2026-05-02", last: "2026-05-02"})


def test_a_number_is_assigned_to_an_account_or_free(world: World) -> None:
    account = world.one("account")
    assert "needs its account" in refused(world, "did_number", state="assigned")["account_id"]
    assert "no account" in refused(world, "did_number", i_account=account)["state"]
    number = world.make("did_number", state="assigned", i_account=account)
    with pytest.raises(InUse, match="make it free first"):
        world.delete("did_number", number)
    world.change("did_number", number, {"state": "frozen"})
    world.change("did_number", number, {"state": "free", "i_account": None})
    world.delete("did_number", number)


def test_a_sim_card_in_use_has_an_account(world: World) -> None:
    account = world.one("account")
    assert "needs its account" in refused(world, "sim_card", status="in_use")["account_id"]
    assert "has no account" in refused(world, "sim_card", i_account=account)["status"]
    card = world.make("sim_card", status="in_use", i_account=account)
    with pytest.raises(InUse, match="in use"):
        world.delete("sim_card", card)
    world.change("sim_card", card, {"status": "disposed", "i_account": None})
    assert "not used again" in refused(world, "sim_card", card, status="available")["status"]


def test_a_profile_is_of_the_devices_model(world: World) -> None:
    profile = world.make("cpe_profile", model="T19")
    assert "of the model T19" in refused(world, "cpe", i_cpe_profile=profile)["profile_id"]
    assert "of the model T46" in refused(world, "cpe", world.make("cpe"), model="T19")["profile_id"]


def test_speeds_are_in_order(world: World) -> None:
    errors = refused(world, "access_policy", regular_speed=100, turbo_speed=50, limited_speed=200)
    assert errors.keys() == {"turbo_speed", "limited_speed"}


@pytest.mark.parametrize("key", ["unassigned", "installation", "Upper", "-x", "", "a" * 64])
def test_keys_of_environments(world: World, key: str) -> None:
    assert "key" in refused(world, "environment", key=key)


def test_the_default_environment_stays(world: World) -> None:
    with reading(world.engine, (HOME,)) as session:
        row = session.scalars(select(Environment)).one()
    assert (row.key, row.name, row.currency, row.time_zone) == ("default", "Default", "USD", "UTC")
    assert "stays active" in refused(world, "environment", row.id, active=False)["active"]
    with pytest.raises(InUse, match="stays"):
        world.delete("environment", row.id)


def test_an_environment_with_something_in_it_stays(world: World) -> None:
    made = world.make("environment", key="tenant")
    World(world.engine, "tenant").make("customer")
    with pytest.raises(InUse, match="1 customer"):
        world.delete("environment", made)


def test_the_key_of_an_environment_is_given_once(world: World) -> None:
    world.delete("environment", world.make("environment", key="gone"))
    assert "its audit log still is" in refused(world, "environment", key="gone")["key"]


def test_a_sender_is_one_nodes_and_goes_with_it(world: World) -> None:
    edge = world.make("node", name="edge", agents=["101", "0102"], addresses=["192.0.2.1:05060", "2001:DB8:0::1"])
    assert world.read("node", edge).agents == ["101", "102"]
    assert world.read("node", edge).addresses == ["192.0.2.1:5060", "2001:db8::1"]
    assert refused(world, "node", agents=["102"])["agents"] == "102 belongs to the node edge already."
    assert "belongs to the node edge" in refused(world, "node", addresses=["[2001:db8::1]"])["addresses"]
    assert "at least one" in refused(world, "node", agents=[], addresses=[])["addresses"]
    world.change("node", edge, {"agents": ["7"]})
    core = world.make("node", agents=["102"])
    with reading(world.engine, (world.environment,)) as session:
        assert owners(session, world.environment, "agent", ["7", "101", "102"]) == {
            "7": (edge, "edge"),
            "102": (core, world.read("node", core).name),
        }
    world.delete("node", edge)
    world.make("node", agents=["7"])


def test_what_is_made_at_once_is_made_once(engine: Engine, hosts: list[Engine]) -> None:
    def make(host: Engine) -> str:
        try:
            with changing(host, ANN, (HOME,)) as work:
                create(work, TYPES["customer"], HOME, {"name": "Jerry Price", "currency": "USD"})
        except EntityErrors as error:
            return error.errors["name"]
        return "made"

    said = sorted(at_once(*(partial(make, host) for host in hosts)))
    assert said[-1] == "made"
    assert len(said) == 4
    assert all("There is a customer Jerry Price already" in sentence for sentence in said[:-1])


def test_a_customer_does_not_close_while_an_account_is_made(engine: Engine, hosts: list[Engine]) -> None:
    world = World(engine)
    customer, product = world.one("customer"), world.one("product")

    def close() -> str:
        try:
            with changing(hosts[0], ANN, (HOME,)) as work:
                change(work, TYPES["customer"], HOME, customer, {"bill_status": "closed"}, None)
        except EntityErrors:
            return "refused"
        return "done"

    def make() -> str:
        given = world.given("account", i_customer=customer, i_product=product)
        try:
            with changing(hosts[1], ANN, (HOME,)) as work:
                create(work, TYPES["account"], HOME, given)
        except EntityErrors:
            return "refused"
        return "done"

    assert sorted(at_once(close, make)) == ["done", "refused"]
