"""Each change of a tracked object is one fact, with its cause, in the transaction of the change."""

from __future__ import annotations

import threading
from decimal import Decimal

import orjson
import pytest
from sqlalchemy import Engine, select
from sqlalchemy.exc import OperationalError

from audited import ANN, add_account, add_customer, add_product, assert_audited, jerry_price, records
from databases import only_postgresql
from ringback.billing.entities.models import Account, Customer, Product
from ringback.changes.schemas import SECRET
from ringback.changes.service import because, changing, do_changing, note_on
from ringback.changes.tracked import UntrackedChange
from ringback.records.engine import UnitOfWork, reading, unit_of_work
from ringback.records.wall import EVERYWHERE

HERE = ("default",)


def test_a_new_object_is_a_record_of_what_was_set_and_nothing_else(engine: Engine) -> None:
    customer, account = jerry_price(engine)
    made = assert_audited(engine, "account", account.id, "created", actor="ann")
    changes = orjson.loads(made.changes)
    assert changes["charging_id"] == [None, "12103355787"]
    assert changes["customer_id"] == [None, customer.id]
    assert {"id", "version", "environment", "created_at", "balance", "credit_limit", "role"}.isdisjoint(changes)
    assert (made.version, made.entity_name) == (1, "12103355787")
    assert (made.customer_id, made.account_id) == (customer.id, account.id)
    assert (made.realm, made.address, made.request_id, made.actor_id) == ("console", "192.0.2.7", "request-1", "7")


def test_a_change_tells_old_and_new_and_the_version_after_it(engine: Engine) -> None:
    _, account = jerry_price(engine)
    with changing(engine, ANN, HERE, reason="fraud", comment="seen in the night") as work:
        found = work.get_one(Account, account.id)
        found.blocked, found.credit_limit = True, Decimal("12.5")
    record = assert_audited(engine, "account", account.id, "changed", changes={"blocked": (False, True)})
    assert orjson.loads(record.changes) == {"blocked": [False, True], "credit_limit": [None, "12.5"]}
    assert (record.version, record.reason, record.comment) == (2, "fraud", "seen in the night")


def test_setting_what_is_so_already_is_no_change(engine: Engine) -> None:
    _, account = jerry_price(engine)
    with changing(engine, ANN, HERE) as work:
        found = work.get_one(Account, account.id)
        found.blocked, found.role = False, found.role
    assert records(engine, entity_type="account", action="changed") == []


def test_several_flushes_of_one_unit_of_work_are_one_record_from_first_to_last(engine: Engine) -> None:
    _, account = jerry_price(engine)
    with changing(engine, ANN, HERE) as work:
        found = work.get_one(Account, account.id)
        for role in ("fax", "trunk", "mobile"):
            found.role = role
            found.blocked = not found.blocked
            work.flush()
        found.blocked = False
        work.flush()
    (record,) = records(engine, entity_type="account", action="changed")
    assert orjson.loads(record.changes) == {"role": ["", "mobile"]}
    assert record.version == 5


def test_a_change_that_is_taken_back_in_its_unit_of_work_leaves_no_record_and_its_effects_keep_a_cause(
    engine: Engine,
) -> None:
    customer, account = jerry_price(engine)
    with changing(engine, ANN, HERE) as work:
        command = note_on(work, "test.command", work.get_one(Customer, customer.id))
        with because(work, command):
            found = work.get_one(Account, account.id)
            found.blocked = True
            work.flush()
            changed = work.info["ringback_facts"][-1]
            with because(work, changed):
                work.get_one(Customer, customer.id).limited = True
            found.blocked = False
    assert records(engine, entity_type="account", action="changed") == []
    commanded = assert_audited(engine, "customer", customer.id, "test.command")
    effect = assert_audited(engine, "customer", customer.id, "changed", cause=commanded)
    assert effect.root_id == commanded.id


