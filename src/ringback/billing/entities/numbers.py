"""Whose a number or login is, and which numbers and logins are somebody's. Sessions are opened for one environment.

An account is known to nodes by its charging id, by those of its aliases, by its DID numbers and by the IMSI of its SIM cards.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, literal, or_, select, union_all
from sqlalchemy.orm import Session

from ringback.billing.entities.models import TYPES, Account, Customer, DidNumber, SimCard
from ringback.billing.entities.queries import ListQuery, page
from ringback.billing.entities.whose import Whose

MOST_NAMES = 200  # looked up, or found, at once
MOST_CUSTOMERS = 5  # that a name may stand for in a search


def whose(session: Session, names: Collection[str], account_ids: Collection[int] = ()) -> list[Whose]:
    """One query. In the order of the names, then of the ids; those that are nobody's are left out."""
    wanted, ids = list(dict.fromkeys(names))[:MOST_NAMES], list(dict.fromkeys(account_ids))[:MOST_NAMES]
    if not wanted and not ids:
        return []
    found = union_all(
        select(
            Account.charging_id.label("name"), literal("account").label("known_as"), Account.id.label("account_id")
        ).where(or_(Account.charging_id.in_(wanted), Account.id.in_(ids))),
        select(DidNumber.number, literal("DID number"), DidNumber.account_id).where(DidNumber.number.in_(wanted)),
        select(SimCard.imsi, literal("SIM card"), SimCard.account_id).where(SimCard.imsi.in_(wanted)),
    ).subquery()
    rows = session.execute(
        select(found.c.name, found.c.known_as, Account, Customer.name)
        .join(Account, Account.id == found.c.account_id)
        .join(Customer, Customer.id == Account.customer_id)
    )
    place = {name: at for at, name in enumerate(wanted)}
    told = [
        Whose(
            name, "alias" if known_as == "account" and account.alias_of_id is not None else known_as,
            account.id, account.charging_id, account.customer_id, customer,
        )
        for name, known_as, account, customer in rows
    ]  # fmt: skip
    return sorted(told, key=lambda one: (place.get(one.name, len(place)), one.account_id, one.known_as))


def numbers_of(session: Session, *, customer_id: int | None = None, account_id: int | None = None) -> list[str]:
    """Every number and login of an account (its aliases' too) or of all accounts of a customer: the first MOST_NAMES."""
    of = Account.customer_id == customer_id if account_id is None else _itself_and_aliases(account_id)
    accounts = select(Account.id).where(of)
    found = union_all(
        select(Account.charging_id.label("name")).where(of),
        select(DidNumber.number).where(DidNumber.account_id.in_(accounts)),
        select(SimCard.imsi).where(SimCard.account_id.in_(accounts)),
    ).subquery()
    return list(session.scalars(select(found.c.name).distinct().order_by(found.c.name).limit(MOST_NAMES)))


def _itself_and_aliases(account_id: int) -> ColumnElement[bool]:
    return or_(Account.id == account_id, Account.alias_of_id == account_id)


def customers_named(session: Session, text: str, *, sees_personal: bool) -> Sequence[Customer]:
    """Those that a list of customers would find; who may not see personal data finds them by their whole name."""
    query = ListQuery(search=text, sort="name" if sees_personal else "", limit=MOST_CUSTOMERS)
    return page(session, TYPES["customer"], query, sees_personal=sees_personal).rows
