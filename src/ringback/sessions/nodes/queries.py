"""All SQL of the node register that reads."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from ringback.billing.entities.node import Node
from ringback.sessions.story import NodeInfo


def node_infos(session: Session, environment: str) -> list[NodeInfo]:
    """By name."""
    found = select(Node).where(Node.environment == environment).order_by(Node.name)
    return [node_info(node) for node in session.scalars(found)]


def node_named(session: Session, environment: str, name: str) -> Node | None:
    return session.scalars(select(Node).where(Node.environment == environment, Node.name == name)).one_or_none()


def node_info(node: Node) -> NodeInfo:
    return NodeInfo(
        name=node.name,
        kind=node.kind,
        cluster=node.cluster,
        colour=node.colour,
        agents=frozenset(node.agents),
        addresses=frozenset(node.addresses),
    )
