"""SQLite segments under processes that die, compete for a file, or run out of disk."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from event_rows import ANY_LOG, ANY_TIME, block, found, leg, line, write

from ringback.events import Batch, EventStoreError, LegRow, StoreFull, open_store

# Writes batches as fast as it can, and tells of each one only when the store says that it is written.
_WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from event_rows import block, leg, line
from ringback.events import Batch, open_store
store = open_store(sys.argv[1])
first = int(sys.argv[3])
rows = []
for batch in range(1_000_000):
    old = rows[-5:]
    for row in old:
        row.messages += 2
    new = [leg(number % 3000, call_id=f"{first}-{batch}-{number}") for number in range(20)]
    rows = new
    store.write(Batch([*old, *new], [block([*old, *new], b"%d" % batch)], [("default", new[0].started_us, "answered", 20)],
                      {f"writer:{first}": str(batch)}))
    store.write_logs([line(batch % 3000, f"batch {first}-{batch}")])
    print(batch, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'events'}"
    here = str(Path(__file__).parent)
    randomness = random.Random(9)
    acknowledged: dict[int, int] = {}
    for run in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, url, here, str(run)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        wanted = randomness.randrange(1, 40)
        for text in process.stdout:
            acknowledged[run] = int(text)
            if acknowledged[run] >= wanted:
                break
        process.kill()
        for text in process.stdout:
            if text.endswith("\n"):
                acknowledged[run] = int(text)
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
    store = open_store(url)
    rows = store.search(ANY_TIME, 1_000_000, deadline_s=60).rows
    stored = {row.call_id for row in rows}
    texts = {record.text for record in store.search_logs(ANY_LOG, 100_000).records}
    for run, last in acknowledged.items():
        mark = int(store.mark(f"writer:{run}") or -1)
        assert last <= mark <= last + 1
        assert {f"{run}-{batch}-{number}" for batch in range(mark + 1) for number in range(20)} <= stored
        assert f"{run}-{mark + 1}-0" not in stored
        assert {f"batch {run}-{batch}" for batch in range(last + 1)} <= texts
    assert sum(sum(each.outcomes.values()) for each in store.histogram(ANY_TIME, 60_000_000)) == len(rows)
    messages = sum(each.count for each in store.blocks(rows, deadline_s=60))
    (status,) = [segment for segment in store.status().segments if segment.kind == "sip"]
    assert (status.legs, status.messages, status.problem) == (len(rows), messages, "")
    store.close()


def test_writers_of_several_processes_share_a_day(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'events'}"
    here = str(Path(__file__).parent)
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, url, here, str(run)], stdout=subprocess.PIPE, text=True)
        for run in range(2)
    ]
    store = open_store(url)
    last = []
    for writer in writers:
        assert writer.stdout
        last.append(next(int(text) for text in writer.stdout if int(text) >= 15))
        assert store.search(ANY_TIME, 100).rows
    for writer in writers:
        writer.kill()
        writer.communicate()
    stored = {row.call_id for row in store.search(ANY_TIME, 1_000_000, deadline_s=60).rows}
    for run in range(2):
        assert {f"{run}-{batch}-{number}" for batch in range(last[run] + 1) for number in range(20)} <= stored
    assert [segment.problem for segment in store.status().segments] == ["", ""]
    store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("mounting a small disk needs root")
    if subprocess.run([mount, "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("this machine does not allow mounting")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_on_a_full_disk_nothing_is_half_written(small_disk: Path) -> None:
    store = open_store(f"sqlite:{small_disk / 'events'}")
    noise = random.Random(3)

    def fill() -> Iterator[list[LegRow]]:
        for written in range(1000):
            rows = [leg(number, call_id=f"{written}-{number}") for number in range(20)]
            tried.append(rows)
            store.write(Batch(rows, [block(rows, noise.randbytes(50_000))]))
            yield rows

    tried: list[list[LegRow]] = []
    with pytest.raises(StoreFull, match="no space left"):
        list(fill())
    *stored, rows = tried
    written = len(stored)
    assert 0 < written < 100
    assert all(row.ref is None for row in rows)
    assert len(store.search(ANY_TIME, 100_000).rows) == written * 20
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"):
        ballast.write_bytes(bytes(3 << 20))
    with pytest.raises(StoreFull):
        store.write(Batch(rows, [block(rows, noise.randbytes(50_000))]))
    with pytest.raises(StoreFull):
        store.write_logs([line(1)])
    assert len(store.search(ANY_TIME, 100_000).rows) == written * 20
    ballast.unlink()
    for path in small_disk.glob("events/*.damaged*"):
        pytest.fail(f"{path.name}: a full disk is no damage")
    subprocess.run(["mount", "-o", "remount,size=30m", small_disk], check=True)
    store.write(Batch(rows, [block(rows, b"again")]))
    assert len(store.search(ANY_TIME, 100_000).rows) == written * 20 + 20
    assert {each.data for each in store.blocks(rows)} == {b"again"}
    assert [segment.problem for segment in store.status().segments] == [""]
    store.close()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    store = open_store(f"sqlite:{tmp_path / 'events'}")
    write(store, leg(1))
    (tmp_path / "events" / "sip-2026-11-23.sqlite").mkdir()
    with pytest.raises(EventStoreError, match="sip-2026-11-23"):
        write(store, leg(2, started_us=leg(2).started_us + 86_400_000_000))
    assert found(store, end_us=leg(9).started_us) == ["1"]
    store.close()
