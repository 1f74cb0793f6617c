"""What is done with people and tokens from the server's own command line, where everything may be done."""

from __future__ import annotations

import getpass
from datetime import datetime

from sqlalchemy import Engine

from ringback import clock
from ringback.access import people, queries
from ringback.access.permissions import Permission, Role
from ringback.access.schemas import AccessError, PeopleQuery, PersonForm, PersonInfo, Principal, TokenInfo
from ringback.access.service import reset_password
from ringback.access.tokens import create_token, list_tokens, revoke_token
from ringback.changes.schemas import Actor
from ringback.changes.service import changing
from ringback.records.engine import reading
from ringback.records.environments import UNASSIGNED


def shell_actor() -> Actor:
    """Whoever the operating system says."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container without names of users
        name = "shell"
    return Actor("user", name, "cli")


def add_person(engine: Engine, form: PersonForm) -> str:
    """The password they begin with; "" none. Raises AccessError."""
    return people.make_person(engine, _ruler(engine), shell_actor(), form)[1]


def all_people(engine: Engine) -> list[PersonInfo]:
    ruler, found, after = _ruler(engine), list[PersonInfo](), ""
    while True:
        page = people.list_people(engine, ruler, PeopleQuery(after=after, limit=500))
        found += page.people
        after = page.more_after
        if not after:
            return found


def set_role(
    engine: Engine, name: str, role: Role, environments: tuple[str, ...] | None = None, everywhere: bool | None = None
) -> None:
    """None: as it is; who is no administrator belongs to single environments. Raises AccessError."""
    ruler, person = _person(engine, name)
    chosen = person.environments if environments is None else environments
    wide = (person.everywhere if everywhere is None else everywhere) and role is Role.ADMINISTRATOR
    form = PersonForm(name, person.full_name, person.email, role, chosen, wide, person.sees_personal)
    people.change_person(engine, ruler, shell_actor(), person.id, form, None)


def set_active(engine: Engine, name: str, active: bool) -> None:
    """Raises AccessError."""
    ruler, person = _person(engine, name)
    people.set_active(engine, ruler, shell_actor(), person.id, active)


def give_password(engine: Engine, name: str) -> str:
    """A random one, which may be kept. Raises AccessError."""
    with changing(engine, shell_actor(), None) as work:
        return reset_password(work, name)


def reset_second_factor(engine: Engine, name: str) -> None:
    """Raises AccessError."""
    ruler, person = _person(engine, name)
    people.reset_second_factor(engine, ruler, shell_actor(), person.id)


def make_token(
    engine: Engine,
    name: str,
    expires_days: int | None,
    environments: tuple[str, ...],
    scopes: tuple[str, ...],
    of: str | None,
) -> str:
    """Raises AccessError."""
    ruler = _ruler(engine)
    unknown = [key for key in environments if key not in ruler.belongs_to]
    if unknown:
        raise AccessError("environment", f"There is no environment {unknown[0]}: there are {_listed(ruler)}.")
    owner = _person(engine, of)[1].id if of else None
    with changing(engine, shell_actor(), None) as work:
        return create_token(work, name, expires_days, environments, scopes, owner)


def end_token(engine: Engine, name: str, of: str | None) -> None:
    """Raises AccessError."""
    owner = _person(engine, of)[1].id if of else None
    with changing(engine, shell_actor(), None) as work:
        revoke_token(work, name, owner)


def person_line(person: PersonInfo) -> str:
    where = "everywhere" if person.everywhere else ",".join(person.environments) or "nowhere"
    state = "" if person.active else "  not active"
    last = f"last signed in {_moment(person.last_login_at)}" if person.last_login_at else "never signed in"
    return f"{person.name:24} {person.role:14} {where:24} {last}{state}"


def token_lines(engine: Engine) -> list[str]:
    now = clock.now()
    return [_token_line(each, now) for each in list_tokens(engine)]


def _token_line(token: TokenInfo, now: datetime) -> str:
    state = "live"
    if token.revoked_at:
        state = f"revoked {token.revoked_at:%Y-%m-%d}"
    elif token.expires_at:
        state = f"{'expired' if token.expires_at <= now else 'until'} {token.expires_at:%Y-%m-%d}"
    used = _moment(token.last_used_at) if token.last_used_at else "never used"
    where = ",".join(token.environments) or "as its owner"
    return f"{token.name:24} {token.owner or '-':16} {token.start}...  {state:20} {where:16} {used}"


def _ruler(engine: Engine) -> Principal:
    with reading(engine) as session:
        names = queries.environment_names(session)
    keys = (*names, UNASSIGNED)
    return Principal("user", "", keys[:1], frozenset(Permission), belongs_to=keys, everywhere=True)


def _person(engine: Engine, name: str) -> tuple[Principal, PersonInfo]:
    """Raises AccessError."""
    ruler = _ruler(engine)
    with reading(engine) as session:
        user = queries.user_named(session, name)
    if user is None:
        raise AccessError("name", f"There is no user {name}.")
    return ruler, people.read_person(engine, ruler, user.id)


def _listed(ruler: Principal) -> str:
    return ", ".join(ruler.belongs_to)


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}Z"
