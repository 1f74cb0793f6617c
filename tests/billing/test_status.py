"""Statuses are a function of rows and the date; SQL says the same as Python."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from goods import HOME, World
from ringback import clock
from ringback.billing.entities.models import TYPES, Account, Customer
from ringback.billing.entities.queries import STATUS, ListQuery, page
from ringback.billing.entities.status import ACCOUNT_STATUSES, CUSTOMER_STATUSES, account_status, customer_status
from ringback.billing.entities.status_sql import account_status_sql, customer_status_sql
from ringback.records.engine import reading, unit_of_work

TODAY = date(2026, 11, 22)
DAYS = st.none() | st.sampled_from([TODAY - timedelta(1), TODAY, TODAY + timedelta(1)])
AMOUNTS = st.sampled_from([Decimal(each) for each in ("-1", "0", "0.00001", "1", "50")])
LIMITS = st.none() | st.sampled_from([Decimal(0), Decimal(1), Decimal(50)])


def values(kind: str, field: str) -> st.SearchStrategy[str]:
    return st.sampled_from([value for value, _ in TYPES[kind][field].choices])


CUSTOMERS = st.fixed_dictionaries(
    {
        "bill_status": values("customer", "bill_status"), "balance_control": values("customer", "balance_control"),
        "blocked": st.booleans(), "limited": st.booleans(), "suspension_delayed_until": DAYS, "balance": AMOUNTS,
        "credit_limit": LIMITS,
    }
)  # fmt: skip
ACCOUNTS = st.fixed_dictionaries(
    {
        "status": values("account", "status"), "billing_model": values("account", "billing_model"),
        "blocked": st.booleans(), "activation_date": DAYS, "expiration_date": DAYS, "balance": AMOUNTS,
        "credit_limit": LIMITS,
    }
)  # fmt: skip


def customer(**more: Any) -> Customer:
    usual = {
        "bill_status": "open", "balance_control": "postpaid", "blocked": False, "limited": False, "balance": Decimal(0),
        "currency": "USD",
    }  # fmt: skip
    return Customer(**usual | more)


def account(**more: Any) -> Account:
    usual = {"status": "active", "billing_model": "credit", "blocked": False, "balance": Decimal(0)}
    return Account(**usual | more)


def test_the_first_that_applies_is_shown_with_its_reason() -> None:
    worst: dict[str, Any] = {
        "bill_status": "closed", "blocked": True, "limited": True, "suspension_delayed_until": TODAY,
        "credit_limit": Decimal(10), "balance": Decimal("12.5"),
    }  # fmt: skip
    steps: list[tuple[dict[str, Any], str]] = [
        ({}, "closed"), ({"bill_status": "suspended"}, "blocked"), ({"blocked": False}, "suspended"),
        ({"bill_status": "exported"}, "limited"), ({"limited": False}, "suspension_delayed"),
        ({"suspension_delayed_until": TODAY - timedelta(1)}, "credit_exceeded"), ({"balance": Decimal(9)}, "exported"),
        ({"bill_status": "open"}, "active"),
    ]  # fmt: skip
    for change, code in steps:
        worst |= change
        status = customer_status(customer(**worst), TODAY)
        assert status.code == code
        assert status.label == CUSTOMER_STATUSES[code]
        assert status.reason.endswith(".")
    over = customer_status(customer(credit_limit=Decimal(10), balance=Decimal("12.5")), TODAY)
    assert over.reason == "The balance of 12.50 USD has reached the credit limit of 10.00 USD."
    paid = customer_status(customer(balance_control="prepaid"), TODAY)
    assert paid.code == "no_available_funds"
    assert customer_status(customer(), TODAY, Decimal(5)).code == "active"


def test_a_debit_account_holds_funds_and_a_credit_account_owes() -> None:
    def code(who: Customer | None = None, **more: Any) -> str:
        return account_status(account(**more), who or customer(), TODAY).code

    assert code(billing_model="debit") == "zero_balance"
    assert code(billing_model="debit", balance=Decimal(-5)) == "active"
    assert code(billing_model="debit", balance=Decimal(5)) == "overdraft"
    assert code(credit_limit=Decimal(5), balance=Decimal(5)) == "credit_exceeded"
    assert code(customer(credit_limit=Decimal(5), balance=Decimal(5))) == "credit_exceeded"
    assert code(customer(credit_limit=Decimal(5), balance=Decimal(5)), credit_limit=Decimal(9)) == "active"
    assert code(activation_date=TODAY) == "active"
    assert code(activation_date=TODAY + timedelta(1)) == "not_yet_active"
    assert code(expiration_date=TODAY) == "active"
    assert code(expiration_date=TODAY - timedelta(1)) == "expired"
    assert code(customer(blocked=True)) == "customer_blocked"
    assert code(customer(bill_status="suspended")) == "customer_suspended"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CUSTOMERS, st.lists(ACCOUNTS, max_size=4)), min_size=1, max_size=8))
def test_sql_says_the_same(engine: Engine, found: list[tuple[dict[str, Any], list[dict[str, Any]]]]) -> None:
    world = World(engine)
    product = world.one("product")
    made, now = [], clock.now()
    from goods import ANN
    from ringback.changes.service import act_as

    with unit_of_work(engine, (HOME,)) as work:
        act_as(work, ANN)
        for number, (one, accounts) in enumerate(found):
            row = Customer(name=f"{now} {number}", currency="USD", due_days=1, created_at=now, **one)
            work.add(row)
            work.flush()
            made.append(row.id)
            for place, each in enumerate(accounts):
                work.add(
                    Account(
                        charging_id=f"{row.id}-{place}",
                        customer_id=row.id,
                        product_id=product,
                        created_at=now,
                        **each,
                    )
                )
    with reading(engine, (HOME,)) as session:
        for row in session.scalars(select(Customer).where(Customer.id.in_(made))):
            said = session.scalar(select(customer_status_sql(TODAY)).where(Customer.id == row.id))
            assert said == customer_status(row, TODAY).code
        joined = select(Account, Customer, account_status_sql(TODAY)).join(
            Customer, Customer.id == Account.customer_id
        )
        for row_, its, told in session.execute(joined.where(Customer.id.in_(made))):
            assert told == account_status(row_, its, TODAY).code


def test_lists_are_filtered_by_the_status_shown(engine: Engine) -> None:
    world = World(engine)
    blocked = world.make("customer", blocked=True)
    owner = world.make("customer", bill_status="suspended")
    account_ = world.make("account", i_customer=owner)
    with reading(engine, (HOME,)) as session:

        def ids(kind: str, status: str) -> list[int]:
            query = ListQuery(filters={STATUS: status})
            return [row.id for row in page(session, TYPES[kind], query, sees_personal=True).rows]

        assert ids("customer", "blocked") == [blocked]
        assert ids("customer", "suspended,blocked") == [owner, blocked]
        assert not {owner, blocked} & set(ids("customer", "active"))
        assert ids("account", "customer_suspended") == [account_]
        assert ids("account", "active") == []
    assert set(ACCOUNT_STATUSES) >= {"active", "quarantine"}
