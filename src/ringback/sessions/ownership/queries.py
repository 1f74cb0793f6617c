"""All SQL of the rules of ownership, but for what `following` reads of a SQLite file."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine, func, inspect, select
from sqlalchemy.orm import Session

from ringback.billing.entities.models import Environment
from ringback.billing.entities.node import Node
from ringback.records.engine import UnitOfWork, reading
from ringback.sessions.ownership.following import TABLE, split_senders
from ringback.sessions.ownership.models import TrafficRule
from ringback.sessions.ownership.rules import ONE_TENANT, Rule, TrafficRules

Senders = dict[str, dict[str, tuple[str, ...]]]  # name of a node in lower case -> environment -> what it sends from


def rules_in_force(engine: Engine) -> TrafficRules:
    """Records without the table are of a version that had one tenant."""
    with reading(engine) as session:
        if not inspect(session.connection()).has_table(TABLE):
            return ONE_TENANT
        return TrafficRules([as_rule(row) for row in rows(session)])


def rows(session: Session) -> Sequence[TrafficRule]:
    """In order."""
    return session.scalars(select(TrafficRule).order_by(TrafficRule.position, TrafficRule.id)).all()


def as_rule(row: TrafficRule) -> Rule:
    return Rule(row.kind, row.value, row.target, split_senders(row.senders))


def lock_rules(work: UnitOfWork) -> None:
    """Nobody else changes the list, or deletes an environment that it may name, before the work ends."""
    work.lock("traffic_rules")


def locked_rows(work: UnitOfWork) -> list[TrafficRule]:
    """In order."""
    lock_rules(work)
    return list(rows(work))


def count_of(session: Session, environment: str) -> int:
    """Rules that give traffic to it."""
    return session.scalar(select(func.count()).where(TrafficRule.target == environment)) or 0


def environments(session: Session) -> dict[str, str]:
    """Key -> name of those that traffic can be given to; of a session for EVERYWHERE."""
    found = session.execute(select(Environment.key, Environment.name).order_by(Environment.name, Environment.key))
    return {row.key: row.name for row in found}


def senders_of_nodes(session: Session) -> Senders:
    """Of a session for EVERYWHERE."""
    found: Senders = {}
    for node in session.scalars(select(Node)):
        sends = (*sorted(node.agents, key=int), *sorted(node.addresses))
        found.setdefault(node.name.lower(), {})[node.environment] = sends
    return found
