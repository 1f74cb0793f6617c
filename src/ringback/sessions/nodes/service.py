"""What can be done with the node register. Every change is checked whole before anything is written."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import Engine, delete, select

from ringback import clock
from ringback.billing.entities.node import Node, NodeSender
from ringback.billing.entities.senders import index_senders, owners
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
    node = checked(form)
    _lock(work, environment)
    if queries.node_named(work, environment, node.name):
        raise NodeError("name", f"There is a node {node.name} already.")
    _check_free(work, environment, node, itself="")
    _write(work, Node(environment=environment, created_at=clock.now()), node)
    return node


def change_node(work: UnitOfWork, environment: str, name: str, form: NodeForm) -> NodeInfo:
    """The node `name` becomes what the form says; it may get another name. Raises NodeNotFound, NodeError."""
    _lock(work, environment)
    row = queries.node_named(work, environment, name)
    if row is None:
        raise NodeNotFound(name)
    node = checked(form)
    if node.name != name and queries.node_named(work, environment, node.name):
        raise NodeError("name", f"There is a node {node.name} already.")
    _check_free(work, environment, node, itself=name)
    _write(work, row, node)
    return node


def add_sender(work: UnitOfWork, environment: str, name: str, agent: str = "", address: str = "") -> NodeInfo:
    """One more capture id or address of a node there is. Raises NodeNotFound, NodeError."""
    _lock(work, environment)
    row = queries.node_named(work, environment, name)
    if row is None:
        raise NodeNotFound(name)
    was = queries.node_info(row)
    senders = ((*was.agents, agent), (*was.addresses, address))
    return change_node(work, environment, name, NodeForm(was.name, was.kind, was.cluster, was.colour, *senders))


def remove_node(work: UnitOfWork, environment: str, name: str) -> None:
    """Raises NodeNotFound."""
    _lock(work, environment)
    row = queries.node_named(work, environment, name)
    if row is None:
        raise NodeNotFound(name)
    work.delete(row)


def replace_nodes(work: UnitOfWork, environment: str, forms: Sequence[NodeForm]) -> list[NodeInfo]:
    """The whole register at once. Raises NodeError, its field like ``nodes[2].name``; nothing is changed then."""
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
                        raise NodeError(field, _taken(value, owners[field, value]))
                    owners[field, value] = node.name
        except NodeError as error:
            raise NodeError(f"nodes[{position}].{error.field}", error.reason) from error
        nodes[node.name] = node
    _lock(work, environment)
    present = {row.name: row for row in work.scalars(select(Node).where(Node.environment == environment))}
    for name in present.keys() - nodes.keys():
        work.delete(present[name])
    rows = {name: present.get(name) or Node(environment=environment, created_at=clock.now()) for name in nodes}
    work.execute(delete(NodeSender).where(NodeSender.environment == environment))  # one may take what another had
    for name, node in nodes.items():
        _write(work, rows[name], node)
    return sorted(nodes.values(), key=lambda node: node.name)


def _lock(work: UnitOfWork, environment: str) -> None:
    """Changes of one environment's register go one after the other: each is checked against the whole of it."""
    work.lock("nodes", environment)


def _check_free(work: UnitOfWork, environment: str, node: NodeInfo, itself: str) -> None:
    for kind, field, values in (("agent", "agents", node.agents), ("address", "addresses", node.addresses)):
        for value, (_, owner) in sorted(owners(work, environment, kind, values).items()):
            if owner != itself:
                raise NodeError(field, _taken(value, owner))


def _taken(value: str, owner: str) -> str:
    return f"{value} belongs to the node {owner} already."


def _write(work: UnitOfWork, row: Node, node: NodeInfo) -> None:
    row.name, row.kind, row.cluster, row.colour = node.name, node.kind, node.cluster, node.colour
    row.agents, row.addresses = sorted(node.agents, key=int), sorted(node.addresses)
    work.add(row)
    work.flush()
    index_senders(work, row)
