"""May this call be made, and for how long? Step by step, each told to the billing log; the first that fails refuses."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from ringback import clock
from ringback.billing.engine import digest
from ringback.billing.engine.billing_log import Trail
from ringback.billing.engine.direct import Direct
from ringback.billing.engine.documents import Answer, Asked, amount, rate_document
from ringback.billing.engine.finding import (
    Found,
    Funds,
    NoAccount,
    Priced,
    accounts_by_address,
    check_status,
    find,
    find_rate,
    funds_of,
    node_by_address,
    now_or,
)
from ringback.billing.engine.models import RESERVED, STARTED
from ringback.billing.engine.queries import Statements, reserved
from ringback.billing.engine.rating import Rate, digits_of, max_seconds, price
from ringback.billing.engine.reasons import ZERO_BALANCE, Refused
from ringback.billing.engine.reserving import Reservations
from ringback.billing.engine.tokens import Caller
from ringback.records.secrets import unseal

REGISTRATION = "registration"  # a service that needs credentials and a status, and is not sold
SEALED_AS = "accounts.service_password"
MOST_SESSIONS_OF_A_CALL = 20  # that one Call-ID may be charged for, one after the other


class TokenChanged(Exception):
    """The token, or its owner, is other than what was remembered: look again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The options of one environment, in seconds and calls."""

    longest_call: int
    longest_ringing: int
    silence: int
    simultaneous_calls: int  # 0: no limit


def session_key(call_id: str, account_id: int, direction: str, number: int = 0) -> str:
    """The same for all that nodes ask and tell of one call of an account; `number` counts calls under one Call-ID."""
    text = "\0".join((call_id, str(account_id), direction, str(number)))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def trail_of(caller: Caller, asked: Asked) -> Trail:
    who = asked.account or asked.username
    return Trail(
        caller.environment, asked.node[:64], asked.call_id, asked.conf_id, who,
        caller=asked.caller, called=asked.called,
    )  # fmt: skip


def authorize(
    direct: Direct,
    statements: Statements,
    reservations: Reservations,
    caller: Caller,
    asked: Asked,
    limits: Limits,
    trail: Trail,
) -> Answer:
    """Also reserves the session. Raises TokenChanged, RecordsAway."""
    found: Found | None = None
    priced: Priced | None = None
    try:
        account, how = _named(direct, statements, caller, asked, trail)
        at = now_or(asked.at)
        looked = find(direct, statements, caller, asked, account, at)
        if looked is None or not caller.holds(looked.versions):
            raise TokenChanged
        node_id, node = _node(direct, statements, caller.environment, asked.node, looked)
        if isinstance(looked, NoAccount):
            raise Refused("account-unknown", f"No account and no assigned DID number is {account or 'empty'}.")
        found = looked
        found.node_id, trail.node = node_id, node
        _tell_account(found, account, how, trail)
        _check_credentials(found, asked)
        _tell_status(found, at, trail)
        if asked.service == REGISTRATION:
            return _registered(found, trail)
        funds = funds_of(found)
        trail.tell("balance", funds.told, balance=amount(found.account.balance), currency=found.customer.currency,
                   available=None if funds.left is None else amount(funds.left))  # fmt: skip
        priced = find_rate(found, asked, at, trail)
        _tell_rate(priced, found, asked, trail)
        _check_limited(found, priced.rate, asked)
        seconds = _affordable(found, funds, priced.rate, limits.longest_call)
        key = _reserve(direct, statements, reservations, caller, asked, found, priced, seconds, limits, at, trail)
        return _allowed(found, priced, seconds, key, trail)
    except Refused as refused:
        return _refused(refused, found, priced, trail)


def _named(direct: Direct, statements: Statements, caller: Caller, asked: Asked, trail: Trail) -> tuple[str, str]:
    """(account that is asked for, how it is known). Raises Refused."""
    a = "a" if asked.direction == "forwarded" else "an"
    numbers = f"from {asked.caller or 'an unknown number'} to {asked.called or 'an empty number'}"
    what = f"for {a} {asked.direction} {asked.service} call {numbers}"
    if asked.service == REGISTRATION:
        what = f"whether {asked.caller or 'a phone'} may register"
    trail.tell("request", f"{asked.node} asks {what}.",
               caller=asked.caller, called=asked.called, service=asked.service, direction=asked.direction)  # fmt: skip
    if asked.account:
        return asked.account, "its id"
    if asked.username:
        return asked.username, "its user name and password"
    if asked.ip:
        return _by_address(direct, statements, caller, asked), f"the address {asked.ip}"
    try:
        trail.account = digest.read_digest(asked.authorization).username
    except digest.BadDigest as error:
        raise Refused("wrong-password", str(error)) from error
    return trail.account, "its Digest user name"


def _by_address(direct: Direct, statements: Statements, caller: Caller, asked: Asked) -> str:
    """Where several accounts call from one address, the one whose number the caller shows."""
    found = accounts_by_address(direct, statements, caller.environment, asked.ip)
    if not found:
        raise Refused("account-unknown", f"No account calls from the address {asked.ip}.")
    if len(found) > 1:
        number = digits_of(asked.caller)
        found = [each for each in found if number and digits_of(each) == number]
        if len(found) != 1:
            raise Refused(
                "account-unknown",
                f"Several accounts call from the address {asked.ip}, and {asked.caller or 'no caller'} is none of their ids.",
            )
    return found[0]


def _node(
    direct: Direct, statements: Statements, environment: str, name: str, looked: Found | NoAccount
) -> tuple[int, str]:
    """(id, name). Raises Refused."""
    node_id, active = looked.node_id, looked.node_active
    if node_id is None:
        other = node_by_address(direct, statements, environment, name)
        if other is None:
            raise Refused("node-unknown", f"There is no node {name} in this environment: add it to the nodes.")
        node_id, name, active = other
    if not active:
        raise Refused("node-unknown", f"The node {name} is not active.", ("node", node_id))
    return node_id, name


def _tell_account(found: Found, account: str, how: str, trail: Trail) -> None:
    asked, charged, customer = found.asked, found.account, found.customer
    trail.account = asked.charging_id
    ids: dict[str, Any] = {"i_account": charged.id, "i_customer": customer.id, "i_product": found.product.id}
    trail.know(**ids, product=found.product.name, currency=customer.currency)
    text = f"Found the account {asked.charging_id} by {how}"
    if account != asked.charging_id:
        text += f" ({account} is a DID number of it)"
    if charged is not asked and charged.id != asked.id:
        text += f", an alias of {charged.charging_id}"
    trail.tell("account", f"{text}; its customer is {customer.name}, its product {found.product.name}.", **ids)


def _check_credentials(found: Found, asked: Asked) -> None:
    """Raises Refused."""
    if asked.account or asked.ip:
        return
    link = ("account", found.asked.id)
    if found.sealed_password is None:
        raise Refused("wrong-password", f"The account {found.asked.charging_id} has no service password.", link)
    password = unseal(found.sealed_password, SEALED_AS)
    if asked.password is not None:
        right = digest.same(asked.password, password)
    else:
        right = digest.is_right(digest.read_digest(asked.authorization), asked.method, password)
    if not right:
        raise Refused(
            "wrong-password", f"The password of the account {found.asked.charging_id} is another one.", link
        )


def _tell_status(found: Found, at: datetime, trail: Trail) -> None:
    """Raises Refused."""
    code, sentence = check_status(found, found.today(at))
    text = "The account and its customer are active." if code == "active" else sentence
    trail.tell("status", text, status=code)


def _tell_rate(priced: Priced, found: Found, asked: Asked, trail: Trail) -> None:
    """Raises Refused."""
    rate, currency = priced.rate, found.customer.currency
    known = {"i_rate": rate.id, "prefix": rate.prefix, "destination": rate.destination}
    trail.know(**known, tariff=priced.tariff, product=priced.product)
    told: dict[str, Any] = known | {"link_type": "rate", "link_id": rate.id}
    if rate.forbidden:
        trail.tell("rate", f"{asked.called} is {rate.told} in the tariff {priced.tariff}: forbidden.", **told)
        raise Refused(
            "destination-forbidden",
            f"Calls to {rate.told} are forbidden by the tariff {priced.tariff} of the product {priced.product}.",
            ("rate", rate.id or 0),
        )
    cost = "free" if rate.free else (
        f"{amount(rate.price_first)} {currency} a minute for the first {rate.interval_first} s, "
        f"then {amount(rate.price_next)} a minute by {rate.interval_next} s"
    )  # fmt: skip
    trail.tell("rate", f"{asked.called} is {rate.told} in the tariff {priced.tariff}: {cost}.",
               price=amount(rate.price_first), **told)  # fmt: skip


def _check_limited(found: Found, rate: Rate, asked: Asked) -> None:
    """Reduced services are free calls and incoming ones. Raises Refused."""
    if rate.free or asked.direction == "incoming":
        return
    if found.account.status == "limited":
        raise Refused("customer-limited", "Services of the account are reduced: only free calls are made.",
                      ("account", found.account.id))  # fmt: skip
    if found.customer.limited:
        raise Refused("customer-limited", "Services of the customer are reduced until it pays: only free calls are made.",
                      ("customer", found.customer.id))  # fmt: skip


def _affordable(found: Found, funds: Funds, rate: Rate, longest: int) -> int:
    """Seconds. Raises Refused."""
    seconds = max_seconds(rate, funds.left, longest)
    if seconds:
        return seconds
    left, currency = funds.left or Decimal(0), found.customer.currency
    first = f"the first {rate.interval_first} s cost {amount(price(rate, rate.interval_first))} {currency}"
    if funds.kind == "credit":
        raise Refused("credit-limit-reached", f"{funds.told[:-1]}, and {first}.", funds.link)
    nothing = left <= 0
    text = (
        f"Nothing is left of what was paid in, and {first}."
        if nothing
        else f"{amount(left)} {currency} are left, but {first}."
    )
    raise Refused("insufficient-balance", text, funds.link, h323_return_code=ZERO_BALANCE if nothing else None)


def _reserve(
    direct: Direct, statements: Statements, reservations: Reservations, caller: Caller, asked: Asked, found: Found,
    priced: Priced, seconds: int, limits: Limits, at: datetime, trail: Trail,
) -> str:  # fmt: skip
    """The session's key. Raises Refused where too many calls go on."""
    account, rate = found.account, priced.rate
    limit, whose = _limit(found, limits)
    now = clock.now()
    values = {
        "environment": caller.environment, "state": RESERVED, "account_id": account.id,
        "charging_id": found.asked.charging_id, "node": trail.node[:64], "call_id": asked.call_id,
        "conf_id": asked.conf_id, "service": asked.service, "direction": asked.direction,
        "caller": asked.caller[:64], "called": asked.called[:64], "authorized_at": at, "seen_at": now,
        "lapses_at": now + timedelta(seconds=limits.longest_ringing), "max_seconds": seconds, "seconds": 0, "told": 0,
        "rate_id": rate.id, "prefix": rate.prefix, "destination": rate.destination, "price_first": rate.price_first,
        "price_next": rate.price_next, "interval_first": rate.interval_first, "interval_next": rate.interval_next,
    }  # fmt: skip
    for number in range(found.charged_before, MOST_SESSIONS_OF_A_CALL):
        values["key"] = key = session_key(asked.call_id, account.id, asked.direction, number)
        if not limit:
            reservations.put(values)
            return key
        given = reserved(values) | {"now": now, "limit": limit}
        if direct.rows_locked(statements.lock, _lock_key(account.id), statements.reserve, given):
            trail.tell("limit", f"{whose} allows {limit} calls at once; this is one of them.", limit=limit)
            return key
        going_on, state = direct.rows(statements.standing, {
            "new_environment": caller.environment, "new_account_id": account.id, "new_key": key, "now": now,
        })[0]  # fmt: skip
        if state == STARTED:
            return key  # asked again in the middle of the call
        if going_on >= limit:
            by_account = account.simultaneous_calls is not None
            link = ("account", account.id) if by_account else ("product", found.product.id)
            calls = "1 call goes on" if going_on == 1 else f"{going_on} calls go on"
            raise Refused("too-many-simultaneous-calls", f"{calls} already; {whose} allows {limit} at once.", link)
    raise Refused(
        "system-error", f"The Call-ID {asked.call_id} was used for {MOST_SESSIONS_OF_A_CALL} calls already."
    )


