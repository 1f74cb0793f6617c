from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from collecting import EVER, PHONE, options

from ringback.events import Batch, EventStore, EventStoreError, LegQuery, LogQuery, LogRecord, open_store
from ringback.sessions.capture import pcap_file
from ringback.sessions.capture.pcap_writer import write_pcap
from ringback.sessions.ingest import files
from ringback.sessions.ingest.blocks import decode_block
from ringback.sessions.ingest.files import ImportProgress, import_files
from ringback.sessions.ingest.legs import DAY_US
from ringback.sessions.story import Hop, Sighting
from running import PATIENCE

START_US = 1_795_348_800_000_000
MIDNIGHT_US = START_US - START_US % DAY_US + DAY_US
SAMPLES = Path(__file__).parents[3] / "shared" / "samples" / "pcap"
FILE_HOP = Hop(PHONE.transport, PHONE.source, PHONE.source_port, PHONE.destination, PHONE.destination_port)

Content = tuple[list[tuple[object, ...]], dict[str, int], list[LogRecord]]


def content(store: EventStore) -> Content:
    """All that the store holds, without references: rows with their messages, roll-ups, log lines."""
    rows = []
    cursor = None
    while True:
        page = store.search(LegQuery(("default",), 0, EVER), limit=500, cursor=cursor)
        for row in page.rows:
            pieces = store.blocks([row])
            messages = [one for piece in pieces for one in decode_block(piece.data, piece.first, piece.count)]
            rows.append(
                (
                    row.call_id, row.started_us, row.ended_us, row.kind, row.method, row.caller, row.called, row.outcome,
                    row.code, row.phrase, row.reason, row.answered_us, row.duration_ms, row.messages, row.trouble,
                    sorted(row.numbers.items()), sorted(row.keys), sorted(row.addresses), messages,
                )
            )  # fmt: skip
        cursor = page.cursor
        if cursor is None:
            break
    buckets = store.histogram(LegQuery(("default",), START_US - DAY_US, START_US + 3 * DAY_US), 60_000_000)
    counts: dict[str, int] = {}
    for bucket in buckets:
        for outcome, count in bucket.outcomes.items():
            counts[f"{bucket.start_us} {outcome}"] = count
    logs = store.search_logs(LogQuery(("default",), 0, EVER), limit=1000).records
    return sorted(rows, key=lambda row: (row[0], row[1])), {key: n for key, n in counts.items() if n}, logs


class Dies(Exception):
    pass


