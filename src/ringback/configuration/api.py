"""The configuration over HTTP: /api/v1/configuration. Secrets are told by their ids."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, JsonValue
from typing_extensions import TypedDict

from ringback import clock
from ringback.access.dependencies import CurrentActor, may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.configuration.dependencies import CurrentScope, ScopeToWrite, Service
from ringback.configuration.schemas import (
    BadValue,
    Change,
    ConfigurationError,
    Draft,
    DraftChanged,
    Entry,
    NotVerified,
    OptionState,
    UnknownEntry,
    UnknownOption,
)
from ringback.configuration.service import LONGEST_REASON, ConfigurationService
from ringback.problem import Problem

router = APIRouter(prefix="/api/v1/configuration", tags=["configuration"])

Reader = Annotated[Principal, may(Permission.CONFIGURATION_READ)]
_MOST = 2**53
Version = Annotated[int, Field(ge=0, le=_MOST, description="The draft's version that was read")]


class OptionDocument(TypedDict):
    name: str
    help: str
    unit: str
    scope: str  # "environment": each may have its own value
    type: dict[str, JsonValue]  # of what is given, in the words of JSON Schema
    default: JsonValue
    secret: bool
    value: JsonValue  # what holds; of secrets their ids
    source: str  # default, variable (of the server's environment), installation, applied
    variable: str  # that holds until a value is applied; ""
    applied_by: str
    applied_at: str | None
    entry: int | None  # of the history
    problem: str  # why what is applied does not hold; ""


class DraftValueDocument(TypedDict):
    value: JsonValue  # null: the default
    error: str  # why it cannot be applied; ""
    saved_by: str
    saved_at: str


class VerifiedDocument(TypedDict):
    verification: str  # what an apply must name
    by: str
    at: str


class DraftDocument(TypedDict):
    version: int
    values: dict[str, DraftValueDocument]
    saved_by: str
    saved_at: str | None
    back_to: int | None  # the entry of the history whose values these are
    verified: VerifiedDocument | None


class ProcessDocument(TypedDict):
    host: str
    role: str
    entry: int | None  # up to which it has taken the values in
    at: str | None


class ConfigurationDocument(TypedDict):
    scope: str
    options: list[OptionDocument]
    draft: DraftDocument
    last_entry: int  # of the history of all scopes
    processes: list[ProcessDocument]


class ChangeDocument(TypedDict):
    option: str
    old: JsonValue  # null: the default
    new: JsonValue
    old_told: str
    new_told: str


class VerificationDocument(TypedDict):
    verification: str  # what an apply must name; "" where there are errors, or nothing would change
    errors: dict[str, str]  # option -> reason
    changes: list[ChangeDocument]
    touches: dict[str, list[str]]  # option -> what will come of it


class EntryDocument(TypedDict):
    id: int
    scope: str
    at: str
    by: str
    realm: str
    reason: str
    back_to: int | None
    changes: list[ChangeDocument]


class HistoryDocument(TypedDict):
    entries: list[EntryDocument]
    before: int | None  # for the next page; null: there is none


class DraftRequest(BaseModel, extra="forbid"):
    version: Version
    values: Annotated[
        dict[Annotated[str, Field(max_length=64)], JsonValue],
        Field(
            max_length=200,
            description="Option -> value; null asks for the default. What is not named leaves the draft",
        ),
    ]


class ApplyRequest(BaseModel, extra="forbid"):
    verification: Annotated[str, Field(max_length=64)]
    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)]


class RollbackRequest(BaseModel, extra="forbid"):
    version: Version
    to: Annotated[int, Field(ge=0, le=_MOST, description="The entry whose values come back; 0: before the first")]


@router.get("")
def read_configuration(reader: Reader, service: Service, scope: CurrentScope) -> ConfigurationDocument:
    """Every option with what holds and why, the draft, and which processes have taken in what was applied last."""
    return _document(service, scope)


@router.put("")
def save_draft(
    body: DraftRequest, service: Service, scope: ScopeToWrite, actor: CurrentActor
) -> ConfigurationDocument:
    """Replaces the draft, which all who may change the configuration share. 409: somebody saved since `version`."""
    try:
        service.save(actor, scope, body.values, body.version, replace=True)
    except ConfigurationError as error:
        raise problem_of(error) from error
    return _document(service, scope)


@router.post("/verify")
def verify_draft(service: Service, scope: ScopeToWrite, actor: CurrentActor) -> VerificationDocument:
    """Looks at types and bounds, at what would change, and at what that touches. Changes nothing that holds."""
    try:
        verification = service.verify(actor, scope)
    except ConfigurationError as error:
        raise problem_of(error) from error
    return {
        "verification": verification.token,
        "errors": verification.errors,
        "changes": [_change(service, each) for each in verification.changes],
        "touches": verification.touched,
    }


@router.post("/apply")
def apply_draft(body: ApplyRequest, service: Service, scope: ScopeToWrite, actor: CurrentActor) -> EntryDocument:
    """Makes the verified draft hold on all processes within 5 seconds. 409: verify again."""
    try:
        return _entry(service, service.apply(actor, scope, body.verification, body.reason))
    except ConfigurationError as error:
        raise problem_of(error) from error


@router.get("/history")
def read_history(
    reader: Reader,
    service: Service,
    scope: CurrentScope,
    before: Annotated[int | None, Query(ge=0, le=_MOST)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> HistoryDocument:
    """What was applied, newest first: who, when, why, and each option's old and new value."""
    entries = service.history(scope, before, limit + 1)
    more = len(entries) > limit
    return {
        "entries": [_entry(service, each) for each in entries[:limit]],
        "before": entries[limit - 1].id if more else None,
    }


