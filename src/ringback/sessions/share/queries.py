"""All SQL of share links and views that reads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ringback.records.engine import UnitOfWork
from ringback.sessions.share.models import SessionView, ShareLink
from ringback.sessions.share.schemas import ShareInfo, View, Viewer


def link_with_hash(session: Session, token_hash: str) -> ShareLink | None:
    return session.scalars(select(ShareLink).where(ShareLink.token_hash == token_hash)).one_or_none()


def locked_link(work: UnitOfWork, environments: Sequence[str], share_id: int) -> ShareLink | None:
    """To be changed."""
    found = select(ShareLink).where(ShareLink.environment.in_(environments), ShareLink.id == share_id)
    return work.scalars(found.with_for_update()).one_or_none()


def links(session: Session, environments: Sequence[str], session_id: str | None = None) -> list[ShareInfo]:
    """Newest first, with how often each was opened; expired and revoked ones too."""
    counts = (
        select(
            SessionView.share_link_id,
            func.count().label("views"),
            func.max(SessionView.viewed_at, type_=SessionView.viewed_at.type).label("last"),
        )
        .where(SessionView.share_link_id.is_not(None))
        .group_by(SessionView.share_link_id)
        .subquery()
    )
    found = (
        select(ShareLink, func.coalesce(counts.c.views, 0), counts.c.last)
        .outerjoin(counts, counts.c.share_link_id == ShareLink.id)
        .where(ShareLink.environment.in_(environments))
        .order_by(ShareLink.id.desc())
    )
    if session_id is not None:
        found = found.where(ShareLink.session_id == session_id)
    return [share_info(row, views, last) for row, views, last in session.execute(found)]


def views(session: Session, environments: Sequence[str], session_id: str, limit: int) -> list[View]:
    """Newest first."""
    found = (
        select(SessionView)
        .where(SessionView.environment.in_(environments), SessionView.session_id == session_id)
        .order_by(SessionView.viewed_at.desc(), SessionView.id.desc())
        .limit(limit)
    )
    return [
        View(
            row.viewed_at,
            row.session_id,
            row.how,
            Viewer(row.viewer_kind, row.viewer, row.address, row.share_link_id),  # type: ignore[arg-type] # as written
        )
        for row in session.scalars(found)
    ]


def share_info(row: ShareLink, views: int = 0, last: datetime | None = None) -> ShareInfo:
    return ShareInfo(
        id=row.id,
        session_id=row.session_id,
        environment=row.environment,
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        personal=row.personal,
        views=views,
        last_viewed_at=last,
    )
