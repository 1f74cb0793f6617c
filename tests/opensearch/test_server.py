"""The OpenSearch that other tests rely on is real, shared, survives the loss of a node, and is gone afterwards."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil
import pytest
from scripts.opensearch.distribution import NotToBeHad, java, pinned
from scripts.opensearch.node import NodeFailed, running

from opensearch_server import answers, cluster, find, needs_nodes_of_its_own, own_prefix, single_node, write
from running import until

ROOT = Path(__file__).parents[2]
USES_SHARED = """
import sys
from pathlib import Path
from scripts.opensearch.shared import shared
with shared(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""
STARTS_A_NODE = """
import sys
from pathlib import Path
from scripts.opensearch.node import Node
node = Node("lost", Path(sys.argv[1]), "127.0.0.1", 0, 0, 256, {"discovery.type": "single-node"})
node.start()
print(node.process.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def own_nodes() -> None:
    needs_nodes_of_its_own()


@contextmanager
def python(code: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, "it ended"
    return line


def test_a_document_is_found(shared_node: str) -> None:
    url = shared_node
    with own_prefix(url) as prefix:
        write(url, f"{prefix}-calls", "1", "486 Busy Here")
        write(url, f"{prefix}-calls", "2", "180 Ringing")
        assert find(url, f"{prefix}-*", "busy") == ["486 Busy Here"]
    assert httpx2.head(f"{url}/{prefix}-calls").status_code == 404


def test_who_asks_again_gets_the_same_node(shared_node: str) -> None:
    with single_node() as again:
        assert again == shared_node


@pytest.mark.timeout(300)
def test_a_cluster_goes_on_without_a_node_that_was_killed_and_takes_it_back() -> None:
    with cluster(3) as nodes:
        first, second, third = nodes.urls
        everywhere = {"settings": {"number_of_replicas": 2}}
        query = {"wait_for_active_shards": "all"}
        httpx2.put(f"{first}/calls", json=everywhere, params=query, timeout=60).raise_for_status()
        write(first, "calls", "1", "486 Busy Here")
        nodes.kill(0)
        assert not answers(first)
        write(second, "calls", "2", "600 Busy Everywhere")
        assert find(third, "calls", "busy") == ["486 Busy Here", "600 Busy Everywhere"]
        nodes.start(0)
        assert find(first, "calls", "busy") == ["486 Busy Here", "600 Busy Everywhere"]
    assert not any(map(answers, nodes.urls))


@pytest.mark.timeout(300)
def test_processes_share_one_node_which_goes_with_the_last_however_they_end(own_nodes: None, tmp_path: Path) -> None:
    with python(USES_SHARED, tmp_path) as one, python(USES_SHARED, tmp_path) as other:
        theirs = first_line(one)
        assert first_line(other) == theirs
        one.kill()
        one.wait()
        assert answers(theirs)
        other.kill()
        until(lambda: not answers(theirs))


def test_a_node_dies_with_who_started_it(own_nodes: None, tmp_path: Path) -> None:
    with python(STARTS_A_NODE, tmp_path) as process:
        node = psutil.Process(int(first_line(process)))
        assert node.is_running()
        process.kill()
        process.wait()
        until(lambda: not node.is_running() or node.status() == psutil.STATUS_ZOMBIE)


def test_a_node_that_does_not_start_shows_its_log(own_nodes: None) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.raises(NodeFailed, match=r"node1 ended instead of starting(.|\n)*heap"),
        running(Path(folder), heap_mib=1),
    ):
        pass


def test_another_file_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "opensearch.zip"
    file.write_bytes(b"PK")
    with pytest.raises(NotToBeHad, match="not the file that was pinned"):
        pinned(file)


def test_a_java_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").touch(0o755)
    release = tmp_path / "release"
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    release.write_text('IMPLEMENTOR="Debian"\nJAVA_VERSION="17.0.15"\n')
    assert java() != tmp_path
    release.write_text('IMPLEMENTOR="Debian"\nJAVA_VERSION="21"\n')
    assert java() == tmp_path
