"""The collector as a process while its store is away, or slower than what comes: everything is stored, or counted."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from collecting import PHONE, Collector, collector, opened, stored_payloads

from ringback.events import DAY_US
from ringback.sessions.capture.hep import encode
from ringback.sessions.ingest.spool import sizes
from ringback.sessions.ingest.status import CollectorStatus
from running import PATIENCE

_BODY = b"m=audio 30000 RTP/AVP 8 0 101\r\n" * 320  # 10 kB: fewer packets fill the memory that comes before the spool


def packets(count: int, start: int = 0) -> list[bytes]:
    """Of a hundred calls; every payload is another one."""
    now = time.time_ns() // 1000
    return [encode(now + n, PHONE, payload(n)) for n in range(start, start + count)]


def payload(n: int) -> bytes:
    return (
        b"INFO sip:18660333777@acme.example SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.23;branch=z9hG4bK%d\r\n"
        b"From: <sip:12103355787@acme.example>;tag=1\r\nTo: <sip:18660333777@acme.example>\r\nCall-ID: call-%d@h\r\n"
        b"CSeq: %d INFO\r\nContent-Length: %d\r\n\r\n%b" % (n, n % 100, n + 1, len(_BODY), _BODY)
    )


@contextmanager
def store_away(data: Path) -> Iterator[None]:
    """Nothing can be written while a folder stands where the day's segment is to be."""
    days = [time.strftime("%Y-%m-%d", time.gmtime(time.time() + ahead * DAY_US / 1e6)) for ahead in (0, 1)]
    folders = [data / "events" / f"sip-{day}.sqlite" for day in days]
    for folder in folders:
        folder.mkdir(parents=True)
    try:
        yield
    finally:
        for folder in folders:
            folder.rmdir()


def spooled(running: Collector, count: int) -> CollectorStatus:
    """Sends `count` packets, of which most must wait on disk then."""
    sent = running.status.received
    running.send(packets(count, start=sent))
    return running.wait(
        lambda status: (
            status.received + status.lost.get("socket drop", 0) == sent + count
            and status.spool_packets > 0
            and status.updated_us - status.spool_oldest_us > 1_500_000
        ),
        60,
    )


def found_in(data: Path) -> Counter[bytes]:
    with opened(data) as store:
        return Counter(each for own in stored_payloads(store).values() for each in own)


def accounted(status: CollectorStatus) -> int:
    return status.stored + status.logs + sum(status.lost.values())


def test_while_the_store_is_away_packets_wait_on_disk_and_none_is_lost(tmp_path: Path) -> None:
    with collector(tmp_path) as running:
        with store_away(tmp_path):
            status = spooled(running, 4000)
            assert status.problem
            assert status.behind_s > 1
            assert 0 < status.spool_bytes < 4_000_000  # of 40 MB
            assert status.waiting == status.received
        status = running.wait(lambda status: accounted(status) == 4000, 60)
        running.wait(lambda status: status.spool_bytes == 0 and not status.spool_oldest_us)
        assert status.stored + status.lost.get("socket drop", 0) == 4000
        assert status.spooled > 1000
        running.send(packets(100, start=4000))
        running.wait(lambda status: accounted(status) == 4100)
        stopped = running.stop()
        assert not sizes(tmp_path / "spool")
    found = found_in(tmp_path)
    assert found.total() == stopped.stored
    assert set(found.values()) == {1}
    assert found.keys() <= {payload(n) for n in range(4100)}


@pytest.mark.parametrize("workers", ["2", "3"])
def test_kill_9_while_packets_wait_on_disk(tmp_path: Path, workers: str) -> None:
    with collector(tmp_path) as running, store_away(tmp_path):
        before = spooled(running, 4000)
        running.kill()
    assert before.stored == 0
    with collector(tmp_path, RINGBACK_HEP_WORKERS=workers) as running:
        status = running.wait(lambda status: accounted(status) == 4000, 60)
        assert status.lost.keys() <= {"killed", "socket drop"}
        assert status.stored >= before.spool_packets > 1000
        running.kill()
    found = found_in(tmp_path)
    assert found.total() == status.stored
    assert set(found.values()) == {1}