def test_a_secret_is_told_as_changed_never_as_what_it_is(engine: Engine) -> None:
    _, account = jerry_price(engine)
    with changing(engine, ANN, HERE) as work:
        work.get_one(Account, account.id).service_password = "geheim"
    record = assert_audited(engine, "account", account.id, "changed", changes={"service_password": (None, SECRET)})
    assert "geheim" not in record.changes
    with changing(engine, ANN, HERE) as work:
        work.get_one(Account, account.id).service_password = "another"
    assert_audited(engine, "account", account.id, "changed", changes={"service_password": (SECRET, SECRET)})


def test_a_deleted_object_tells_what_it_was(engine: Engine) -> None:
    with changing(engine, ANN, HERE) as work:
        product = add_product(work, subscription_fee=Decimal("9.90"))
    with changing(engine, ANN, HERE) as work:
        work.delete(work.get_one(Product, product.id))
    assert_audited(
        engine, "product", product.id, "deleted",
        changes={"name": ("Standard TV", None), "subscription_fee": ("9.90000", None)},
    )  # fmt: skip


def test_what_was_never_read_cannot_be_changed(engine: Engine) -> None:
    _, account = jerry_price(engine)
    with changing(engine, ANN, HERE) as work:
        found = work.get_one(Account, account.id)
        work.expire(found, ["role"])
        found.role = "fax"
        with pytest.raises(UntrackedChange, match=r"account\.role was changed before it was read"):
            work.flush()
        work.rollback()
    assert records(engine, entity_type="account", action="changed") == []


def test_nobody_changes_anything_without_an_actor(engine: Engine) -> None:
    with pytest.raises(UntrackedChange, match="without an actor"), unit_of_work(engine, HERE) as work:
        add_customer(work)
    with reading(engine, HERE) as session:
        assert session.scalars(select(Customer)).all() == []


def test_causes_nest_and_every_effect_knows_the_first(engine: Engine) -> None:
    with changing(engine, ANN, HERE) as work:
        customer = add_customer(work)
    with changing(engine, ANN, HERE) as work:
        first = note_on(work, "test.one", customer)
        with because(work, first):
            second = note_on(work, "test.two", customer)
            with because(work, second):
                product = add_product(work)
            account = add_account(work, customer, product)
        add_product(work, "Of itself")
    one = assert_audited(engine, "customer", customer.id, "test.one")
    two = assert_audited(engine, "customer", customer.id, "test.two", cause=one)
    three = assert_audited(engine, "product", product.id, "created", cause=two)
    four = assert_audited(engine, "account", account.id, "created", cause=one)
    alone = records(engine, entity_name="Of itself")[0]
    assert {one.root_id, two.root_id, three.root_id, four.root_id} == {one.id}
    assert (alone.cause_id, alone.root_id) == (None, alone.id)
    assert one.cause_id is None
    assert one.id < two.id < three.id < four.id


def test_an_effect_in_a_later_unit_of_work_names_the_record(engine: Engine) -> None:
    customer, account = jerry_price(engine)
    with changing(engine, ANN, HERE) as work:
        fact = note_on(work, "test.one", work.get_one(Customer, customer.id))
    assert fact.record_id is not None
    with changing(engine, ANN, HERE) as work, because(work, fact.record_id):
        later = note_on(work, "test.two", work.get_one(Customer, customer.id))
        with because(work, later):
            work.get_one(Account, account.id).blocked = True
    one = assert_audited(engine, "customer", customer.id, "test.one")
    two = assert_audited(engine, "customer", customer.id, "test.two", cause=one)
    assert assert_audited(engine, "account", account.id, "changed", cause=two).root_id == one.id


def test_one_change_for_two_causes_is_two_records(engine: Engine) -> None:
    customer, account = jerry_price(engine)
    with changing(engine, ANN, HERE) as work:
        found, owner = work.get_one(Account, account.id), work.get_one(Customer, customer.id)
        for number in (1, 2):
            with because(work, note_on(work, f"test.{number}", owner)):
                found.role = f"role {number}"
    told = [orjson.loads(one.changes) for one in records(engine, entity_type="account", action="changed")]
    assert told == [{"role": ["", "role 1"]}, {"role": ["role 1", "role 2"]}]


