"""Copying a store to another one, of every engine: nothing lost, nothing twice, and what is not copied is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from event_rows import ANY_AUDIT, ANY_LOG, ANY_TIME, MIDNIGHT, MINUTE, NOON, SECOND, audit, leg, line

from ringback.events import (
    DAY_US,
    AuditRow,
    Batch,
    BlockPart,
    BlockWrite,
    EventStore,
    LegRow,
    LogRecord,
    StoreAway,
    copying,
    open_store,
)
from ringback.events.copying import DayReport, copy_events
from ringback.moving import CODEC
from ringback.sessions.ingest.blocks import decode_block, encode_block
from ringback.sessions.story import Hop, Sighting

HOP = Hop("udp", "198.51.100.7", 5060, "203.0.113.5", 5060, "101")
OpenStore = Callable[[], EventStore]
END = MIDNIGHT + 4 * DAY_US


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few rows do what a few million do otherwise."""
    monkeypatch.setattr(copying, "PAGE_LEGS", 3)
    monkeypatch.setattr(copying, "PAGE_LOGS", 3)
    monkeypatch.setattr(copying, "PAGE_AUDIT", 3)
    monkeypatch.setattr(copying, "BLOCK_MESSAGES", 4)
    monkeypatch.setattr(copying, "_SAMPLE", 2)
    monkeypatch.setattr(copying, "_LOOK_SECONDS", 0.01)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[EventStore]:
    made = open_store(f"sqlite:{tmp_path / 'source'}")
    yield made
    made.close()


@pytest.fixture
def third(tmp_path: Path) -> Iterator[EventStore]:
    made = open_store(f"sqlite:{tmp_path / 'third'}")
    yield made
    made.close()


