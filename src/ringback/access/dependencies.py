"""Who is there? FastAPI dependencies: `current_user` (perhaps nobody), `require_login` (somebody, who may have a password
to change first), `require_user` (somebody with an environment), `may` (somebody with a permission), `CurrentActor`.

A browser is known by its cookie, a program by `Authorization: Bearer rb_...`. What a browser changes must carry the
token of its login (header X-CSRF-Token, or the form's field) and come from this site; a program's request, which no
other site can make a browser send, need not.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends
from sqlalchemy import Engine
from starlette.requests import Request

from ringback.access.permissions import Permission
from ringback.access.policy import Policy
from ringback.access.schemas import Due, Principal, Visitor
from ringback.access.service import LIFE, principal_of_login
from ringback.access.tokens import principal_of_token
from ringback.changes.schemas import Actor
from ringback.problem import Problem
from ringback.settings import Settings
from ringback.web.templating import CSRF_FIELD

COOKIE = "ringback_session"
COOKIE_LIFE_SECONDS = int(LIFE.total_seconds())
CSRF_HEADER = "X-CSRF-Token"
ENVIRONMENT_COOKIE = "ringback_environment"  # of the chooser in the header of pages
ENVIRONMENT_HEADER = "Ringback-Environment"
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


class NoEnvironment(Problem):
    """What is asked for is in an environment that is not the reader's, or there is none."""

    def __init__(self, detail: str) -> None:
        super().__init__(403, detail, title="Not your environment", field=ENVIRONMENT_HEADER)


class FirstThis(Problem):
    """Something has to be done before anything else: pages lead there, the API says so."""

    def __init__(self, request: Request, due: Due) -> None:
        path, what = _FIRST[due]
        detail = f"{what} first: {path}"
        if request.url.path.startswith("/api/"):
            super().__init__(403, detail)
        elif "hx-request" in request.headers:
            super().__init__(403, detail, headers={"HX-Redirect": path})
        else:
            super().__init__(303, detail, title="First this", headers={"Location": path})


_FIRST = {
    "password": ("/account/password", "Choose a new password"),
    "second factor": ("/profile/second-factor", "Set up a second factor"),
}


# What does not wait is `async`: anything else is handed to a thread, which takes longer than most of it does.


async def records(request: Request) -> Engine:
    """The engine that the application opened at its start."""
    engine: Engine = request.app.state.records
    return engine


async def settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def visitor(request: Request) -> Visitor:
    return _visitor(request)


def _visitor(request: Request) -> Visitor:
    address = request.client.host if request.client else ""
    return Visitor(address, request.headers.get("user-agent", ""), getattr(request.state, "request_id", ""))


async def policy(request: Request) -> Policy:
    return _policy(request)


def _policy(request: Request) -> Policy:
    now: Callable[[], Policy] = getattr(request.app.state, "access_policy", Policy)
    return now()


def current_user(request: Request) -> Principal | None:
    """Also tells `request.state` what the page shell shows of the reader. An Authorization header outweighs the cookie.

    The reader has chosen one of their environments: by the header, else the chooser's cookie, else the first.
    """
    principal = _principal(request)
    if principal is not None and (chosen := _chosen(request, principal)):
        principal = principal.within(chosen)
    state = request.state
    state.viewer_name = principal.name if principal else ""
    state.csrf_token = principal.csrf_token if principal else ""
    state.viewer_permissions = _rights(principal) if principal else frozenset()
    state.viewer_environments = principal.belongs_to if principal else ()
    state.viewer_environment = principal.environments[0] if principal and principal.environments else ""
    return principal


