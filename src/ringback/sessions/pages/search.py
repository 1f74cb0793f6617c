"""The search page, and the parts of it that come after: issues of rows, the histogram, further rows."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from ringback import clock
from ringback.access.dependencies import CurrentSettings, may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.events.store import EventStore, EventStoreError, SearchTimedOut
from ringback.sessions.dependencies import Events, Issues, Sessions
from ringback.sessions.diagnose.catalogue import GROUPS, Catalogue
from ringback.sessions.pages import interval, search_form
from ringback.sessions.pages.histogram import strip
from ringback.sessions.pages.search_form import SearchForm
from ringback.sessions.pages.words import KIND_WORDS, OUTCOME_WORDS, issue_word
from ringback.sessions.schemas import IssueBrief, QueryError, SearchResult
from ringback.sessions.service import SessionNotFound, SessionService
from ringback.sessions.status.store import store_status
from ringback.web.templating import render, viewer_zone

router = APIRouter(include_in_schema=False)
BUCKETS = 96
ISSUES_AT_ONCE = 50


@router.get("/")
def home() -> Response:
    return RedirectResponse("/sessions", status_code=303)


@router.get("/sessions")
def search_page(
    request: Request,
    reader: Annotated[Principal, may(Permission.SESSIONS_READ)],
    sessions: Sessions,
    events: Events,
    issues: Issues,
    settings: CurrentSettings,
) -> Response:
    form = _form(request, reader)
    if not form.errors and _typed_times(request):
        # Times typed in the viewer's zone become moments, so that the URL means the same to everyone.
        return RedirectResponse(form.url(), status_code=303)
    result, problem, status = found_by(sessions, form)
    template = "sessions/search.html"
    tz = viewer_zone(request)
    if form.value("cursor") and "hx-request" in request.headers:
        template = "sessions/search_rows.html" if result else "sessions/rows_problem.html"
    return render(
        request,
        template,
        status_code=status,
        form=form,
        result=result,
        problem=problem,
        issue_word=issue_word,
        outcome_words=OUTCOME_WORDS,
        kind_words=KIND_WORDS,
        presets=interval.PRESETS,
        issue_groups=_by_group(issues),
        chips=form.chips(_titles(sessions, form, issues, reader)),
        picked=[interval.for_input(us, tz) for us in (form.interval.start_us, form.interval.end_us)],
        histogram_url="/sessions/histogram?" + urlencode(form.pairs(fixed=True)),
        more_url=_more_url(form, result),
        newest_us=_newest(events) if result and not result.rows else None,
        hep_address=",".join(map(str, settings.hep_udp)),
        masked=not reader.sees_personal,
    )


@router.get("/sessions/histogram")
def histogram_part(
    request: Request, reader: Annotated[Principal, may(Permission.SESSIONS_READ)], sessions: Sessions
) -> Response:
    form = _form(request, reader)
    if form.query is None:
        return HTMLResponse("", status_code=400)
    try:
        counted = sessions.histogram(search_form.uncounted(form.query), BUCKETS)
    except (QueryError, EventStoreError) as error:
        return render(request, "sessions/histogram_problem.html", reason=str(error))
    return render(request, "sessions/histogram.html", strip=strip(counted, form, viewer_zone(request)), form=form)


@router.get("/sessions/issues")
def issues_part(
    request: Request,
    reader: Annotated[Principal, may(Permission.SESSIONS_READ)],
    sessions: Sessions,
    id_: Annotated[list[str], Query(alias="id")],
) -> Response:
    """The issue cells of the rows named, to be put in place one by one."""
    found: list[tuple[str, IssueBrief | None, str]] = []
    for session_id in id_[:ISSUES_AT_ONCE]:
        try:
            issue = sessions.primary_issue(session_id, reader.environments, personal=reader.sees_personal)
        except (SessionNotFound, EventStoreError) as error:
            found.append((session_id, None, str(error) or "could not be read"))
        else:
            found.append((session_id, issue, ""))
    return render(request, "sessions/issue_cells.html", found=found, issue_word=issue_word)


def _by_group(issues: Catalogue) -> list[tuple[str, list[tuple[str, str]]]]:
    """(group in words, its issues as (id, title)), in the guide's order."""
    groups = [
        (words, [(one.id, one.title) for one in issues if one.group == group]) for group, words in GROUPS.items()
    ]
    return [(words, titles) for words, titles in groups if titles]


def _form(request: Request, reader: Principal) -> SearchForm:
    parameters = request.query_params.multi_items()
    return search_form.read(
        parameters,
        viewer_zone(request),
        clock.now_us(),
        reader.environments,
        personal=reader.sees_personal,
        customers=reader.may(Permission.CUSTOMERS_READ),
    )


def _titles(
    sessions: SessionService, form: SearchForm, issues: Catalogue, reader: Principal
) -> dict[tuple[str, str], str]:
    """What the filters' values are called."""
    titles = {("issue", one.id): one.title for one in issues}
    query = form.query
    for name, id_ in (("customer", query.customer), ("account", query.account)) if query else ():
        if id_ is not None and reader.may(Permission.CUSTOMERS_READ):
            titles[name, str(id_)] = sessions.title(name, id_, reader.environments, personal=reader.sees_personal)
    return titles


def _typed_times(request: Request) -> bool:
    texts = (request.query_params.get("from", ""), request.query_params.get("to", ""))
    return any(text and not text.endswith("Z") for text in texts)


def found_by(sessions: SessionService, form: SearchForm) -> tuple[SearchResult | None, str, int]:
    """(result, what kept it from being one, HTTP status)."""
    if form.query is None:
        return None, "", 400
    try:
        return sessions.search(form.query), "", 200
    except QueryError as error:
        form.errors[error.field] = error.reason
        return None, "", 400
    except SearchTimedOut as error:
        return None, f"The search was stopped: {error}", 504
    except EventStoreError as error:
        return None, f"The store could not be read: {error}", 503


def _more_url(form: SearchForm, result: SearchResult | None) -> str:
    if result is None or result.cursor is None:
        return ""
    return form.url(("cursor", result.cursor), fixed=True)


def _newest(events: EventStore) -> int | None:
    """When the newest stored session began (microseconds); 0 when nothing was ever stored, None when nobody can say."""
    try:
        segments = store_status(events).segments
    except EventStoreError:
        return None
    return max((segment.last_us for segment in segments if segment.kind == "sip" and segment.legs), default=0)
