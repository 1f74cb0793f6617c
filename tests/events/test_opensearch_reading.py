"""Reading from an engine that answers in part, late, or not; and what hostile input makes of a question."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from between import Answer, Asked, Between, Engine
from event_rows import ANY_LOG, ANY_TIME, MIDNIGHT, MINUTE, NOON, block, found, leg, line, lines, write

from ringback.events import (
    DAY_US,
    Batch,
    EventStore,
    EventStoreError,
    NumberPattern,
    Role,
    SearchTimedOut,
    SegmentUnreadable,
)
from ringback.events.opensearch import reading

OpenStore = Callable[[str], EventStore]
Read = Callable[[EventStore], object]

READS: dict[str, Read] = {
    "search": lambda store: store.search(ANY_TIME),
    "by_keys": lambda store: store.by_keys(("default",), ["icid:1"], MIDNIGHT, MIDNIGHT + DAY_US),
    "roll-ups": lambda store: store.histogram(ANY_TIME, MINUTE),
    "histogram": lambda store: store.histogram(replace(ANY_TIME, codes=(200,)), MINUTE),
    "search_logs": lambda store: store.search_logs(ANY_LOG),
}


@pytest.fixture
def store(engine: Engine, before: Between, open_url: OpenStore) -> EventStore:
    """Through `before`, with three legs and a line."""
    store = open_url(f"{before.url}/?{engine.options}")
    rows = [leg(1), leg(2), leg(3)]
    store.write(Batch(rows, [block(rows)], [("default", NOON, "answered", 3)]))
    store.write_logs([line(1)])
    return store


def changed(before: Between, change: Callable[[Answer], None]) -> None:
    """Answers to searches from now on."""

    def interfere(asked: Asked, engine: Callable[[], Answer]) -> Answer:
        answer = engine()
        if "_search" in asked.path:
            change(answer)
        return answer

    before.interfere = interfere


@pytest.mark.parametrize("read", READS.values(), ids=list(READS))
def test_an_answer_of_some_shards_is_an_error(store: EventStore, before: Between, read: Read) -> None:
    def fail(answer: Answer) -> None:
        failure = {
            "shard": 0,
            "index": "ringback-legs-2026.11.22",
            "reason": {"type": "io", "reason": "read past EOF"},
        }
        answer.body["_shards"].update(failed=1, failures=[failure])

    changed(before, fail)
    with pytest.raises(SegmentUnreadable, match=r"ringback-legs-2026\.11\.22: read past EOF"):
        read(store)


@pytest.mark.parametrize("read", READS.values(), ids=list(READS))
def test_an_answer_that_ran_out_of_time_is_an_error(store: EventStore, before: Between, read: Read) -> None:
    changed(before, lambda answer: answer.body.update(timed_out=True))
    with pytest.raises(SearchTimedOut):
        read(store)


def test_an_answer_that_comes_too_late_is_an_error(store: EventStore, before: Between) -> None:
    given_up, came = threading.Event(), list[bool]()
    changed(before, lambda _: came.append(given_up.wait(60)))
    with pytest.raises(SearchTimedOut, match=r"0\.3 s"):
        store.search(ANY_TIME, deadline_s=0.3)
    assert came == [], "nobody waited for it"
    given_up.set()


def test_an_engine_that_has_no_time_just_now_is_asked_again(store: EventStore, before: Between) -> None:
    refusals = iter([Answer(429, {"error": {"type": "rejected", "reason": "busy"}})] * 2)
    before.interfere = lambda asked, engine: next(refusals, None) or engine()
    assert found(store) == ["3", "2", "1"]


def test_a_node_that_dies_in_the_middle_of_a_search_is_asked_around(store: EventStore, before: Between) -> None:
    cause = {"type": "node_disconnected_exception", "reason": "[n3][127.0.0.1:9300] disconnected"}
    gone = Answer(500, {"error": {"root_cause": [cause], "type": cause["type"], "reason": cause["reason"]}})
    deaths = iter([gone])

    def interfere(asked: Asked, engine: Callable[[], Answer]) -> Answer:
        return (next(deaths, None) if "_search" in asked.path else None) or engine()

    before.interfere = interfere
    assert found(store) == ["3", "2", "1"]


def test_an_engine_that_says_no_is_believed(store: EventStore, before: Between, open_url: OpenStore) -> None:
    said = {"error": {"type": "security_exception", "reason": "no permissions for [indices:data/read/search]"}}
    before.interfere = lambda asked, engine: Answer(403, said)
    with pytest.raises(EventStoreError, match=r"no permissions for .* give the user that privilege"):
        store.search(ANY_TIME)
    before.interfere = lambda asked, engine: Answer(401, {"error": "Unauthorized"})
    with pytest.raises(EventStoreError, match="refused the user") as told:
        open_url(before.url.replace("://", "://ringback:hunter2@"))
    assert "hunter2" not in str(told.value)
    before.interfere = lambda asked, engine: Answer(200, {"hello": "world"})
    with pytest.raises(EventStoreError, match="neither OpenSearch nor Elasticsearch"):
        open_url(before.url)


def test_a_closed_day_is_an_error_and_told(store: EventStore, engine: Engine) -> None:
    engine.ask("POST", f"{engine.prefix}-legs-2026.11.22/_close")
    with pytest.raises(SegmentUnreadable, match=r"legs-2026\.11\.22"):
        store.search(ANY_TIME)
    assert found(store, start_us=MIDNIGHT + DAY_US) == []
    segments = {segment.name: segment.problem for segment in store.status().segments}
    assert "closed" in segments["sip-2026-11-22"]
    assert segments["log-2026-11-22"] == ""


def test_a_day_without_its_shards_is_an_error_and_told(store: EventStore, engine: Engine) -> None:
    nowhere = {"settings": {"index.routing.allocation.require._name": "no such node"}}
    engine.ask("PUT", f"{engine.prefix}-legs-2026.11.21?wait_for_active_shards=0", nowhere)
    with pytest.raises(SegmentUnreadable, match="shard"):
        store.search(ANY_TIME)
    assert found(store, start_us=MIDNIGHT) == ["3", "2", "1"]
    segments = {segment.name: segment.problem for segment in store.status().segments}
    assert "red" in segments["sip-2026-11-21"]
    assert segments["sip-2026-11-22"] == ""


def test_a_lost_point_in_time_does_not_shorten_the_answer(
    store: EventStore, before: Between, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PAGE", 2)
    write(store, *[leg(number) for number in range(4, 12)])
    lost, used = 0, set[str]()

    def interfere(asked: Asked, engine_: Callable[[], Answer]) -> Answer:
        nonlocal lost
        if b'"pit"' in asked.body:
            used.add(json.loads(asked.body)["pit"]["id"])
            if lost < 2:
                lost += 1
                engine.ask("DELETE", "_search/point_in_time", {"pit_id": list(used)})
        return engine_()

    before.interfere = interfere
    assert found(store) == [str(number) for number in range(11, 0, -1)]
    assert lost == 2
    assert len(before.of("point_in_time?")) == 3
    assert len(used) == 3
    assert not used & open_points(engine)


def open_points(engine: Engine) -> set[str]:
    """Of everybody who uses this node."""
    return {each["pit_id"] for each in engine.ask("GET", "_search/point_in_time/_all").get("pits", [])}


def test_elasticsearch_is_asked_in_its_own_way(
    store: EventStore, before: Between, engine: Engine, open_url: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The paths and fields of its points in time; here another engine answers to them."""
    monkeypatch.setattr(reading, "PAGE", 1)
    asked_for: list[tuple[str, str]] = []
    opened: list[str] = []

    def interfere(asked: Asked, engine_: Callable[[], Answer]) -> Answer:
        path = asked.path.partition("?")[0]
        if asked.method == "GET" and path == "/":
            return Answer(200, {"version": {"number": "9.1.0"}, "tagline": "You Know, for Search"})
        if path.endswith("/_pit"):
            asked_for.append((asked.method, path))
            if asked.method == "POST":
                asked.path = asked.path.replace("/_pit", "/_search/point_in_time")
                answer = engine_()
                opened.append(answer.body["pit_id"])
                return Answer(answer.status, {"id": opened[-1]})
            asked.path = "/_search/point_in_time"
            asked.body = asked.body.replace(b'"id":', b'"pit_id":')
        return engine_()

    before.interfere = interfere
    elastic = open_url(f"{before.url}/?{engine.options}")
    assert found(elastic) == ["3", "2", "1"]
    assert [method for method, _ in asked_for] == ["POST", "DELETE"]
    assert asked_for[1][1] == "/_pit"
    assert elastic.status().engine == "elasticsearch"
    assert not open_points(engine) & set(opened)


