"""A real OpenSearch: one node that all tests share, or a cluster whose nodes a test may kill.

`RINGBACK_TEST_OPENSEARCH_URL` names a server that is used in place of the shared node; then nothing is started.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from scripts.opensearch.distribution import NotToBeHad, assembled, java
from scripts.opensearch.node import Node, running
from scripts.opensearch.shared import shared

GIVEN = "RINGBACK_TEST_OPENSEARCH_URL"
CLUSTER_HEAP_MIB = 384


@contextmanager
def single_node() -> Iterator[str]:
    """URL of the node that all test processes share; each test keeps to index names with a prefix of its own."""
    if given := os.environ.get(GIVEN):
        yield given.rstrip("/")
        return
    _skip_where_it_cannot_be_had()
    with shared() as url:
        yield url


@pytest.fixture(scope="session")
def shared_node() -> Iterator[str]:
    """Held until all tests of this process are done: else it would end with the last who uses it, and be started anew."""
    with single_node() as url:
        yield url


@contextmanager
def own_prefix(url: str) -> Iterator[str]:
    """A prefix of index names that nobody else has; what was made with it is deleted at the end."""
    prefix = f"ringback-{uuid.uuid4().hex[:12]}"
    try:
        yield prefix
    finally:
        httpx2.delete(f"{url}/{prefix}*", params={"expand_wildcards": "all"}, timeout=60).raise_for_status()


@dataclass(frozen=True)
class Cluster:
    nodes: list[Node]

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.nodes]

    def kill(self, node: int) -> None:
        """SIGKILL to the node of that position."""
        self.nodes[node].kill()

    def start(self, node: int) -> None:
        """Again, on its address and its data; returns when it has joined all that run."""
        self.nodes[node].start()
        self.nodes[node].wait(sum(other.runs for other in self.nodes))

    def stop(self) -> None:
        """All of them, at once."""
        for node in self.nodes:
            node.kill()


@contextmanager
def cluster(count: int = 3) -> Iterator[Cluster]:
    """Nodes of the caller's own, which see each other and end with the thread that made them.

    Three take a quarter of a minute of two idle cores: give such a test `pytest.mark.timeout(300)`."""
    needs_nodes_of_its_own()
    with (
        tempfile.TemporaryDirectory(prefix="ringback-opensearch-") as folder,
        running(Path(folder), count, heap_mib=CLUSTER_HEAP_MIB) as nodes,
    ):
        yield Cluster(nodes)


def needs_nodes_of_its_own() -> None:
    """Skips where none may be started, or none can be had."""
    if os.environ.get(GIVEN):
        pytest.skip(f"{GIVEN} is set: no node is started here")
    _skip_where_it_cannot_be_had()


def _skip_where_it_cannot_be_had() -> None:
    """Root can have it, and fails."""
    try:
        assembled()
        java()
    except NotToBeHad as error:
        if os.geteuid() == 0:
            raise
        pytest.skip(str(error))


def write(url: str, index: str, number: str, text: str) -> None:
    query = {"refresh": "true"}
    httpx2.put(f"{url}/{index}/_doc/{number}", params=query, json={"message": text}, timeout=60).raise_for_status()


def find(url: str, index: str, text: str) -> list[str]:
    """Sorted messages."""
    answer = httpx2.post(f"{url}/{index}/_search", json={"query": {"match": {"message": text}}}, timeout=60)
    answer.raise_for_status()
    return sorted(hit["_source"]["message"] for hit in answer.json()["hits"]["hits"])


def answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=60).is_success
    except httpx2.TransportError:
        return False
