"""OpenSearch nodes on loopback addresses of their own. All die with the thread that started them."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from scripts.opensearch.distribution import CACHE, VERSION, assembled, java, last

PATIENCE_S = 180.0  # to start; two cores may be shared with much else
CLASSES = CACHE / "classes.jsa"
# For a server that lives for minutes: the first compiler only, one thread for the collector.
QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
# What bin/opensearch sets, but for the Java agent: it fences plugins in, costs a second, and there are none.
USUAL = (
    "-Dopensearch.distribution.type=zip",
    "-Dopensearch.bundled_jdk=false",
    "-Dopensearch.networkaddress.cache.ttl=60",
    "-Dopensearch.networkaddress.cache.negative.ttl=10",
    "-Djava.awt.headless=true",
    "-Dfile.encoding=UTF-8",
    "-Djava.locale.providers=SPI,CLDR",
    "-Dio.netty.noUnsafe=true",
    "-Dio.netty.noKeySetOptimization=true",
    "-Dio.netty.recycler.maxCapacityPerThread=0",
    "-Dio.netty.allocator.numDirectArenas=0",
    "-Dlog4j.shutdownHookEnabled=false",
    "-Dlog4j2.disable.jmx=true",
    "-Dorg.apache.lucene.store.MMapDirectory.sharedArenaMaxPermits=1",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--enable-native-access=ALL-UNNAMED",
    # Classes that a node kept when it ended by itself, not killed, start the next in two thirds of the time.
    "-XX:+AutoCreateSharedArchive",
    f"-XX:SharedArchiveFile={CLASSES}",
    "-Xlog:cds*=off",
    # Without JNA it cannot see that it runs as root, which it would refuse; CI is root.
    "-Djna.nosys=true",
    "-Djna.nounpack=true",
)
# Killed with its parent; not begun where the parent, whose id follows, was gone before that was set.
TIED = ("setpriv", "--pdeathsig", "KILL", "sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')
LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = [%d{ISO8601}][%-5p][%c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
"""


class NodeFailed(Exception):
    """A node did not start or join; the text has the end of its log."""


@dataclass
class Node:
    """One node; its data stay in `folder` when it is killed and started again."""

    name: str
    folder: Path
    address: str
    http: int
    transport: int
    heap_mib: int
    settings: dict[str, str]
    jvm: Sequence[str] = QUICK
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.http}"

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def start(self) -> None:
        """Returns at once; `wait` says when it answers."""
        home, runtime = assembled(), java()
        conf, temporary = self.folder / "conf", self.folder / "tmp"
        for made in (conf, temporary):
            made.mkdir(parents=True, exist_ok=True)
        settings = {
            "node.name": self.name,
            "network.host": self.address,
            "http.port": str(self.http),
            "transport.port": str(self.transport),
            "path.data": str(self.folder / "data"),
            "path.logs": str(self.folder / "logs"),
            "cluster.routing.allocation.disk.threshold_enabled": "false",  # a full disk of ours is not under test
        } | self.settings
        (conf / "opensearch.yml").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
        (conf / "log4j2.properties").write_text(LOGGING)
        command = [*TIED, str(os.getpid()), str(runtime / "bin" / "java"), *USUAL, *self.jvm]
        command += [f"-Xms{self.heap_mib}m", f"-Xmx{self.heap_mib}m", f"-Djava.io.tmpdir={temporary}"]
        command += [f"-Dopensearch.path.home={home}", f"-Dopensearch.path.conf={conf}"]
        command += ["-cp", f"{home}/lib/*:{home}/agent/opensearch-agent-bootstrap-{VERSION}.jar"]
        command += ["org.opensearch.bootstrap.OpenSearch"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def wait(self, nodes: int = 1) -> None:
        """Until the cluster that it sees has this many nodes and every primary shard. Raises NodeFailed."""
        deadline = time.monotonic() + PATIENCE_S
        query = {"wait_for_status": "yellow", "wait_for_nodes": f">={nodes}", "timeout": "1s"}
        while True:
            if not self.runs:
                raise NodeFailed(self._told("ended instead of starting"))
            try:
                if httpx2.get(f"{self.url}/_cluster/health", params=query, timeout=5).status_code == 200:
                    return
            except httpx2.TransportError:
                pass  # not listening yet
            if time.monotonic() > deadline:
                raise NodeFailed(self._told(f"had no cluster of {nodes} after {PATIENCE_S:.0f} s"))
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone, at once where it does not run."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """As an administrator would; killed if it does not go."""
        if self.process is not None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE_S)
            self.kill()

    def _told(self, what: str) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return f"OpenSearch node {self.name} {what}. The end of its log:\n{last(lines)}"


@contextmanager
def running(folder: Path, count: int = 1, *, heap_mib: int, jvm: Sequence[str] = QUICK) -> Iterator[list[Node]]:
    """A cluster of `count` nodes that answer; killed at the end, however many still run.

    `heap_mib` is of each node. Raises NodeFailed, or NotToBeHad as `assembled` does.
    """
    names = [f"node{number}" for number in range(1, count + 1)]
    places = [_place() for _ in names]
    if count == 1:
        settings = {"discovery.type": "single-node"}
    else:
        seeds = ", ".join(f'"{address}:{transport}"' for address, _, transport in places)
        settings = {
            "discovery.seed_hosts": f"[{seeds}]",
            "cluster.initial_cluster_manager_nodes": f"[{', '.join(names)}]",
        }
    nodes = [
        Node(name, folder / name, *place, heap_mib, settings, jvm) for name, place in zip(names, places, strict=True)
    ]
    with ExitStack() as stack:
        for node in nodes:
            stack.callback(node.kill)  # its data go with it
            node.start()
        for node in nodes:
            node.wait(count)
        yield nodes


def _place() -> tuple[str, int, int]:
    """An address that nobody else uses and two free ports of it, so that a node that comes back finds them free."""
    address = ".".join(["127", *(str(random.randint(1, 254)) for _ in range(3))])
    with socket.socket() as first, socket.socket() as second:
        first.bind((address, 0))
        second.bind((address, 0))
        return address, first.getsockname()[1], second.getsockname()[1]
