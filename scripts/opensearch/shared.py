"""One node for all test processes of this checkout: the first that asks starts it, it ends when the last is gone.

Who uses it holds a shared lock on `users`, which the kernel takes back however the process dies. The keeper, this
module run as a process of no session of theirs, ends the node and itself once it gets that lock alone.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from scripts.opensearch.distribution import CACHE, assembled, java, locked
from scripts.opensearch.node import NodeFailed, running

HEAP_MIB = 512
POLL_S = 0.2
ROOT = Path(__file__).parents[2]


@contextmanager
def shared(folder: Path = CACHE / "shared") -> Iterator[str]:
    """The URL of the node of those who name this folder. Raises NodeFailed, or NotToBeHad as `assembled` does."""
    assembled(), java()  # what it says is for who asks, not for the keeper's log
    with locked(folder / "users", fcntl.LOCK_SH):  # waits while a keeper ends
        with locked(folder / "starting"):
            url = (folder / "url").read_text() if _kept(folder) else _started(folder)
        yield url


def _kept(folder: Path) -> bool:
    try:
        with locked(folder / "keeper", fcntl.LOCK_EX | fcntl.LOCK_NB):
            return False
    except BlockingIOError:
        return True


def _started(folder: Path) -> str:
    log = folder / "keeper.log"
    command = ["setsid", "--fork", sys.executable, "-m", "scripts.opensearch.shared", str(folder)]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdout is not None
        url = process.stdout.readline().strip()  # nothing when the keeper failed
    if not url:
        raise NodeFailed(f"No OpenSearch for the tests: {log.read_text()}")
    return url


def keep(folder: Path) -> None:
    """Prints the URL, returns when nobody uses the node, or when it died."""
    with (
        ExitStack() as last,
        locked(folder / "keeper"),
        tempfile.TemporaryDirectory(prefix="ringback-opensearch-") as data,
        running(Path(data), heap_mib=HEAP_MIB) as [node],
    ):
        (folder / "url").write_text(node.url)
        print(node.url, flush=True)
        while node.runs:
            try:
                # Kept until nothing is left of this node: who comes now waits for that, and starts the next.
                last.enter_context(locked(folder / "users", fcntl.LOCK_EX | fcntl.LOCK_NB))
                node.stop()
            except BlockingIOError:
                time.sleep(POLL_S)


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
