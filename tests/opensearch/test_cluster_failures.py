"""A cluster of three, two copies of everything, and nodes that are killed while it is written, read and fed by a collector."""

from __future__ import annotations

import re
import signal
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from opensearch_server import Cluster, cluster
from ringback import clock
from ringback.events import (
    EventStore,
    EventStoreError,
    LegQuery,
    LegRow,
    LogQuery,
    LogRecord,
    SearchTimedOut,
    SegmentUnreadable,
    StoreAway,
    open_store,
)
from ringback.events.opensearch import reading
from ringback.sessions.capture.hep import encode
from ringback.sessions.ingest.blocks import decode_block
from ringback.sessions.ingest.legs import LegTable
from ringback.sessions.ingest.packing import batches, stored
from ringback.sessions.ingest.spool import sizes
from ringback.sessions.ingest.status import CollectorStatus, read_collector_status
from ringback.sessions.story import Hop, Sighting
from running import Server, serving, until
from scenario import START_US, play

pytestmark = pytest.mark.timeout(480)

HOUR_US = 3_600_000_000
THEN = LegQuery(("default",), START_US - HOUR_US, START_US + HOUR_US)
LINES = LogQuery(("default",), START_US - HOUR_US, START_US + HOUR_US)
EVER = LegQuery(("default",), 0, 250_000_000_000_000_000)
PATIENT_S = 60.0

CALL = """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060     agent=101
    bob   = 203.0.113.9:5060    ua=Snom

    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp
    +.001  edge -> alice  100
    +.001  edge -> bob    INVITE sip:18660333777@203.0.113.9
    +.080  bob -> edge    180 Ringing
    +.001  edge -> alice  180
    1.000  bob -> edge    200 OK  sdp
    +.001  edge -> alice  200
    +.020  alice -> edge  ACK
    +.001  edge -> bob    ACK
    2.000  bob -> edge    BYE
    +.001  edge -> alice  BYE
    +.002  alice -> edge  200
    +.001  edge -> bob    200
"""
PLAYED = play(CALL).sightings


def call(number: int) -> list[Sighting]:
    """Of a call with a Call-ID of its own, begun `number` hundredths of a second after the first."""
    own = b"call-%d@acme.example" % number
    return [
        each._replace(
            time_us=each.time_us + number * 10_000, payload=each.payload.replace(b"a-call@acme.example", own)
        )
        for each in PLAYED
    ]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    with cluster(3) as nodes:
        yield nodes


@dataclass
class Whole:
    """The cluster with every node up and every copy in its place, and a store's URL with a prefix of its own."""

    nodes: Cluster
    prefix: str

    @property
    def url(self) -> str:
        hosts = ",".join(url.removeprefix("http://") for url in self.nodes.urls)
        return f"http://{hosts}/?prefix={self.prefix}&shards=3&replicas=1"

    def ask(self, path: str) -> str:
        """Of the first node that answers, as text."""
        for node in self.nodes.nodes:
            if node.runs:
                return httpx2.get(f"{node.url}/{path}", timeout=60).raise_for_status().text
        raise AssertionError("no node runs")

    def manager(self) -> int:
        """Position of the node that rules the cluster."""
        name = self.ask("_cat/cluster_manager?h=node").strip()
        return next(at for at, node in enumerate(self.nodes.nodes) if node.name == name)

    def hang(self, node: int) -> None:
        process = self.nodes.nodes[node].process
        assert process is not None
        process.send_signal(signal.SIGSTOP)

    def refresh(self) -> None:
        """What was written is found."""
        self.ask(f"{self.prefix}-*/_refresh")

    def wait_until_green(self) -> None:
        """Every copy of every shard is in its place."""
        until(lambda: '"status":"green"' in self.ask("_cluster/health"), 120)

    def restore(self) -> None:
        """Every node runs again."""
        missing = [node for node in self.nodes.nodes if not node.runs]
        for node in missing:
            node.start()
        for node in missing:
            node.wait(len(self.nodes.nodes))


