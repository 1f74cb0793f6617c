"""How changes are made: `changing` opens a unit of work with its actor, `note` tells what no table shows, `because`
nests causes. Subscribers receive all facts of a unit of work at its end, inside its transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Engine, event, inspect
from sqlalchemy.orm import Session, SessionTransaction

from ringback.changes.schemas import CHANGED, CREATED, Actor, Fact, Json, Money, Owner
from ringback.changes.tracked import FACTS, PENDING, Tracked, UntrackedChange, facts_of
from ringback.records.engine import UnitOfWork, do_in_unit_of_work, unit_of_work
from ringback.records.wall import Environments

Answer = TypeVar("Answer")
Subscriber = Callable[[UnitOfWork, Actor, Sequence[Fact]], None]

_ACTOR, _CAUSE, _WHY = "ringback_actor", "ringback_cause", "ringback_why"
_LATEST, _SAVEPOINTS = "ringback_latest_fact", "ringback_savepoints"
_subscribers: list[Subscriber] = []


def subscribe(subscriber: Subscriber) -> None:
    """Called once for each unit of work that holds facts, before its commit, in the order of subscription."""
    if subscriber not in _subscribers:
        _subscribers.append(subscriber)


@contextmanager
def changing(
    engine: Engine, actor: Actor, environments: Environments, *, reason: str = "", comment: str = ""
) -> Iterator[UnitOfWork]:
    """A unit of work in which tracked objects may be changed: by whom, and why."""
    with unit_of_work(engine, environments) as work:
        act_as(work, actor, reason=reason, comment=comment)
        yield work


def do_changing(
    engine: Engine,
    actor: Actor,
    environments: Environments,
    do: Callable[[UnitOfWork], Answer],
    *,
    reason: str = "",
    comment: str = "",
) -> Answer:
    """As `do_in_unit_of_work`, with an actor."""

    def act(work: UnitOfWork) -> Answer:
        act_as(work, actor, reason=reason, comment=comment)
        return do(work)

    return do_in_unit_of_work(engine, act, environments)


def act_as(work: UnitOfWork, actor: Actor, *, reason: str = "", comment: str = "") -> None:
    work.info[_ACTOR] = actor
    work.info[_WHY] = reason, comment


def actor_of(work: UnitOfWork) -> Actor:
    """Raises UntrackedChange."""
    actor: Actor | None = work.info.get(_ACTOR)
    if actor is None:
        raise UntrackedChange("something tracked was changed in a unit of work without an actor: use `changing`")
    return actor


def note(
    work: UnitOfWork,
    action: str,
    entity_type: str,
    entity_id: object,
    entity_name: str,
    owner: Owner,
    *,
    arguments: dict[str, Json] | None = None,
    changes: dict[str, tuple[Json, Json]] | None = None,
    money: Money | None = None,
    cause: Fact | int | None = None,
) -> Fact:
    """A fact that no diff of a table tells: a command, a read of personal data, a login. Returns it, to be a cause."""
    fact = Fact(
        environment=owner.environment,
        entity_type=entity_type,
        entity_id=str(entity_id),
        entity_name=entity_name[:255],
        action=action,
        changes=changes or {},
        arguments=arguments or {},
        customer_id=owner.customer_id,
        account_id=owner.account_id,
        money=money,
        cause=cause,
    )
    return add_fact(work, fact)


def note_on(work: UnitOfWork, action: str, row: Tracked, **more: Json) -> Fact:
    """`note` about a tracked object; `more` are arguments of the sentence."""
    work.flush()  # a new one gets its id
    key = inspect(row, raiseerr=True).mapper.primary_key_from_instance(row)[0]
    return note(work, action, row.__entity__, key, row.told_as(), row.owner(), arguments=more)


@contextmanager
def because(work: UnitOfWork, cause: Fact | int) -> Iterator[None]:
    """What happens inside is an effect of `cause`: a fact of this work, or the id of an audit record."""
    work.flush()  # what was done before is not its effect
    before = work.info.get(_CAUSE)
    work.info[_CAUSE] = cause
    try:
        yield
        work.flush()
    finally:
        work.info[_CAUSE] = before


def add_fact(work: UnitOfWork, fact: Fact) -> Fact:
    """Takes the cause, and the reason, that hold now. Several changes of one entity for one cause are one fact."""
    actor_of(work)
    fact.cause = fact.cause if fact.cause is not None else work.info.get(_CAUSE)
    fact.reason, fact.comment = work.info[_WHY]
    facts = facts_of(work)
    if not facts:
        if not _subscribers:
            raise UntrackedChange("nobody records changes in this process: `ringback.audit` was not connected")
        work.at_end(lambda: _publish(work))
    known = _same(work, fact) if fact.action == CHANGED else None
    if known is not None:
        _merge(known, fact)
        return known
    facts.append(fact)
    if fact.action in (CREATED, CHANGED):
        work.info.setdefault(_LATEST, {})[fact.entity_type, fact.entity_id] = fact
    return fact


def _same(work: UnitOfWork, fact: Fact) -> Fact | None:
    """The fact of this work that already tells of the entity, for the same cause."""
    latest: Fact | None = work.info.get(_LATEST, {}).get((fact.entity_type, fact.entity_id))
    return latest if latest is not None and latest.cause == fact.cause else None


def _merge(known: Fact, later: Fact) -> None:
    """From the first old value to the last new one."""
    for name, (old, new) in later.changes.items():
        first = known.changes[name][0] if name in known.changes else old
        if first == new and known.action == CHANGED:
            known.changes.pop(name, None)
        else:
            known.changes[name] = first, new
    known.version, known.entity_name = later.version, later.entity_name
    known.customer_id, known.account_id = later.customer_id, later.account_id


def _publish(work: UnitOfWork) -> None:
    facts = [fact for fact in facts_of(work) if not _is_nothing(fact)]
    for fact in facts:
        while isinstance(fact.cause, Fact) and _is_nothing(fact.cause):
            fact.cause = fact.cause.cause
    work.info.pop(FACTS, None)
    work.info.pop(_LATEST, None)
    if facts:
        for subscriber in _subscribers:
            subscriber(work, actor_of(work), facts)


def _is_nothing(fact: Fact) -> bool:
    """A change that was taken back in its own unit of work."""
    return fact.action == CHANGED and not fact.changes


@event.listens_for(UnitOfWork, "after_transaction_create")
def _begin_savepoint(work: Session, transaction: SessionTransaction) -> None:
    """Facts inside stand apart from those before it, so that they can go without them."""
    if transaction.nested:
        open_ = work.info.setdefault(_SAVEPOINTS, [])
        while open_ and open_[-1][0] is not transaction.parent:
            open_.pop()
        open_.append((transaction, len(work.info.get(FACTS, ())), work.info.pop(_LATEST, {})))


@event.listens_for(UnitOfWork, "after_soft_rollback")
def _undo_savepoint(work: Session, transaction: SessionTransaction) -> None:
    open_ = work.info.get(_SAVEPOINTS, [])
    if any(known is transaction for known, _, _ in open_):
        known = None
        while known is not transaction:
            known, count, latest = open_.pop()
            del work.info.get(FACTS, [])[count:]
            work.info[_LATEST] = latest
        work.info.pop(PENDING, None)
