"""The forms that make and change an entity, and the dialog that deletes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from sqlalchemy.orm import Session
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse, Response

from ringback import clock
from ringback.access.dependencies import CurrentActor, Records
from ringback.access.schemas import Principal
from ringback.billing.entities import queries, service
from ringback.billing.entities.errors import EntityErrors, InUse, Meanwhile, StaleVersion
from ringback.billing.entities.fields import Entity, EntityType, Field, Kind
from ringback.billing.entities.known import Known
from ringback.billing.entities.pages_act import Act
from ringback.billing.entities.pages_base import (
    LIST,
    ONE,
    PATHS,
    Posted,
    TypeOfPath,
    Writer,
    Writing,
    act_page,
    load,
    page,
    record_text,
    text_field,
    walls,
    writes_new,
    zone_of,
)
from ringback.billing.entities.pages_form import (
    Conflict,
    EntityForm,
    Line,
    form_fields,
    make_inputs,
    text_of,
    typed,
    typed_texts,
)
from ringback.billing.entities.pages_object import Link
from ringback.billing.entities.pages_values import NOTHING, in_sentence
from ringback.billing.entities.values import read
from ringback.changes.schemas import Actor
from ringback.changes.service import do_changing
from ringback.records.engine import UnitOfWork, reading
from ringback.web.flash import flash

MONEY_KINDS = (Kind.MONEY, Kind.DECIMAL)


def register(router: APIRouter) -> None:
    router.add_api_route(f"{LIST}/new", new_page, methods=["GET"])
    router.add_api_route(f"{LIST}/new", create, methods=["POST"])
    router.add_api_route(f"{ONE}/edit", edit_page, methods=["GET"])
    router.add_api_route(f"{ONE}/edit", change, methods=["POST"])
    router.add_api_route(f"{ONE}/delete", delete_page, methods=["GET"])
    router.add_api_route(f"{ONE}/delete", delete, methods=["POST"])


def new_page(request: Request, writer: Writer, entity: TypeOfPath, records: Records) -> Response:
    """What the URL gives stands in the form already: links by id, such as ?customer_id=12."""
    zone, _ = zone_of(request)
    texts = {each.name: _default_text(each, zone) for each in form_fields(entity)}
    given = {name: value for name, value in request.query_params.items() if name in texts}
    writes_new(writer, entity)
    with reading(records, walls(writer, entity)) as session:
        for name, value in given.items():
            each = entity[name]
            texts[name] = f"#{value}" if each.kind is Kind.LINK and value.isdecimal() else value[:255]
        _name_links(session, writer, entity, texts)
        form = _form(request, writer, entity, texts, None, session)
    return _form_page(request, writer, entity, form, None)


def create(
    request: Request, writer: Writer, entity: TypeOfPath, records: Records, actor: CurrentActor, posted: Posted
) -> Response:
    environments, environment = writes_new(writer, entity)
    zone, _ = zone_of(request)
    texts, _removed = typed_texts(entity, posted, is_new=True, sees_personal=writer.sees_personal)
    given, errors = _given(entity, texts, frozenset(), zone)
    comment = text_field(posted, "comment")

    def make(work: UnitOfWork) -> tuple[Entity, str]:
        if errors:
            _, others = service.propose(entity, None, given, Known(work, environment))
            raise EntityErrors({**others, **errors})
        row = service.create(work, entity, environment, given)
        return row, Writing(work, writer).title(entity, row)

    try:
        row, title = do_changing(records, actor, environments, make, comment=comment)
    except EntityErrors as refused:
        with reading(records, walls(writer, entity)) as session:
            form = _form(request, writer, entity, texts, None, session, errors=refused.errors)
        form.comment = comment
        return _form_page(request, writer, entity, form, None, status=422)
    is_seen = row.environment in walls(writer, entity)  # a new environment is not, until it is chosen
    response = RedirectResponse(f"/{entity.about.path}" + (f"/{row.id}" if is_seen else ""), status_code=303)
    flash(response, f"The {in_sentence(entity.about.label)} {title} is created.")
    return response


def edit_page(request: Request, row_id: int, writer: Writer, entity: TypeOfPath, records: Records) -> Response:
    with reading(records, walls(writer, entity)) as session:
        row = load(session, entity, row_id)
        form = _form(request, writer, entity, _texts_of(request, session, writer, entity, row), row, session)
        title = Writing(session, writer).title(entity, row)
    return _form_page(request, writer, entity, form, row, title)


def change(
    request: Request,
    row_id: int,
    writer: Writer,
    entity: TypeOfPath,
    records: Records,
    actor: CurrentActor,
    posted: Posted,
) -> Response:
    zone, _ = zone_of(request)
    texts, removed = typed_texts(entity, posted, is_new=False, sees_personal=writer.sees_personal)
    given, errors = _given(entity, texts, removed, zone)
    version = text_field(posted, "version")
    base = int(version) if version.isascii() and version.isdecimal() and len(version) < 16 else 0
    comment = text_field(posted, "comment")
    try:
        row, changed = _change(records, writer, entity, row_id, _chosen(given, posted), base, actor, comment, errors)
    except (EntityErrors, StaleVersion) as refused:
        with reading(records, walls(writer, entity)) as session:
            row = load(session, entity, row_id)
            problems = refused.errors if isinstance(refused, EntityErrors) else {}
            if isinstance(refused, StaleVersion):
                conflict, texts = _merged(session, entity, row, refused, texts, zone, Writing(session, writer))
            form = _form(request, writer, entity, texts, row, session, errors=problems)
            form.version = base
            if isinstance(refused, StaleVersion):
                form.conflict, form.version = conflict, refused.version
            form.comment = comment
            title = Writing(session, writer).title(entity, row)
        return _form_page(request, writer, entity, form, row, title, status=409 if form.conflict else 422)
    response = RedirectResponse(f"/{entity.about.path}/{row_id}", status_code=303)
    flash(response, "Saved." if changed else "Nothing was changed: all values are as before.")
    return response


def delete_page(request: Request, row_id: int, writer: Writer, entity: TypeOfPath, records: Records) -> Response:
    with reading(records, walls(writer, entity)) as session:
        row = load(session, entity, row_id)
        title = Writing(session, writer).title(entity, row)
        act = _deletion(entity, row, title)
        try:
            service.check_unused(session, entity, row)
        except InUse as refused:
            _refuse(act, title, refused, row)
    return act_page(request, act, entity, writer)


def delete(
    request: Request,
    row_id: int,
    writer: Writer,
    entity: TypeOfPath,
    records: Records,
    actor: CurrentActor,
    posted: Posted,
) -> Response:
    with reading(records, walls(writer, entity)) as session:
        row = load(session, entity, row_id)
        title = Writing(session, writer).title(entity, row)
    version = text_field(posted, "version")
    known = int(version) if version.isascii() and version.isdecimal() and len(version) < 16 else None

    def remove(work: UnitOfWork) -> None:
        service.delete(work, entity, row.environment, row_id, known)

    try:
        do_changing(records, actor, walls(writer, entity), remove, comment=text_field(posted, "comment"))
    except InUse as refused:
        act = _deletion(entity, row, title)
        _refuse(act, title, refused, row)
        return act_page(request, act, entity, writer, status=409)
    except StaleVersion:
        act = _deletion(entity, row, title)
        act.problems.append("It was changed since you opened this. Look at it again before you delete it.")
        return act_page(request, act, entity, writer, status=409)
    response = RedirectResponse(f"/{entity.about.path}", status_code=303)
    flash(response, f"The {in_sentence(entity.about.label)} {title} is deleted.")
    return response


def _change(
    records: Any, writer: Principal, entity: EntityType, row_id: int, given: Mapping[str, object], version: int,
    actor: Actor, comment: str, errors: Mapping[str, str],
) -> tuple[Entity, bool]:  # fmt: skip
    def do(work: UnitOfWork) -> tuple[Entity, bool]:
        environment = load(work, entity, row_id).environment
        if errors:
            row = service.locked(work, entity, environment, row_id)
            known = Known(work, environment)
            _, others = service.propose(entity, row, given, known, sees_personal=writer.sees_personal)
            raise EntityErrors({**others, **errors})
        return service.change(work, entity, environment, row_id, given, version, sees_personal=writer.sees_personal)

    return do_changing(records, actor, walls(writer, entity), do, comment=comment)


def _given(
    entity: EntityType, texts: Mapping[str, str], removed: frozenset[str], zone: ZoneInfo
) -> tuple[dict[str, object], dict[str, str]]:
    """What the service is given, and what cannot be given to it. Secrets that were left empty stay."""
    given: dict[str, object] = {}
    errors: dict[str, str] = {}
    for name, text in texts.items():
        each = entity[name]
        if each.secret and not text:
            if name in removed:
                given[name] = None
            continue
        try:
            given[name] = typed(each, text, zone=zone)
        except ValueError as error:
            errors[name] = str(error)
    return given, errors


def _chosen(given: dict[str, object], posted: FormData) -> dict[str, object]:
    """After a conflict: where theirs was chosen, the field is left as it is."""
    return {name: value for name, value in given.items() if text_field(posted, f"keep-{name}") != "theirs"}


def _merged(
    session: Session, entity: EntityType, row: Entity, refused: StaleVersion, texts: Mapping[str, str], zone: ZoneInfo,
    writing: Writing,
) -> tuple[Conflict, dict[str, str]]:  # fmt: skip
    """What only they changed is theirs, what only the writer changed the writer's; where both did, the writer chooses."""
    known = Known(session, row.environment)
    writing.for_rows(entity, [row])
    changes = refused.changes or _differing(entity, row, texts)
    people = {(each.who, each.at) for each in changes}
    merged, lines = dict(texts), []
    for each in changes:
        described = entity[each.field]
        now = getattr(row, each.field)
        mine = texts.get(each.field)
        if described.secret:
            both = bool(mine)
        elif mine is None:
            both = False
        else:
            meant = _meant(described, mine, known, zone)
            both = meant != now and (meant != _meant(described, each.was, known, zone) or not refused.changes)
            if not both:
                title = writing.link_text(described, now) if described.kind is Kind.LINK else ""
                merged[each.field] = text_of(described, now, zone=zone, title=title)
        if not refused.changes and not both:
            continue
        many = len(people) > 1
        lines.append(
            Line(
                name=each.field,
                label=each.label,
                was=record_text(described, each.was, writing) if refused.changes else NOTHING,
                theirs="set" if described.secret and now else record_text(described, now, writing),
                yours=("new" if described.secret else mine or NOTHING) if both else "",
                both=both,
                mine=both,
                who=each.who if many else "",
                us=clock.to_us(each.at) if many and each.at else None,
            )
        )
    one = changes[0] if len(people) == 1 else None
    at = one.at if one else None
    return Conflict(tuple(lines), one.who if one else "", clock.to_us(at) if at else None), merged


