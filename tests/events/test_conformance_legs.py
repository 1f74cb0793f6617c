"""What every engine must do with legs: written, found by everything a person asks for, page by page."""

from __future__ import annotations

from dataclasses import replace

import pytest
from event_rows import ANY_TIME, MIDNIGHT, MINUTE, NOON, SECOND, block, found, leg, short, write

from ringback.events import DAY_US, BadCursor, Batch, EventStore, LegRow, NumberPattern, Role, Trouble, call_hash


def test_a_leg_comes_back_as_it_was_written(store: EventStore) -> None:
    rows = [
        leg(
            1, phrase="Not Found", reason='Q.850;cause=1;text="Unallocated"', outcome="failed", code=404,
            answered_us=0, duration_ms=0, trouble=int(Trouble.RETRANSMITTED | Trouble.LATE_RINGING),
            source="[2001:db8::7]:5061", addresses=["2001:db8::7", "203.0.113.5"], agents=["101", "2 on eth0"],
            keys={"icid:a b", "session-id:00ff", "cid:other@host"},
            numbers={"12103355787": int(Role.FROM | Role.CONTACT), "alice.o'hara": int(Role.TO), "0": int(Role.ACCOUNT)},
        ),
        LegRow("default", "bare", "other", "", NOON, NOON),
        leg(2, caller="", called="anonymous", source="", destination="not an address", addresses=[], numbers={}, keys=set()),
    ]  # fmt: skip
    write(store, *rows)
    assert store.search(ANY_TIME).rows == [rows[2], rows[0], rows[1]]
    assert all(row.ref for row in rows)


@pytest.mark.parametrize(
    "text", ["größe-日本", "tab\tand \"quotes' % _ \\", "line\nbreak", "a\0nul", "raw \udcff byte", "x" * 5000]
)
def test_any_text_that_a_sender_makes_up_is_kept(store: EventStore, text: str) -> None:
    row = leg(1, call_id=text, caller=text, phrase=text, reason=text, method=text)
    write(store, row, leg(2))
    assert store.search(replace(ANY_TIME, call_ids=(text,))).rows == [row]
    assert found(store, methods=(text,)) == [short(row)]
    assert found(store, call_id_prefix=text[:4]) == [short(row)]


def test_numbers_and_keys_of_any_text_are_found(store: EventStore) -> None:
    write(store, leg(1, numbers={"jürgen\n5": 1, "*98#": 2}, keys={"icid:ä\nb", "conf:2"}))
    assert found(store, number=NumberPattern("*98", "prefix")) == ["1"]
    assert found(store, number=NumberPattern("jürgen", "prefix")) == ["1"]
    assert found(store, keys=("conf:2",)) == ["1"]
    assert len(store.search(ANY_TIME).rows[0].numbers) == 2
    assert len(store.search(ANY_TIME).rows[0].keys) == 2


def test_several_whole_numbers_are_asked_for_at_once(store: EventStore) -> None:
    write(
        store, leg(1, numbers={"12105550100": 1}), leg(2, numbers={"alice": 2, "12105550101": 1}),
        leg(3, numbers={"112105550100": 1}), leg(4, numbers={"1" * 30: 1, "jürgen": 4}), leg(5, numbers={}),
    )  # fmt: skip
    assert found(store, numbers=("12105550100", "alice")) == ["2", "1"]
    assert found(store, numbers=("1" * 30,)) == found(store, numbers=("jürgen", "nobody")) == ["4"]
    assert found(store, numbers=("2105550100", "alic", "")) == []
    assert found(store, numbers=("12105550100", "alice"), number=NumberPattern("101")) == ["2"]
    assert found(store, numbers=tuple(f"1210555{last:04d}" for last in range(300))) == ["2", "1"]
    counted = store.histogram(replace(ANY_TIME, numbers=("alice", "12105550100")), MINUTE)
    assert sum(sum(bucket.outcomes.values()) for bucket in counted) == 2


