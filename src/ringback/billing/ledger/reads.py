"""Audit records of who saw whose money it is, and with whom they spoke."""

from __future__ import annotations

from sqlalchemy import Engine

from ringback.access.schemas import Principal
from ringback.billing.entities import service as entities
from ringback.billing.entities.models import TYPES, Account, Customer
from ringback.changes.schemas import Actor
from ringback.changes.service import changing, note


def note_read(records: Engine, reader: Principal, actor: Actor, row: Customer | Account) -> None:
    """Somebody sees whose money it is; nothing where it was masked."""
    if reader.sees_personal:
        with changing(records, actor, reader.environments[:1]) as work:
            entities.note_read(work, TYPES[row.about.name], row)


def note_xdrs(records: Engine, reader: Principal, actor: Actor, row: Customer | Account, count: int) -> None:
    """Somebody sees with whom they spoke, in so many xDRs; nothing where there are none, or they were masked."""
    if reader.sees_personal and count:
        with changing(records, actor, reader.environments[:1]) as work:
            note(work, "xdrs.read", row.about.name, row.id, row.told_as(), row.owner(), arguments={"count": count})