def _differing(entity: EntityType, row: Entity, texts: Mapping[str, str]) -> list[Meanwhile]:
    """Where nobody knows what changed: every field is looked at."""
    return [
        Meanwhile(each.name, each.label, None, None, "", None) for each in entity.fields if each.name in texts and row
    ]


def _meant(described: Field, given: object, known: Known, zone: ZoneInfo) -> object:
    """The value that a text stands for, or JSON of a record; what cannot be read stands for itself."""
    try:
        value = read(described, typed(described, given, zone=zone) if isinstance(given, str) else given)
    except ValueError:
        return given
    if described.kind is Kind.LINK and isinstance(value, str):
        found = known.linked(described, value)
        return found.id if found is not None else value
    return value


def _default_text(each: Field, zone: ZoneInfo) -> str:
    return "" if each.default is None else text_of(each, each.default, zone=zone)


def _texts_of(
    request: Request, session: Session, writer: Principal, entity: EntityType, row: Entity
) -> dict[str, str]:
    """The entity as its form has it."""
    zone, _ = zone_of(request)
    writing = Writing(session, writer)
    writing.for_rows(entity, [row])
    texts = {}
    for each in form_fields(entity):
        value = getattr(row, each.name)
        title = writing.link_text(each, value) if each.kind is Kind.LINK else ""
        texts[each.name] = text_of(each, value, zone=zone, title=title, sees_personal=writer.sees_personal)
    return texts


