"""Whose a number is, and whose numbers they are: by account, alias, DID number and SIM card, in one environment."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from goods import World
from ringback.billing.entities.numbers import MOST_NAMES, customers_named, numbers_of, whose
from ringback.records.engine import reading
from ringback.records.wall import OtherEnvironment


class Books:
    """John has an account with an alias, a DID number and a SIM card; Mary has an account."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.john = world.make("customer", name="John Doe")
        self.mary = world.make("customer", name="Mary Doe")
        self.line = world.make("account", id="12105550100", i_customer=self.john)
        self.alias = world.make(
            "account", id="john.doe", i_customer=self.john, billing_model="alias", i_master_account=self.line
        )
        self.other = world.make("account", id="12105550101", i_customer=self.mary)
        self.did = world.make("did_number", number="12105550180", state="assigned", i_account=self.line)
        self.sim = world.make("sim_card", imsi="310260000000001", i_account=self.line, status="in_use")

    def whose(self, *names: str, ids: tuple[int, ...] = ()) -> list[tuple[str, str, int, str]]:
        with reading(self.world.engine, (self.world.environment,)) as session:
            return [(one.name, one.known_as, one.account_id, one.customer) for one in whose(session, names, ids)]

    def numbers(self, **of: Any) -> list[str]:
        with reading(self.world.engine, (self.world.environment,)) as session:
            return numbers_of(session, **of)


@pytest.fixture
def books(world: World) -> Books:
    return Books(world)


def test_a_number_is_found_by_whatever_it_is_to_the_account(books: Books) -> None:
    assert books.whose("310260000000001", "nobody", "12105550180", "john.doe", "12105550101", "12105550100") == [
        ("310260000000001", "SIM card", books.line, "John Doe"),
        ("12105550180", "DID number", books.line, "John Doe"),
        ("john.doe", "alias", books.alias, "John Doe"),
        ("12105550101", "account", books.other, "Mary Doe"),
        ("12105550100", "account", books.line, "John Doe"),
    ]
    assert books.whose(ids=(books.other, 999_999)) == [("12105550101", "account", books.other, "Mary Doe")]
    assert books.whose() == []
    assert len(books.whose(*(f"1210555{n:04}" for n in range(1000)))) == 3, "the first of too many names"


def test_it_is_one_query(books: Books) -> None:
    asked: list[str] = []

    def count(_c: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        asked.append(statement)

    event.listen(books.world.engine, "before_cursor_execute", count)
    books.whose("12105550100", "12105550180", "310260000000001", ids=(books.other,))
    event.remove(books.world.engine, "before_cursor_execute", count)
    assert len([one for one in asked if one.lstrip().startswith("SELECT")]) == 1


def test_nothing_of_another_environment_is_found(books: Books) -> None:
    with reading(books.world.engine, ("elsewhere",)) as session:
        assert whose(session, ["12105550100", "12105550180", "310260000000001"], [books.line]) == []
        assert numbers_of(session, customer_id=books.john) == []
        assert list(customers_named(session, "John Doe", sees_personal=True)) == []
    with reading(books.world.engine, None) as session, pytest.raises(OtherEnvironment):
        whose(session, ["12105550100"])


def test_the_numbers_of_an_account_and_of_a_customer(books: Books) -> None:
    own = ["12105550100", "12105550180", "310260000000001", "john.doe"]
    assert books.numbers(customer_id=books.john) == own
    assert books.numbers(account_id=books.line) == own
    assert books.numbers(account_id=books.alias) == ["john.doe"]
    assert books.numbers(customer_id=books.mary) == ["12105550101"]
    assert books.numbers(account_id=999_999) == []


def test_a_customer_with_very_many_numbers(books: Books) -> None:
    for n in range(MOST_NAMES + 1):
        books.world.make("did_number", number=f"442079{n:06}", state="assigned", i_account=books.other)
    assert len(books.numbers(customer_id=books.mary)) == MOST_NAMES


def test_a_name_is_found_in_part_by_who_may_see_it_and_whole_by_others(books: Books) -> None:
    def named(text: str, *, sees: bool) -> list[int]:
        with reading(books.world.engine, (books.world.environment,)) as session:
            return [row.id for row in customers_named(session, text, sees_personal=sees)]

    assert named("doe", sees=True) == [books.john, books.mary]
    assert named("doe", sees=False) == []
    assert named("John Doe", sees=False) == [books.john]
