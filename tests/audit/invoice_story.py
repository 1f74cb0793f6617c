"""The September invoice as audit records: issued, adjusted, partly paid, overdue, and what that led to."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from sqlalchemy import Engine

from audited import ANN, add_account, add_customer, add_product
from ringback.billing.entities.models import Account, Customer
from ringback.changes.schemas import CHANGED, Actor, Fact, Money
from ringback.changes.service import because, changing, note

TASK = Actor("task", "invoice calculation", "task", "311")
OVERDUE = Actor("task", "overdue handling", "task", "312")
BOB = Actor("user", "bob", "console", "9", "192.0.2.9", "request-9")
CRM = Actor("token", "crm", "api", "4", "198.51.100.4", "request-4")


def tell_invoice_story(engine: Engine, environment: str = "default") -> tuple[int, int]:
    """(id of the customer, id of the record that is the root): twelve records of one tree, after those of the setting-up."""
    here = (environment,)
    with changing(engine, ANN, here) as work:
        customer = add_customer(work, "Jerry Price", email="jerry@price.example", phone="12103355787")
        product, premium = add_product(work, "Standard TV"), add_product(work, "Premium TV")
        account = add_account(work, customer, product)
        work.flush()
    money = Money(Decimal(100), Decimal(0), Decimal(100), "USD")
    root = _balance(engine, TASK, customer, money, None, "Invoice 1001 of September: subscriptions and 14 calls")
    adjusted = _balance(
        engine, BOB, customer, Money(Decimal(-30), Decimal(100), Decimal(70), "USD"), root,
        "Two calls were charged twice (ticket 4711)",
    )  # fmt: skip
    paid = _balance(
        engine, CRM, customer, Money(Decimal(-60), Decimal(70), Decimal(10), "USD"), adjusted, "Card payment 2204"
    )
    with changing(engine, OVERDUE, here, reason="10.00 USD still due since 1 October") as work, because(work, paid):
        work.get_one(Customer, customer.id).limited = True
    for reason, change in (
        ("Second notice was not answered", {"suspension_delayed_until": date(2026, 10, 20)}),
        ("20 October is past", {"bill_status": "suspended"}),
    ):
        with changing(engine, OVERDUE, here, reason=reason) as work, because(work, paid):
            found = work.get_one(Customer, customer.id)
            for name, value in change.items():
                setattr(found, name, value)
            work.flush()
            if "bill_status" in change:
                with because(work, work.info["ringback_facts"][-1]):
                    work.get_one(Account, account.id).status = "suspended"
                    work.flush()
                    with because(work, work.info["ringback_facts"][-1]):
                        work.get_one(Account, account.id).blocked = True
    last = _balance(
        engine, CRM, customer, Money(Decimal(-10), Decimal(10), Decimal(0), "USD"), paid, "Bank transfer 2290"
    )
    with changing(engine, OVERDUE, here, reason="Everything is paid") as work, because(work, last):
        found = work.get_one(Customer, customer.id)
        found.bill_status = "open"
        work.flush()
        with because(work, work.info["ringback_facts"][-1]):
            owned = work.get_one(Account, account.id)
            owned.blocked = False
            work.flush()
            with because(work, work.info["ringback_facts"][-1]):
                owned.status = "active"
    with changing(engine, ANN, here) as work:
        work.get_one(Account, account.id).product_id = premium.id
    return customer.id, root


def _balance(engine: Engine, actor: Actor, customer: Customer, money: Money, cause: int | None, reason: str) -> int:
    """Id of the record."""
    with changing(engine, actor, (customer.environment,), reason=reason) as work:
        fact: Fact = note(
            work, CHANGED, "customer", customer.id, customer.name, customer.owner(),
            changes={"balance": (str(money.before), str(money.after))}, money=money, cause=cause,
        )  # fmt: skip
    assert fact.record_id is not None
    return fact.record_id
