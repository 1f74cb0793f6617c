"""Tables of the audit log. Records are added and, when they are past their days, trimmed from the oldest; never changed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from ringback.records.tables import Id, InEnvironment, Record


def _index_where(name: str, condition: str, *columns: str) -> Index:
    where = text(condition)
    return Index(f"ix_audit_records_{name}", *columns, sqlite_where=where, postgresql_where=where)


class AuditRecord(InEnvironment, Record):
    """One change or read. `seq` counts without gaps in its environment; `hash` covers the record and the one before."""

    __tablename__ = "audit_records"
    __table_args__ = (
        UniqueConstraint("environment", "seq"),
        Index("ix_audit_records_entity", "environment", "entity_type", "entity_id", "id"),
        _index_where("customer", "customer_id IS NOT NULL", "environment", "customer_id", "id"),
        _index_where("account", "account_id IS NOT NULL", "environment", "account_id", "id"),
        _index_where("root", "cause_id IS NOT NULL", "root_id", "id"),  # effects: most records have none
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    seq: Mapped[int]
    at: Mapped[datetime]
    entity_type: Mapped[str] = mapped_column(String(32))
    entity_id: Mapped[str] = mapped_column(String(64))
    entity_name: Mapped[str]
    version: Mapped[int | None]  # of the entity after the change
    action: Mapped[str] = mapped_column(String(64))  # created changed deleted read, or a room's own: payment.made
    changes: Mapped[str] = mapped_column(Text)  # JSON {property: [old, new]}
    arguments: Mapped[str] = mapped_column(Text)  # JSON, of the sentence
    customer_id: Mapped[int | None]
    account_id: Mapped[int | None]
    amount: Mapped[int | None]  # 1/100000 of the currency's unit, as the balances
    balance_before: Mapped[int | None]
    balance_after: Mapped[int | None]
    currency: Mapped[str] = mapped_column(String(3))  # "" without amounts
    actor_kind: Mapped[str] = mapped_column(String(16))
    actor_id: Mapped[str] = mapped_column(String(64))
    actor: Mapped[str]
    realm: Mapped[str] = mapped_column(String(16))
    address: Mapped[str] = mapped_column(String(64))
    request_id: Mapped[str] = mapped_column(String(64))
    cause_id: Mapped[int | None]  # the record that led to this one
    root_id: Mapped[int]  # the first cause; its own id where nothing led to it
    reason: Mapped[str]
    comment: Mapped[str] = mapped_column(Text)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))


class AuditChain(InEnvironment, Record):
    """Where the chain of one environment ends, and up to where its oldest records were trimmed."""

    __tablename__ = "audit_chains"
    __table_args__ = (UniqueConstraint("environment"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    seq: Mapped[int]  # of the last record; 0 none yet
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    trimmed_seq: Mapped[int]  # of the last record that is gone; 0 none
    trimmed_hash: Mapped[bytes] = mapped_column(LargeBinary(32))


class AuditAnchor(InEnvironment, Record):
    """A day's end of a chain, signed with a key that is not in the database."""

    __tablename__ = "audit_anchors"
    __table_args__ = (UniqueConstraint("environment", "seq"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    at: Mapped[datetime]
    seq: Mapped[int]
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    key_id: Mapped[str] = mapped_column(String(32))  # which key signed it
    signature: Mapped[bytes] = mapped_column(LargeBinary(64))


class AuditCopy(InEnvironment, Record):
    """How far one event store has copies of the records of one chain."""

    __tablename__ = "audit_copies"

    store: Mapped[str] = mapped_column(String(32), primary_key=True)
    environment: Mapped[str] = mapped_column(String(64), primary_key=True)
    seq: Mapped[int]  # of the last record that is there
    refused: Mapped[int]  # batches of which the store will never take some rows
    problem: Mapped[str] = mapped_column(Text)  # why it does not go on; "" it does


class AuditVerification(InEnvironment, Record):
    """One run of a verification that somebody asked for on the page, and how far it is."""

    __tablename__ = "audit_verifications"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    environment: Mapped[str] = mapped_column(String(64), index=True)
    started_at: Mapped[datetime]
    started_by: Mapped[str]
    updated_at: Mapped[datetime]  # while it runs, each second or so
    finished_at: Mapped[datetime | None]
    checked: Mapped[int]
    total: Mapped[int]
    anchors: Mapped[int]
    unknown_anchors: Mapped[int]
    wrong: Mapped[str] = mapped_column(String(16))  # what is wrong; "" nothing
    seq: Mapped[int | None]  # of the first broken record
    record_id: Mapped[int | None]
    text: Mapped[str] = mapped_column(Text)  # a sentence about it, or why it could not be verified