@pytest.fixture
def whole(nodes: Cluster) -> Whole:
    found = Whole(nodes, f"ringback-{uuid.uuid4().hex[:12]}")
    found.restore()
    everything = {"expand_wildcards": "all"}
    httpx2.delete(f"{nodes.urls[0]}/ringback-*", params=everything, timeout=60).raise_for_status()
    found.wait_until_green()
    return found


@contextmanager
def opened(url: str) -> Iterator[EventStore]:
    store = open_store(url)
    try:
        yield store
    finally:
        store.close()


def legs_of(store: EventStore, query: LegQuery, limit: int = 500, deadline_s: float = PATIENT_S) -> list[LegRow]:
    """Of all pages."""
    found: list[LegRow] = []
    cursor = None
    while True:
        page = store.search(query, limit=limit, cursor=cursor, deadline_s=deadline_s)
        found += page.rows
        if page.cursor is None:
            return found
        assert len(page.rows) == limit, "a page is short, and another follows"
        cursor = page.cursor


def messages_of(store: EventStore, legs: list[LegRow], deadline_s: float = PATIENT_S) -> Counter[Sighting]:
    slices = store.blocks(legs, deadline_s=deadline_s)
    return Counter(message for each in slices for message in decode_block(each.data, each.first, each.count))


@dataclass
class Writer:
    """Writes calls as a worker does: what is refused is tried again until it is taken."""

    store: EventStore
    first: int  # number of its first call
    written: list[Sighting] = field(default_factory=list)  # their write returned
    batches: int = 0
    errors: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """A hundred calls side by side: each batch has another part of every call."""
        table = LegTable(most=10_000)
        number = self.first
        while not self.stop.is_set():
            calls = [call(number + n) for n in range(100)]
            number += len(calls)
            for at in range(0, len(PLAYED), 3):
                messages = [message for each in calls for message in each[at : at + 3]]
                table.add(messages)
                taken = table.take(messages[-1].time_us)
                for batch in batches(taken).values():
                    self._until_taken(lambda batch=batch: self.store.write(batch))  # type: ignore[misc]
                stored(taken)
                self.written += messages
                self.batches += 1

    def _until_taken(self, write: Callable[[], None]) -> None:
        while True:
            try:
                write()
            except EventStoreError as error:
                self.errors.append(f"{type(error).__name__}: {error}")
                assert len(self.errors) < 100
                time.sleep(0.5)
            else:
                return


