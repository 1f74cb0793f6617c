"""The spool: its files, what workers make of them over crashes, and the receiver's part."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest
from collecting import EVER, PHONE, options, stored_payloads
from hypothesis import given, settings
from hypothesis import strategies as st

from ringback.events import Batch, EventStore, EventStoreError, LogQuery, LogRecord, open_store
from ringback.sessions.capture.hep import LOG, encode
from ringback.sessions.ingest import backlog as backlogs
from ringback.sessions.ingest import spool, spooler, worker
from ringback.sessions.ingest.backlog import Backlog, Progress
from ringback.sessions.ingest.chunks import Chunk, Reference, chunks_of, pack, pack_shares, worker_of
from ringback.sessions.ingest.spool import (
    Board,
    Frame,
    FrameDamaged,
    SpoolFull,
    SpoolWriter,
    drop_committed,
    lay_out,
    read_frame,
    scan,
    sizes,
)
from ringback.sessions.ingest.spooler import Spooler
from ringback.sessions.ingest.worker import Configuration, Worker
from ringback.sessions.keys import DEFAULT_RULES
from running import PATIENCE

NOW = 1_795_348_800_000_000  # noon
DAY_US = 86_400_000_000
LIMIT = 1 << 30


def datas(count: int) -> list[bytes]:
    return [(b"frame %d: " % number) + random.Random(number).randbytes(40) + b"x" * 300 for number in range(count)]


def written(folder: Path, contents: list[bytes], limit: int = LIMIT) -> list[Frame]:
    writer = SpoolWriter(folder, limit)
    frames = [writer.append(n * spool.STEP, data, n, NOW + n) for n, data in enumerate(contents, 1)]
    writer.close()
    return frames


def readable(folder: Path) -> dict[int, bytes]:
    """Number -> content of every frame that is whole."""
    found = {}
    for frame in scan(folder)[0]:
        try:
            found[frame.number // spool.STEP] = read_frame(folder, frame.file, frame.offset, frame.number)
        except FrameDamaged:
            continue
    return found


def test_frames_are_found_as_they_were_written_and_files_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "FILE_BYTES", 1000)
    contents = datas(20)
    frames = written(tmp_path, contents)
    assert scan(tmp_path) == (frames, 0)
    assert readable(tmp_path) == dict(enumerate(contents, 1))
    assert len(sizes(tmp_path)) > 2
    assert all(size <= 1000 for size in sizes(tmp_path).values())


def test_a_file_torn_anywhere_loses_the_torn_frame_and_no_other(tmp_path: Path) -> None:
    contents = datas(3)
    frames = written(tmp_path, contents)
    (path,) = tmp_path.glob("*.spool")
    whole = path.read_bytes()
    ends = [frame.offset + frame.size for frame in frames]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        kept = sum(end <= size for end in ends)
        assert readable(tmp_path) == dict(enumerate(contents[:kept], 1))
        assert scan(tmp_path)[1] == size - ([0, *ends][kept])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_byte_costs_its_own_frame_at_most(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        contents = datas(4)
        frames = written(Path(folder), contents)
        (path,) = Path(folder).glob("*.spool")
        whole = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, 9999)) % len(whole)  # a compressed frame may be a byte longer another time
        whole[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(whole)
        hit = next(n for n, frame in enumerate(frames, 1) if frame.offset <= at < frame.offset + frame.size)
        assert readable(Path(folder)) == {n: each for n, each in enumerate(contents, 1) if n != hit}


def test_beyond_the_limit_and_into_the_reserve_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpoolFull, match="RINGBACK_SPOOL_BYTES"):
        written(tmp_path, datas(10), limit=1000)
    assert 0 < sum(sizes(tmp_path).values()) <= 1000
    monkeypatch.setattr(spool, "RESERVE_BYTES", 1 << 60)
    with pytest.raises(SpoolFull, match="left to the store"):
        SpoolWriter(tmp_path, LIMIT).append(99 * spool.STEP, b"x", 1, NOW)


def test_files_are_dropped_when_all_in_them_is_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "FILE_BYTES", 1000)
    frames = written(tmp_path, datas(20))
    second = sorted({frame.file for frame in frames})[1]
    drop_committed(tmp_path, second)  # the first frame of the second file
    assert min(sizes(tmp_path)) == second
    drop_committed(tmp_path, frames[-1].number)
    assert not sizes(tmp_path)


def test_the_layout_is_kept_while_frames_are(tmp_path: Path) -> None:
    assert lay_out(tmp_path, 2, "a")[0].layers == (2,)
    written(tmp_path, datas(1))
    assert lay_out(tmp_path, 2, "b") == (spool.Layout("a", (2,)), True)
    assert lay_out(tmp_path, 3, "c") == (spool.Layout("a", (2, 3)), True)
    assert lay_out(tmp_path, 2, "d") == (spool.Layout("a", (2, 3, 2)), True)
    drop_committed(tmp_path, 1 << 60)
    assert lay_out(tmp_path, 2, "e") == (spool.Layout("e", (2,)), False)


def test_a_second_collector_waits_for_the_processes_of_the_first(tmp_path: Path) -> None:
    with spool.locked(tmp_path, 1.0), pytest.raises(TimeoutError), spool.locked(tmp_path, 0.1):
        pass
    with spool.locked(tmp_path, 0.1):
        pass


# The workers


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


class Mortal:
    """A store whose process dies at its `dies_at`-th write, before it or after."""

    def __init__(self, store: EventStore, dies_at: int, *, after: bool) -> None:
        self._store = store
        self._left = dies_at
        self._after = after

    def _written(self, write: Callable[[], None]) -> None:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        write()
        if self._left == 0:
            raise Killed

    def write(self, batch: Batch) -> None:
        self._written(lambda: self._store.write(batch))

    def write_logs(self, records: list[LogRecord]) -> None:
        self._written(lambda: self._store.write_logs(records))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Away:
    """A store that cannot be written while `away`, from its `after`-th write on."""

    def __init__(self, store: EventStore, after: int = 0) -> None:
        self._store = store
        self.away = True
        self._left = after
        self.tries = 0

    def write(self, batch: Batch) -> None:
        self.tries += 1
        if self.away and self._left <= 0:
            raise EventStoreError("it is away")
        self._left -= 1
        self._store.write(batch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@dataclass
class Traffic:
    """Packets of a few calls over two days; every payload is another one."""

    sent: Counter[bytes] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)

    def chunk(self, count: int) -> bytes:
        packets = []
        for _ in range(count):
            number = self.sent.total() + self.lines.total()
            time_us = NOW + number * 1000 + DAY_US * (number % 3 == 1)
            if number % 7 == 3:
                self.lines[f"line {number}"] += 1
                packets.append(encode(time_us, PHONE, f"line {number}".encode(), payload_type=LOG))
                continue
            payload = options(f"call-{number % 5}@h", caller=f"1210{number:06d}")
            self.sent[payload] += 1
            packets.append(encode(time_us, PHONE, payload))
        return pack(NOW, ["192.0.2.1", "192.0.2.2"], [n % 2 for n in range(count)], packets)


@contextmanager
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "RETRY_SECONDS", 0.0)
        patch.setattr(Worker, "_tell", lambda self: None)
        yield


def life(folder: Path, store: EventStore, number: int, of: int, name: str) -> Worker:
    """Worker `number` of `of` at its start."""
    layout, kept = lay_out(folder / "spool", of, name)
    backlog = Backlog(folder / "spool", LIMIT, layout, number, Board(Board.make(of), of))
    made = Worker(Configuration(number, "", None, "console"), store, DEFAULT_RULES, backlog=backlog)
    made.recall(kept=kept)
    return made


def references(folder: Path, kept: int) -> list[Reference]:
    frames = scan(folder / "spool")[0]
    return [Reference(each.number, each.packets, each.file, each.offset, each.number <= kept) for each in frames]


def stored_lines(store: EventStore) -> Counter[str]:
    page = store.search_logs(LogQuery(("default",), 0, EVER), limit=1000)
    assert page.cursor is None
    return Counter(record.text for record in page.records)


@dataclass(frozen=True)
class Life:
    """One collector's. It is killed at a write, or stopped while its store is away, which loses nothing."""

    workers: int
    frames: list[int]  # packets of each new frame
    ends_at: int  # write of each worker that is its last
    killed: bool
    after: bool  # killed after the write, not before
    batch: int  # chunks and frames a flush
    live: list[int]  # packets of each chunk that comes live, where nobody is killed
    frames_first: bool
    unread: int  # frames at the end that a stopped worker leaves


