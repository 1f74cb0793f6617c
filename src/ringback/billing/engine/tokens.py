"""Which token asks, and for which environment. What a token may do is remembered for a minute; that it still holds is asked
of the records each time, by the versions of the token and its owner."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from ringback import clock
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal, Visitor
from ringback.access.service import secret_hash
from ringback.access.tokens import principal_of_token
from ringback.billing.engine import queries
from ringback.changes.schemas import Actor
from ringback.problem import Problem
from ringback.records.engine import reading

REMEMBERED = timedelta(seconds=60)  # as long as the use of a token may go unrecorded
MOST_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Known:
    """A token that was looked at, and the versions that it and its owner had before."""

    principal: Principal
    until: datetime
    versions: tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, for one environment."""

    environment: str
    known: Known

    def holds(self, versions: tuple[int | None, int | None]) -> bool:
        return self.known.versions == versions

    @property
    def ids(self) -> dict[str, int | None]:
        principal = self.known.principal
        return {"token_id": principal.token_id, "owner_id": principal.user_id}

    def actor(self, visitor: Visitor) -> Actor:
        principal = self.known.principal
        return Actor("token", principal.name, "engine", str(principal.token_id or ""), visitor.address)


class Tokens:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, Known] = {}

    def caller(self, authorization: str, wanted: str, visitor: Visitor, *, again: bool = False) -> Caller:
        """`wanted`: the environment that a header names, "" the token's first. `again`: what is remembered does not
        hold any more. Raises Problem."""
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        known = self._known.get(token)
        if (
            again
            or known is None
            or clock.now() >= known.until
            or (wanted and wanted not in known.principal.belongs_to)
        ):
            known = self._look(token if scheme.lower() == "bearer" else "", visitor)
        principal = known.principal
        if not principal.may(Permission.ENGINE_ASK):
            raise Problem(403, f"The token {principal.name} is without the permission {Permission.ENGINE_ASK}.")
        if wanted and wanted not in principal.belongs_to:
            raise Problem(403, f"The token {principal.name} does not belong to an environment {wanted!r}.")
        if not principal.belongs_to:
            raise Problem(403, f"The token {principal.name} belongs to no environment.")
        return Caller(wanted or principal.belongs_to[0], known)

    def _look(self, token: str, visitor: Visitor) -> Known:
        now = clock.now()
        with reading(self._engine) as session:
            versions = queries.token_versions(session, secret_hash(token))
        principal = principal_of_token(self._engine, token, visitor) if token else None
        if principal is None:
            self._known.pop(token, None)
            raise Problem(
                401,
                "Send the token of an API program: Authorization: Bearer rb_... This one is unknown, expired or revoked.",
                headers={"WWW-Authenticate": 'Bearer realm="ringback"'},
            )
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        until = now + REMEMBERED
        known = Known(principal, min(until, principal.expires_at) if principal.expires_at else until, versions)
        self._known[token] = known
        return known