def test_a_leg_that_is_written_again_is_one_row_with_all_that_changed(store: EventStore) -> None:
    row = leg(1, outcome="in_progress", code=0, answered_us=0, duration_ms=0, messages=1, keys=set())
    write(store, row, leg(2))
    first_ref = row.ref
    row.outcome, row.code, row.phrase, row.messages = "failed", 503, "Service Unavailable", 4000
    row.ended_us += 3600 * SECOND
    row.addresses.append("203.0.113.99")
    row.agents.append("102")
    row.numbers["493012345"] = int(Role.DIVERSION)
    row.numbers["18660333777"] |= int(Role.HISTORY)
    row.keys.add("icid:late")
    row.caller, row.source = "+493012345", "203.0.113.99:5080"
    write(store, row)
    assert row.ref == first_ref
    assert store.search(ANY_TIME).rows[1] == row
    assert found(store) == ["2", "1"]
    assert found(store, codes=(503,)) == ["1"]
    assert found(store, troubled=True) == ["1"]
    assert found(store, addresses=("203.0.113.99",)) == ["1"]
    assert found(store, number=NumberPattern("12345")) == ["1"]
    assert found(store, number=NumberPattern("18660333777"), roles=int(Role.HISTORY)) == ["1"]
    assert found(store, keys=("icid:late",)) == ["1"]
    row.outcome, row.code = "answered", 200
    write(store, row)
    assert found(store, codes=(503,)) == found(store, troubled=True) == []


def test_a_row_that_was_read_can_be_written_on_by_another_writer(store: EventStore, opened) -> None:  # type: ignore[no-untyped-def]
    write(store, leg(1), leg(2))
    (row,) = store.search(replace(ANY_TIME, call_ids=(leg(1).call_id,))).rows
    row.messages, row.numbers["4930999"] = 99, 1
    other = opened()
    other.write(Batch([row], [block([row], b"later")]))
    assert store.search(replace(ANY_TIME, number=NumberPattern("4930999"))).rows == [row]
    assert [each.data for each in store.blocks([row])] == [b"later"]
    assert len(store.search(ANY_TIME).rows) == 2


def test_a_written_leg_is_seen_at_once_by_all_readers(store: EventStore, opened) -> None:  # type: ignore[no-untyped-def]
    reader = opened()
    assert found(reader) == []
    write(store, leg(1))
    assert found(reader) == ["1"]
    write(store, leg(2))
    assert found(reader) == ["2", "1"]


@pytest.mark.parametrize(
    ("pattern", "numbers"),
    [
        (NumberPattern("3355787"), ["12103355787"]),
        (NumberPattern("87"), ["12103355787", "4487"]),
        (NumberPattern("7"), ["12103355787", "4487"]),
        (NumberPattern("12103355787", "exact"), ["12103355787"]),
        (NumberPattern("2103355787", "exact"), []),
        (NumberPattern("44", "prefix"), ["4487", "44abc"]),
        (NumberPattern("448", "prefix"), ["4487"]),
        (NumberPattern("4487", "prefix"), ["4487"]),
        (NumberPattern("1", "prefix"), ["12103355787"]),
        (NumberPattern("0335578", "contains"), ["12103355787"]),
        (NumberPattern("03357", "contains"), []),
        (NumberPattern("10335", "contains"), ["12103355787"]),
        (NumberPattern("ab", "contains"), ["44abc"]),
        (NumberPattern("bob", "exact"), ["bob"]),
        (NumberPattern("ob"), ["bob"]),
        (NumberPattern("bc"), ["44abc"]),
        (NumberPattern("b", "prefix"), ["bob"]),
        (NumberPattern("%", "contains"), []),
        (NumberPattern("_ob", "exact"), []),
    ],
)
def test_a_number_is_found_by_its_end_its_beginning_or_anything_in_it(
    store: EventStore, pattern: NumberPattern, numbers: list[str]
) -> None:
    everything = ["12103355787", "4487", "44abc", "bob"]
    write(store, *[leg(at, numbers={text: 1}) for at, text in enumerate(everything)])
    expected = sorted((str(everything.index(text)) for text in numbers), reverse=True)
    assert found(store, number=pattern) == expected


def test_a_number_is_found_in_the_roles_asked_for_only(store: EventStore) -> None:
    write(
        store, leg(1, numbers={"4930123": int(Role.FROM | Role.CONTACT)}), leg(2, numbers={"4930123": int(Role.TO)})
    )
    number = NumberPattern("4930123", "exact")
    assert found(store, number=number) == ["2", "1"]
    assert found(store, number=number, roles=int(Role.TO | Role.REQUEST_URI)) == ["2"]
    assert found(store, number=number, roles=int(Role.CONTACT)) == ["1"]
    assert found(store, number=number, roles=int(Role.DIVERSION)) == []


