"""The tab "Sessions" of customers and accounts: the sessions in which their numbers took part."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from ringback import clock
from ringback.access.dependencies import CurrentActor, Records, may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.billing.entities import queries, service
from ringback.billing.entities.errors import EntityNotFound
from ringback.billing.entities.fields import EntityType
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.numbers import MOST_NAMES, numbers_of
from ringback.billing.entities.pages_object import tabs
from ringback.billing.entities.personal import masked
from ringback.changes.service import changing
from ringback.problem import Problem
from ringback.records.engine import reading
from ringback.sessions.dependencies import Sessions
from ringback.sessions.pages import interval, search_form
from ringback.sessions.pages.search import found_by
from ringback.sessions.pages.words import KIND_WORDS, OUTCOME_WORDS, issue_word
from ringback.web.templating import render, viewer_zone

router = APIRouter(include_in_schema=False)


def sessions_tab(
    request: Request,
    row_id: Annotated[int, Path(ge=1, lt=2**53)],
    reader: Annotated[Principal, may(Permission.SESSIONS_READ, Permission.CUSTOMERS_READ)],
    records: Records,
    actor: CurrentActor,
    sessions: Sessions,
) -> Response:
    entity = TYPES["customer" if request.url.path.startswith("/customers/") else "account"]
    environment = reader.environments[:1]
    with reading(records, environment) as session:
        try:
            row = queries.find(session, entity, row_id)
        except EntityNotFound as error:
            raise Problem(404, str(error), title=f"No such {entity.about.label.lower()}") from error
        title = _shown(reader, entity, row.told_as())
        of = {"customer_id": row_id} if entity.name == "customer" else {"account_id": row_id}
        too_many = len(numbers_of(session, **of)) >= MOST_NAMES
    if reader.sees_personal:
        with changing(records, actor, environment) as work:
            service.note_read(work, entity, row)
    parameters = [
        pair for pair in request.query_params.multi_items() if pair[0] in ("last", "from", "to", "cursor", "limit")
    ]
    form = search_form.read(
        [*parameters, (entity.name, str(row_id))], viewer_zone(request), clock.now_us(), environment,
        personal=reader.sees_personal, customers=True,
    )  # fmt: skip
    result, problem, status = found_by(sessions, form)
    href = f"/{entity.about.path}/{row_id}"
    more = [*form.interval.fixed(), ("cursor", result.cursor)] if result and result.cursor else []
    part = form.value("cursor") and "hx-request" in request.headers and result
    return render(
        request,
        "sessions/search_rows.html" if part else "sessions/of_entity.html",
        status_code=status,
        entity=entity,
        title=title,
        href=href,
        form=form,
        result=result,
        problem=problem,
        presets=interval.PRESETS,
        issue_word=issue_word,
        outcome_words=OUTCOME_WORDS,
        kind_words=KIND_WORDS,
        more_url=f"{href}/sessions?{urlencode(more)}" if more else "",
        search_url=form.url(),
        too_many=too_many,
        most=MOST_NAMES,
        masked=not reader.sees_personal,
        tab="sessions",
        tabs=tabs(entity, row_id, reader),
    )


for _name in ("customer", "account"):
    _path = f"/{TYPES[_name].about.path}/{{row_id:int}}/sessions"
    router.add_api_route(_path, sessions_tab, name=f"{_name} sessions")


def _shown(reader: Principal, entity: EntityType, name: str) -> str:
    return name if reader.sees_personal else str(masked(entity[entity.about.title], name))
