"""Writing to an engine that has no time, is away, is full, or does not want a document."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import replace

import httpx2
import pytest
from between import SILENCE, Answer, Asked, Between, Engine, between
from event_rows import ANY_LOG, ANY_TIME, MINUTE, NOON, SECOND, block, found, leg, line, lines, write

from ringback import clock
from ringback.events import (
    DAY_US,
    Batch,
    EventStore,
    EventStoreError,
    StoreAway,
    StoreFull,
    WriteRefused,
)
from ringback.events.opensearch import bulk, templates

OpenStore = Callable[[str], EventStore]
TOO_MANY = Answer(
    429, {"error": {"type": "es_rejected_execution_exception", "reason": "queue is full"}, "status": 429}
)


@pytest.fixture
def store(engine: Engine, before: Between, open_url: OpenStore) -> EventStore:
    """Through `before`."""
    return open_url(f"{before.url}/?{engine.options}")


def one_batch() -> Batch:
    rows = [leg(1), leg(2)]
    return Batch(rows, [block(rows)], [("default", NOON, "answered", 2)], {"import:f00": "7"})


def counted(store: EventStore) -> dict[int, dict[str, int]]:
    return {bucket.start_us: bucket.outcomes for bucket in store.histogram(ANY_TIME, MINUTE)}


def test_an_engine_without_time_is_asked_again(store: EventStore, before: Between) -> None:
    refusals = iter([TOO_MANY, Answer(503, {"error": "unavailable"})])

    def interfere(asked: Asked, engine: Callable[[], Answer]) -> Answer:
        return next(refusals, None) or engine() if "_bulk" in asked.path else engine()

    before.interfere = interfere
    batch = one_batch()
    store.write(batch)
    assert len(before.of("_bulk")) == 5  # blocks three times, legs with counts, marks
    assert found(store) == ["2", "1"]
    assert [each.count for each in store.blocks(batch.legs)] == [2, 2]
    assert counted(store) == {NOON: {"answered": 2}}


def test_only_the_documents_that_it_had_no_time_for_are_sent_again(store: EventStore, before: Between) -> None:
    def interfere(asked: Asked, engine: Callable[[], Answer]) -> Answer:
        answer = engine()
        if "_bulk" in asked.path and len(before.of("_bulk")) == 2:
            answer.body["errors"] = True
            answer.body["items"][1] = {"index": {"status": 429, "error": {"type": "rejected", "reason": "no time"}}}
        return answer

    before.interfere = interfere
    store.write(one_batch())
    _, legs, again, _ = [each.documents for each in before.of("_bulk")]
    assert len(legs) == 2 * 4  # two legs, a count, when it was written
    assert again == legs[2:4]
    assert found(store) == ["2", "1"]


def test_an_engine_that_never_has_time_is_an_error_after_bounded_tries(
    store: EventStore, before: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "TRIES", 3)
    before.interfere = lambda asked, engine: TOO_MANY if "_bulk" in asked.path else engine()
    with pytest.raises(StoreAway, match="3 tries: queue is full"):
        store.write(one_batch())
    assert len(before.of("_bulk")) == 3


def test_a_batch_whose_answers_got_lost_is_stored_once_when_it_is_written_again(
    store: EventStore, before: Between
) -> None:
    """Every part of it in turn reaches the engine without the store learning of it."""
    batch = one_batch()
    only_counts = Batch([], [], [("default", NOON, "busy", 3)])
    records = [line(1, "twice"), line(1, "twice")]

    def deaf_to(number: int) -> None:
        asked_before = len(before.of("_bulk"))

        def interfere(asked: Asked, engine: Callable[[], Answer]) -> Answer:
            answer = engine()
            return SILENCE if "_bulk" in asked.path and len(before.of("_bulk")) - asked_before >= number else answer

        before.interfere = interfere

    for number in (1, 2, 3):
        deaf_to(number)
        with pytest.raises(StoreAway):
            store.write(batch)
    deaf_to(1)
    with pytest.raises(StoreAway):
        store.write(only_counts)
    with pytest.raises(StoreAway):
        store.write_logs(records)
    before.interfere = lambda _, engine: engine()
    store.write(batch)
    store.write(only_counts)
    store.write_logs(records)
    assert found(store) == ["2", "1"]
    assert [each.count for each in store.blocks(batch.legs)] == [2, 2]
    assert counted(store) == {NOON: {"answered": 2, "busy": 3}}
    assert store.mark("import:f00") == "7"
    assert lines(store) == ["twice", "twice"]
    store.write(only_counts)
    store.write_logs(records)
    assert counted(store) == {NOON: {"answered": 2, "busy": 6}}
    assert len(lines(store)) == 4


def test_a_late_write_does_not_replace_what_came_after_it(store: EventStore, before: Between, engine: Engine) -> None:
    row = leg(1, messages=1)
    write(store, row)
    late = before.of("_bulk")[0]
    row.messages = 9
    write(store, row)

    told = httpx2.post(
        f"{engine.address}/_bulk?refresh=true", content=late.body, headers={"content-type": "application/json"}
    ).json()
    assert told["items"][0]["index"]["status"] == 409
    assert [each.messages for each in store.search(ANY_TIME).rows] == [9]


def test_a_writer_whose_clock_is_behind_is_not_ignored(
    store: EventStore, open_url: OpenStore, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, leg(1))
    (row,) = store.search(ANY_TIME).rows
    row.messages = 99
    now = clock.now_us()
    monkeypatch.setattr(clock, "now_us", lambda: now - 3600 * SECOND)
    write(open_url(engine.url), row)
    assert [each.messages for each in store.search(ANY_TIME).rows] == [99]


def test_a_document_that_the_engine_refuses_is_told_and_the_others_are_stored(store: EventStore) -> None:
    beyond = leg(2, ended_us=1 << 63)
    with pytest.raises(WriteRefused, match=r"1 documents were refused .*ended_us"):
        store.write(Batch([leg(1), beyond, leg(3)], [], [("default", NOON, "answered", 3)]))
    assert found(store) == ["3", "1"]
    assert counted(store) == {NOON: {"answered": 3}}


def test_lines_are_stored_once_however_often_one_among_them_is_refused(store: EventStore, before: Between) -> None:
    def refuse_one(asked: Asked, engine: Callable[[], Answer]) -> Answer:
        answer = engine()
        if "_bulk" in asked.path:
            error = {"type": "mapper_parsing_exception", "reason": "not this one"}
            answer.body.update(errors=True)
            answer.body["items"][1] = {"index": {"status": 400, "error": error}}
        return answer

    before.interfere = refuse_one
    records = [line(1, "a"), line(2, "b"), line(3, "c")]
    for _ in range(3):
        with pytest.raises(WriteRefused, match="not this one"):
            store.write_logs(records)
    assert lines(store) == ["a", "b", "c"]


def test_a_full_disk_is_told_as_such(store: EventStore, engine: Engine) -> None:
    write(store, leg(1))
    indices = f"{engine.prefix}-*"
    engine.ask("PUT", f"{indices}/_settings", {"index.blocks.read_only_allow_delete": True})
    with pytest.raises(StoreFull, match="read-only"):
        write(store, leg(2))
    engine.ask("PUT", f"{indices}/_settings", {"index.blocks.read_only_allow_delete": None})
    write(store, leg(2))
    assert found(store) == ["2", "1"]


def test_an_engine_that_is_away_is_told_quickly_and_found_again(engine: Engine, open_url: OpenStore) -> None:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    began = time.monotonic()
    store = open_url(f"http://127.0.0.1:{port}/?{engine.options}")
    batch = one_batch()
    with pytest.raises(StoreAway, match=f"127.0.0.1:{port} does not answer"):
        store.write(batch)
    with pytest.raises(StoreAway):
        store.search(ANY_TIME)
    with pytest.raises(StoreAway):
        store.status()
    assert time.monotonic() - began < 10
    with between(engine.address, address=("127.0.0.1", port)):
        store.write(batch)
        assert found(store) == ["2", "1"]
        store.close()


def test_a_host_that_is_away_is_passed_over(engine: Engine, before: Between, open_url: OpenStore) -> None:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        away = f"127.0.0.1:{place.getsockname()[1]}"
    store = open_url(f"http://{away},{before.url.removeprefix('http://')}/?{engine.options}")
    for number in range(4):
        write(store, leg(number))
    assert found(store) == ["3", "2", "1", "0"]


def test_requests_are_bounded_by_bytes(store: EventStore, before: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "CHUNK_BYTES", 50_000)
    rows = [leg(number) for number in range(400)]
    store.write(Batch(rows, [block(rows[at : at + 20], bytes(9000)) for at in range(0, 400, 20)]))
    assert max(len(each.body) for each in before.of("_bulk")) < 60_000
    assert len(found(store)) == 400
    assert len(store.blocks(rows)) == 400


def test_writers_do_not_share_a_row(engine: Engine, open_url: OpenStore) -> None:
    one, two = (open_url(engine.url) for _ in range(2))
    first, second = leg(1, agents=["101"]), leg(1, agents=["102"])
    one.write(Batch([first], [block([first], b"one")]))
    two.write(Batch([second], [block([second], b"two")]))
    rows = one.search(ANY_TIME).rows
    assert sorted(row.agents[0] for row in rows) == ["101", "102"]
    assert sorted(each.data for each in one.blocks(rows)) == [b"one", b"two"]
    assert [each.data for each in one.blocks([first])] == [b"one"]


def test_what_an_import_writes_again_after_its_last_mark_replaces_itself(engine: Engine, open_url: OpenStore) -> None:
    for _ in range(2):  # the second process knows nothing of the first
        rows = [leg(1), leg(2)]
        batch = Batch(rows, [block(rows)], [("default", NOON, "answered", 2)], {"import:f00": "7"})
        open_url(engine.url).write(batch)
    store = open_url(engine.url)
    assert found(store) == ["2", "1"]
    assert len(store.blocks(store.search(ANY_TIME).rows)) == 2
    assert counted(store) == {NOON: {"answered": 2}}


def test_what_a_writer_stored_after_its_last_mark_is_taken_back_when_it_goes_on(
    engine: Engine, before: Between, open_url: OpenStore
) -> None:
    """It died before the mark; the next process cuts its batches elsewhere."""
    url = f"{before.url}/?{engine.options}"
    store = open_url(url)
    first, second, third = leg(1), leg(2), leg(3)
    mark = "spool:1"
    store.write(Batch([first], [block([first], b"first")], [("default", NOON, "answered", 1)], {mark: "1"}))

    def no_mark(asked: Asked, engine: Callable[[], Answer]) -> Answer:
        return SILENCE if b'"what":"mark"' in asked.body else engine()

    before.interfere = no_mark
    counts = [("default", NOON, "answered", 2)]
    with pytest.raises(StoreAway):
        store.write(Batch([second, third], [block([second, third], b"lost")], counts, {mark: "3"}))
    stranger = leg(4)
    open_url(engine.url).write(Batch([stranger], [block([stranger], b"another's")], [], {"spool:2": "1"}))
    before.interfere = lambda _, engine: engine()
    again = open_url(url)
    assert again.mark(mark) == "1"
    for row, value in ((leg(2), "2"), (leg(3), "3")):
        batch = Batch([row], [block([row], value.encode())], [("default", NOON, "answered", 1)], {mark: value})
        again.write(batch)
    rows = again.search(ANY_TIME).rows
    assert found(again) == ["4", "3", "2", "1"]
    assert [each.data for each in again.blocks(rows)] == [b"first", b"2", b"3", b"another's"]
    assert counted(again) == {NOON: {"answered": 3}}
    assert again.mark(mark) == "3"


def test_templates_of_a_newer_release_are_left_alone(
    engine: Engine, open_url: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_url(engine.url)
    monkeypatch.setattr(templates, "VERSION", templates.VERSION - 1)
    with pytest.raises(EventStoreError, match="newer release"):
        open_url(engine.url)


def test_documents_are_flat_and_name_every_field(store: EventStore, engine: Engine) -> None:
    store.write(one_batch())
    store.write_logs([line(1, "INVITE relayed", call_id="c@h", level="error", fields={"task": "nightly"})])
    mappings = engine.ask("GET", f"{engine.prefix}-*/_mapping")
    assert {each["mappings"]["dynamic"] for each in mappings.values()} == {"strict"}
    kinds = {field["type"] for each in mappings.values() for field in each["mappings"]["properties"].values()}
    assert kinds <= {"keyword", "long", "boolean", "binary", "date", "text", "flat_object"}
    (hit,) = engine.ask("GET", f"{engine.prefix}-logs-2026.11.22/_search")["hits"]["hits"]
    shown = {"@timestamp", "message", "level", "node", "kind", "environment", "call_id", "fields"}
    assert {name: value for name, value in hit["_source"].items() if name in shown} == {
        "@timestamp": "2026-11-22T12:00:01.000Z", "message": "INVITE relayed", "level": "error", "node": "edge-1",
        "kind": "node", "environment": "default", "call_id": "c@h", "fields": {"task": "nightly"},
    }  # fmt: skip
    asked = {"query": {"bool": {"filter": [
        {"range": {"@timestamp": {"gte": NOON // 1000, "lte": (NOON + DAY_US) // 1000, "format": "epoch_millis"}}},
        {"query_string": {"query": 'level:error AND "INVITE relayed" AND fields.task:nightly', "analyze_wildcard": True}},
    ]}}}  # fmt: skip
    assert engine.ask("POST", f"{engine.prefix}-logs-*/_search", asked)["hits"]["total"]["value"] == 1


def test_lines_that_cannot_be_indexed_are_kept(store: EventStore) -> None:
    records = [
        line(1, "a", fields={"": "x", "a.b": "1", "a": "2"}),
        line(2, "b", fields={"long": "v" * 40_000}),
        line(3, "c" * 40_000, call_id="i" * 40_000, node="n" * 5000),
        line(4, "d", fields={f"k{number}": "v" for number in range(5001)}),
        line(5, "\x1b[31mE\0F\udcff"),
    ]
    store.write_logs(records)
    assert store.search_logs(ANY_LOG).records == records
    assert lines(store, call_ids=("i" * 40_000,)) == ["c" * 40_000]
    assert lines(store, call_ids=("i" * 39_999,)) == []
    assert lines(store, nodes=("n" * 5000,), words="c" * 40_000) == ["c" * 40_000]
    assert lines(store, nodes=("n" * 5000,), words="c" * 39_000) == []
    assert lines(store, words="31mE") == ["\x1b[31mE\0F\udcff"]
    assert store.search_logs(replace(ANY_LOG, words="F"), 5).records == records[4:]
