"""The pages of the three steps: a group's form saves the draft, the draft is verified and applied, the history goes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Path, Query, Request
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse, Response

from ringback import clock
from ringback.access.dependencies import CurrentActor, RequiredUser, may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.changes.schemas import Actor
from ringback.configuration.dependencies import CurrentScope, ScopeToWrite, Service
from ringback.configuration.kinds import Json
from ringback.configuration.options import Option
from ringback.configuration.schemas import (
    BadValue,
    ConfigurationError,
    Draft,
    DraftChanged,
    NotVerified,
    OptionState,
    Source,
    UnknownEntry,
    Verification,
)
from ringback.configuration.sealed_list import ids_of
from ringback.configuration.service import LONGEST_REASON, ConfigurationService
from ringback.problem import Problem
from ringback.records.tables import INSTALLATION
from ringback.web.flash import flash
from ringback.web.formats import plural
from ringback.web.templating import render

router = APIRouter(prefix="/configuration", include_in_schema=False)

Reader = Annotated[Principal, may(Permission.CONFIGURATION_READ)]
PAGE = 25  # entries of the history
_LONGEST_VERSION = 2**53
Number = Annotated[int, Path(ge=0, le=_LONGEST_VERSION)]


async def posted(request: Request, user: RequiredUser) -> FormData:
    """Read already for its token."""
    return await request.form()


@dataclass(frozen=True, slots=True)
class Field:
    """One option in a group's form. `was` is what the form showed: only what differs from it is saved."""

    state: OptionState
    kind: str  # number, select, text, secrets
    text: str  # in the field; "" is the default
    was: str
    placeholder: str
    choices: Sequence[str]
    kept: Sequence[str]  # ids of secrets that stay
    ids: Sequence[str]  # of all of them
    error: str


@router.get("")
def overview(request: Request, reader: Reader, service: Service, scope: CurrentScope) -> Response:
    """Every option with what holds."""
    states, draft = service.overview(scope)
    groups: dict[str, list[OptionState]] = {}
    for each in states:
        groups.setdefault(each.option.group, []).append(each)
    return _render(request, "overview.html", scope, draft, groups=groups, **_processes(service))


@router.get("/processes")
def processes(request: Request, reader: Reader, service: Service, scope: CurrentScope) -> Response:
    """The part of a page that tells which processes have taken in what was applied last."""
    return render(request, "configuration/processes.html", **_processes(service), to_us=clock.to_us)


@router.get("/groups/{group}")
def group_page(request: Request, group: str, reader: Reader, service: Service, scope: CurrentScope) -> Response:
    return _group(request, service, scope, group)


@router.post("/groups/{group}")
def save(
    request: Request,
    group: str,
    service: Service,
    scope: ScopeToWrite,
    actor: CurrentActor,
    form: Annotated[FormData, Depends(posted)],
    version: Annotated[int, Form(ge=0, le=_LONGEST_VERSION)],
) -> Response:
    """Saves what was changed in the form. When somebody else saved meanwhile, what they saved is shown beside it."""
    options = _options(service, scope, group)
    given: dict[str, Json] = {}
    for each in options:
        if not isinstance(value := _given(form, each), _Left):
            given[each.name] = value
    try:
        draft = service.save(actor, scope, given, version) if given else service.draft(scope)
    except DraftChanged as error:
        return _group(request, service, scope, group, 409, typed=form, problem=str(error))
    except BadValue as error:
        return _group(request, service, scope, group, 422, typed=form, errors={error.names[0]: _reason(error)})
    wrong = [name for name, value in draft.values.items() if value.error]
    if any(service.option(name).group == group for name in wrong):
        return _group(request, service, scope, group, 422)
    response = RedirectResponse(_path(f"/groups/{group}", scope), status_code=303)
    told = f"The draft is saved: {plural(len(draft.values), 'change')}. Nothing changes until it is verified and applied."
    flash(response, told if draft.values else "The draft is empty: nothing differs from what holds.")
    return response


@router.post("/discard")
def discard(
    request: Request,
    service: Service,
    scope: ScopeToWrite,
    actor: CurrentActor,
    version: Annotated[int, Form(ge=0, le=_LONGEST_VERSION)],
) -> Response:
    try:
        service.discard(actor, scope, version)
    except DraftChanged as error:
        return _draft_page(request, service, scope, 409, problem=str(error))
    response = RedirectResponse(_path("", scope), status_code=303)
    flash(response, "The draft is discarded.")
    return response


