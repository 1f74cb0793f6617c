"""The table of the rules of ownership. They are of the installation: they say what is of which environment."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from ringback.changes.tracked import Tracked
from ringback.records.tables import Id, Record


class TrafficRule(Tracked, Record):
    __tablename__ = "traffic_rules"
    __entity__ = "traffic_rule"
    __named_personally__ = True
    __table_args__ = (CheckConstraint("kind IN ('node', 'address', 'domain', 'account', 'everything')", name="kind"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    position: Mapped[int]  # from 1; the first that matches decides
    kind: Mapped[str] = mapped_column(String(16))
    value: Mapped[str] = mapped_column(info={"personal": True})  # "" of everything
    target: Mapped[str] = mapped_column(String(64))  # key of the environment that traffic comes to
    # Of a node named by its name: what it sends from, ", " between.
    senders: Mapped[str] = mapped_column(Text, info={"personal": True})
    changed_at: Mapped[datetime] = mapped_column(info={"untracked": True})

    def told_as(self) -> str:
        return f"{self.kind} {self.value}".rstrip()
