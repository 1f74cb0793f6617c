"""Lists: what is found, in which order, page by page; and what is kept from those who may not see personal data."""

from __future__ import annotations

import random

import pytest

from goods import NAMES, World
from ringback.billing.entities import queries
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.queries import BadQuery, ListQuery, page, sortable, titles
from ringback.records.engine import reading

every_type = pytest.mark.parametrize("name", NAMES)


def ids(world: World, name: str, *, sees: bool = True, **query: object) -> list[int]:
    with reading(world.engine, (world.environment,)) as session:
        return [row.id for row in page(session, TYPES[name], ListQuery(**query), sees_personal=sees).rows]  # type: ignore[arg-type]


@every_type
def test_pages_show_everything_once_in_any_order(world: World, name: str) -> None:
    kind = TYPES[name]
    if name == "environment":
        return  # one sees one's own
    for _ in range(7):
        world.make(name)
    kept = ids(world, name, limit=100)
    assert kept == sorted(kept, reverse=True), "the newest first"
    assert len(kept) >= 7
    orders = [field.api for field in kind.fields if sortable(kind, field, sees_personal=True)]
    assert orders
    with reading(world.engine, (world.environment,)) as session:
        for sort in (
            "",
            "id" if name != "account" else kind.about.id_name,
            *orders,
            *(f"-{each}" for each in orders),
        ):
            seen: list[int] = []
            cursor: str | None = ""
            while cursor is not None:
                found = page(session, kind, ListQuery(sort=sort, limit=2, cursor=cursor), sees_personal=True)
                seen += [row.id for row in found.rows]
                assert (found.total, found.more_than_total) == (len(kept), False)
                cursor = found.cursor
            assert sorted(seen) == sorted(kept), sort
            whole = [row.id for row in page(session, kind, ListQuery(sort=sort, limit=100), sees_personal=True).rows]
            assert seen == whole, sort


def test_empty_values_are_last_in_both_directions(world: World) -> None:
    made = {fee: world.make("product", subscription_fee=fee) for fee in (None, "5", "0", "12")}
    for sort, order in (("subscription_fee", ["0", "5", "12", None]), ("-subscription_fee", ["12", "5", "0", None])):
        assert ids(world, "product", sort=sort) == [made[fee] for fee in order]


def test_words_and_digits_are_found_as_people_type_them(world: World) -> None:
    jerry = world.make("customer", name="Jerry Žižka", phone="+1 (210) 335-5787", email="JZ@example.net")
    other = world.make("customer", name="50%_off", phone="")
    for text in ("jerry", "ŽIŽ", "žiž", "3355787", "335-5787", "+1 210 335 5787", "jz@EXAMPLE"):
        assert jerry in ids(world, "customer", search=text), text
        assert other not in ids(world, "customer", search=text), text
    for text in ("%", "_", "0%_o"):
        assert ids(world, "customer", search=text) == [other], text
    assert ids(world, "customer", search=f"#{jerry}") == [jerry]
    number = world.make("did_number", number="442079460958")
    assert ids(world, "did_number", search="(20) 7946") == [number]
    assert ids(world, "did_number", search="7946 nothing") == []


def test_filters(world: World) -> None:
    customer, other = world.make("customer"), world.make("customer", blocked=True, currency="EUR")
    first = world.make("account", id="777", i_customer=customer)
    second = world.make("account", blocked=True, i_customer=customer, billing_model="debit")
    assert ids(world, "account", filters={"i_customer": str(customer)}) == [second, first]
    assert ids(world, "account", filters={"i_customer": str(other)}) == []
    assert ids(world, "account", filters={"blocked": "yes"}) == [second]
    assert ids(world, "account", filters={"billing_model": "debit,credit"}) == [second, first]
    assert ids(world, "account", filters={"id": "777"}) == [first]
    assert ids(world, "account", filters={"i_master_account": "none", "blocked": "no"}) == [first]
    assert ids(world, "customer", filters={"currency": "EUR"}) == [other]
    assert ids(world, "account", ids=[first]) == [first]
    for name, value in (
        ("role", "x"),
        ("nope", "x"),
        ("blocked", "maybe"),
        ("i_customer", "Jerry"),
        ("status_shown", "x"),
    ):
        with pytest.raises(BadQuery) as caught:
            ids(world, "account", filters={name: value})
        assert caught.value.parameter == name


def test_who_may_not_see_personal_data_cannot_find_out(world: World) -> None:
    jerry = world.make("customer", name="Jerry Price", phone="+12103355787", email="j@example.net")
    account = world.make("account", id="12103355787", i_customer=jerry)
    for text in ("Jerry", "jerry price", "335", "2103355787", "j@"):
        assert ids(world, "customer", sees=False, search=text) == []
        assert ids(world, "account", sees=False, search=text) == []
    assert ids(world, "customer", sees=False, search="Jerry Price") == [jerry]
    assert ids(world, "account", sees=False, search="12103355787") == [account]
    for name, sort in (
        ("customer", "name"),
        ("account", "id_"),
        ("account", "charging_id"),
        ("account", "i_customer"),
    ):
        with pytest.raises(BadQuery):
            ids(world, name, sees=False, sort=sort)
    assert ids(world, "customer", sees=False, sort="-currency") != []


def test_a_cursor_of_another_order_is_refused(world: World) -> None:
    for _ in range(3):
        world.make("customer")
    with reading(world.engine, (world.environment,)) as session:
        kind = TYPES["customer"]
        cursor = page(session, kind, ListQuery(sort="name", limit=1), sees_personal=True).cursor or ""
        for query in (ListQuery(cursor=cursor), ListQuery(sort="balance", cursor=cursor), ListQuery(cursor="x"),
                      ListQuery(sort="name", cursor=cursor[:-3]), ListQuery(cursor="eyJhIjoxfQ")):  # fmt: skip
            with pytest.raises(BadQuery) as caught:
                page(session, kind, query, sees_personal=True)
            assert caught.value.parameter == "cursor"


def test_the_count_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "MOST_COUNTED", 3)
    for _ in range(5):
        world.make("tariff")
    with reading(world.engine, (world.environment,)) as session:
        found = page(session, TYPES["tariff"], ListQuery(limit=2), sees_personal=True)
    assert (found.total, found.more_than_total) == (3, True)


def test_a_list_that_changes_shows_nothing_twice_and_leaves_nothing_out(world: World) -> None:
    there = [world.make("tariff", name=f"{number:02}") for number in range(0, 40, 2)]
    chance, seen, cursor = random.Random(7), [], ""
    while True:
        with reading(world.engine, (world.environment,)) as session:
            found = page(session, TYPES["tariff"], ListQuery(sort="name", limit=4, cursor=cursor), sees_personal=True)
        seen += [row.id for row in found.rows]
        if found.cursor is None:
            break
        cursor = found.cursor
        world.make("tariff", name=f"{chance.randrange(1, 40, 2):02}-{len(seen)}")
    assert len(seen) == len(set(seen))
    assert [id_ for id_ in seen if id_ in there] == there


def test_titles(world: World) -> None:
    account = world.make("account", id="4711")
    with reading(world.engine, (world.environment,)) as session:
        assert titles(session, TYPES["account"], [account, 10**6]) == {account: "4711"}
