"""Pages of the audit log: the search, one record with its causes and effects, the log of an entity, and verification."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import RedirectResponse, StreamingResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from ringback import clock
from ringback.access.dependencies import CurrentActor, CurrentSettings, NotAllowed, Records, may
from ringback.access.masking import Kind as Mask
from ringback.access.masking import mask
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.audit import asked as asked_for
from ringback.audit import catalogue, queries, service, verifying
from ringback.audit.asked import PRESETS, Asked
from ringback.audit.relay import Lag, lag, store_name
from ringback.audit.telling import ToldRecord, column_places, sees_installation
from ringback.billing.entities.fields import EntityType
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.pages_object import tabs
from ringback.billing.entities.pages_values import amount, in_sentence
from ringback.changes.schemas import REALMS, Actor
from ringback.events import BadCursor, EventStore, EventStoreError, SearchTimedOut
from ringback.problem import Problem
from ringback.records.engine import reading
from ringback.records.tables import INSTALLATION
from ringback.settings import Settings
from ringback.web import flash
from ringback.web.templating import render, viewer_zone

router = APIRouter(include_in_schema=False)
MOST_EXPORTED = 1_000_000  # records of one CSV
CSV_COLUMNS = (
    "id", "seq", "time", "environment", "sentence", "action", "entity_type", "entity_id", "entity_name", "version",
    "changes", "customer_id", "account_id", "amount", "balance_before", "balance_after", "currency", "actor",
    "actor_kind", "realm", "address", "request_id", "cause_id", "root_id", "reason", "comment", "hash",
)  # fmt: skip
REALM_WORDS = {"console": "console", "api": "API", "cli": "command line", "task": "task", "engine": "billing engine"}


async def event_store(request: Request) -> EventStore:
    store: EventStore = request.app.state.events
    return store


Events = Annotated[EventStore, Depends(event_store)]
Auditor = Annotated[Principal, may(Permission.AUDIT_READ)]


@router.get("/audit")
def search_page(
    request: Request,
    reader: Auditor,
    records: Records,
    events: Events,
    settings: CurrentSettings,
    actor: CurrentActor,
) -> Response:
    asked = asked_of(request, reader)
    if not asked.errors and _typed_times(request):
        return RedirectResponse(asked.url(), status_code=303)  # the URL means the same to every reader
    page, problem, status = _search(records, events, reader, asked, request.query_params.get("cursor"))
    if page is not None:
        service.note_search(records, reader, actor, service.SEARCHED, dict(asked.told()), len(page.records))
    tz = viewer_zone(request)
    return _render(
        request, "search.html", reader, status, asked=asked, page=page, problem=problem,
        more_url=asked.later_url(page.cursor) if page and page.cursor else "",
        is_later="cursor" in request.query_params, presets=PRESETS, chips=asked.chips(),
        types=asked_for.type_choices(), properties=asked_for.property_choices(), realms=REALMS,
        picked=[_for_input(us, tz) for us in (asked.start_us, asked.end_us)],
        lag=search_lag(records, settings, asked.query.environments if asked.query else reader.environments[:1]),
        state=_state(records, reader), places=column_places(page.records) if page else 2,
    )  # fmt: skip


@router.get("/audit/export.csv")
def export_csv(request: Request, reader: Auditor, records: Records, events: Events, actor: CurrentActor) -> Response:
    """Everything that the search finds, streamed."""
    asked = asked_of(request, reader)
    return csv_response(records, events, reader, actor, asked)


@router.get("/audit/verification")
def verification_page(request: Request, reader: Auditor, records: Records, settings: CurrentSettings) -> Response:
    template = "verification_part.html" if "hx-request" in request.headers else "verification.html"
    environment = reader.environments[0]
    with reading(records, (environment,)) as session:
        run = verifying.latest(session, environment)
    running = run is not None and verifying.is_running(run)
    return _render(
        request, template, reader, state=_state(records, reader), run=run, running=running,
        broke_off=run is not None and run.finished_at is None and not running, environment=environment,
        lag=search_lag(records, settings, (environment,)), us=clock.to_us,
    )  # fmt: skip


@router.post("/audit/verification")
def start_verification(
    reader: Annotated[Principal, may(Permission.AUDIT_READ, Permission.AUDIT_VERIFY)],
    records: Records,
    settings: CurrentSettings,
    actor: CurrentActor,
) -> Response:
    response = RedirectResponse("/audit/verification", status_code=303)
    try:
        verifying.start(records, settings, reader.environments[0], actor)
    except verifying.IsRunning:
        flash.flash(response, "It is being verified already.", "warn")
    except OSError as error:
        flash.flash(response, f"The verification could not be started: {error}", "bad")
    return response


@router.get("/audit/{record_id}")
def record_page(
    request: Request,
    record_id: int,
    reader: Auditor,
    records: Records,
    actor: CurrentActor,
    unfold: Annotated[list[int] | None, Query(max_length=100)] = None,
    all_: Annotated[bool, Query(alias="all")] = False,
) -> Response:
    """One record whole, causes above it and effects below."""
    if record_id > 2**63 - 1:
        raise _no_such(record_id)
    try:
        found = service.chain(records, reader, record_id, unfolded=unfold or (), all_shown=all_)
    except service.RecordNotFound:
        raise _no_such(record_id) from None
    service.note_record(records, reader, actor, found.record)
    linked = reader.may(Permission.CUSTOMERS_READ) and found.record.environment in reader.environments
    return _render(
        request, "record.html", reader, record=found.record, chain=found, unfolded=unfold or [], linked=linked
    )  # fmt: skip


def log_page(
    request: Request,
    row_id: Annotated[int, Path(ge=1, le=2**63 - 1)],
    reader: Auditor,
    records: Records,
    actor: CurrentActor,
    kind: str = "change",
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
) -> Response:
    """The tab of an entity's page: its own log, or of a customer or account everything that is theirs."""
    entity = next(each for each in TYPES.values() if each.about.path == request.url.path.split("/")[1])
    if not reader.may(entity.read):
        raise NotAllowed(entity.read)
    environment = reader.environments[0]
    kind = kind if kind in ("change", "read", "all") else "change"
    wanted = "" if kind == "all" else kind
    page = service.log_of(records, reader, of_entity(environment, entity, row_id), before=before, kind=wanted)
    name, exists = _name_of(records, reader, entity, row_id, page.records)
    if not name:
        one = in_sentence(entity.about.label)
        raise Problem(404, f"There is no {one} {row_id} here, and no record of one.", title=f"No such {one}")
    if entity.personal:
        service.note_read_of(records, reader, actor, (entity.name, str(row_id), name))
    href = f"/{entity.about.path}/{row_id}"
    return _render(
        request, "log.html", reader, entity=entity, page=page, title=_shown_name(reader, entity, name), kind=kind,
        href=href, exists=exists, tabs=tabs(entity, row_id, reader), tab="audit",
        more_url=f"{href}/audit?kind={kind}&before={page.cursor}" if page.cursor else "", is_later=before is not None,
        places=column_places(page.records), state=_state(records, reader), row_id=row_id,
    )  # fmt: skip


