"""Signing in and out, the second factor, and changing one's own password."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from ringback.access import service
from ringback.access.dependencies import (
    COOKIE,
    COOKIE_LIFE_SECONDS,
    CurrentUser,
    CurrentVisitor,
    Records,
    SignedIn,
    check_same_site,
)
from ringback.access.passwords import SHORTEST
from ringback.access.schemas import AccessError, LoginOver, Principal, TooManyAttempts, WrongCredentials
from ringback.problem import Problem
from ringback.web.flash import flash
from ringback.web.templating import render

router = APIRouter(include_in_schema=False)
HOME = "/sessions"
_LONGEST_NEXT = 2000

Text = Annotated[str, Form(max_length=1000)]


def safe_next(target: str) -> str:
    """`target` where it is a path of this site, else the first page: a login must not lead elsewhere."""
    parts = urlsplit(target)
    inside = target.startswith("/") and not target.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    plain = target.isprintable() and "\\" not in target
    return target if inside and plain and len(target) <= _LONGEST_NEXT else HOME


@router.get("/login")
def login_page(request: Request, user: CurrentUser, next: str = HOME) -> Response:  # noqa: A002 -- the URL's word
    if user is not None:
        return RedirectResponse(safe_next(next), status_code=303)
    return render(request, "access/login.html", typed="", next_path=safe_next(next), problem="")


@router.post("/login", dependencies=[Depends(check_same_site)])
def log_in(
    request: Request,
    records: Records,
    visitor: CurrentVisitor,
    name: Text = "",
    password: Text = "",
    next: Text = HOME,  # noqa: A002
) -> Response:
    try:
        login = service.log_in(records, name, password, visitor)
    except WrongCredentials:
        return _login_refused(request, name, next, 401, "Name or password is wrong.")
    except TooManyAttempts as refused:
        response = _login_refused(request, name, next, 429, str(refused))
        response.headers["Retry-After"] = str(refused.wait_seconds)
        return response
    target = "/login/code?" + urlencode({"next": safe_next(next)}) if login.code_due else safe_next(next)
    response = RedirectResponse(target, status_code=303)
    set_login_cookie(request, response, login.secret)
    return response


@router.get("/login/code")
def code_page(request: Request, records: Records, next: str = HOME) -> Response:  # noqa: A002
    if not service.code_is_due(records, request.cookies.get(COOKIE, "")):
        return RedirectResponse("/login?" + urlencode({"next": safe_next(next)}), status_code=303)
    return render(request, "access/code.html", next_path=safe_next(next), problem="")


@router.post("/login/code", dependencies=[Depends(check_same_site)])
def check_code(
    request: Request,
    records: Records,
    visitor: CurrentVisitor,
    code: Text = "",
    next: Text = HOME,  # noqa: A002
) -> Response:
    try:
        secret = service.check_code(records, request.cookies.get(COOKIE, ""), code, visitor)
    except LoginOver:
        return _login_refused(request, "", next, 401, "That took too long. Sign in again.")
    except WrongCredentials:
        problem = "The code is wrong, or was used already. The authenticator shows another one every 30 seconds."
        return render(request, "access/code.html", 401, next_path=safe_next(next), problem=problem)
    except TooManyAttempts as refused:
        asked = render(request, "access/code.html", 429, next_path=safe_next(next), problem=str(refused))
        asked.headers["Retry-After"] = str(refused.wait_seconds)
        return asked
    response = RedirectResponse(safe_next(next), status_code=303)
    set_login_cookie(request, response, secret)
    return response


@router.post("/logout")
def log_out(request: Request, user: SignedIn, records: Records, visitor: CurrentVisitor) -> Response:
    service.log_out(records, user, request.cookies.get(COOKIE, ""), visitor)
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax", secure=request.url.scheme == "https")
    flash(response, "You are signed out.")
    return response


@router.get("/account/password")
def password_page(request: Request, user: SignedIn) -> Response:
    require_person(user)
    return render(request, "access/password.html", errors={}, shortest=SHORTEST, due=user.due)


@router.post("/account/password")
def change_password(
    request: Request,
    user: SignedIn,
    records: Records,
    visitor: CurrentVisitor,
    current_password: Text = "",
    new_password: Text = "",
    repeated_password: Text = "",
) -> Response:
    require_person(user)
    try:
        if new_password != repeated_password:
            raise AccessError("repeated_password", "The two new passwords differ.")
        secret = service.change_password(records, user, current_password, new_password, visitor)
    except AccessError as error:
        errors = {error.field: error.reason}
        return render(request, "access/password.html", 422, errors=errors, shortest=SHORTEST, due=user.due)
    except TooManyAttempts as refused:
        errors = {"current_password": str(refused)}
        return render(request, "access/password.html", 429, errors=errors, shortest=SHORTEST, due=user.due)
    response = RedirectResponse(HOME, status_code=303)
    set_login_cookie(request, response, secret)
    flash(response, "Your password is changed. Every other browser was signed out.")
    return response


def _login_refused(request: Request, name: str, next_path: str, status: int, problem: str) -> Response:
    return render(
        request, "access/login.html", status, typed=name[:64], next_path=safe_next(next_path), problem=problem
    )


def require_person(principal: Principal) -> int:
    """The id of the person who is signed in. Raises Problem."""
    if principal.kind != "user" or principal.user_id is None:
        raise Problem(403, "An API token has no password and no profile: sign in with a browser.")
    return principal.user_id


def set_login_cookie(request: Request, response: Response, secret: str) -> None:
    response.set_cookie(
        COOKIE,
        secret,
        max_age=COOKIE_LIFE_SECONDS,
        path="/",
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
