"""Signing in by single sign-on: to the provider, and back."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from ringback.access import oidc_people
from ringback.access.dependencies import CurrentVisitor, Records
from ringback.access.oidc import CALLBACK, COOKIE, LIFE, SignIn, SignInFailed
from ringback.access.pages import HOME, safe_next, set_login_cookie
from ringback.problem import Problem
from ringback.web.templating import render

router = APIRouter(prefix="/login/oidc", include_in_schema=False)


def sign_in_of(request: Request) -> SignIn:
    """Raises Problem where no provider is set up."""
    found: SignIn | None = request.app.state.sign_in
    if found is None:
        raise Problem(404, "No single sign-on is set up (RINGBACK_OIDC_ISSUER).")
    return found


Provider = Annotated[SignIn, Depends(sign_in_of)]


@router.get("")
async def begin(request: Request, provider: Provider, next: str = HOME) -> Response:  # noqa: A002 -- the URL's word
    try:
        begun = await provider.begin(_site(request) + CALLBACK, safe_next(next))
    except SignInFailed as error:
        return _refused(request, next, str(error))
    response = RedirectResponse(begun.url, status_code=303)
    response.set_cookie(
        COOKIE, begun.cookie, max_age=int(LIFE.total_seconds()), path="/login/oidc", httponly=True, samesite="lax",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return response


@router.get("/callback")
async def finish(request: Request, provider: Provider, records: Records, visitor: CurrentVisitor) -> Response:
    try:
        identity, target = await provider.finish(request.cookies.get(COOKIE, ""), dict(request.query_params))
        grants = provider.settings.grants
        secret = await run_in_threadpool(oidc_people.sign_in, records, identity, grants, visitor)
    except SignInFailed as error:
        response = _refused(request, HOME, str(error))
    else:
        response = RedirectResponse(safe_next(target), status_code=303)
        set_login_cookie(request, response, secret)
    response.delete_cookie(COOKIE, path="/login/oidc")
    return response


def _site(request: Request) -> str:
    """As the provider knows it."""
    public: str = request.app.state.settings.public_url
    return public or str(request.base_url).rstrip("/")


def _refused(request: Request, next_path: str, problem: str) -> Response:
    return render(request, "access/login.html", 401, typed="", next_path=safe_next(next_path), problem=problem)
