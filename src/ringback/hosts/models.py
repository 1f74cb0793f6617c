"""Tables of the servers that share these records."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from ringback.records.tables import Record


class RoleRun(Record):
    """One role on one host, as its server last told."""

    __tablename__ = "role_runs"

    host: Mapped[str] = mapped_column(String(255), primary_key=True)
    role: Mapped[str] = mapped_column(String(16), primary_key=True)
    run: Mapped[str] = mapped_column(String(64))  # random: tells two servers apart that go by one name
    version: Mapped[str] = mapped_column(String(32))
    started_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None]  # in order; None also for one that fell silent
    status: Mapped[str] = mapped_column(Text)  # what the role tells of itself, JSON


class Lease(Record):
    """Work that one server at a time may do."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str] = mapped_column(String(255))
    held_until: Mapped[datetime]
    done_at: Mapped[datetime | None]  # when the work was last done to its end
