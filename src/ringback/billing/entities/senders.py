"""Which capture id or address is which node's: `node_senders`, kept in step with the nodes."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from ringback.billing.entities.node import Node, NodeSender

KINDS = (("agent", "agents"), ("address", "addresses"))  # kind of a sender, the node's field


def owners(session: Session, environment: str, kind: str, values: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Capture id or address -> (id, name) of the node it belongs to, of those that belong to one."""
    found = (
        select(NodeSender.value, Node.id, Node.name)
        .join(Node, Node.id == NodeSender.node_id)
        .where(NodeSender.environment == environment, NodeSender.kind == kind, NodeSender.value.in_(list(values)))
    )
    return {row.value: (row.id, row.name) for row in session.execute(found)}


def index_senders(session: Session, node: Node) -> None:
    """After the node was written: its senders become those that it names. Flush when all nodes of a change are done."""
    wanted = {(kind, value) for kind, field in KINDS for value in getattr(node, field)}
    present = {
        (row.kind, row.value): row for row in session.scalars(select(NodeSender).where(NodeSender.node_id == node.id))
    }
    for key in present.keys() - wanted:
        session.delete(present[key])
    for kind, value in sorted(wanted - present.keys()):
        session.add(NodeSender(environment=node.environment, node_id=node.id, kind=kind, value=value))
