"""The statuses of `status` as conditions of SQL: to filter long lists by them."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, or_

from ringback.billing.entities.models import Account, Customer


def customer_status_sql(today: date) -> ColumnElement[str]:
    one = Customer
    prepaid, limit = one.balance_control == "prepaid", one.credit_limit
    return case(
        (one.bill_status == "closed", "closed"),
        (one.blocked, "blocked"),
        (one.bill_status == "suspended", "suspended"),
        (one.bill_status == "deactivated", "deactivated"),
        (one.limited, "limited"),
        (one.suspension_delayed_until >= today, "suspension_delayed"),
        (and_(~prepaid, one.balance >= limit), "credit_exceeded"),
        (and_(prepaid, one.balance >= func.coalesce(limit, 0)), "no_available_funds"),
        (one.bill_status == "exported", "exported"),
        else_="active",
    )


def account_status_sql(today: date) -> ColumnElement[str]:
    """In a query that joins the account's customer."""
    one: Any = Account
    its: Any = Customer
    funds = one.billing_model.in_(("debit", "voucher"))
    by_own = and_(one.credit_limit.is_not(None), one.balance >= one.credit_limit)
    by_shared = and_(one.credit_limit.is_(None), its.balance_control != "prepaid", its.balance >= its.credit_limit)
    return case(
        (or_(one.status == "closed", its.bill_status == "closed"), "closed"),
        (one.blocked, "blocked"),
        (its.blocked, "customer_blocked"),
        (one.status == "suspended", "suspended"),
        (its.bill_status == "suspended", "customer_suspended"),
        (or_(one.status == "inactive", its.bill_status == "deactivated"), "inactive"),
        (one.activation_date > today, "not_yet_active"),
        (one.expiration_date < today, "expired"),
        (one.status == "frozen", "frozen"),
        (one.status == "quarantine", "quarantine"),
        (one.status == "screening", "screening"),
        (and_(funds, one.balance > 0), "overdraft"),
        (and_(funds, one.balance == 0), "zero_balance"),
        (and_(~funds, or_(by_own, by_shared)), "credit_exceeded"),
        (or_(one.status == "limited", its.limited), "limited"),
        else_="active",
    )
