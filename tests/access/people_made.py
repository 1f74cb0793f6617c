"""People and environments for tests of who may do what."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, select

from actors import TESTER, by_tester
from ringback import clock
from ringback.access import commands
from ringback.access.models import User
from ringback.access.permissions import Role
from ringback.access.schemas import PersonForm, Principal, Visitor
from ringback.access.service import add_user, log_in, principal_of_login
from ringback.audit.models import AuditRecord
from ringback.billing.entities.models import Environment
from ringback.records.engine import reading
from ringback.records.wall import EVERYWHERE

PASSWORD = "correct horse battery"
VISITOR = Visitor("192.0.2.1", "test", "request-1")


def add_environment(engine: Engine, key: str) -> None:
    with by_tester(engine) as work:
        work.add(
            Environment(
                environment=key, key=key, name=key.title(), currency="USD", time_zone="UTC", created_at=clock.now()
            )
        )


def add(
    engine: Engine,
    name: str,
    role: Role = Role.SUPPORT,
    environments: tuple[str, ...] = ("default",),
    *,
    everywhere: bool = False,
) -> int:
    """Their id; the password is PASSWORD."""
    with by_tester(engine) as work:
        user = add_user(work, name, PASSWORD, role, environments, everywhere=everywhere)
        work.flush()
        return user.id


def add_program(engine: Engine, name: str) -> int:
    commands.add_person(engine, PersonForm(name, role=Role.API, environments=("default",)))
    return user(engine, name).id


def user(engine: Engine, name: str) -> User:
    with reading(engine) as session:
        return session.scalars(select(User).where(User.name == name)).one()


def signed_in(engine: Engine, name: str) -> Principal:
    principal = principal_of_login(engine, log_in(engine, name, PASSWORD, VISITOR).secret)
    assert principal
    return principal


@dataclass(frozen=True)
class Told:
    """What the audit log holds of one fact."""

    action: str
    entity: str
    name: str
    actor: str
    text: str  # changes and arguments, JSON


def told(engine: Engine, action: str = "") -> list[Told]:
    """Of people, in order; of the tester's own nothing."""
    with reading(engine, EVERYWHERE) as session:
        found = session.scalars(
            select(AuditRecord).where(AuditRecord.environment == "installation").order_by(AuditRecord.id)
        )
        return [
            Told(one.action, one.entity_type, one.entity_name, one.actor, one.changes + one.arguments)
            for one in found
            if one.actor != TESTER.name and action in ("", one.action)
        ]
