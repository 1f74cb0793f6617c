"""What goes in and out of share links and views."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

SHORTEST_LIFE = timedelta(hours=1)
LONGEST_LIFE = timedelta(days=30)
MASKED = ", masked"  # ends `View.how` where personal data were hidden


class ShareError(ValueError):
    """A link that cannot be made: the field and the reason, fit to be shown."""

    def __init__(self, field_: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field_
        self.reason = reason


class ShareNotFound(LookupError):
    """The link does not exist, has expired or was revoked: which of these is not told to who opens it."""


@dataclass(frozen=True, slots=True)
class ShareInfo:
    """A share link without its secret."""

    id: int
    session_id: str
    environment: str
    created_by: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    personal: bool = False  # shows personal data; else they are masked
    views: int = 0
    last_viewed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who sees a session: a user or token by name, or whoever holds a share link (then `name` is who made the link)."""

    kind: Literal["user", "token", "share"]
    name: str
    address: str
    share_id: int | None = None


@dataclass(frozen=True, slots=True)
class View:
    """One row of the record of who viewed what."""

    viewed_at: datetime
    session_id: str
    how: str  # "page", "api", "export pcap", ...; "page, masked" where personal data were hidden
    viewer: Viewer

    @property
    def masked(self) -> bool:
        return self.how.endswith(MASKED)
