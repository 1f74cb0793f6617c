"""The audit log over HTTP: /api/v1/audit."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from ringback import clock
from ringback.access.dependencies import CurrentActor, CurrentSettings, Records
from ringback.audit import service
from ringback.audit.pages import Auditor, Events, asked_of, csv_response, search_lag
from ringback.audit.telling import ToldRecord
from ringback.events import BadCursor, EventStoreError, SearchTimedOut
from ringback.problem import Problem

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])


class PropertyChange(BaseModel):
    old: Any = Field(description="As it was stored; masked where the reader may not see it")
    new: Any = None
    label: str
    old_text: str = Field(description="In words")
    new_text: str


class AuditRecordDocument(BaseModel):
    """One change or read."""

    id: int
    seq: int = Field(description="Its place in the chain of its environment")
    environment: str
    at: datetime
    sentence: str
    action: str = Field(description="created, changed, deleted, read, or a room's own such as payment.made")
    kind: str = Field(description="change or read")
    entity_type: str
    entity_id: str
    entity_name: str
    version: int | None = Field(description="Of the entity after it")
    changes: dict[str, PropertyChange]
    arguments: dict[str, Any]
    i_customer: int | None
    i_account: int | None
    amount: Decimal | None
    balance_before: Decimal | None
    balance_after: Decimal | None
    currency: str
    actor: str
    actor_kind: str
    realm: str
    address: str
    request_id: str
    cause_id: int | None = Field(description="The record that led to this one")
    root_id: int = Field(description="The first cause")
    reason: str
    comment: str
    hash: str = Field(description="SHA-256, hexadecimal")


class AuditPageDocument(BaseModel):
    records: list[AuditRecordDocument]
    cursor: str | None = Field(description="For the next page; null: there is nothing more")
    lag_records: int | None = Field(description="Records that cannot be searched yet; null: unknown")
    lag_seconds: float | None


class ChainNodeDocument(BaseModel):
    depth: int = Field(description="0 the root cause")
    relation: str = Field(description="this, cause (above it) or effect")
    unseen_cause: bool = Field(description="Led to by a record of another environment, or one that is gone")
    record: AuditRecordDocument


class ChainDocument(BaseModel):
    """Causes before their effects."""

    record_id: int
    root_id: int
    total: int
    complete: bool = Field(description="False: the tree has more records than are given")
    nodes: list[ChainNodeDocument]


def _some(description: str) -> Any:
    return Query(description=description)


@router.get("", responses={200: {"content": {"text/csv": {}}}})
def search_audit(
    request: Request,
    reader: Auditor,
    records: Records,
    events: Events,
    settings: CurrentSettings,
    actor: CurrentActor,
    last: Annotated[str, _some("1h, 24h, 7d, 30d or 180d")] = "30d",
    from_: Annotated[str, Query(alias="from", description="RFC 3339, instead of last")] = "",
    to: Annotated[str, _some("RFC 3339, exclusive")] = "",
    type_: Annotated[list[str] | None, Query(alias="type", description="Entity type; several are or-ed")] = None,
    id_: Annotated[str, Query(alias="id", description="Of the entity")] = "",
    name: Annotated[str, _some("Words of the names of entity, customer and account; * ends a beginning")] = "",
    action: Annotated[list[str] | None, _some("Several are or-ed")] = None,
    kind: Annotated[str, _some("change or read")] = "",
    property_: Annotated[
        list[str] | None, Query(alias="property", description="That changed; several are or-ed")
    ] = None,
    realm: Annotated[list[str] | None, _some("console, api, cli, task or engine")] = None,
    user: Annotated[str, _some("Who did it")] = "",
    ip: Annotated[str, _some("From where; * ends a beginning")] = "",
    request_id: Annotated[str, Query(alias="request", description="Id of the HTTP request")] = "",
    customer: Annotated[str, _some("Id of the customer whose log it stands in")] = "",
    account: Annotated[str, _some("Id of the account")] = "",
    min_: Annotated[str, Query(alias="min", description="Amount at least")] = "",
    max_: Annotated[str, Query(alias="max", description="Amount at most")] = "",
    personal: Annotated[str, _some("yes: personal data was read or changed; no: the others")] = "",
    limit: Annotated[int, Query(ge=1, le=service.MOST)] = service.PAGE,
    cursor: str | None = None,
    format_: Annotated[
        str, Query(alias="format", pattern="^(json|csv)$", description="csv: all of it, streamed")
    ] = "json",
) -> AuditPageDocument:
    """Newest first. Filters are and-ed. Searching by name takes the permission personal.read."""
    asked = asked_of(request, reader)
    if asked.query is None:
        field, reason = next(iter(asked.errors.items()))
        raise Problem(403 if field == "name" else 400, reason, field=field)
    if format_ == "csv":
        return csv_response(records, events, reader, actor, asked)  # type: ignore[return-value]
    try:
        page = service.search(records, events, reader, asked.query, limit=limit, cursor=cursor)
    except BadCursor as error:
        raise Problem(400, str(error), title="The list cannot go on from there", field="cursor") from error
    except SearchTimedOut as error:
        raise Problem(504, str(error)) from error
    except EventStoreError as error:
        raise Problem(503, str(error)) from error
    service.note_search(records, reader, actor, service.SEARCHED, dict(asked.told()), len(page.records))
    behind = search_lag(records, settings, asked.query.environments)
    return AuditPageDocument(
        records=[document(each) for each in page.records],
        cursor=page.cursor,
        lag_records=behind.records if behind else None,
        lag_seconds=behind.seconds if behind else None,
    )


@router.get("/{record_id}")
def read_record(record_id: int, reader: Auditor, records: Records, actor: CurrentActor) -> AuditRecordDocument:
    try:
        told = service.open_record(records, reader, _id(record_id))
    except service.RecordNotFound:
        raise _no_such(record_id) from None
    service.note_record(records, reader, actor, told)
    return document(told)


@router.get("/{record_id}/chain")
def read_chain(record_id: int, reader: Auditor, records: Records, actor: CurrentActor) -> ChainDocument:
    """Everything that led to the record, and everything that it and its causes led to."""
    try:
        chain = service.chain(records, reader, _id(record_id), all_shown=True)
    except service.RecordNotFound:
        raise _no_such(record_id) from None
    service.note_record(records, reader, actor, chain.record)
    return ChainDocument(
        record_id=record_id,
        root_id=chain.record.root_id,
        total=chain.total,
        complete=not chain.is_cut,
        nodes=[
            ChainNodeDocument(
                depth=node.depth, relation=node.relation, unseen_cause=node.unseen_cause, record=document(node.record)
            )
            for node in chain.nodes
        ],
    )


def document(told: ToldRecord) -> AuditRecordDocument:
    texts = {each.name: each for each in told.changes}
    return AuditRecordDocument(
        id=told.id,
        seq=told.seq,
        environment=told.environment,
        at=clock.from_us(told.at_us),
        sentence=told.sentence,
        action=told.action,
        kind="read" if told.is_read else "change",
        entity_type=told.entity_type,
        entity_id=told.entity_id,
        entity_name=told.entity_name,
        version=told.version,
        changes={
            name: PropertyChange(
                old=old, new=new, label=texts[name].label, old_text=texts[name].old, new_text=texts[name].new
            )
            for name, (old, new) in told.raw_changes.items()
        },
        arguments=dict(told.raw_arguments),
        i_customer=told.customer.id if told.customer else None,
        i_account=told.account.id if told.account else None,
        amount=told.amount,
        balance_before=told.balance_before,
        balance_after=told.balance_after,
        currency=told.currency,
        actor=told.actor,
        actor_kind=told.actor_kind,
        realm=told.realm,
        address=told.address,
        request_id=told.request_id,
        cause_id=told.cause_id,
        root_id=told.root_id,
        reason=told.reason,
        comment=told.comment,
        hash=told.hash,
    )


def _id(record_id: int) -> int:
    if not 0 < record_id < 2**63:
        raise service.RecordNotFound
    return record_id


def _no_such(record_id: int) -> Problem:
    return Problem(404, f"There is no audit record {record_id} here.", title="No such record")
