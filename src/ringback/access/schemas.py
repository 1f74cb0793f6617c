"""What goes in and out of the access room."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from ringback.access.permissions import Permission


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a signed-in person or an API token."""

    kind: Literal["user", "token"]
    name: str
    environments: tuple[str, ...]  # what may be seen: the one chosen first
    permissions: frozenset[Permission]
    user_id: int | None = None  # of a person; of who owns the token
    csrf_token: str = field(default="", repr=False)  # forms made for this login carry it

    def may(self, permission: Permission) -> bool:
        return permission in self.permissions

    @property
    def sees_personal(self) -> bool:
        """Else numbers, names, addresses and SIP identities are masked, exports included."""
        return Permission.PERSONAL_READ in self.permissions


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """An API token without its secret."""

    name: str
    start: str  # its first characters
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class AccessError(ValueError):
    """What was asked cannot be done; the text is fit to be shown, `field` names the form's field."""

    def __init__(self, field_: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field_
        self.reason = reason


class WrongCredentials(Exception):
    """Name or password is wrong: which of the two is not told."""


class TooManyAttempts(Exception):
    """Logins of this account or from this address are refused for a while, right or wrong."""

    def __init__(self, wait_seconds: int) -> None:
        minutes = -(-wait_seconds // 60)
        wait = f"{wait_seconds} s" if wait_seconds < 120 else f"{minutes} minutes"
        super().__init__(f"Too many failed attempts. Try again in {wait}.")
        self.wait_seconds = wait_seconds
