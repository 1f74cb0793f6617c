"""Tables of people and what proves who they are. Secrets are stored as hashes, or sealed where they are needed again.

None stands behind the wall: a person may belong to several environments, and who they are is asked before it is known
which one is meant.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Dialect, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from ringback.changes.tracked import Tracked
from ringback.records.secrets import Sealed
from ringback.records.tables import Id, Record

_SECRET = {"secret": True}
_PERSONAL = {"personal": True}


class Words(TypeDecorator[tuple[str, ...]]):
    """Keys without spaces, stored as " first second " so that one of them is found by LIKE '% first %'."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: Dialect) -> str:
        return f" {' '.join(value)} " if value else ""

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[str, ...]:
        return tuple((value or "").split())


class User(Tracked, Record):
    """A person, or (role `api`) a program that others look after. Never deleted: what they did is told by name."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("oidc_issuer", "oidc_subject"),)
    __entity__ = "user"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)  # lower case
    full_name: Mapped[str] = mapped_column(String(120), default="", info=_PERSONAL)
    email: Mapped[str] = mapped_column(String(254), default="", info=_PERSONAL)
    role: Mapped[str] = mapped_column(String(16))  # a Role
    environments: Mapped[tuple[str, ...]] = mapped_column(Words, default=())  # keys; where they begin comes first
    everywhere: Mapped[bool] = mapped_column(default=False)  # every environment, also what no rule assigns
    sees_personal: Mapped[bool | None]  # None: as the role says
    active: Mapped[bool] = mapped_column(default=True)
    password_hash: Mapped[str | None] = mapped_column(info=_SECRET)  # argon2id, with its parameters
    password_changed_at: Mapped[datetime | None]
    must_change_password: Mapped[bool] = mapped_column(default=False)  # somebody else chose it
    totp_secret: Mapped[str | None] = mapped_column(Sealed("users.totp_secret"), info=_SECRET)
    totp_confirmed_at: Mapped[datetime | None]  # from then on it is asked for
    oidc_issuer: Mapped[str | None]
    oidc_subject: Mapped[str | None]
    created_at: Mapped[datetime]


class SignIn(Record):
    """What signing in leaves behind of each person: no change of them."""

    __tablename__ = "sign_ins"

    user_id: Mapped[int] = mapped_column(
        ForeignKey(User.id, ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    last_at: Mapped[datetime | None]
    last_address: Mapped[str] = mapped_column(String(64))
    totp_step: Mapped[int | None]  # of the last code used: none is used twice


class RecoveryCode(Record):
    """Each stands in once for a code of the authenticator, and goes when it is used."""

    __tablename__ = "recovery_codes"

    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), primary_key=True)
    code_hash: Mapped[str] = mapped_column(String(64), primary_key=True)


class LoginSession(Record):
    """One signed-in browser. The cookie holds a random id; its hash is the key here."""

    __tablename__ = "login_sessions"

    id_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]  # to the minute
    expires_at: Mapped[datetime] = mapped_column(index=True)  # whatever is done
    address: Mapped[str] = mapped_column(String(64))
    user_agent: Mapped[str]
    code_due: Mapped[bool] = mapped_column(default=False)  # nobody is signed in before the second factor is shown

    user: Mapped[User] = relationship(lazy="raise")


class LoginThrottle(Record):
    """Failed logins of one account or from one address, for as long as they count."""

    __tablename__ = "login_throttles"

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)  # account address
    key: Mapped[str] = mapped_column(
        String(64), primary_key=True
    )  # account: hash of what was typed, it may be a password
    failures: Mapped[int]
    last_failed_at: Mapped[datetime] = mapped_column(index=True)
    blocked_until: Mapped[datetime]


_LIVE = text("revoked_at IS NULL")
_OF_NOBODY = text("revoked_at IS NULL AND user_id IS NULL")


class ApiToken(Tracked, Record):
    """What a program shows. It may do what its scopes say and its owner may do now."""

    __tablename__ = "api_tokens"
    __table_args__ = (
        Index("uq_api_tokens_live_name", "user_id", "name", unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE),
        Index(
            "uq_api_tokens_installation_name",
            "name",
            unique=True,
            sqlite_where=_OF_NOBODY,
            postgresql_where=_OF_NOBODY,
        ),
    )
    __entity__ = "token"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey(User.id), index=True)  # None: nobody's
    name: Mapped[str] = mapped_column(String(64))
    start: Mapped[str] = mapped_column(String(16))  # the token's first characters, to tell tokens apart
    token_hash: Mapped[str] = mapped_column(String(64), unique=True, info=_SECRET)
    scopes: Mapped[tuple[str, ...]] = mapped_column(Words)  # permissions
    environments: Mapped[tuple[str, ...]] = mapped_column(Words, default=())  # keys; none: all of the owner's
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    user: Mapped[User | None] = relationship(lazy="raise")


class TokenUse(Record):
    """When a token was last used, and from where: no change of it."""

    __tablename__ = "token_uses"

    token_id: Mapped[int] = mapped_column(
        ForeignKey(ApiToken.id, ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    last_at: Mapped[datetime | None]  # to the minute
    last_address: Mapped[str] = mapped_column(String(64))
    refused_at: Mapped[datetime | None]  # as it was last recorded
