"""API tokens: of a person, or of the installation (made on its command line). Shown once, stored as a hash.

A token may do what its scopes say and, of a person's, what that person may do at the moment, where they may do it.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from sqlalchemy import Engine

from ringback import clock
from ringback.access import queries
from ringback.access.models import ApiToken, TokenUse, User
from ringback.access.permissions import PERMISSIONS, Permission, Role, known, permissions_of
from ringback.access.schemas import (
    AccessError,
    NotYours,
    Principal,
    TokenForm,
    TokenInfo,
    TokenNotFound,
    Visitor,
)
from ringback.access.service import TOUCH_EVERY, environments_of, secret_hash
from ringback.changes.schemas import Actor
from ringback.changes.service import changing, do_changing, note_on
from ringback.records.engine import UnitOfWork, reading, unit_of_work
from ringback.records.environments import DEFAULT_ENVIRONMENT, UNASSIGNED

PREFIX = "rb_"  # so that a secret scanner, or a person, knows one when it sees one
LONGEST_LIFE_DAYS = 3650
REFUSALS_EVERY = timedelta(hours=1)  # is it recorded that a token is still tried which is worth nothing any more
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}")
_SHOWN_NAME = 64
_ALL_OF_API = tuple(sorted(PERMISSIONS[Role.API]))


def create_token(
    work: UnitOfWork,
    name: str,
    expires_days: int | None = None,
    environments: tuple[str, ...] = (DEFAULT_ENVIRONMENT,),
    scopes: tuple[str, ...] = _ALL_OF_API,
    user_id: int | None = None,
) -> str:
    """Returns the token, which cannot be read again; without `user_id` it is the installation's. Raises AccessError."""
    return _add(work, TokenForm(name, scopes, environments, expires_days), user_id, clock.now())[1]


def make_token(
    engine: Engine, principal: Principal, actor: Actor, form: TokenForm, of: int | None = None
) -> tuple[TokenInfo, str]:
    """A token of the person who asks, or (`of`) of a program that they look after. It may do no more than who asks.
    Returns it with its secret. Raises AccessError, NotYours, PersonNotFound."""
    from ringback.access.people import managed_program  # which asks for the tokens of people

    def make(work: UnitOfWork) -> tuple[TokenInfo, str]:
        if of is None or of == principal.user_id:
            owner = queries.locked_user(work, principal.user_id)
            if not principal.may(Permission.TOKENS_OWN) or owner is None:
                raise NotYours("Your role makes no tokens of its own.")
        else:
            owner = managed_program(work, principal, of)
        _check_reach(form, principal, permissions_of(Role(owner.role), owner.sees_personal), owner)
        row, token = _add(work, form, owner.id, clock.now())
        if principal.expires_at is not None and (row.expires_at is None or row.expires_at > principal.expires_at):
            row.expires_at = principal.expires_at  # what was leaked makes nothing that lasts longer
        work.flush()
        return _info(row, None, owner), token

    return do_changing(engine, actor, None, make)


def _check_reach(form: TokenForm, principal: Principal, of_owner: frozenset[Permission], owner: User) -> None:
    """Raises AccessError."""
    beyond = [scope for scope in form.scopes if scope not in principal.permissions & of_owner]
    if beyond:
        raise AccessError("scopes", f"A token of {owner.name} made by you cannot have {', '.join(beyond)}.")
    reach = set(principal.belongs_to) if owner.everywhere else set(principal.belongs_to) & set(owner.environments)
    foreign = [key for key in form.environments if key not in reach]
    if foreign:
        raise AccessError("environments", f"{', '.join(foreign)}: {owner.name} or you do not belong there.")
    confined = not principal.everywhere and principal.token_id is not None
    if confined and not form.environments:
        raise AccessError("environments", "Name the environments: a token makes none that sees more than itself.")


def _add(work: UnitOfWork, form: TokenForm, user_id: int | None, now: datetime) -> tuple[ApiToken, str]:
    """Raises AccessError."""
    if not _NAME.fullmatch(form.name):
        raise AccessError("name", "A token's name has letters, digits, spaces and . _ @ - (at most 64).")
    if form.expires_days is not None and not 1 <= form.expires_days <= LONGEST_LIFE_DAYS:
        raise AccessError("expires", f"A token expires after 1 to {LONGEST_LIFE_DAYS} days, or never.")
    unknown = sorted(set(form.scopes) - known(form.scopes))
    if unknown or not form.scopes:
        which = f"{unknown[0]!r} is no permission." if unknown else "Choose what the token may do."
        raise AccessError("scopes", which)
    if user_id is None and not form.environments:
        raise AccessError("environments", "Name an environment: the token belongs to nobody whose it could take.")
    work.lock("api_tokens", str(user_id or ""), form.name)
    if queries.live_token_named(work, user_id, form.name):
        raise AccessError("name", f"There is a token {form.name!r} already: revoke it, or choose another name.")
    token = PREFIX + clock.random_token()
    row = ApiToken(
        user_id=user_id,
        name=form.name,
        start=token[:8],
        token_hash=secret_hash(token),
        scopes=tuple(sorted(set(form.scopes))),
        environments=tuple(dict.fromkeys(form.environments)),
        created_at=now,
        expires_at=None if form.expires_days is None else now + timedelta(days=form.expires_days),
    )
    work.add(row)
    work.flush()
    return row, token