def test_long_intervals_are_asked_in_short_requests(store: EventStore, before: Between) -> None:
    for start, end in (
        (0, 1 << 61),
        (MIDNIGHT - 700 * DAY_US, MIDNIGHT + 30 * DAY_US),
        (-(1 << 62), MIDNIGHT + DAY_US),
    ):
        assert found(store, start_us=start, end_us=end) == ["3", "2", "1"]
    assert max(len(each.path) for each in before.of("_search")) < 3000


def test_nothing_in_a_question_is_a_pattern_but_what_a_person_means(store: EventStore) -> None:
    odd = ["*", "?", "a*b", "a.b", "[0-9]", "x\\y", '"', "a|b", "(c)", "#&@<1-9>~", "^$", "+49", "-", "a b", "%_"]
    write(store, *[leg(number + 10, numbers={text: int(Role.FROM)}) for number, text in enumerate(odd)])
    for number, text in enumerate(odd):
        roles = int(Role.FROM) if number % 2 else 0
        for match in ("exact", "prefix", "suffix", "contains"):
            expected = [str(at + 10) for at, each in enumerate(odd) if NumberPattern(text, match).matches(each)]
            got = found(store, number=NumberPattern(text, match), roles=roles)
            plain = [each for each in got if int(each) >= 10]
            assert plain == expected[::-1], (number, text, match, roles)
        assert found(store, number=NumberPattern(text, "exact"), roles=int(Role.TO)) == []
    write(store, leg(50, call_id="a*", addresses=["*"]), leg(51, call_id="ab", addresses=["x"]))
    assert found(store, call_ids=("a*",)) == found(store, call_id_prefix="a*") == ["a*"]
    assert found(store, addresses=("**",)) == ["a*"]
    store.write_logs([line(2, "all * of AND NOT (it) \\ level:error")])
    for words in ("*", "AND", "NOT", "(it)", "\\", "level:error", '"', "~", "message:*", "[a TO b]"):
        lines(store, words=words)
    assert lines(store, words="(it)") == lines(store, words="level:error") == ["all * of AND NOT (it) \\ level:error"]


