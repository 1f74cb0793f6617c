"""What every engine must do beside searching: keys, blocks, roll-ups, marks, logs, retention, deadlines."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from event_rows import ANY_LOG, ANY_TIME, MIDNIGHT, MINUTE, NOON, SECOND, block, found, leg, line, lines, short, write

from ringback import clock
from ringback.events import (
    DAY_US,
    BadCursor,
    Batch,
    BlockPart,
    BlockWrite,
    EventStore,
    LogRecord,
    NumberPattern,
    SearchTimedOut,
)  # fmt: skip

OpenStore = Callable[[], EventStore]

PATIENT_S = 60.0  # two cores may be shared with much else


def keyed(
    store: EventStore, *keys: str, start: int = MIDNIGHT, end: int = MIDNIGHT + DAY_US, limit: int = 200
) -> list[str]:
    return [short(row) for row in store.by_keys(("default",), keys, start, end, limit)]


def test_legs_are_found_by_any_key_that_they_carry(store: EventStore) -> None:
    write(
        store, leg(1, keys={"icid:a", "conf:7"}), leg(2, keys={"icid:a"}), leg(3, keys={"conf:8"}), leg(4, keys=set())
    )
    assert keyed(store, "icid:a") == ["1", "2"]
    assert keyed(store, "conf:7", "conf:8") == ["1", "3"]
    assert keyed(store, "icid:a", "conf:7") == ["1", "2"]
    assert keyed(store, "icid:b") == keyed(store) == []
    assert keyed(store, "icid:a", limit=1) == ["1"]


def test_legs_with_a_key_are_found_where_they_overlap_the_interval(store: EventStore) -> None:
    write(store, leg(0, ended_us=NOON + 100 * SECOND, keys={"icid:a"}))
    for start, end, expected in (
        (NOON + 99 * SECOND, NOON + 200 * SECOND, ["0"]),
        (NOON + 100 * SECOND, NOON + 200 * SECOND, ["0"]),
        (NOON + 101 * SECOND, NOON + 200 * SECOND, []),
        (NOON - SECOND, NOON + 1, ["0"]),
        (NOON - SECOND, NOON, []),
        (NOON + 50 * SECOND, NOON + 51 * SECOND, ["0"]),
    ):
        assert keyed(store, "icid:a", start=start, end=end) == expected


def test_messages_of_a_leg_are_found_in_order_of_time(store: EventStore) -> None:
    first, second, third = leg(1), leg(2), leg(3)
    store.write(Batch([first, second], [block([first, second], b"one", 3)]))
    later = BlockWrite(
        NOON + 20 * SECOND, NOON + 21 * SECOND, 5, b"two", [BlockPart(second, 0, 1), BlockPart(first, 2, 3)]
    )
    third_block = block([third], b"three")
    store.write(Batch([first, second, third], [later, third_block]))
    parts = [(each.data, each.first, each.count) for each in store.blocks([first])]
    assert parts == [(b"one", 0, 3), (b"two", 2, 3)]
    both = store.blocks([second, first])
    assert [(each.data, each.first, each.leg_ref) for each in both] == [
        (b"one", 0, first.ref), (b"one", 3, second.ref), (b"two", 0, second.ref), (b"two", 2, first.ref),
    ]  # fmt: skip
    (found_again,) = store.search(replace(ANY_TIME, call_ids=(first.call_id,))).rows
    assert store.blocks([found_again]) == store.blocks([first])
    assert [each.data for each in store.blocks([third])] == [b"three"]
    assert store.blocks([]) == []


def test_two_parts_of_a_leg_in_one_block_are_both_found(store: EventStore) -> None:
    one, two = leg(1), leg(2)
    parts = [BlockPart(one, 0, 2), BlockPart(two, 2, 1), BlockPart(one, 5, 4)]
    store.write(
        Batch([one, two], [block([one], b"before"), BlockWrite(NOON + MINUTE, NOON + MINUTE, 9, b"data", parts)])
    )
    assert [(each.data, each.first, each.count) for each in store.blocks([one])] == [
        (b"before", 0, 2), (b"data", 0, 2), (b"data", 5, 4),
    ]  # fmt: skip


def test_a_leg_without_messages_has_no_blocks(store: EventStore) -> None:
    row = leg(1)
    write(store, row)
    assert store.blocks([row]) == []


def test_a_part_must_name_a_leg_of_the_batch_and_the_day(store: EventStore) -> None:
    today, stranger, tomorrow = leg(1), leg(2), leg(3, started_us=NOON + DAY_US)
    for legs, parts in (
        ([today], [BlockPart(stranger, 0, 1)]),
        ([today, tomorrow], [BlockPart(today, 0, 1), BlockPart(tomorrow, 1, 1)]),
        ([today], [BlockPart(today, 3, 1), BlockPart(today, 0, 1)]),
    ):
        with pytest.raises(ValueError, match="belong"):
            store.write(Batch(legs, [BlockWrite(NOON, NOON, 2, b"x", parts)]))
    assert found(store) == []
    assert today.ref is None


def test_sessions_are_counted_by_minute_and_outcome(store: EventStore) -> None:
    minute = NOON + 3 * MINUTE
    store.write(
        Batch(
            [], [], [("default", NOON, "in_progress", 2), ("default", NOON, "answered", 1), ("acme", NOON, "busy", 5)]
        )
    )
    store.write(
        Batch(
            [],
            [],
            [
                ("default", NOON, "in_progress", -2),
                ("default", NOON, "failed", 2),
                ("default", minute, "answered", 7),
            ],
        )
    )
    store.write(Batch([], [], [("default", NOON + DAY_US, "answered", 4)]))

    def counts(width: int, **changes: Any) -> dict[int, dict[str, int]]:
        buckets = store.histogram(replace(ANY_TIME, **changes), width)
        assert [bucket.start_us for bucket in buckets] == sorted(bucket.start_us for bucket in buckets)
        return {bucket.start_us: bucket.outcomes for bucket in buckets}

    tomorrow = {NOON + DAY_US: {"answered": 4}}
    assert counts(MINUTE) == {NOON: {"answered": 1, "failed": 2}, minute: {"answered": 7}, **tomorrow}
    assert counts(60 * MINUTE) == {NOON: {"answered": 8, "failed": 2}, **tomorrow}
    assert counts(MINUTE, outcomes=("failed",)) == {NOON: {"failed": 2}}
    assert counts(MINUTE, start_us=NOON + MINUTE, end_us=minute + 1) == {minute: {"answered": 7}}
    assert counts(MINUTE, environments=("acme",)) == {NOON: {"busy": 5}}
    assert counts(7 * MINUTE, end_us=MIDNIGHT + DAY_US) == {NOON - NOON % (7 * MINUTE): {"answered": 8, "failed": 2}}


def test_a_filtered_histogram_counts_the_legs_that_the_search_finds(store: EventStore) -> None:
    write(store, leg(1), leg(2, outcome="busy", code=486), leg(70), leg(71, numbers={"4930": 1}, agents=["102"]))
    cases: list[tuple[dict[str, Any], dict[int, dict[str, int]]]] = [
        ({"codes": (486,)}, {NOON: {"busy": 1}}),
        ({"number": NumberPattern("3777")}, {NOON: {"answered": 1, "busy": 1}, NOON + MINUTE: {"answered": 1}}),
        ({"number": NumberPattern("3777"), "roles": 1}, {}),
        ({"number": NumberPattern("93", "contains")}, {NOON + MINUTE: {"answered": 1}}),
        ({"agents": ("102",)}, {NOON + MINUTE: {"answered": 1}}),
        ({"keys": ("icid:70", "icid:1")}, {NOON: {"answered": 1}, NOON + MINUTE: {"answered": 1}}),
        ({"kinds": ("call",), "start_us": NOON + 2 * SECOND, "end_us": NOON + MINUTE}, {NOON: {"busy": 1}}),
    ]
    for changes, expected in cases:
        buckets = store.histogram(replace(ANY_TIME, **changes), MINUTE)
        assert {bucket.start_us: bucket.outcomes for bucket in buckets} == expected


@pytest.mark.parametrize("width", [0, -MINUTE, 1, MINUTE + 1])
def test_a_bucket_is_whole_minutes(store: EventStore, width: int) -> None:
    with pytest.raises(ValueError, match="minutes"):
        store.histogram(ANY_TIME, width)


def test_a_mark_is_stored_with_its_batch_and_the_latest_counts(store: EventStore, opened: OpenStore) -> None:
    assert store.mark("import:f00") is None
    store.write(Batch([leg(1)], [], marks={"import:f00": "100", "import:bar": "1"}))
    store.write(Batch([replace(leg(2), started_us=NOON + DAY_US)], [], marks={"import:f00": "200"}))
    store.write(Batch([leg(3)], [], marks={"import:f00": "300"}))
    assert store.mark("import:f00") == opened().mark("import:f00") == "300"
    store.write(Batch([], [], marks={"import:bar": "done"}))
    assert store.mark("import:bar") == "done"
    assert store.mark("import:") is None


def test_the_latest_mark_counts_where_the_clock_stands_still(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now_us", lambda: NOON)
    for value in ("9", "100", "11"):
        store.write(Batch([leg(1, started_us=NOON + int(value) % 3 * DAY_US)], [], marks={"import:f00": value}))
        assert store.mark("import:f00") == value


def test_an_empty_batch_changes_nothing(store: EventStore) -> None:
    store.write(Batch([], []))
    store.write_logs([])
    assert store.status().segments == []


def test_log_lines_come_back_in_order_of_time(store: EventStore) -> None:
    records = [
        line(5, "later"),
        line(
            1,
            "first",
            call_id="c@h",
            conf_id="77",
            account="12103355787",
            level="error",
            fields={"task": "x", "ü": "\udcff"},
        ),
        LogRecord("default", NOON + 1 * SECOND, "billing", "", "", "größe \udcff of\nthree lines", fields={}),
        line(3, ""),
    ]
    store.write_logs(records)
    in_order = sorted(records, key=lambda record: record.time_us)
    assert store.search_logs(ANY_LOG).records == in_order
    newest = store.search_logs(replace(ANY_LOG, newest_first=True)).records
    assert newest == in_order[::-1]


def test_log_lines_are_found_by_any_session_key(store: EventStore) -> None:
    store.write_logs([
        line(1, "a", call_id="c1", account="acc"), line(2, "b", conf_id="f1"), line(3, "c", call_id="c2"),
        line(4, "d", environment="acme", call_id="c1"), line(5, "e", call_id="f1"),
    ])  # fmt: skip
    assert lines(store, call_ids=("c1",)) == ["a"]
    assert lines(store, call_ids=("c1", "c2")) == ["a", "c"]
    assert lines(store, call_ids=("c2",), conf_ids=("f1",), accounts=("acc",)) == ["a", "b", "c"]
    assert lines(store, accounts=("c1",)) == []
    assert lines(store, call_ids=("c1",), environments=("acme",)) == ["d"]
    assert lines(store, call_ids=("c1", "c2"), start_us=NOON + 2 * SECOND) == ["c"]


def test_log_lines_are_found_by_all_of_the_words(store: EventStore) -> None:
    store.write_logs([
        line(1, "Authentication of 12103355787 FAILED: wrong password"),
        line(2, "authentication of 12103355788 passed"),
        line(3, "route to 10.0.0.12 failed", level="error"),
        line(4, "route to 12.10.0.0 failed: größe"),
    ])  # fmt: skip
    numbers = {text: str(at) for at, text in enumerate(lines(store), 1)}

    def matching(words: str, **changes: Any) -> list[str]:
        return [numbers[text] for text in lines(store, words=words, **changes)]

    assert matching("failed") == ["1", "3", "4"]
    assert matching("FAILED authentication") == ["1"]
    assert matching("failed", newest_first=True) == ["4", "3", "1"]
    assert matching("auth") == []
    assert matching("auth*") == ["1", "2"]
    assert matching("10.0.0.12") == ["3"]
    assert matching("Größe") == ["4"]
    assert matching("failed", levels=("error",)) == ["3"]
    assert matching("failed", start_us=NOON + 2 * SECOND, end_us=NOON + 4 * SECOND) == ["3"]
    assert matching('fai"led OR passed') == matching("nothing") == []
    assert matching("  ") == ["1", "2", "3", "4"]


def test_log_lines_are_narrowed_by_kind_node_and_level(store: EventStore) -> None:
    store.write_logs(
        [line(1, "a"), line(2, "b", kind="billing"), line(3, "c", node="core"), line(4, "d", level="debug")]
    )
    assert lines(store, kinds=("billing",)) == ["b"]
    assert lines(store, nodes=("core", "nobody")) == ["c"]
    assert lines(store, levels=("debug",)) == ["d"]
    assert lines(store, kinds=("nothing",)) == []


def test_log_pages_go_on_in_both_directions(store: EventStore) -> None:
    store.write_logs([line(at // 3, f"line {at} even" if at % 2 else f"line {at} odd") for at in range(60)])
    store.write_logs([line(at, f"line {at} tomorrow", time_us=NOON + DAY_US + at) for at in range(5)])
    for query in (
        ANY_LOG,
        replace(ANY_LOG, newest_first=True),
        replace(ANY_LOG, words="even"),
        replace(ANY_LOG, levels=("info",)),
    ):
        expected = store.search_logs(query, 1000).records
        seen: list[LogRecord] = []
        cursor = None
        while True:
            page = store.search_logs(query, 7, cursor)
            seen += page.records
            cursor = page.cursor
            if cursor is None:
                break
        assert seen == expected
    with pytest.raises(BadCursor):
        store.search_logs(ANY_LOG, 7, "AAAA")
    with pytest.raises(BadCursor):
        store.search_logs(replace(ANY_LOG, words="odd"), 7, store.search_logs(ANY_LOG, 7).cursor)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_page_holds_at_least_one_row(store: EventStore, limit: int) -> None:
    write(store, leg(1))
    with pytest.raises(ValueError, match="page"):
        store.search(ANY_TIME, limit)
    with pytest.raises(ValueError, match="page"):
        store.search_logs(ANY_LOG, limit)


def test_lines_of_one_second_keep_their_time_and_their_order(store: EventStore) -> None:
    store.write_logs([line(0, f"{at:04}") for at in range(1500)])
    store.write_logs([line(0, f"{at:04}") for at in range(1500, 3000)])
    records = store.search_logs(ANY_LOG, 5000).records
    assert [record.text for record in records] == [f"{at:04}" for at in range(3000)]
    assert {record.time_us for record in records} == {NOON}


def test_status_tells_what_is_stored(store: EventStore) -> None:
    first, second = leg(1), leg(2)
    store.write(Batch([first, second], [block([first, second])]))
    first.messages = 9
    store.write(Batch([first], [block([first])]))
    write(store, leg(3, started_us=NOON + DAY_US))
    store.write_logs([line(1), line(2)])
    status = store.status()
    by_name = {segment.name: segment for segment in status.segments}
    sip = next(segment for segment in status.segments if segment.kind == "sip" and segment.day == "2026-11-22")
    log = next(segment for segment in status.segments if segment.kind == "log")
    assert len(by_name) == 3
    assert (sip.legs, sip.messages, sip.logs) == (2, 6, 0)
    assert sip.first_us == first.started_us
    assert sip.last_us >= second.ended_us
    assert (log.day, log.logs, log.legs, log.first_us) == ("2026-11-22", 2, 0, line(1).time_us)
    assert all(segment.bytes > 0 and segment.problem == "" for segment in status.segments)
    assert status.problem == ""


def test_retention_drops_whole_days_of_one_kind(store: EventStore, opened: OpenStore) -> None:
    write(store, leg(1), leg(2, started_us=NOON + DAY_US))
    store.write_logs([line(1)])
    reader = opened()
    assert found(reader) == ["2", "1"]
    assert store.drop_before("sip", MIDNIGHT + DAY_US - 1) == []
    assert store.drop_before("sip", MIDNIGHT + DAY_US) == ["sip-2026-11-22"]
    assert found(store) == found(reader) == ["2"]
    assert lines(store) == ["INVITE relayed"]
    assert store.drop_before("log", NOON + DAY_US) == ["log-2026-11-22"]
    assert lines(store) == []
    write(store, leg(4))
    assert found(reader) == found(opened()) == ["2", "4"]


def test_an_old_day_that_was_written_lately_stays_where_retention_says_so(store: EventStore) -> None:
    write(store, leg(1))
    began = clock.now_us()
    assert store.drop_before("sip", MIDNIGHT + DAY_US, written_before_us=began - DAY_US) == []
    assert found(store) == ["1"]
    assert store.drop_before("sip", MIDNIGHT + DAY_US, written_before_us=began + DAY_US) == ["sip-2026-11-22"]


def test_a_leg_goes_on_being_written_after_its_day_was_dropped(store: EventStore) -> None:
    row = leg(1)
    store.write(Batch([row], [block([row])]))
    store.drop_before("sip", MIDNIGHT + DAY_US)
    row.messages += 1
    store.write(Batch([row], [block([row], b"after")]))
    assert store.search(ANY_TIME).rows == [row]
    assert [each.data for each in store.blocks([row])] == [b"after"]


def test_a_search_that_cannot_finish_in_time_is_an_error(store: EventStore) -> None:
    write(store, leg(1))
    store.write_logs([line(1)])
    for read in (
        lambda: store.search(ANY_TIME, deadline_s=0),
        lambda: store.by_keys(("default",), ["icid:1"], MIDNIGHT, MIDNIGHT + DAY_US, deadline_s=0),
        lambda: store.blocks(store.search(ANY_TIME).rows, deadline_s=0),
        lambda: store.histogram(ANY_TIME, MINUTE, deadline_s=0),
        lambda: store.search_logs(ANY_LOG, deadline_s=0),
    ):
        with pytest.raises(SearchTimedOut):
            read()
    assert found(store) == ["1"]


def test_readers_and_writers_do_not_disturb_each_other(opened: OpenStore) -> None:
    store, other, reader = opened(), opened(), opened()
    batches = 40 if store.status().engine == "sqlite" else 10  # another server takes longer for each
    done = threading.Event()
    stored: list[str] = []  # batches whose write has returned
    failures: list[Exception] = []

    def write_on(store: EventStore, name: str) -> None:
        try:
            for at in range(batches):
                rows = [leg(at, call_id=f"{name} {at} {each}") for each in range(20)]
                store.write(Batch(rows, [block(rows)], marks={name: str(at)}))
                stored.append(f"{name} {at}")
        except Exception as error:  # noqa: BLE001 - whatever it is fails the test
            failures.append(error)

    def read_on() -> None:
        seen = 0
        try:
            while not done.is_set():
                whole = list(stored)
                rows = reader.search(ANY_TIME, 2000, deadline_s=PATIENT_S).rows
                assert len(rows) >= seen
                legs = Counter(row.call_id.rpartition(" ")[0] for row in rows)
                assert {legs[batch] for batch in whole} <= {20}
                seen = len(rows)
                assert len(reader.blocks(rows[:20], deadline_s=PATIENT_S)) == len(rows[:20])
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    writers = [threading.Thread(target=write_on, args=each) for each in ((store, "one"), (other, "two"))]
    readers = [threading.Thread(target=read_on) for _ in range(3)]
    for thread in (*writers, *readers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert not failures
    assert len(reader.search(ANY_TIME, 5000, deadline_s=PATIENT_S).rows) == 40 * batches
