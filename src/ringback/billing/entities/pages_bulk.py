"""One act on many entities: those picked on a page, or all that a list shows. What it does is shown before it is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse, Response

from ringback.access.dependencies import CurrentActor, Records
from ringback.access.schemas import Principal
from ringback.billing.entities import queries
from ringback.billing.entities.errors import EntityErrors, OtherCount
from ringback.billing.entities.fields import EntityType, Field
from ringback.billing.entities.many import CHANGED, DELETED, REFUSED, UNCHANGED, Bulk, Outcome, Report
from ringback.billing.entities.pages_act import SHOWN, Act, Effect, counted, verb
from ringback.billing.entities.pages_asked import asked
from ringback.billing.entities.pages_base import (
    LIST,
    ONE,
    PATHS,
    Posted,
    TypeOfMany,
    Writer,
    Writing,
    act_page,
    load,
    record_text,
    text_field,
    walls,
    zone_of,
)
from ringback.billing.entities.pages_form import make_input, typed
from ringback.billing.entities.pages_list import VERBS, settable
from ringback.billing.entities.pages_values import in_sentence
from ringback.billing.entities.queries import BadQuery, ListQuery
from ringback.changes.schemas import Actor
from ringback.problem import Problem
from ringback.records.engine import reading
from ringback.web.flash import flash
from ringback.web.formats import number, plural

MOST_TRIED = 2_000  # of more only the first are tried before, and all when it is done


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be done, and to which."""

    entity: EntityType
    field: Field | None  # None: they are deleted
    text: str | None  # the value, as typed; None: it has to be asked for
    query: ListQuery
    count: int
    hidden: tuple[tuple[str, str], ...]  # says the same in the next form
    single: int | None = None  # the one whose page it was asked on

    @property
    def back(self) -> str:
        return f"/{self.entity.about.path}" + (f"/{self.single}" if self.single else "")

    @property
    def many(self) -> str:
        return counted(self.entity, self.count)


def register(router: APIRouter) -> None:
    router.add_api_route(f"{LIST}/bulk", preview, methods=["POST"])
    router.add_api_route(f"{LIST}/bulk/apply", apply, methods=["POST"])
    router.add_api_route(f"{ONE}/set/{{name}}/{{value}}", set_page, methods=["GET"])


def preview(
    request: Request, writer: Writer, entity: TypeOfMany, records: Records, actor: CurrentActor, posted: Posted
) -> Response:
    with reading(records, walls(writer, entity)) as session:
        wanted = _wanted(session, entity, writer, posted, count=None)
    return _shown(request, records, writer, actor, wanted)


def set_page(
    request: Request, row_id: int, name: str, value: str, writer: Writer, entity: TypeOfMany, records: Records,
    actor: CurrentActor,
) -> Response:  # fmt: skip
    """A flag of one entity, by its verb."""
    if name not in VERBS or value not in ("yes", "no") or not any(each.name == name for each in entity.fields):
        raise Problem(404, f"There is nothing to set by {name!r}.")
    with reading(records, walls(writer, entity)) as session:
        load(session, entity, row_id)
    hidden = (("act", f"{name}:{value}"), ("id", str(row_id)), ("single", str(row_id)))
    wanted = Wanted(entity, entity[name], value, ListQuery(ids=[row_id]), 1, hidden, row_id)
    return _shown(request, records, writer, actor, wanted)


def apply(
    request: Request, writer: Writer, entity: TypeOfMany, records: Records, actor: CurrentActor, posted: Posted
) -> Response:
    count = text_field(posted, "count", 12)
    reason = text_field(posted, "comment")
    with reading(records, walls(writer, entity)) as session:
        wanted = _wanted(session, entity, writer, posted, count=int(count) if count.isdecimal() else 0)
    zone, _ = zone_of(request)
    report = Report(dry_run=False)
    try:
        done_to = _bulk(records, writer, actor, wanted, zone, reason).outcomes(report)
        refused = [outcome for outcome in done_to if outcome.status == REFUSED]
    except OtherCount as other:
        with reading(records, walls(writer, entity)) as session:
            wanted = _wanted(session, entity, writer, posted, count=None)
        return _shown(request, records, writer, actor, wanted, problem=f"Nothing was done. {other}", status=409)
    except EntityErrors as error:
        return _shown(request, records, writer, actor, wanted, problem=str(error), status=422)
    done = _done(wanted, report.counts)
    if refused:
        with reading(records, walls(writer, entity)) as session:
            act = _result(Writing(session, writer), wanted, done, refused)
        return act_page(request, act, entity, writer, status=409)
    back = wanted.back
    query = text_field(posted, "query", 2000)
    if query and not wanted.single:
        back = f"{back}?{query}"
    response = RedirectResponse(back, status_code=303)
    flash(response, done)
    return response