def _name_links(session: Session, writer: Principal, entity: EntityType, texts: dict[str, str]) -> None:
    """#12 becomes the name of the entity 12."""
    writing = Writing(session, writer)
    for each in entity.fields:
        text = texts.get(each.name, "")
        if each.kind is Kind.LINK and text.removeprefix("#").isdecimal() and len(text) < 16:
            id_ = int(text.removeprefix("#"))
            writing.for_links(each, {id_})
            texts[each.name] = writing.link_text(each, id_)


def _form(
    request: Request, writer: Principal, entity: EntityType, texts: Mapping[str, str], row: Entity | None,
    session: Session, *, errors: Mapping[str, str] | None = None,
) -> EntityForm:  # fmt: skip
    _, zone_name = zone_of(request)
    currency = queries.currencies(session, entity, [row]).get(row.id, "") if row is not None else ""
    units = {
        each.name: " ".join(filter(None, (currency, each.unit))) for each in entity.fields if each.kind in MONEY_KINDS
    }
    shown = dict(texts)
    if row is not None:  # what is not typed stands there as it is
        kept = _texts_of(request, session, writer, entity, row)
        shown = {**kept, **shown}
    inputs = make_inputs(
        entity,
        shown,
        is_new=row is None,
        sees_personal=writer.sees_personal,
        zone_name=zone_name,
        set_secrets=frozenset(each.name for each in entity.fields if each.secret and row and getattr(row, each.name)),
        units=units,
        errors=errors,
        paths=PATHS,
    )
    return EntityForm(inputs, row.version if row is not None else None, dict(errors or {}))


