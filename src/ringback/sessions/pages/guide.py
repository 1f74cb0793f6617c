"""The troubleshooting guide, made from the catalogue in force (the operator's own issues included)."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from ringback.access.dependencies import RequiredUser
from ringback.problem import Problem
from ringback.sessions.dependencies import Issues
from ringback.sessions.diagnose.guide import INDEX, guide_html
from ringback.web.templating import render

router = APIRouter(prefix="/guide", include_in_schema=False)


@router.get("")
def guide(request: Request, reader: RequiredUser, issues: Issues) -> Response:
    html = guide_html(INDEX, issues)
    return render(request, "sessions/guide.html", html=html, title="Troubleshooting guide", issue="")


@router.get("/{issue}")
def issue_page(request: Request, reader: RequiredUser, issues: Issues, issue: str) -> Response:
    definition = issues.get(issue)
    if definition is None:
        raise Problem(404, f"The guide has no issue “{issue}”; the list is at /guide.", title="No such issue")
    html = guide_html(issue, issues)
    return render(request, "sessions/guide.html", html=html, title=definition.title, issue=issue)