def _wanted(
    session: Session, entity: EntityType, writer: Principal, posted: FormData, *, count: int | None
) -> Wanted:
    """Raises Problem: nothing was picked, or nothing that can be done was named."""
    act = text_field(posted, "act")
    name, colon, value = act.partition(":")
    field = None if act == "delete" else next((each for each in entity.fields if each.name == name), None)
    known = {each.name for each in settable(entity)} | set(VERBS)
    if act != "delete" and (field is None or not colon or name not in known):
        raise Problem(
            422, "Choose what to do with the selected rows, then send the form again.", title="Nothing to do"
        )
    text: str | None = value if value else None
    if field is not None and name not in VERBS:
        text = text_field(posted, name, 4000) if name in posted else None
    hidden = [("act", act)]
    single = text_field(posted, "single", 16)
    ids = [int(one) for one in posted.getlist("id") if isinstance(one, str) and one.isdecimal() and len(one) < 16]
    if text_field(posted, "all"):
        params = dict(parse_qsl(text_field(posted, "query", 2000)))
        view = asked(session, entity, writer, params)
        try:
            if view.errors:
                raise BadQuery("query", " ".join(view.errors.values()))
            query = view.list_query()
            matching = len(queries.matching_ids(session, entity, query, sees_personal=writer.sees_personal))
        except BadQuery as refused:
            raise Problem(422, str(refused)) from None
        hidden += [("all", "1"), ("query", view.query)]
        return Wanted(entity, field, text, query, matching if count is None else count, tuple(hidden))
    if not ids:
        raise Problem(422, "No row is selected. Go back, select rows, and choose again.", title="Nothing is selected")
    ids = list(dict.fromkeys(ids))
    hidden += [("id", str(one)) for one in ids]
    hidden += [("query", text_field(posted, "query", 2000))]
    hidden += [("single", single)] if single.isdecimal() else []
    return Wanted(
        entity, field, text, ListQuery(ids=ids), len(ids) if count is None else count, tuple(hidden),
        int(single) if single.isdecimal() else None,
    )  # fmt: skip


def _bulk(records: Engine, writer: Principal, actor: Actor, wanted: Wanted, zone: Any, reason: str = "") -> Bulk:
    given = None
    if wanted.field is not None:
        try:
            given = {wanted.field.name: typed(wanted.field, wanted.text or "", zone=zone)}
        except ValueError as error:
            raise EntityErrors({wanted.field.name: str(error)}) from None
    environment = writer.environments[0]
    return Bulk(
        records, actor, environment, wanted.entity, reason, writer.sees_personal, wanted.query, wanted.count, given
    )


