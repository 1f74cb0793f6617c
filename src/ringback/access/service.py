"""What can be done with logins, and with one's own password and second factor.

What hashes a password takes the engine, not a unit of work: it takes long, and no transaction is held meanwhile.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import Engine, delete, select, update

from ringback import clock
from ringback.access import passwords, queries, second_factor, throttle
from ringback.access.models import LoginSession, User
from ringback.access.permissions import Role, permissions_of
from ringback.access.policy import Policy
from ringback.access.schemas import (
    AccessError,
    Due,
    Login,
    LoginInfo,
    LoginOver,
    Principal,
    Visitor,
    WrongCredentials,
)
from ringback.access.second_factor import Enrolment
from ringback.changes.schemas import Actor, Owner
from ringback.changes.service import changing, do_changing, note, note_on
from ringback.records.engine import UnitOfWork, reading, unit_of_work
from ringback.records.environments import DEFAULT_ENVIRONMENT, INSTALLATION, UNASSIGNED

IDLE = timedelta(hours=12)  # a login unused for so long ends
LIFE = timedelta(days=7)  # and any login after this
CODE_WAIT = timedelta(minutes=10)  # for the second factor
TOUCH_EVERY = timedelta(minutes=1)  # when it was last used is kept to the minute: reading pages writes little
FIRST_USER = "admin"
NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
NAME_RULE = "A name has lower-case letters, digits and . _ @ - (at most 64)."
_NOBODY = "unknown"  # what was typed as a name is not told: it may be a password
_HANDLE = 16  # characters of a login's hash

Answer = TypeVar("Answer")


def ensure_first_user(engine: Engine) -> str | None:
    """Make `admin` where there is no user at all. Returns its password: to be printed once, it is stored nowhere."""
    with reading(engine) as session:
        if queries.any_user(session):
            return None
    password = passwords.random_password()
    password_hash = passwords.hash_password(password)
    with changing(engine, Actor("system", "first start", "cli"), None) as work:
        work.lock("users")
        if queries.any_user(work):
            return None  # another process, or host, was quicker
        new_user(work, FIRST_USER, password_hash, Role.ADMINISTRATOR, everywhere=True)
    return password


def add_user(
    work: UnitOfWork,
    name: str,
    password: str,
    role: Role = Role.ADMINISTRATOR,
    environments: tuple[str, ...] = (DEFAULT_ENVIRONMENT,),
    *,
    everywhere: bool | None = None,
) -> User:
    """Somebody whose password is known; administrators are of the whole installation unless it is said. Raises
    AccessError."""
    passwords.check_new_password(name, password)
    password_hash = passwords.hash_password(password)
    work.lock("users")
    check_name(work, name)
    everywhere = role is Role.ADMINISTRATOR if everywhere is None else everywhere
    return new_user(work, name, password_hash, role, environments, everywhere=everywhere)


def check_name(work: UnitOfWork, name: str) -> None:
    """Whether somebody new may have it: names are locked. Raises AccessError."""
    if not NAME.fullmatch(name):
        raise AccessError("name", NAME_RULE)
    if queries.user_named(work, name):
        raise AccessError("name", f"There is a user {name} already.")


def new_user(
    work: UnitOfWork,
    name: str,
    password_hash: str | None,
    role: Role,
    environments: tuple[str, ...] = (DEFAULT_ENVIRONMENT,),
    *,
    everywhere: bool = False,
) -> User:
    now = clock.now()
    user = User(
        name=name,
        role=role,
        environments=environments,
        everywhere=everywhere,
        password_hash=password_hash,
        password_changed_at=None if password_hash is None else now,
        created_at=now,
    )
    work.add(user)
    return user


def reset_password(work: UnitOfWork, name: str, *, must_change: bool = False) -> str:
    """A new random password; every login of the user ends and their failed attempts are forgotten. Raises
    AccessError."""
    password = passwords.random_password()
    password_hash = passwords.hash_password(password)
    user = queries.locked_user(work, name=name) if NAME.fullmatch(name) else None
    if user is None:
        raise AccessError("name", f"There is no user {name}.")
    if user.role == Role.API:
        raise AccessError("name", f"{name} is a program: it has tokens and no password.")
    throttle.forget_account(work, throttle.attempt(name, "").account)
    throttle.forget_account(work, throttle.code_attempt(name, "").account)
    set_password(work, user, password_hash)
    user.must_change_password = must_change
    return password


def log_in(engine: Engine, name: str, password: str, visitor: Visitor) -> Login:
    """Raises TooManyAttempts, WrongCredentials."""
    name = name.strip().lower()
    tried = throttle.attempt(name, visitor.address)
    with unit_of_work(engine) as work:
        throttle.admit(work, tried, clock.now())
        user = queries.user_named(work, name) if NAME.fullmatch(name) else None
    known_hash = user.password_hash if user else None
    right = passwords.verify_password(known_hash or passwords.nobodys_hash(), password)
    if user is None or known_hash is None or not right or not may_sign_in(user):
        _note_failure(engine, user, "password" if not right else "not allowed", visitor)
        raise WrongCredentials
    new_hash = passwords.hash_password(password) if passwords.needs_new_hash(known_hash) else known_hash
    user_id = user.id

    def let_in(work: UnitOfWork) -> Login:
        user = queries.locked_user(work, user_id)
        if user is None or user.password_hash != known_hash or not may_sign_in(user):
            raise WrongCredentials  # it was changed while it was verified: what that ended must not begin again
        throttle.forgive(work, tried, clock.now())
        user.password_hash = new_hash
        if user.totp_confirmed_at is not None:
            return Login(_start_login(work, user, visitor, code_due=True), code_due=True)
        return Login(signed_in(work, user, visitor, "password"), code_due=False)

    return do_changing(engine, _as_user(name, visitor, user_id), None, let_in)


def check_code(engine: Engine, secret: str, code: str, visitor: Visitor) -> str:
    """The second factor of a login that has begun; returns the secret of the one that is complete. Raises LoginOver,
    TooManyAttempts, WrongCredentials."""
    with reading(engine) as session:
        begun = queries.login_session(session, secret_hash(secret))
    if begun is None or not begun.code_due or clock.now() >= begun.expires_at:
        raise LoginOver
    user = begun.user
    tried = throttle.code_attempt(user.name, visitor.address)
    with unit_of_work(engine) as work:
        throttle.admit(work, tried, clock.now())

    def let_in(work: UnitOfWork) -> str:
        locked = queries.locked_user(work, user.id)
        begun = work.get(LoginSession, secret_hash(secret), with_for_update=True)
        if locked is None or begun is None or not may_sign_in(locked):
            raise LoginOver
        how = second_factor.accept(work, locked, code, clock.now())
        if not how:
            return ""
        throttle.forgive(work, tried, clock.now())
        work.delete(begun)
        return signed_in(work, locked, visitor, f"password and {how}")

    complete = do_changing(engine, _as_user(user.name, visitor, user.id), None, let_in)
    if not complete:
        _note_failure(engine, user, "code", visitor)
        raise WrongCredentials
    return complete


def code_is_due(engine: Engine, secret: str) -> bool:
    """Whether a login that has begun with this secret waits for its second factor."""
    with reading(engine) as session:
        begun = queries.login_session(session, secret_hash(secret))
    return begun is not None and begun.code_due and clock.now() < begun.expires_at


def signed_in(work: UnitOfWork, user: User, visitor: Visitor, how: str) -> str:
    """A login of a user who is locked and was found to be who they say. Returns the secret for the cookie."""
    left = queries.sign_in(work, user.id)
    left.last_at, left.last_address = clock.now(), visitor.address[:64]
    note_on(work, "login.succeeded", user, how=how)
    return _start_login(work, user, visitor)


def log_out(engine: Engine, principal: Principal, secret: str, visitor: Visitor) -> None:
    with changing(engine, _as_user(principal.name, visitor, principal.user_id), None) as work:
        ended = work.get(LoginSession, secret_hash(secret), with_for_update=True)
        if ended is not None:
            work.delete(ended)
            of = Owner(INSTALLATION)
            note(work, "login.ended", User.__entity__, principal.user_id, principal.name, of, arguments={"count": 1})


def principal_of_login(engine: Engine, secret: str, policy: Policy = Policy()) -> Principal | None:  # noqa: B008
    """None: no such login, or it ended."""
    now = clock.now()
    with reading(engine) as session:
        login = queries.login_session(session, secret_hash(secret))
        if login is None or login.code_due or not may_sign_in(login.user):
            return None
        names = queries.environment_names(session)
    if now >= login.expires_at or now >= login.seen_at + IDLE:
        return None
    if now >= login.seen_at + TOUCH_EVERY:
        with unit_of_work(engine) as work:
            seen = update(LoginSession).where(LoginSession.id_hash == login.id_hash, LoginSession.seen_at < now)
            work.execute(seen.values(seen_at=now))
    user = login.user
    due = _due(user, policy, now)
    belongs_to = environments_of(user, names)
    return Principal(
        "user",
        user.name,
        belongs_to[:1],
        frozenset() if due else permissions_of(Role(user.role), user.sees_personal),
        user.id,
        csrf_token(secret),
        belongs_to,
        user.everywhere,
        due,
        environment_names={key: names.get(key, key) for key in belongs_to},
    )


def environments_of(user: User, names: dict[str, str]) -> tuple[str, ...]:
    """Keys of those that there are (`names`) and the user belongs to, where they begin first."""
    own = tuple(key for key in user.environments if key in names)
    if not user.everywhere:
        return own
    return (*own, *(key for key in names if key not in own), UNASSIGNED)


def change_password(engine: Engine, principal: Principal, current: str, new: str, visitor: Visitor) -> str:
    """Every login of the person ends; returns the secret of a new one. Raises AccessError, TooManyAttempts."""
    with reading(engine) as session:
        user = session.get_one(User, principal.user_id)
    if user.password_hash is None:
        raise AccessError("current_password", "You sign in elsewhere (single sign-on) and have no password here.")
    passwords.check_new_password(principal.name, new, user.full_name, user.email)
    tried = throttle.attempt(principal.name, visitor.address)
    with unit_of_work(engine) as work:
        throttle.admit(work, tried, clock.now())
        verified_hash = work.get_one(User, principal.user_id).password_hash
    if verified_hash is None or not passwords.verify_password(verified_hash, current):
        raise AccessError("current_password", "That is not your current password.")
    if new == current:
        raise AccessError("new_password", "The new password is the current one.")
    new_hash = passwords.hash_password(new)

    def change(work: UnitOfWork) -> str:
        user = queries.locked_user(work, principal.user_id)
        if user is None or user.password_hash != verified_hash:
            raise AccessError("current_password", "Your password was changed meanwhile.")
        throttle.forgive(work, tried, clock.now())
        set_password(work, user, new_hash)
        return _start_login(work, user, visitor)

    return do_changing(engine, _as_user(principal.name, visitor, principal.user_id), None, change)


def change_profile(work: UnitOfWork, user_id: int | None, full_name: str, email: str) -> None:
    """What everybody may say of themselves. Raises AccessError."""
    user = queries.locked_user(work, user_id)
    if user is None:
        raise AccessError("full_name", "You are no longer there.")
    user.full_name, user.email = checked_full_name(full_name), checked_email(email)


def begin_second_factor(engine: Engine, principal: Principal, password: str, visitor: Visitor) -> None:
    """Raises AccessError, TooManyAttempts."""
    _with_password(engine, principal, password, visitor, lambda work, user: second_factor.begin(user))


def begun_second_factor(engine: Engine, principal: Principal) -> Enrolment | None:
    with reading(engine) as session:
        return second_factor.enrolment(session.get_one(User, principal.user_id))


def confirm_second_factor(engine: Engine, principal: Principal, code: str, visitor: Visitor) -> list[str]:
    """Returns the recovery codes. Raises AccessError, TooManyAttempts."""
    tried = throttle.code_attempt(principal.name, visitor.address)
    with unit_of_work(engine) as work:
        throttle.admit(work, tried, clock.now())

    def confirm(work: UnitOfWork) -> list[str]:
        user = queries.locked_user(work, principal.user_id)
        if user is None:
            raise AccessError("code", "You are no longer there.")
        codes = second_factor.confirm(work, user, code, clock.now())
        throttle.forgive(work, tried, clock.now())
        return codes

    return do_changing(engine, _as_user(principal.name, visitor, principal.user_id), None, confirm)


def new_recovery_codes(engine: Engine, principal: Principal, password: str, visitor: Visitor) -> list[str]:
    """Raises AccessError, TooManyAttempts."""

    def make(work: UnitOfWork, user: User) -> list[str]:
        if user.totp_confirmed_at is None:
            raise AccessError("password", "Recovery codes stand in for a second factor, and you have none.")
        return second_factor.new_recovery_codes(work, user)

    return _with_password(engine, principal, password, visitor, make)


def turn_off_second_factor(engine: Engine, principal: Principal, password: str, visitor: Visitor) -> None:
    """Raises AccessError, TooManyAttempts."""
    _with_password(engine, principal, password, visitor, second_factor.turn_off)


def list_logins(engine: Engine, user_id: int, secret: str = "") -> list[LoginInfo]:
    """Live ones; `secret` is that of the login that asks."""
    now, asking = clock.now(), secret_hash(secret)
    with reading(engine) as session:
        return [
            LoginInfo(
                row.id_hash[:_HANDLE],
                row.created_at,
                row.seen_at,
                min(row.expires_at, row.seen_at + IDLE),
                row.address,
                row.user_agent,
                row.id_hash == asking,
            )
            for row in queries.logins(session, user_id)
            if now < min(row.expires_at, row.seen_at + IDLE)
        ]


def end_logins(work: UnitOfWork, user: User, *, handle: str = "", but: str = "") -> int:
    """All of the user's, or the one of this handle, or all but the one with this secret. `user` is locked."""
    chosen = select(LoginSession.id_hash).where(LoginSession.user_id == user.id)
    if handle:
        chosen = chosen.where(LoginSession.id_hash.startswith(handle, autoescape=True))
    if but:
        chosen = chosen.where(LoginSession.id_hash != secret_hash(but))
    ended = work.scalars(chosen.with_for_update()).all()
    work.execute(delete(LoginSession).where(LoginSession.id_hash.in_(ended)))
    if ended:
        note_on(work, "login.ended", user, count=len(ended))
    return len(ended)