def test_what_is_rolled_back_leaves_nothing(engine: Engine) -> None:
    customer, account = jerry_price(engine)
    before = len(records(engine))

    class ChangedMind(Exception):
        pass

    def change() -> None:
        with changing(engine, ANN, HERE) as work:
            note_on(work, "test.command", work.get_one(Customer, customer.id))
            work.get_one(Account, account.id).blocked = True
            work.flush()
            raise ChangedMind

    with pytest.raises(ChangedMind):
        change()
    assert len(records(engine)) == before
    jerry = records(engine)[-1]
    with changing(engine, ANN, HERE) as work:
        add_product(work, "Next")
    assert records(engine)[-1].seq == jerry.seq + 1


def test_what_a_savepoint_takes_back_leaves_no_record_but_the_rest_does(engine: Engine) -> None:
    customer, account = jerry_price(engine)
    with changing(engine, ANN, HERE) as work:
        found = work.get_one(Account, account.id)
        found.role = "fax"
        work.flush()
        kept = work.begin_nested()
        found.credit_limit = Decimal(5)
        kept.commit()
        undone = work.begin_nested()
        found.blocked = True
        add_product(work, "Never was")
        note_on(work, "test.command", work.get_one(Customer, customer.id))
        undone.rollback()
        add_product(work, "Is")
    told = {(one.action, one.entity_name) for one in records(engine)}
    assert ("created", "Is") in told
    assert ("created", "Never was") not in told
    assert records(engine, action="test.command") == []
    changed: dict[str, object] = {}
    for one in records(engine, entity_type="account", action="changed"):
        changed |= orjson.loads(one.changes)
    assert changed == {"role": ["", "fax"], "credit_limit": [None, "5"]}


def test_a_unit_of_work_of_savepoints_alone_that_are_all_undone_writes_nothing(engine: Engine) -> None:
    with changing(engine, ANN, HERE) as work:
        undone = work.begin_nested()
        add_product(work, "Never was")
        undone.rollback()
    assert records(engine) == []


@only_postgresql
def test_a_unit_of_work_that_was_broken_off_makes_each_record_once(engine: Engine) -> None:
    """Two that lock two accounts in opposite order: PostgreSQL ends one, which is done again."""
    with changing(engine, ANN, HERE) as work:
        customer, product = add_customer(work), add_product(work)
        ids = [add_account(work, customer, product, f"1210{number}").id for number in (1, 2)]
    both, tries = threading.Barrier(2), []

    def swap(first: int, second: int) -> None:
        attempts: list[int] = []

        def do(work: UnitOfWork) -> None:
            attempts.append(1)
            tries.append(1)
            for one in (first, second):
                account = work.get_one(Account, one, with_for_update=True)
                account.role = f"by {first}"
                work.flush()
                if one == first and len(attempts) == 1:
                    both.wait(timeout=20)

        do_changing(engine, ANN, HERE, do)

    threads = [threading.Thread(target=swap, args=pair) for pair in (ids, ids[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tries) == 3
    changed = records(engine, entity_type="account", action="changed")
    assert len(changed) == 4
    assert [one.seq for one in records(engine)] == list(range(1, len(records(engine)) + 1))


def test_what_fails_for_another_reason_is_not_tried_again(engine: Engine) -> None:
    tries = []

    def do(work: UnitOfWork) -> None:
        tries.append(1)
        add_customer(work)
        raise OperationalError("x", {}, Exception("the disk is full"))

    with pytest.raises(OperationalError):
        do_changing(engine, ANN, HERE, do)
    assert tries == [1]
    assert records(engine) == []


def test_one_unit_of_work_in_two_environments_writes_both_chains_and_causes_reach_across(engine: Engine) -> None:
    with changing(engine, ANN, EVERYWHERE) as work:
        here = add_product(work, "Here", environment="default")
        with because(work, note_on(work, "test.command", here)):
            there = add_product(work, "There", environment="other")
    command = assert_audited(engine, "product", here.id, "test.command")
    effect = assert_audited(engine, "product", there.id, "created", environment="other", cause=command)
    assert (effect.seq, effect.root_id) == (1, command.id)
    assert [one.seq for one in records(engine)] == [1, 2]
