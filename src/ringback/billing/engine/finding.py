"""Whose call it is, and by which rate it is charged: what authorizing and accounting both look up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any, cast
from zoneinfo import ZoneInfo

from ringback import clock
from ringback.billing.engine.billing_log import Trail
from ringback.billing.engine.direct import Direct
from ringback.billing.engine.documents import Asked, Told, amount
from ringback.billing.engine.queries import MOST_ADDRESSES, WHO, Statements
from ringback.billing.engine.rating import Rate, RatingEntry, dialled, digits_of, entry_for
from ringback.billing.engine.reasons import OF_STATUS, Refused
from ringback.billing.engine.tokens import Caller
from ringback.billing.entities.models import Account, Customer
from ringback.billing.entities.status import account_status

FUNDS = ("debit", "voucher")  # billing models of accounts that hold funds


@dataclass(slots=True)
class AccountRow:
    """As `entities.models.Account` names it."""

    id: int
    charging_id: str
    product_id: int
    billing_model: str
    balance: Decimal
    credit_limit: Decimal | None
    simultaneous_calls: int | None
    status: str
    blocked: bool
    activation_date: date | None
    expiration_date: date | None


@dataclass(slots=True)
class CustomerRow:
    """As `entities.models.Customer` names it."""

    id: int
    name: str
    currency: str
    balance_control: str
    balance: Decimal
    credit_limit: Decimal | None
    blocked: bool
    bill_status: str
    limited: bool
    suspension_delayed_until: date | None


@dataclass(slots=True)
class ProductRow:
    id: int
    name: str
    simultaneous_calls: int | None


@dataclass(slots=True)
class Found:
    """Who asks. `asked` is the account that was named, `account` the one that is charged: an alias's master."""

    versions: tuple[int | None, int | None]  # of token and owner
    time_zone: str
    node_id: int | None
    node_active: bool
    sealed_password: str | None
    charged_before: int  # sessions of the call, of this account and direction
    asked: AccountRow
    account: AccountRow
    customer: CustomerRow
    product: ProductRow
    rated: list[tuple[Any, ...]]  # what may rate the call, as `queries.Statements.who` has it

    def today(self, at: datetime) -> date:
        return at.astimezone(_zone(self.time_zone)).date()


@dataclass(frozen=True, slots=True)
class Priced:
    """The rate that a number is charged by, and where it stands."""

    rate: Rate
    tariff_id: int
    tariff: str
    product_id: int
    product: str


@dataclass(frozen=True, slots=True)
class NoAccount:
    versions: tuple[int | None, int | None]
    node_id: int | None
    node_active: bool


_A, _M, _C, _P = 7, 18, 29, 39  # where each entity's fields begin in a row of `queries.Statements.who`


def find(
    direct: Direct, statements: Statements, caller: Caller, call: Asked | Told, account: str, at: datetime
) -> Found | NoAccount | None:
    """`account`: an account's id or a DID number. None: there is no such environment any more."""
    given: dict[str, Any] = {
        "environment": caller.environment, "node": call.node, "account": account, "did": digits_of(account),
        "call_id": call.call_id, "direction": call.direction, "service": call.service, "number": dialled(call.called),
        "at": at, **caller.ids,
    }  # fmt: skip
    rows = direct.rows(statements.who, given)
    if not rows:
        return None
    row = rows[0]
    versions = (row[0], row[1])
    if row[_A] is None:
        return NoAccount(versions, row[3], bool(row[4]))
    asked, charged = AccountRow(*row[_A:_M]), AccountRow(*row[_M:_C])
    customer, product = CustomerRow(*row[_C:_P]), ProductRow(*row[_P:WHO])
    before = row[6] and direct.rows(statements.charged_before, given | {"account_id": charged.id})[0][0]
    rated = [each[WHO:] for each in rows]
    return Found(versions, row[2], row[3], bool(row[4]), row[5], before, asked, charged, customer, product, rated)


def node_by_address(
    direct: Direct, statements: Statements, environment: str, text: str
) -> tuple[int, str, bool] | None:
    """(id, name, active) of the node that has this address, for nodes that are known by nothing else."""
    try:
        address = str(ip_address(text))
    except ValueError:
        return None
    rows = direct.rows(statements.node_by_address, {"environment": environment, "address": address})
    return (rows[0][0], rows[0][1], bool(rows[0][2])) if rows else None


def accounts_by_address(direct: Direct, statements: Statements, environment: str, text: str) -> list[str]:
    """Ids of the accounts that call from an address: those that name the smallest network it lies in."""
    try:
        address = ip_address(text)
    except ValueError:
        raise Refused("account-unknown", f"{text} is no IP address.") from None
    if (mapped := getattr(address, "ipv4_mapped", None)) is not None:
        address = mapped
    names = [str(address)]
    names += [str(ip_network((address, bits), strict=False)) for bits in range(address.max_prefixlen, -1, -1)]
    names = names[:MOST_ADDRESSES] + names[-1:] * (MOST_ADDRESSES - len(names))
    given = {f"address_{place}": name for place, name in enumerate(names)}
    rows = direct.rows(statements.by_address, {"environment": environment, **given})
    if not rows:
        return []
    best = min(rows, key=lambda row: names.index(row[0]))[0]
    return [charging_id for value, charging_id in rows if value == best]