for _entity in TYPES.values():
    router.add_api_route(f"/{_entity.about.path}/{{row_id:int}}/audit", log_page, name=f"{_entity.name} audit log")


def of_entity(environment: str, entity: EntityType, row_id: int) -> Any:
    if entity.name == "customer":
        return queries.of_customer(environment, row_id)
    if entity.name == "account":
        return queries.of_account(environment, row_id)
    return queries.of_entity(environment, entity.name, str(row_id))


def asked_of(request: Request, reader: Principal) -> Asked:
    environments = (reader.environments[0], *((INSTALLATION,) if sees_installation(reader) else ()))
    asked = asked_for.read(request.query_params.multi_items(), viewer_zone(request), clock.now_us(), environments)
    if asked.query is not None:
        try:
            service.check(reader, asked.query)
        except service.NotForThisReader as error:
            asked.errors[error.field] = error.reason
            asked.query = None
    return asked


def csv_response(records: Any, events: EventStore, reader: Principal, actor: Actor, asked: Asked) -> Response:
    """Raises Problem. The first page is read before the answer begins, so that an error is an error."""
    if asked.query is None:
        field, reason = next(iter(asked.errors.items()))
        raise Problem(400, reason, field=field)
    pages = service.every(records, events, reader, asked.query, MOST_EXPORTED)
    try:
        first = next(pages, [])
        count = events.count_audit(asked.query, MOST_EXPORTED) if len(first) == service.MOST else len(first)
    except EventStoreError as error:
        raise Problem(503, f"The event store could not be read: {error}") from error
    service.note_search(records, reader, actor, service.EXPORTED, dict(asked.told()), count)
    name = f"audit-{reader.environments[0]}.csv"
    return StreamingResponse(
        _csv_lines(first, pages),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _csv_lines(first: list[ToldRecord], pages: Iterator[list[ToldRecord]]) -> Iterator[str]:
    line = io.StringIO()
    writer = csv.writer(line)
    writer.writerow(CSV_COLUMNS)
    for page in chain([first], pages):
        yield from _written(line, writer, page)


def _written(line: io.StringIO, writer: Any, page: Sequence[ToldRecord]) -> Iterator[str]:
    for record in page:
        writer.writerow([harmless(cell) for cell in csv_row(record)])
    yield line.getvalue()
    line.seek(0)
    line.truncate()


def csv_row(record: ToldRecord) -> list[str]:
    changes = "; ".join(f"{each.label}: {each.old or '–'} → {each.new or '–'}" for each in record.changes)
    values: dict[str, object] = {
        "time": clock.isoformat(record.at_us),
        "changes": changes,
        "customer_id": record.customer.id if record.customer else "",
        "account_id": record.account.id if record.account else "",
    }
    return [
        str(found) if (found := values.get(name, getattr(record, name, ""))) is not None else ""
        for name in CSV_COLUMNS
    ]


def harmless(cell: str) -> str:
    """What a spreadsheet would take for a formula is a text; a negative amount stays a number."""
    is_formula = cell[:1] in ("=", "+", "@", "\t", "\r") or (
        cell[:1] == "-" and not cell[1:].replace(".", "", 1).isdigit()
    )
    return f"'{cell}" if is_formula else cell


def search_lag(records: Any, settings: Settings, environments: Sequence[str]) -> Lag | None:
    """None: nobody can say."""
    try:
        return lag(records, store_name(settings), tuple(environments))
    except SQLAlchemyError:
        return None


def _search(
    records: Any, events: EventStore, reader: Principal, asked: Asked, cursor: str | None
) -> tuple[service.Page | None, str, int]:
    """(page, what kept it from being one, HTTP status)."""
    if asked.query is None:
        return None, "", 400
    try:
        return service.search(records, events, reader, asked.query, cursor=cursor), "", 200
    except BadCursor as error:
        return None, f"The list cannot go on from there: {error}", 400
    except SearchTimedOut as error:
        return None, f"The search was stopped: {error}", 504
    except EventStoreError as error:
        return None, f"The event store could not be read: {error}", 503


def _typed_times(request: Request) -> bool:
    texts = (request.query_params.get("from", ""), request.query_params.get("to", ""))
    return any(text and not text.endswith("Z") for text in texts)


def _for_input(us: int, tz: Any) -> str:
    return clock.from_us(us).astimezone(tz).strftime("%Y-%m-%dT%H:%M:%S") if us else ""


def _state(records: Any, reader: Principal) -> service.ChainState:
    return service.chain_state(records, reader.environments[0])


def _name_of(
    records: Any, reader: Principal, entity: EntityType, row_id: int, told: Sequence[ToldRecord]
) -> tuple[str, bool]:
    """What it is called, and whether it still exists; "" where there never was one."""
    with reading(
        records, reader.environments if entity.about.group == "environments" else reader.environments[:1]
    ) as session:
        row = session.get(entity.model, row_id)
        if row is not None:
            return row.told_as() or f"#{row_id}", True
        last = queries.newest(session, queries.of_entity(reader.environments[0], entity.name, str(row_id)), 1, None)
        return (last[0].entity_name or f"#{row_id}") if last else "", False


def _shown_name(reader: Principal, entity: EntityType, name: str) -> str:
    fields = [each for each in entity.fields if each.name == entity.about.title and each.personal]
    if not fields or reader.sees_personal:
        return name
    how: Mask = fields[0].personal  # type: ignore[assignment]
    return mask(name, how)


def _no_such(record_id: int) -> Problem:
    return Problem(
        404, f"There is no audit record {record_id} here: it is of another environment, or past its days.",
        title="No such record",
    )  # fmt: skip


def _render(request: Request, template: str, reader: Principal, status: int = 200, **more: Any) -> Response:
    return render(
        request, f"audit/{template}", status, masks=not reader.sees_personal, money=amount,
        realm_words=REALM_WORDS, type_href=_type_href, messages=catalogue.messages(), **more,
    )  # fmt: skip


def _type_href(kind: str, id_: int) -> str:
    return f"/{TYPES[kind].about.path}/{id_}"
