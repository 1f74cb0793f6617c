from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from collecting import EVER, PHONE, options, packets
from hypothesis import given, settings
from hypothesis import strategies as st

from ringback.events import (
    Batch,
    EventStore,
    EventStoreError,
    LogQuery,
    LogRecord,
    StoreFull,
    WriteRefused,
    open_store,
)
from ringback.sessions.capture.hep import encode
from ringback.sessions.ingest import logs, worker
from ringback.sessions.ingest.chunks import Chunk, pack, read_chunk, worker_of
from ringback.sessions.ingest.logs import TooLarge, ingest_logs, new_logs, parse_log, time_us
from ringback.sessions.ingest.status import (
    FILE,
    CollectorStatus,
    SenderStatus,
    read_collector_status,
    write_collector_status,
)
from ringback.sessions.ingest.worker import Configuration, Worker
from ringback.sessions.keys import DEFAULT_RULES


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(("192.0.2.1", "192.0.2.2", "2001:db8::1")), st.binary(max_size=50)), max_size=30
    ),
    st.integers(0, 1 << 60),
)
def test_a_chunk_comes_out_of_the_pipe_as_it_went_in(sent: list[tuple[str, bytes]], received_us: int) -> None:
    senders = sorted({sender for sender, _ in sent}) or ["192.0.2.1"]
    data = pack(received_us, senders, [senders.index(sender) for sender, _ in sent], [packet for _, packet in sent])
    reading, writing = os.pipe()
    os.write(writing, data + data[: len(data) // 2])
    os.close(writing)
    chunk = read_chunk(reading)
    assert isinstance(chunk, Chunk)
    assert chunk.received_us == received_us
    assert list(chunk.packets()) == [packet for _, packet in sent]
    if chunk.sender_of is not None:
        assert [chunk.senders[index] for index in chunk.sender_of] == [sender for sender, _ in sent]
    assert read_chunk(reading) is None  # its writer died
    os.close(reading)


def test_all_packets_of_a_call_id_go_to_one_worker_however_it_is_written() -> None:
    plain = encode(1, PHONE, options("some-call@h"))
    forms = [
        plain,
        plain.replace(b"\r\nCall-ID: ", b"\r\ni: "),
        plain.replace(b"\r\nCall-ID: ", b"\r\ncall-id: "),
        plain.replace(b"\r\nCall-ID: ", b"\r\nCall-ID :  "),
        plain.replace(b"\r\nCall-ID: ", b"\r\nCALL-ID:"),
        plain.replace(b"\r\n", b"\n"),
    ]
    for workers in (2, 3, 8):
        assert len({worker_of(form, workers) for form in forms}) == 1
        line = encode(1, PHONE, b"a line", payload_type=100, correlation="some-call@h", agent_name="edge1")
        assert worker_of(line, workers) == worker_of(plain, workers)
        assert worker_of(encode(1, PHONE, b"a line", payload_type=100), workers) == 0
        unseen = encode(1, PHONE, options("some-call@h"), correlation="some-call@h", compress=True)
        assert worker_of(unseen, workers) == 0
    spread = {worker_of(encode(1, PHONE, options(f"{n}@h")), 4) for n in range(100)}
    assert spread == {0, 1, 2, 3}
    assert worker_of(b"no call at all", 4) == 0


class Refusing:
    """A store that refuses the first `times` writes."""

    def __init__(self, store: EventStore, error: EventStoreError, times: int) -> None:
        self._store = store
        self._error = error
        self.left = times
        self.tries = 0

    def write(self, batch: Batch) -> None:
        self.tries += 1
        if self.left > 0:
            self.left -= 1
            raise self._error
        self._store.write(batch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def fed(worker_: Worker, count: int, start: int = 0) -> None:
    reading, writing = os.pipe()
    os.write(writing, pack(1_795_348_800_000_000, ["192.0.2.1"], [], packets(count, start)))
    os.close(writing)
    chunk = read_chunk(reading)
    os.close(reading)
    assert isinstance(chunk, Chunk)
    worker_.take(chunk)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(Worker, "_tell", lambda self: None)


@pytest.mark.usefixtures("impatient")
def test_a_full_store_is_waited_for_and_nothing_is_lost(tmp_path: Path) -> None:
    store = Refusing(open_store(f"sqlite:{tmp_path}"), StoreFull("no space"), 100)
    tried = Worker(Configuration(0, "", None, "console"), cast("EventStore", store), DEFAULT_RULES)
    fed(tried, 20)
    tried.flush()
    assert store.tries == 101
    assert (tried.report.stored, dict(tried.report.refused), tried.report.problem) == (20, {}, "")
    store.close()


@pytest.mark.usefixtures("impatient")
def test_a_store_that_stays_broken_costs_a_counted_batch_and_the_next_is_tried(tmp_path: Path) -> None:
    store = Refusing(open_store(f"sqlite:{tmp_path}"), EventStoreError("it is broken"), worker.TRIES)
    tried = Worker(Configuration(0, "", None, "console"), cast("EventStore", store), DEFAULT_RULES)
    fed(tried, 20)
    tried.flush()
    assert (tried.report.stored, dict(tried.report.refused)) == (0, {"store failed": 20})
    assert tried.report.problem == "it is broken"
    fed(tried, 5, start=20)
    tried.flush()
    assert (tried.report.stored, tried.report.problem) == (5, "")
    store.close()


@pytest.mark.usefixtures("impatient")
def test_what_the_store_will_never_take_is_counted_and_holds_up_nothing(tmp_path: Path) -> None:
    store = Refusing(open_store(f"sqlite:{tmp_path}"), WriteRefused("1 document was refused"), 1)
    tried = Worker(Configuration(0, "", None, "console"), cast("EventStore", store), DEFAULT_RULES)
    fed(tried, 20)
    tried.flush()
    assert (store.tries, tried.report.stored, dict(tried.report.refused)) == (1, 0, {"store refused": 20})
    fed(tried, 5, start=20)
    tried.flush()
    assert (tried.report.stored, tried.report.problem) == (5, "")
    store.close()


@pytest.mark.usefixtures("impatient")
def test_on_the_way_out_a_full_store_is_not_waited_for(tmp_path: Path) -> None:
    store = Refusing(open_store(f"sqlite:{tmp_path}"), StoreFull("no space"), 1000)
    tried = Worker(Configuration(0, "", None, "console"), cast("EventStore", store), DEFAULT_RULES)
    fed(tried, 3)
    tried.hurry()
    tried.flush()
    assert dict(tried.report.refused) == {"store failed": 3}
    store.close()


@pytest.mark.usefixtures("impatient")
def test_senders_told_apart_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MOST_SEEN", 3)
    store = open_store(f"sqlite:{tmp_path}")
    tried = Worker(Configuration(0, "", None, "console"), store, DEFAULT_RULES)
    for agent in range(10):
        reading, writing = os.pipe()
        packet = encode(1, replace(PHONE, agent=str(agent)), options(f"{agent}@h"))
        os.write(writing, pack(7, ["192.0.2.1"], [], [packet]))
        os.close(writing)
        chunk = read_chunk(reading)
        os.close(reading)
        assert isinstance(chunk, Chunk)
        tried.take(chunk)
    assert len(tried.report.seen) == 4
    assert tried.report.seen["others", ""] == [7, 7]
    store.close()


def test_the_status_survives_on_disk(tmp_path: Path) -> None:
    assert read_collector_status(tmp_path) is None
    status = CollectorStatus(received=3, lost={"bad key": 1}, senders=[SenderStatus("192.0.2.1", "101", 3, 5)])
    write_collector_status(tmp_path, status)
    assert read_collector_status(tmp_path) == status
    (tmp_path / "run" / FILE).write_bytes(b"{cut")
    assert read_collector_status(tmp_path) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-22T12:00:00Z", 1_795_348_800_000_000),
        ("2026-11-22T13:00:00.5+01:00", 1_795_348_800_500_000),
        (1_795_348_800, 1_795_348_800_000_000),
        (1_795_348_800.25, 1_795_348_800_250_000),
        (1_795_348_800_123, 1_795_348_800_123_000),
        (1_795_348_800_123_456, 1_795_348_800_123_456),
    ],
)
def test_times_are_read_as_people_and_programs_write_them(value: object, expected: int) -> None:
    assert time_us(value) == expected


@pytest.mark.parametrize(
    "value", ["2026-11-22T12:00:00", "yesterday", -5, 10**18, True, None, [1], float("nan"), "9999"]
)
def test_times_that_are_none_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="time"):
        time_us(value)


