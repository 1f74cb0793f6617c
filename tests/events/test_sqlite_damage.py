"""SQLite segments that were torn, overwritten or lost: told, repaired, never left out of an answer in silence."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from event_rows import ANY_LOG, ANY_TIME, MIDNIGHT, block, found, leg, line, lines, write

from ringback.events import (
    DAY_US,
    Batch,
    EventStore,
    EventStoreError,
    NumberPattern,
    SearchTimedOut,
    SegmentUnreadable,
    open_store,
)
from ringback.events.sqlite import readers, repair

PAGE = 4096
NAME = "sip-2026-11-22"
Damage = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "events"


def open_(folder: Path) -> EventStore:
    return open_store(f"sqlite:{folder}")


def fill(folder: Path, count: int = 300) -> None:
    """`count` legs of 2 messages each, in batches of 50, and as many log lines; closed, so that no -wal is left."""
    store = open_(folder)
    for start in range(0, count, 50):
        rows = [leg(number, keys={f"icid:{number}", "conf:all"}) for number in range(start, start + 50)]
        counts = [("default", row.started_us // 60_000_000 * 60_000_000, "answered", 1) for row in rows]
        store.write(Batch(rows, [block(rows, bytes(range(256)) * 60)], counts, {"import:x": str(start)}))
    store.write_logs([line(number, f"line {number} of many") for number in range(count)])
    store.close()


def garbage_header(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.write(b"\xde\xad\xbe\xef" * 64)


def lost_first_page(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.write(bytes(PAGE))


def cut_short(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size * 2 // 3 // PAGE * PAGE)


def cut_inside_a_page(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size // 2 + 100)


def everything(store: EventStore) -> list[object]:
    """By every way there is to read."""
    rows = store.search(ANY_TIME, 1000).rows
    return [
        [(row.call_id, row.numbers, row.keys, row.addresses, row.outcome) for row in rows],
        [(each.data, each.first, each.count) for each in store.blocks(rows)],
        found(store, number=NumberPattern("335", "contains")),
        found(store, number=NumberPattern("3777")),
        found(store, number=NumberPattern("1210", "prefix")),
        found(store, addresses=("198.51.100.7",)),
        [row.call_id for row in store.by_keys(("default",), ["conf:all"], MIDNIGHT, MIDNIGHT + DAY_US, 1000)],
        store.histogram(ANY_TIME, 60_000_000),
        store.histogram(replace(ANY_TIME, kinds=("call",)), 60_000_000),
    ]


@pytest.mark.parametrize("damage", [garbage_header, lost_first_page, cut_short, cut_inside_a_page])
def test_a_damaged_segment_is_named_with_what_to_do(folder: Path, damage: Damage) -> None:
    fill(folder)
    damage(folder / f"{NAME}.sqlite")
    store = open_(folder)
    with pytest.raises(SegmentUnreadable, match=f"{NAME} cannot be read: .*ringback events repair {NAME}"):
        everything(store)
    status = {segment.name: segment for segment in store.status().segments}
    assert status[NAME].problem
    assert status["log-2026-11-22"].problem == ""
    assert len(lines(store)) == 300
    store.close()


@pytest.mark.parametrize("damage", [garbage_header, lost_first_page])
def test_a_lost_header_loses_no_row(folder: Path, damage: Damage) -> None:
    fill(folder)
    store = open_(folder)
    before = everything(store)
    store.close()
    damage(folder / f"{NAME}.sqlite")
    report = repair(folder, NAME)
    assert (report.damaged, report.legs, report.messages) == (True, 300, 600)
    assert (report.lost_legs, report.lost_messages, report.lost_batches) == (0, 0, 0)
    assert report.notes
    assert (folder / report.kept).exists()
    store = open_(folder)
    assert everything(store) == before
    assert store.mark("import:x") == "250"
    assert [segment.problem for segment in store.status().segments] == ["", ""]
    store.close()


@pytest.mark.parametrize("damage", [cut_short, cut_inside_a_page])
def test_of_a_cut_file_the_rest_is_saved_and_the_loss_is_told(folder: Path, damage: Damage) -> None:
    fill(folder)
    damage(folder / f"{NAME}.sqlite")
    report = repair(folder, NAME)
    assert report.damaged
    assert 0 < report.messages < 600 or 0 < report.legs < 300
    assert report.lost_legs == 300 - report.legs
    assert report.lost_messages == 600 - report.messages
    store = open_(folder)
    rows = store.search(ANY_TIME, 1000).rows
    assert len(rows) == report.legs
    assert sum(each.count for each in store.blocks(rows)) <= report.messages
    store.close()


def test_any_page_that_is_lost_is_noticed_or_changes_no_answer(folder: Path, tmp_path: Path) -> None:
    fill(folder, 150)
    store = open_(folder)
    whole = everything(store)
    store.close()
    original = (folder / f"{NAME}.sqlite").read_bytes()
    noticed = 0
    for page in range(len(original) // PAGE):
        again = tmp_path / f"page-{page}"
        again.mkdir()
        torn = bytearray(original)
        torn[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)
        (again / f"{NAME}.sqlite").write_bytes(torn)
        store = open_(again)
        try:
            assert everything(store) == whole, f"page {page}"
        except SegmentUnreadable:
            noticed += 1
            assert store.status().segments[0].problem
        store.close()
        if page % 5 == 0:
            report = repair(again, NAME)
            store = open_(again)
            assert len(store.search(ANY_TIME, 1000).rows) == report.legs
            assert report.lost_legs in (None, 150 - report.legs)
            assert report.lost_messages in (None, 300 - report.messages)
            store.close()
        shutil.rmtree(again)
    assert noticed > len(original) // PAGE // 2


def test_rot_inside_a_block_is_noticed(folder: Path) -> None:
    fill(folder)
    path = folder / f"{NAME}.sqlite"
    data = bytearray(path.read_bytes())
    at = data.rindex(bytes(range(256)))
    data[at + 100] ^= 1
    path.write_bytes(data)
    store = open_(folder)
    rows = store.search(ANY_TIME, 1000).rows
    with pytest.raises(SegmentUnreadable, match="checksum"):
        store.blocks(rows)
    assert "checksum" in next(segment.problem for segment in store.status().segments if segment.name == NAME)
    store.close()
    report = repair(folder, NAME)
    assert (report.legs, report.lost_legs) == (300, 0)
    assert report.lost_messages == 600 - report.messages == 100
    store = open_(folder)
    assert len(store.blocks(store.search(ANY_TIME, 1000).rows)) == 250
    store.close()


def crashed(folder: Path, target: Path) -> None:
    """As the folder would look had the process died: the -wal holds what was written."""
    store = open_(folder)
    write(store, leg(900))
    shutil.copytree(folder, target)
    store.close()


def test_what_a_process_wrote_before_it_died_is_read_from_its_wal(folder: Path, tmp_path: Path) -> None:
    fill(folder)
    crashed(folder, tmp_path / "crashed")
    store = open_(tmp_path / "crashed")
    assert "900" in found(store)
    store.close()


def test_a_missing_wal_is_noticed_and_the_loss_told(folder: Path, tmp_path: Path) -> None:
    fill(folder)
    left = tmp_path / "crashed"
    crashed(folder, left)
    (left / f"{NAME}.sqlite-wal").unlink()
    (left / f"{NAME}.sqlite-shm").unlink()
    store = open_(left)
    with pytest.raises(SegmentUnreadable, match="-wal file is missing, and with it 1 of 7 batches"):
        store.search(ANY_TIME)
    store.close()
    report = repair(left, NAME)
    assert (report.lost_batches, report.legs) == (1, 300)
    store = open_(left)
    assert len(found(store)) == 300
    store.close()


def test_a_torn_wal_is_told(folder: Path, tmp_path: Path) -> None:
    fill(folder)
    left = tmp_path / "crashed"
    crashed(folder, left)
    wal = left / f"{NAME}.sqlite-wal"
    with wal.open("r+b") as stream:
        stream.truncate(wal.stat().st_size - 100)
    store = open_(left)
    write(store, leg(901))
    assert "1 batches were lost" in next(each.problem for each in store.status().segments if each.name == NAME)
    assert found(store)[0] == "901"
    store.close()


@pytest.mark.parametrize("damage", [garbage_header, cut_short])
def test_new_rows_of_a_damaged_day_are_kept(folder: Path, damage: Damage) -> None:
    fill(folder)
    damage(folder / f"{NAME}.sqlite")
    store = open_(folder)
    row = leg(900)
    store.write(Batch([row], [block([row], b"new")]))
    with pytest.raises(SegmentUnreadable, match=f"repair {NAME}.1"):
        store.search(ANY_TIME)
    status = {segment.name: segment for segment in store.status().segments}
    assert status[f"{NAME}.1"].problem
    assert (status[NAME].legs, status[NAME].problem) == (1, "")
    report = repair(folder, f"{NAME}.1")
    assert report.segment == f"{NAME}.1"
    assert len(found(store)) == report.legs + 1
    assert [each.data for each in store.blocks([row])] == [b"new"]
    store.close()


def test_a_segment_that_breaks_under_its_writer_loses_nothing_new(folder: Path) -> None:
    store = open_(folder)
    row = leg(1)
    store.write(Batch([row], [block([row], b"old")]))
    with sqlite3.connect(folder / f"{NAME}.sqlite") as other:  # a table that writers need goes away
        other.execute("DROP TABLE leg_key")
    other.close()
    row.messages = 70
    store.write(Batch([row, leg(2)], [block([row], b"new")]))
    assert repair(folder, f"{NAME}.1").legs == 1
    rows = store.search(replace(ANY_TIME, call_ids=(row.call_id,))).rows
    assert sorted(each.messages for each in rows) == [7, 70]
    assert sorted(each.data for each in store.blocks(rows)) == [b"new", b"old"]
    store.close()


def test_a_repair_of_the_day_in_use_leaves_its_writer_a_fresh_file(folder: Path) -> None:
    fill(folder)
    store = open_(folder)
    write(store, leg(900))
    path = folder / f"{NAME}.sqlite"
    data = path.read_bytes()
    with path.open("r+b") as stream:
        stream.seek(data.rindex(bytes(range(256))))
        stream.write(b"rot")
    report = repair(folder, NAME)
    assert (report.segment, report.legs, report.lost_legs) == (f"{NAME}.1", 301, 0)
    write(store, leg(901))
    assert found(store)[:2] == ["901", "900"]
    assert len(found(store)) == 302
    store.close()


def test_logs_are_saved_as_well(folder: Path) -> None:
    fill(folder)
    garbage_header(folder / "log-2026-11-22.sqlite")
    store = open_(folder)
    with pytest.raises(SegmentUnreadable):
        store.search_logs(ANY_LOG)
    report = repair(folder, "log-2026-11-22")
    assert (report.logs, report.lost_logs) == (300, 0)
    assert lines(store, words="many 17") == ["line 17 of many"]
    store.close()


def test_a_sound_segment_is_left_alone(folder: Path) -> None:
    fill(folder)
    before = (folder / f"{NAME}.sqlite").read_bytes()
    report = repair(folder, NAME)
    assert (report.damaged, report.segment, report.legs, report.lost_legs) == (False, NAME, 300, 0)
    assert (folder / f"{NAME}.sqlite").read_bytes() == before
    assert sorted(path.suffix for path in folder.glob(f"{NAME}*")) == [".sqlite", ".sqlite-seq"]


@pytest.mark.parametrize("name", ["../etc/passwd", "sip", "sip-2026-11-22.sqlite.damaged", ""])
def test_what_is_no_segment_is_not_repaired(folder: Path, name: str) -> None:
    fill(folder, 50)
    with pytest.raises(ValueError, match="is no segment"):
        repair(folder, name)
    with pytest.raises(EventStoreError, match="there is no segment"):
        repair(folder, "sip-1999-01-01")


def test_a_segment_of_a_newer_release_is_left_alone(folder: Path) -> None:
    fill(folder, 50)
    with sqlite3.connect(folder / f"{NAME}.sqlite") as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    store = open_(folder)
    for attempt in (lambda: store.search(ANY_TIME), lambda: write(store, leg(1))):
        with pytest.raises(SegmentUnreadable, match=r"newer Ringback.*upgrade"):
            attempt()
    assert sorted(path.name for path in folder.glob("sip*.sqlite")) == [f"{NAME}.sqlite"]
    store.close()


def test_a_dropped_day_can_come_back_while_old_readers_are_open(folder: Path) -> None:
    fill(folder)
    old, writer = open_(folder), open_(folder)
    assert len(found(old)) == 300
    assert writer.drop_before("sip", MIDNIGHT + DAY_US) == [NAME]
    assert list(folder.glob("sip*")) == []
    write(writer, leg(7))
    old.close()  # the last connection to the unlinked file must not touch the -wal of its namesake
    assert (folder / f"{NAME}.sqlite-wal").exists()
    reader = open_(folder)
    assert found(reader) == ["7"]
    for store in (writer, reader):
        store.close()


def test_a_read_is_stopped_in_its_midst_when_its_time_is_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder)
    store = open_(folder)
    monkeypatch.setattr(readers, "_STEPS", 500)
    monkeypatch.setattr(readers.Deadline, "check", lambda _: None)
    with pytest.raises(SearchTimedOut, match="narrow"):
        store.search(replace(ANY_TIME, number=NumberPattern("no such", "contains")), deadline_s=0)
    assert len(found(store)) == 300
    store.close()


def test_an_unknown_scheme_is_refused_in_words() -> None:
    for url in ("mysql://x", "sqlite:", "/var/lib/ringback"):
        with pytest.raises(EventStoreError, match="sqlite:FOLDER"):
            open_store(url)