def check_status(found: Found, today: date) -> tuple[str, str]:
    """(code, sentence) of the account's status, and its master's. Raises Refused."""
    code, sentence = _status(found, found.account, today)
    if found.asked is not found.account and found.asked.id != found.account.id:
        alias_code, alias_sentence = _status(found, found.asked, today)
        if alias_code in OF_STATUS:
            raise Refused(OF_STATUS[alias_code], alias_sentence, ("account", found.asked.id))
    if code in OF_STATUS:
        theirs = code.startswith("customer_") or (code == "closed" and found.account.status != "closed") or (
            code == "inactive" and found.account.status != "inactive"
        )  # fmt: skip
        reason = "customer-suspended" if theirs and code == "inactive" else OF_STATUS[code]
        link = ("customer", found.customer.id) if theirs else ("account", found.account.id)
        raise Refused(reason, sentence, link)
    return code, sentence


def _status(found: Found, account: AccountRow, today: date) -> tuple[str, str]:
    status = account_status(cast("Account", account), cast("Customer", found.customer), today)
    return status.code, status.reason


@dataclass(frozen=True, slots=True)
class Funds:
    """What calls may cost yet. `left`: None without end; `kind`: funds (paid before) or credit; `link`: whose limit it is."""

    left: Decimal | None
    kind: str
    told: str
    link: tuple[str, int]


def funds_of(found: Found) -> Funds:
    account, customer, currency = found.account, found.customer, found.customer.currency
    mine, theirs = ("account", account.id), ("customer", customer.id)
    if account.billing_model in FUNDS:
        left = -account.balance
        return Funds(left, "funds", f"The account holds funds of {amount(left)} {currency}.", mine)
    found_: list[Funds] = []
    if account.credit_limit is not None:
        left = account.credit_limit - account.balance
        told = (
            f"The account owes {amount(account.balance)} of its credit limit of {amount(account.credit_limit)} {currency}:"
            f" {amount(left)} are left."
        )
        found_.append(Funds(left, "credit", told, mine))
    if customer.balance_control == "prepaid":
        left = (customer.credit_limit or Decimal(0)) - customer.balance
        told = f"The customer pays in advance and has {amount(left)} {currency} left."
        found_.append(Funds(left, "funds", told, theirs))
    elif account.credit_limit is None and customer.credit_limit is not None:
        left = customer.credit_limit - customer.balance
        told = (
            f"The customer owes {amount(customer.balance)} of its credit limit of {amount(customer.credit_limit)} {currency}:"
            f" {amount(left)} are left."
        )
        found_.append(Funds(left, "credit", told, theirs))
    if not found_:
        return Funds(None, "credit", f"The customer owes {amount(customer.balance)} {currency}; there is no credit limit.",
                     theirs)  # fmt: skip
    return min(found_, key=lambda each: each.left or Decimal(0))


def find_rate(found: Found, call: Asked | Told, at: datetime, trail: Trail | None = None) -> Priced:
    """Of the add-on product with the greatest priority that has a rate for the number, else of the account's product.
    `trail` is told which entry and rate. Raises Refused."""
    service, direction, number = call.service, call.direction, call.called
    tariffs: list[tuple[RatingEntry, str, str, Rate | None]] = []
    elsewhere = False
    for _, rows in sorted(_products(found, found.today(at)).items()):
        entries = [RatingEntry(*row[4:9]) for row in rows]
        best = entry_for(entries, direction, found.node_id)
        if best is None:
            elsewhere |= any(each.direction in (direction, "any") for each in entries)
            continue
        row = rows[entries.index(best)]
        tariffs.append((best, row[9], row[10], Rate(*row[11:]) if row[11] is not None else None))
    if not tariffs:
        _no_entry(found, service, direction, elsewhere)
    for entry, product, tariff, rate in tariffs:
        if rate is None:
            continue
        if trail is not None:
            trail.know(i_product=entry.product_id, i_tariff=entry.tariff_id)
            trail.tell("product", f"The product {product} rates {direction} {service} calls by the tariff {tariff}.",
                       i_product=entry.product_id, i_tariff=entry.tariff_id, i_rating_entry=entry.id)  # fmt: skip
        return Priced(rate, entry.tariff_id, tariff, entry.product_id, product)
    entry, product, tariff, _ = tariffs[-1]
    if trail is not None:
        trail.know(i_product=entry.product_id, i_tariff=entry.tariff_id, product=product, tariff=tariff)
    names = " and ".join(dict.fromkeys(f"the tariff {name} of the product {of}" for _, of, name, _ in tariffs))
    raise Refused("destination-not-in-tariff", f"{number or 'An empty number'} begins with no prefix of {names}.",
                  ("tariff", entry.tariff_id))  # fmt: skip


def _products(found: Found, today: date) -> dict[tuple[int, int], list[tuple[Any, ...]]]:
    """Rows of the products that hold today, by (order, id): add-on products by their priority, then the account's own."""
    products: dict[tuple[int, int], list[tuple[Any, ...]]] = {}
    for row in found.rated:
        added, priority, since, until, entry, product = row[:6]
        if entry is None:
            continue
        if product == found.account.product_id:
            products.setdefault((1, product), []).append(row)
        if product == added and since <= today and (until is None or until >= today):
            products.setdefault((-priority, product), []).append(row)
    return products


def _no_entry(found: Found, service: str, direction: str, elsewhere: bool) -> None:
    """Raises Refused."""
    product = found.product
    link = ("product", product.id)
    if elsewhere:
        raise Refused("node-not-in-product", f"The product {product.name} has {service} on other nodes only.", link)
    raise Refused("service-not-in-product", f"The product {product.name} has no {direction} {service} service.", link)


@lru_cache(maxsize=512)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def now_or(at: datetime | None) -> datetime:
    return clock.now() if at is None else at
