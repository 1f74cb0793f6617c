"""`python -m scripts.opensearch`: `run` is the test server by hand, until Ctrl-C; `assemble` gets all ready for tests."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from scripts.opensearch.distribution import NotToBeHad, assembled
from scripts.opensearch.node import CLASSES, NodeFailed, running


def main() -> None:
    reader = argparse.ArgumentParser(prog="python -m scripts.opensearch", description=__doc__)
    reader.add_argument("do", choices=["assemble", "run"])
    reader.add_argument("--nodes", type=int, default=1)
    reader.add_argument("--heap-mib", type=int, default=512, help="of each node")
    asked = reader.parse_args()
    try:
        print(assembled())
        if asked.do == "run":
            run(asked.nodes, asked.heap_mib)
        elif not CLASSES.exists():
            keep_classes()
    except (NotToBeHad, NodeFailed) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass


def keep_classes() -> None:
    """One start now, so that each of the tests' starts is quicker. It shows that the server works, too."""
    with (
        tempfile.TemporaryDirectory(prefix="ringback-opensearch-") as folder,
        running(Path(folder), heap_mib=512) as [node],
    ):
        node.stop()
    CLASSES.touch()  # a Java that cannot keep classes is not asked again


def run(count: int, heap_mib: int) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        tempfile.TemporaryDirectory(prefix="ringback-opensearch-") as folder,
        running(Path(folder), count, heap_mib=heap_mib) as nodes,
    ):
        for node in nodes:
            print(f"{node.name}: {node.url}", flush=True)
        print(f"Tests use it with RINGBACK_TEST_OPENSEARCH_URL={nodes[0].url}; Ctrl-C ends it.", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