def _principal(request: Request) -> Principal | None:
    """Raises NotSignedIn for a token that is no good."""
    engine: Engine = request.app.state.records
    authorization = request.headers.get("authorization")
    if authorization is None:
        secret = request.cookies.get(COOKIE)
        return principal_of_login(engine, secret, _policy(request)) if secret else None
    scheme, _, token = authorization.partition(" ")
    principal = principal_of_token(engine, token.strip(), _visitor(request)) if scheme.lower() == "bearer" else None
    if principal is None:
        request.state.viewer_name = ""
        raise NotSignedIn(
            "The token is unknown, expired or revoked. Your profile, or `ringback token create`, makes one."
        )
    return principal


def _chosen(request: Request, principal: Principal) -> str:
    wanted = request.headers.get(ENVIRONMENT_HEADER) or request.cookies.get(ENVIRONMENT_COOKIE, "")
    return wanted if wanted in principal.belongs_to else ""


async def require_login(
    request: Request, principal: Annotated[Principal | None, Depends(current_user)]
) -> AsyncIterator[Principal]:
    """Somebody, who may have something to do first. Raises NotSignedIn, CsrfRefused."""
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


async def require_user(request: Request, principal: SignedIn) -> Principal:
    """Somebody who has an environment, and nothing to do first. Raises also FirstThis, NoEnvironment."""
    if principal.due:
        raise FirstThis(request, principal.due)
    wanted = request.headers.get(ENVIRONMENT_HEADER)
    if wanted and wanted not in principal.belongs_to:
        raise NoEnvironment(f"{ENVIRONMENT_HEADER}: you do not belong to an environment {wanted!r}.")
    if not principal.environments:
        raise NoEnvironment("You belong to no environment yet. An administrator can give you one.")
    return principal


def _rights(principal: Principal) -> frozenset[str]:
    """As templates ask: permissions, and `everywhere` of who looks after the whole installation."""
    return principal.permissions | ({"everywhere"} if principal.everywhere else frozenset())


def may(*permissions: Permission) -> Any:
    """A dependency like `require_user` of who may do all of this: `Annotated[Principal, may(Permission.AUDIT_READ)]`.

    Raises NotAllowed, besides what `require_user` raises.
    """

    async def check(principal: RequiredUser) -> Principal:
        for permission in permissions:
            if not principal.may(permission):
                raise NotAllowed(permission)
        return principal

    return Depends(check)


def may_for_all(*permissions: Permission) -> Any:
    """As `may`, and only who looks after the whole installation: what it shows or changes is of every environment.

    The dependency is a default: the annotation of a nested function cannot name `permissions`.
    """
    allowed: Any = may(*permissions)

    async def check(principal: Principal = allowed) -> Principal:
        if not principal.everywhere:
            raise Problem(403, "This is for administrators of the whole installation.", title="Not allowed")
        return principal

    return Depends(check)


async def current_actor(request: Request, principal: SignedIn) -> Actor:
    """Who is told to have done what the request does."""
    return actor_of_request(request, principal)


def actor_of_request(request: Request, principal: Principal) -> Actor:
    came = _visitor(request)
    of = principal.user_id if principal.kind == "user" else principal.token_id
    realm = "api" if principal.kind == "token" or request.url.path.startswith("/api/") else "console"
    return Actor(principal.kind, principal.name, realm, str(of or ""), came.address, came.request_id)


CurrentUser = Annotated[Principal | None, Depends(current_user)]
SignedIn = Annotated[Principal, Depends(require_login)]
RequiredUser = Annotated[Principal, Depends(require_user)]
CurrentActor = Annotated[Actor, Depends(current_actor)]
Records = Annotated[Engine, Depends(records)]
CurrentSettings = Annotated[Settings, Depends(settings)]
CurrentVisitor = Annotated[Visitor, Depends(visitor)]
CurrentPolicy = Annotated[Policy, Depends(policy)]


def check_same_site(request: Request) -> None:
    """Refuses what a browser says another site sent (Origin, Sec-Fetch-Site). Raises CsrfRefused."""
    origin = request.headers.get("origin")
    ours = {request.url.netloc.lower()}
    public_url: str = request.app.state.settings.public_url
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