def put(store: EventStore, legs: Sequence[LegRow], batches: int = 2) -> None:
    """Each leg's messages lie in as many blocks, which the legs of its day share."""
    for midnight in sorted({each.started_us // DAY_US for each in legs}):
        rows = [each for each in legs if each.started_us // DAY_US == midnight]
        for number in range(batches):
            messages, parts = list[Sighting](), list[BlockPart]()
            for row in rows:
                count = row.messages // batches + (number < row.messages % batches)
                if count:
                    parts.append(BlockPart(row, len(messages), count))
                    start = row.started_us + number * SECOND
                    messages += [
                        Sighting(start + n, HOP, f"{row.call_id} {number} {n}".encode()) for n in range(count)
                    ]
            times = [message.time_us for message in messages]
            block = BlockWrite(min(times), max(times), len(messages), encode_block(messages), parts)
            counts = [(row.environment, row.started_us // MINUTE * MINUTE, row.outcome, 1) for row in rows]
            store.write(Batch(rows, [block], counts if number == 0 else ()))


def some_legs() -> list[LegRow]:
    """Of three days; two rows of one Call-ID that begin in one microsecond; four legs that do."""
    legs = [leg(number) for number in range(9)]
    legs += [leg(20 + number, started_us=NOON + 20 * SECOND) for number in range(4)]
    legs += [leg(3, agents=["102"], messages=2, addresses=["203.0.113.5", "192.0.2.1"])]
    legs += [leg(40 + day, started_us=NOON + day * DAY_US, outcome="failed", code=503) for day in (-1, 1)]
    return [replace(each, ended_us=each.started_us + 30 * SECOND) for each in legs]


def some_lines() -> list[LogRecord]:
    lines = [line(number, f"line {number}", fields={"a": "1", "b": str(number)}) for number in range(5)]
    return [*lines, line(2, "twice"), line(2, "twice"), line(2, "other"), line(7, "late", time_us=NOON + DAY_US)]


def some_audits() -> list[AuditRow]:
    """Seven of one microsecond, others around them, some of the next day."""
    rows = [audit(number, time_us=NOON + SECOND) for number in range(10, 17)]
    return [*rows, *(audit(number) for number in range(3)), audit(30, time_us=NOON + DAY_US, personal=True)]


def filled(store: EventStore) -> EventStore:
    put(store, some_legs())
    store.write_logs(some_lines())
    store.write_audit(some_audits())
    return store


def copy(source: EventStore, target: EventStore, name: str = "source", **options: object) -> list[DayReport]:
    return copy_events(source, target, CODEC, name=name, until_us=END, **options)  # type: ignore[arg-type]


def legs_of(store: EventStore) -> list[tuple[object, ...]]:
    """Everything of each leg, with its messages."""
    rows = store.search(ANY_TIME, limit=1000).rows
    told = []
    for row in rows:
        messages = [
            message for part in store.blocks([row]) for message in decode_block(part.data, part.first, part.count)
        ]
        shown = replace(row, ref=None, engine=None, addresses=sorted(row.addresses), agents=sorted(row.agents))
        told.append((repr(replace(shown, keys=set())), sorted(row.keys), sorted(map(tuple, messages))))
    return sorted(told, key=repr)


def lines_of(store: EventStore) -> list[str]:
    return sorted(repr(record) for record in store.search_logs(ANY_LOG, limit=1000).records)


def audits_of(store: EventStore) -> list[AuditRow]:
    return store.search_audit(ANY_AUDIT, limit=1000).rows


def problems(reports: Sequence[DayReport]) -> list[str]:
    return [problem for report in reports for problem in report.problems]


def test_there_and_back_everything_is_the_same(source: EventStore, store: EventStore, third: EventStore) -> None:
    filled(source)
    for one, other in ((source, store), (store, third)):
        reports = copy(one, other)
        assert problems(reports) == []
        assert [(each.day, each.copied.legs, each.copied.logs, each.copied.audits) for each in reports] == [
            ("2026-11-21", 1, 0, 0),
            ("2026-11-22", 14, 8, 10),
            ("2026-11-23", 1, 1, 1),
        ]
        assert all(each.copied == each.source == each.target for each in reports)
        assert legs_of(other) == legs_of(source)
        assert lines_of(other) == lines_of(source)
        assert audits_of(other) == audits_of(source)
        assert len(audits_of(other)) == 11
        assert other.histogram(ANY_TIME, MINUTE) == source.histogram(ANY_TIME, MINUTE)


def test_what_was_copied_is_not_copied_again_and_what_came_since_is(
    source: EventStore, store: EventStore, opened: OpenStore
) -> None:
    copy(filled(source), store)
    again = copy(source, opened())
    assert [each.copied.legs + each.copied.logs + each.copied.audits for each in again] == [0, 0, 0]
    assert problems(again) == []
    put(source, [leg(60)])
    source.write_logs([line(2, "twice"), line(9, "new")])
    source.write_audit([audit(40), audit(41, time_us=NOON + SECOND)])
    later = copy(source, opened())
    assert [(each.copied.legs, each.copied.logs, each.copied.audits) for each in later] == [
        (0, 0, 0),
        (1, 2, 2),
        (0, 0, 0),
    ]
    assert audits_of(store) == audits_of(source)
    assert problems(later) == []
    assert legs_of(store) == legs_of(source)
    assert lines_of(store) == lines_of(source)


class Failing:
    """A store that is away after so many writes; of the one that fails, some stands there or nothing."""

    def __init__(self, store: EventStore, writes: int) -> None:
        self._store = store
        self._left = writes

    def __getattr__(self, name: str) -> object:
        if name in ("write", "write_logs", "write_audit"):
            self._left -= 1
            if self._left < 0:
                raise StoreAway("away")
        return getattr(self._store, name)


BREAKS = {  # after so many writes; what goes on is the same for each engine, what it finds there is not
    "sqlite": [1, 3, 6, 9, 12, 13, 14, 15, 16, 17],
    "sqlite in small pieces": [1, 3, 6, 9, 12, 13, 14, 15, 16, 17],
    "opensearch": [1, 9, 13, 15, 17],
    "opensearch in small pieces": [6, 14, 16],
}


@pytest.mark.parametrize(
    ("opened", "writes"), [(engine, each) for engine, some in BREAKS.items() for each in some], indirect=["opened"]
)
def test_where_it_broke_off_it_goes_on(source: EventStore, store: EventStore, opened: OpenStore, writes: int) -> None:
    filled(source)
    with pytest.raises(StoreAway):
        copy(source, Failing(store, writes))  # type: ignore[arg-type]
    reports = copy(source, opened())
    assert problems(reports) == []
    assert legs_of(store) == legs_of(source)
    assert lines_of(store) == lines_of(source)
    assert audits_of(store) == audits_of(source)
    assert store.histogram(ANY_TIME, MINUTE) == source.histogram(ANY_TIME, MINUTE)


def test_under_another_name_what_is_there_is_seen(source: EventStore, store: EventStore) -> None:
    copy(filled(source), store)
    reports = copy(source, store, "another way to write it")
    assert [each.copied.legs + each.copied.logs + each.copied.audits for each in reports] == [0, 0, 0]
    assert all(each.remarks for each in reports)
    assert legs_of(store) == legs_of(source)


def test_two_sources_come_together_in_one(source: EventStore, store: EventStore, third: EventStore) -> None:
    filled(source)
    put(third, [leg(number, agents=["103"], started_us=NOON + number * SECOND + 7) for number in range(5)])
    assert problems(copy(source, store, "one")) == []
    assert problems(copy(third, store, "two")) == []
    assert len(legs_of(store)) == len(legs_of(source)) + 5


def test_what_came_to_a_leg_after_it_was_copied_is_told(source: EventStore, store: EventStore) -> None:
    row = leg(1, messages=4)
    put(source, [row])
    copy(source, store)
    row.messages = 6
    put(source, [row], batches=1)
    assert "2 messages came to it" in problems(copy(source, store))[0]


def test_what_cannot_be_read_is_told_and_the_rest_copied(source: EventStore, store: EventStore) -> None:
    good, bad = leg(1), leg(2)
    put(source, [good])
    block = BlockWrite(bad.started_us, bad.started_us, 7, b"no block", [BlockPart(bad, 0, 7)])
    source.write(Batch([bad], [block]))
    told = problems(copy(source, store))
    assert told[0].startswith("call-2@198.51.100.7: a block of messages begins with")
    assert "the target holds 1 of 2 legs" in told
    assert [row.call_id for row in store.search(ANY_TIME).rows] == [good.call_id]


def test_an_environment_that_was_not_named_is_missed(source: EventStore, store: EventStore) -> None:
    put(source, [leg(1), leg(2, environment="staging")])
    assert "the target holds 1 of 2 legs" in problems(copy(source, store))
    assert problems(copy(source, store, environments=("default", "staging"))) == []
    assert len(store.search(replace(ANY_TIME, environments=("staging",))).rows) == 1


def test_days_outside_the_interval_are_left_alone(source: EventStore, store: EventStore) -> None:
    filled(source)
    reports = copy_events(source, store, CODEC, name="x", since_us=MIDNIGHT, until_us=MIDNIGHT + DAY_US)
    assert [each.day for each in reports] == ["2026-11-22"]
    assert len(store.search(ANY_TIME, limit=100).rows) == 14
