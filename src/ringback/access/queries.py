"""All SQL of the access room that reads."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from ringback.access.models import ApiToken, LoginSession, User
from ringback.records.engine import UnitOfWork


def user_named(session: Session, name: str) -> User | None:
    return session.scalars(select(User).where(User.name == name)).one_or_none()


def locked_user(work: UnitOfWork, user_id: int | None = None, name: str | None = None) -> User | None:
    """By id or name, as it is now: nobody else changes it, or what belongs to it, before this work ends."""
    found = select(User).where(User.id == user_id if name is None else User.name == name)
    return work.scalars(found.with_for_update().execution_options(populate_existing=True)).one_or_none()


def any_user(session: Session) -> bool:
    return session.scalars(select(User.id).limit(1)).first() is not None


def login_session(session: Session, id_hash: str) -> LoginSession | None:
    """With its user."""
    found = select(LoginSession).where(LoginSession.id_hash == id_hash).options(joinedload(LoginSession.user))
    return session.scalars(found).one_or_none()


def token_with_hash(session: Session, token_hash: str) -> ApiToken | None:
    return session.scalars(select(ApiToken).where(ApiToken.token_hash == token_hash)).one_or_none()


def live_token_named(work: UnitOfWork, environment: str, name: str) -> ApiToken | None:
    """To be changed, or to see that the name is free."""
    return work.scalars(
        select(ApiToken)
        .where(ApiToken.environment == environment, ApiToken.name == name, ApiToken.revoked_at.is_(None))
        .with_for_update()
    ).one_or_none()


def tokens(session: Session, environment: str) -> Sequence[ApiToken]:
    return session.scalars(select(ApiToken).where(ApiToken.environment == environment).order_by(ApiToken.id)).all()