def _form_page(
    request: Request, writer: Principal, entity: EntityType, form: EntityForm, row: Entity | None, title: str = "",
    status: int = 200,
) -> Response:  # fmt: skip
    one, path = in_sentence(entity.about.label), entity.about.path
    return page(
        request,
        "form.html",
        entity,
        writer,
        status,
        form=form,
        row=row,
        title=title,
        heading=f"Edit {title}" if row is not None else f"New {one}",
        action=f"/{path}/{row.id}/edit" if row is not None else f"/{path}/new",
        back=f"/{path}/{row.id}" if row is not None else f"/{path}",
        save="Save" if row is not None else f"Create {one}",
    )


def _deletion(entity: EntityType, row: Entity, title: str) -> Act:
    one, href = in_sentence(entity.about.label), f"/{entity.about.path}/{row.id}"
    return Act(
        heading=f"Delete the {one} {title}?",
        action=f"{href}/delete",
        back=href,
        confirms=True,
        destroys=True,
        button=f"Delete the {one}",
        hidden=[("version", str(row.version))],
        told=[f"{title} is taken away for good. Its audit log stays."],
    )


def _refuse(act: Act, title: str, refused: InUse, row: Entity) -> None:
    act.heading = f"{title} cannot be deleted"
    act.refusal = str(refused)
    act.users = [
        Link(str(use), f"/{use.path}?{urlencode({use.filter: row.id})}" if use.filter else f"/{use.path}")
        for use in refused.uses
    ]
