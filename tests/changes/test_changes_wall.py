"""No query of a session sees or changes what is of another environment, however it is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import sqlalchemy
from sqlalchemy import Engine, Table, delete, exists, func, insert, select, text, true, union, update
from sqlalchemy.orm import Session, aliased, joinedload, lazyload, registry, relationship, selectinload

from audited import ANN, add_account, add_customer, add_product
from ringback.access.models import User
from ringback.audit.models import AuditChain, AuditRecord
from ringback.billing.entities.models import Account, Customer, Product
from ringback.billing.entities.node import Node, NodeSender
from ringback.changes.service import changing
from ringback.records.engine import do_in_unit_of_work, reading, unit_of_work
from ringback.records.tables import InEnvironment
from ringback.records.wall import EVERYWHERE, OtherEnvironment


class PlainProduct(InEnvironment):
    """Mapped once more, with the relationship that the product's own models go without."""


class PlainAccount(InEnvironment):
    product: Any


_mappings = registry()
_mappings.map_imperatively(PlainProduct, Product.__table__)
_key = Account.__table__.c.product_id == Product.__table__.c.id
_mappings.map_imperatively(
    PlainAccount,
    Account.__table__,
    properties={"product": relationship(PlainProduct, primaryjoin=_key, viewonly=True)},
)


@pytest.fixture
def ids(engine: Engine) -> dict[str, int]:
    """The account of each of two environments, which have the same entities."""
    found = {}
    for environment in ("red", "blue"):
        with changing(engine, ANN, (environment,)) as work:
            customer, product = add_customer(work, f"Jerry {environment}"), add_product(work)
            found[environment] = add_account(work, customer, product).id
            node = Node(name="edge", created_at=customer.created_at)
            work.add(node)
            work.flush()
            work.add(NodeSender(node_id=node.id, kind="agent", value="101"))
    return found


def names(session: Session) -> set[str]:
    return {name for (name,) in session.execute(select(Customer.name))}


def rows_of(session: Session) -> dict[str, list[object]]:
    """What each way of asking finds, as environments."""
    other, owner = aliased(Account), aliased(Customer)
    inner = select(Account.customer_id).subquery()
    cte = select(Account.environment, Account.id).cte()
    asked: dict[str, Any] = {
        "entity": select(Account),
        "column": select(Account.environment),
        "alias": select(other),
        "column of an alias": select(other.environment),
        "join": select(Customer.environment, Account.environment).join(Account, Account.customer_id == Customer.id),
        "joined alias": select(owner.environment).join(other, other.customer_id == owner.id),
        "outer join": select(Customer.environment).outerjoin(Account, Account.customer_id == Customer.id),
        "product of both": select(Account.environment, Customer.environment).join(Customer, true()),
        "cte": select(cte.c.environment),
        "union": union(select(Account.environment), select(Customer.environment)),
        "subquery of columns": select(select(Account.environment).subquery().c.environment),
        "in": select(Customer.environment).where(Customer.id.in_(select(inner.c.customer_id))),
        "group": select(Account.environment).group_by(Account.environment),
        "window": select(Account.environment, func.row_number().over(order_by=Account.id)),
        "from statement": select(Account).from_statement(select(Account).where(Account.id > 0)),
    }
    found = {}
    for name, statement in asked.items():
        values = []
        for row in session.execute(statement):
            values += [value.environment if hasattr(value, "environment") and not isinstance(value, str) else value
                       for value in row]  # fmt: skip
        found[name] = [value for value in values if not isinstance(value, int)]
    return found


@pytest.mark.parametrize("environment", ["red", "blue"])
def test_every_way_of_asking_finds_what_is_of_the_environment(
    engine: Engine, ids: dict[str, int], environment: str
) -> None:
    with reading(engine, (environment,)) as session:
        found = rows_of(session)
    assert {name: set(values) for name, values in found.items()} == {name: {environment} for name in found}


def test_a_session_for_two_sees_both_and_one_for_another_nothing(engine: Engine, ids: dict[str, int]) -> None:
    with reading(engine, ("red", "blue")) as session:
        assert names(session) == {"Jerry red", "Jerry blue"}
    with reading(engine, ("green",)) as session:
        assert all(values == [] for values in rows_of(session).values())
    with reading(engine, ()) as session:
        assert names(session) == set()
    with reading(engine, EVERYWHERE) as session:
        assert names(session) == {"Jerry red", "Jerry blue"}


def test_counts_existence_and_keys_are_of_the_environment(engine: Engine, ids: dict[str, int]) -> None:
    with reading(engine, ("red",)) as session:
        assert session.scalar(select(func.count()).select_from(Account)) == 1
        assert session.scalar(select(func.count(Account.id))) == 1
        assert session.scalar(select(func.max(Account.id))) == ids["red"]
        assert session.scalar(select(exists(select(Account).where(Account.id == ids["blue"])))) is False
        assert session.scalar(select(select(func.count(Account.id)).scalar_subquery())) == 1
        assert session.get(Account, ids["blue"]) is None
        assert session.get(Account, ids["red"]) is not None
        assert session.query(Account).filter_by(id=ids["blue"]).first() is None
        one = session.get_one(Account, ids["red"])
        session.refresh(one)
        assert one.environment == "red"


def test_relationships_stay_behind_the_wall(engine: Engine, ids: dict[str, int]) -> None:
    """Even where a key leads across, which no page makes."""
    with changing(engine, ANN, EVERYWHERE) as work:
        blue = work.scalars(select(Product).where(Product.environment == "blue")).one()
        work.get_one(Account, ids["red"]).product_id = blue.id
    for load in (lazyload, selectinload, joinedload):
        with reading(engine, ("red",)) as session:
            account = session.scalars(select(PlainAccount).options(load(PlainAccount.product))).one()
            assert account.product is None


