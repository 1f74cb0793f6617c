"""Who a provider says somebody is becomes a person here: known by issuer and subject, given rights by groups."""

from __future__ import annotations

import re

import structlog
from sqlalchemy import Engine, select

from ringback.access import queries
from ringback.access.models import User
from ringback.access.oidc import Grant, Identity, SignInFailed, grant_of
from ringback.access.people import keep_an_administrator, runs_all
from ringback.access.permissions import Role
from ringback.access.schemas import AccessError, Visitor
from ringback.access.service import NAME, may_sign_in, new_user, signed_in
from ringback.changes.schemas import Actor, Owner
from ringback.changes.service import do_changing, note
from ringback.records.engine import UnitOfWork
from ringback.records.environments import INSTALLATION

_ACTOR = "single sign-on"
_log = structlog.get_logger()


def sign_in(engine: Engine, identity: Identity, grants: dict[str, Grant], visitor: Visitor) -> str:
    """Returns the secret for the cookie. Raises SignInFailed.

    With `grants` the groups say at each sign-in what the person may do, and who has none of them is not let in; without,
    an administrator makes people first: without a password, with the e-mail address that the provider has verified.
    """
    actor = Actor("system", _ACTOR, "console", "", visitor.address, visitor.request_id)
    given = grant_of(identity, grants)
    if grants and given is None:
        _refuse(engine, actor, identity, "none of your groups may use Ringback: ask who looks after it")

    def let_in(work: UnitOfWork) -> str:
        work.lock("users")
        user = _linked(work, identity) or _awaited(work, identity)
        if user is None and given is None:
            return ""
        if user is None:
            user = new_user(work, _free_name(work, identity), None, Role.READ_ONLY)
        user.oidc_issuer, user.oidc_subject = identity.issuer, identity.subject
        user.full_name = user.full_name or " ".join(identity.name.split())[:120]
        user.email = identity.email or user.email or ""
        if given is not None:
            _give(work, user, given)
        work.flush()
        if not may_sign_in(user):
            return ""
        return signed_in(work, user, visitor, _ACTOR)

    secret = do_changing(engine, actor, None, let_in)
    if not secret:
        _refuse(
            engine,
            actor,
            identity,
            "nobody here is known by that identity, or they are deactivated: ask an administrator",
        )
    return secret


def _linked(work: UnitOfWork, identity: Identity) -> User | None:
    found = select(User).where(User.oidc_issuer == identity.issuer, User.oidc_subject == identity.subject)
    return work.scalars(found.with_for_update()).one_or_none()


def _awaited(work: UnitOfWork, identity: Identity) -> User | None:
    """Whom an administrator made for this address. Not who has a password: they could have written the address themselves."""
    if not identity.email:
        return None
    found = select(User).where(
        User.email == identity.email, User.password_hash.is_(None), User.oidc_subject.is_(None), User.role != Role.API
    )
    users = work.scalars(found.with_for_update()).all()
    return users[0] if len(users) == 1 else None


def _give(work: UnitOfWork, user: User, grant: Grant) -> None:
    """Raises SignInFailed."""
    there = queries.environment_names(work)
    environments = tuple(key for key in grant.environments if key in there)
    if grant.environments and not environments:
        raise SignInFailed("The environments of your groups do not exist here: ask an administrator.")
    before, was = runs_all(user), (user.role, user.environments, user.everywhere)
    user.role, user.environments, user.everywhere = grant.role.value, environments, not grant.environments
    try:
        keep_an_administrator(work, before, user)
    except AccessError:
        user.role, user.environments, user.everywhere = was
        _log.warning("groups would take the last administrator away: kept", user=user.name)


def _free_name(work: UnitOfWork, identity: Identity) -> str:
    base = (identity.email.partition("@")[0] or identity.subject).lower()
    base = re.sub(r"[^a-z0-9._@-]", "-", base).lstrip("._@-")[:56] or "user"
    names = [base, *(f"{base}-{number}" for number in range(2, 1000))]
    taken = set(work.scalars(select(User.name).where(User.name.in_(names))))
    name = next((each for each in names if each not in taken), "")
    if not NAME.fullmatch(name):
        raise SignInFailed("There are too many people of that name: ask an administrator to make you.")
    return name


def _refuse(engine: Engine, actor: Actor, identity: Identity, why: str) -> None:
    """Noted without what the provider said of the person, who is nobody here. Raises SignInFailed."""

    def tell(work: UnitOfWork) -> None:
        note(work, "login.failed", User.__entity__, "", "unknown", Owner(INSTALLATION), arguments={"why": _ACTOR})

    do_changing(engine, actor, None, tell)
    raise SignInFailed(f"You are signed in there, but {why}.")
