"""What the embedded store promises beyond the others: a reader sees a batch as a whole or not at all."""

from __future__ import annotations

import threading
from pathlib import Path

from event_rows import ANY_TIME, block, leg

from ringback.events import Batch
from ringback.events.sqlite import SqliteEventStore


def test_a_reader_never_sees_a_part_of_a_batch(tmp_path: Path) -> None:
    store, reader = SqliteEventStore(tmp_path), SqliteEventStore(tmp_path)
    done = threading.Event()
    seen: list[int] = []

    def read_on() -> None:
        while not done.is_set():
            seen.append(len(reader.search(ANY_TIME, 2000).rows))

    reading = threading.Thread(target=read_on)
    reading.start()
    for at in range(40):
        rows = [leg(at, call_id=f"{at} {each}") for each in range(20)]
        store.write(Batch(rows, [block(rows)]))
    done.set()
    reading.join()
    store.close()
    reader.close()
    assert {count % 20 for count in seen} == {0}
