"""All SQL of the access room that reads."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    and_,
    column,
    false,
    func,
    or_,
    select,
    table,
    type_coerce,
)
from sqlalchemy.orm import Session, joinedload

from ringback.access.models import ApiToken, LoginSession, SignIn, TokenUse, User
from ringback.access.permissions import Role
from ringback.access.schemas import PeopleQuery, Principal
from ringback.records.engine import UnitOfWork
from ringback.records.wall import everywhere

_environments = table("environments", column("key"), column("name"))  # the table is another room's


def environment_names(session: Session) -> dict[str, str]:
    """Key -> name of every environment there is, by name."""
    with everywhere(session):
        found = session.execute(select(_environments.c.key, _environments.c.name)).all()
    return dict(sorted(((key, name) for key, name in found), key=lambda pair: (pair[1].lower(), pair[0])))


def user_named(session: Session, name: str) -> User | None:
    return session.scalars(select(User).where(User.name == name)).one_or_none()


def locked_user(work: UnitOfWork, user_id: int | None = None, name: str | None = None) -> User | None:
    """By id or name, as it is now: nobody else changes it, or what belongs to it, before this work ends."""
    found = select(User).where(User.id == user_id if name is None else User.name == name)
    return work.scalars(found.with_for_update().execution_options(populate_existing=True)).one_or_none()


def sign_in(work: UnitOfWork, user_id: int) -> SignIn:
    """Of a user who is locked; made where there is none yet."""
    found = work.get(SignIn, user_id)
    if found is None:
        found = SignIn(user_id=user_id, last_at=None, last_address="")
        work.add(found)
    return found


def any_user(session: Session) -> bool:
    return session.scalars(select(User.id).limit(1)).first() is not None


def administrators(work: UnitOfWork) -> int:
    """How many can sign in and look after the whole installation."""
    able = or_(User.password_hash.is_not(None), User.oidc_subject.is_not(None))
    found = select(func.count()).where(User.role == Role.ADMINISTRATOR, User.everywhere, User.active, able)
    return work.scalars(found).one()


def people(session: Session, reader: Principal, query: PeopleQuery) -> Sequence[tuple[User, SignIn | None]]:
    """By name, one more than the page holds where there are more."""
    found = _with_sign_in().where(*_asked(reader, query), User.name > query.after)
    return [(user, left) for user, left in session.execute(found.order_by(User.name).limit(query.limit + 1))]


def count_people(session: Session, reader: Principal, query: PeopleQuery) -> int:
    found = select(func.count()).select_from(User).outerjoin(SignIn, SignIn.user_id == User.id)
    return session.scalars(found.where(*_asked(reader, query))).one()


def person(session: Session, reader: Principal, user_id: int) -> tuple[User, SignIn | None] | None:
    row = session.execute(_with_sign_in().where(User.id == user_id, visible(reader))).one_or_none()
    return None if row is None else (row[0], row[1])


def visible(reader: Principal) -> ColumnElement[bool]:
    """Who belongs to an environment of the reader; those of the whole installation see everybody."""
    if reader.everywhere:
        return User.id.is_not(None)
    shared = [_belongs(key) for key in reader.belongs_to]
    return and_(User.everywhere.is_(False), or_(false(), *shared))


def count_belonging(session: Session, environment: str) -> int:
    """How many are let into it by its name, active or not."""
    found = select(func.count()).select_from(User).where(_belongs(environment), User.everywhere.is_(False))
    return session.scalars(found).one()


def _belongs(environment: str) -> ColumnElement[bool]:
    return type_coerce(User.environments, Text).contains(f" {environment} ", autoescape=True)


def _with_sign_in() -> Select[User, SignIn | None]:
    return select(User, SignIn).outerjoin(SignIn, SignIn.user_id == User.id)


def _asked(reader: Principal, query: PeopleQuery) -> list[ColumnElement[bool]]:
    asked = [visible(reader)]
    if query.text:
        fields = (User.name, User.full_name, User.email)
        asked.append(or_(*(each.icontains(query.text, autoescape=True) for each in fields)))
    if query.role:
        asked.append(User.role == query.role)
    if query.environment:
        theirs = query.environment in reader.belongs_to  # of another it is not told who belongs to it
        asked.append(or_(_belongs(query.environment), User.everywhere) if theirs else false())
    match query.state:
        case "active":
            asked.append(User.active.is_(True))
        case "inactive":
            asked.append(User.active.is_(False))
        case "never":
            asked.append(SignIn.last_at.is_(None))
        case "no-second-factor":
            asked += [User.totp_confirmed_at.is_(None), User.password_hash.is_not(None)]
    return asked


def login_session(session: Session, id_hash: str) -> LoginSession | None:
    """With its user."""
    found = select(LoginSession).where(LoginSession.id_hash == id_hash).options(joinedload(LoginSession.user))
    return session.scalars(found).one_or_none()


def logins(session: Session, user_id: int) -> Sequence[LoginSession]:
    """Signed in, the one used last first; ended ones may be among them."""
    found = select(LoginSession).where(LoginSession.user_id == user_id, LoginSession.code_due.is_(False))
    return session.scalars(found.order_by(LoginSession.seen_at.desc(), LoginSession.created_at.desc())).all()


def token_with_hash(session: Session, token_hash: str) -> tuple[ApiToken, TokenUse | None] | None:
    """With its owner."""
    row = session.execute(_tokens().where(ApiToken.token_hash == token_hash)).one_or_none()
    return None if row is None else (row[0], row[1])


def live_token_named(work: UnitOfWork, user_id: int | None, name: str) -> ApiToken | None:
    """To be changed, or to see that the name is free."""
    return work.scalars(
        select(ApiToken)
        .where(ApiToken.user_id == user_id, ApiToken.name == name, ApiToken.revoked_at.is_(None))
        .with_for_update()
    ).one_or_none()


def live_token(work: UnitOfWork, token_id: int) -> ApiToken | None:
    found = select(ApiToken).where(ApiToken.id == token_id, ApiToken.revoked_at.is_(None)).with_for_update()
    return work.scalars(found.execution_options(populate_existing=True)).one_or_none()


def tokens(session: Session, user_id: int | None = None) -> Sequence[tuple[ApiToken, TokenUse | None]]:
    """Of one person, or all; with their owners."""
    found = _tokens().order_by(ApiToken.id)
    rows = session.execute(found if user_id is None else found.where(ApiToken.user_id == user_id))
    return [(token, used) for token, used in rows]


def _tokens() -> Select[ApiToken, TokenUse | None]:
    joined = select(ApiToken, TokenUse).outerjoin(TokenUse, TokenUse.token_id == ApiToken.id)
    return joined.options(joinedload(ApiToken.user))
