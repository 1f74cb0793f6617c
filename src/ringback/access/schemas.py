"""What goes in and out of the access room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from ringback.access.permissions import Permission, Role

Due = Literal["", "password", "second factor"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a signed-in person or an API token."""

    kind: Literal["user", "token"]
    name: str  # of a person's token: "ann: grafana"
    environments: tuple[str, ...]  # what may be seen: the one chosen
    permissions: frozenset[Permission]
    user_id: int | None = None  # of a person; of who owns the token
    csrf_token: str = field(default="", repr=False)  # forms made for this login carry it
    belongs_to: tuple[str, ...] = ()  # every environment that may be chosen
    everywhere: bool = False  # also those that will be made, and what no rule assigns
    due: Due = ""  # what a person has to do before anything else
    token_id: int | None = None
    expires_at: datetime | None = None  # of the token
    environment_names: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def may(self, permission: Permission) -> bool:
        return permission in self.permissions

    @property
    def sees_personal(self) -> bool:
        """Else numbers, names, addresses and SIP identities are masked, exports included."""
        return Permission.PERSONAL_READ in self.permissions

    def within(self, environment: str) -> Principal:
        """The same, who has chosen this environment of theirs."""
        return replace(self, environments=(environment,))


@dataclass(frozen=True, slots=True)
class Visitor:
    """Where a request comes from."""

    address: str
    user_agent: str
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Login:
    """A login that begins; with `code_due` it is one only after the second factor."""

    secret: str = field(repr=False)  # for the cookie
    code_due: bool


@dataclass(frozen=True, slots=True)
class LoginInfo:
    """One browser that is signed in."""

    handle: str  # names it among its user's
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    address: str
    user_agent: str
    current: bool  # the one that asks


@dataclass(frozen=True, slots=True)
class TokenForm:
    """A token that somebody asks for."""

    name: str
    scopes: tuple[str, ...]
    environments: tuple[str, ...] = ()  # none: all of the owner's
    expires_days: int | None = None


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """An API token without its secret."""

    id: int
    name: str
    start: str  # its first characters
    owner: str  # name of its user, "" for the installation's own
    user_id: int | None
    scopes: tuple[str, ...]
    environments: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    last_address: str
    revoked_at: datetime | None

    def live(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class PersonForm:
    """A person as an administrator wants them."""

    name: str  # of a new person; nobody is renamed
    full_name: str = ""
    email: str = ""
    role: Role = Role.READ_ONLY
    environments: tuple[str, ...] = ()
    everywhere: bool = False
    sees_personal: bool | None = None
    with_password: bool = True  # of a new person; without one they come by single sign-on, or are a program


@dataclass(frozen=True, slots=True)
class PersonInfo:
    """A person as those who may see people see them."""

    id: int
    name: str
    full_name: str
    email: str
    role: Role
    environments: tuple[str, ...]  # of those that the reader belongs to
    other_environments: int  # how many more, whose names are not the reader's to know
    everywhere: bool
    sees_personal: bool | None
    active: bool
    has_password: bool
    must_change_password: bool
    password_changed_at: datetime | None
    single_sign_on: bool
    second_factor: bool
    created_at: datetime
    last_login_at: datetime | None
    last_address: str
    version: int
    kept_from: str  # why the reader may not change them; "" they may


State = Literal["", "active", "inactive", "never", "no-second-factor"]


@dataclass(frozen=True, slots=True)
class PeopleQuery:
    text: str = ""  # part of a name or an e-mail address
    role: str = ""
    environment: str = ""
    state: State = ""
    after: str = ""  # the name behind which the page begins
    limit: int = 50


@dataclass(frozen=True, slots=True)
class PeoplePage:
    people: tuple[PersonInfo, ...]
    total: int
    more_after: str  # `after` of the next page; "" this is the last


class AccessError(ValueError):
    """What was asked cannot be done; the text is fit to be shown, `field` names the form's field."""

    def __init__(self, field_: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field_
        self.reason = reason


class NotYours(Exception):
    """What is asked for is beyond the one who asks; the text says why."""


class PersonNotFound(LookupError):
    """Nobody by this id whom the reader may see."""


class TokenNotFound(LookupError):
    """No live token by this id that the reader may see."""


class WrongCredentials(Exception):
    """Name, password or code is wrong: which is not told."""


class LoginOver(Exception):
    """The second factor was waited for too long, or elsewhere: the login begins anew."""


class TooManyAttempts(Exception):
    """Logins of this account or from this address are refused for a while, right or wrong."""

    def __init__(self, wait_seconds: int) -> None:
        minutes = -(-wait_seconds // 60)
        wait = f"{wait_seconds} s" if wait_seconds < 120 else f"{minutes} minutes"
        super().__init__(f"Too many failed attempts. Try again in {wait}.")
        self.wait_seconds = wait_seconds
