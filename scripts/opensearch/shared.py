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
from contextlib import contextmanager
from pathlib import Path

from scripts.opensearch.distribution import CACHE, assembled, java, locked
from scripts.opensearch.node import NodeFailed, running

HEAP_MIB = 512
USERS, STARTING, KEEPER = (CACHE / f"{name}.lock" for name in ("users", "starting", "keeper"))
URL, LOG = CACHE / "url", CACHE / "keeper.log"


@contextmanager
def shared() -> Iterator[str]:
    """Its URL. Raises NodeFailed, or NotToBeHad as `assembled` does."""
    assembled(), java()  # what it says is for who asks
    with locked(USERS, fcntl.LOCK_SH):  # waits while a keeper ends
        with locked(STARTING):
            url = URL.read_text() if _kept() else _started()
        yield url


def _kept() -> bool:
    try:
        with locked(KEEPER, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return False
    except BlockingIOError:
        return True


def _started() -> str:
    with LOG.open("w") as log:
        command = ["setsid", "--fork", sys.executable, "-m", __name__]
        with subprocess.Popen(
            command,
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process:
            assert process.stdout is not None
            url = process.stdout.readline().strip()  # nothing when the keeper failed
    if not url:
        raise NodeFailed(f"No OpenSearch for the tests: {LOG.read_text()}")
    return url


def keep() -> None:
    with (
        locked(KEEPER),
        tempfile.TemporaryDirectory(prefix="ringback-opensearch-") as folder,
        running(Path(folder), heap_mib=HEAP_MIB) as [node],
    ):
        URL.write_text(node.url)
        print(node.url, flush=True)
        while node.runs:
            try:
                with locked(USERS, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    node.kill()
                    return
            except BlockingIOError:
                time.sleep(0.2)


if __name__ == "__main__":
    keep()
