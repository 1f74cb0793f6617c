"""Tables of share links and of views."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, false, text
from sqlalchemy.orm import Mapped, mapped_column

from ringback.records.tables import Id, InEnvironment, Record


class ShareLink(InEnvironment, Record):
    """The token in the link is stored as a hash only: the link is shown once, when it is made."""

    __tablename__ = "share_links"
    __table_args__ = (Index("ix_share_links_session", "environment", "session_id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    session_id: Mapped[str]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(64))
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    personal: Mapped[bool] = mapped_column(default=False, server_default=false())  # shows personal data; else masked


class SessionView(InEnvironment, Record):
    """Somebody saw a session. Never changed."""

    __tablename__ = "session_views"
    __table_args__ = (
        Index("ix_session_views_session", "environment", "session_id", "viewed_at"),
        Index(
            "ix_session_views_share_link",
            "share_link_id",
            "viewed_at",
            sqlite_where=text("share_link_id IS NOT NULL"),
            postgresql_where=text("share_link_id IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    viewed_at: Mapped[datetime] = mapped_column(index=True)
    session_id: Mapped[str]
    how: Mapped[str] = mapped_column(String(32))  # page api export pcap ...
    viewer_kind: Mapped[str] = mapped_column(String(16))  # user token share
    viewer: Mapped[str] = mapped_column(String(64))  # name of the user or token; who made the share link
    share_link_id: Mapped[int | None] = mapped_column(ForeignKey(ShareLink.id))
    address: Mapped[str] = mapped_column(String(64))
