"""Where rows come from: sessions, xDRs and invoices, audit records. What comes later is one more class, and a line in
`sources_of`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import Field, TypeAdapter, ValidationError
from sqlalchemy import Engine, and_

from ringback import clock
from ringback.access.masking import mask
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.audit import queries as audit_queries
from ringback.audit import service as audit
from ringback.audit.models import AuditRecord
from ringback.audit.telling import ToldRecord
from ringback.billing.entities.numbers import MOST_NAMES, numbers_of
from ringback.billing.entities.pages_values import amount, day_text
from ringback.billing.ledger.models import Invoice
from ringback.events.store import EventStoreError
from ringback.records.engine import reading
from ringback.sessions.pages.words import KIND_WORDS, outcome_word
from ringback.sessions.schemas import SessionQuery, SessionRow
from ringback.sessions.search import REMEMBERED, Cursor
from ringback.sessions.service import SessionService
from ringback.timeline import queries
from ringback.timeline.schemas import GREATEST_US, BadPlace, Kind, Piece, Row, Source, SourceAway, Subject
from ringback.web.formats import duration, number

_Shape = TypeVar("_Shape")
_FIRST_NUMBERS = (
    f"Sessions are those of the first {MOST_NAMES} numbers and logins of these accounts. "
    "The timeline of an account shows all of its own."
)
_WORDS = {  # of xDRs whose description does not say it
    "charge": "Charge", "fee": "Fee", "tax": "Tax", "adjustment": "Adjustment", "correction": "Correction",
}  # fmt: skip
_MASKED_WORDS = {**_WORDS, "payment": "Payment", "refund": "Refund", "rounding": "Rounding of an invoice"}
_ALWAYS = (
    *_WORDS.values(),
    "account",
    "was charged to an unknown number s",
)  # may stand in a row, whatever its columns
_SIGNS = "(),:"  # that stand beside a column's text


def sources_of(records: Engine, sessions: SessionService, reader: Principal, subject: Subject) -> list[Source]:
    """In the order in which rows of one time stand."""
    found: list[Source] = [Changes(records, reader, subject)]
    if subject.account_id is None:
        found += [
            Invoices(records, reader, subject, "voided"),
            Invoices(records, reader, subject, "issued"),
        ]
    return [*found, Xdrs(records, reader, subject), Sessions(records, sessions, reader, subject)]


class Sessions:
    """Those in which a number or login of the customer's accounts took part."""

    name = "sessions"
    kind: Kind = "sessions"
    permission = Permission.SESSIONS_READ

    def __init__(self, records: Engine, sessions: SessionService, reader: Principal, subject: Subject) -> None:
        self._records, self._sessions, self._reader, self._subject = records, sessions, reader, subject

    def rows(self, start_us: int, end_us: int, place: str, limit: int, words: Sequence[str] = ()) -> Piece:
        seen: dict[str, int] = {}
        if place:
            end_us, seen = _opened(place, _SeenSessions)
        if start_us >= end_us:
            return Piece([])
        of = self._subject
        query = SessionQuery(
            start_us, end_us, customer=of.customer_id if of.account_id is None else None, account=of.account_id,
            environments=(of.environment,), personal=self._reader.sees_personal, customers=True, limit=limit,
            cursor=str(Cursor(0, end_us, tuple(seen))) if place else None,
        )  # fmt: skip
        try:
            found = self._sessions.search(query).rows
        except EventStoreError as error:
            raise SourceAway(f"Sessions could not be read: {error}") from error
        rows = []
        for row in found:
            end_us = min(end_us, row.listed_us + 1)
            # Those of which no leg began before are not found again.
            seen = {id_: began_us for id_, began_us in (seen | {row.id: row.started_us}).items() if began_us < end_us}
            kept = dict(list(seen.items())[-REMEMBERED:])
            rows.append(_session(row, orjson.dumps([end_us, kept]).decode()))
        return Piece(rows, self._note)

    @cached_property
    def _note(self) -> str:
        of = self._subject
        with reading(self._records, (of.environment,)) as session:
            found = numbers_of(session, customer_id=of.customer_id, account_id=of.account_id)
        return _FIRST_NUMBERS if len(found) >= MOST_NAMES else ""