def list_tokens(engine: Engine, user_id: int | None = None) -> list[TokenInfo]:
    """Of one person, or every one."""
    with reading(engine) as session:
        return [_info(row, used, row.user) for row, used in queries.tokens(session, user_id)]


def revoke_token(work: UnitOfWork, name: str, user_id: int | None = None) -> None:
    """At once: the next request with it is refused. Raises AccessError."""
    row = queries.live_token_named(work, user_id, name)
    if row is None:
        raise AccessError("name", f"There is no live token {name!r}; `ringback token list` shows all.")
    row.revoked_at = clock.now()


def end_token(engine: Engine, principal: Principal, actor: Actor, token_id: int) -> str:
    """One's own, or that of somebody one looks after. Returns its name. Raises NotYours, TokenNotFound."""
    from ringback.access.people import managed

    def end(work: UnitOfWork) -> str:
        found = work.get(ApiToken, token_id)
        if found is None or found.user_id is None:
            raise TokenNotFound
        if found.user_id != principal.user_id:
            if not principal.may(Permission.USERS_WRITE):
                raise TokenNotFound
            managed(work, principal, found.user_id)
        row = queries.live_token(work, token_id)
        if row is None:
            raise TokenNotFound
        row.revoked_at = clock.now()
        return row.name

    return do_changing(engine, actor, None, end)


def principal_of_token(engine: Engine, token: str, visitor: Visitor = Visitor("", "")) -> Principal | None:  # noqa: B008
    """None: unknown, expired, revoked, or its owner is not active."""
    if not token.startswith(PREFIX):
        return None
    now = clock.now()
    with reading(engine) as session:
        found = queries.token_with_hash(session, secret_hash(token))
        names = queries.environment_names(session) if found else {}
    if found is None:
        return None
    row, used = found
    owner = row.user
    why = _refused(row, owner, now)
    if why:
        if used is None or used.refused_at is None or now >= used.refused_at + REFUSALS_EVERY:
            _note_refusal(engine, row, why, visitor)
        return None
    if used is None or used.last_at is None or now >= used.last_at + TOUCH_EVERY:
        with unit_of_work(engine) as work:
            use = _use(work, row.id)
            use.last_at, use.last_address = now, visitor.address[:64]
    return _principal(row, owner, names)


def _principal(row: ApiToken, owner: User | None, names: dict[str, str]) -> Principal:
    scopes = known(row.scopes)
    name, own = row.name, set(row.environments)
    belongs_to = tuple(key for key in row.environments if key in names or key == UNASSIGNED)  # they may be gone
    if owner is not None:
        scopes &= permissions_of(Role(owner.role), owner.sees_personal)
        name = f"{owner.name}: {row.name}"[:_SHOWN_NAME]
        belongs_to = tuple(key for key in environments_of(owner, names) if not own or key in own)
    return Principal(
        "token",
        name,
        belongs_to[:1],
        scopes,
        row.user_id,
        belongs_to=belongs_to,
        everywhere=owner is not None and owner.everywhere and not own,
        token_id=row.id,
        expires_at=row.expires_at,
        environment_names={key: names.get(key, key) for key in belongs_to},
    )


def _refused(row: ApiToken, owner: User | None, now: datetime) -> str:
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at is not None and now >= row.expires_at:
        return "expired"
    return "owner not active" if owner is not None and not owner.active else ""


def _note_refusal(engine: Engine, row: ApiToken, why: str, visitor: Visitor) -> None:
    actor = Actor("token", row.name, "api", str(row.id), visitor.address, visitor.request_id)
    with changing(engine, actor, None) as work:
        _use(work, row.id).refused_at = clock.now()
        note_on(work, "token.refused", work.get_one(ApiToken, row.id), why=why)


def _use(work: UnitOfWork, token_id: int) -> TokenUse:
    work.lock("token_uses", str(token_id))
    use = work.get(TokenUse, token_id, with_for_update=True)
    if use is None:
        use = TokenUse(token_id=token_id, last_at=None, last_address="", refused_at=None)
        work.add(use)
    return use


def _info(row: ApiToken, used: TokenUse | None, owner: User | None) -> TokenInfo:
    return TokenInfo(
        row.id,
        row.name,
        row.start,
        owner.name if owner else "",
        row.user_id,
        row.scopes,
        row.environments,
        row.created_at,
        row.expires_at,
        used.last_at if used else None,
        used.last_address if used else "",
        row.revoked_at,
    )