@router.get("/draft")
def draft_page(request: Request, reader: Reader, service: Service, scope: CurrentScope) -> Response:
    """What the draft would change, before it is verified."""
    return _draft_page(request, service, scope)


@router.post("/verify")
def verify(request: Request, service: Service, scope: ScopeToWrite, actor: CurrentActor) -> Response:
    return _verified(request, service, scope, actor)


@router.post("/apply")
def apply(
    request: Request,
    service: Service,
    scope: ScopeToWrite,
    actor: CurrentActor,
    verification: Annotated[str, Form(max_length=64)],
    reason: Annotated[str, Form(max_length=10_000)] = "",
) -> Response:
    try:
        entry = service.apply(actor, scope, verification, reason)
    except (NotVerified, DraftChanged) as error:
        return _draft_page(request, service, scope, 409, problem=str(error))
    except ConfigurationError as error:
        return _verified(request, service, scope, actor, errors={"reason": str(error)}, reason=reason)
    response = RedirectResponse(_path(f"/history/{entry.id}", scope), status_code=303)
    flash(response, f"Applied: {plural(len(entry.changes), 'option')}. All processes obey within 5 seconds.")
    return response


@router.get("/history")
def history(
    request: Request,
    reader: Reader,
    service: Service,
    scope: CurrentScope,
    before: Annotated[int | None, Query(ge=0, le=_LONGEST_VERSION)] = None,
) -> Response:
    entries = service.history(scope, before, PAGE + 1)
    older = entries[PAGE - 1].id if len(entries) > PAGE else None
    return _render(
        request, "history.html", scope, service.draft(scope), entries=entries[:PAGE], older=older, before=before
    )


@router.get("/history/{number}")
def entry_page(request: Request, number: Number, reader: Reader, service: Service, scope: CurrentScope) -> Response:
    return _entry(request, service, scope, number)


@router.post("/rollback")
def roll_back(
    request: Request,
    service: Service,
    scope: ScopeToWrite,
    actor: CurrentActor,
    to: Annotated[int, Form(ge=0, le=_LONGEST_VERSION)],
    version: Annotated[int, Form(ge=0, le=_LONGEST_VERSION)],
) -> Response:
    try:
        draft = service.roll_back(actor, scope, to, version)
    except DraftChanged as error:
        if to:
            return _entry(request, service, scope, to, 409, problem=str(error))
        return _draft_page(request, service, scope, 409, problem=str(error))
    except UnknownEntry as error:
        raise Problem(404, str(error), title="No such entry") from error
    response = RedirectResponse(_path("/draft", scope), status_code=303)
    then = f"after entry {to}" if to else "before the first entry"
    if draft.values:
        flash(response, f"The draft now holds what held {then}. Verify it, then apply it.")
    else:
        flash(response, f"What holds is what held {then}: there is nothing to apply.", "warn")
    return response


def _group(
    request: Request,
    service: ConfigurationService,
    scope: str,
    group: str,
    status: int = 200,
    *,
    typed: FormData | None = None,
    errors: Mapping[str, str] | None = None,
    problem: str = "",
) -> Response:
    names = {each.name for each in _options(service, scope, group)}
    states, draft = service.overview(scope)
    fields = [_field(each, typed, errors or {}) for each in states if each.option.name in names]
    return _render(
        request,
        "group.html",
        scope,
        draft,
        status,
        group=group,
        groups=_groups(states),
        fields=fields,
        problem=problem,
    )


def _verified(
    request: Request,
    service: ConfigurationService,
    scope: str,
    actor: Actor,
    *,
    errors: Mapping[str, str] | None = None,
    reason: str = "",
) -> Response:
    try:
        verification = service.verify(actor, scope)
    except DraftChanged as error:
        return _draft_page(request, service, scope, 409, problem=str(error))
    status = 422 if verification.errors or errors else 200
    return _draft_page(request, service, scope, status, verification=verification, errors=errors, reason=reason)


def _draft_page(
    request: Request,
    service: ConfigurationService,
    scope: str,
    status: int = 200,
    *,
    verification: Verification | None = None,
    errors: Mapping[str, str] | None = None,
    reason: str = "",
    problem: str = "",
) -> Response:
    states, draft = service.overview(scope)
    return _render(
        request,
        "draft.html",
        scope,
        draft,
        status,
        states={each.option.name: each for each in states},
        verification=verification,
        errors=errors or {},
        reason=reason,
        longest_reason=LONGEST_REASON,
        problem=problem,
    )


