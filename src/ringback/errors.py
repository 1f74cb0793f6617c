"""How every error is answered: problem details to programs, a page to people, a redirect to who must sign in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ringback import clock
from ringback.access.dependencies import NotSignedIn, current_user
from ringback.middleware import secure
from ringback.problem import Problem, problem_response
from ringback.web.templating import render

_log = structlog.get_logger()
_FOR_PROGRAMS = ("/api/", "/ingest/", "/healthz", "/readyz", "/metrics")


def install_error_handlers(
    app: FastAPI, problem_of: Callable[[Exception], Problem], rooms: tuple[type[Exception], ...]
) -> None:
    """`problem_of` tells how an error of a room (one of the classes `rooms`) is put into words."""

    async def room_error(request: Request, error: Exception) -> Response:
        return await _answer(request, problem_of(error))

    async def problem(request: Request, error: Exception) -> Response:
        return await _answer(request, cast("Problem", error))

    async def http_exception(request: Request, error: Exception) -> Response:
        plain = cast("HTTPException", error)
        return await _answer(request, _of_http_exception(request, plain))

    async def invalid(request: Request, error: Exception) -> Response:
        return await _answer(request, _of_validation(cast("RequestValidationError", error)))

    handlers: dict[type[Exception], Any] = dict.fromkeys(rooms, room_error)
    handlers |= dict.fromkeys((OperationalError, InterfaceError, PoolTimeoutError), _records_away)
    handlers |= {
        DataError: _not_to_be_stored,
        Problem: problem,
        HTTPException: http_exception,
        RequestValidationError: invalid,
        NotSignedIn: _sign_in,
        Exception: _unexpected,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _answer(request: Request, problem: Problem) -> Response:
    if request.url.path.startswith(_FOR_PROGRAMS):
        return problem_response(problem)
    return await _page(request, problem)


async def _records_away(request: Request, error: Exception) -> Response:
    """The database was not reached, is overloaded, or held by others for too long: worth another try."""
    _log.error("the records cannot be used", problem=" ".join(str(getattr(error, "orig", error)).split()))
    request.state.viewer_name = getattr(request.state, "viewer_name", "")  # who that is stands in the records
    return await _answer(
        request,
        Problem(
            503,
            "The database that holds the records does not answer. What was asked may not have been done: try again soon.",
            title="The records cannot be reached",
            headers={"Retry-After": "5"},
        ),
    )


async def _not_to_be_stored(request: Request, error: Exception) -> Response:
    """PostgreSQL keeps no character 0, and no text longer than its column."""
    return await _answer(request, Problem(422, "A value has characters, or a length, that cannot be stored."))


async def _page(request: Request, problem: Problem, reference: str = "") -> Response:
    if not hasattr(request.state, "viewer_name"):
        try:
            await run_in_threadpool(current_user, request)
        except (NotSignedIn, SQLAlchemyError):
            request.state.viewer_name = ""
    response = render(
        request,
        "error_part.html" if "hx-request" in request.headers else "error.html",
        problem.status,
        heading=problem.title,
        explanation=problem.detail,
        reference=reference,
        next_path="/sessions",
        next_text="Search sessions",
    )
    response.headers.update(problem.headers)
    return response


async def _sign_in(request: Request, error: Exception) -> Response:
    if request.url.path.startswith(_FOR_PROGRAMS):
        return problem_response(Problem(401, str(error), headers={"WWW-Authenticate": 'Bearer realm="ringback"'}))
    if "hx-request" in request.headers:
        # A part of a page that is still open: the whole page goes to the login, and back to itself.
        shown = urlsplit(request.headers.get("hx-current-url", ""))
        target = shown.path + (f"?{shown.query}" if shown.query else "") or "/sessions"
        return Response(status_code=401, headers={"HX-Redirect": _login_url(target)})
    read = request.method in ("GET", "HEAD")
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(_login_url(target if read else "/sessions"), status_code=303)


def _login_url(target: str) -> str:
    return "/login" if target in ("/", "/sessions") else "/login?" + urlencode({"next": target})


async def _unexpected(request: Request, error: Exception) -> Response:
    """Our fault: the log has the traceback under a reference that the reader can quote."""
    reference = clock.random_token(6)
    route = getattr(request.scope.get("route"), "path", "")
    _log.error("request failed", reference=reference, method=request.method, route=route, exc_info=error)
    problem = Problem(
        500,
        f"Something went wrong inside Ringback. The server's log tells more under the reference {reference}.",
        title="Something went wrong",
    )
    if request.url.path.startswith(_FOR_PROGRAMS):
        response: Response = problem_response(problem)
    else:
        response = await _page(request, problem, reference)
    secure(response.headers, request.url.scheme)
    return response


def _of_http_exception(request: Request, error: HTTPException) -> Problem:
    detail = str(error.detail)
    if error.status_code == 404 and detail == "Not Found":
        return Problem(404, f"There is nothing at {request.url.path}.", title="Nothing here")
    if error.status_code == 413:
        detail = "The body of the request is larger than this server takes."
    return Problem(error.status_code, detail, headers=error.headers)


def _of_validation(error: RequestValidationError) -> Problem:
    """The first complaint is the field's; the others follow in the text."""
    complaints = [(_field(each["loc"]), each["msg"]) for each in error.errors()]
    detail = "; ".join(f"{field}: {reason}" if field else reason for field, reason in complaints)
    return Problem(422, detail, title="The request cannot be understood", field=complaints[0][0] or None)


def _field(location: tuple[str | int, ...]) -> str:
    """("body", "nodes", 2, "name") -> nodes[2].name"""
    text = ""
    for part in location[1:]:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
