"""The pages of every entity type, made from its description: list, object and form.

`router` holds them all. What a page of one type shows besides stands in `pages_object`.
"""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from starlette.responses import Response

from ringback.access.dependencies import CurrentActor, Records
from ringback.access.schemas import Principal
from ringback.billing.entities import pages_bulk, pages_edit, pages_import, pages_outside, queries, service
from ringback.billing.entities.api import exported
from ringback.billing.entities.fields import EntityType, Field
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.pages_asked import asked
from ringback.billing.entities.pages_base import (
    BY_PATH,
    LIST,
    ONE,
    Reader,
    TypeOfPath,
    Writing,
    has_route,
    load,
    page,
    told,
    walls,
)
from ringback.billing.entities.pages_list import (
    Column,
    ListView,
    bulk_acts,
    columns,
    url,
)
from ringback.billing.entities.pages_object import (
    HIDDEN_RELATED,
    TABS,
    Link,
    ObjectView,
    Related,
    links_to,
    nothing_of,
    overview_fields,
    sections,
    tab_path,
    tabs,
)
from ringback.billing.entities.pages_values import balance_words, in_sentence
from ringback.billing.entities.queries import BadQuery, ListQuery
from ringback.changes.schemas import Actor
from ringback.changes.service import changing
from ringback.problem import Problem
from ringback.records.engine import reading
from ringback.web.templating import render

router = APIRouter(include_in_schema=False)
FEW = 8  # of what belongs to an entity, on its overview
MOST_SUGGESTED = 10


def list_page(
    request: Request, reader: Reader, entity: TypeOfPath, records: Records, actor: CurrentActor
) -> Response:
    with reading(records, walls(reader, entity)) as session:
        view = asked(session, entity, reader, dict(request.query_params))
        _fill(session, view, reader)
    view.unknown_senders = entity.name == "node" and has_route(request, "/nodes/unknown-senders")
    if view.rows:
        record_list(records, entity, reader, actor, view)
    return page(request, "list.html", entity, reader, 400 if view.errors else 200, list=view)


def suggest(request: Request, reader: Reader, entity: TypeOfPath, records: Records, q: str = "") -> Response:
    """Options of a field that links to this type."""
    with reading(records, walls(reader, entity)) as session:
        found = queries.page(
            session, entity, ListQuery(search=q, limit=MOST_SUGGESTED), sees_personal=reader.sees_personal
        )
        writing = Writing(session, reader)
        options = [(writing.option(entity, row), writing.title(entity, row)) for row in found.rows]
    nothing = (
        f"No {in_sentence(entity.about.label)} matches."
        if q.strip()
        else f"No {in_sentence(entity.about.label)} yet."
    )
    return render(request, "billing/suggestions.html", options=options, nothing=nothing)


def object_page(
    request: Request, row_id: int, reader: Reader, entity: TypeOfPath, records: Records, actor: CurrentActor
) -> Response:
    return _object(request, row_id, reader, entity, records, actor, "overview")


def details_page(
    request: Request, row_id: int, reader: Reader, entity: TypeOfPath, records: Records, actor: CurrentActor
) -> Response:
    return _object(request, row_id, reader, entity, records, actor, "details")


def related_page(
    request: Request, row_id: int, reader: Reader, entity: TypeOfPath, records: Records, actor: CurrentActor
) -> Response:
    """The tab of what most belongs to it, such as the accounts of a customer."""
    if entity.name not in TABS or not request.url.path.endswith(f"/{tab_path(entity)}"):
        raise Problem(404, f"There is nothing at {request.url.path}.", title="Nothing here")
    return _object(request, row_id, reader, entity, records, actor, TABS[entity.name][0])


def export(
    request: Request,
    how: Literal["csv", "xlsx"],
    reader: Reader,
    entity: TypeOfPath,
    records: Records,
    actor: CurrentActor,
) -> Response:
    """All that the list of this URL shows, as a file."""
    with reading(records, walls(reader, entity)) as session:
        view = asked(session, entity, reader, dict(request.query_params))
    if view.errors:
        raise Problem(422, " ".join(view.errors.values()), title="Nothing was exported")
    return exported(records, actor, reader, entity, view.list_query(), how)