def _shown(
    request: Request,
    records: Engine,
    writer: Principal,
    actor: Actor,
    wanted: Wanted,
    *,
    problem: str = "",
    status: int = 200,
) -> Response:
    """What would be done; first, where it takes one, the value is asked for."""
    entity = wanted.entity
    act = Act(
        heading=_heading(wanted),
        action=f"/{entity.about.path}/bulk/apply",
        back=wanted.back,
        what=entity.about.label,
        count=wanted.count,
        hidden=[*wanted.hidden],
        problems=[problem] if problem else [],
    )
    if wanted.field is not None and wanted.text is None:
        return _ask(request, writer, wanted, act, {})
    zone, _ = zone_of(request)
    tried = wanted
    if wanted.count > MOST_TRIED:
        with reading(records, walls(writer, entity)) as session:
            ids = queries.matching_ids(session, entity, wanted.query, sees_personal=writer.sees_personal)[:SHOWN]
        tried = Wanted(entity, wanted.field, wanted.text, ListQuery(ids=ids), len(ids), ())
    report = Report(dry_run=True)
    try:
        outcomes = list(_bulk(records, writer, actor, tried, zone).outcomes(report))
    except EntityErrors as error:
        return _ask(request, writer, wanted, act, error.errors)
    except OtherCount as other:
        raise Problem(409, f"{other} Some of them were deleted.", title="The list has changed") from None
    if wanted.field is not None and wanted.field.name not in VERBS:
        wrong = {each.errors.get(wanted.field.name) for each in outcomes}
        if len(wrong) == 1 and (one := wrong.pop()):  # wrong for all of them: it is the value
            return _ask(request, writer, wanted, act, {wanted.field.name: one})
        act.hidden.append((wanted.field.name, wanted.text or ""))
    with reading(records, walls(writer, entity)) as session:
        act.effects = _effects(Writing(session, writer), wanted, outcomes)
    act.more = wanted.count - len(act.effects)
    act.hidden.append(("count", str(wanted.count)))
    act.destroys = wanted.field is None
    act.count = wanted.count
    would = wanted.count if tried is not wanted else report.counts[CHANGED] + report.counts[DELETED]
    if tried is wanted and report.counts[UNCHANGED]:
        act.told.append(f"{counted(entity, report.counts[UNCHANGED])} would stay as before: nothing to change.")
    if tried is wanted and report.counts[REFUSED]:
        act.problems.append(f"{counted(entity, report.counts[REFUSED])} would be refused; the others are done.")
    if tried is not wanted:
        act.told.append(
            f"Each of the {number(wanted.count)} is checked when it is done; the first {SHOWN} are shown here."
        )
    if would:
        act.confirms = True
        act.heading = act.button = _heading(wanted, would)
    return act_page(request, act, entity, writer, status)


def _ask(request: Request, writer: Principal, wanted: Wanted, act: Act, errors: dict[str, str]) -> Response:
    field = wanted.field
    if field is None:
        raise Problem(422, " ".join(errors.values()))
    act.asks, act.action, act.button = True, f"/{wanted.entity.about.path}/bulk", "Show what it does"
    _, zone_name = zone_of(request)
    act.inputs = [
        make_input(field, wanted.text or "", zone_name=zone_name, error=errors.get(field.name, ""), paths=PATHS)
    ]
    act.problems += [text for name, text in errors.items() if name != field.name]
    return act_page(request, act, wanted.entity, writer, 422 if errors else 200)


def _heading(wanted: Wanted, count: int | None = None) -> str:
    many = counted(wanted.entity, wanted.count if count is None else count)
    if wanted.field is None:
        return f"Delete {many}"
    named = verb(wanted.field.name, wanted.text or "")
    return f"{named} {many}" if named else f"Set {in_sentence(wanted.field.label)} of {many}"


def _effects(writing: Writing, wanted: Wanted, outcomes: Sequence[Outcome]) -> list[Effect]:
    """Of the first; those that are refused before the others."""
    first = sorted(outcomes, key=lambda each: each.status != REFUSED)[:SHOWN]
    found = []
    for each in first:
        title = writing.masked_title(wanted.entity, each.title, each.id or 0)
        if each.status == REFUSED:
            found.append(Effect(title, problem=" ".join(each.errors.values())))
        elif wanted.field is None:
            found.append(Effect(title, "exists", "deleted"))
        elif each.status == UNCHANGED:
            found.append(Effect(title, "as before", "as before"))
        else:
            old, new = each.changes.get(wanted.field.name, (None, None))
            found.append(
                Effect(title, record_text(wanted.field, old, writing), record_text(wanted.field, new, writing))
            )
    return found


def _done(wanted: Wanted, counts: Counter[str]) -> str:
    changed = counts[CHANGED] + counts[DELETED]
    said = [f"{_heading(wanted, changed)}: done." if changed else "Nothing was changed."]
    if counts[UNCHANGED]:
        said.append(f"{counted(wanted.entity, counts[UNCHANGED])} stayed as before.")
    return " ".join(said)


def _result(writing: Writing, wanted: Wanted, done: str, refused: Sequence[Outcome]) -> Act:
    entity = wanted.entity
    effects = [
        Effect(writing.masked_title(entity, each.title, each.id or 0), problem=" ".join(each.errors.values()))
        for each in refused[:SHOWN]
    ]
    return Act(
        heading=f"{plural(len(refused), in_sentence(entity.about.label), in_sentence(entity.about.plural))} refused",
        action="",
        back=wanted.back,
        what=entity.about.label,
        told=[done],
        effects=effects,
        more=len(refused) - len(effects),
    )
