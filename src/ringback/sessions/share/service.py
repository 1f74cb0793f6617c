"""Links that show one session without a login until they expire, and the record of who viewed which session."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Engine

from ringback import clock
from ringback.records.engine import UnitOfWork, reading
from ringback.records.wall import EVERYWHERE
from ringback.sessions.schemas import OpenedSession
from ringback.sessions.share import queries
from ringback.sessions.share.models import SessionView, ShareLink
from ringback.sessions.share.schemas import (
    LONGEST_LIFE,
    MASKED,
    SHORTEST_LIFE,
    ShareError,
    ShareInfo,
    ShareNotFound,
    View,
    Viewer,
)

SHARE_PATH = "/share/"  # and the token: what a link's path is


def create_share(
    work: UnitOfWork, environment: str, session_id: str, created_by: str, life: timedelta, *, personal: bool = False
) -> tuple[ShareInfo, str]:
    """The link and its token, which is shown once and stored as a hash. Raises ShareError.

    `personal`: it shows personal data. Whether there is such a session, and whether `created_by` may see them, is the
    caller's to know.
    """
    if not SHORTEST_LIFE <= life <= LONGEST_LIFE:
        raise ShareError("expires_in_hours", "A share link lives from 1 hour to 30 days (720 hours).")
    token = clock.random_token()
    now = clock.now()
    row = ShareLink(
        environment=environment,
        token_hash=_hash(token),
        session_id=session_id,
        created_at=now,
        created_by=created_by,
        expires_at=now + life,
        personal=personal,
    )
    work.add(row)
    work.flush()
    return queries.share_info(row), token


def open_share(engine: Engine, token: str) -> ShareInfo:
    """What the link shows. Raises ShareNotFound."""
    with reading(engine, EVERYWHERE) as session:  # who has the link is asked for nothing else
        row = queries.link_with_hash(session, _hash(token))
    if row is None or row.revoked_at is not None or clock.now() >= row.expires_at:
        raise ShareNotFound("This link has expired, was revoked, or never was. Ask who sent it for a new one.")
    return queries.share_info(row)


def list_shares(engine: Engine, environments: Sequence[str], session_id: str | None = None) -> list[ShareInfo]:
    """Newest first; expired and revoked ones too."""
    with reading(engine, environments) as session:
        return queries.links(session, environments, session_id)


def revoke_share(work: UnitOfWork, environments: Sequence[str], share_id: int) -> None:
    """At once; revoking again changes nothing. Raises ShareNotFound."""
    row = queries.locked_link(work, environments, share_id) if share_id < 1 << 63 else None
    if row is None:
        raise ShareNotFound(f"There is no share link {share_id}.")
    row.revoked_at = row.revoked_at or clock.now()


def record_view(work: UnitOfWork, environment: str, session_id: str, viewer: Viewer, how: str) -> None:
    """`how`: "page", "api", "export pcap", ... Called before the session is shown: what could not be recorded is not shown."""
    work.add(
        SessionView(
            environment=environment,
            viewed_at=clock.now(),
            session_id=session_id,
            how=how,
            viewer_kind=viewer.kind,
            viewer=viewer.name,
            share_link_id=viewer.share_id,
            address=viewer.address[:64],
        )
    )


def how_seen(how: str, opened: OpenedSession) -> str:
    """`how` as it is recorded: who saw personal data can be told from who did not."""
    return how + MASKED if opened.masked else how


def list_views(engine: Engine, environments: Sequence[str], session_id: str, limit: int = 200) -> list[View]:
    """Newest first."""
    with reading(engine, environments) as session:
        return queries.views(session, environments, session_id, limit)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