def larger_bodies() -> dict[str, int]:
    """Paths that take larger bodies, and how large."""
    found: dict[str, int] = {}
    for path, entity in BY_PATH.items():
        found |= pages_import.paths(f"/{path}") if entity.name != "environment" else {}
    return found


# One route for all types: FastAPI reads each route's signature again when the first request comes.
router.add_api_route(LIST, list_page, methods=["GET"])
router.add_api_route(f"{LIST}/suggest", suggest, methods=["GET"])
router.add_api_route(f"{LIST}/export.{{how}}", export, methods=["GET"])
pages_edit.register(router)
pages_bulk.register(router)
pages_import.register(router)
router.add_api_route(ONE, object_page, methods=["GET"])
router.add_api_route(f"{ONE}/details", details_page, methods=["GET"])
for _tab in sorted({tab_path(TYPES[name]) for name in TABS}):
    router.add_api_route(f"{ONE}/{_tab}", related_page, methods=["GET"])


def _fill(session: Session, view: ListView, reader: Principal, *, limit: int = queries.PAGE) -> None:
    """The rows of the page that is asked for; what cannot be answered is said instead."""
    view.limit = limit
    view.columns = list_columns(view, reader)
    if reader.may(view.entity.write) and view.entity.name != "environment":
        view.bulk = bulk_acts(view.entity)
    if view.errors:
        return
    try:
        found = queries.page(session, view.entity, view.list_query(limit), sees_personal=reader.sees_personal)
    except BadQuery as refused:
        if refused.parameter not in ("cursor", "sort"):
            view.errors[refused.parameter] = str(refused)
            return
        view.problem = str(refused)
        view.params.pop("sort", None)
        view.cursor = ""
        view.columns = list_columns(view, reader)
        found = queries.page(session, view.entity, view.list_query(limit), sees_personal=reader.sees_personal)
    view.total, view.more_than_total = found.total, found.more_than_total
    view.next_cursor = found.cursor or ""
    view.rows = Writing(session, reader).rows(view.entity, found.rows, view.columns)


def list_columns(view: ListView, reader: Principal) -> list[Column]:
    status = ("Status",) if view.entity.name in queries.STATUSES else ()
    sorts = {
        each.name
        for each in view.entity.fields
        if queries.sortable(view.entity, each, sees_personal=reader.sees_personal)
    }
    return columns(view.entity, view.path, view.params, sorts=sorts, told=status, without=view.of)


def record_list(records: Engine, entity: EntityType, reader: Principal, actor: Actor, view: ListView) -> None:
    """That personal data was read in clear is a fact of its own."""
    if not (entity.personal and reader.sees_personal):
        return
    with changing(records, actor, walls(reader, entity)) as work:
        service.note_list(work, entity, reader.environments[0], dict(view.params), len(view.rows))


def _object(
    request: Request, row_id: int, reader: Principal, entity: EntityType, records: Engine, actor: Actor, tab: str
) -> Response:
    with reading(records, walls(reader, entity)) as session:
        row = load(session, entity, row_id)
        writing = Writing(session, reader)
        writing.for_rows(entity, [row])
        view = ObjectView(entity, row, writing.title(entity, row), tab)
        currency = queries.currencies(session, entity, [row]).get(row.id, "")
        _head(session, view, writing, currency)
        shown = overview_fields(entity) if tab == "overview" else list(entity.fields)
        if tab in ("overview", "details"):
            facts = [(each, writing.value(each, row, currency=currency)) for each in shown]
            view.sections = sections(facts, entity.about.label, without_empty=tab == "overview")
        view.related = _related(session, view, reader, request)
    if entity.personal and reader.sees_personal:
        with changing(records, actor, walls(reader, entity)) as work:
            service.note_read(work, entity, row)
    href = f"/{entity.about.path}/{row_id}"
    shown_tabs = tabs(entity, row_id, reader, with_audit=has_route(request, f"{href}/audit"))
    return page(request, "object.html", entity, reader, view=view, tabs=shown_tabs, tab=tab)