def _limit(found: Found, limits: Limits) -> tuple[int, str]:
    """(calls at once, who says so); 0: as many as it likes."""
    if found.account.simultaneous_calls is not None:
        return found.account.simultaneous_calls, "the account"
    if found.product.simultaneous_calls is not None:
        return found.product.simultaneous_calls, f"the product {found.product.name}"
    return limits.simultaneous_calls, "the option Engine.Simultaneous_Calls"


def _lock_key(account_id: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"engine {account_id}".encode(), digest_size=8).digest(), signed=True)


def _allowed(found: Found, priced: Priced, seconds: int, key: str, trail: Trail) -> Answer:
    text = f"The call is allowed for {clock.seconds_words(seconds)} at most."
    trail.decide(text, result="allowed", max_seconds=seconds, sip_code=200, h323_return_code=0, session=key)
    return Answer(
        allowed=True, session=key, account=found.account.charging_id, i_account=found.account.id,
        i_customer=found.customer.id, currency=found.customer.currency, max_seconds=seconds,
        rate=rate_document(priced.rate), reason="", text=text, sip_code=200, sip_reason="OK", h323_return_code=0,
        error_name="",
    )  # fmt: skip


def _registered(found: Found, trail: Trail) -> Answer:
    """A phone may: nothing is rated or reserved."""
    text = "The registration is allowed."
    trail.decide(text, result="allowed", sip_code=200, h323_return_code=0)
    return Answer(
        allowed=True, session=None, account=found.account.charging_id, i_account=found.account.id,
        i_customer=found.customer.id, currency=found.customer.currency, max_seconds=0, rate=None, reason="", text=text,
        sip_code=200, sip_reason="OK", h323_return_code=0, error_name="",
    )  # fmt: skip


def _refused(refused: Refused, found: Found | None, priced: Priced | None, trail: Trail) -> Answer:
    reason, link = refused.reason, refused.link
    trail.decide(
        f"The call is refused: {refused.text}", "warning", result="refused", reason=reason.id,
        sip_code=reason.sip_code, h323_return_code=refused.h323_return_code, error_name=reason.error_name,
        link_type=link and link[0], link_id=link and link[1],
    )  # fmt: skip
    return Answer(
        allowed=False, session=None, account=found.account.charging_id if found else trail.account,
        i_account=found.account.id if found else None, i_customer=found.customer.id if found else None,
        currency=found.customer.currency if found else "", max_seconds=0,
        rate=rate_document(priced.rate) if priced else None, reason=reason.id, text=refused.text, sip_code=reason.sip_code,
        sip_reason=reason.sip_reason, h323_return_code=refused.h323_return_code, error_name=reason.error_name,
    )  # fmt: skip


def broken(trail: Trail, text: str) -> Answer:
    """The answer when the records could not be asked: nobody knows whether the call may be made."""
    return _refused(Refused("system-error", text), None, None, trail)
