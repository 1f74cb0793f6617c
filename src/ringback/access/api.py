"""People and tokens over HTTP: /api/v1/me, /api/v1/users, /api/v1/tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response
from typing_extensions import TypedDict

from ringback import clock
from ringback.access import people, tokens
from ringback.access.dependencies import CurrentActor, Records, RequiredUser, may
from ringback.access.permissions import Permission, Role
from ringback.access.schemas import (
    AccessError,
    NotYours,
    PeopleQuery,
    PersonForm,
    PersonInfo,
    PersonNotFound,
    Principal,
    State,
    TokenForm,
    TokenInfo,
    TokenNotFound,
)
from ringback.problem import Problem

router = APIRouter(prefix="/api/v1", tags=["people"])
Reader = Annotated[Principal, may(Permission.USERS_READ)]
Ruler = Annotated[Principal, may(Permission.USERS_READ, Permission.USERS_WRITE)]
ERRORS = (AccessError, NotYours, PersonNotFound, TokenNotFound)
UserId = Annotated[int, Field(ge=1, le=2**63 - 1)]


class EnvironmentName(TypedDict):
    key: str
    name: str


class MeDocument(TypedDict):
    kind: str  # user token
    name: str
    permissions: list[str]
    environment: str  # which this request sees: header Ringback-Environment, else the first
    environments: list[EnvironmentName]
    sees_personal: bool
    expires_at: str | None  # of the token


class UserDocument(TypedDict):
    id: int
    name: str
    full_name: str
    email: str
    role: str
    environments: list[str]  # of those that who asks belongs to
    everywhere: bool
    sees_personal: bool | None  # null: as the role says
    active: bool
    has_password: bool
    must_change_password: bool
    single_sign_on: bool
    second_factor: bool
    created_at: str
    last_login_at: str | None
    version: int


class UsersDocument(TypedDict):
    users: list[UserDocument]
    total: int
    cursor: str | None  # of the next page


class NewUserDocument(TypedDict):
    user: UserDocument
    password: str | None  # shown this once; has to be changed at the first login


class PasswordDocument(TypedDict):
    password: str  # shown this once; has to be changed at the next login


class UserBody(BaseModel, extra="forbid"):
    full_name: Annotated[str, Field(max_length=120)] = ""
    email: Annotated[str, Field(max_length=254)] = ""
    role: Role
    environments: Annotated[list[str], Field(max_length=500)] = []
    everywhere: Annotated[bool, Field(description="An administrator of the whole installation")] = False
    sees_personal: Annotated[bool | None, Field(description="null: as the role says")] = None


class NewUserBody(UserBody):
    name: Annotated[str, Field(max_length=64, description="Lower-case letters, digits and . _ @ -")]
    with_password: Annotated[bool, Field(description="false: single sign-on, or a program")] = True


class ChangedUserBody(UserBody):
    active: bool | None = None
    version: Annotated[int | None, Field(description="Of what was read; a newer one is a 409")] = None


class TokenDocument(TypedDict):
    id: int
    name: str
    start: str
    owner: str
    scopes: list[str]
    environments: list[str]  # none: all of the owner's
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None


class TokensDocument(TypedDict):
    tokens: list[TokenDocument]


class NewTokenDocument(TokenDocument):
    token: str  # shown this once


class TokenBody(BaseModel, extra="forbid"):
    name: Annotated[str, Field(max_length=64)]
    scopes: Annotated[list[str], Field(max_length=100, description="Permissions, such as sessions.read")]
    environments: Annotated[list[str], Field(max_length=500, description="None: all of the owner's")] = []
    expires_in_days: Annotated[int | None, Field(description="1 to 3650; null: never")] = None
    user: Annotated[UserId | None, Field(description="A program (role api) you look after; null: yourself")] = None


@router.get("/me")
def read_me(reader: RequiredUser) -> MeDocument:
    """Who asks, and what they may do."""
    names = reader.environment_names
    return {
        "kind": reader.kind,
        "name": reader.name,
        "permissions": sorted(reader.permissions),
        "environment": reader.environments[0],
        "environments": [{"key": key, "name": names.get(key, key)} for key in reader.belongs_to],
        "sees_personal": reader.sees_personal,
        "expires_at": _told(reader.expires_at),
    }


@router.get("/users")
def read_users(
    reader: Reader,
    records: Records,
    q: Annotated[str, Query(max_length=200, description="Part of a name or e-mail address")] = "",
    role: Annotated[str, Query(max_length=16)] = "",
    environment: Annotated[str, Query(max_length=64)] = "",
    state: State = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str, Query(max_length=64)] = "",
) -> UsersDocument:
    """People who belong to an environment of yours, by name."""
    page = people.list_people(records, reader, PeopleQuery(q, role, environment, state, cursor, limit))
    return {
        "users": [_user(each) for each in page.people],
        "total": page.total,
        "cursor": page.more_after or None,
    }


@router.post("/users", status_code=201)
def make_user(body: NewUserBody, reader: Ruler, records: Records, actor: CurrentActor) -> NewUserDocument:
    """Somebody new. Nobody is given more than you may do yourself."""
    user_id, password = people.make_person(
        records, reader, actor, _form(body, body.name, with_password=body.with_password)
    )
    return {"user": _user(people.read_person(records, reader, user_id)), "password": password or None}


@router.get("/users/{user_id}")
def read_user(user_id: UserId, reader: Reader, records: Records) -> UserDocument:
    return _user(people.read_person(records, reader, user_id))


@router.put("/users/{user_id}")
def change_user(
    user_id: UserId, body: ChangedUserBody, reader: Ruler, records: Records, actor: CurrentActor
) -> UserDocument:
    """The whole of what can be changed; `active` is left as it is where it is null."""
    people.change_person(records, reader, actor, user_id, _form(body, ""), body.version, body.active)
    return _user(people.read_person(records, reader, user_id))


@router.post("/users/{user_id}/password")
def reset_password(user_id: UserId, reader: Ruler, records: Records, actor: CurrentActor) -> PasswordDocument:
    """A new random password; every login of theirs ends."""
    return {"password": people.give_new_password(records, reader, actor, user_id)}


@router.delete("/users/{user_id}/second-factor", status_code=204)
def reset_second_factor(user_id: UserId, reader: Ruler, records: Records, actor: CurrentActor) -> Response:
    """For who lost the authenticator."""
    people.reset_second_factor(records, reader, actor, user_id)
    return Response(status_code=204)


@router.delete("/users/{user_id}/logins", status_code=204)
def end_logins(user_id: UserId, reader: Ruler, records: Records, actor: CurrentActor) -> Response:
    """Signs them out everywhere."""
    people.end_all_logins(records, reader, actor, user_id)
    return Response(status_code=204)


@router.get("/tokens")
def read_tokens(
    reader: RequiredUser,
    records: Records,
    user: Annotated[UserId | None, Query(description="Whose; null: your own")] = None,
) -> TokensDocument:
    """Tokens, without their secrets; ended ones too."""
    of = reader.user_id if user is None else user
    if of != reader.user_id:
        if not reader.may(Permission.USERS_READ):
            raise Problem(403, "You may see your own tokens only.")
        people.read_person(records, reader, of or 0)
    return {"tokens": [_token(each) for each in tokens.list_tokens(records, of)] if of else []}


@router.post("/tokens", status_code=201)
def make_token(body: TokenBody, reader: RequiredUser, records: Records, actor: CurrentActor) -> NewTokenDocument:
    """A token that may do no more than you, and no more than its owner."""
    form = TokenForm(body.name, tuple(body.scopes), tuple(body.environments), body.expires_in_days)
    made, secret = tokens.make_token(records, reader, actor, form, body.user)
    return {**_token(made), "token": secret}


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(token_id: UserId, reader: RequiredUser, records: Records, actor: CurrentActor) -> Response:
    """It is refused from now on."""
    tokens.end_token(records, reader, actor, token_id)
    return Response(status_code=204)


def _form(body: UserBody, name: str, *, with_password: bool = True) -> PersonForm:
    return PersonForm(
        name,
        body.full_name,
        body.email,
        body.role,
        tuple(body.environments),
        body.everywhere,
        body.sees_personal,
        with_password,
    )


def _user(person: PersonInfo) -> UserDocument:
    return {
        "id": person.id,
        "name": person.name,
        "full_name": person.full_name,
        "email": person.email,
        "role": person.role.value,
        "environments": list(person.environments),
        "everywhere": person.everywhere,
        "sees_personal": person.sees_personal,
        "active": person.active,
        "has_password": person.has_password,
        "must_change_password": person.must_change_password,
        "single_sign_on": person.single_sign_on,
        "second_factor": person.second_factor,
        "created_at": _told(person.created_at) or "",
        "last_login_at": _told(person.last_login_at),
        "version": person.version,
    }


def _token(token: TokenInfo) -> TokenDocument:
    return {
        "id": token.id,
        "name": token.name,
        "start": token.start,
        "owner": token.owner,
        "scopes": list(token.scopes),
        "environments": list(token.environments),
        "created_at": _told(token.created_at) or "",
        "expires_at": _told(token.expires_at),
        "last_used_at": _told(token.last_used_at),
        "revoked_at": _told(token.revoked_at),
    }


def problem_of(error: Exception) -> Problem:
    """For programs, and for pages where no field of a form is meant."""
    match error:
        case AccessError(field="version"):
            return Problem(409, error.reason, title="Changed meanwhile", field="version")
        case AccessError():
            return Problem(422, error.reason, field=error.field)
        case TokenNotFound():
            return Problem(404, "There is no such live token that you may revoke.", title="No such token")
        case PersonNotFound():
            return Problem(404, "There is nobody with this id in your environments.", title="Nobody there")
        case _:
            return Problem(403, str(error), title="Not yours to change")


def _told(moment: datetime | None) -> str | None:
    return None if moment is None else clock.isoformat(clock.to_us(moment))