def _head(session: Session, view: ObjectView, writing: Writing, currency: str) -> None:
    """Status with its reason, balance in words, whose it is, and where other systems know it."""
    row, entity = view.row, view.entity
    status = queries.told_statuses(session, entity, [row]).get(row.id)
    view.status = told(status) if status else None
    match entity.name:
        case "customer":
            view.balance = balance_words(row.balance, currency, holds_funds=row.balance_control == "prepaid")
        case "account":
            view.balance = balance_words(row.balance, currency, holds_funds=row.billing_model in ("debit", "voucher"))
            of = writing.link(entity["customer_id"], row.customer_id)
            if of is not None and of.href:
                view.crumbs.append(Link(of.text, of.href))
    view.outside = _outside(session, view, writing)


def _outside(session: Session, view: ObjectView, writing: Writing) -> list[Link]:
    """The same in systems beside ours."""
    entity, row = view.entity, view.row
    wanted = {
        "customer": ((pages_outside.CUSTOMER, "Open in CRM"), (pages_outside.TICKET, "Make a ticket")),
        "account": ((pages_outside.ACCOUNT, "Open in CRM"), (pages_outside.TICKET, "Make a ticket")),
    }.get(entity.name, ())
    if not wanted:
        return []
    templates = pages_outside.templates(session, row.environment)
    name = row.told_as() if writing.sees_personal else None
    links = [
        Link(text, pages_outside.filled(templates[each], row.id, name, row.environment)) for each, text in wanted
    ]
    return [link for link in links if link.href]


def _related(session: Session, view: ObjectView, reader: Principal, request: Request) -> list[Related]:
    """On a tab of its own one page of them, on the overview the first few of each."""
    entity, found = view.entity, []
    for other, each in links_to(entity, list(TYPES.values())):
        own_tab = TABS.get(entity.name) == (other.name, each.name)
        if not reader.may(other.read) or (other.name, each.name) in HIDDEN_RELATED:
            continue
        if view.tab == other.name and own_tab:
            return [_related_list(session, view, reader, other, each, dict(request.query_params))]
        if view.tab != "overview":
            continue
        related = _related_list(session, view, reader, other, each, {})
        if related.total or other.about.group == entity.about.group or own_tab:
            found.append(related)
    return found


def _related_list(
    session: Session, view: ObjectView, reader: Principal, other: EntityType, each: Field, params: dict[str, str]
) -> Related:
    row_id = str(view.row.id)
    own_tab = view.tab == other.name
    narrowed = {each.api: row_id}
    listed = ListView(
        other, [], [], narrowed | {k: v for k, v in params.items() if k == "sort"} if own_tab else narrowed
    )
    listed.base = f"{view.href}/{tab_path(view.entity)}" if own_tab else f"/{other.about.path}"
    listed.cursor = params.get("cursor", "") if own_tab else ""
    listed.of = each.api
    _fill(session, listed, reader, limit=queries.PAGE if own_tab else FEW)
    all_url = url(f"/{other.about.path}", narrowed)
    add = url(f"/{other.about.path}/new", {each.name: row_id}) if reader.may(other.write) else ""
    return Related(
        related_title(view.entity, other, each),
        listed,
        listed.total or 0,
        all_url,
        add,
        nothing_of(other, view.entity),
    )


def related_title(entity: EntityType, other: EntityType, each: Field) -> str:
    """``Accounts``; where they link by another word, that too: ``Accounts (alias of)``."""
    plain = each.label.lower() == entity.about.label.lower()
    return other.about.plural if plain else f"{other.about.plural} ({in_sentence(each.label)})"
