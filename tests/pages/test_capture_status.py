"""What the capture page says is wrong, and what of the counters it explains."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import ringback.sessions
from ringback import clock
from ringback.events.store import SegmentStatus, StoreStatus
from ringback.hosts.service import RoleState
from ringback.sessions.ingest.status import CollectorStatus
from ringback.sessions.pages import capture
from ringback.sessions.pages.capture import OTHER_KINDS, REASONS, days, lost_rows
from ringback.sessions.status.collectors import HostCollector

GIB = 2**30
NOW = 1_795_348_800_000_000


@pytest.fixture(autouse=True)
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now_us", lambda: NOW)


def segment(day: str, kind: str = "sip", size: int = GIB, problem: str = "") -> SegmentStatus:
    return SegmentStatus(f"{kind}-{day}", kind, day, size, 10, 100, 5, 0, 0, problem)


def store(*segments: SegmentStatus, free: int | None = 100 * GIB, problem: str = "") -> StoreStatus:
    return StoreStatus("sqlite", list(segments), free, problem)


def collector(**changes: object) -> CollectorStatus:
    status = CollectorStatus(updated_us=NOW)
    for name, value in changes.items():
        setattr(status, name, value)
    return status


def on(host: str, status: CollectorStatus) -> HostCollector:
    return HostCollector(host, status, status.running, status.updated_us)


def problems(status: CollectorStatus | None, stored: StoreStatus | None, problem: str) -> list[tuple[str, str]]:
    """Of one host."""
    return capture.problems([on("a", status)] if status else [], stored, problem)


def test_when_all_is_well_nothing_is_a_problem() -> None:
    assert problems(collector(), store(segment("2026-11-22")), "") == []


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (None, "has never run"),
        (collector(stopped=True), "was stopped"),
        (collector(updated_us=NOW - 60_000_000), "died, or its machine hangs; its last word is 1 min 00 s old"),
        (collector(problem="the disk is full"), "Nothing can be stored just now: the disk is full"),
    ],
)  # fmt: skip
def test_a_collector_that_does_not_store_is_the_first_problem(status: CollectorStatus | None, said: str) -> None:
    tone, text = problems(status, store(segment("2026-11-22", problem="torn")), "")[0]
    assert tone == "bad"
    assert said in text


def test_a_collector_that_falls_behind_is_a_warning() -> None:
    assert problems(collector(lag_ms=4000.0, waiting=1200), store(), "") == [
        ("warn", "Storing is 4.0 s behind; 1\u202f200 packets wait.")
    ]


def test_what_waits_on_disk_is_told_with_its_age() -> None:
    waiting = collector(
        spool_oldest_us=NOW - 130_000_000, spool_packets=5_700_000, spool_bytes=GIB // 2, spool_limit=4 * GIB
    )
    ((tone, text),) = problems(waiting, store(), "")
    assert tone == "warn"
    assert "behind by 2 min 10 s: 5\u202f700\u202f000 packets wait on disk (512.0 MiB); they can be searched" in text
    ((tone, text),) = problems(replace(waiting, spool_bytes=4 * GIB), store(), "")
    assert tone == "bad"
    assert "4.0 GiB of 4.0 GiB: what finds no room is lost" in text
    told = problems(replace(waiting, problem="it is away"), store(), "")
    assert [text[:40] for _, text in told] == [
        "Nothing can be stored just now: it is aw",
        "Storing is behind by 2 min 10 s: 5\u202f700\u202f0",
    ]
    _, (_, text) = problems(replace(waiting, stopped=True), store(), "")
    assert "the next start stores them" in text


def test_a_small_buffer_is_a_problem_once_the_kernel_has_dropped_packets() -> None:
    small = collector(receive_buffer=212_992, lost={"socket drop": 5})
    ((tone, text),) = problems(small, store(), "")
    assert tone == "warn"
    assert "208.0 KiB" in text
    assert problems(replace(small, lost={}), store(), "") == []
    assert problems(replace(small, receive_buffer=32 * 2**20), store(), "") == []


def test_a_store_or_segment_that_cannot_be_read_is_told() -> None:
    assert problems(collector(), None, "locked") == [("bad", "The event store cannot be read: locked")]
    assert problems(collector(), store(segment("2026-11-22", problem="torn")), "") == [
        ("bad", "sip-2026-11-22 cannot be read: torn")
    ]


def test_the_disk_is_measured_by_the_last_whole_day() -> None:
    full = store(segment("2026-11-22", size=1), segment("2026-11-21", size=4 * GIB), free=6 * GIB)
    assert problems(collector(), full, "") == [("warn", "6.0 GiB are free: about 1.5 days at yesterday's pace.")]
    assert problems(collector(), store(segment("2026-11-22"), free=1), "") == []  # no whole day to measure by


def test_losses_come_before_what_is_harmless_and_the_most_first() -> None:
    rows = lost_rows(
        collector(lost={"keep-alive": 900, "bad key": 2, "socket drop": 7, "STUN": 0, f"{OTHER_KINDS}99": 3})
    )
    assert [row.reason for row in rows] == ["socket drop", "bad key", "keep-alive", f"{OTHER_KINDS}99"]
    assert rows[3].harmless


def test_every_reason_that_the_code_counts_is_explained() -> None:
    room = Path(ringback.sessions.__file__).parent
    counted = set()
    for path in [*room.glob("ingest/*.py"), room / "capture/hep.py"]:
        text = path.read_text()
        for counts in (r'refused\["([^"]+)"\]', r'HepError\("([^"]+)"', r'lost=\{"([^"]+)"'):
            counted |= set(re.findall(counts, text))
    assert {"bad key", "bad magic", "store failed", "spool full", "killed"} <= counted
    assert counted <= REASONS.keys()


def test_the_segments_of_a_day_are_one_row_newest_first() -> None:
    rows = days([segment("2026-11-21"), segment("2026-11-22"), segment("2026-11-22", "log", size=1)])
    assert [(row.day, row.bytes, row.legs, row.logs) for row in rows] == [
        ("2026-11-22", GIB + 1, 20, 10), ("2026-11-21", GIB, 10, 5),
    ]  # fmt: skip


def test_of_several_collectors_each_problem_names_its_host() -> None:
    hosts = [
        on("a", collector(updated_us=NOW - 60_000_000)),
        on("b", collector(problem="the disk is full")),
        on("c", collector(stopped=True)),
        on("d", collector()),
    ]
    told = capture.problems(hosts, store(), "")
    assert [tone for tone, _ in told] == ["bad", "bad", "warn"]
    assert "collector on a has been silent since 2026-11-22T11:59:00Z" in told[0][1]
    assert told[1][1] == "Nothing can be stored on b just now: the disk is full"
    assert "collector on c was stopped" in told[2][1]


def test_without_a_work_role_nothing_is_dropped_and_the_page_says_so() -> None:
    now = clock.from_us(NOW)
    states = [RoleState("a", role, "run", "1", now, now, None, "{}") for role in ("web", "collect")]
    ((tone, text),) = capture.problems([on("a", collector())], store(), "", states)
    assert tone == "warn"
    assert "work role" in text
    working = replace(states[0], role="work")
    assert capture.problems([on("a", collector())], store(), "", [*states, working]) == []