def test_updates_and_deletes_of_models_are_narrowed(engine: Engine, ids: dict[str, int]) -> None:
    with unit_of_work(engine, ("red",)) as work:
        work.execute(update(NodeSender).values(value="999"))
    with reading(engine, EVERYWHERE) as session:
        told = set(session.execute(select(NodeSender.environment, NodeSender.value)))
    assert told == {("red", "999"), ("blue", "101")}
    with unit_of_work(engine, ("red",)) as work:
        work.execute(delete(NodeSender))
    with reading(engine, EVERYWHERE) as session:
        assert session.scalars(select(NodeSender.environment)).all() == ["blue"]


def test_a_row_of_another_environment_is_not_written(engine: Engine, ids: dict[str, int]) -> None:
    def add(session_of: tuple[str, ...], environment: str) -> None:
        with changing(engine, ANN, session_of) as work:
            add_product(work, "New", environment=environment)

    with pytest.raises(OtherEnvironment, match="Product of environment 'blue' in a session for red"):
        add(("red",), "blue")
    add(("red", "blue"), "blue")
    with reading(engine, EVERYWHERE) as session:
        found = session.scalars(select(Product.environment).where(Product.name == "New")).all()
    assert found == ["blue"]


def test_a_row_is_not_moved_to_another_environment(engine: Engine, ids: dict[str, int]) -> None:
    def move() -> None:
        with changing(engine, ANN, ("red",)) as work:
            work.get_one(Account, ids["red"]).environment = "blue"

    with pytest.raises(OtherEnvironment):
        move()


@pytest.mark.parametrize(
    "write",
    [
        lambda: insert(NodeSender).values(environment="blue", node_id=1, kind="agent", value="7"),
        lambda: insert(NodeSender).values([{"environment": "blue", "node_id": 1, "kind": "agent", "value": "7"}]),
        lambda: update(NodeSender).values(environment="blue"),
        lambda: update(NodeSender).values({NodeSender.environment: "blue"}),
        lambda: insert(NodeSender).from_select(
            ["environment", "node_id", "kind", "value"],
            select(NodeSender.environment, NodeSender.node_id, NodeSender.kind, NodeSender.value),
        ),
    ],
)
def test_statements_write_no_row_of_another_environment(
    engine: Engine, ids: dict[str, int], write: Callable[[], Any]
) -> None:
    with pytest.raises(OtherEnvironment):
        do_in_unit_of_work(engine, lambda work: work.execute(write()), ("red",))


def test_a_list_of_rows_is_looked_at_too_and_ones_own_are_written(engine: Engine, ids: dict[str, int]) -> None:
    with reading(engine, ("red",)) as session:
        node = session.scalars(select(Node.id)).one()
    rows = [{"environment": each, "node_id": node, "kind": "agent", "value": each} for each in ("red", "blue")]
    with pytest.raises(OtherEnvironment):
        do_in_unit_of_work(engine, lambda work: work.execute(insert(NodeSender), rows), ("red",))
    do_in_unit_of_work(engine, lambda work: work.execute(insert(NodeSender), rows[:1]), ("red",))
    one = {"environment": "red", "node_id": node, "kind": "agent", "value": "one"}
    do_in_unit_of_work(engine, lambda work: work.execute(insert(NodeSender).values(one)), ("red",))
    with reading(engine, EVERYWHERE) as session:
        found = set(session.execute(select(NodeSender.environment, NodeSender.value)))
    assert found == {("red", "101"), ("red", "red"), ("red", "one"), ("blue", "101")}


@pytest.mark.parametrize(
    "ask",
    [
        lambda session: session.execute(text("SELECT * FROM accounts")),
        lambda session: session.execute(select(Account.__table__)),
        lambda session: session.execute(select(text("name")).select_from(sqlalchemy.table("accounts"))),
        lambda session: session.execute(select(func.count()).select_from(Account.__table__)),
        lambda session: session.execute(delete(cast("Table", Account.__table__))),
        lambda session: session.execute(select(Account.__table__).union(select(Account.__table__))),
    ],
)
def test_what_is_asked_past_the_models_is_refused(
    engine: Engine, ids: dict[str, int], ask: Callable[[Session], object]
) -> None:
    with reading(engine, ("red",)) as session, pytest.raises(OtherEnvironment, match="past the models"):
        ask(session)
    with reading(engine) as session, pytest.raises(OtherEnvironment):
        ask(session)


def test_a_session_for_no_environment_reads_what_has_none_and_nothing_else(
    engine: Engine, ids: dict[str, int]
) -> None:
    with reading(engine) as session:
        assert session.scalars(select(User)).all() == []
        crossing = select(User).join(Customer, Customer.id == User.id)
        assert session.scalars(crossing).all() == []
        for asked in (select(Account), select(Account.id), select(AuditChain.seq)):
            with pytest.raises(OtherEnvironment, match="opened for no environment"):
                session.execute(asked)
        with pytest.raises(OtherEnvironment):
            session.get(Account, ids["red"])


def test_the_audit_log_stands_behind_the_wall_too(engine: Engine, ids: dict[str, int]) -> None:
    with reading(engine, ("red",)) as session:
        assert set(session.scalars(select(AuditRecord.environment))) == {"red"}
        assert session.scalars(select(AuditChain.environment)).all() == ["red"]