def checked_full_name(text: str) -> str:
    """Raises AccessError."""
    text = " ".join(text.split())
    if len(text) > 120 or not text.isprintable():
        raise AccessError("full_name", "A full name has at most 120 characters.")
    return text


def checked_email(text: str) -> str:
    """Raises AccessError."""
    text = text.strip()
    if text and (len(text) > 254 or not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", text) or not text.isprintable()):
        raise AccessError("email", "An e-mail address looks like ann@example.com.")
    return text


def csrf_token(secret: str) -> str:
    """Bound to the login, derived from its secret: nothing to store, and it tells nothing about the secret."""
    return urlsafe_b64encode(hmac.digest(secret.encode(), b"csrf", "sha256")).decode().rstrip("=")


def secret_hash(secret: str) -> str:
    """How a random secret is stored. It is long and random, so that a fast hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def set_password(work: UnitOfWork, user: User, password_hash: str) -> None:
    """`user` is locked: no login of it begins before this work ends."""
    user.password_hash = password_hash
    user.password_changed_at = clock.now()
    user.must_change_password = False
    work.execute(delete(LoginSession).where(LoginSession.user_id == user.id))


def may_sign_in(user: User) -> bool:
    return user.active and user.role != Role.API


def _due(user: User, policy: Policy, now: datetime) -> Due:
    if user.password_hash is None:
        return ""  # who signs in elsewhere proves everything there
    too_old = (
        policy.password_days is not None
        and user.password_changed_at is not None
        and now >= user.password_changed_at + timedelta(days=policy.password_days)
    )
    if user.must_change_password or too_old:
        return "password"
    return "second factor" if policy.second_factor_required and user.totp_confirmed_at is None else ""


def _with_password(
    engine: Engine, principal: Principal, password: str, visitor: Visitor, do: Callable[[UnitOfWork, User], Answer]
) -> Answer:
    """Done once the person has shown their password again. Raises AccessError, TooManyAttempts, and what `do` raises."""
    tried = throttle.attempt(principal.name, visitor.address)
    with unit_of_work(engine) as work:
        known_hash = work.get_one(User, principal.user_id).password_hash
        if known_hash is not None:
            throttle.admit(work, tried, clock.now())
    if known_hash is not None and not passwords.verify_password(known_hash, password):
        raise AccessError("password", "That is not your password.")

    def change(work: UnitOfWork) -> Answer:
        user = queries.locked_user(work, principal.user_id)
        if user is None or user.password_hash != known_hash:
            raise AccessError("password", "Your password was changed meanwhile.")
        if known_hash is not None:
            throttle.forgive(work, tried, clock.now())
        return do(work, user)

    return do_changing(engine, _as_user(principal.name, visitor, principal.user_id), None, change)


def _as_user(name: str, visitor: Visitor, user_id: int | None) -> Actor:
    return Actor("user", name, "console", str(user_id or ""), visitor.address, visitor.request_id)


def _note_failure(engine: Engine, user: User | None, why: str, visitor: Visitor) -> None:
    """A failed login; what was typed is in no record."""
    name, user_id = (user.name, user.id) if user else (_NOBODY, None)
    with changing(engine, _as_user(name, visitor, user_id), None) as work:
        told = {"why": why if user else "name"}
        note(work, "login.failed", User.__entity__, user_id or "", name, Owner(INSTALLATION), arguments={**told})


def _start_login(work: UnitOfWork, user: User, visitor: Visitor, *, code_due: bool = False) -> str:
    now = clock.now()
    secret = clock.random_token()
    work.add(
        LoginSession(
            id_hash=secret_hash(secret),
            user_id=user.id,
            created_at=now,
            seen_at=now,
            expires_at=now + (CODE_WAIT if code_due else LIFE),
            address=visitor.address[:64],
            user_agent=visitor.user_agent[:255],
            code_due=code_due,
        )
    )
    work.flush()
    ended = select(LoginSession.id_hash).where(LoginSession.expires_at <= now).with_for_update(skip_locked=True)
    work.execute(
        delete(LoginSession).where(LoginSession.id_hash.in_(ended)).execution_options(synchronize_session=False)
    )
    return secret