def test_kill_9_again_and_again_while_the_spool_is_read(tmp_path: Path) -> None:
    with collector(tmp_path) as running, store_away(tmp_path):
        spooled(running, 6000)
        running.kill()
    acknowledged = 0
    for wait in (0.6, 0.9, 1.2):
        with collector(tmp_path) as running:
            assert running.port_udp
            time.sleep(wait)
            running.kill()
            now = running.status
            assert now.stored >= acknowledged
            acknowledged = now.stored
    with collector(tmp_path) as running:
        status = running.wait(lambda status: accounted(status) == 6000, 60)
        assert status.lost.keys() <= {"killed", "socket drop"}
        running.stop()
    found = found_in(tmp_path)
    assert found.total() == status.stored
    assert set(found.values()) == {1}


def test_on_sigterm_the_spool_stays_and_the_next_start_stores_it(tmp_path: Path) -> None:
    with collector(tmp_path) as running, store_away(tmp_path):
        spooled(running, 3000)
        stopped = running.stop()
    assert stopped.lost.keys() <= {"socket drop"}
    assert (stopped.stored, stopped.waiting) == (0, stopped.received)
    assert stopped.spool_packets > 0
    with collector(tmp_path, RINGBACK_HEP_WORKERS="1", RINGBACK_SPOOL_BYTES="0") as running:
        status = running.wait(lambda status: accounted(status) == 3000, 60)
        assert status.lost == stopped.lost
        running.send(packets(10, start=3000))
        running.wait(lambda status: accounted(status) == 3010)
        running.stop()
    assert not sizes(tmp_path / "spool")
    found = found_in(tmp_path)
    assert found.total() == status.stored + 10
    assert set(found.values()) == {1}


def test_what_the_spool_has_no_room_for_is_counted(tmp_path: Path) -> None:
    with collector(tmp_path, RINGBACK_SPOOL_BYTES="20000") as running:
        with store_away(tmp_path):
            running.send(packets(3000))
            status = running.wait(lambda status: status.lost.get("spool full", 0) > 0, 60)
            assert status.spool_bytes <= 20_000
            assert status.spool_limit == 20_000
        status = running.wait(lambda status: accounted(status) == 3000, 60)
        assert status.lost.keys() <= {"spool full", "socket drop"}
        running.stop()
    found = found_in(tmp_path)
    assert found.total() == status.stored
    assert set(found.values()) == {1}


def test_without_a_spool_what_waits_stays_in_memory(tmp_path: Path) -> None:
    with collector(tmp_path, RINGBACK_SPOOL_BYTES="0") as running:
        with store_away(tmp_path):
            running.send(packets(3000))
            status = running.wait(lambda status: accounted(status) + status.received == 3000 and bool(status.problem))
            assert (status.spool_bytes, status.spool_packets) == (0, 0)
        status = running.wait(lambda status: accounted(status) == 3000, 60)
        assert status.lost.keys() <= {"socket drop"}


def test_after_the_collector_alone_is_killed_the_next_one_waits_for_its_processes(tmp_path: Path) -> None:
    with collector(tmp_path) as running:
        with store_away(tmp_path):
            spooled(running, 3000)
            children = psutil.Process(running.process.pid).children()
            os.kill(running.process.pid, signal.SIGKILL)
            running.process.wait(PATIENCE)
            with collector(tmp_path) as second:
                _, alive = psutil.wait_procs(children, timeout=30)
                assert not alive
                assert second.port_udp
        with collector(tmp_path) as third:
            status = third.wait(lambda status: accounted(status) == 3000, 60)
            assert status.lost.keys() <= {"socket drop"}
            third.stop()
    found = found_in(tmp_path)
    assert found.total() == status.stored
    assert set(found.values()) == {1}
