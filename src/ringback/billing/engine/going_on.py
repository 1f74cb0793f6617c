"""What calls that go on are in the way of."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ringback.billing.engine.models import EngineSession
from ringback.billing.entities.errors import Use
from ringback.billing.entities.fields import Entity
from ringback.billing.entities.models import Account
from ringback.billing.entities.service import MOST_COUNTED


def uses(session: Session, entity: Entity) -> list[Use]:
    """Calls that go on keep their account from being deleted: nothing could be charged for them."""
    if not isinstance(entity, Account):
        return []
    going_on = select(EngineSession.id).where(EngineSession.account_id == entity.id, EngineSession.ended_at.is_(None))
    count = session.scalar(select(func.count()).select_from(going_on.limit(MOST_COUNTED).subquery())) or 0
    label = "call going on" if count == 1 else "calls going on"
    path = f"accounts/{entity.id}/sessions"
    return [Use("session", label, count, path, "", f"sessions?account={entity.id}")] if count else []