def test_what_is_too_long_for_an_index_is_found_all_the_same(store: EventStore) -> None:
    long = "9" * 5000
    rows = [
        leg(20, call_id="i" * 40_000),
        leg(21, numbers={long + "1": int(Role.FROM), "42": int(Role.TO)}),
        leg(22, keys={"icid:" + "k" * 40_000}),
        leg(24, numbers={"\U0001f4de" * 300: int(Role.FROM)}, keys={"icid:" + "\U0001f4de" * 600}),
        leg(23, method="M" * 2000, agents=["g" * 2000], addresses=["h" * 2000]),
    ]
    write(store, *rows)
    assert store.search(replace(ANY_TIME, start_us=rows[0].started_us)).rows == sorted(
        rows, key=lambda row: -row.started_us
    )
    assert found(store, call_id_prefix="i" * 1500) == ["i" * 40_000]
    assert found(store, call_id_prefix="i" * 1500 + "j") == []
    assert found(store, number=NumberPattern("91")) == found(store, number=NumberPattern(long, "prefix")) == ["21"]
    assert found(store, number=NumberPattern("91"), roles=int(Role.TO)) == []
    for match, text in (("contains", "99991"), ("prefix", long), ("suffix", long[1:] + "1"), ("exact", long + "1")):
        assert found(store, number=NumberPattern(text, match), roles=int(Role.FROM)) == ["21"]
    assert found(store, keys=("icid:" + "k" * 40_000,)) == ["22"]
    assert found(store, keys=("icid:" + "k" * 39_999,)) == []
    assert found(store, methods=("M" * 2000,)) == found(store, agents=("g" * 2000,)) == ["23"]
    assert found(store, addresses=("h" * 1999 + "*",)) == ["23"]
    assert found(store, number=NumberPattern("\U0001f4de" * 2)) == ["24"]
    assert found(store, keys=("icid:" + "\U0001f4de" * 600,)) == ["24"]
    page = store.search(replace(ANY_TIME, outcomes=("answered",)), 2)
    assert len(page.rows) == 2
    assert page.cursor
    histogram = store.histogram(replace(ANY_TIME, number=NumberPattern(long, "prefix")), MINUTE)
    assert [bucket.outcomes for bucket in histogram] == [{"answered": 1}]


def test_thousands_of_keys_are_looked_for_at_once(store: EventStore) -> None:
    write(store, leg(30, keys={f"icid:many-{number}" for number in range(5000)}))
    keys = [f"icid:nobody-{number}" for number in range(70_000)]
    assert store.by_keys(("default",), keys, MIDNIGHT, MIDNIGHT + DAY_US) == []
    rows = store.by_keys(("default",), [*keys, "icid:many-4999", "icid:2"], MIDNIGHT, MIDNIGHT + DAY_US)
    assert [row.started_us for row in rows] == [leg(2).started_us, leg(30).started_us]


def test_another_prefix_is_another_store(engine: Engine, store: EventStore, open_url: OpenStore) -> None:
    other = open_url(f"{engine.address}/?prefix={engine.prefix}-b&refresh=true")
    write(other, leg(9))
    assert found(store) == ["3", "2", "1"]
    assert found(other) == ["9"]
    assert len(store.status().segments) == 2
    assert store.drop_before("sip", MIDNIGHT + DAY_US) == ["sip-2026-11-22"]
    assert found(other) == ["9"]
