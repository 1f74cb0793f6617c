"""What people see and change of themselves: name, password, second factor, logins, tokens, the environment they work in."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from ringback import clock
from ringback.access import service, tokens
from ringback.access.dependencies import (
    COOKIE,
    ENVIRONMENT_COOKIE,
    CurrentActor,
    CurrentPolicy,
    CurrentVisitor,
    NoEnvironment,
    Records,
    RequiredUser,
    SignedIn,
)
from ringback.access.forms import token_form
from ringback.access.models import User
from ringback.access.pages import require_person, safe_next
from ringback.access.permissions import ABOUT, ROLES, Permission, Role, permissions_of
from ringback.access.schemas import (
    AccessError,
    Principal,
    TooManyAttempts,
)
from ringback.changes.service import changing
from ringback.problem import Problem
from ringback.records.engine import reading
from ringback.web.flash import flash
from ringback.web.templating import render

router = APIRouter(prefix="/profile", include_in_schema=False)
_BROWSERS = (  # the first that is found: most say that they are several
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)
YEAR = 365 * 24 * 3600

Text = Annotated[str, Form(max_length=1000)]
Handle = Annotated[str, Path(pattern="^[0-9a-f]{16}$")]
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]


@router.get("")
def profile_page(request: Request, reader: RequiredUser, records: Records) -> Response:
    return _page(request, reader, records)


@router.post("")
def change_profile(
    request: Request,
    reader: RequiredUser,
    records: Records,
    actor: CurrentActor,
    full_name: Text = "",
    email: Text = "",
) -> Response:
    try:
        with changing(records, actor, None) as work:
            service.change_profile(work, require_person(reader), full_name, email)
    except AccessError as error:
        typed = {"full_name": full_name, "email": email}
        return _page(request, reader, records, status=422, errors={error.field: error.reason}, typed=typed)
    return _done("Your profile is saved.")


@router.post("/environment")
def choose_environment(
    request: Request,
    reader: SignedIn,
    environment: Text = "",
    next: Text = "",  # noqa: A002 -- the URL's word
) -> Response:
    """The chooser of every page."""
    if environment not in reader.belongs_to:
        raise NoEnvironment(f"You do not belong to an environment {environment!r}.")
    response = RedirectResponse(safe_next(next), status_code=303)
    response.set_cookie(
        ENVIRONMENT_COOKIE,
        environment,
        max_age=YEAR,
        path="/",
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/logins/end-others")
def end_other_logins(request: Request, reader: RequiredUser, records: Records, actor: CurrentActor) -> Response:
    with changing(records, actor, None) as work:
        user = work.get_one(User, require_person(reader), with_for_update=True)
        ended = service.end_logins(work, user, but=request.cookies.get(COOKIE, ""))
    return _done(f"Signed out elsewhere: {ended}." if ended else "You are signed in nowhere else.", "#logins")


@router.post("/logins/{handle}/end")
def end_login(
    handle: Handle,
    reader: RequiredUser,
    records: Records,
    actor: CurrentActor,
) -> Response:
    with changing(records, actor, None) as work:
        user = work.get_one(User, require_person(reader), with_for_update=True)
        ended = service.end_logins(work, user, handle=handle)
    return _done("That browser is signed out." if ended else "That login had ended already.", "#logins")


@router.post("/tokens")
async def make_token(request: Request, reader: RequiredUser, records: Records, actor: CurrentActor) -> Response:
    require_person(reader)
    form, errors = token_form(await request.form())
    if not errors:
        try:
            _, secret = await run_in_threadpool(tokens.make_token, records, reader, actor, form)
        except AccessError as error:
            errors = {f"token_{error.field}": error.reason}
        else:
            return await run_in_threadpool(_page, request, reader, records, made=(form.name, secret))
    return await run_in_threadpool(_page, request, reader, records, status=422, errors=errors, token=form)


@router.post("/tokens/{token_id}/revoke")
def revoke_token(token_id: Id, reader: RequiredUser, records: Records, actor: CurrentActor) -> Response:
    name = tokens.end_token(records, reader, actor, token_id)
    return _done(f"The token {name} is revoked.", "#tokens")


@router.get("/second-factor")
def second_factor_page(request: Request, reader: SignedIn, records: Records) -> Response:
    return _second_factor(request, reader, records)


@router.post("/second-factor/{step}")
def second_factor_step(
    request: Request,
    reader: SignedIn,
    records: Records,
    visitor: CurrentVisitor,
    policy: CurrentPolicy,
    step: str,
    password: Text = "",
    code: Text = "",
) -> Response:
    require_person(reader)
    codes: list[str] = []
    try:
        match step:
            case "begin":
                service.begin_second_factor(records, reader, password, visitor)
            case "confirm":
                codes = service.confirm_second_factor(records, reader, code, visitor)
            case "codes":
                codes = service.new_recovery_codes(records, reader, password, visitor)
            case "off":
                if policy.second_factor_required:
                    raise AccessError("password", "A second factor is asked of everybody here.")
                service.turn_off_second_factor(records, reader, password, visitor)
                return _done("Your second factor is off: the password alone signs you in.")
            case _:
                raise Problem(404, f"There is nothing at {request.url.path}.")
    except AccessError as error:
        return _second_factor(request, reader, records, 422, step, {error.field: error.reason})
    except TooManyAttempts as refused:
        field = "code" if step == "confirm" else "password"
        return _second_factor(request, reader, records, 429, step, {field: str(refused)})
    if codes:
        return _second_factor(request, reader, records, step=step, codes=codes)
    return RedirectResponse("/profile/second-factor", status_code=303)


def _second_factor(
    request: Request,
    reader: Principal,
    records: Records,
    status: int = 200,
    step: str = "",
    errors: dict[str, str] | None = None,
    codes: list[str] | None = None,
) -> Response:
    user_id = require_person(reader)
    with reading(records) as session:
        user = session.get_one(User, user_id)
    return render(
        request,
        "access/second_factor.html",
        status,
        user=user,
        due=reader.due,
        enrolment=service.begun_second_factor(records, reader),
        step=step,
        errors=errors or {},
        codes=codes or [],
        to_us=clock.to_us,
    )


def _page(
    request: Request,
    reader: Principal,
    records: Records,
    *,
    status: int = 200,
    errors: dict[str, str] | None = None,
    typed: dict[str, str] | None = None,
    token: Any = None,
    made: tuple[str, str] | None = None,
) -> Response:
    user_id = require_person(reader)
    with reading(records) as session:
        user = session.get_one(User, user_id)
    now = clock.now()
    own = tokens.list_tokens(records, user_id)
    return render(
        request,
        "access/profile.html",
        status,
        user=user,
        typed=typed or {"full_name": user.full_name, "email": user.email},
        role=ROLES[Role(user.role)],
        reader=reader,
        browser=browser,
        logins=service.list_logins(records, user_id, request.cookies.get(COOKIE, "")),
        tokens=[each for each in own if each.live(now)],
        ended=[each for each in own if not each.live(now)],
        scopes=_scopes(permissions_of(Role(user.role), user.sees_personal)),
        token=token,
        made=made,
        errors=errors or {},
        to_us=clock.to_us,
    )


def browser(user_agent: str) -> str:
    """ "Firefox 133 on Linux", as far as what browsers say of themselves tells; else the beginning of it."""
    name = next((words for sign, words in _BROWSERS if sign in user_agent), "")
    if not name:
        return user_agent[:40] or "unknown"
    sign = next(sign for sign, words in _BROWSERS if words == name)
    version = re.search(r"\d+", user_agent.partition("Version/" if name == "Safari" else sign)[2])
    system = next((words for sign, words in _SYSTEMS if sign in user_agent), "")
    return f"{name}{' ' + version[0] if version else ''}{' on ' + system if system else ''}"


def _scopes(given: frozenset[Permission]) -> list[tuple[str, str]]:
    """(permission, what it means) of those that a token of theirs may have, as they are listed everywhere."""
    return [(each.value, ABOUT[each]) for each in Permission if each in given]


def _done(text: str, place: str = "") -> Response:
    response = RedirectResponse(f"/profile{place}", status_code=303)
    flash(response, text)
    return response
