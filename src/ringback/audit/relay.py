"""Copies audit records to the event store, where they are searched: in the order of each chain, within a second or so.

A chain has no gaps and is committed in order, so the number of the last record that was copied says all about where to go
on. That number stands in the records, one for each event store and environment, and goes up after the store has the rows:
who dies in between copies some rows again, which changes nothing. Hosts that share a store take turns by a lease.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
import structlog
from sqlalchemy import Engine, Row, and_, func, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from ringback import clock
from ringback.audit.models import AuditChain, AuditCopy, AuditRecord
from ringback.audit.personal import personal_properties
from ringback.audit.writer import COLUMNS
from ringback.billing.entities.models import Account, Customer
from ringback.changes.schemas import READ
from ringback.events import (
    DAY_US,
    AuditQuery,
    AuditRow,
    EventStore,
    EventStoreError,
    SearchTimedOut,
    WriteRefused,
    open_store,
)
from ringback.hosts.service import run_due
from ringback.records.engine import RecordsUnavailable, open_engine, reading, unit_of_work
from ringback.records.wall import EVERYWHERE, Environments
from ringback.settings import Settings

BATCH = 2000  # records
POLL_S = 0.5
TURN_S = 5.0  # that one host copies before others may
AT_MOST = timedelta(seconds=20)  # then the host at it is taken for dead
_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 15.0  # while a store is away
_LOOK_S = 10.0  # a search for the last row
_FRESH_US = DAY_US  # no retention takes what is younger

_log = structlog.get_logger()
_VALUES = tuple(getattr(AuditRecord, name) for name in (*COLUMNS, "hash"))


@dataclass(frozen=True, slots=True)
class Lag:
    """What the event store lacks."""

    records: int = 0
    seconds: float = 0.0  # since the oldest of them was written
    refused: int = 0  # batches of which the store will never take some rows
    problem: str = ""  # why it does not go on

    def __str__(self) -> str:
        told = "up to date"
        if self.records:
            told = f"{self.records:,} record{'s' if self.records > 1 else ''}, {self.seconds:.0f} s behind"
            told += f": {self.problem}" if self.problem else ""
        if self.refused:
            told += (
                f"; the event store refused some records for good, in {self.refused:,} of its writes (see the log)"
            )
        return told


class AuditRelay:
    """One a process; `run` it in a thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name = store_name(settings)
        self._holder = f"{settings.host_name} {clock.random_token(8)}"
        self._records: Engine | None = None
        self._events: EventStore | None = None
        self._looked = False  # whether the store has what the records say it has
        self._problem = ""

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set. While a store is away it waits and asks again; that is logged once."""
        pause = 0.0
        while not stop.wait(pause or POLL_S):
            pause = 0.0 if self.step() else min(2 * pause or _PAUSE_S, _LONGEST_PAUSE_S)
        self.close()

    def step(self) -> bool:
        """Copy what there is, for some seconds. False where a store is away or full."""
        problem = ""
        try:
            self._step()
        except EventStoreError as error:
            problem = str(error)
            self._tell(problem)
        except RecordsUnavailable as error:
            problem = str(error)
        except SQLAlchemyError as error:
            problem = f"the records: {getattr(error, 'orig', None) or error}"
        except OSError as error:
            problem = f"the folder of the event store: {error}"
            self._tell(problem)
        if problem:
            self.close()
            if problem != self._problem:
                _log.error("audit records are not copied to the event store", error=problem)
        elif self._problem:
            _log.info("audit records are copied again")
        self._problem = problem
        return not problem

    def close(self) -> None:
        if self._events:
            self._events.close()
        if self._records:
            self._records.dispose()
        self._events = self._records = None
        self._looked = False

    def _step(self) -> None:
        records = self._records = self._records or open_engine(self._settings.records_url)
        if self._looked and not lag(records, self._name).records:
            return  # asked often: nothing is written for it
        self._events = self._events or open_store(self._settings.store_url)
        copy = _Copy(records, self._events, self._name)
        done = run_due(
            records, f"audit relay {self._name}", self._holder, lambda: copy.go_on(look=not self._looked),
            every=timedelta(0), at_most=AT_MOST,
        )  # fmt: skip
        self._looked = self._looked or done

    def _tell(self, problem: str) -> None:
        if self._records:
            with suppress(SQLAlchemyError):
                _told(self._records, self._name, problem)


def lag(records: Engine, name: str, environments: Environments = EVERYWHERE) -> Lag:
    """Of the store that `store_name` names. Raises sqlalchemy.exc.SQLAlchemyError."""
    behind = refused = 0
    oldest: int | None = None
    problem = ""
    with reading(records, environments) as session:
        for chain, copy in _places(session, name):
            place = max(copy.seq if copy else 0, chain.trimmed_seq)
            refused += copy.refused if copy else 0
            if chain.seq > place:
                problem = problem or (copy.problem if copy else "")
                behind += chain.seq - place
                at = session.scalar(
                    select(func.min(AuditRecord.at)).where(
                        AuditRecord.environment == chain.environment, AuditRecord.seq == place + 1
                    )
                )
                if at is not None:
                    oldest = min(clock.to_us(at), oldest or clock.to_us(at))
    seconds = max(clock.now_us() - oldest, 0) / 1e6 if oldest else 0.0
    return Lag(behind, seconds, refused, problem)


def rebuild(
    settings: Settings, *, since_us: int = 0, anew: bool = False, progress: Callable[[int, int], object] = lambda *_: None
) -> int:  # fmt: skip
    """Copies everything again, or what was written since; returns how many records. A relay of a running server takes
    turns with it, and goes on where it is broken off. `anew`: drops what the store has first, so that also goes what
    the records do not know. `progress` hears (records that are left, of all).

    Raises EventStoreError, RecordsUnavailable, sqlalchemy.exc.SQLAlchemyError.
    """
    name = store_name(settings)
    holder = f"{settings.host_name} {clock.random_token(8)}"
    records = open_engine(settings.records_url)
    try:
        events = open_store(settings.store_url)
        copy = _Copy(records, events, name)

        def turn(work: Callable[[], object]) -> None:
            while not run_due(records, f"audit relay {name}", holder, work, every=timedelta(0), at_most=AT_MOST):
                time.sleep(POLL_S)

        def begin() -> None:
            if anew:
                events.drop_before("audit", clock.now_us() + 366 * DAY_US)
            copy.put_back(since_us)

        try:
            turn(begin)
            every = left = lag(records, name).records
            while left:
                progress(left, every)
                turn(copy.go_on)
                left = lag(records, name).records
        finally:
            events.close()
    finally:
        records.dispose()
    return every


def store_name(settings: Settings) -> str:
    """What stands for the event store in the records: folders of one path on two hosts are two stores."""
    url = settings.store_url
    where = f"{settings.host_name} {url}" if url.startswith("sqlite:") else url.rpartition("@")[2]
    return hashlib.blake2b(where.encode(), digest_size=8).hexdigest()


def record_of(row: AuditRow) -> AuditRecord:
    """The record that a row is a copy of, in no session. Raises ValueError where its body is none of ours."""
    values: dict[str, Any] = orjson.loads(row.body)
    try:
        at, hash_ = clock.from_us(values.pop("at")), bytes.fromhex(values.pop("hash"))
        return AuditRecord(**values, at=at, hash=hash_)
    except (LookupError, TypeError) as error:
        raise ValueError(f"audit record {row.id}: its copy makes no sense ({error!r})") from error


class _Copy:
    """From the records to one event store. What it does is for one at a time."""

    def __init__(self, records: Engine, events: EventStore, name: str) -> None:
        self._records = records
        self._events = events
        self._name = name

    def go_on(self, *, look: bool = False) -> None:
        """Until nothing is left, or the turn is over. `look`: first, whether the store has what it is said to have."""
        until = time.monotonic() + TURN_S
        with reading(self._records, EVERYWHERE) as session:
            places = {
                chain.environment: (chain.seq, copy.seq if copy else 0)
                for chain, copy in _places(session, self._name)
            }
        left: dict[str, int] = {}
        for environment, (last, place) in places.items():
            begin = place
            if place > last or (look and place and not self._has(environment, place)):
                _log.warning(
                    "the event store does not have the audit records that it had: they are copied again",
                    environment=environment,
                )
                begin = 0 if self._move(environment, place, 0) else last
            if begin < last:
                left[environment] = begin
        while left and time.monotonic() < until:
            for environment, place in list(left.items()):  # in turn: the import of one does not hold up the others
                reached = self._batch(environment, place)
                if reached is None or reached >= places[environment][0]:
                    del left[environment]
                else:
                    left[environment] = reached

    def put_back(self, since_us: int) -> None:
        """As if nothing that was written since were copied."""
        with reading(self._records, EVERYWHERE) as session:
            chains = session.scalars(select(AuditChain)).all()
            places = {chain.environment: _last_before(session, chain, since_us) for chain in chains}
        with unit_of_work(self._records, EVERYWHERE) as work:
            for environment, seq in places.items():
                copy = work.get(AuditCopy, (self._name, environment), with_for_update=True)
                if copy is not None:  # else everything is to be copied yet
                    copy.seq, copy.refused = min(copy.seq, seq), 0

    def _batch(self, environment: str, place: int) -> int | None:
        """The place behind the next records; None: there are no more, or somebody else was quicker."""
        with reading(self._records, EVERYWHERE) as session:
            found = session.execute(
                select(*_VALUES)
                .where(AuditRecord.environment == environment, AuditRecord.seq > place)
                .order_by(AuditRecord.seq)
                .limit(BATCH)
            ).all()
            rows = _rows(session, found)
        if not rows:
            return None
        refused = ""
        try:
            self._events.write_audit(rows)
        except WriteRefused as error:
            refused = str(error)
            _log.error("the event store will never take some audit records", environment=environment, error=refused)
        return rows[-1].seq if self._move(environment, place, rows[-1].seq, refused=bool(refused)) else None

    def _move(self, environment: str, place: int, to: int, *, refused: bool = False) -> bool:
        """False where the place is another one now: a turn that lasted too long moves nothing."""
        try:
            with unit_of_work(self._records, EVERYWHERE) as work:
                copy = work.get(AuditCopy, (self._name, environment), with_for_update=True)
                if (copy.seq if copy else 0) != place:
                    return False
                if copy is None:
                    copy = _new(self._name, environment, to)
                    work.add(copy)
                copy.seq, copy.problem = to, ""
                copy.refused += refused
        except IntegrityError:
            return False  # made by somebody else at the same moment
        return True

    def _has(self, environment: str, place: int) -> bool:
        """Whether the last row that was copied is there. What is old may be past its days."""
        with reading(self._records, EVERYWHERE) as session:
            record = session.execute(
                select(AuditRecord.id, AuditRecord.at).where(
                    AuditRecord.environment == environment, AuditRecord.seq == place
                )
            ).one_or_none()
        if record is None or clock.to_us(record.at) < clock.now_us() - _FRESH_US:
            return True
        at = clock.to_us(record.at)
        query = AuditQuery((environment,), at, at + 1, ids=(record.id,))
        try:
            return bool(self._events.search_audit(query, 1, deadline_s=_LOOK_S).rows)
        except SearchTimedOut:
            return True  # a store that is only slow


def _rows(session: Session, found: Sequence[Row[Any]]) -> list[AuditRow]:
    customers = _names(session, Customer, Customer.name, {each.customer_id for each in found})
    accounts = _names(session, Account, Account.charging_id, {each.account_id for each in found})
    return [_row(each, customers, accounts) for each in found]


def _names(session: Session, model: Any, name: Any, ids: set[int | None]) -> dict[int | None, str]:
    """As they are called today: by that name people look for them."""
    wanted = ids - {None}
    found = session.execute(select(model.id, name).where(model.id.in_(wanted))) if wanted else ()
    return {id_: text for id_, text in found}  # noqa: C416 -- a Row is a tuple of two to nobody but us


def _row(found: Row[Any], customers: dict[int | None, str], accounts: dict[int | None, str]) -> AuditRow:
    values = dict(zip((*COLUMNS, "hash"), found, strict=True))
    values["at"], values["hash"] = clock.to_us(found.at), found.hash.hex()
    properties = tuple(orjson.loads(found.changes))
    return AuditRow(
        environment=found.environment,
        id=found.id,
        seq=found.seq,
        time_us=values["at"],
        entity_type=found.entity_type,
        entity_id=found.entity_id,
        entity_name=found.entity_name,
        action=found.action,
        properties=properties,
        realm=found.realm,
        actor_kind=found.actor_kind,
        actor=found.actor,
        address=found.address,
        request_id=found.request_id,
        customer_id=found.customer_id,
        customer_name=customers.get(found.customer_id, ""),
        account_id=found.account_id,
        account_name=accounts.get(found.account_id, ""),
        amount=found.amount,
        currency=found.currency,
        message_key=f"{found.entity_type}.{found.action}",
        body=orjson.dumps(values).decode(),
        personal=found.action.rpartition(".")[2] == READ
        or not personal_properties(found.entity_type).isdisjoint(properties),
    )


def _places(session: Session, name: str) -> list[tuple[AuditChain, AuditCopy | None]]:
    """Each chain with how far its copy is; None where nothing was copied."""
    same = and_(AuditCopy.environment == AuditChain.environment, AuditCopy.store == name)
    found = session.execute(select(AuditChain, AuditCopy).outerjoin(AuditCopy, same).order_by(AuditChain.id))
    return [(chain, copy) for chain, copy in found]


def _last_before(session: Session, chain: AuditChain, since_us: int) -> int:
    """Number of the last record that was written before; they are in order of time."""
    low, high = chain.trimmed_seq, chain.seq
    while low < high:
        middle = (low + high + 1) // 2
        at = session.scalar(
            select(AuditRecord.at).where(AuditRecord.environment == chain.environment, AuditRecord.seq == middle)
        )
        if at is not None and clock.to_us(at) < since_us:
            low = middle
        else:
            high = middle - 1
    return low


def _new(name: str, environment: str, seq: int, problem: str = "") -> AuditCopy:
    return AuditCopy(store=name, environment=environment, seq=seq, refused=0, problem=problem)


def _told(records: Engine, name: str, problem: str) -> None:
    """For those who ask for the lag."""
    with unit_of_work(records, EVERYWHERE) as work:
        for chain, copy in _places(work, name):
            if copy is None:
                work.add(_new(name, chain.environment, 0, problem))
            else:
                copy.problem = problem