class Xdrs:
    """What moved the balance."""

    name = "xdrs"
    kind: Kind = "money"
    permission = Permission.CUSTOMERS_READ

    def __init__(self, records: Engine, reader: Principal, subject: Subject) -> None:
        self._records, self._reader, self._subject = records, reader, subject

    def rows(self, start_us: int, end_us: int, place: str, limit: int, words: Sequence[str] = ()) -> Piece:
        of = self._subject
        with reading(self._records, (of.environment,)) as session:
            self._currency = queries.currency(session, of.customer_id)
            # What is masked is not searched: how long it takes would tell.
            sought = [each.strip(_SIGNS) for each in words if each.isascii()] if self._reader.sees_personal else []
            sought = [each for each in sought if not any(each in always.lower() for always in _ALWAYS)]
            found = queries.xdrs(session, of, *_moments(start_us, end_us), _after(place), limit, sought)
        return Piece([self._row(each) for each in found])

    def _row(self, xdr: Any) -> Row:
        sees, at_us = self._reader.sees_personal, clock.to_us(xdr.occurred_at)
        together = {f"xdr {xdr.id}", *([f"call {xdr.call_id}"] if xdr.call_id else [])}
        if xdr.invoice_id is not None and xdr.kind in ("charge", "rounding", "correction"):
            together.add(f"{'voided' if xdr.kind == 'correction' else 'issued'} {xdr.invoice_id}")
        account = xdr.charging_id if xdr.charging_id and self._subject.account_id is None else ""
        parts = [
            f"account {account if sees else mask(account, 'number')}" if account else "",
            f"{number(xdr.charged_seconds)} s charged" if xdr.charged_seconds is not None else "",
        ]
        return Row(
            at_us, self.kind, "xdr", str(xdr.id), self._sentence(xdr), f"/xdrs/{xdr.id}", f"[{at_us},{xdr.id}]",
            ", ".join(each for each in parts if each), xdr.amount,
            xdr.balance_after if self._subject.account_id is None else xdr.account_balance_after, self._currency,
            together=frozenset(together),
        )  # fmt: skip

    def _sentence(self, xdr: Any) -> str:
        sees = self._reader.sees_personal
        if xdr.session_key is not None:
            called = xdr.called if sees else mask(xdr.called, "number")
            where = f" ({xdr.destination})" if xdr.destination else ""
            return f"{xdr.service.capitalize()} to {called or 'an unknown number'}{where} was charged"
        if not sees:
            return _MASKED_WORDS.get(xdr.kind, str(xdr.kind))
        return f"{_WORDS[xdr.kind]}: {xdr.description}" if xdr.kind in _WORDS else str(xdr.description)


class Invoices:
    """Those that were issued, or those that were made void: `name`."""

    kind: Kind = "money"
    permission = Permission.CUSTOMERS_READ

    def __init__(self, records: Engine, reader: Principal, subject: Subject, name: str) -> None:
        self.name = name
        self._records, self._reader, self._subject = records, reader, subject

    def rows(self, start_us: int, end_us: int, place: str, limit: int, words: Sequence[str] = ()) -> Piece:
        column: Any = Invoice.issued_at if self.name == "issued" else Invoice.voided_at
        with reading(self._records, (self._subject.environment,)) as session:
            found = queries.invoices(
                session, self._subject, column, *_moments(start_us, end_us), _after(place), limit
            )
        return Piece([self._row(each) for each in found])

    def _row(self, invoice: Invoice) -> Row:
        told = f"Invoice {invoice.number} of {amount(invoice.total, invoice.currency)} {invoice.currency}"
        at: Any = invoice.issued_at if self.name == "issued" else invoice.voided_at
        if self.name == "issued":
            due = f", due on {day_text(invoice.due_on)}" if invoice.due_on else ""
            sentence, detail, total = f"{told} was issued{due}", "", invoice.total
        else:
            why = invoice.void_reason
            sentence, detail, total = (
                f"{told} was made void",
                why if self._reader.sees_personal else mask(why, "text"),
                None,
            )
        at_us = clock.to_us(at)
        return Row(
            at_us, self.kind, "invoice", str(invoice.id), sentence, f"/invoices/{invoice.id}", f"[{at_us},{invoice.id}]",
            detail, total, None, invoice.currency, together=frozenset([f"{self.name} {invoice.id}"]),
        )  # fmt: skip


