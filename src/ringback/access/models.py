"""Tables of people and what proves who they are. Secrets are stored as hashes only."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ringback.records.tables import Id, NamesEnvironment, Record


class User(NamesEnvironment, Record):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)  # lower case
    password_hash: Mapped[str]  # argon2id, with its parameters
    created_at: Mapped[datetime]
    password_changed_at: Mapped[datetime]


class LoginSession(NamesEnvironment, Record):
    """One signed-in browser. The cookie holds a random id; its hash is the key here."""

    __tablename__ = "login_sessions"

    id_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]  # to the minute
    expires_at: Mapped[datetime] = mapped_column(index=True)  # whatever is done
    address: Mapped[str] = mapped_column(String(64))
    user_agent: Mapped[str]

    user: Mapped[User] = relationship(lazy="raise")


class LoginThrottle(NamesEnvironment, Record):
    """Failed logins of one account or from one address, for as long as they count."""

    __tablename__ = "login_throttles"

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)  # account address
    key: Mapped[str] = mapped_column(
        String(64), primary_key=True
    )  # account: hash of what was typed, it may be a password
    failures: Mapped[int]
    last_failed_at: Mapped[datetime] = mapped_column(index=True)
    blocked_until: Mapped[datetime]


class ApiToken(NamesEnvironment, Record):
    __tablename__ = "api_tokens"
    __table_args__ = (
        Index(
            "uq_api_tokens_live_name",
            "environment",
            "name",
            unique=True,
            sqlite_where=text("revoked_at IS NULL"),
            postgresql_where=text("revoked_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    start: Mapped[str] = mapped_column(String(16))  # the token's first characters, to tell tokens apart
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]  # to the minute
    revoked_at: Mapped[datetime | None]
