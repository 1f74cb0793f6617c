"""Sessions that nodes have asked for: what is reserved, what goes on, and what was charged in the end."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from ringback.records.money import MoneyColumn
from ringback.records.tables import Id, InEnvironment, Record, UtcTime

RESERVED, STARTED, CLOSED, LOST = "reserved", "started", "closed", "lost"
PRICED = ("rate_id", "prefix", "destination", "price_first", "price_next", "interval_first", "interval_next")
_OPEN = "ended_at IS NULL"


class EngineSession(InEnvironment, Record):
    """One call of one account. It is charged by the rate that held when it was allowed.

    reserved: allowed, not answered yet · started: answered · closed: over, and charged where `xdr_id` says so · lost: taken
    for over, since nobody told of it any more; who tells of it later opens it again. A reserved or started one counts as
    going on until `lapses_at`.
    """

    __tablename__ = "engine_sessions"
    __table_args__ = (
        UniqueConstraint("environment", "key"),
        Index("ix_engine_sessions_call", "environment", "call_id"),
        Index("ix_engine_sessions_open", "account_id", sqlite_where=sql(_OPEN), postgresql_where=sql(_OPEN)),
        Index("ix_engine_sessions_lapsing", "state", "lapses_at"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    key: Mapped[str] = mapped_column(String(40))  # what nodes know it by; the xDR's session key
    state: Mapped[str] = mapped_column(String(8))
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))  # that is charged
    charging_id: Mapped[str] = mapped_column(String(64))  # under which it asked: an alias's own
    node: Mapped[str] = mapped_column(String(64))
    call_id: Mapped[str] = mapped_column(String(255))
    conf_id: Mapped[str] = mapped_column(String(255))
    service: Mapped[str] = mapped_column(String(32))
    direction: Mapped[str] = mapped_column(String(16))
    caller: Mapped[str] = mapped_column(String(64))
    called: Mapped[str] = mapped_column(String(64))
    authorized_at: Mapped[datetime] = mapped_column(UtcTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    seen_at: Mapped[datetime] = mapped_column(UtcTime)  # when a node last told of it
    lapses_at: Mapped[datetime] = mapped_column(UtcTime)
    max_seconds: Mapped[int] = mapped_column(Integer)
    seconds: Mapped[int] = mapped_column(Integer)  # that the last word of a node showed
    told: Mapped[int] = mapped_column(Integer)  # interims
    rate_id: Mapped[int | None]
    prefix: Mapped[str] = mapped_column(String(20))
    destination: Mapped[str] = mapped_column(String(120))
    price_first: Mapped[Decimal] = mapped_column(MoneyColumn)  # a minute
    price_next: Mapped[Decimal] = mapped_column(MoneyColumn)
    interval_first: Mapped[int] = mapped_column(Integer)  # seconds
    interval_next: Mapped[int] = mapped_column(Integer)
    xdr_id: Mapped[int | None]  # the last
