"""The tab "Timeline" of a customer's and an account's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from ringback import clock
from ringback.access.dependencies import CurrentActor, Records
from ringback.billing.entities.pages_base import Reader, TypeOfPath, Writing, load
from ringback.billing.entities.pages_object import tabs
from ringback.billing.entities.pages_values import aligned, amount
from ringback.records.engine import reading
from ringback.sessions.dependencies import Sessions
from ringback.sessions.pages.words import outcome_word
from ringback.timeline import service
from ringback.timeline.asked import DEFAULT, PRESETS, read
from ringback.timeline.schemas import KINDS, BadPlace, Row, Subject
from ringback.timeline.sources import sources_of
from ringback.web.templating import render, viewer_zone

router = APIRouter(include_in_schema=False)
_Id = Annotated[int, Path(ge=1, le=2**63 - 1)]


def timeline_page(
    request: Request,
    row_id: _Id,
    entity: TypeOfPath,
    reader: Reader,
    records: Records,
    sessions: Sessions,
    actor: CurrentActor,
    cursor: Annotated[str, Query(max_length=16_000)] = "",
) -> Response:
    environment, href = reader.environments[0], f"/{entity.about.path}/{row_id}"
    form = read(f"{href}/timeline", request.query_params.multi_items(), viewer_zone(request), clock.now_us())
    if not form.errors and any(
        text and not text.endswith("Z") for text in map(request.query_params.get, ("from", "to"))
    ):
        return RedirectResponse(form.url(), status_code=303)  # the URL means the same to every reader
    with reading(records, (environment,)) as session:
        row: Any = load(session, entity, row_id)
        writing = Writing(session, reader)
        writing.for_rows(entity, [row])
        title = writing.title(entity, row)
        of = writing.link(entity["customer_id"], row.customer_id) if entity.name == "account" else None
    subject = Subject(environment, row_id) if of is None else Subject(environment, row.customer_id, row_id)
    page, problem, status = None, "", 400
    if not form.errors:
        try:
            sources = sources_of(records, sessions, reader, subject)
            page, status = service.page(sources, reader, subject, form.asked, cursor=cursor), 200
        except BadPlace as error:
            problem = str(error)
    if page is not None and not page.read(form.asked):
        status = 503 if any(each.why == "away" for each in page.missing) else 403
    rows = page.rows if page else []
    service.note_read(records, reader, actor, row, len(rows))
    numbers = service.groups(rows)
    return render(
        request, "timeline/timeline.html", status, entity=entity, title=title, customer=of, form=form, page=page,
        problem=problem, is_later=bool(cursor), presets=PRESETS, default=DEFAULT, kinds=KINDS,
        rows=list(zip(rows, numbers, _ends(numbers), strict=True)), causes=_causes(rows, numbers),
        places=aligned([each for row in rows for each in (row.amount, row.balance_after)], _currency(rows)),
        money=amount, outcome_word=outcome_word, masks=not reader.sees_personal,
        tabs=tabs(entity, row_id, reader), tab="timeline",
    )  # fmt: skip


router.add_api_route("/customers/{row_id:int}/timeline", timeline_page, name="customer timeline")
router.add_api_route("/accounts/{row_id:int}/timeline", timeline_page, name="account timeline")


def _ends(numbers: Sequence[int]) -> list[str]:
    """Where in a run of rows that belong together each stands: first, middle, last; "" alone."""
    found = []
    for at, number in enumerate(numbers):
        above = at > 0 and number == numbers[at - 1]
        below = at + 1 < len(numbers) and number == numbers[at + 1]
        found.append(
            "" if not number else "middle" if above and below else "last" if above else "first" if below else ""
        )
    return found


def _causes(rows: Sequence[Row], numbers: Sequence[int]) -> dict[int, tuple[int, str]]:
    """Of each group how many rows it has, and the oldest audit record among them; "" where there is none."""
    found: dict[int, tuple[int, str]] = {}
    for row, number in zip(rows, numbers, strict=True):
        count, record = found.get(number, (0, ""))
        found[number] = (count + 1, row.href if row.what == "audit_record" else record)
    return found


def _currency(rows: Sequence[Row]) -> str:
    return next((row.currency for row in rows if row.currency), "")
