"""The billing log holds up no call: it waits for the store, and counts what it cannot keep."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from ringback.billing.engine.billing_log import BillingLog, Trail
from ringback.events import StoreAway, open_store
from ringback.events.sqlite.engine import SqliteEventStore
from ringback.events.store import LogQuery, LogRecord
from running import until


class SometimesAway(SqliteEventStore):
    """An event store that does not answer for a while."""

    away = True

    def write_logs(self, records: Sequence[LogRecord]) -> None:
        if self.away:
            raise StoreAway("the store is away")
        super().write_logs(records)


def trail(number: int) -> Trail:
    made = Trail("default", "edge-1", f"c{number}", "f1", "12103355787", caller="1", called="")
    made.tell("request", "asks", called="", service="voice")
    made.know(i_rate=7, prefix=None)
    made.decide("is allowed", result="allowed")
    return made


def test_a_trail_is_told_in_order_and_its_last_line_tells_all() -> None:
    first, last = trail(1).records()
    assert last.time_us == first.time_us + 1
    assert first.fields == {"step": "request", "engine": "ringback", "service": "voice"}
    assert last.fields == {
        "step": "decision",
        "engine": "ringback",
        "caller": "1",
        "i_rate": "7",
        "result": "allowed",
    }
    assert (last.kind, last.node, last.call_id, last.conf_id, last.account) == (
        "billing", "edge-1", "c1", "f1", "12103355787",
    )  # fmt: skip


def test_what_waits_is_written_when_the_store_is_back_and_the_rest_is_counted(tmp_path: Path) -> None:
    open_store(f"sqlite:{tmp_path}").close()
    store = SometimesAway(tmp_path)
    dropped: list[int] = []
    log = BillingLog(store, dropped=dropped.append, room=10)
    log.start()
    for number in range(8):
        log.put(trail(number))
    assert (log.waiting, dropped) == (10, [2, 2, 2])
    until(lambda: log.problem == "the store is away")
    store.away = False
    until(lambda: not log.waiting)
    log.put(trail(9))
    log.close()
    found = store.search_logs(LogQuery(("default",), 0, 1 << 52)).records
    assert [each.call_id for each in found] == [f"c{number}" for number in (0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 9, 9)]
    store.close()


def test_many_threads_put_and_nothing_is_lost(tmp_path: Path) -> None:
    store = open_store(f"sqlite:{tmp_path}")
    written: list[int] = []
    log = BillingLog(store, written=written.append)
    log.start()

    def put() -> None:
        for _ in range(200):
            log.put(trail(1))

    threads = [threading.Thread(target=put) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    log.close()
    assert sum(written) == 8 * 200 * 2
    store.close()
