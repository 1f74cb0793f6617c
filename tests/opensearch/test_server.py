"""The OpenSearch that other tests rely on is real, shared, survives the loss of a node, and is gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from opensearch_server import cluster, own_prefix, single_node


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with single_node() as url:
        yield url


def write(url: str, index: str, number: str, text: str) -> None:
    httpx2.put(
        f"{url}/{index}/_doc/{number}", params={"refresh": "true"}, json={"message": text}, timeout=60
    ).raise_for_status()


def find(url: str, index: str, text: str) -> list[str]:
    answer = httpx2.post(f"{url}/{index}/_search", json={"query": {"match": {"message": text}}}, timeout=60)
    answer.raise_for_status()
    return [hit["_source"]["message"] for hit in answer.json()["hits"]["hits"]]


def test_a_document_is_found(url: str) -> None:
    with own_prefix(url) as prefix:
        write(url, prefix, "1", "486 Busy Here")
        write(url, prefix, "2", "180 Ringing")
        assert find(url, prefix, "busy") == ["486 Busy Here"]
    assert httpx2.head(f"{url}/{prefix}").status_code == 404


def test_who_asks_again_gets_the_same_node(url: str) -> None:
    with single_node() as again:
        assert again == url


def test_a_cluster_goes_on_without_a_node_that_was_killed_and_takes_it_back() -> None:
    with cluster(3) as nodes:
        first, second, third = nodes.urls
        httpx2.put(
            f"{first}/calls",
            json={"settings": {"number_of_replicas": 2}},
            params={"wait_for_active_shards": "all"},
            timeout=60,
        ).raise_for_status()
        write(first, "calls", "1", "486 Busy Here")
        nodes.kill(0)
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(first)
        write(second, "calls", "2", "busy everywhere")
        assert sorted(find(third, "calls", "busy")) == ["486 Busy Here", "busy everywhere"]
        nodes.start(0)
        assert sorted(find(first, "calls", "busy")) == ["486 Busy Here", "busy everywhere"]
    for url in nodes.urls:
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(url)