def test_a_line_becomes_a_record() -> None:
    line = (
        b'{"time": 1795348800, "kind": "billing", "node": "be1", "level": "WARN", "message": "refused", '
        b'"call_id": "a@h", "conf_id": "7D5B37E8 5F0E11EE 8F3C0050 568B3A1C", "account": "12103355787", "rate": 0.25, '
        b'"fields": {"tariff": "A"}, "nothing": null}'
    )
    assert parse_log(line, "blue") == LogRecord(
        "blue", 1_795_348_800_000_000, "billing", "be1", "warning", "refused", "a@h",
        "7d5b37e85f0e11ee8f3c0050568b3a1c", "12103355787", {"tariff": "A", "rate": "0.25"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON"),
        (b"[]", "not an object"),
        (b'{"time": 1}', "text"),
        (b'{"text": "x"}', "time: missing"),
        (b'{"text": "x", "time": "soon"}', "time"),
        (b'{"text": "x", "time": 1, "kind": "No Kind"}', "kind"),
        (b'{"text": "x", "time": 1, "level": "loud"}', "level"),
        (b'{"text": "x", "time": 1, "call_id": ["a"]}', "call_id"),
        (b'{"text": "x", "time": 1, "node": "' + b"n" * 300 + b'"}', "node"),
        (b'{"text": "' + b"x" * 17_000 + b'", "time": 1}', "text: 17000"),
        (b'{"text": "x", "time": 1, "more": "' + b"x" * 5000 + b'"}', "more"),
        (b'{"text": "x", "time": 1, "fields": 5}', "fields"),
        (b'{"text": "x", "time": 1, ' + b",".join(b'"f%d": 1' % n for n in range(70)) + b"}", "more than 64"),
        (b'{"text": "x", "time": 1, "f": "' + b"x" * 70_000 + b'"}', "a line has at most"),
    ],
)
def test_a_line_that_cannot_be_taken_says_why(line: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_log(line, "default")


def test_good_lines_are_stored_beside_bad_ones(tmp_path: Path) -> None:
    store = open_store(f"sqlite:{tmp_path}")
    ndjson = (
        b'{"time": 1795348800, "text": "one", "call_id": "a@h"}\n\nnonsense\r\n{"time": 1795348801, "text": "two"}\n'
    )
    result = ingest_logs(store, ndjson)
    assert (result.accepted, result.rejected) == (2, 1)
    assert [(each.line, each.reason[:8]) for each in result.reasons] == [(3, "not JSON")]
    found = store.search_logs(LogQuery(("default",), 0, EVER)).records
    assert [record.text for record in found] == ["one", "two"]
    store.close()


def test_a_request_beyond_the_limits_is_refused_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(f"sqlite:{tmp_path}")
    monkeypatch.setattr(logs, "MOST_LINES", 2)
    line = b'{"time": 1795348800, "text": "x"}\n'
    assert ingest_logs(store, line * 2).accepted == 2
    with pytest.raises(TooLarge, match="lines"):
        ingest_logs(store, line * 3)
    monkeypatch.setattr(logs, "MOST_BYTES", 10)
    with pytest.raises(TooLarge, match="bytes"):
        ingest_logs(store, line)
    assert len(store.search_logs(LogQuery(("default",), 0, EVER)).records) == 2
    store.close()


def test_lines_that_are_stored_are_not_stored_again(tmp_path: Path) -> None:
    store = open_store(f"sqlite:{tmp_path}")
    records = [LogRecord("default", 1_795_348_800_000_000 + n, "media", "", "", f"line {n}", "a@h") for n in range(5)]
    assert new_logs(store, []) == []
    store.write_logs(new_logs(store, records[:3]))
    assert new_logs(store, records) == records[3:]
    assert new_logs(store, [replace(records[0], fields={"mos": "4"})]) != []
    store.close()
