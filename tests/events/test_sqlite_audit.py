"""Audit segments of the SQLite engine: the key filter forgets nothing, damage is told and repaired, a kill loses nothing."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import pytest
from event_rows import ANY_AUDIT, NOON, audit, audits

from ringback.events import DAY_US, AuditRow, EventStore, EventStoreError, SegmentUnreadable, open_store
from ringback.events.sqlite import audit as audit_rows
from ringback.events.sqlite import key_filter, repair
from ringback.events.sqlite.files import Folder, SegmentFile
from ringback.events.sqlite.key_filter import KeyFilter, may_hold

PAGE = 4096
NAME = "audit-2026-11-22"
Change = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "events"


@pytest.fixture
def store(folder: Path) -> Iterator[EventStore]:
    made = open_store(f"sqlite:{folder}")
    yield made
    made.close()


def fill(folder: Path, rows: list[AuditRow]) -> None:
    """Closed afterwards, so that no -wal is left."""
    made = open_store(f"sqlite:{folder}")
    made.write_audit(rows)
    made.close()


def noise(number: int) -> str:
    """What takes its room on the disk."""
    return "".join(blake2b(b"%d %d" % (number, part)).hexdigest() for part in range(2))


def some_rows(count: int) -> list[AuditRow]:
    return [
        audit(
            number, customer_id=number % 7, customer_name=f"Customer {number % 7}", actor=f"user{number % 3}",
            entity_id=str(number % 20), action=("changed", "read")[number % 2], amount=number, body=noise(number),
            properties=(("a", "b"), ("c",))[number % 5 == 0],
        )
        for number in range(count)
    ]  # fmt: skip


def everything(store: EventStore) -> list[object]:
    """By every way there is to read."""
    return [
        store.search_audit(ANY_AUDIT, 1000).rows,
        *(audits(store, customer_id=number) for number in range(7)),
        audits(store, request_id="request-17"),
        audits(store, actor="user1"),
        audits(store, names="customer 3"),
        audits(store, names="cust*"),
        audits(store, kind="read"),
        audits(store, properties=("c",)),
        audits(store, min_amount=5, max_amount=60),
        audits(store, ids=tuple(range(40, 60))),
        store.count_audit(ANY_AUDIT),
        store.count_audit(replace(ANY_AUDIT, customer_id=2)),
    ]


def test_segments_that_hold_nothing_of_a_customer_are_not_opened(folder: Path) -> None:
    fill(
        folder,
        [audit(day, time_us=NOON + day * DAY_US, customer_id=day, customer_name=f"Zed{day}") for day in range(3)],
    )
    for day in (22, 24):
        (folder / f"audit-2026-11-{day}.sqlite").write_bytes(b"\xde\xad" * PAGE)
    store = open_store(f"sqlite:{folder}")
    for asked in ({"customer_id": 1}, {"names": "zed1"}, {"request_id": "request-1"}, {"customer_id": 99}):
        assert audits(store, **asked) == ([] if 99 in asked.values() else [1]), asked
    for asked in ({}, {"customer_id": 0}, {"names": "zed*"}):
        with pytest.raises(SegmentUnreadable, match="ringback events repair"):
            audits(store, **asked)
    store.close()


def gone(path: Path) -> None:
    path.unlink()


def garbage(path: Path) -> None:
    path.write_bytes(b"\xde\xad\xbe\xef" * 4096)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-64])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("change", [gone, garbage, cut, empty])
def test_without_its_filter_a_segment_answers_the_same(folder: Path, change: Change) -> None:
    fill(folder, some_rows(60))
    change(folder / f"{NAME}.sqlite-keys")
    store = open_store(f"sqlite:{folder}")
    assert audits(store, customer_id=3) == [number for number in range(59, -1, -1) if number % 7 == 3]
    store.write_audit([audit(70, customer_id=3)])
    assert audits(store, customer_id=3)[:2] == [70, 59]
    assert len(audits(store, customer_id=3)) == 10
    assert not may_hold(Folder(folder).named(NAME), [{audit_rows._hash("default", 3, 4711)}])  # it was made anew
    store.close()


def test_a_filter_holds_every_key_however_it_grew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_filter, "FIRST_KEYS", 50)
    file = Folder(folder).main("audit", NOON)
    chance = random.Random(3)
    keys: set[int] = set()
    writers = [KeyFilter(file), KeyFilter(file)]
    for _ in range(60):
        new = {chance.getrandbits(63) for _ in range(chance.randrange(80))}
        keys |= new
        chance.choice(writers).add(new, keys.copy)
        assert all(may_hold(file, [{key}]) for key in new)
    assert all(may_hold(file, [{key}]) for key in keys)
    others = [chance.getrandbits(63) for _ in range(4000)]
    assert sum(may_hold(file, [{key}]) for key in others) < 200
    assert not may_hold(file, [{next(iter(keys))}, set()])
    for writer in writers:
        writer.close()


def test_two_writers_that_take_turns_share_the_filter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_filter, "FIRST_KEYS", 20)
    stores = [open_store(f"sqlite:{folder}") for _ in range(2)]
    for number in range(80):
        stores[number % 2].write_audit([audit(number, customer_id=number)])
    for number in range(80):
        assert audits(stores[0], customer_id=number) == [number]
    for each in stores:
        each.close()


def test_what_was_rolled_back_leaves_nothing_but_bits(
    folder: Path, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_audit(some_rows(5))
    add = KeyFilter.add

    def full(self: KeyFilter, keys: set[int], stored: Callable[[], set[int]]) -> None:
        add(self, keys, stored)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(KeyFilter, "add", full)
    with pytest.raises(EventStoreError, match="no space left"):
        store.write_audit([audit(9, customer_id=9, actor="new", action="new", currency="XXX")])
    monkeypatch.undo()
    assert audits(store, customer_id=9) == []
    store.write_audit([audit(10, customer_id=9, actor="newer", action="newer", currency="YYY")])
    store.write_audit([audit(9, customer_id=9, actor="new", action="new", currency="XXX")])
    assert [(row.actor, row.action, row.currency) for row in store.search_audit(ANY_AUDIT, 2).rows] == [
        ("newer", "newer", "YYY"), ("new", "new", "XXX"),
    ]  # fmt: skip
    assert audits(store, actions=("new",)) == [9]


def test_retention_leaves_no_file(folder: Path, store: EventStore) -> None:
    store.write_audit([audit(1)])
    assert (folder / f"{NAME}.sqlite-keys").exists()
    store.drop_before("audit", NOON + 2 * DAY_US)
    assert [path.name for path in folder.iterdir()] == [".lock"]


def lost_first_page(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.write(bytes(PAGE))


def cut_short(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size // 2 // PAGE * PAGE)


def test_a_lost_header_loses_no_row(folder: Path) -> None:
    fill(folder, some_rows(200))
    store = open_store(f"sqlite:{folder}")
    before = everything(store)
    store.close()
    lost_first_page(folder / f"{NAME}.sqlite")
    store = open_store(f"sqlite:{folder}")
    with pytest.raises(SegmentUnreadable, match=f"ringback events repair {NAME}"):
        everything(store)
    store.close()
    report = repair(folder, NAME)
    assert (report.damaged, report.audits, report.lost_audits) == (True, 200, 0)
    store = open_store(f"sqlite:{folder}")
    assert everything(store) == before
    assert sum(segment.audits for segment in store.status().segments) == 200
    store.close()


def test_of_a_cut_file_the_rest_is_saved_and_a_copy_brings_the_rest_back(folder: Path) -> None:
    rows = some_rows(400)
    fill(folder, rows)
    cut_short(folder / f"{NAME}.sqlite")
    report = repair(folder, NAME)
    assert report.damaged
    assert 0 < report.audits < 400
    assert report.lost_audits in (None, 400 - report.audits)
    store = open_store(f"sqlite:{folder}")
    assert len(store.search_audit(ANY_AUDIT, 1000).rows) == report.audits
    store.write_audit(rows)  # into a fresh file; what stands in both is one row
    assert store.search_audit(ANY_AUDIT, 1000).rows == rows[::-1]
    assert store.count_audit(ANY_AUDIT) == 400
    found, cursor = list[int](), None
    while True:
        page = store.search_audit(ANY_AUDIT, 7, cursor)
        found += [row.id - 1 for row in page.rows]
        cursor = page.cursor
        if cursor is None:
            break
    assert found == list(range(399, -1, -1))
    store.close()


def test_a_writer_that_meets_damage_goes_on_in_a_fresh_file(folder: Path) -> None:
    fill(folder, some_rows(50))
    lost_first_page(folder / f"{NAME}.sqlite")
    store = open_store(f"sqlite:{folder}")
    store.write_audit([audit(90, customer_id=90)])
    assert audits(store, customer_id=90) == [90]
    assert repair(folder, f"{NAME}.1").audits == 50
    assert len(audits(store)) == 51
    store.close()


def test_any_page_that_is_lost_is_noticed_or_changes_no_answer(folder: Path, tmp_path: Path) -> None:
    fill(folder, some_rows(150))
    store = open_store(f"sqlite:{folder}")
    whole = everything(store)
    store.close()
    pages = (folder / f"{NAME}.sqlite").stat().st_size // PAGE
    noticed = 0
    for page in range(pages):
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy)
        with (copy / f"{NAME}.sqlite").open("r+b") as stream:
            stream.seek(page * PAGE)
            stream.write(bytes(PAGE))
        store = open_store(f"sqlite:{copy}")
        try:
            assert everything(store) == whole, page
        except EventStoreError:
            noticed += 1
        finally:
            store.close()
        shutil.rmtree(copy)
    assert noticed > pages // 2


# Writes rows as fast as it can, and tells of each batch only when the store says that it is written.
_WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from event_rows import audit
from ringback.events import open_store
store = open_store(sys.argv[1])
first = int(sys.argv[3])
for number in range(first, 1_000_000, 10):
    store.write_audit([audit(each, time_us=audit().time_us + each, customer_id=each) for each in range(number, number + 10)])
    print(number + 9, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill_at_any_moment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, here, last = f"sqlite:{folder}", str(Path(__file__).parent), -1
    chance = random.Random(9)
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, url, here, str(last + 1)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        wanted = last + 10 * chance.randrange(1, 40)
        for text in process.stdout:
            last = int(text)
            if last >= wanted:
                break
        process.kill()
        for text in process.stdout:
            if text.endswith("\n"):
                last = int(text)
        process.wait()
        process.stdout.close()
    store = open_store(url)
    assert set(audits(store, end_us=NOON + DAY_US, ids=tuple(range(1, last + 2)))) >= set(
        range(max(0, last - 900), last + 1)
    )
    for number in chance.sample(range(last + 1), 40):
        assert audits(store, customer_id=number) == [number]
    store.close()


def test_a_segment_of_another_kind_has_no_filter(folder: Path) -> None:
    assert may_hold(SegmentFile("sip", "2026-11-22", 0, folder), [{1}])
