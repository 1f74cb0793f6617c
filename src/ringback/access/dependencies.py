"""Who is there? Two FastAPI dependencies: `current_user` (perhaps nobody) and `require_user` (somebody).

A browser is known by its cookie, a program by `Authorization: Bearer rb_...`. What a browser changes must carry the
token of its login (header X-CSRF-Token, or the form's field) and come from this site; a program's request, which no
other site can make a browser send, need not.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends
from sqlalchemy import Engine
from starlette.requests import Request

from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.access.service import LIFE, Visitor, principal_of_login
from ringback.access.tokens import principal_of_token
from ringback.problem import Problem
from ringback.settings import Settings
from ringback.web.templating import CSRF_FIELD

COOKIE = "ringback_session"
COOKIE_LIFE_SECONDS = int(LIFE.total_seconds())
CSRF_HEADER = "X-CSRF-Token"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class NotSignedIn(Exception):
    """Nobody is signed in: a page sends to the login, the API answers 401 with this text."""


class CsrfRefused(Problem):
    """A change that may have been sent by another site."""

    def __init__(self, detail: str) -> None:
        super().__init__(403, detail)


class NotAllowed(Problem):
    """Signed in, but not for this."""

    def __init__(self, permission: Permission) -> None:
        super().__init__(
            403,
            f"You are signed in without the permission {permission}. An administrator can give you a role that has it.",
            title="Not allowed",
        )


def records(request: Request) -> Engine:
    """The engine that the application opened at its start."""
    engine: Engine = request.app.state.records
    return engine


def settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def visitor(request: Request) -> Visitor:
    return Visitor(request.client.host if request.client else "", request.headers.get("user-agent", ""))


def current_user(request: Request) -> Principal | None:
    """Also tells `request.state` what the page shell shows of the reader. An Authorization header outweighs the cookie."""
    engine = records(request)
    authorization = request.headers.get("authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        principal = principal_of_token(engine, token.strip()) if scheme.lower() == "bearer" else None
        if principal is None:
            raise NotSignedIn("The token is unknown, expired or revoked. `ringback token create NAME` makes one.")
        return principal
    secret = request.cookies.get(COOKIE)
    principal = principal_of_login(engine, secret) if secret else None
    request.state.viewer_name = principal.name if principal else ""
    request.state.viewer_permissions = principal.permissions if principal else frozenset()
    request.state.csrf_token = principal.csrf_token if principal else ""
    return principal


async def require_user(
    request: Request, principal: Annotated[Principal | None, Depends(current_user)]
) -> AsyncIterator[Principal]:
    """Raises NotSignedIn, CsrfRefused."""
    if principal is None:
        raise NotSignedIn("Sign in, or send an API token: Authorization: Bearer rb_...")
    try:
        if request.method not in _SAFE_METHODS and principal.csrf_token:
            check_same_site(request)
            given = request.headers.get(CSRF_HEADER) or await _form_token(request)
            if not hmac.compare_digest(given.encode(), principal.csrf_token.encode()):
                raise CsrfRefused("This form is of an earlier login. Go back, load the page again and repeat.")
        yield principal
    finally:
        await request.close()  # the files of a form that was read for its token


def may(*permissions: Permission) -> Any:
    """A dependency like `require_user` of who may do all of this: `Annotated[Principal, may(Permission.AUDIT_READ)]`.

    Raises NotAllowed, besides what `require_user` raises.
    """

    def check(principal: RequiredUser) -> Principal:
        for permission in permissions:
            if not principal.may(permission):
                raise NotAllowed(permission)
        return principal

    return Depends(check)


CurrentUser = Annotated[Principal | None, Depends(current_user)]
RequiredUser = Annotated[Principal, Depends(require_user)]
Records = Annotated[Engine, Depends(records)]
CurrentSettings = Annotated[Settings, Depends(settings)]
CurrentVisitor = Annotated[Visitor, Depends(visitor)]


def check_same_site(request: Request) -> None:
    """Refuses what a browser says another site sent (Origin, Sec-Fetch-Site). Raises CsrfRefused."""
    origin = request.headers.get("origin")
    ours = {request.url.netloc.lower()}
    public_url = settings(request).public_url
    if public_url:
        ours.add(urlsplit(public_url).netloc.lower())
    if origin is not None and urlsplit(origin).netloc.lower() not in ours:
        raise CsrfRefused(
            f"The request was sent from {origin}, which is not this site. "
            "Where a reverse proxy changes the host name, set RINGBACK_PUBLIC_URL."
        )
    if origin is None and request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise CsrfRefused("The request was sent from another site.")


async def _form_token(request: Request) -> str:
    if not request.headers.get("content-type", "").startswith(_FORMS):
        return ""
    value = (await request.form()).get(CSRF_FIELD)
    return value if isinstance(value, str) else ""
