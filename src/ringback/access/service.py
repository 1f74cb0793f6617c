"""What can be done with users and logins.

`log_in` and `change_password` take the engine, not a unit of work: hashing a password takes long, and no transaction
is held meanwhile.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Engine, delete, select, update

from ringback import clock
from ringback.access import passwords, queries, throttle
from ringback.access.models import LoginSession, User
from ringback.access.permissions import PERMISSIONS, Role
from ringback.access.schemas import AccessError, Principal, WrongCredentials
from ringback.records.engine import UnitOfWork, do_in_unit_of_work, reading, unit_of_work

IDLE = timedelta(hours=12)  # a login unused for so long ends
LIFE = timedelta(days=7)  # and any login after this
TOUCH_EVERY = timedelta(minutes=1)  # when it was last used is kept to the minute: reading pages writes little
FIRST_USER = "admin"
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Where a request comes from."""

    address: str
    user_agent: str


def ensure_first_user(engine: Engine) -> str | None:
    """Make `admin` where there is no user at all. Returns its password: to be printed once, it is stored nowhere."""
    with reading(engine) as session:
        if queries.any_user(session):
            return None
    password = passwords.random_password()
    password_hash = passwords.hash_password(password)
    with unit_of_work(engine) as work:
        work.lock("users")
        if queries.any_user(work):
            return None  # another process, or host, was quicker
        _add_user(work, FIRST_USER, password_hash)
    return password


def add_user(work: UnitOfWork, name: str, password: str) -> None:
    """Raises AccessError."""
    if not _NAME.fullmatch(name):
        raise AccessError("name", "A name has lower-case letters, digits and . _ @ - (at most 64).")
    passwords.check_new_password(name, password)
    password_hash = passwords.hash_password(password)
    work.lock("users")
    if queries.user_named(work, name):
        raise AccessError("name", f"There is a user {name} already.")
    _add_user(work, name, password_hash)


def reset_password(work: UnitOfWork, name: str) -> str:
    """A new random password; every login of the user ends and its failed attempts are forgotten. Raises AccessError."""
    password = passwords.random_password()
    password_hash = passwords.hash_password(password)
    user = queries.locked_user(work, name=name) if _NAME.fullmatch(name) else None
    if user is None:
        raise AccessError("name", f"There is no user {name}.")
    throttle.forget_account(work, throttle.attempt(name, "").account)
    _set_password(work, user, password_hash)
    return password


def log_in(engine: Engine, name: str, password: str, visitor: Visitor) -> str:
    """Returns the secret for the cookie. Raises TooManyAttempts, WrongCredentials."""
    name = name.strip().lower()
    tried = throttle.attempt(name, visitor.address)
    with unit_of_work(engine) as work:
        throttle.admit(work, tried, clock.now())
        user = queries.user_named(work, name) if _NAME.fullmatch(name) else None
    if not passwords.verify_password(user.password_hash if user else passwords.nobodys_hash(), password) or not user:
        raise WrongCredentials
    verified_hash, user_id = user.password_hash, user.id
    new_hash = passwords.hash_password(password) if passwords.needs_new_hash(verified_hash) else verified_hash

    def let_in(work: UnitOfWork) -> str:
        user = queries.locked_user(work, user_id)
        if user is None or user.password_hash != verified_hash:
            raise WrongCredentials  # it was changed while it was verified: what that ended must not begin again
        throttle.forgive(work, tried, clock.now())
        user.password_hash = new_hash
        return _start_login(work, user, visitor)

    return do_in_unit_of_work(engine, let_in)


def log_out(engine: Engine, secret: str) -> None:
    with unit_of_work(engine) as work:
        work.execute(delete(LoginSession).where(LoginSession.id_hash == secret_hash(secret)))


def principal_of_login(engine: Engine, secret: str) -> Principal | None:
    """None: no such login, or it ended."""
    now = clock.now()
    with reading(engine) as session:
        login = queries.login_session(session, secret_hash(secret))
    if login is None or now >= login.expires_at or now >= login.seen_at + IDLE:
        return None
    if now >= login.seen_at + TOUCH_EVERY:
        with unit_of_work(engine) as work:
            seen = update(LoginSession).where(LoginSession.id_hash == login.id_hash, LoginSession.seen_at < now)
            work.execute(seen.values(seen_at=now))
    user = login.user
    return Principal(
        "user", user.name, (user.environment,), PERMISSIONS[Role.ADMINISTRATOR], user.id, csrf_token(secret)
    )


def change_password(engine: Engine, principal: Principal, current: str, new: str, visitor: Visitor) -> str:
    """Every login of the person ends; returns the secret of a new one. Raises AccessError, TooManyAttempts."""
    passwords.check_new_password(principal.name, new)
    tried = throttle.attempt(principal.name, visitor.address)
    with unit_of_work(engine) as work:
        throttle.admit(work, tried, clock.now())
        verified_hash = work.get_one(User, principal.user_id).password_hash
    if not passwords.verify_password(verified_hash, current):
        raise AccessError("current_password", "That is not your current password.")
    if new == current:
        raise AccessError("new_password", "The new password is the current one.")
    new_hash = passwords.hash_password(new)

    def change(work: UnitOfWork) -> str:
        user = queries.locked_user(work, principal.user_id)
        if user is None or user.password_hash != verified_hash:
            raise AccessError("current_password", "Your password was changed meanwhile.")
        throttle.forgive(work, tried, clock.now())
        _set_password(work, user, new_hash)
        return _start_login(work, user, visitor)

    return do_in_unit_of_work(engine, change)


def csrf_token(secret: str) -> str:
    """Bound to the login, derived from its secret: nothing to store, and it tells nothing about the secret."""
    return urlsafe_b64encode(hmac.digest(secret.encode(), b"csrf", "sha256")).decode().rstrip("=")


def secret_hash(secret: str) -> str:
    """How a random secret is stored. It is long and random, so that a fast hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _add_user(work: UnitOfWork, name: str, password_hash: str) -> None:
    now = clock.now()
    work.add(User(name=name, password_hash=password_hash, created_at=now, password_changed_at=now))


def _set_password(work: UnitOfWork, user: User, password_hash: str) -> None:
    """`user` is locked: no login of it begins before this work ends."""
    user.password_hash = password_hash
    user.password_changed_at = clock.now()
    work.execute(delete(LoginSession).where(LoginSession.user_id == user.id))


def _start_login(work: UnitOfWork, user: User, visitor: Visitor) -> str:
    now = clock.now()
    secret = clock.random_token()
    work.add(
        LoginSession(
            id_hash=secret_hash(secret),
            environment=user.environment,
            user_id=user.id,
            created_at=now,
            seen_at=now,
            expires_at=now + LIFE,
            address=visitor.address[:64],
            user_agent=visitor.user_agent[:255],
        )
    )
    work.flush()
    ended = select(LoginSession.id_hash).where(LoginSession.expires_at <= now).with_for_update(skip_locked=True)
    work.execute(
        delete(LoginSession).where(LoginSession.id_hash.in_(ended)).execution_options(synchronize_session=False)
    )
    return secret
