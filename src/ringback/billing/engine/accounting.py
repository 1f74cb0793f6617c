"""What nodes tell of calls: begun, going on, ended. A call that has ended is charged once, however often that is told.

A session follows the last word: a stop without a start is rated from itself, a start after the stop changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from sqlalchemy import Engine

from ringback import clock
from ringback.billing.engine import queries
from ringback.billing.engine.authorize import MOST_SESSIONS_OF_A_CALL, Limits, session_key
from ringback.billing.engine.billing_log import Trail
from ringback.billing.engine.direct import Direct
from ringback.billing.engine.documents import Taken, Told, XdrDocument, amount
from ringback.billing.engine.finding import Found, Priced, find, find_rate, node_by_address
from ringback.billing.engine.models import CLOSED, LOST, RESERVED, STARTED, EngineSession
from ringback.billing.engine.rating import Rate, charged_seconds, price
from ringback.billing.engine.reasons import Refused
from ringback.billing.engine.reserving import ELSEWHERE_S, Reservations
from ringback.billing.engine.tokens import Caller
from ringback.billing.ledger.errors import LedgerError
from ringback.billing.ledger.models import Xdr
from ringback.billing.ledger.service import post_usage
from ringback.changes.schemas import Actor
from ringback.changes.service import do_changing
from ringback.problem import Problem
from ringback.records.engine import UnitOfWork

GRACE = timedelta(seconds=60)  # after its max seconds, that a stop has to arrive


@dataclass(slots=True)
class Beginning:
    """A session that nobody asked for before: what has to be known to make it."""

    found: Found
    priced: Priced | None
    problem: str = ""  # why it has no price


def trail_of(caller: Caller, told: Told) -> Trail:
    return Trail(caller.environment, told.node[:64], told.call_id, told.conf_id, told.account,
                 caller=told.caller, called=told.called)  # fmt: skip


def take(
    engine: Engine, direct: Direct, statements: queries.Statements, reservations: Reservations, caller: Caller, told: Told,
    limits: Limits, actor: Actor, trail: Trail,
) -> Taken:  # fmt: skip
    """Raises Problem where nobody can be charged, RecordsAway, SQLAlchemyError."""
    reservations.flush()
    _know_node(direct, statements, caller, told, trail)

    def advance(work: UnitOfWork, beginning: Beginning | None) -> tuple[Taken, list[Line]] | None:
        """None: nobody has asked for the call, and what is needed to begin it is not looked up yet."""
        call_id = queries.call_of_session(work, caller.environment, told.session) or told.call_id
        work.lock("engine call", caller.environment, call_id)
        row = _session(queries.sessions_of_call(work, caller.environment, call_id), told, beginning)
        if row is None and beginning is not None:
            row = _begin(work, caller.environment, told, beginning, limits)
        return None if row is None else _advance(work, row, told, limits)

    environments = (caller.environment,)
    done = do_changing(engine, actor, environments, partial(advance, beginning=None))
    if done is None:
        time.sleep(ELSEWHERE_S)
        done = do_changing(engine, actor, environments, partial(advance, beginning=None))
    if done is None:
        beginning = _look_up(direct, statements, caller, told, trail)
        done = do_changing(engine, actor, environments, partial(advance, beginning=beginning))
    if done is None:
        raise AssertionError("a call that is begun is there")
    taken, lines = done
    for step, text, level, fields in lines:
        trail.account = str(fields.pop("account", "")) or trail.account
        trail.tell(step, text, level, **fields)
    return taken


def _know_node(direct: Direct, statements: queries.Statements, caller: Caller, told: Told, trail: Trail) -> None:
    """A node that is known by its address is told by its name."""
    found = node_by_address(direct, statements, caller.environment, told.node)
    if found is not None:
        trail.node = found[1]


def _session(rows: Sequence[EngineSession], told: Told, beginning: Beginning | None) -> EngineSession | None:
    """Of the sessions of its call, the newest first: the one that is meant. `beginning`: whose it is, where `told` says it
    otherwise than it was asked for (+1..., a DID number)."""
    if told.session:
        for row in rows:
            if row.key == told.session:
                return row
    fitting = [row for row in rows if not told.account or told.account in (row.charging_id, str(row.account_id))]
    if beginning is not None and not fitting:
        fitting = [row for row in rows if row.account_id == beginning.found.account.id]
    fitting = [row for row in fitting if row.direction == told.direction] or fitting
    if told.event == "stop" and told.ended_at is not None:  # sent again, and the Call-ID is another call's meanwhile
        again = [row for row in fitting if row.state == CLOSED and row.ended_at == told.ended_at]
        fitting = again or fitting
    open_ = [row for row in fitting if row.state != CLOSED]
    return next(iter([*open_, *fitting]), None)


def _look_up(direct: Direct, statements: queries.Statements, caller: Caller, told: Told, trail: Trail) -> Beginning:
    """Raises Problem."""
    if not told.account:
        raise Problem(422, "No session of this call is known: say whose it is by account.", field="account")
    at = told.connected_at or clock.now()
    found = find(direct, statements, caller, told, told.account, at)
    if not isinstance(found, Found):
        trail.tell(told.event, f"No account and no assigned DID number is {told.account}: nobody is charged.", "error",
                   reason="account-unknown")  # fmt: skip
        raise Problem(422, f"There is no account {told.account}: nobody is charged.", field="account")
    trail.know(i_account=found.account.id, i_customer=found.customer.id)
    try:
        priced = find_rate(found, told, at)
    except Refused as refused:
        return Beginning(found, None, refused.text)
    return Beginning(found, priced)


def _begin(work: UnitOfWork, environment: str, told: Told, beginning: Beginning, limits: Limits) -> EngineSession:
    found, now = beginning.found, clock.now()
    rate = beginning.priced.rate if beginning.priced else None
    row = EngineSession(
        environment=environment,
        key=_free_key(work, environment, told, found.account.id),
        state=RESERVED,
        account_id=found.account.id,
        charging_id=found.asked.charging_id,
        node=told.node[:64],
        call_id=told.call_id,
        conf_id=told.conf_id,
        service=told.service,
        direction=told.direction,
        caller=told.caller[:64],
        called=told.called[:64],
        authorized_at=now,
        started_at=None,
        ended_at=None,
        seen_at=now,
        lapses_at=now,
        max_seconds=limits.longest_call,
        seconds=0,
        told=0,
        rate_id=rate and rate.id,
        prefix=rate.prefix if rate else "",
        destination=rate.destination if rate else "",
        price_first=rate.price_first if rate else 0,
        price_next=rate.price_next if rate else 0,
        interval_first=rate.interval_first if rate else 1,
        interval_next=rate.interval_next if rate else 1,
        xdr_id=None,
    )
    work.add(row)
    return row


def _free_key(work: UnitOfWork, environment: str, told: Told, account_id: int) -> str:
    for number in range(MOST_SESSIONS_OF_A_CALL):
        key = session_key(told.call_id, account_id, told.direction, number)
        if queries.session_by_key(work, environment, key) is None:
            return key
    raise Problem(
        422, f"The Call-ID {told.call_id} was used for {MOST_SESSIONS_OF_A_CALL} calls already.", field="call_id"
    )


Line = tuple[str, str, str, dict[str, object]]


def _advance(work: UnitOfWork, row: EngineSession, told: Told, limits: Limits) -> tuple[Taken, list[Line]]:
    now = clock.now()
    if row.state == CLOSED and (told.event != "stop" or row.xdr_id is not None):
        return _again(work, row, told)
    if row.state == LOST:
        row.state = RESERVED if row.started_at is None else STARTED
        row.ended_at = None
    seconds = _seconds(row, told, now)
    common = _common(row)
    row.seen_at = now
    row.conf_id = row.conf_id or told.conf_id
    if told.event == "stop":
        row.seconds = seconds
        row.ended_at = min(told.ended_at or now, now)  # a node's clock may be ahead
        line: Line = ("stop", f"{told.node} tells that the call has ended after {seconds} s.", "info",
                      common | {"seconds": seconds, "cause": told.cause})  # fmt: skip
        xdr, charged = close(work, row, told.cause)
        return Taken(session=row.key, state="closed", xdr=_document(xdr)), [line, *charged]
    if row.state == RESERVED:
        row.state = STARTED
        row.started_at = min(told.connected_at or now - timedelta(seconds=seconds), now)
    if told.event == "interim":
        row.told += 1
        row.seconds = max(row.seconds, seconds)
    row.lapses_at = lapses_at(row, limits)
    what = "has begun" if told.event == "start" else f"goes on since {seconds} s"
    line = (told.event, f"{told.node} tells that the call {what}.", "info", common | {"seconds": seconds or None})
    return Taken(session=row.key, state="started", xdr=None), [line]


def _again(work: UnitOfWork, row: EngineSession, told: Told) -> tuple[Taken, list[Line]]:
    """A closed session stays as it is."""
    xdr = work.get(Xdr, row.xdr_id) if row.xdr_id is not None else None
    taken = Taken(session=row.key, state="closed", xdr=_document(xdr))
    text, level = f"{told.node} tells of the call again, which has ended.", "info"
    if told.event == "stop" and xdr is not None and told.seconds is not None and told.seconds != row.seconds:
        text = f"{told.node} tells that the call has ended after {told.seconds} s; it was charged for {row.seconds} s already."
        level = "warning"
    return taken, [(told.event, text, level, _common(row) | {"xdr": row.xdr_id})]


def close(work: UnitOfWork, row: EngineSession, cause: str) -> tuple[Xdr | None, list[Line]]:
    """Ended, and charged for the seconds that it shows, without those that were charged before it was opened again."""
    row.state = CLOSED
    row.lapses_at = row.ended_at or row.seen_at
    common = _common(row)
    if not row.seconds:
        return None, [("xdr", "Nothing was said: there is nothing to charge.", "info", common)]
    if row.rate_id is None:
        text = f"{row.seconds} s to {row.called or 'an empty number'} have no rate: nothing was charged."
        return None, [("xdr", text, "error", common | {"reason": "destination-not-in-tariff"})]
    rate = rate_of(row)
    cost, charged = price(rate, row.seconds), charged_seconds(rate, row.seconds)
    seconds, parts = row.seconds, queries.charged(work, row.environment, row.key) if row.xdr_id is not None else []
    if parts:
        charged -= sum(each.charged_seconds or 0 for each in parts)
        cost -= sum((each.amount for each in parts), Decimal(0))
        seconds -= sum(each.seconds or 0 for each in parts)
        if charged <= 0 or len(parts) >= queries.MOST_PARTS:
            row.xdr_id = parts[-1].id
            return parts[-1], [("xdr", "The call was charged before.", "info", common | {"xdr": row.xdr_id})]
    ended = row.ended_at or row.seen_at
    try:
        xdr = post_usage(
            work, row.environment, row.account_id, cost, session_key=queries.part_key(row.key, len(parts)),
            service=row.service, seconds=seconds, charged_seconds=charged,
            rate=(row.rate_id, row.prefix, row.destination), caller=row.caller, called=row.called, call_id=row.call_id,
            conf_id=row.conf_id, node=row.node,
            started_at=row.started_at or ended - timedelta(seconds=row.seconds), ended_at=ended, cause=cause,
        )  # fmt: skip
    except LedgerError as error:
        return None, [("xdr", f"{row.seconds} s of {rate.told} are not charged: {error}", "error", common)]
    if xdr is None:
        return None, [("xdr", "The call was charged before.", "info", common)]
    work.flush()
    row.xdr_id = xdr.id
    currency = queries.currency_of(work, xdr.customer_id)
    more = " more" if parts else ""
    text = f"{seconds} s{more} of {rate.told}, {charged} s charged: {amount(xdr.amount)} {currency} (xDR {xdr.id})."
    return xdr, [("xdr", text, "info", common | {"xdr": xdr.id, "amount": amount(xdr.amount), "currency": currency})]


def rate_of(row: EngineSession) -> Rate:
    """That held when the call was allowed."""
    return Rate(row.rate_id, row.prefix, row.destination, False, row.price_first, row.price_next, row.interval_first,
                row.interval_next, row.authorized_at)  # fmt: skip


def lapses_at(row: EngineSession, limits: Limits) -> datetime:
    """When nobody tells anything more."""
    longest = (row.started_at or row.seen_at) + timedelta(seconds=row.max_seconds) + GRACE
    return min(longest, row.seen_at + timedelta(seconds=limits.silence)) if row.told else longest


def _seconds(row: EngineSession, told: Told, now: datetime) -> int:
    """That the call has lasted: as told, else from its times. A call that nobody saw begin has not."""
    if told.seconds is not None:
        return told.seconds
    began = told.connected_at or row.started_at
    if began is None or told.event == "start":
        return 0
    return max(0, round(((told.ended_at or now) - began).total_seconds()))


def _common(row: EngineSession) -> dict[str, object]:
    return {
        "i_account": row.account_id, "i_rate": row.rate_id, "prefix": row.prefix, "destination": row.destination,
        "session": row.key, "account": row.charging_id, "caller": row.caller, "called": row.called,
    }  # fmt: skip


def _document(xdr: Xdr | None) -> XdrDocument | None:
    if xdr is None:
        return None
    return XdrDocument(id=xdr.id, amount=amount(xdr.amount), charged_seconds=xdr.charged_seconds or 0)