@router.post("/rollback")
def roll_back(
    body: RollbackRequest, service: Service, scope: ScopeToWrite, actor: CurrentActor
) -> ConfigurationDocument:
    """Makes a draft of what held after an entry of the history; verify and apply it."""
    try:
        service.roll_back(actor, scope, body.to, body.version)
    except ConfigurationError as error:
        raise problem_of(error) from error
    return _document(service, scope)


def problem_of(error: ConfigurationError) -> Problem:
    field = error.names[0] if error.names else None
    match error:
        case UnknownEntry():
            return Problem(404, str(error), title="No such entry")
        case DraftChanged():
            return Problem(409, str(error), title="The draft was changed")
        case NotVerified():
            return Problem(409, str(error), title="Not verified")
        case UnknownOption() | BadValue():
            return Problem(422, str(error), field=field)
        case _:
            return Problem(422, str(error), field="reason")


def _document(service: ConfigurationService, scope: str) -> ConfigurationDocument:
    states, draft = service.overview(scope)
    last, processes = service.processes()
    return {
        "scope": scope,
        "options": [_option(each) for each in states],
        "draft": _draft(service, draft),
        "last_entry": last,
        "processes": [
            {"host": each.host, "role": each.role, "entry": each.entry, "at": _told(each.at)} for each in processes
        ],
    }


def _option(state: OptionState) -> OptionDocument:
    option = state.option
    return {
        "name": option.name,
        "help": option.help,
        "unit": option.unit,
        "scope": option.scope,
        "type": _json(option.kind.schema),  # type: ignore[typeddict-item]
        "default": _json(option.kind.show(option.kind.store(option.default))),
        "secret": option.kind.secret,
        "value": _json(option.kind.show(state.stored)),
        "source": state.source,
        "variable": option.variable,
        "applied_by": state.by,
        "applied_at": _told(state.at),
        "entry": state.entry,
        "problem": state.problem,
    }


def _draft(service: ConfigurationService, draft: Draft) -> DraftDocument:
    verified = draft.verified
    return {
        "version": draft.version,
        "values": {
            name: {
                "value": _shown(service, name, each.given),
                "error": each.error,
                "saved_by": each.saved_by,
                "saved_at": _moment(each.saved_at),
            }
            for name, each in draft.values.items()
        },
        "saved_by": draft.saved_by,
        "saved_at": _told(draft.saved_at),
        "back_to": draft.back_to,
        "verified": {"verification": verified.token, "by": verified.by, "at": _moment(verified.at)}
        if verified
        else None,
    }


def _entry(service: ConfigurationService, entry: Entry) -> EntryDocument:
    return {
        "id": entry.id,
        "scope": entry.scope,
        "at": _moment(entry.at),
        "by": entry.by,
        "realm": entry.realm,
        "reason": entry.reason,
        "back_to": entry.back_to,
        "changes": [_change(service, each) for each in entry.changes],
    }


def _change(service: ConfigurationService, change: Change) -> ChangeDocument:
    return {
        "option": change.name,
        "old": _shown(service, change.name, change.old),
        "new": _shown(service, change.name, change.new),
        "old_told": change.old_told,
        "new_told": change.new_told,
    }


def _shown(service: ConfigurationService, name: str, stored: object) -> JsonValue:
    """Of an option that is gone nothing is known, not even whether it was a secret."""
    try:
        option = service.option(name)
    except UnknownOption:
        return None
    return None if stored is None else _json(option.kind.show(stored))  # type: ignore[arg-type]


def _json(value: object) -> JsonValue:
    if isinstance(value, list | tuple):
        return [_json(each) for each in value]
    if isinstance(value, dict):
        return {str(name): _json(each) for name, each in value.items()}
    return value  # type: ignore[return-value]


def _told(moment: datetime | None) -> str | None:
    return None if moment is None else _moment(moment)


def _moment(moment: datetime) -> str:
    return clock.isoformat(clock.to_us(moment))
