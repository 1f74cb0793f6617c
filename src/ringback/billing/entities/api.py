"""Entities over HTTP: /api/v1/customers, /api/v1/accounts and so on, one set of endpoints for each type."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Body, Query, Request
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, create_model
from pydantic import Field as Described
from sqlalchemy import Engine
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response, StreamingResponse

from ringback import clock
from ringback.access.dependencies import CurrentActor, Records, may
from ringback.access.schemas import Principal
from ringback.billing.entities import documents, service, tables
from ringback.billing.entities.errors import WHOLE, EntityErrors, EntityNotFound, InUse, OtherCount, StaleVersion
from ringback.billing.entities.fields import EntityType, Field
from ringback.billing.entities.many import Bulk, Import, Outcome, Report
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.personal import masked
from ringback.billing.entities.queries import BadQuery, ListQuery, every, find, page, told_statuses
from ringback.billing.entities.values import GREATEST_ID
from ringback.changes.schemas import Actor, Json
from ringback.changes.service import do_changing
from ringback.problem import Problem
from ringback.records.engine import UnitOfWork, reading
from ringback.records.wall import EVERYWHERE, Environments

PREFIX = "/api/v1"
MOST_IMPORTED = 64 * 1024 * 1024  # bytes of a file
ERRORS = (EntityErrors, EntityNotFound, StaleVersion, InUse, OtherCount, BadQuery)
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_Id = Annotated[int, InPath(alias="id")]
_AnyId = Annotated[int, Described(ge=-GREATEST_ID, le=GREATEST_ID)]
_Comment = Annotated[str, Query(max_length=500, description="Why; kept with the audit record")]


class OutcomeDocument(BaseModel):
    """What became, or would become, of one row."""

    row: int
    status: Literal["created", "changed", "unchanged", "deleted", "refused"]
    id: int | None
    title: str
    changes: Annotated[dict[str, tuple[Any, Any]], Described(description="Field: old and new value")]
    errors: Annotated[dict[str, str], Described(description="Field: what is wrong; empty: the whole")]


class OutcomesDocument(BaseModel):
    dry_run: bool
    applied: Annotated[bool, Described(description="Whether anything was written")]
    counts: Annotated[dict[str, int], Described(description="Rows by status")]
    rows: list[OutcomeDocument]


def import_paths() -> dict[str, int]:
    """Paths that take larger bodies, and how large."""
    return {f"{PREFIX}/{kind.about.path}/import": MOST_IMPORTED for kind in TYPES.values()}


def problem_of(error: Exception) -> Problem:
    """An error of this room as HTTP tells it; `errors` has all that is wrong, by field."""
    match error:
        case EntityErrors():
            field = next(iter(error.errors), None)
            return Problem(
                422, str(error), title="This cannot be saved", field=field or None, more={"errors": error.errors}
            )
        case EntityNotFound():
            return Problem(404, str(error), title="Nothing here")
        case StaleVersion():
            changes = [
                {"field": each.field, "label": each.label, "was": each.was, "now": each.now, "who": each.who,
                 "at": clock.isoformat(clock.to_us(each.at)) if each.at else None}
                for each in error.changes
            ]  # fmt: skip
            more = {"version": error.version, "changes": changes}
            return Problem(409, str(error), title="Changed meanwhile", field="version", more=more)
        case InUse():
            uses = [
                {"type": use.type, "count": use.count, "url": _list_url(use.api or use.path, use.filter, error)}
                for use in error.uses
            ]
            return Problem(409, str(error), title="In use", more={"uses": uses})
        case OtherCount():
            return Problem(409, str(error), title="Another number", field="count", more={"count": error.found})
        case BadQuery():
            return Problem(422, str(error), title="The list cannot be shown like this", field=error.parameter)
    raise error


def make_router(kind: EntityType) -> APIRouter:
    router = APIRouter(prefix=f"{PREFIX}/{kind.about.path}", tags=[kind.about.plural])
    one = documents.document_model(kind)
    reader, writer = Annotated[Principal, may(kind.read)], Annotated[Principal, may(kind.write)]
    label, many = kind.about.label, kind.about.plural

    def add(
        path: str, method: str, endpoint: Callable[..., Any], about: str, types: Mapping[str, Any], **more: Any
    ) -> None:
        endpoint.__annotations__ |= types
        verb = endpoint.__name__
        router.add_api_route(
            path, endpoint, methods=[method], summary=about, description=kind.about.help,
            operation_id=f"{verb}_{kind.name}", name=f"{verb}_{kind.name}", **more,
        )  # fmt: skip

    def list_(principal: Any, actor: CurrentActor, records: Records, query: Any) -> Response:
        wanted = _query(kind, query)
        with reading(records, _seen(kind, principal)) as session:
            found = page(session, kind, wanted, sees_personal=principal.sees_personal)
            statuses = told_statuses(session, kind, found.rows)
        _note_list(records, actor, principal, kind, wanted, len(found.rows), "list")
        rows = [
            documents.document(kind, row, statuses.get(row.id), sees_personal=principal.sees_personal)
            for row in found.rows
        ]
        return _json(
            {
                documents.list_name(kind): rows,
                "cursor": found.cursor,
                "total": found.total,
                "more_than_total": found.more_than_total,
            }
        )

    def create(principal: Any, actor: CurrentActor, records: Records, body: Any, comment: _Comment = "") -> Response:
        environments, environment = _written(kind, principal)

        def do(work: UnitOfWork) -> tuple[Any, Any]:
            row = service.create(work, kind, environment, body.model_dump(exclude_unset=True))
            return row, told_statuses(work, kind, [row]).get(row.id)

        row, status = do_changing(records, actor, environments, do, comment=comment)
        return _json(documents.document(kind, row, status, sees_personal=principal.sees_personal), 201)

    def read(principal: Any, actor: CurrentActor, records: Records, id_: _Id) -> Response:
        with reading(records, _seen(kind, principal)) as session:
            row = find(session, kind, id_)
            status = told_statuses(session, kind, [row]).get(row.id)
        if principal.sees_personal and kind.personal:
            do_changing(records, actor, _seen(kind, principal), lambda work: service.note_read(work, kind, row))
        return _json(documents.document(kind, row, status, sees_personal=principal.sees_personal))

    def change(
        principal: Any, actor: CurrentActor, records: Records, id_: _Id, body: Any, comment: _Comment = ""
    ) -> Response:
        given = body.model_dump(exclude_unset=True)
        version = given.pop("version")

        def do(work: UnitOfWork) -> tuple[Any, Any]:
            environment = _environment_of(work, kind, principal, id_)
            row, _ = service.change(
                work, kind, environment, id_, given, version, sees_personal=principal.sees_personal
            )
            return row, told_statuses(work, kind, [row]).get(row.id)

        try:
            row, status = do_changing(records, actor, _seen(kind, principal), do, comment=comment)
        except StaleVersion as error:
            raise _masked_stale(kind, error, principal) from None
        return _json(documents.document(kind, row, status, sees_personal=principal.sees_personal))

    def delete(
        principal: Any,
        actor: CurrentActor,
        records: Records,
        id_: _Id,
        version: int | None = None,
        comment: _Comment = "",
    ) -> Response:
        def do(work: UnitOfWork) -> None:
            service.delete(work, kind, _environment_of(work, kind, principal, id_), id_, version)

        try:
            do_changing(records, actor, _seen(kind, principal), do, comment=comment)
        except StaleVersion as error:
            raise _masked_stale(kind, error, principal) from None
        return Response(status_code=204)

    def bulk(principal: Any, actor: CurrentActor, records: Records, body: Any, comment: _Comment = "") -> Response:
        given: Any = body.model_dump(exclude_unset=True)
        if body.action == "change" and body.values is None:
            raise EntityErrors({"values": "Say what shall be changed."})
        if (body.ids is None) == (body.filter is None):
            raise EntityErrors({"ids": "Give either ids or a filter; an empty filter is all."})
        chosen = _query(kind, body.filter) if body.filter is not None else ListQuery(ids=body.ids)
        work = Bulk(
            records, actor, _seen(kind, principal)[0], kind, comment, principal.sees_personal,
            chosen, body.count, given["values"] if body.action == "change" else None,
        )  # fmt: skip
        report = Report(body.dry_run)
        return _outcomes(kind, principal, report, work.outcomes(report, all_or_nothing=body.all_or_nothing))

    async def import_(
        principal: Any, actor: CurrentActor, records: Records, request: Request,
        dry_run: Annotated[bool, Query(description="Only say what would become of each row")] = True,
        all_or_nothing: Annotated[bool, Query(description="Else the rows that are good are taken")] = True,
        file: Annotated[str, Query(max_length=255, description="Its name, for the audit log")] = "",
        comment: _Comment = "",
    ) -> Response:  # fmt: skip
        with tempfile.NamedTemporaryFile(prefix="ringback-import-") as kept:
            async for chunk in request.stream():
                await run_in_threadpool(kept.write, chunk)
            kept.flush()

            def do() -> Response:
                rows = tables.read_csv(kind, Path(kept.name))
                environment = _seen(kind, principal)[0]
                work = Import(records, actor, environment, kind, comment, principal.sees_personal, rows, file)
                report = Report(dry_run)
                return _outcomes(kind, principal, report, work.outcomes(report, all_or_nothing=all_or_nothing))

            return await run_in_threadpool(do)

    def export(principal: Any, actor: CurrentActor, records: Records, query: Any) -> Response:
        return exported(records, actor, principal, kind, _query(kind, query), query.how)

    page_query, all_query = documents.query_model(kind, "List"), documents.query_model(kind, "Export")
    as_page, as_one = _answer(documents.page_model(kind, one)), _answer(one)
    as_outcomes = _answer(OutcomesDocument)
    add(
        "",
        "GET",
        list_,
        f"{many}: list, search and filter",
        {"principal": reader, "query": Annotated[page_query, Query()]},
        responses=as_page,
    )
    if kind.name != "environment":
        bulk_body = _bulk_model(kind, documents.query_model(kind, "Filter"))
        csv_body = {"requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}}
        add(
            "/bulk",
            "POST",
            bulk,
            f"Change or delete many {many}",
            {"principal": writer, "body": bulk_body},
            responses=as_outcomes,
        )
        add(
            "/import",
            "POST",
            import_,
            f"Import {many} from CSV",
            {"principal": writer},
            responses=as_outcomes,
            openapi_extra=csv_body,
        )
    add(
        "/export",
        "GET",
        export,
        f"{many} as CSV or XLSX",
        {"principal": reader, "query": Annotated[all_query, Query()]},
        responses={200: {"content": {"text/csv": {}, _XLSX: {}}}},
    )
    add(
        "",
        "POST",
        create,
        f"Make: {label}",
        {"principal": writer, "body": Annotated[documents.new_model(kind), Body()]},
        status_code=201,
        responses={201: as_one[200]},
    )
    add("/{id}", "GET", read, f"One: {label}", {"principal": reader}, responses=as_one)
    add(
        "/{id}",
        "PATCH",
        change,
        f"Change: {label}",
        {"principal": writer, "body": Annotated[documents.change_model(kind), Body()]},
        responses=as_one,
    )
    add("/{id}", "DELETE", delete, f"Delete: {label}", {"principal": writer}, status_code=204)
    return router


def exported(
    records: Engine,
    actor: Actor,
    principal: Principal,
    kind: EntityType,
    query: ListQuery,
    how: Literal["csv", "xlsx"],
) -> FileResponse:
    """A list as a file, made on disk before the answer begins. Raises BadQuery."""
    sees = principal.sees_personal
    descriptor, made = tempfile.mkstemp(prefix="ringback-export-", suffix=f".{how}")
    os.close(descriptor)
    path = Path(made)
    try:
        counted = _Counted()
        with reading(records, _seen(kind, principal)) as session, tempfile.TemporaryDirectory() as folder:
            found = every(session, kind, query, sees_personal=sees)
            rows = counted(tables.cells(session, kind, found, sees_personal=sees))
            if how == "csv":
                with path.open("w", encoding="utf-8", newline="") as text:
                    text.writelines(tables.write_csv(kind, rows))
            else:
                with path.open("wb") as file:
                    tables.write_xlsx(kind, rows, file, Path(folder))
        _note_list(records, actor, principal, kind, query, counted.rows, how)
    except BaseException:
        path.unlink()
        raise
    name = f"{documents.list_name(kind)}-{clock.now():%Y-%m-%d}.{how}"
    media = "text/csv; charset=utf-8" if how == "csv" else _XLSX
    return FileResponse(path, media_type=media, filename=name, background=BackgroundTask(path.unlink))


class _Counted:
    def __init__(self) -> None:
        self.rows = 0

    def __call__(self, rows: Iterator[Any]) -> Iterator[Any]:
        for row in rows:
            self.rows += 1
            yield row


def _seen(kind: EntityType, principal: Principal) -> tuple[str, ...]:
    """The one environment that a request is about; an environment itself is one of all that the reader belongs to."""
    return principal.belongs_to if kind.name == "environment" else principal.environments[:1]


def _written(kind: EntityType, principal: Principal) -> tuple[Environments, str]:
    """Where a new one is made. Raises Problem: a new environment is made by who stands above all."""
    if kind.name != "environment":
        return principal.environments[:1], principal.environments[0]
    if not principal.everywhere:
        raise Problem(403, "A new environment is made by an administrator of all environments.", title="Not allowed")
    return EVERYWHERE, ""


def _environment_of(work: UnitOfWork, kind: EntityType, principal: Principal, id_: int) -> str:
    return find(work, kind, id_).environment if kind.name == "environment" else principal.environments[0]


def _query(kind: EntityType, given: Any) -> ListQuery:
    known = given.model_dump(exclude_none=True)
    own = {name: known.pop(name) for name in ("q", "sort", "cursor", "limit", "how") if name in known}
    return ListQuery(own.get("q", ""), known, own.get("sort", ""), own.get("cursor", ""), own.get("limit", 0) or 50)


def _note_list(
    records: Engine, actor: Actor, principal: Principal, kind: EntityType, query: ListQuery, count: int, how: str
) -> None:
    """A list of personal data in clear is one fact."""
    if not (principal.sees_personal and kind.personal and count):
        return
    shown: dict[str, Json] = {**query.filters, **({"q": query.search} if query.search else {})}
    environment = principal.environments[0]
    do_changing(
        records, actor, (environment,), lambda work: service.note_list(work, kind, environment, shown, count, how)
    )


def _masked_stale(kind: EntityType, error: StaleVersion, principal: Principal) -> StaleVersion:
    if principal.sees_personal:
        return error
    from dataclasses import replace

    changes = [
        replace(each, was=masked(kind[each.field], each.was), now=masked(kind[each.field], each.now))
        if kind[each.field].personal
        else each
        for each in error.changes
    ]
    return StaleVersion(error.version, changes)


def _outcomes(kind: EntityType, principal: Principal, report: Report, found: Iterator[Outcome]) -> Response:
    """Kept on disk while they come, so that an error is an error and not half an answer, and memory stays small."""
    kept = tempfile.TemporaryFile(prefix="ringback-outcomes-")  # noqa: SIM115 -- closed when it was sent
    try:
        for number, outcome in enumerate(found):
            kept.write(b"," if number else b"")
            kept.write(orjson.dumps(_outcome(kind, outcome, principal)))
    except BaseException:
        kept.close()
        raise
    head = {"dry_run": report.dry_run, "applied": report.applied, "counts": dict(report.counts)}

    def parts() -> Iterator[bytes]:
        with kept:
            kept.seek(0)
            yield orjson.dumps(head)[:-1] + b',"rows":['
            while chunk := kept.read(1 << 16):
                yield chunk
            yield b"]}"

    return StreamingResponse(parts(), media_type="application/json")


def _outcome(kind: EntityType, outcome: Outcome, principal: Principal) -> dict[str, Any]:
    title, changes = outcome.title, dict(outcome.changes)
    if not principal.sees_personal:
        names: dict[str, Field] = {field.name: field for field in kind.fields}
        for name, (old, new) in changes.items():
            if names[name].personal:
                changes[name] = masked(names[name], old), masked(names[name], new)
        named = names.get(kind.about.title)
        title = masked(named, title) if named is not None and named.personal else title
    api = {field.name: field.api for field in kind.fields}
    return {
        "row": outcome.row,
        "status": outcome.status,
        "id": outcome.id,
        "title": title,
        "changes": {api[name]: change for name, change in changes.items()},
        "errors": {api.get(name, name): sentence for name, sentence in outcome.errors.items()},
    }


def _bulk_model(kind: EntityType, query: type[BaseModel]) -> Any:
    fields: dict[str, Any] = {
        "action": (Literal["change", "delete"], ...),
        "ids": (
            Annotated[list[_AnyId], Described(max_length=100_000)] | None,
            Described(None, description="Those, or"),
        ),
        "filter": (query | None, Described(None, description="all that the list shows with it")),
        "count": (int, Described(description="How many that are: another number is refused", ge=0)),
        "values": (documents.values_model(kind) | None, Described(None, description="What is set")),
        "all_or_nothing": (bool, Described(False, description="Else those that can be changed are")),
        "dry_run": (bool, Described(False, description="Only say what would become of each")),
    }
    name = query.__name__.removesuffix("FilterQuery")
    return Annotated[create_model(f"{name}Bulk", __config__=ConfigDict(extra="forbid"), **fields), Body()]


def _answer(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    return {200: {"model": model}}


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status_code=status, media_type="application/json")


def _list_url(path: str, name: str, error: InUse) -> str:
    return f"{PREFIX}/{path}?{name}={error.id}" if name else f"{PREFIX}/{path}"


router = APIRouter()
for _kind in TYPES.values():
    router.include_router(make_router(_kind))
__all__ = ["ERRORS", "MOST_IMPORTED", "WHOLE", "exported", "import_paths", "make_router", "problem_of", "router"]
