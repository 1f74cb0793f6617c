"""People as administrators look after them: made, changed, deactivated, helped out when they cannot sign in.

Who looks after people gives nobody more than they have themselves, and nothing to themselves; those who are not of the
whole installation look after people all of whose environments are theirs. One administrator of the whole always stays.
Locks: "users" first (what these rules read holds until the end), then the user, throttles, logins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from sqlalchemy import Engine

from ringback.access import passwords, queries, second_factor, throttle
from ringback.access.models import SignIn, User
from ringback.access.permissions import Permission, Role, permissions_of
from ringback.access.schemas import (
    AccessError,
    NotYours,
    PeoplePage,
    PeopleQuery,
    PersonForm,
    PersonInfo,
    PersonNotFound,
    Principal,
)
from ringback.access.service import (
    check_name,
    checked_email,
    checked_full_name,
    end_logins,
    environments_of,
    new_user,
    set_password,
)
from ringback.changes.schemas import Actor
from ringback.changes.service import do_changing
from ringback.records.engine import UnitOfWork, reading
from ringback.records.environments import UNASSIGNED

Answer = TypeVar("Answer")


def list_people(engine: Engine, reader: Principal, query: PeopleQuery) -> PeoplePage:
    with reading(engine) as session:
        rows = queries.people(session, reader, query)
        total = queries.count_people(session, reader, query)
    shown = tuple(_info(user, sign_in, reader) for user, sign_in in rows[: query.limit])
    return PeoplePage(shown, total, shown[-1].name if len(rows) > query.limit else "")


def read_person(engine: Engine, reader: Principal, user_id: int) -> PersonInfo:
    """Raises PersonNotFound."""
    with reading(engine) as session:
        row = queries.person(session, reader, user_id)
    if row is None:
        raise PersonNotFound
    return _info(*row, reader)


def make_person(engine: Engine, by: Principal, actor: Actor, form: PersonForm) -> tuple[int, str]:
    """The id of somebody new, and the password they begin with ("" none): stored nowhere, to be changed by them.
    Raises AccessError, NotYours."""
    password = passwords.random_password() if form.with_password and form.role is not Role.API else ""
    password_hash = passwords.hash_password(password) if password else None

    def make(work: UnitOfWork) -> int:
        work.lock("users")
        ruler = _as_it_is_now(work, by)
        check_name(work, form.name)
        user = new_user(work, form.name, password_hash, form.role, ())
        user.must_change_password = bool(password)
        _fill(work, ruler, user, form, kept=())
        work.flush()
        return user.id

    return do_changing(engine, actor, None, make), password


def change_person(
    engine: Engine,
    by: Principal,
    actor: Actor,
    user_id: int,
    form: PersonForm,
    version: int | None,
    active: bool | None = None,
) -> None:
    """`version`: of the person that the form was made from; None changes whatever there is now. `active` None: as it
    is. Raises AccessError,
    NotYours, PersonNotFound."""

    def change(work: UnitOfWork, ruler: Principal, user: User) -> None:
        if version is not None and version != user.version:
            raise AccessError("version", f"{user.name} was changed meanwhile. What is shown now is current.")
        own = user.id == by.user_id
        if own and _rights(form) != _rights(_form_of(user, ruler)):
            raise AccessError("role", "Nobody changes their own rights: ask another administrator.")
        if own and active not in (None, user.active):
            raise AccessError("active", "Nobody deactivates themselves.")
        kept = () if own else tuple(key for key in user.environments if key not in ruler.belongs_to)
        before = runs_all(user)
        _fill(work, ruler, user, form, kept=kept)
        if active is not None:
            user.active = active
        if not user.active:
            end_logins(work, user)
        if user.role == Role.API:
            user.password_hash = None
            second_factor.turn_off(work, user)
            end_logins(work, user)
        keep_an_administrator(work, before, user)

    _manage(engine, by, actor, user_id, change, own_too=True)


def set_active(engine: Engine, by: Principal, actor: Actor, user_id: int, active: bool) -> None:
    """Who is not active does not sign in, and their tokens are refused, until they are active again. Raises
    AccessError, NotYours, PersonNotFound."""

    def change(work: UnitOfWork, ruler: Principal, user: User) -> None:
        before = runs_all(user)
        user.active = active
        if not active:
            end_logins(work, user)
        keep_an_administrator(work, before, user)

    _manage(engine, by, actor, user_id, change)


def give_new_password(engine: Engine, by: Principal, actor: Actor, user_id: int) -> str:
    """Random, to be changed by the person; every login of theirs ends. Raises AccessError, NotYours,
    PersonNotFound."""
    password = passwords.random_password()
    password_hash = passwords.hash_password(password)

    def change(work: UnitOfWork, ruler: Principal, user: User) -> None:
        if user.role == Role.API:
            raise AccessError("password", f"{user.name} is a program: it has tokens and no password.")
        for tried in (throttle.attempt(user.name, ""), throttle.code_attempt(user.name, "")):
            throttle.forget_account(work, tried.account)
        set_password(work, user, password_hash)
        user.must_change_password = True

    _manage(engine, by, actor, user_id, change)
    return password


def reset_second_factor(engine: Engine, by: Principal, actor: Actor, user_id: int) -> None:
    """For who lost the authenticator; every login of theirs ends. Raises NotYours, PersonNotFound."""

    def change(work: UnitOfWork, ruler: Principal, user: User) -> None:
        second_factor.turn_off(work, user)
        throttle.forget_account(work, throttle.code_attempt(user.name, "").account)
        end_logins(work, user)

    _manage(engine, by, actor, user_id, change)


def end_all_logins(engine: Engine, by: Principal, actor: Actor, user_id: int) -> int:
    """How many there were. Raises NotYours, PersonNotFound."""
    return _manage(engine, by, actor, user_id, lambda work, ruler, user: end_logins(work, user))


def managed(work: UnitOfWork, by: Principal, user_id: int) -> User:
    """A person whom `by` looks after, locked. Raises NotYours, PersonNotFound."""
    work.lock("users")
    return _managed(work, _as_it_is_now(work, by), user_id)


def managed_program(work: UnitOfWork, by: Principal, user_id: int) -> User:
    """A user of the role API: others make its tokens. Raises NotYours, PersonNotFound."""
    if not by.may(Permission.USERS_WRITE):
        raise NotYours("You make tokens for yourself only.")
    user = managed(work, by, user_id)
    if user.role != Role.API:
        raise NotYours(f"{user.name} is a person, who makes their own tokens.")
    return user


def _manage(
    engine: Engine,
    by: Principal,
    actor: Actor,
    user_id: int,
    do: Callable[[UnitOfWork, Principal, User], Answer],
    *,
    own_too: bool = False,
) -> Answer:
    def change(work: UnitOfWork) -> Answer:
        work.lock("users")
        ruler = _as_it_is_now(work, by)
        user = _managed(work, ruler, user_id)
        if user.id == by.user_id and not own_too:
            raise NotYours("That is you: what you may do for yourself is on your profile.")
        return do(work, ruler, user)

    return do_changing(engine, actor, None, change)


def _as_it_is_now(work: UnitOfWork, by: Principal) -> Principal:
    """The one who asks, without what was taken from them since their request began. Raises NotYours."""
    if by.user_id is None:
        return by
    user = queries.locked_user(work, by.user_id)
    if user is None or not user.active:
        raise NotYours("You are no longer active.")
    here = environments_of(user, queries.environment_names(work))
    now = replace(
        by,
        permissions=by.permissions & permissions_of(Role(user.role), user.sees_personal),
        belongs_to=tuple(key for key in by.belongs_to if key in here),
        everywhere=by.everywhere and user.everywhere,
    )
    if not now.may(Permission.USERS_WRITE):
        raise NotYours("You no longer look after people: your role was changed.")
    return now


def _managed(work: UnitOfWork, ruler: Principal, user_id: int) -> User:
    user = queries.locked_user(work, user_id)
    if user is None or not _sees(ruler, user):
        raise PersonNotFound
    why = "" if user.id == ruler.user_id else _kept_from(ruler, user)
    if why:
        raise NotYours(why)
    return user


def _sees(reader: Principal, user: User) -> bool:
    return reader.everywhere or (not user.everywhere and bool(set(user.environments) & set(reader.belongs_to)))


def _kept_from(reader: Principal, user: User) -> str:
    """Why the reader may not change the person; "" they may."""
    if not reader.may(Permission.USERS_WRITE):
        return "You may see people and not change them."
    if not reader.everywhere:
        if user.everywhere:
            return f"{user.name} belongs to the whole installation, and you do not."
        if not set(user.environments) <= set(reader.belongs_to):
            return f"{user.name} belongs to environments that you do not belong to."
    if not permissions_of(Role(user.role), user.sees_personal) <= reader.permissions:
        return f"{user.name} may do what you may not."
    return ""


def _fill(work: UnitOfWork, ruler: Principal, user: User, form: PersonForm, kept: tuple[str, ...]) -> None:
    """`kept`: environments of theirs that the form could not show. Raises AccessError."""
    if form.everywhere and not ruler.everywhere:
        raise AccessError("everywhere", "Only who belongs to the whole installation may give that.")
    if form.everywhere and form.role is not Role.ADMINISTRATOR:
        raise AccessError("everywhere", "Only administrators belong to the whole installation.")
    beyond = permissions_of(form.role, form.sees_personal) - ruler.permissions
    if beyond:
        raise AccessError("role", f"You cannot give what you may not do yourself: {', '.join(sorted(beyond))}.")
    foreign = [key for key in form.environments if key not in ruler.belongs_to or key == UNASSIGNED]
    if foreign:
        raise AccessError("environments", f"There is no environment {foreign[0]} that you could give.")
    chosen = (*kept, *dict.fromkeys(key for key in form.environments if key not in kept))
    if not chosen and not form.everywhere:
        raise AccessError("environments", "Choose an environment: without one there is nothing to be seen.")
    user.full_name, user.email = checked_full_name(form.full_name), checked_email(form.email)
    user.role, user.environments = form.role.value, chosen
    user.everywhere, user.sees_personal = form.everywhere, form.sees_personal


def _rights(form: PersonForm) -> tuple[object, ...]:
    return form.role, set(form.environments), form.everywhere, form.sees_personal


def _form_of(user: User, reader: Principal) -> PersonForm:
    shown = tuple(key for key in user.environments if key in reader.belongs_to)
    return PersonForm(
        user.name, user.full_name, user.email, Role(user.role), shown, user.everywhere, user.sees_personal
    )


def runs_all(user: User) -> bool:
    return user.role == Role.ADMINISTRATOR and user.everywhere and user.active


def keep_an_administrator(work: UnitOfWork, before: bool, user: User) -> None:
    """Raises AccessError."""
    if not before or runs_all(user):
        return
    work.flush()
    if not queries.administrators(work):
        raise AccessError(
            "role", f"{user.name} is the last administrator of the whole installation: make another one first."
        )


def _info(user: User, sign_in: SignIn | None, reader: Principal) -> PersonInfo:
    shown = tuple(key for key in user.environments if key in reader.belongs_to)
    return PersonInfo(
        id=user.id,
        name=user.name,
        full_name=user.full_name,
        email=user.email,
        role=Role(user.role),
        environments=shown,
        other_environments=len(user.environments) - len(shown),
        everywhere=user.everywhere,
        sees_personal=user.sees_personal,
        active=user.active,
        has_password=user.password_hash is not None,
        must_change_password=user.must_change_password,
        password_changed_at=user.password_changed_at,
        single_sign_on=user.oidc_subject is not None,
        second_factor=user.totp_confirmed_at is not None,
        created_at=user.created_at,
        last_login_at=sign_in.last_at if sign_in else None,
        last_address=sign_in.last_address if sign_in else "",
        version=user.version,
        kept_from=_kept_from(reader, user),
    )
