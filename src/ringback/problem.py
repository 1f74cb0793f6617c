"""Errors as the API tells them: problem details (RFC 9457), `{"type", "title", "status", "detail", "field"?, ...}`."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An answer that is an error: raised in a handler, told as JSON to programs and as a page to people.

    `detail` says what is wrong and what to do; `field` names the parameter or field of the body that is meant; `more`
    are further members for programs, JSON each.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        title: str = "",
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.title = title or HTTPStatus(status).phrase
        self.field = field
        self.headers = dict(headers or {})
        self.more = dict(more or {})


def problem_response(problem: Problem) -> JSONResponse:
    content: dict[str, object] = {
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
    }
    if problem.field is not None:
        content["field"] = problem.field
    content |= problem.more
    return JSONResponse(content, status_code=problem.status, headers=problem.headers, media_type=MEDIA_TYPE)
