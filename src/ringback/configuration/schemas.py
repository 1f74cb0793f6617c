"""What goes in and out of the configuration room. A scope is an environment, or INSTALLATION."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from ringback.configuration.kinds import Json
from ringback.configuration.options import Option


class Source(StrEnum):
    """Where a value comes from."""

    DEFAULT = "default"
    VARIABLE = "variable"  # an environment variable RINGBACK_...
    INSTALLATION = "installation"  # of an environment: applied for all
    APPLIED = "applied"


@dataclass(frozen=True, slots=True)
class DraftValue:
    """What an option would become."""

    given: Json  # None: its default
    told: str
    error: str  # why it cannot be applied; "" where it can
    saved_by: str
    saved_at: datetime


@dataclass(frozen=True, slots=True)
class OptionState:
    """One option in one scope: what holds, why, and what it would become."""

    option: Option[Any]
    stored: Json  # what holds
    told: str
    source: Source
    by: str  # who applied it; "" where nobody did
    at: datetime | None
    entry: int | None  # of the history
    problem: str  # what is wrong with what is stored, so that the default holds instead; "" nothing
    otherwise: str  # what holds where nothing is applied in this scope, in words
    otherwise_from: str  # default, the variable, installation
    drafted: DraftValue | None


@dataclass(frozen=True, slots=True)
class Verified:
    """A draft was verified: an apply must name `token`."""

    token: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Draft:
    """`version` is 0 before the first save and grows with each."""

    scope: str
    version: int
    values: dict[str, DraftValue]
    saved_by: str
    saved_at: datetime | None
    back_to: int | None  # the entry that it goes back to
    verified: Verified | None  # None also when something changed since


@dataclass(frozen=True, slots=True)
class Change:
    """Of one option, as stored and in words. None: it is not applied in this scope."""

    name: str
    old: Json
    new: Json
    old_told: str
    new_told: str


@dataclass(frozen=True, slots=True)
class Verification:
    token: str  # "" where there are errors, or nothing would change
    errors: dict[str, str]
    changes: list[Change]
    touched: dict[str, list[str]] = field(default_factory=dict)  # option -> sentences

    @property
    def ok(self) -> bool:
        return bool(self.token)


@dataclass(frozen=True, slots=True)
class Entry:
    """What was applied at once."""

    id: int
    scope: str
    at: datetime
    by: str
    realm: str
    reason: str
    back_to: int | None
    changes: list[Change]


@dataclass(frozen=True, slots=True)
class Process:
    """A role that runs, and up to which entry of the history its process has taken the values in."""

    host: str
    role: str
    entry: int | None  # None: it told nothing yet
    at: datetime | None


class ConfigurationError(Exception):
    """What was asked cannot be done; the text is fit to be shown. `names`: the options that it is about."""

    def __init__(self, text: str, *names: str) -> None:
        super().__init__(text)
        self.names = names


class UnknownOption(ConfigurationError):
    pass


class UnknownEntry(ConfigurationError):
    pass


class BadValue(ConfigurationError):
    """What was given cannot even be kept in a draft."""


class DraftChanged(ConfigurationError):
    """Somebody saved since the draft was read: look at it again."""


class NotVerified(ConfigurationError):
    """The draft, or what holds, is not what was verified: verify again."""
