"""What every engine must do with audit rows: keep them once, find them by all that is asked for, newest first."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from event_rows import ANY_AUDIT, MIDNIGHT, NOON, SECOND, audit, audits, leg, line, write

from ringback.events import DAY_US, AuditQuery, AuditRow, BadCursor, EventStore, SearchTimedOut
from ringback.events.audit import matches

OpenStore = Callable[[], EventStore]


def stored(store: EventStore) -> list[AuditRow]:
    return store.search_audit(ANY_AUDIT, limit=1000).rows


def test_rows_come_back_as_they_were_written_newest_first(store: EventStore) -> None:
    rows = [
        audit(0),
        audit(3, customer_id=None, customer_name="", account_id=None, account_name="", amount=None, currency=""),
        audit(
            5, properties=(), realm="", actor_kind="", actor="", address="", request_id="", message_key="", body=""
        ),
        audit(2, personal=True, amount=-1, entity_name="größe \udcff 日本", properties=("ü", "a b", 'q"\\')),
        audit(4, entity_id="x" * 3000, actor="y" * 3000, body="z" * 200_000, customer_id=0),
        audit(8, time_us=MIDNIGHT - 1, action="read"),
        audit(7, time_us=MIDNIGHT + DAY_US, body="\udcff"),
    ]
    store.write_audit(rows)
    assert stored(store) == sorted(rows, key=lambda row: row.time_us, reverse=True)


def test_rows_of_one_microsecond_are_ordered_by_id(store: EventStore) -> None:
    rows = [audit(number, time_us=NOON) for number in (5, 1, 9, 3, 70, 2, 2000, 8)]
    for row in rows:
        store.write_audit([row])
    assert audits(store) == [2000, 70, 9, 8, 5, 3, 2, 1]
    far = [replace(rows[0], id=number << 26) for number in range(1, 4)]
    store.write_audit(far)
    store.write_audit(far)
    assert len(stored(store)) == 11


def test_the_same_row_again_changes_nothing(store: EventStore, opened: OpenStore) -> None:
    rows = [audit(number) for number in range(10)]
    store.write_audit(rows)
    store.write_audit(rows[3:])
    opened().write_audit([*rows, *rows])
    opened().write_audit([audit(10), *rows])
    assert audits(store) == list(range(10, -1, -1))
    assert store.count_audit(ANY_AUDIT) == 11
    assert audits(store, request_id="request-4") == [4]
    assert audits(store, names="acme", min_amount=0) == list(range(10, -1, -1))
    assert sum(segment.audits for segment in store.status().segments) == 11


def test_a_row_that_says_something_else_replaces_the_one_before(store: EventStore, opened: OpenStore) -> None:
    store.write_audit([audit(1), audit(2)])
    better = audit(1, customer_id=9, customer_name="Zwick", action="deleted", amount=None, body="x", properties=())
    opened().write_audit([better])
    assert stored(store) == [audit(2), better]
    assert audits(store, customer_id=3) == audits(store, names="acme") == audits(store, min_amount=1) == [2]
    assert audits(store, properties=("status",)) == audits(store, actions=("changed",)) == [2]
    assert audits(store, customer_id=9) == audits(store, names="zwick") == audits(store, actions=("deleted",)) == [1]
    assert store.count_audit(ANY_AUDIT) == 2


def test_of_two_rows_with_one_id_in_a_batch_the_last_counts(store: EventStore) -> None:
    store.write_audit([audit(1), audit(1, actor="bob")])
    assert stored(store) == [audit(1, actor="bob")]


FILTERS: list[tuple[dict[str, Any], dict[str, Any]]] = [  # what is asked, what makes a row another one
    ({"entity_types": ("account",)}, {"entity_type": "customer"}),
    ({"entity_types": ("account", "tariff")}, {"entity_type": "customer"}),
    ({"entity_id": "7"}, {"entity_id": "8"}),
    ({"entity_types": ("account",), "entity_id": "7"}, {"entity_type": "customer"}),
    ({"actions": ("changed", "created")}, {"action": "deleted"}),
    ({"actions": ("changed",)}, {"action": "payment.made"}),
    ({"kind": "change"}, {"action": "read"}),
    ({"kind": "change"}, {"action": "trace.read"}),
    ({"properties": ("status",)}, {"properties": ("statuses",)}),
    ({"properties": ("gone", "credit_limit")}, {"properties": ()}),
    ({"realms": ("console", "api")}, {"realm": "task"}),
    ({"actor": "amy"}, {"actor": "bob"}),
    ({"address": "192.0.2.10"}, {"address": "192.0.2.100"}),
    ({"address": "192.0.2.*"}, {"address": "192.0.20.1"}),
    ({"address": "192*"}, {"address": ""}),
    ({"request_id": "request-1"}, {"request_id": "request-10"}),
    ({"customer_id": 3}, {"customer_id": 4}),
    ({"customer_id": 3}, {"customer_id": None}),
    ({"account_id": 7}, {"account_id": 3}),
    ({"min_amount": 6_000_000}, {"amount": 5_999_999}),
    ({"max_amount": 6_000_000}, {"amount": 6_000_001}),
    ({"min_amount": -1}, {"amount": None}),
    ({"min_amount": 0, "max_amount": 6_000_000}, {"amount": -1}),
    ({"ids": (2, 90)}, {"id": 5}),
    ({"personal": False}, {"personal": True}),
    ({"environments": ("default",)}, {"environment": "acme"}),
    ({"names": "acme"}, {"customer_name": "Acmes Telecom"}),
    ({"names": "LTD  aCmE"}, {"customer_name": "Acme Telecom"}),
    ({"names": "tele*"}, {"customer_name": "Acme Ltd"}),
    ({"names": "121*", "customer_id": 3}, {"entity_name": "", "account_name": "x 021"}),
    ({"start_us": NOON + SECOND, "end_us": NOON + 2 * SECOND}, {"time_us": NOON + 2 * SECOND}),
    ({"start_us": NOON + SECOND}, {"time_us": NOON + SECOND - 1}),
]


@pytest.mark.parametrize(("asked", "other"), FILTERS)
def test_each_filter_finds_what_it_is_for(store: EventStore, asked: dict[str, Any], other: dict[str, Any]) -> None:
    row, another = audit(1), audit(2, **{"request_id": "other", "time_us": NOON + SECOND, **other})
    store.write_audit([row, another])
    query = replace(ANY_AUDIT, **asked)
    assert store.search_audit(query).rows == [row]
    assert store.count_audit(query) == 1
    assert matches(query, row)


def test_reads_and_personal_data_are_found(store: EventStore) -> None:
    store.write_audit([audit(1), audit(2, action="read", personal=True), audit(3, action="trace.read")])
    assert audits(store, kind="read") == [3, 2]
    assert audits(store, personal=True) == [2]


def test_words_of_names_are_found_in_any_script_and_case(store: EventStore) -> None:
    names = {
        1: "Größe & Söhne GmbH",
        2: "O'Brien-Smith",
        3: "株式会社リング",
        4: "ＡＣＭＥ",
        5: "straße",
        6: "w" * 100,
        7: "-- none --",
    }
    store.write_audit([audit(number, customer_name=name) for number, name in names.items()])
    for asked, expected in (
        ("GRÖSSE", [1]), ("größe gmbh", [1]), ("grö*", [1]), ("söhn", []), ("o'brien", [2]), ("smith o", [2]),
        ("smi*", [2]), ("株式*", [3]), ("株式", []), ("acme", [4]), ("STRASSE", [5]), ("w" * 100, [6]), ("w" * 99, []),
        ("w" * 80 + "*", [6]), ("--", [7]), ("*", [7, 6, 5, 4, 3, 2, 1]), ("größe smith", []), ("a%", []), ("_", []),
    ):  # fmt: skip
        assert audits(store, names=asked) == expected, asked
        assert store.count_audit(replace(ANY_AUDIT, names=asked)) == len(expected), asked


def test_a_row_is_seen_in_its_environment_only(store: EventStore) -> None:
    store.write_audit([audit(1), audit(2, environment="acme"), audit(3, environment="acme", request_id="request-1")])
    for changes in ({}, {"customer_id": 3}, {"request_id": "request-1"}, {"names": "acme"}, {"ids": (2, 3, 4)}):
        query = replace(ANY_AUDIT, **changes)
        assert audits(store, query) == [1]
        assert audits(store, query, environments=()) == []
        assert audits(store, query, environments=("nobody",)) == []
        assert store.count_audit(replace(query, environments=())) == 0
    assert audits(store, environments=("default", "acme"), customer_id=3) == [3, 2, 1]


def test_pages_follow_each_other_over_days_without_loss(store: EventStore) -> None:
    rows = [audit(number, time_us=MIDNIGHT + number // 4 * DAY_US // 3) for number in range(30)]
    store.write_audit(random.Random(7).sample(rows, 30))
    for changes in ({}, {"customer_id": 3}, {"names": "acme"}, {"properties": ("status",)}, {"min_amount": 1}):
        for limit in (1, 4, 7, 30):
            query, cursor, found = replace(ANY_AUDIT, end_us=MIDNIGHT + 9 * DAY_US, **changes), None, list[int]()
            while True:
                page = store.search_audit(query, limit, cursor)
                found += [row.id - 1 for row in page.rows]
                cursor = page.cursor
                if cursor is None:
                    break
                assert len(page.rows) == limit
            assert found == list(range(29, -1, -1)), (changes, limit)


def test_rows_that_come_later_do_not_disturb_a_page(store: EventStore) -> None:
    store.write_audit([audit(number) for number in range(6)])
    page = store.search_audit(ANY_AUDIT, 3)
    store.write_audit([audit(7), audit(4)])
    assert [row.id - 1 for row in store.search_audit(ANY_AUDIT, 3, page.cursor).rows] == [2, 1, 0]


def test_a_cursor_belongs_to_its_query(store: EventStore) -> None:
    store.write_audit([audit(number) for number in range(6)])
    cursor = store.search_audit(ANY_AUDIT, 2).cursor
    assert cursor
    for bad in ("", "x", cursor[:-4], "AAAA" + cursor[4:], "ü"):
        with pytest.raises(BadCursor):
            store.search_audit(ANY_AUDIT, 2, bad)
    with pytest.raises(BadCursor):
        store.search_audit(replace(ANY_AUDIT, customer_id=3), 2, cursor)
    with pytest.raises(ValueError, match="a page of 0 rows"):
        store.search_audit(ANY_AUDIT, 0)


def test_counting_stops_where_it_is_told(store: EventStore) -> None:
    store.write_audit([audit(number, time_us=MIDNIGHT + number * DAY_US // 8) for number in range(20)])
    assert store.count_audit(ANY_AUDIT) == 20
    assert store.count_audit(ANY_AUDIT, at_most=20) == 20
    assert store.count_audit(ANY_AUDIT, at_most=7) == 7
    assert store.count_audit(replace(ANY_AUDIT, names="acme"), at_most=7) == 7
    assert store.count_audit(replace(ANY_AUDIT, end_us=MIDNIGHT + DAY_US)) == 8


def test_random_queries_find_what_a_look_at_every_row_does(store: EventStore) -> None:
    chance = random.Random(11)
    rows = [
        audit(
            number,
            time_us=MIDNIGHT + chance.randrange(3 * DAY_US),
            environment=chance.choice(("default", "default", "acme")),
            entity_type=chance.choice(("account", "customer", "tariff")),
            entity_id=str(chance.randrange(4)),
            action=chance.choice(("created", "changed", "read")),
            properties=tuple(chance.sample(("a", "b", "c", "d"), chance.randrange(4))),
            realm=chance.choice(("console", "api", "task")),
            actor=chance.choice(("amy", "bob", "")),
            address=chance.choice(("192.0.2.1", "192.0.2.12", "")),
            customer_id=chance.choice((None, 1, 2, 3)),
            customer_name=chance.choice(("Acme Ltd", "Acorn", "")),
            amount=chance.choice((None, -5, 0, 5)),
            personal=chance.random() < 0.3,
        )
        for number in range(120)
    ]
    for at in range(0, len(rows), 30):
        store.write_audit(rows[at : at + 30])
    options: dict[str, tuple[Any, ...]] = {
        "environments": (("default",), ("acme", "default")),
        "entity_types": (("account",), ("tariff", "customer"), ("none",)),
        "entity_id": ("1", "9"),
        "actions": (("read",), ("created", "changed")),
        "kind": ("read", "change"),
        "properties": (("a",), ("b", "z"), ("z",)),
        "realms": (("api",),),
        "actor": ("amy", "bo"),
        "address": ("192.0.2.1", "192.0.2.1*"),
        "customer_id": (1, 4),
        "min_amount": (0, 1),
        "max_amount": (0,),
        "personal": (True, False),
        "names": ("ac*", "acme", "ltd acme"),
        "ids": (tuple(range(1, 121, 2)),),
        "start_us": (NOON,),
        "end_us": (MIDNIGHT + 2 * DAY_US,),
    }
    hits = 0
    for _ in range(60):
        names = chance.sample(sorted(options), chance.randint(1, 3))
        query: AuditQuery = replace(ANY_AUDIT, **{name: chance.choice(options[name]) for name in names})
        inside = [row for row in rows if query.start_us <= row.time_us < query.end_us and matches(query, row)]
        expected = sorted(inside, key=lambda row: (row.time_us, row.id), reverse=True)
        assert store.search_audit(query, 1000).rows == expected, query
        assert store.count_audit(query) == len(expected), query
        hits += bool(expected)
    assert hits > 20


def test_days_that_are_past_are_dropped_with_what_was_just_written_to_them(store: EventStore) -> None:
    store.write_audit([audit(number, time_us=NOON + number * DAY_US) for number in range(-2, 2)])
    store.write_logs([line(0, time_us=NOON - 3 * DAY_US)])
    write(store, leg(1, started_us=NOON - 3 * DAY_US))
    before = MIDNIGHT + DAY_US - 1
    assert store.drop_before("audit", before, written_before_us=before) == ["audit-2026-11-20", "audit-2026-11-21"]
    assert store.drop_before("audit", before) == []
    assert audits(store, customer_id=3) == [1, 0]
    assert {segment.kind for segment in store.status().segments} == {"sip", "log", "audit"}
    store.write_audit([audit(-1, time_us=NOON - DAY_US)])
    assert audits(store, customer_id=3) == [1, 0, -1]


def test_the_status_tells_of_audit_segments(store: EventStore) -> None:
    store.write_audit([audit(0), audit(5), audit(9, time_us=NOON + DAY_US)])
    first, second = store.status().segments
    assert (first.name, first.kind, first.day, first.audits) == ("audit-2026-11-22", "audit", "2026-11-22", 2)
    assert (first.first_us, first.last_us, first.legs, first.logs) == (NOON, NOON + 5 * SECOND, 0, 0)
    assert (second.name, second.audits, second.problem) == ("audit-2026-11-23", 1, "")
    assert first.bytes > 0


def test_an_empty_write_and_an_empty_store_are_no_error(store: EventStore) -> None:
    store.write_audit([])
    assert store.status().segments == []
    assert stored(store) == []
    assert store.count_audit(ANY_AUDIT) == 0
    assert audits(store, start_us=NOON, end_us=NOON) == []


def test_a_search_that_is_late_is_an_error(store: EventStore) -> None:
    store.write_audit([audit(number) for number in range(50)])
    with pytest.raises(SearchTimedOut):
        store.search_audit(ANY_AUDIT, deadline_s=0.0)
    with pytest.raises(SearchTimedOut):
        store.count_audit(ANY_AUDIT, deadline_s=-1.0)


def test_two_that_write_the_same_rows_at_once_write_them_once(opened: OpenStore) -> None:
    rows = [audit(number, time_us=NOON + number % 3 * DAY_US + number) for number in range(200)]

    def copy(store: EventStore) -> None:
        for at in range(0, len(rows), 20):
            store.write_audit(rows[at : at + 20])

    stores = [opened() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(copy, stores))
    assert sorted(audits(stores[0])) == list(range(200))
    assert sorted(audits(stores[1], customer_id=3)) == list(range(200))
    assert sum(segment.audits for segment in stores[2].status().segments) == 200
