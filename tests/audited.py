"""What tests of changes share: an actor, an environment's first entities, and `assert_audited` for everyday tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import orjson
from sqlalchemy import Engine, select

from ringback import clock
from ringback.audit.models import AuditRecord
from ringback.billing.entities.models import Account, Customer, Product
from ringback.changes.schemas import Actor, Json
from ringback.changes.service import changing
from ringback.records.engine import UnitOfWork, reading
from ringback.records.wall import EVERYWHERE

ANN = Actor("user", "ann", "console", "7", "192.0.2.7", "request-1")


def assert_audited(
    engine: Engine,
    entity_type: str,
    entity_id: object,
    action: str,
    *,
    environment: str = "default",
    changes: Mapping[str, tuple[Json, Json]] | None = None,
    actor: str = "",
    cause: AuditRecord | None = None,
) -> AuditRecord:
    """The newest record of this action on this entity is there, with (at least) these changes, by this actor."""
    found = records(engine, environment, entity_type=entity_type, entity_id=str(entity_id), action=action)
    told = [(one.action, one.entity_type, one.entity_id) for one in records(engine, environment)]
    assert found, f"no audit record of {action} on {entity_type} {entity_id} in {environment}; there are {told}"
    newest = found[-1]
    known = orjson.loads(newest.changes)
    for name, (old, new) in (changes or {}).items():
        assert known.get(name) == [old, new], f"{name} in {known}"
    assert not actor or newest.actor == actor
    assert cause is None or newest.cause_id == cause.id
    return newest


def records(engine: Engine, environment: str = "default", **equal: object) -> Sequence[AuditRecord]:
    """In the order in which they were written."""
    asked = select(AuditRecord).where(AuditRecord.environment == environment).order_by(AuditRecord.seq)
    with reading(engine, EVERYWHERE) as session:
        return session.scalars(asked.filter_by(**equal)).all()


def add_customer(work: UnitOfWork, name: str = "Jerry Price", **more: object) -> Customer:
    values = {"name": name, "currency": "USD", "balance": Decimal(0), "due_days": 14, "created_at": clock.now()}
    customer = Customer(**(values | more))
    work.add(customer)
    work.flush()
    return customer


def add_product(work: UnitOfWork, name: str = "Standard TV", **more: object) -> Product:
    product = Product(**({"name": name, "currency": "USD", "created_at": clock.now()} | more))
    work.add(product)
    work.flush()
    return product


def add_account(
    work: UnitOfWork, customer: Customer, product: Product, charging_id: str = "12103355787", **more: object
) -> Account:
    values = {
        "charging_id": charging_id, "customer_id": customer.id, "product_id": product.id, "balance": Decimal(0),
        "created_at": clock.now(),
    }  # fmt: skip
    account = Account(**(values | more))
    work.add(account)
    work.flush()
    return account


def jerry_price(engine: Engine, environment: str = "default") -> tuple[Customer, Account]:
    """A customer with an account of the product Standard TV."""
    with changing(engine, ANN, (environment,)) as work:
        customer = add_customer(work)
        return customer, add_account(work, customer, add_product(work))
