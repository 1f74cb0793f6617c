"""``python -m ringback.sessions.ingest.share_process``: one share of a file, imported beside the importer's own.

On standard input come, pickled, the work with the store's URL, then the cuts of the file (`_pack`), then None. An end
without None means that the importer is gone. The result, or the error it met, goes out pickled on standard output.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
from array import array
from collections.abc import Iterable
from itertools import accumulate, pairwise
from typing import BinaryIO, cast

from ringback.events import EventStoreError, open_store
from ringback.garbage import uncollected
from ringback.sessions.ingest.file_share import Cut, FileImport, ShareImport, Work
from ringback.sessions.story import Hop

_MOST_HOPS = 100_000  # known by number at both ends of the pipe
_PIPE_BYTES = 1 << 20
_WAITING = 1  # cuts that wait for the process to take them

# fed, first_us, last_us, hops known before `fresh`, fresh hops, columns of the messages, payloads end to end
_Packed = tuple[int, int, int, int, list[Hop], bytes, bytes, bytes, bytes, list[str] | None, bytes]


class ShareProcess:
    """The importer's end. `send` waits while the process is behind."""

    def __init__(self, work: Work, store_url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ringback.sessions.ingest.share_process"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, pipesize=_PIPE_BYTES,
        )  # fmt: skip
        self._stdin, self._stdout = cast("BinaryIO", self._process.stdin), cast("BinaryIO", self._process.stdout)
        self._hops: dict[int, int] = {}  # id -> number
        self._kept: list[Hop] = []  # so that no other object gets their ids
        self._waiting: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()
        self._waiting.put(pickle.dumps((work, store_url)))

    def send(self, cut: Cut) -> None:
        if len(self._kept) > _MOST_HOPS:
            self._hops.clear()
            self._kept.clear()
        self._waiting.put(pickle.dumps(self._pack(cut)))

    def result(self) -> FileImport:
        """After the last cut; waits for it. Raises what the process met."""
        self._waiting.put(pickle.dumps(None))
        self._waiting.put(None)
        document = self._stdout.read()
        if not document:
            raise OSError(f"a process of the import ended with code {self._process.wait()}; the same command goes on")
        result: FileImport | Exception = pickle.loads(document)  # noqa: S301 -- our child
        if isinstance(result, Exception):
            raise result
        return result

    def end(self) -> None:
        """Whatever it is doing: what it stored is stored."""
        self._process.kill()
        self._process.wait()
        while self._writer.is_alive():
            try:
                self._waiting.put(None, timeout=0.05)
            except queue.Full:
                continue
            self._writer.join()
        self._stdin.close()
        self._stdout.close()

    def _write(self) -> None:
        """In a thread of its own, so that the importer's share goes on. A process that died takes no more."""
        alive = True
        while (data := self._waiting.get()) is not None:
            try:
                if alive:
                    self._stdin.write(data)
                    self._stdin.flush()
            except (BrokenPipeError, ValueError):
                alive = False

    def _pack(self, cut: Cut) -> _Packed:
        fed, first_us, last_us, messages = cut
        if not messages:
            return fed, first_us, last_us, len(self._kept), [], b"", b"", b"", b"", None, b""
        times, hops, payloads, marks, correlations = zip(*messages, strict=True)
        known, before = self._hops, len(self._kept)
        numbers = array("I")
        for hop in hops:
            number = known.get(id(hop))
            if number is None:
                number = known[id(hop)] = len(self._kept)
                self._kept.append(hop)
            numbers.append(number)
        return (
            fed, first_us, last_us, before, self._kept[before:], array("q", times).tobytes(), numbers.tobytes(),
            array("I", map(len, payloads)).tobytes(), array("I", marks).tobytes(),
            list(correlations) if any(correlations) else None, b"".join(payloads),
        )  # fmt: skip


def _unpack(packed: _Packed, hops: list[Hop]) -> Cut:
    fed, first_us, last_us, before, fresh, times, numbers, lengths, marks, correlations, data = packed
    del hops[before:]
    hops += fresh
    ends = accumulate(array("I", lengths), initial=0)
    messages = zip(
        array("q", times),
        map(hops.__getitem__, array("I", numbers)),
        [data[start:end] for start, end in pairwise(ends)],
        array("I", marks),
        correlations or [""] * (len(times) // 8),
        strict=True,
    )
    return Cut(fed, first_us, last_us, list(messages))


def _cuts(stdin: BinaryIO) -> Iterable[Cut]:
    hops: list[Hop] = []
    while (packed := pickle.load(stdin)) is not None:  # noqa: S301 -- from the importer, our parent
        yield _unpack(packed, hops)


def main() -> None:
    stdin = sys.stdin.buffer
    result: FileImport | Exception
    try:
        work, store_url = pickle.load(stdin)  # noqa: S301 -- from the importer, our parent
        store = open_store(store_url)
        try:
            with uncollected():
                share = ShareImport(store, work)
                for cut in _cuts(stdin):
                    share.take(cut)
                share.finish()
            result = share.result
        finally:
            store.close()
    except EOFError:
        os._exit(1)  # the importer is gone; the next one goes on from there
    except OSError as error:
        result = error
    except EventStoreError as error:
        result = EventStoreError(str(error))  # an engine's own kinds may not be made from their text alone
    sys.stdout.buffer.write(pickle.dumps(result))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
