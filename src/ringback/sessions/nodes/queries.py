"""All SQL of the node register that reads."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from ringback.sessions.nodes.models import Node, NodeSender
from ringback.sessions.story import NodeInfo


def node_infos(session: Session, environment: str) -> list[NodeInfo]:
    """By name."""
    found = (
        select(Node).where(Node.environment == environment).options(selectinload(Node.senders)).order_by(Node.name)
    )
    return [node_info(node) for node in session.scalars(found)]


def node_named(session: Session, environment: str, name: str) -> Node | None:
    """With its senders."""
    found = select(Node).where(Node.environment == environment, Node.name == name).options(selectinload(Node.senders))
    return session.scalars(found).one_or_none()


def owners(session: Session, environment: str, kind: str, values: Iterable[str]) -> dict[str, str]:
    """Capture id or address -> name of the node it belongs to, of those that belong to one."""
    found = (
        select(NodeSender.value, Node.name)
        .join(Node, Node.id == NodeSender.node_id)
        .where(NodeSender.environment == environment, NodeSender.kind == kind, NodeSender.value.in_(list(values)))
    )
    return {row.value: row.name for row in session.execute(found)}


def node_info(node: Node) -> NodeInfo:
    return NodeInfo(
        name=node.name,
        kind=node.kind,
        cluster=node.cluster,
        colour=node.colour,
        agents=frozenset(sender.value for sender in node.senders if sender.kind == "agent"),
        addresses=frozenset(sender.value for sender in node.senders if sender.kind == "address"),
    )