class Mortal:
    """A store that dies before its `lives`-th write."""

    def __init__(self, store: EventStore, lives: int) -> None:
        self._store = store
        self.left = lives

    def write(self, batch: Batch) -> None:
        self.left -= 1
        if self.left < 0:
            raise Dies
        self._store.write(batch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def mortal(store: EventStore, lives: int) -> EventStore:
    return cast("EventStore", Mortal(store, lives))


def capture(path: Path, *, start_us: int = START_US, legs: int = 40, turns: int = 12) -> Path:
    """`legs` legs at a time, each of `turns` messages, ten seconds apart; new ones begin all the time."""
    sightings = []
    for n in range(legs * 4):
        for turn in range(turns):
            payload = options(f"leg-{n}@h", f"1210{n:07d}")
            if turn % 2:
                payload = payload.replace(b"OPTIONS sip:18660333777@acme.example SIP/2.0", b"SIP/2.0 100 Trying")
            if turn == turns - 1 and n % 3:
                payload = payload.replace(b"100 Trying", b"200 OK" if n % 2 else b"486 Busy Here")
            sightings.append(Sighting(start_us + n * 700_000 + turn * 3_000_000, FILE_HOP, payload))
    sightings.sort()
    write_pcap(path, sightings)
    return path


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many batches in a small file."""
    monkeypatch.setattr(files, "BATCH_MESSAGES", 50)
    monkeypatch.setattr(pcap_file, "CHUNK", 20_000)


def fresh(tmp_path: Path, name: str) -> EventStore:
    return open_store(f"sqlite:{tmp_path / name}")


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("start_us", [START_US, MIDNIGHT_US - 25_000_000], ids=["one day", "over midnight"])
def test_an_import_that_died_and_was_resumed_stores_exactly_the_same(tmp_path: Path, start_us: int) -> None:
    path = capture(tmp_path / "a.pcap", start_us=start_us, legs=12)
    whole = fresh(tmp_path, "whole")
    writes = Mortal(whole, 10_000)
    import_files(cast("EventStore", writes), [path])
    expected = content(whole)
    total = 10_000 - writes.left
    assert total > 8
    for lives in range(total):
        store = fresh(tmp_path, f"dies-{lives}")
        with pytest.raises(Dies):
            import_files(mortal(store, lives), [path])
        summary = import_files(store, [path])
        assert summary.files[0].status == ("resumed" if lives else "imported")
        assert content(store) == expected
        store.close()
    whole.close()


@pytest.mark.usefixtures("small_batches")
def test_an_import_may_die_again_and_again(tmp_path: Path) -> None:
    path = capture(tmp_path / "a.pcap", start_us=MIDNIGHT_US - 25_000_000, legs=12)
    whole, store = fresh(tmp_path, "whole"), fresh(tmp_path, "store")
    import_files(whole, [path])
    deaths = 0
    while True:
        try:
            import_files(mortal(store, 2), [path])
            break
        except Dies:
            deaths += 1
    assert deaths > 3
    assert content(store) == content(whole)
    whole.close()
    store.close()


@pytest.mark.usefixtures("small_batches")
def test_an_import_that_was_killed_goes_on(tmp_path: Path) -> None:
    path = capture(tmp_path / "a.pcap", legs=100)
    code = (
        "import sys; from pathlib import Path; from ringback.events import open_store;"
        f"from ringback.sessions.ingest import files; files.BATCH_MESSAGES = {files.BATCH_MESSAGES};"
        f"import ringback.sessions.capture.pcap_file as p; p.CHUNK = 20_000;"
        "files.import_files(open_store('sqlite:' + sys.argv[1]), [Path(sys.argv[2])],"
        " lambda progress: print(progress.messages, flush=True))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "store"), str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    for line in process.stdout:
        if int(line) > 1000:
            break
    process.kill()
    process.wait(PATIENCE)
    process.stdout.close()
    store, whole = fresh(tmp_path, "store"), fresh(tmp_path, "whole")
    (result,) = import_files(store, [path]).files
    assert result.status == "resumed"
    import_files(whole, [path])
    assert content(store) == content(whole)
    store.close()
    whole.close()


def test_a_large_file_is_shared_by_processes_and_stored_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SHARED_BYTES", 0)
    monkeypatch.setattr(files, "MOST_SHARES", 3)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    path = capture(tmp_path / "a.pcap")
    alone, shared = fresh(tmp_path, "alone"), fresh(tmp_path, "shared")
    (expected,) = import_files(alone, [path]).files
    (result,) = import_files(shared, [path], store_url=f"sqlite:{tmp_path / 'shared'}").files
    assert result == expected
    assert content(shared) == content(alone)
    for url in ("", f"sqlite:{tmp_path / 'shared'}"):
        (again,) = import_files(shared, [path], store_url=url).files
        assert (again.status, again.messages, again.legs) == ("already", expected.messages, expected.legs)
    alone.close()
    shared.close()


@pytest.mark.usefixtures("small_batches")
def test_a_shared_import_that_died_is_resumed_by_as_many_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = capture(tmp_path / "a.pcap", start_us=MIDNIGHT_US - 25_000_000, legs=12)
    alone, store = fresh(tmp_path, "alone"), fresh(tmp_path, "store")
    import_files(alone, [path])
    monkeypatch.setattr(files, "_begun", lambda store, name: 2)  # as if two processes had begun
    deaths = 0
    while True:
        try:
            (result,) = import_files(mortal(store, 3), [path]).files
            break
        except Dies:
            deaths += 1
            monkeypatch.undo()
            monkeypatch.setattr(files, "BATCH_MESSAGES", 50)
            monkeypatch.setattr(pcap_file, "CHUNK", 20_000)
    assert deaths > 3
    assert result.status == "resumed"
    assert content(store) == content(alone)
    alone.close()
    store.close()


def test_what_a_process_of_a_shared_import_meets_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SHARED_BYTES", 0)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    path = capture(tmp_path / "a.pcap", legs=2)
    store = fresh(tmp_path, "store")
    with pytest.raises(EventStoreError, match="not a store this release knows"):
        import_files(store, [path], store_url="nonsense:")
    (result,) = import_files(store, [path]).files
    assert (result.status, result.messages) == ("resumed", 96)
    store.close()


def test_a_file_is_imported_once_unless_forced(tmp_path: Path) -> None:
    path = capture(tmp_path / "a.pcap")
    store = fresh(tmp_path, "store")
    first = import_files(store, [path]).files[0]
    assert (first.status, first.messages, first.legs, first.packets) == ("imported", 1920, 160, 1920)
    assert (first.first_us, first.last_us) == (START_US, START_US + 159 * 700_000 + 11 * 3_000_000)
    before = content(store)
    renamed = path.rename(tmp_path / "b.pcap")
    again = import_files(store, [renamed])
    assert (again.files[0].status, again.files[0].messages, again.messages) == ("already", 1920, 0)
    assert content(store) == before
    assert import_files(store, [renamed], force=True).files[0].status == "imported"
    assert len(content(store)[0]) == 2 * len(before[0])
    store.close()


def test_what_cannot_be_read_is_told_and_the_rest_imported(tmp_path: Path) -> None:
    good = capture(tmp_path / "good.pcap", legs=2)
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(good.read_bytes()[:-100])
    text = tmp_path / "notes.txt"
    text.write_text("no capture at all")
    store = fresh(tmp_path, "store")
    missing, noted, whole, torn = import_files(store, [tmp_path / "none.pcap", text, good, cut]).files
    assert (missing.status, missing.problem) == ("failed", "No such file or directory")
    assert noted.status == "failed"
    assert "neither a pcap nor a pcapng" in noted.problem
    assert (whole.status, whole.problem, whole.messages) == ("imported", "", 96)
    assert (torn.status, torn.messages) == ("imported", 95)
    assert "ends inside" in torn.problem
    store.close()


def test_a_file_without_sip_is_told_by_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    write_pcap(path, [Sighting(START_US, FILE_HOP, b"\0" * 40)])
    store = fresh(tmp_path, "store")
    (result,) = import_files(store, [path]).files
    assert (result.status, result.messages, result.packets) == ("imported", 0, 1)
    assert result.ignored.total() == 1
    assert content(store)[0] == []
    store.close()


def test_progress_is_told_to_the_end(tmp_path: Path) -> None:
    told: list[ImportProgress] = []
    path = capture(tmp_path / "a.pcap")
    store = fresh(tmp_path, "store")
    import_files(store, [path], told.append)
    assert told[-1] == ImportProgress(path, 1.0, 1920)
    assert [each.fraction for each in told] == sorted(each.fraction for each in told)
    store.close()


def test_a_store_that_cannot_be_written_is_an_error_and_the_next_call_goes_on(tmp_path: Path) -> None:
    class Full(Mortal):
        def write(self, batch: Batch) -> None:
            raise EventStoreError("no space left")

    path = capture(tmp_path / "a.pcap")
    store = fresh(tmp_path, "store")
    with pytest.raises(EventStoreError):
        import_files(cast("EventStore", Full(store, 0)), [path])
    assert import_files(store, [path]).files[0].messages == 1920
    store.close()


def test_media_of_a_capture_is_stored_once_with_its_call(tmp_path: Path) -> None:
    sample = SAMPLES / "sip_rtp.pcap"
    if not sample.exists():
        pytest.skip(f"no {sample}")
    store = fresh(tmp_path, "store")
    for _ in range(2):
        (result,) = import_files(store, [sample], force=True).files
        assert result.media >= 1
    rows, _, logs = content(store)
    assert len(rows) == 2  # forced
    assert len(logs) == result.media
    assert all(record.kind == "media" and record.call_id == rows[0][0] for record in logs)
    store.close()


def test_the_garbage_collector_is_left_as_it_was(tmp_path: Path) -> None:
    import gc

    store = fresh(tmp_path, "store")
    assert gc.isenabled()
    import_files(store, [tmp_path / "none"])
    assert gc.isenabled()
    store.close()
