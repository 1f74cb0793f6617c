"""Nodes and their senders."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ringback.billing.entities import checks
from ringback.billing.entities.fields import About, Entity, choice, flag, text, words
from ringback.records.tables import Id, InEnvironment, Record

NODE_KINDS = (
    ("phone", "Phone"), ("edge", "Edge proxy"), ("core", "Core"), ("billing", "Billing engine"), ("media", "Media"),
    ("gateway", "Gateway"), ("far-end", "Far end"), ("unknown", "Unknown"),
)  # fmt: skip


class Node(Entity):
    """The trace page takes its cluster from here: which capture id or address is which node."""

    __tablename__ = "nodes"
    __table_args__ = (UniqueConstraint("environment", "name"),)
    about = About(
        "node", "Node", "Nodes", "nodes", "i_node", "name", "network",
        "A machine that sessions pass: sessions show it by its name instead of its address.",
    )  # fmt: skip

    name: Mapped[str] = text("Name", 64, required=True, unique=True, listed=True, searched=True)
    kind: Mapped[str] = choice("Kind", NODE_KINDS, default="unknown", listed=True, filtered=True)
    hostname: Mapped[str] = text("Hostname", 255, listed=True, searched=True)
    cluster: Mapped[bool] = flag("Of the provider's switch", listed=True, filtered=True)
    agents: Mapped[list[str]] = words(
        "Capture ids", listed=True, check=checks.capture_id, help="HEP chunk 0x000c: whole numbers."
    )
    addresses: Mapped[list[str]] = words(
        "Addresses", listed=True, check=checks.sender_address,
        help="192.0.2.1, 192.0.2.1:5060 or [2001:db8::1]:5060.",
    )  # fmt: skip
    colour: Mapped[str] = text(
        "Colour", 7, check=checks.colour, help="Of its lane in diagrams: #rrggbb; empty: the kind's."
    )
    active: Mapped[bool] = flag("Active", default=True, listed=True, filtered=True)


class NodeSender(InEnvironment, Record):
    """A capture id or an address of a node: an index of `Node.agents` and `Node.addresses`, so that each is one node's.

    Written with the node, by its service; no fact of its own.
    """

    __tablename__ = "node_senders"
    __table_args__ = (
        UniqueConstraint("environment", "kind", "value"),
        CheckConstraint("kind IN ('agent', 'address')", name="kind"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    node_id: Mapped[int] = mapped_column(ForeignKey(Node.id, ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    value: Mapped[str] = mapped_column(String(64))  # capture id in decimal; address or address:port
