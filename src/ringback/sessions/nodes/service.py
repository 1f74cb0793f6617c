"""What can be done with the node register. Every change is checked whole before anything is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Engine, delete, select

from ringback.billing.entities import service as entities
from ringback.billing.entities.errors import EntityErrors
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.node import Node, NodeSender
from ringback.records.engine import UnitOfWork, reading
from ringback.records.tables import DEFAULT_ENVIRONMENT
from ringback.sessions.nodes import queries
from ringback.sessions.nodes.schemas import NodeError, NodeForm, NodeNotFound, checked
from ringback.sessions.story import NodeInfo

MAX_AGE_SECONDS = 2.0


class NodeRegister:
    """The nodes, read again when the last look is two seconds old: a change by any process shows within that time.

    Thread-safe: the worst that two threads can do is look twice.
    """

    def __init__(self, engine: Engine, max_age_seconds: float = MAX_AGE_SECONDS) -> None:
        self._engine = engine
        self._max_age = max_age_seconds
        self._seen: dict[str, tuple[float, list[NodeInfo]]] = {}  # environment -> (when, nodes)

    def __call__(self, environment: str = DEFAULT_ENVIRONMENT) -> list[NodeInfo]:
        """By name. The list is shared: do not change it."""
        now = time.monotonic()
        seen = self._seen.get(environment)
        if seen is not None and now - seen[0] < self._max_age:
            return seen[1]
        nodes = list_nodes(self._engine, environment)
        self._seen[environment] = (now, nodes)
        return nodes

    def forget(self) -> None:
        """The next look is fresh: called where this process made the change, so that its author sees it."""
        self._seen.clear()


def list_nodes(engine: Engine, environment: str = DEFAULT_ENVIRONMENT) -> list[NodeInfo]:
    with reading(engine, (environment,)) as session:
        return queries.node_infos(session, environment)


def add_node(work: UnitOfWork, environment: str, form: NodeForm) -> NodeInfo:
    """Raises NodeError."""
    return _info(entities.create, work, _NODE, environment, _given(form))


def change_node(work: UnitOfWork, environment: str, name: str, form: NodeForm) -> NodeInfo:
    """The node `name` becomes what the form says; it may get another name. Raises NodeNotFound, NodeError."""
    row = _named(work, environment, name)
    return _info(entities.change, work, _NODE, environment, row.id, _given(form), None)


def add_sender(work: UnitOfWork, environment: str, name: str, agent: str = "", address: str = "") -> NodeInfo:
    """One more capture id or address of a node there is. Raises NodeNotFound, NodeError."""
    row = _named(work, environment, name)
    given = {"agents": [*row.agents, agent], "addresses": [*row.addresses, address]}
    return _info(entities.change, work, _NODE, environment, row.id, given, None)


def remove_node(work: UnitOfWork, environment: str, name: str) -> None:
    """Raises NodeNotFound, InUse."""
    entities.delete(work, _NODE, environment, _named(work, environment, name).id)


def replace_nodes(work: UnitOfWork, environment: str, forms: Sequence[NodeForm]) -> list[NodeInfo]:
    """The whole register at once. Raises NodeError, its field like ``nodes[2].name``; nothing is changed then. Raises
    InUse where a node that is left out is needed."""
    nodes = _all_checked(forms)
    entities.lock(work, _NODE, environment)
    present = {row.name: row for row in work.scalars(select(Node).where(Node.environment == environment))}
    for name in present.keys() - nodes.keys():
        entities.delete(work, _NODE, environment, present[name].id)
    work.execute(delete(NodeSender).where(NodeSender.environment == environment))  # one may take what another had
    for name, form in zip(nodes, forms, strict=True):
        if name in present:
            entities.change(work, _NODE, environment, present[name].id, _given(form), None)
        else:
            entities.create(work, _NODE, environment, _given(form))
    return sorted(nodes.values(), key=lambda node: node.name)


_NODE = TYPES["node"]


def _given(form: NodeForm) -> dict[str, object]:
    """What a form does not say, such as a host name, stays as it is."""
    return {
        "name": form.name, "kind": form.kind, "cluster": form.cluster, "colour": form.colour,
        "agents": list(form.agents), "addresses": list(form.addresses),
    }  # fmt: skip


def _info(write: Callable[..., Any], *arguments: object) -> NodeInfo:
    try:
        written = write(*arguments)
    except EntityErrors as error:
        raise NodeError(*next(iter(error.errors.items()))) from error
    return queries.node_info(written[0] if isinstance(written, tuple) else written)


def _named(work: UnitOfWork, environment: str, name: str) -> Node:
    entities.lock(work, _NODE, environment)
    row = queries.node_named(work, environment, name)
    if row is None:
        raise NodeNotFound(name)
    return row


def _all_checked(forms: Sequence[NodeForm]) -> dict[str, NodeInfo]:
    """By name, in their order. Raises NodeError."""
    nodes: dict[str, NodeInfo] = {}
    owners: dict[tuple[str, str], str] = {}
    for position, form in enumerate(forms):
        try:
            node = checked(form)
            if node.name in nodes:
                raise NodeError("name", f"{node.name} is named twice.")
            for field, values in (("agents", node.agents), ("addresses", node.addresses)):
                for value in sorted(values):
                    if (field, value) in owners:
                        raise NodeError(field, f"{value} belongs to the node {owners[field, value]} already.")
                    owners[field, value] = node.name
        except NodeError as error:
            raise NodeError(f"nodes[{position}].{error.field}", error.reason) from error
        nodes[node.name] = node
    return nodes
