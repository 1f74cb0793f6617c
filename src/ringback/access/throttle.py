"""Guessing passwords is slow: per account and per address, counted in the records so that a restart forgets nothing.

An attempt is counted as failed before the password is checked and forgiven when it was right: a hundred attempts at
once are a hundred attempts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network

from sqlalchemy import delete, select, tuple_

from ringback import clock
from ringback.access.models import LoginThrottle
from ringback.access.schemas import TooManyAttempts
from ringback.records.engine import UnitOfWork

FREE = {"account": 5, "address": 20}  # attempts before the first wait
FIRST_WAIT = timedelta(seconds=30)  # doubles with each failure after it
LONGEST_WAIT = timedelta(minutes=15)
FORGIVEN_EVERY = {
    "account": timedelta(minutes=15),
    "address": timedelta(minutes=2),
}  # one failure, while none is added
_KEPT = timedelta(days=2)  # longer than any count takes to fall to nothing


_NOT_BLOCKED = clock.from_us(0)  # past on every host, however its clock is off


@dataclass(frozen=True, slots=True)
class Attempt:
    """Who is tried, from where: the keys that are counted."""

    account: str
    address: str


def attempt(name: str, address: str) -> Attempt:
    return Attempt(hashlib.sha256(name.encode()).hexdigest(), _network(address))


def code_attempt(name: str, address: str) -> Attempt:
    """At the second factor of a user. Counted apart: the keys of names are in lower case, so that none is like it."""
    return attempt(f"CODE {name}", address)


def admit(work: UnitOfWork, tried: Attempt, now: datetime) -> None:
    """Count the attempt. Raises TooManyAttempts, counting nothing, while the account or the address has to wait."""
    rows = [_row(work, "account", tried.account, now), _row(work, "address", tried.address, now)]
    blocked_until = max(row.blocked_until for row in rows)
    if blocked_until > now:
        raise TooManyAttempts(max(1, round((blocked_until - now).total_seconds())))
    for row in rows:
        quiet = max(timedelta(0), now - row.last_failed_at)  # another host's clock may be ahead
        row.failures = max(0, row.failures - quiet // FORGIVEN_EVERY[row.kind]) + 1
        row.last_failed_at = max(now, row.last_failed_at)
        over = row.failures - FREE[row.kind]
        if over >= 0:
            row.blocked_until = now + min(FIRST_WAIT * 2 ** min(over, 10), LONGEST_WAIT)
    work.flush()
    _forget_old(work, now)


def forgive(work: UnitOfWork, tried: Attempt, now: datetime) -> None:
    """The attempt was right: the account starts anew; the address gets back this one, not those at other accounts."""
    forget_account(work, tried.account)
    row = _row(work, "address", tried.address, now)
    row.failures = max(0, row.failures - 1)
    if row.failures < FREE["address"]:
        row.blocked_until = _NOT_BLOCKED


def forget_account(work: UnitOfWork, account: str) -> None:
    work.execute(delete(LoginThrottle).where(LoginThrottle.kind == "account", LoginThrottle.key == account))


def _forget_old(work: UnitOfWork, now: datetime) -> None:
    """Done last and waiting for nobody, so that two who do it at once cannot wait for each other."""
    keys = tuple_(LoginThrottle.kind, LoginThrottle.key)
    old = select(LoginThrottle.kind, LoginThrottle.key).where(LoginThrottle.last_failed_at < now - _KEPT)
    forgotten = delete(LoginThrottle).where(keys.in_(old.with_for_update(skip_locked=True)))
    work.execute(forgotten.execution_options(synchronize_session=False))


def _row(work: UnitOfWork, kind: str, key: str, now: datetime) -> LoginThrottle:
    """Locked, also where there is none yet. Of the two an attempt needs, the account's is always the first."""
    work.lock("login_throttles", kind, key)
    row = work.get(LoginThrottle, (kind, key), with_for_update=True)
    if row is None:
        row = LoginThrottle(kind=kind, key=key, failures=0, last_failed_at=now, blocked_until=_NOT_BLOCKED)
        work.add(row)
    return row


def _network(address: str) -> str:
    """One place on the network: an IPv6 host has 2**64 addresses of its own."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address[:64]  # a test client or a socket without an address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)