class Changes:
    """Audit records of what was changed; who looked is told by the audit log alone."""

    name = "changes"
    kind: Kind = "changes"
    permission = Permission.AUDIT_READ

    def __init__(self, records: Engine, reader: Principal, subject: Subject) -> None:
        self._records, self._reader, self._subject = records, reader, subject

    def rows(self, start_us: int, end_us: int, place: str, limit: int, words: Sequence[str] = ()) -> Piece:
        of = self._subject
        before = _opened(place, _RecordId) if place else None
        mine = (
            audit_queries.of_customer(of.environment, of.customer_id)
            if of.account_id is None
            else audit_queries.of_account(of.environment, of.account_id)
        )
        # Not from the start on: they are read from the newest by their ids, and what is too old ends them.
        mine = and_(mine, AuditRecord.at < clock.from_us(end_us))
        found = audit.log_of(self._records, self._reader, mine, limit=limit, before=before, kind="change")
        return Piece([_change(each) for each in found.records if each.at_us >= start_us])


def _session(row: SessionRow, place: str) -> Row:
    what = KIND_WORDS.get(row.kind, row.kind.capitalize())
    caller, called = row.caller or "unknown", row.called or "unknown"
    of = f"{what} of {caller}" if row.kind == "registration" else f"{what} from {caller} to {called}"
    ended = outcome_word(row.outcome).text.lower()
    if row.final_code is not None and row.final_code >= 300:
        ended += f" with {row.final_code} {row.final_phrase}".rstrip()
    talked = f"{duration(row.duration_s)} talked" if row.duration_s is not None else ""
    parts = (talked, ", ".join(row.nodes[:3]))
    return Row(
        row.listed_us, "sessions", "session", row.id, f"{of}: {ended}", f"/sessions/{row.id}", place,
        " · ".join(each for each in parts if each), outcome=row.outcome,
        together=frozenset(f"call {each}" for each in row.call_ids),
    )  # fmt: skip


def _change(record: ToldRecord) -> Row:
    xdr = record.raw_arguments.get("xdr", record.entity_id if record.entity_type == "xdr" else None)
    together = {f"root {record.root_id}", *([f"xdr {xdr}"] if xdr is not None else [])}
    if record.action in ("invoice.issued", "invoice.voided"):
        together.add(f"{record.action.removeprefix('invoice.')} {record.entity_id}")
    by = f"by {record.actor}" if record.actor else ""
    why = " · ".join(each for each in (by, record.reason, record.comment) if each)
    return Row(
        record.at_us, "changes", "audit_record", str(record.id), record.sentence, f"/audit/{record.id}", str(record.id),
        why, record.amount, record.balance_after, record.currency, root=record.root_id, together=frozenset(together),
    )  # fmt: skip


# Places


def _moments(start_us: int, end_us: int) -> tuple[datetime, datetime]:
    return clock.from_us(start_us), clock.from_us(end_us)


def _after(place: str) -> tuple[datetime, int] | None:
    if not place:
        return None
    at_us, id_ = _opened(place, _TimeAndId)
    return clock.from_us(at_us), id_


_Us = Annotated[int, Field(ge=0, lt=GREATEST_US)]
_Id = Annotated[int, Field(ge=0, lt=1 << 53)]
_RecordId: TypeAdapter[int] = TypeAdapter(_Id)
_TimeAndId: TypeAdapter[tuple[int, int]] = TypeAdapter(tuple[_Us, _Id])
_SeenSessions: TypeAdapter[tuple[int, dict[str, int]]] = TypeAdapter(
    tuple[_Us, Annotated[dict[str, int], Field(max_length=REMEMBERED)]]
)


def _opened(place: str, shape: TypeAdapter[_Shape]) -> _Shape:
    """Raises BadPlace."""
    try:
        return shape.validate_json(place)
    except ValidationError:
        raise BadPlace from None