def test_a_leg_whose_two_numbers_match_is_found_once(store: EventStore) -> None:
    write(store, leg(1, numbers={"4930777": 1, "4940777": 2}))
    assert found(store, number=NumberPattern("777")) == ["1"]


def test_every_filter_narrows_and_all_of_them_together(store: EventStore) -> None:
    write(
        store,
        leg(1),
        leg(2, outcome="busy", code=486, duration_ms=0),
        leg(3, kind="registration", method="REGISTER", outcome="registered", duration_ms=0),
        leg(4, outcome="failed", code=503, agents=["102"], duration_ms=0),
        leg(5, addresses=["198.51.100.70", "2001:db8::7"], duration_ms=90_000),
        leg(6, trouble=int(Trouble.RETRANSMITTED), agents=["101", "102"]),
    )
    assert found(store, outcomes=("busy",)) == ["2"]
    assert found(store, outcomes=("busy", "answered")) == ["6", "5", "2", "1"]
    assert found(store, outcomes=("busy", "failed")) == ["4", "2"]
    assert found(store, codes=(503, 486)) == ["4", "2"]
    assert found(store, codes=(200,)) == ["6", "5", "3", "1"]
    assert found(store, codes=(200, 503), agents=("102",)) == ["6", "4"]
    assert found(store, kinds=("registration",)) == ["3"]
    assert found(store, methods=("REGISTER", "OPTIONS")) == ["3"]
    assert found(store, agents=("102",)) == ["6", "4"]
    assert found(store, addresses=("198.51.100.7",)) == ["6", "4", "3", "2", "1"]
    assert found(store, addresses=("198.51.100.7*",)) == ["6", "5", "4", "3", "2", "1"]
    assert found(store, addresses=("198.51.100.7?", "2001:db8::7")) == ["5"]
    assert found(store, addresses=("51.100.7",)) == []
    assert found(store, troubled=True) == ["6", "4", "2"]
    assert found(store, troubled=False) == ["5", "3", "1"]
    assert found(store, min_duration_ms=26_000) == ["6", "5", "1"]
    assert found(store, max_duration_ms=26_000, kinds=("call",)) == ["6", "4", "2", "1"]
    assert found(store, min_duration_ms=1, max_duration_ms=26_000) == ["6", "1"]
    assert found(store, call_ids=(leg(2).call_id, leg(5).call_id, "nobody")) == ["5", "2"]
    assert found(store, call_id_prefix="call-3") == ["3"]
    assert found(store, call_hashes=(call_hash("default", leg(4).call_id),)) == ["4"]
    assert found(store, keys=("icid:3", "icid:9")) == ["3"]
    assert found(store, number=NumberPattern("3777"), outcomes=("answered",), agents=("102",), troubled=True) == ["6"]
    assert found(store, keys=("icid:3",), outcomes=("busy",)) == []
    assert found(store, call_ids=(leg(2).call_id,), keys=("icid:2",), number=NumberPattern("0002")) == ["2"]
    assert found(store, call_ids=(leg(2).call_id,), keys=("icid:3",)) == []
    assert found(store, outcomes=("never seen",)) == found(store, addresses=("192.0.2.1",)) == []


def test_a_leg_is_found_when_it_begins_in_the_interval(store: EventStore) -> None:
    write(store, leg(1), leg(2), leg(3))
    assert found(store, start_us=leg(2).started_us, end_us=leg(3).started_us) == ["2"]
    assert found(store, start_us=leg(2).started_us + 1, end_us=leg(3).started_us + 1) == ["3"]
    assert found(store, start_us=leg(3).started_us, end_us=leg(3).started_us) == []
    assert found(store, start_us=leg(3).started_us, end_us=leg(1).started_us) == []
    for way in ({"number": NumberPattern("3777")}, {"keys": ("icid:1", "icid:2", "icid:3")}, {"troubled": False}):
        assert found(store, start_us=leg(2).started_us, end_us=leg(3).started_us, **way) == ["2"]


def test_a_read_sees_the_environments_it_names_and_no_other(store: EventStore) -> None:
    shared = {"call_id": "same", "numbers": {"4930": 1}, "keys": {"icid:x"}}
    write(store, leg(1, environment="acme", **shared), leg(2, environment="zeta", **shared), leg(3))
    zeta = replace(ANY_TIME, environments=("zeta",))
    for query in (
        zeta,
        replace(zeta, number=NumberPattern("4930")),
        replace(zeta, call_ids=("same",)),
        replace(zeta, keys=("icid:x",)),
        replace(zeta, troubled=False),
    ):
        assert [row.environment for row in store.search(query).rows] == ["zeta"]
    assert [row.environment for row in store.by_keys(("zeta",), ["icid:x"], MIDNIGHT, MIDNIGHT + DAY_US)] == ["zeta"]
    assert found(store, environments=("acme", "zeta")) == ["same", "same"]
    assert found(store, environments=()) == found(store, environments=("nobody",)) == []
    assert store.histogram(replace(zeta, environments=("nobody",)), MINUTE) == []


