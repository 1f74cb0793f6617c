"""Captures taken into the event store, again and again without storing anything twice.

A file is known by a fingerprint of its content, and what is stored of it by marks in the store (see `file_share`). A
large file is shared by several processes: this one reads it, and each stores the messages of its Call-IDs.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from ringback.events import EventStore
from ringback.garbage import uncollected
from ringback.sessions.capture.pcap import CaptureReader, NotACapture, read_capture
from ringback.sessions.ingest.chunks import worker_of
from ringback.sessions.ingest.file_share import Cut, FileImport, Mark, ShareImport, Work
from ringback.sessions.ingest.logs import log_record, new_logs
from ringback.sessions.ingest.media_records import media_record
from ringback.sessions.ingest.share_process import ShareProcess
from ringback.sessions.keys import DEFAULT_RULES, KeyRules
from ringback.sessions.ownership.lines import with_their_sessions
from ringback.sessions.ownership.rules import ONE_TENANT, Rule, TrafficRules
from ringback.sessions.story import SightingTuple

__all__ = ["FileImport", "ImportProgress", "ImportSummary", "fingerprint", "import_files"]

SHARED_BYTES = 16 * 1024 * 1024  # a file from this size on is worth the start of a second process
MOST_SHARES = 4
BATCH_MESSAGES = 4096
BATCH_BYTES = 6 * 1024 * 1024
_READING = 0.35  # cost of reading and sharing out a message, of storing it
_BUCKETS = 256
_SAMPLE = 1 << 20
_SAMPLES = 16


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """`fraction` of the file read, 0.0-1.0; messages found in it so far."""

    path: Path
    fraction: float
    messages: int


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
    environment: str = "",
    owners: TrafficRules = ONE_TENANT,
    rules: KeyRules = DEFAULT_RULES,
    store_url: str = "",
) -> ImportSummary:
    """Each file that can be read; the others are told as failed. `force` imports a file once more that is in already.
    Everything goes to `environment`; where that is "", each leg to the one that `owners` say.
    Where `store_url` names the same store, large files are shared by as many processes as there are cores, four at most.

    Raises EventStoreError where the store cannot be written: what was imported till then is stored, and the next call
    goes on from there.
    """
    began = time.monotonic()
    files = []
    for path in paths:
        try:
            files.append(
                _import_file(
                    store,
                    path,
                    progress,
                    force=force,
                    environment=environment,
                    owners=owners,
                    rules=rules,
                    store_url=store_url,
                )
            )
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
    store: EventStore,
    path: Path,
    progress: Callable[[ImportProgress], None] | None,
    *,
    force: bool,
    environment: str,
    owners: TrafficRules,
    rules: KeyRules,
    store_url: str,
) -> FileImport:
    with path.open("rb") as file:
        content = fingerprint(file)
        size = file.seek(0, 2)
    if not environment:
        environment = (owners.sole or "") if force else _environment_of(store, content, owners)
    if environment:
        owners = TrafficRules([Rule("everything", "", environment)])
    name = _name(environment, content)
    shares = _begun(store, name)
    if shares is None:
        shares = min(MOST_SHARES, os.cpu_count() or 1) if store_url and size >= SHARED_BYTES else 1
    works = [
        Work(path, mark_name, owners, rules, None if force or not text else Mark.parse(text))
        for mark_name in (_mark_name(name, share, shares) for share in range(shares))
        for text in (store.mark(mark_name),)
    ]
    if all(work.mark and work.mark.done is not None for work in works):
        result = _joined([ShareImport(store, work).result for work in works])
    else:
        with uncollected():
            result = _import_shares(store, works, store_url, progress)
    if progress:
        progress(ImportProgress(path, 1.0, result.messages))
    return result


def _import_shares(
    store: EventStore, works: Sequence[Work], store_url: str, progress: Callable[[ImportProgress], None] | None
) -> FileImport:
    """The first share here; the others in processes of their own where `store_url` tells them the store."""
    first, path = works[0], works[0].path
    reader = read_capture(path)
    with _processes(works[1:] if store_url else (), store_url) as others:
        here = [ShareImport(store, work) for work in (works if not store_url else works[:1])]
        takers = [*(share.take for share in here), *(other.send for other in others)]
        for fed, messages in _cut(reader, [work.mark for work in works if work.mark]):
            times = [message[0] for message in messages]
            first_us, last_us = min(times), max(times)
            for take, part in zip(takers, _shared(messages, len(works)), strict=True):
                take(Cut(fed, first_us, last_us, part))
            if progress:
                progress(ImportProgress(path, reader.fraction, reader.counters.sip_messages))
        result = here[0].result
        # Lines look for their sessions, where those are not all of one environment.
        ended = [] if first.owners.sole is not None else [other.result() for other in others]
        if not here[0].is_done:
            # Before the last mark: a crash between them repeats the lines, and `new_logs` drops them then.
            _tell(store, reader, result, first.owners)
        for share in here:
            share.finish()
        return _joined([*(share.result for share in here), *(ended or [other.result() for other in others])])


def _tell(store: EventStore, reader: CaptureReader, result: FileImport, owners: TrafficRules) -> None:
    """What there is of a file once: its log lines and media figures, and what its reader counted."""
    counters = reader.counters
    lines = [log_record(line, owners) for line in reader.logs]
    media = [media_record(report, owners) for report in reader.media if report.leg]
    if fresh := new_logs(store, with_their_sessions(store, owners, [*lines, *media])):
        store.write_logs(fresh)
    result.packets, result.media_packets = counters.packets, counters.media_packets
    result.logs, result.media = len(lines), len(media)
    result.ignored.update(counters.ignored)
    result.problem = reader.problem


def _cut(reader: CaptureReader, marks: Iterable[Mark]) -> Iterator[tuple[int, list[SightingTuple]]]:
    """Batches, each with the number of the file's messages up to its end; cut by counts alone, and the places that
    `marks` tell of are always ends of batches."""
    places = sorted({place for mark in marks for place in (mark.messages, mark.until) if place})
    held: list[SightingTuple] = []
    fed = since = 0
    for piece in reader.batches():
        held += piece
        while places and fed + len(held) >= places[0]:
            count = places.pop(0) - fed
            if count:
                yield fed + count, held[:count]
            held, fed, since = held[count:], fed + count, reader.position
        if len(held) >= BATCH_MESSAGES or reader.position - since >= BATCH_BYTES:
            if held:
                yield fed + len(held), held
            fed, since, held = fed + len(held), reader.position, []
    if held:
        yield fed + len(held), held


def _shared(messages: list[SightingTuple], shares: int) -> list[list[SightingTuple]]:
    """By Call-ID. The first share is smaller: who has it reads the file for all."""
    if shares == 1:
        return [messages]
    parts: list[list[SightingTuple]] = [[] for _ in range(shares)]
    adders = [parts[share].append for share in _share_of_bucket(shares)]
    for message in messages:
        adders[worker_of(message[2], _BUCKETS)](message)
    return parts


@lru_cache
def _share_of_bucket(shares: int) -> list[int]:
    """Reading and sharing out a message costs about a third of what storing it costs."""
    own = round(_BUCKETS * max(0.0, (1 - _READING * (shares - 1)) / shares))
    return [0] * own + [1 + bucket % (shares - 1) for bucket in range(_BUCKETS - own)]


def _begun(store: EventStore, name: str) -> int | None:
    """By how many shares the file was imported before, or was begun to be; None: by none."""
    for shares in range(1, MOST_SHARES + 1):
        if any(store.mark(_mark_name(name, share, shares)) for share in range(shares)):
            return shares
    return None


def _name(environment: str, content: str) -> str:
    """What an import is known by; "*" stands for the rules."""
    return f"import:{environment or '*'}:{content}"


def _environment_of(store: EventStore, content: str, owners: TrafficRules) -> str:
    """Where a file goes that was imported before, or begun to be, by the rules ("") or into one of their environments:
    there, whatever the rules are now, so that nothing is stored twice."""
    for environment in ("", *owners.environments):
        if _begun(store, _name(environment, content)) is not None:
            return environment
    return owners.sole or ""


def _mark_name(name: str, share: int, shares: int) -> str:
    return name if shares == 1 else f"{name}:{share}/{shares}"


@contextmanager
def _processes(works: Sequence[Work], store_url: str) -> Iterator[list[ShareProcess]]:
    """One for each. None outlives the block, however it is left."""
    started: list[ShareProcess] = []
    try:
        started.extend(ShareProcess(work, store_url) for work in works)
        yield started
    finally:
        for process in started:
            process.end()


def _joined(results: Sequence[FileImport]) -> FileImport:
    result, *others = results
    for other in others:
        result.messages += other.messages
        result.legs += other.legs
        result.ignored.update(other.ignored)
        if result.status != other.status:
            result.status = "resumed"
    return result


def _why(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