lives_of_a_spool = st.lists(
    st.builds(
        Life,
        workers=st.integers(1, 3),
        frames=st.lists(st.integers(1, 12), max_size=3),
        ends_at=st.integers(1, 5),
        killed=st.booleans(),
        after=st.booleans(),
        batch=st.integers(1, 4),
        live=st.lists(st.integers(1, 8), max_size=3),
        frames_first=st.booleans(),
        unread=st.integers(0, 2),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40, deadline=None)
@given(lives_of_a_spool, st.integers(1, 3))
def test_after_any_ends_with_any_numbers_of_workers_every_packet_is_stored_once(
    lives: list[Life], last_workers: int
) -> None:
    traffic = Traffic()
    with TemporaryDirectory() as name, quick():
        folder = Path(name)
        (folder / "spool").mkdir()
        for turn, each in enumerate(lives):
            lived(folder, each, traffic, f"{turn}")
        last = Life(last_workers, [], 1000, killed=False, after=False, batch=2, live=[], frames_first=True, unread=0)
        lived(folder, last, traffic, "last")
        store = open_store(f"sqlite:{folder / 'events'}")
        found = Counter(payload for own in stored_payloads(store).values() for payload in own)
        assert found == traffic.sent
        assert stored_lines(store) == traffic.lines
        store.close()
        assert not sizes(folder / "spool")


def lived(folder: Path, each: Life, traffic: Traffic, name: str) -> None:
    """What a collector does, worker by worker."""
    layout, kept_any = lay_out(folder / "spool", each.workers, name)
    frames = scan(folder / "spool")[0]
    kept = frames[-1].number if frames else 0
    numbers = spool.Numbers(folder / "spool", kept)
    writer = SpoolWriter(folder / "spool", LIMIT)
    for count in each.frames:
        writer.append(numbers.next(), traffic.chunk(count), count, NOW)
    writer.close()
    numbers.close()
    live = [chunk for count in ([] if each.killed else each.live) for chunk in chunks_of(traffic.chunk(count))]
    shares = [
        pack_shares(chunk.received_us, chunk.senders, chunk.sender_of or (), list(chunk.packets()), each.workers)
        for chunk in live
    ]
    waiting = references(folder, kept)
    done = []
    for number in range(each.workers):
        store = open_store(f"sqlite:{folder / 'events'}")
        ending = Mortal(store, each.ends_at, after=each.after) if each.killed else Away(store, each.ends_at - 1)
        board = Board(Board.make(each.workers), each.workers)
        backlog = Backlog(folder / "spool", LIMIT, layout, number, board)
        one = Worker(
            Configuration(number, "", None, "console"), cast("EventStore", ending), DEFAULT_RULES, backlog=backlog
        )
        one.recall(kept=kept_any)
        if not each.killed:
            one.hurry()
        read = waiting if each.killed else waiting[: len(waiting) - each.unread]
        own = [chunk for share in shares for chunk in chunks_of(share[number])]
        work: list[Chunk | Reference] = [*read, *own] if each.frames_first else [*own, *read]
        try:
            for place, item in enumerate(work, 1):
                if isinstance(item, Chunk):
                    one.take(item)
                elif not one.saving:
                    one.take_frame(item)
                if place % each.batch == 0:
                    one.flush()
            reading, writing = os.pipe()
            os.close(writing)
            one.run([reading])
            os.close(reading)
        except Killed:
            continue
        finally:
            store.close()
        done.append(one.report.frame)
    if len(done) == each.workers:
        drop_committed(folder / "spool", min(done))


def test_packets_of_a_call_id_are_stored_in_the_order_of_their_receipt(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    sent = [options(f"call-{n % 3}@h", caller=f"1210{n:06d}") for n in range(60)]
    writer = SpoolWriter(tmp_path / "spool", LIMIT)
    for start in range(0, 60, 20):
        packets = [encode(NOW + start + n, PHONE, each) for n, each in enumerate(sent[start : start + 20])]
        writer.append(spool.STEP * (start + 1), pack(NOW, ["192.0.2.1"], [], packets), 20, NOW)
    writer.close()
    store = open_store(f"sqlite:{tmp_path / 'events'}")
    with quick():
        for number in range(2):
            one = life(tmp_path, store, number, 2, "a")
            for reference in references(tmp_path, 0):
                one.take_frame(reference)
            one.flush()
    expected: dict[str, list[bytes]] = {}
    for n, each in enumerate(sent):
        expected.setdefault(f"call-{n % 3}@h", []).append(each)
    assert stored_payloads(store) == expected
    store.close()


def test_a_store_that_comes_back_gets_everything_however_long_it_was_away(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    traffic = Traffic()
    store = open_store(f"sqlite:{tmp_path / 'events'}")
    away = Away(store)
    with quick(), pytest.MonkeyPatch.context() as patch:
        one = life(tmp_path, cast("EventStore", away), 0, 1, "a")

        def rest(seconds: float) -> None:
            away.away = away.tries <= 5 * worker.TRIES

        patch.setattr(one, "_sleep", rest)
        for chunk in chunks_of(traffic.chunk(50)):
            one.take(chunk)
        one.flush()
    assert away.tries > 5 * worker.TRIES
    assert dict(one.report.refused) == {}
    assert (one.report.stored, one.report.logs) == (traffic.sent.total(), traffic.lines.total())
    store.close()


def test_a_batch_is_given_up_only_when_the_spool_has_no_room_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spool").mkdir()
    traffic = Traffic()
    store = open_store(f"sqlite:{tmp_path / 'events'}")
    with quick():
        one = life(tmp_path, cast("EventStore", Away(store)), 0, 1, "a")
        for chunk in chunks_of(traffic.chunk(20)):
            one.take(chunk)
        monkeypatch.setattr(backlogs, "has_room", lambda folder, limit: False)
        one.flush()
    assert dict(one.report.refused) == {"store failed": traffic.sent.total()}
    store.close()


@pytest.mark.parametrize("written_days", [0, 1])
def test_what_a_worker_holds_at_the_end_is_saved_and_stored_once_by_the_next(
    tmp_path: Path, written_days: int
) -> None:
    """Frames and live packets in one batch; the store goes away before the batch, or between its two days."""
    (tmp_path / "spool").mkdir()
    traffic = Traffic()
    for turn in range(3):  # the store stays away over two starts
        workers = (2, 2, 3)[turn]
        lay_out(tmp_path / "spool", workers, f"{turn}")
        kept = max((frame.number for frame in scan(tmp_path / "spool")[0]), default=0)
        if turn == 0:
            writer = SpoolWriter(tmp_path / "spool", LIMIT)
            writer.append(spool.STEP, traffic.chunk(30), 30, NOW)
            writer.close()
        live = list(chunks_of(traffic.chunk(40))) if turn < 2 else []
        shares = [
            pack_shares(chunk.received_us, chunk.senders, chunk.sender_of or (), list(chunk.packets()), workers)
            for chunk in live
        ]
        before = references(tmp_path, kept)
        for number in range(workers):
            store = open_store(f"sqlite:{tmp_path / 'events'}")
            with quick():
                away = Away(store, written_days)
                away.away = turn < 2
                one = life(tmp_path, cast("EventStore", away), number, workers, "")
                for reference in before:
                    one.take_frame(reference)
                for share in shares:
                    for chunk in chunks_of(share[number]):
                        one.take(chunk)
                if turn < 2:
                    one.hurry()
                reading, writing = os.pipe()
                os.close(writing)
                one.run([reading])
                os.close(reading)
                assert dict(one.report.refused) == {}
            store.close()
    store = open_store(f"sqlite:{tmp_path / 'events'}")
    found = Counter(payload for own in stored_payloads(store).values() for payload in own)
    assert found == traffic.sent
    assert stored_lines(store) == traffic.lines
    store.close()


def test_a_frame_that_cannot_be_read_is_counted_by_one_worker(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    traffic = Traffic()
    writer = SpoolWriter(tmp_path / "spool", LIMIT)
    for number in range(1, 4):
        writer.append(number * spool.STEP, traffic.chunk(10), 10, NOW)
    writer.close()
    frames = scan(tmp_path / "spool")[0]
    (path,) = (tmp_path / "spool").glob("*.spool")
    content = bytearray(path.read_bytes())
    content[frames[1].offset + frames[1].size - 1] ^= 1
    path.write_bytes(content)
    store = open_store(f"sqlite:{tmp_path / 'events'}")
    refused: Counter[str] = Counter()
    done = 0
    with quick():
        for number in range(2):
            one = life(tmp_path, store, number, 2, "a")
            for reference in references(tmp_path, 0):
                one.take_frame(reference)
            one.flush()
            refused.update(one.report.refused)
            done += one.report.stored + one.report.logs
            assert one.report.frame == frames[-1].number
    assert refused == {"spool damaged": 10}
    assert done == 20
    store.close()


@given(
    st.integers(0, 9), st.lists(st.tuples(st.integers(0, 20), st.lists(st.integers(0, 3), max_size=3)), max_size=3)
)
def test_progress_comes_out_of_a_mark_as_it_went_in(frame: int, partial: list[tuple[int, list[int]]]) -> None:
    progress = Progress(frame, tuple((until, tuple(days)) for until, days in partial))
    assert Progress.parse(str(progress)) == progress


# The receiver's side


def settled(spooler_: Spooler, until: Callable[[], bool]) -> list[Reference]:
    found: list[Reference] = []
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < deadline
        found += spooler_.turn()
        time.sleep(0.005)
    return [*found, *spooler_.turn()]


def test_chunks_become_frames_that_are_forgotten_once_all_workers_have_stored_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooler, "FRAME_BYTES", 3000)
    board = Board(Board.make(2), 2)
    tried = Spooler(tmp_path, LIMIT, board)
    traffic = Traffic()
    sent = [traffic.chunk(5) for _ in range(10)]
    for chunk in sent:
        tried.add(chunk)
    tried.cut()
    found = settled(tried, lambda: tried.spooled == 50)
    assert b"".join(read_frame(tmp_path, each.file, each.offset, each.number) for each in found) == b"".join(sent)
    assert [each.number for each in found] == sorted({each.number for each in found})
    assert (tried.packets, tried.size > 0, tried.caught_up) == (50, True, False)
    for number in range(2):
        assert not tried.caught_up
        board.take(number, found[-1].number)
    assert tried.caught_up
    board.commit(0, found[-1].number)
    board.commit(1, found[1].number)
    tried.turn()
    assert 0 < tried.packets < 50
    board.commit(1, found[-1].number)
    settled(tried, lambda: not sizes(tmp_path))
    assert (tried.packets, tried.size, tried.oldest_us) == (0, 0, 0)
    tried.add(sent[0])
    assert tried.withdraw() == [sent[0]]
    tried.add(sent[1])
    tried.finish()
    assert [frame.packets for frame in scan(tmp_path)[0]] == [5]


def test_what_finds_no_room_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spooler, "FRAME_BYTES", 3000)
    board = Board(Board.make(1), 1)
    tried = Spooler(tmp_path, 2500, board)
    traffic = Traffic()
    for _ in range(20):
        tried.add(traffic.chunk(5))
    tried.cut()
    found = settled(tried, lambda: tried.spooled + tried.refused.total() == 100)
    assert set(tried.refused) == {"spool full"}
    assert sum(each.packets for each in found) == tried.spooled == tried.packets > 0
    assert sum(sizes(tmp_path).values()) <= 2500
    board.take(0, found[-1].number)
    assert tried.caught_up  # what was refused is not waited for
    board.commit(0, found[-1].number)
    settled(tried, lambda: tried.size == 0)
    tried.add(traffic.chunk(5))  # there is room again
    tried.finish()
    assert tried.spooled == sum(each.packets for each in found) + 5


def test_frames_of_an_earlier_collector_come_first(tmp_path: Path) -> None:
    written(tmp_path, [Traffic().chunk(3), Traffic().chunk(2)])
    tried = Spooler(tmp_path, LIMIT, Board(Board.make(1), 1))
    tried.add(Traffic().chunk(1))
    tried.cut()
    found = settled(tried, lambda: tried.spooled == 1)
    assert [(each.packets, each.kept) for each in found] == [(1, True), (2, True), (1, False)]
    assert tried.kept == 2 * spool.STEP


def test_shares_hold_every_packet_once_and_each_call_id_together() -> None:
    (chunk,) = chunks_of(Traffic().chunk(50))
    packets = list(chunk.packets())
    shares = pack_shares(chunk.received_us, chunk.senders, chunk.sender_of or (), packets, 3)
    found: list[tuple[bytes, int]] = []
    for number, share in enumerate(shares):
        for own in chunks_of(share):
            assert isinstance(own, Chunk)
            assert own.sender_of is not None
            for packet, sender in zip(own.packets(), own.sender_of, strict=True):
                assert worker_of(packet, 3) == number
                found.append((packet, sender))
    assert chunk.sender_of is not None
    assert sorted(found) == sorted(zip(packets, chunk.sender_of, strict=True))