def test_pages_go_on_where_the_last_one_ended(store: EventStore) -> None:
    rows = [leg(number % 7, call_id=f"leg {number}", numbers={f"49{number}": 1}) for number in range(40)]
    rows += [
        replace(row, call_id=f"next day {at}", started_us=row.started_us + DAY_US) for at, row in enumerate(rows[:9])
    ]
    write(store, *rows)
    expected = [row.call_id for row in store.search(ANY_TIME, limit=1000).rows]
    assert sorted(expected) == sorted(row.call_id for row in rows)
    for query in (
        ANY_TIME,
        replace(ANY_TIME, number=NumberPattern("49", "prefix")),
        replace(ANY_TIME, troubled=False),
    ):
        for limit in (1, 7, 20, 49):
            seen: list[str] = []
            cursor = None
            while True:
                page = store.search(query, limit, cursor)
                seen += [row.call_id for row in page.rows]
                cursor = page.cursor
                if cursor is None:
                    break
                assert len(page.rows) == limit
            assert seen == expected


def test_newer_legs_do_not_disturb_the_pages_that_follow(store: EventStore) -> None:
    write(store, *[leg(number) for number in range(10)])
    first = store.search(ANY_TIME, 4)
    write(store, leg(50), leg(51))
    second = store.search(ANY_TIME, 4, first.cursor)
    assert [short(row) for row in second.rows] == ["5", "4", "3", "2"]


@pytest.mark.parametrize("cursor", ["", "x", "0", "AAAA", "ä", "A" * 36, "../../etc/passwd", "eyJpZCI6MX0="])
def test_nonsense_is_no_cursor(store: EventStore, cursor: str) -> None:
    write(store, leg(1), leg(2))
    with pytest.raises(BadCursor):
        store.search(ANY_TIME, 1, cursor)


def test_a_cursor_belongs_to_its_query_and_cannot_be_changed(store: EventStore) -> None:
    write(store, leg(1), leg(2), leg(3))
    cursor = store.search(ANY_TIME, 1).cursor
    assert cursor
    with pytest.raises(BadCursor):
        store.search(replace(ANY_TIME, outcomes=("answered",)), 1, cursor)
    for at in range(len(cursor)):
        changed = cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :]
        with pytest.raises(BadCursor):
            store.search(ANY_TIME, 1, changed)


def test_rows_of_one_call_id_are_all_found(store: EventStore) -> None:
    write(store, leg(1, call_id="same", agents=["101"]), leg(2, call_id="same", agents=["102"]))
    assert [row.agents for row in store.search(replace(ANY_TIME, call_ids=("same",))).rows] == [["102"], ["101"]]


def test_a_leg_that_spans_midnight_is_found_on_both_days(store: EventStore) -> None:
    before = leg(1, started_us=MIDNIGHT - 5 * SECOND, ended_us=MIDNIGHT - 1, keys={"icid:m"})
    after = leg(1, started_us=MIDNIGHT, ended_us=MIDNIGHT + 9 * SECOND, keys={"icid:m"})
    store.write(Batch([before, after], [block([before], b"before"), block([after], b"after")]))
    assert found(store, call_ids=(before.call_id,)) == ["1", "1"]
    assert found(store, start_us=MIDNIGHT) == found(store, end_us=MIDNIGHT) == ["1"]
    assert len(store.by_keys(("default",), ["icid:m"], MIDNIGHT - SECOND, MIDNIGHT + SECOND)) == 2
    assert [each.data for each in store.blocks([after, before])] == [b"before", b"after"]


def test_many_legs_of_one_microsecond_stay_apart(store: EventStore) -> None:
    rows = [leg(0, call_id=f"burst {number}") for number in range(500)]
    write(store, *rows[:250])
    write(store, *rows[250:])
    assert sorted(found(store)) == sorted(row.call_id for row in rows)
    assert {row.started_us for row in store.search(ANY_TIME, 1000).rows} == {NOON}
