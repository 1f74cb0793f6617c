"""All statements of the room. Sessions are opened for a scope and INSTALLATION, or EVERYWHERE."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from ringback.configuration.models import (
    ConfigurationApply,
    ConfigurationChange,
    ConfigurationDraft,
    ConfigurationDraftValue,
    ConfigurationSeen,
    ConfigurationValue,
)


def latest(session: Session, scopes: Iterable[str] | None = None) -> int:
    """Id of the last entry of the history, of these scopes or any; 0: there is none."""
    asked = select(func.max(ConfigurationApply.id))
    if scopes is not None:
        asked = asked.where(ConfigurationApply.environment.in_(list(scopes)))
    return session.scalar(asked) or 0


def values(session: Session, scopes: Iterable[str] | None = None) -> Sequence[ConfigurationValue]:
    asked = select(ConfigurationValue)
    if scopes is not None:
        asked = asked.where(ConfigurationValue.environment.in_(list(scopes)))
    return session.scalars(asked).all()


def applies(session: Session, ids: Iterable[int]) -> dict[int, ConfigurationApply]:
    rows = session.scalars(select(ConfigurationApply).where(ConfigurationApply.id.in_(list(ids)))).all()
    return {row.id: row for row in rows}


def draft(session: Session, scope: str) -> ConfigurationDraft | None:
    return session.get(ConfigurationDraft, scope)


def draft_values(session: Session, scope: str) -> dict[str, ConfigurationDraftValue]:
    rows = session.scalars(select(ConfigurationDraftValue).where(ConfigurationDraftValue.environment == scope)).all()
    return {row.name: row for row in rows}


def clear_draft(session: Session, scope: str) -> None:
    session.execute(delete(ConfigurationDraftValue).where(ConfigurationDraftValue.environment == scope))


def history(session: Session, scope: str, before: int | None, limit: int) -> Sequence[ConfigurationApply]:
    """Newest first."""
    asked = select(ConfigurationApply).where(ConfigurationApply.environment == scope)
    if before is not None:
        asked = asked.where(ConfigurationApply.id < before)
    return session.scalars(asked.order_by(ConfigurationApply.id.desc()).limit(limit)).all()


def entry(session: Session, scope: str, number: int) -> ConfigurationApply | None:
    return session.scalar(
        select(ConfigurationApply).where(ConfigurationApply.id == number, ConfigurationApply.environment == scope)
    )


def changes(session: Session, ids: Iterable[int]) -> dict[int, list[ConfigurationChange]]:
    """By entry, in the order of names."""
    asked = select(ConfigurationChange).where(ConfigurationChange.apply_id.in_(list(ids)))
    found: dict[int, list[ConfigurationChange]] = {}
    for row in session.scalars(asked.order_by(ConfigurationChange.name)):
        found.setdefault(row.apply_id, []).append(row)
    return found


def changes_until(session: Session, scope: str, last: int) -> Sequence[ConfigurationChange]:
    """Of all entries up to `last`, in the order in which they were applied."""
    asked = select(ConfigurationChange).where(
        ConfigurationChange.environment == scope, ConfigurationChange.apply_id <= last
    )
    return session.scalars(asked.order_by(ConfigurationChange.apply_id)).all()


def seen(session: Session) -> Sequence[ConfigurationSeen]:
    return session.scalars(select(ConfigurationSeen).order_by(ConfigurationSeen.host, ConfigurationSeen.role)).all()
