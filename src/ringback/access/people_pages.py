"""People: the list, one person, somebody new, and what each role may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from ringback import clock
from ringback.access import people, service, tokens
from ringback.access.dependencies import CurrentActor, Records, may
from ringback.access.forms import person_form, token_form
from ringback.access.permissions import ABOUT, PERMISSIONS, ROLES, Permission, Role, permissions_of
from ringback.access.schemas import (
    AccessError,
    PeopleQuery,
    PersonForm,
    PersonInfo,
    Principal,
    State,
    TokenForm,
)
from ringback.records.environments import UNASSIGNED
from ringback.web.flash import flash
from ringback.web.templating import render

router = APIRouter(prefix="/people", include_in_schema=False)
Reader = Annotated[Principal, may(Permission.USERS_READ)]
Ruler = Annotated[Principal, may(Permission.USERS_READ, Permission.USERS_WRITE)]
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
STATES = {
    "active": "Active",
    "inactive": "Not active",
    "never": "Never signed in",
    "no-second-factor": "No second factor",
}


@router.get("")
def people_page(
    request: Request,
    reader: Reader,
    records: Records,
    q: Annotated[str, Query(max_length=200)] = "",
    role: Annotated[str, Query(max_length=16)] = "",
    environment: Annotated[str, Query(max_length=64)] = "",
    state: State = "",
    after: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    query = PeopleQuery(q.strip(), role, environment, state, after)
    page = people.list_people(records, reader, query)
    asked = {"q": q.strip(), "role": role, "environment": environment, "state": state}
    chosen = {name: value for name, value in asked.items() if value}
    return render(
        request,
        "access/people.html",
        page=page,
        asked=asked,
        chosen=chosen,
        more="/people?" + urlencode({**chosen, "after": page.more_after}) if page.more_after else "",
        after=after,
        roles=ROLES,
        states=STATES,
        environments=_environments(reader),
        may_change=reader.may(Permission.USERS_WRITE),
        to_us=clock.to_us,
    )


@router.get("/roles")
def roles_page(request: Request, reader: Reader) -> Response:
    return render(request, "access/roles.html", roles=ROLES, permissions=PERMISSIONS, about=ABOUT)


@router.get("/new")
def new_page(request: Request, reader: Ruler) -> Response:
    return _new(request, reader, PersonForm("", environments=reader.environments[:1]))


@router.post("")
async def make(request: Request, reader: Ruler, records: Records, actor: CurrentActor) -> Response:
    form, errors = person_form(await request.form())
    if not errors:
        try:
            user_id, password = await run_in_threadpool(people.make_person, records, reader, actor, form)
        except AccessError as error:
            errors = {error.field: error.reason}
        else:
            return await run_in_threadpool(_person, request, reader, records, user_id, new=True, password=password)
    return _new(request, reader, form, errors)


@router.get("/{user_id}")
def person_page(request: Request, reader: Reader, records: Records, user_id: Id) -> Response:
    return _person(request, reader, records, user_id)


@router.post("/{user_id}")
async def change(request: Request, reader: Ruler, records: Records, actor: CurrentActor, user_id: Id) -> Response:
    sent = await request.form()
    form, errors = person_form(sent)
    version = str(sent.get("version", ""))
    if not errors:
        try:
            await run_in_threadpool(
                people.change_person, records, reader, actor, user_id, form,
                int(version) if version.isdecimal() else None,
            )  # fmt: skip
        except AccessError as error:
            errors = {error.field: error.reason}
        else:
            return _done(user_id, "Saved.")
    if "version" in errors:  # what is shown is what there is now
        return await run_in_threadpool(_person, request, reader, records, user_id, status=409, errors=errors)
    return await run_in_threadpool(_person, request, reader, records, user_id, status=422, errors=errors, form=form)


@router.post("/{user_id}/password")
def reset_password(request: Request, reader: Ruler, records: Records, actor: CurrentActor, user_id: Id) -> Response:
    try:
        password = people.give_new_password(records, reader, actor, user_id)
    except AccessError as error:
        return _person(request, reader, records, user_id, status=422, errors={error.field: error.reason})
    return _person(request, reader, records, user_id, password=password)


@router.post("/{user_id}/deactivate")
def deactivate(request: Request, reader: Ruler, records: Records, actor: CurrentActor, user_id: Id) -> Response:
    return _act(request, reader, records, user_id, "Not active any more; every login has ended.",
                lambda: people.set_active(records, reader, actor, user_id, False))  # fmt: skip


@router.post("/{user_id}/activate")
def activate(request: Request, reader: Ruler, records: Records, actor: CurrentActor, user_id: Id) -> Response:
    return _act(request, reader, records, user_id, "Active again.",
                lambda: people.set_active(records, reader, actor, user_id, True))  # fmt: skip


@router.post("/{user_id}/end-logins")
def end_logins(request: Request, reader: Ruler, records: Records, actor: CurrentActor, user_id: Id) -> Response:
    return _act(request, reader, records, user_id, "Signed out everywhere.",
                lambda: people.end_all_logins(records, reader, actor, user_id))  # fmt: skip


@router.post("/{user_id}/reset-second-factor")
def reset_second_factor(
    request: Request, reader: Ruler, records: Records, actor: CurrentActor, user_id: Id
) -> Response:
    return _act(request, reader, records, user_id, "The password alone is enough at the next login.",
                lambda: people.reset_second_factor(records, reader, actor, user_id))  # fmt: skip


@router.post("/{user_id}/tokens")
async def make_token(request: Request, reader: Ruler, records: Records, actor: CurrentActor, user_id: Id) -> Response:
    """Of a program (role API), which cannot make its own."""
    form, errors = token_form(await request.form())
    if not errors:
        try:
            _, secret = await run_in_threadpool(tokens.make_token, records, reader, actor, form, user_id)
        except AccessError as error:
            errors = {f"token_{error.field}": error.reason}
        else:
            made = (form.name, secret)
            return await run_in_threadpool(_person, request, reader, records, user_id, made=made)
    return await run_in_threadpool(_person, request, reader, records, user_id, status=422, errors=errors, token=form)


@router.post("/{user_id}/tokens/{token_id}/revoke")
def revoke_token(reader: Ruler, records: Records, actor: CurrentActor, user_id: Id, token_id: Id) -> Response:
    name = tokens.end_token(records, reader, actor, token_id)
    return _done(user_id, f"The token {name} is revoked.")


def _act(
    request: Request, reader: Principal, records: Records, user_id: int, done: str, do: Callable[[], object]
) -> Response:
    try:
        do()
    except AccessError as error:
        return _person(request, reader, records, user_id, status=422, errors={error.field: error.reason})
    return _done(user_id, done)


def _done(user_id: int, text: str) -> Response:
    response = RedirectResponse(f"/people/{user_id}", status_code=303)
    flash(response, text)
    return response


def _new(request: Request, reader: Principal, form: PersonForm, errors: dict[str, str] | None = None) -> Response:
    return render(
        request, "access/person_new.html", 422 if errors else 200, errors=errors or {}, **_fields(reader, form)
    )


def _person(
    request: Request,
    reader: Principal,
    records: Records,
    user_id: int,
    *,
    status: int = 200,
    form: PersonForm | None = None,
    errors: dict[str, str] | None = None,
    password: str = "",
    new: bool = False,
    token: TokenForm | None = None,
    made: tuple[str, str] | None = None,
) -> Response:
    person = people.read_person(records, reader, user_id)
    own = person.id == reader.user_id
    now = clock.now()
    all_tokens = tokens.list_tokens(records, user_id)
    program = person.role is Role.API
    reach = permissions_of(person.role, person.sees_personal) & reader.permissions
    return render(
        request,
        "access/person.html",
        status,
        person=person,
        own=own,
        changeable=not person.kept_from and not own,
        role=ROLES[person.role],
        password=password,
        new=new,
        errors=errors or {},
        logins=service.list_logins(records, user_id),
        tokens=[each for each in all_tokens if each.live(now)],
        ended=[each for each in all_tokens if not each.live(now)],
        program=program,
        scopes=[(each.value, ABOUT[each]) for each in Permission if each in reach],
        token_environments=[each for each in _environments(reader) if each[0] in person.environments],
        token=token,
        made=made,
        to_us=clock.to_us,
        **_fields(reader, form or _form(person)),
    )


def _form(person: PersonInfo) -> PersonForm:
    return PersonForm(
        person.name,
        person.full_name,
        person.email,
        person.role,
        person.environments,
        person.everywhere,
        person.sees_personal,
    )


def _fields(reader: Principal, form: PersonForm) -> dict[str, Any]:
    return {
        "form": form,
        "roles": [(role, *ROLES[role]) for role in Role if PERMISSIONS[role] <= reader.permissions],
        "environments": _environments(reader),
        "everywhere_too": reader.everywhere,
    }


def _environments(reader: Principal) -> list[tuple[str, str]]:
    """(key, name) of those that people can belong to."""
    return [(key, name) for key, name in reader.environment_names.items() if key != UNASSIGNED]
