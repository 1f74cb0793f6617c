"""People who belong to an environment keep it from being deleted."""

from __future__ import annotations

from sqlalchemy.orm import Session

from ringback.access import queries
from ringback.billing.entities.errors import Use
from ringback.billing.entities.fields import Entity
from ringback.billing.entities.models import Environment
from ringback.records.engine import UnitOfWork


def people_of(session: Session, entity: Entity) -> list[Use]:
    """Nobody comes to belong to it while it is being deleted. Administrators of the whole installation need none."""
    if not isinstance(entity, Environment):
        return []
    if isinstance(session, UnitOfWork):
        session.lock("users")
    count = queries.count_belonging(session, entity.key)
    list_ = f"?environment={entity.key}"
    return (
        [Use("user", "person" if count == 1 else "people", count, "people" + list_, "", "users" + list_)]
        if count
        else []
    )