def _entry(
    request: Request, service: ConfigurationService, scope: str, number: int, status: int = 200, *, problem: str = ""
) -> Response:
    try:
        entry = service.entry(scope, number)
    except UnknownEntry as error:
        raise Problem(404, str(error), title="No such entry") from error
    draft = service.draft(scope)
    return _render(request, "entry.html", scope, draft, status, entry=entry, problem=problem, **_processes(service))


def _render(request: Request, template: str, scope: str, draft: Draft, status: int = 200, **context: Any) -> Response:
    return render(
        request,
        f"configuration/{template}",
        status,
        scope=scope,
        whole=scope == INSTALLATION,
        environment=request.state.own_environment,
        writes=request.state.writes,
        path=lambda tail="", **query: _path(tail, scope, **query),
        draft=draft,
        to_us=clock.to_us,
        source=_source,
        **context,
    )


def _processes(service: ConfigurationService) -> dict[str, Any]:
    last, found = service.processes()
    return {"last": last, "processes": found}


def _path(tail: str, scope: str, **query: object) -> str:
    if scope != INSTALLATION:
        query["scope"] = "environment"
    return f"/configuration{tail}" + (f"?{urlencode(query)}" if query else "")


def _options(service: ConfigurationService, scope: str, group: str) -> list[Option[Any]]:
    found = [each for each in service.options(scope) if each.group == group]
    if not found:
        raise Problem(404, f"There is no group of options {group} here.", title="No such group")
    return found


def _groups(states: Sequence[OptionState]) -> list[str]:
    return list(dict.fromkeys(each.option.group for each in states))


def _source(state: OptionState) -> str:
    """Where a value comes from, in words, without who and when."""
    match state.source:
        case Source.DEFAULT:
            return "default"
        case Source.VARIABLE:
            return f"from {state.option.variable}"
        case Source.INSTALLATION:
            return "of the installation"
        case Source.APPLIED:
            return "applied"


class _Left(Enum):
    UNCHANGED = "unchanged"


_UNCHANGED: Final = _Left.UNCHANGED


def _given(form: FormData, option: Option[Any]) -> Json | _Left:
    """What the form asks for; _UNCHANGED where it was left as it was."""
    if option.kind.secret:
        had, kept = _all(form, f"had:{option.name}"), _all(form, f"keep:{option.name}")
        add = [each for each in _one(form, f"add:{option.name}").splitlines() if each.strip()]
        if _one(form, f"reset:{option.name}"):
            return None
        return {"keep": kept, "add": add} if add or set(kept) != set(had) else _UNCHANGED
    if f"value:{option.name}" not in form:
        return _UNCHANGED
    text = _one(form, f"value:{option.name}").strip()
    if text == _one(form, f"was:{option.name}"):
        return _UNCHANGED
    return text or None


def _field(state: OptionState, typed: FormData | None, errors: Mapping[str, str]) -> Field:
    option, drafted = state.option, state.drafted
    schema = option.kind.schema
    now = state.stored if state.source is Source.APPLIED else None
    shown = now if drafted is None else drafted.given
    was = text = _text(shown)
    ids = ids_of(state.stored if shown is None else shown) if option.kind.secret else []
    kept = ids
    if typed is not None and _given(typed, option) is not _UNCHANGED:
        text = _one(typed, f"value:{option.name}").strip()
        kept = [each for each in ids if each in _all(typed, f"keep:{option.name}")]
    choices = schema["enum"] if "enum" in schema else ["yes", "no"] if schema["type"] == "boolean" else []
    kind = "secrets" if option.kind.secret else "select" if choices else "text"
    error = errors.get(option.name) or (drafted.error if drafted and text == was else "")
    return Field(
        state=state,
        kind="number" if schema["type"] == "integer" else kind,
        text=text,
        was=was,
        placeholder=state.otherwise.removesuffix(f" {option.unit}"),
        choices=[str(each) for each in choices] if isinstance(choices, list | tuple) else [],
        kept=kept,
        ids=ids,
        error=error,
    )


def _text(stored: Json) -> str:
    if stored is None or isinstance(stored, list | tuple | dict):
        return ""
    return {True: "yes", False: "no"}[stored] if isinstance(stored, bool) else str(stored)


def _one(form: FormData, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""


def _all(form: FormData, name: str) -> list[str]:
    return [each for each in form.getlist(name) if isinstance(each, str)]


def _reason(error: BadValue) -> str:
    """Beside the field its name need not be said."""
    return str(error).removeprefix(f"{error.names[0]}: ")
