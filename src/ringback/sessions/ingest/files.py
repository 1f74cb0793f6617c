"""Captures taken into the event store, again and again without storing anything twice.

A file is known by a fingerprint of its content, and what is stored of it by marks in the store (see `file_share`). A
large file is shared by several processes: each reads all of it, which is cheap, and stores the messages of its Call-IDs.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from ringback.events import EventStore
from ringback.sessions.capture.pcap import NotACapture
from ringback.sessions.ingest.file_share import FileImport, ImportProgress, ShareImport, Work
from ringback.sessions.keys import DEFAULT_RULES, KeyRules

__all__ = ["FileImport", "ImportProgress", "ImportSummary", "fingerprint", "import_files"]

SHARED_BYTES = 16 * 1024 * 1024  # a file from this size on is worth the start of a second process
MOST_SHARES = 4
_SAMPLE = 1 << 20
_SAMPLES = 16


@dataclass(slots=True)
class ImportSummary:
    files: list[FileImport]
    seconds: float

    @property
    def messages(self) -> int:
        return sum(file.messages for file in self.files if file.status != "already")


def import_files(
    store: EventStore,
    paths: Sequence[Path],
    progress: Callable[[ImportProgress], None] | None = None,
    *,
    force: bool = False,
    environment: str = "default",
    rules: KeyRules = DEFAULT_RULES,
    store_url: str = "",
) -> ImportSummary:
    """Each file that can be read; the others are told as failed. `force` imports a file once more that is in already.
    Where `store_url` names the same store, large files are shared by as many processes as there are cores, four at most.

    Raises EventStoreError where the store cannot be written: what was imported till then is stored, and the next call
    goes on from there.
    """
    began = time.monotonic()
    files = []
    for path in paths:
        try:
            files.append(_import_file(store, store_url, Work(path, "", environment, rules, force), progress))
        except (OSError, NotACapture) as error:
            files.append(FileImport(path, "failed", _why(error)))
    return ImportSummary(files, time.monotonic() - began)


def fingerprint(file: BinaryIO) -> str:
    """The same for the same content: its length, its beginning, and samples spread over the rest. The stamps of a
    capture's first packets differ between any two captures, so the samples need not cover everything."""
    size = file.seek(0, 2)
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    step = max(_SAMPLE, (size - _SAMPLE) // _SAMPLES)
    for place in range(0, size, step):
        file.seek(place)
        digest.update(file.read(_SAMPLE if place == 0 else _SAMPLE // _SAMPLES))
    file.seek(0)
    return digest.hexdigest()


def _import_file(
    store: EventStore, store_url: str, work: Work, progress: Callable[[ImportProgress], None] | None
) -> FileImport:
    with work.path.open("rb") as file:
        name = f"import:{work.environment}:{fingerprint(file)}"
        size = file.seek(0, 2)
    shares = _begun(store, name)
    if shares is None:
        shares = min(MOST_SHARES, os.cpu_count() or 1) if store_url and size >= SHARED_BYTES else 1
    parts = [replace(work, name=_mark_name(name, share, shares), share=share, of=shares) for share in range(shares)]
    apart, here = (parts[1:], parts[:1]) if store_url else ([], parts)
    with _processes(apart, store_url) as others:
        result, *more = [ShareImport(store, part).run(progress) for part in here]
        for other in (*more, *map(_result, others)):
            _join(result, other)
    if progress:
        progress(ImportProgress(work.path, 1.0, result.messages))
    return result


def _begun(store: EventStore, name: str) -> int | None:
    """By how many shares the file was imported before, or was begun to be; None: by none."""
    for shares in range(1, MOST_SHARES + 1):
        if any(store.mark(_mark_name(name, share, shares)) for share in range(shares)):
            return shares
    return None


def _mark_name(name: str, share: int, shares: int) -> str:
    return name if shares == 1 else f"{name}:{share}/{shares}"


@contextmanager
def _processes(parts: Sequence[Work], store_url: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """One for each part. None outlives the block, however it is left."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        for part in parts:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "ringback.sessions.ingest.share_process"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
            started.append(process)
            if process.stdin:
                process.stdin.write(pickle.dumps((part, store_url)))
                process.stdin.flush()
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()


def _result(process: subprocess.Popen[bytes]) -> FileImport:
    """Waits for it. Raises what the process met."""
    document = process.stdout.read() if process.stdout else b""
    if not document:
        raise OSError(f"a process of the import ended with code {process.wait()}; the same command goes on")
    result: FileImport | Exception = pickle.loads(document)  # noqa: S301 -- our child
    if isinstance(result, Exception):
        raise result
    return result


def _join(result: FileImport, other: FileImport) -> None:
    result.messages += other.messages
    result.legs += other.legs
    result.ignored.update(other.ignored)
    if result.status != other.status:
        result.status = "resumed"


def _why(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