def test_what_was_written_while_a_node_was_killed_is_all_there_and_once(whole: Whole) -> None:
    with ExitStack() as stores, ThreadPoolExecutor(3) as pool:
        writers = [Writer(stores.enter_context(opened(whole.url)), 100_000 * host) for host in range(3)]
        writing = [pool.submit(writer.run) for writer in writers]

        def until_written(more: int) -> None:
            before = [writer.batches for writer in writers]

            def enough() -> bool:
                return all(each.batches >= was + more for each, was in zip(writers, before, strict=True))

            until(lambda: enough() or any(each.done() for each in writing), 120)

        try:
            until_written(3)
            whole.wait_until_green()
            until_written(3)
            victim = whole.manager()
            whole.hang(victim)
            time.sleep(1)  # now every writer waits for an answer
            whole.nodes.kill(victim)
            until_written(8)
        finally:
            for writer in writers:
                writer.stop.set()
        for each in writing:
            each.result()
        assert '"number_of_nodes":2,' in whole.ask("_cluster/health")
        written = Counter(message for writer in writers for message in writer.written)
        assert set(written.values()) == {1}

        store = writers[0].store
        whole.refresh()
        legs = legs_of(store, THEN)
        assert len(legs) == written.total() // len(PLAYED)
        assert len({leg.call_id for leg in legs}) == len(legs)
        assert {leg.messages for leg in legs} == {len(PLAYED)}
        assert {leg.outcome for leg in legs} == {"answered"}
        assert messages_of(store, legs) == written
        outcomes = [bucket.outcomes for bucket in store.histogram(THEN, 60_000_000, deadline_s=PATIENT_S)]
        assert sum(map(Counter, outcomes), Counter()) == {"answered": len(legs)}
        for at in (0, len(legs) // 2, -1):
            number = int(legs[at].call_id.removeprefix("call-").partition("@")[0])
            assert messages_of(store, [legs[at]]) == Counter(call(number))


@dataclass
class Reader:
    """Asks one question again and again; the answer is known."""

    ask: Callable[[], object]
    expected: object
    whole: int = 0
    wrong: list[object] = field(default_factory=list)
    errors: list[EventStoreError] = field(default_factory=list)

    def once(self) -> None:
        try:
            answer = self.ask()
        except EventStoreError as error:
            self.errors.append(error)
            time.sleep(0.1)
        else:
            if answer == self.expected:
                self.whole += 1
            else:
                self.wrong.append(answer)

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.once()


CALLS = 300
ASKED_S = 10.0
WHY: dict[type[Exception], str] = {
    SearchTimedOut: "not everything was read within 10 s|a shard had no time",
    SegmentUnreadable: "disconnected|not connected|shards|lost the point in time",
    StoreAway: "does not answer|is not ready",
}


def questions(store: EventStore) -> list[Reader]:
    ids = {f"call-{number}@acme.example" for number in range(CALLS)}
    texts = [f"line {number}" for number in range(CALLS)]
    legs = legs_of(store, THEN)
    some = legs[: CALLS // 2]
    keys = set.intersection(*(leg.keys for leg in legs))  # they differ in their Call-IDs only
    assert keys

    def all_legs() -> object:
        found = [leg.call_id for leg in legs_of(store, THEN, 90, ASKED_S)]
        return len(found), set(found)

    def one_number() -> object:
        return len(store.search(THEN, limit=CALLS, deadline_s=ASKED_S).rows)

    def stories() -> object:
        return messages_of(store, some, ASKED_S)

    def linked() -> object:
        found = store.by_keys(("default",), keys, THEN.start_us, THEN.end_us, CALLS, ASKED_S)
        return sorted(leg.call_id for leg in found)

    def sessions() -> object:
        return sum(sum(each.outcomes.values()) for each in store.histogram(THEN, 60_000_000, deadline_s=ASKED_S))

    def lines() -> object:
        page = store.search_logs(LINES, limit=CALLS, deadline_s=ASKED_S)
        return [record.text for record in page.records]

    expected = Counter(m for leg in some for m in call(int(leg.call_id.removeprefix("call-").partition("@")[0])))
    return [
        Reader(all_legs, (CALLS, ids)),
        Reader(one_number, CALLS),
        Reader(stories, expected),
        Reader(linked, sorted(ids)),
        Reader(sessions, CALLS),
        Reader(lines, texts),
    ]


def test_a_search_answers_in_full_or_says_why_not_while_nodes_die(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PAGE", 40)  # most answers take several requests: a point in time dies with its node
    with opened(whole.url) as store:
        table = LegTable(most=10_000)
        table.add([message for number in range(CALLS) for message in call(number)])
        taken = table.take(START_US + HOUR_US)
        for batch in batches(taken).values():
            store.write(batch)
        store.write_logs(
            [LogRecord("default", START_US + n, "node", "edge", "info", f"line {n}") for n in range(CALLS)]
        )
        whole.wait_until_green()
        whole.refresh()
        readers = questions(store)
        stop = threading.Event()

        def until_all(hold: Callable[[], bool]) -> None:
            until(lambda: hold() or any(reader.wrong for reader in readers))
            assert [reader.wrong for reader in readers] == [[]] * len(readers)

        def all_answered(more: int) -> None:
            before = [reader.whole for reader in readers]
            until_all(lambda: all(each.whole >= was + more for each, was in zip(readers, before, strict=True)))

        with ThreadPoolExecutor(len(readers)) as pool:
            running = [pool.submit(reader.run, stop) for reader in readers]
            try:
                all_answered(2)
                first = whole.manager()
                whole.nodes.kill(first)
                all_answered(2)  # the other two have a copy of everything
                told = [len(reader.errors) for reader in readers]
                whole.nodes.kill((first + 1) % 3)  # the third alone has not everything
                until_all(lambda: all(len(each.errors) > was + 1 for each, was in zip(readers, told, strict=True)))
            finally:
                stop.set()
            for done in running:
                done.result()
        assert not any(reader.wrong for reader in readers)
        for error in (error for reader in readers for error in reader.errors):
            assert re.search(WHY[type(error)], str(error), re.IGNORECASE), repr(error)

        whole.restore()
        whole.wait_until_green()
        for reader in readers:
            before = reader.whole, len(reader.errors)
            reader.once()
            assert (reader.whole - 1, len(reader.errors), reader.wrong) == (*before, [])


_HOP = Hop("udp", "198.51.100.23", 5060, "192.0.2.10", 5060, "101")
_BODY = b"m=audio 30000 RTP/AVP 8 0 101\r\n" * 320  # 10 kB: fewer packets fill the memory that comes before the spool


def payload(number: int) -> bytes:
    """Of a hundred dialogs; each is another one."""
    return (
        b"INFO sip:18660333777@acme.example SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.23;branch=z9hG4bK%d\r\n"
        b"From: <sip:12103355787@acme.example>;tag=1\r\nTo: <sip:18660333777@acme.example>;tag=2\r\n"
        b"Call-ID: dialog-%d@acme.example\r\nCSeq: %d INFO\r\nContent-Length: %d\r\n\r\n%b"
        % (number, number % 100, number + 1, len(_BODY), _BODY)
    )


def send(server: Server, numbers: range) -> None:
    """No faster than they are taken from the socket: the kernel drops none."""
    host, _, port = server.hep["udp"].rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((host, int(port)))
        for number in numbers:
            sender.send(encode(clock.now_us(), _HOP, payload(number)))
            if number % 8 == 7:
                until(lambda: not queued(int(port)))


def queued(port: int) -> int:
    """Bytes that wait in the UDP socket of that port."""
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return sum(int(row[4].partition(":")[2], 16) for row in rows if int(row[1].rpartition(":")[2], 16) == port)


def test_packets_that_come_while_no_node_is_there_wait_on_disk_and_are_stored_once(
    whole: Whole, tmp_path: Path
) -> None:
    data = tmp_path / "collector"

    def status() -> CollectorStatus:
        return read_collector_status(data) or CollectorStatus()

    environ = {"RINGBACK_EVENTS_URL": whole.url, "RINGBACK_ADMIN": "127.0.0.1:0", "RINGBACK_HEP_WORKERS": "2"}
    with serving(data, "--role", "collect", wait_for="HEP: tcp", environ=environ) as server:
        send(server, range(200))
        until(lambda: status().stored == 200)
        whole.wait_until_green()
        whole.nodes.stop()
        send(server, range(200, 3000))
        until(lambda: status().received == 3000 and bool(status().problem) and status().spool_packets > 0)
        away = status()
        assert (away.stored, away.waiting, away.lost) == (200, 2800, {})
        assert "does not answer" in away.problem
        whole.restore()
        until(lambda: status().stored == 3000, 120)
        send(server, range(3000, 3100))
        until(lambda: status().stored == 3100 and not status().spool_packets)
        assert server.stop() == 0
    last = status()
    assert (last.received, last.stored, last.waiting, last.lost) == (3100, 3100, 0, {})
    assert last.spooled > 500
    assert not sizes(data / "spool")
    with opened(whole.url) as store:
        legs = legs_of(store, EVER)
        assert {leg.call_id for leg in legs} == {f"dialog-{number}@acme.example" for number in range(100)}
        assert sum(leg.messages for leg in legs) == 3100
        found = Counter(message.payload for message in messages_of(store, legs).elements())
        assert found == Counter(payload(number) for number in range(3100))
