"""Tables of the node register."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ringback.records.tables import Id, InEnvironment, Record


class Node(InEnvironment, Record):
    __tablename__ = "nodes"
    __table_args__ = (UniqueConstraint("environment", "name"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    cluster: Mapped[bool]  # belongs to the provider's switch
    colour: Mapped[str] = mapped_column(String(7))  # #rrggbb, or "" for the kind's own
    changed_at: Mapped[datetime]

    senders: Mapped[list[NodeSender]] = relationship(
        lazy="raise", cascade="all, delete-orphan", passive_deletes=True, order_by="NodeSender.value"
    )


class NodeSender(InEnvironment, Record):
    """A capture id or an address that is one node's, and no other's in its environment."""

    __tablename__ = "node_senders"
    __table_args__ = (
        UniqueConstraint("environment", "kind", "value"),
        CheckConstraint("kind IN ('agent', 'address')", name="kind"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    node_id: Mapped[int] = mapped_column(ForeignKey(Node.id, ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    value: Mapped[str] = mapped_column(String(64))  # capture id in decimal; address or address:port
