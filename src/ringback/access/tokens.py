"""API tokens: made, listed and revoked from the command line; shown once, stored as a hash."""

from __future__ import annotations

import re
from datetime import timedelta

from sqlalchemy import Engine, update

from ringback import clock
from ringback.access import queries
from ringback.access.models import ApiToken
from ringback.access.permissions import PERMISSIONS, Role
from ringback.access.schemas import AccessError, Principal, TokenInfo
from ringback.access.service import TOUCH_EVERY, secret_hash
from ringback.records.engine import UnitOfWork, reading, unit_of_work
from ringback.records.tables import DEFAULT_ENVIRONMENT

PREFIX = "rb_"  # so that a secret scanner, or a person, knows one when it sees one
LONGEST_LIFE_DAYS = 3650
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}")


def create_token(
    work: UnitOfWork, name: str, expires_days: int | None = None, environment: str = DEFAULT_ENVIRONMENT
) -> str:
    """Returns the token, which cannot be read again. Raises AccessError."""
    if not _NAME.fullmatch(name):
        raise AccessError("name", "A token's name has letters, digits, spaces and . _ @ - (at most 64).")
    if expires_days is not None and not 1 <= expires_days <= LONGEST_LIFE_DAYS:
        raise AccessError("expires", f"A token expires after 1 to {LONGEST_LIFE_DAYS} days, or never.")
    work.lock("api_tokens", environment, name)
    if queries.live_token_named(work, environment, name):
        raise AccessError("name", f"There is a token {name!r} already: revoke it, or choose another name.")
    token = PREFIX + clock.random_token()
    now = clock.now()
    work.add(
        ApiToken(
            environment=environment,
            name=name,
            start=token[:8],
            token_hash=secret_hash(token),
            created_at=now,
            expires_at=None if expires_days is None else now + timedelta(days=expires_days),
        )
    )
    return token


def list_tokens(engine: Engine, environment: str = DEFAULT_ENVIRONMENT) -> list[TokenInfo]:
    with reading(engine) as session:
        return [
            TokenInfo(row.name, row.start, row.created_at, row.expires_at, row.last_used_at, row.revoked_at)
            for row in queries.tokens(session, environment)
        ]


def revoke_token(work: UnitOfWork, name: str, environment: str = DEFAULT_ENVIRONMENT) -> None:
    """At once: the next request with it is refused. Raises AccessError."""
    row = queries.live_token_named(work, environment, name)
    if row is None:
        raise AccessError("name", f"There is no live token {name!r}; `ringback token list` shows all.")
    row.revoked_at = clock.now()


def principal_of_token(engine: Engine, token: str) -> Principal | None:
    """None: unknown, expired or revoked."""
    if not token.startswith(PREFIX):
        return None
    now = clock.now()
    with reading(engine) as session:
        row = queries.token_with_hash(session, secret_hash(token))
    if row is None or row.revoked_at is not None or (row.expires_at is not None and now >= row.expires_at):
        return None
    if row.last_used_at is None or now >= row.last_used_at + TOUCH_EVERY:
        with unit_of_work(engine) as work:
            work.execute(update(ApiToken).where(ApiToken.id == row.id).values(last_used_at=now))
    return Principal("token", row.name, (row.environment,), PERMISSIONS[Role.API])
