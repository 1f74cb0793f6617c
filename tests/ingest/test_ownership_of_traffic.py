"""Every way in: legs, their log lines and media, captures and lines over HTTP go where the rules say."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from collecting import EVER, PHONE, Collector, collector, opened, options

from ringback.changes.schemas import Actor
from ringback.changes.service import changing
from ringback.events import EventStore, EventStoreError, LegPage, LegQuery, LogQuery, open_store
from ringback.records.engine import open_engine
from ringback.records.schema import migrate
from ringback.records.wall import EVERYWHERE
from ringback.sessions.capture import pcap_file
from ringback.sessions.capture.hep import LOG, encode
from ringback.sessions.capture.pcap_writer import write_pcap
from ringback.sessions.ingest import files
from ringback.sessions.ingest.chunks import Chunk, pack, read_chunk
from ringback.sessions.ingest.files import SHARED_BYTES, import_files
from ringback.sessions.ingest.legs import DAY_US, LegTable
from ringback.sessions.ingest.logs import ingest_logs
from ringback.sessions.ingest.packing import batches, stored
from ringback.sessions.ingest.worker import Configuration, Worker
from ringback.sessions.keys import DEFAULT_RULES
from ringback.sessions.ownership.following import FILE, RulesFollower, save_rules, saved_rules
from ringback.sessions.ownership.rules import ALL_UNASSIGNED, ONE_TENANT, Rule, TrafficRules
from ringback.sessions.ownership.service import list_rules, replace_rules
from ringback.sessions.story import Hop, Sighting
from running import PATIENCE

START_US = 1_795_348_800_000_000
MIDNIGHT_US = START_US - START_US % DAY_US + DAY_US
SECOND = 1_000_000
A = Rule("domain", "a.example", "a")
B = Rule("domain", "b.example", "b")
TWO = TrafficRules([A, B])
SWAPPED = TrafficRules([replace(A, environment="b"), replace(B, environment="a")])
ALL = ("a", "b", "default", "unassigned")
OWN_HOP = Hop("udp", "198.51.100.77", 5060, "203.0.113.9", 5060, "202")


def asked(call_id: str, domain: str) -> bytes:
    return options(call_id).replace(b"acme.example", domain.encode())


def where(store: EventStore) -> dict[str, set[str]]:
    """Call-ID -> environments of its legs."""
    found: dict[str, set[str]] = {}
    for environment in ALL:
        for row in store.search(LegQuery((environment,), 0, EVER), limit=500).rows:
            assert row.environment == environment
            found.setdefault(row.call_id, set()).add(environment)
    return found


def lines(store: EventStore) -> dict[str, set[str]]:
    """Text -> environments of its lines."""
    found: dict[str, set[str]] = {}
    for environment in ALL:
        for record in store.search_logs(LogQuery((environment,), 0, EVER), limit=500).records:
            found.setdefault(record.text, set()).add(environment)
    return found


def begun(store: EventStore, environment: str) -> int:
    buckets = store.histogram(LegQuery((environment,), START_US - DAY_US, START_US + 2 * DAY_US), 60 * SECOND)
    return sum(count for bucket in buckets for count in bucket.outcomes.values())


def write(store: EventStore, table: LegTable, clock_us: int) -> None:
    taken = table.take(clock_us)
    for batch in batches(taken).values():
        store.write(batch)
    stored(taken)


def test_an_open_leg_stays_where_it_is_whatever_the_rules_become(tmp_path: Path) -> None:
    store = open_store(f"sqlite:{tmp_path}")
    table = LegTable(owners=TWO)
    for number, at_us in enumerate((START_US, MIDNIGHT_US + SECOND)):  # midnight begins another row
        for call_id, domain in (("1", "a.example"), ("2", "b.example"), ("3", "c.example")):
            table.add([(at_us, PHONE, asked(call_id, domain), 0, "")])
        table.add([(at_us, PHONE, asked(f"new {number}", "a.example"), 0, "")])
        write(store, table, at_us)
        table.owners = SWAPPED
    assert where(store) == {"1": {"a"}, "2": {"b"}, "3": {"unassigned"}, "new 0": {"a"}, "new 1": {"b"}}
    assert [begun(store, each) for each in ALL] == [2, 2, 0, 1]
    assert table.environment_of("1") == "a"
    assert table.environment_of("none") is None
    store.close()


def worker(store: EventStore, folder: Path, rules: TrafficRules) -> Worker:
    folder.mkdir(exist_ok=True)
    save_rules(folder, rules)
    return Worker(Configuration(0, "", None, "console", traffic_rules=str(folder)), store, DEFAULT_RULES)


def feed(tried: Worker, packets: Sequence[bytes]) -> None:
    reading, writing = os.pipe()
    os.write(writing, pack(START_US, ["192.0.2.1"], [], packets))
    os.close(writing)
    chunk = read_chunk(reading)
    os.close(reading)
    assert isinstance(chunk, Chunk)
    tried.take(chunk)


def line(text: str, call_id: str = "", hop: Hop = PHONE, at_us: int = START_US) -> bytes:
    return encode(at_us, hop, text.encode(), payload_type=LOG, correlation=call_id)


def report(call_id: str) -> bytes:
    figures = {"type": "HANGUP", "CALLID": call_id, "MOS": 4.1, "JITTER": 3}
    return encode(START_US, PHONE, orjson.dumps(figures), payload_type=0x22, correlation=call_id)


def test_a_line_goes_where_its_session_is_also_when_it_came_first_or_long_after(tmp_path: Path) -> None:
    store = open_store(f"sqlite:{tmp_path / 'events'}")
    tried = worker(store, tmp_path / "run", TrafficRules([A, B, Rule("node", "202", "b")]))
    feed(tried, [line("before", "1"), encode(START_US, PHONE, asked("1", "a.example")), line("after", "1", OWN_HOP)])
    feed(tried, [report("1"), line("of no session"), line("of b by its node", hop=OWN_HOP), line("lost", "none")])
    tried.flush()
    again = worker(store, tmp_path / "run", TrafficRules([A, B]))  # another process: its table is empty
    feed(again, [line("much later", "1", at_us=START_US + 3600 * SECOND)])
    again.flush()
    found = lines(store)
    figures = next(text for text in found if "MOS" in text or "mos" in text)
    assert {text: found[text] for text in found if text != figures} == {
        "before": {"a"}, "after": {"a"}, "much later": {"a"}, "of b by its node": {"b"}, "of no session": {"unassigned"},
        "lost": {"unassigned"},
    }  # fmt: skip
    assert found[figures] == {"a"}
    assert (tried.report.stored, tried.report.logs) == (1, 6)
    store.close()


def test_lines_are_stored_also_where_their_sessions_cannot_be_looked_up(tmp_path: Path) -> None:
    class Blind:
        def __init__(self, store: EventStore) -> None:
            self._store = store

        def search(self, *_: object, **__: object) -> LegPage:
            raise EventStoreError("a day is damaged")

        def __getattr__(self, name: str) -> object:
            return getattr(self._store, name)

    store = open_store(f"sqlite:{tmp_path / 'events'}")
    tried = worker(Blind(store), tmp_path / "run", TrafficRules([B, Rule("node", "202", "b")]))  # type: ignore[arg-type]
    feed(tried, [line("by its node", "1", OWN_HOP), line("nobody's", "2")])
    tried.flush()
    assert lines(store) == {"by its node": {"b"}, "nobody's": {"unassigned"}}
    store.close()


def test_a_worker_follows_the_file_and_keeps_what_it_knew_where_it_is_broken(tmp_path: Path) -> None:
    store = open_store(f"sqlite:{tmp_path / 'events'}")
    folder = tmp_path / "run"
    tried = worker(store, folder, TWO)

    def call(call_id: str) -> None:
        tried._follow_rules()
        feed(tried, [encode(START_US, PHONE, asked(call_id, "a.example"))])

    call("1")
    save_rules(folder, SWAPPED)
    call("2")
    for broken in (
        b"{cut",
        b'{"rules": [["planet", "x", "a", []]]}',
        b'{"rules": 7}',
        b'{"rules": [["node", 1, "a", []]]}',
    ):
        (folder / FILE).write_bytes(broken)
        call("3")
    (folder / FILE).unlink()
    call("4")
    save_rules(folder, TWO)
    call("5")
    tried.flush()
    assert where(store) == {"1": {"a"}, "2": {"b"}, "3": {"b"}, "4": {"b"}, "5": {"a"}}
    store.close()


def test_without_any_knowledge_traffic_is_nobodys(tmp_path: Path) -> None:
    assert saved_rules(tmp_path) is None
    follower = RulesFollower(tmp_path)
    assert follower.rules == ALL_UNASSIGNED
    save_rules(tmp_path, ONE_TENANT)
    assert follower.look()
    assert follower.rules == ONE_TENANT
    assert not follower.look()
    rules = TrafficRules([Rule("node", "edge-1", "a", ("101", "192.0.2.1")), B])
    save_rules(tmp_path, rules)
    assert saved_rules(tmp_path) == rules


def capture(path: Path, legs: int = 30, start_us: int = START_US, filler: bytes = b"") -> Path:
    """Legs of a, of b and of nobody in turn, each of four messages."""
    hop = Hop(PHONE.transport, PHONE.source, PHONE.source_port, PHONE.destination, PHONE.destination_port)
    sightings = []
    for number in range(legs):
        domain = ("a.example", "b.example", "c.example")[number % 3]
        for turn in range(4):
            message = asked(f"leg-{number}@h", domain).replace(b"CSeq: 1", b"CSeq: %d" % (turn + 1))
            message = (
                message.replace(b"Content-Length: 0\r\n\r\n", b"Content-Length: %d\r\n\r\n" % len(filler)) + filler
            )
            sightings.append(Sighting(start_us + number * SECOND // 2 + turn * 2 * SECOND, hop, message))
    sightings.sort()
    write_pcap(path, sightings)
    return path


def messages(store: EventStore, environment: str) -> int:
    total, cursor = 0, None
    while True:
        page = store.search(LegQuery((environment,), 0, EVER), limit=500, cursor=cursor)
        total += sum(row.messages for row in page.rows)
        cursor = page.cursor
        if cursor is None:
            return total


def test_a_capture_goes_where_the_rules_say_once(tmp_path: Path) -> None:
    path = capture(tmp_path / "a.pcap")
    store = open_store(f"sqlite:{tmp_path / 'events'}")
    (result,) = import_files(store, [path], owners=TWO).files
    assert (result.status, result.messages) == ("imported", 120)
    assert [messages(store, each) for each in ALL] == [40, 40, 0, 40]
    # Once more, whatever the rules are by then: nothing is stored twice.
    for owners in (TWO, SWAPPED, TrafficRules([A]), ONE_TENANT):
        (again,) = import_files(store, [path], owners=owners).files
        assert (again.status, again.messages) == ("already", 120)
    assert [messages(store, each) for each in ALL] == [40, 40, 0, 40]
    (named,) = import_files(store, [path], environment="b", owners=TWO).files
    assert named.status == "imported"
    assert [messages(store, each) for each in ALL] == [40, 160, 0, 40]
    assert import_files(store, [path], owners=SWAPPED, force=True).files[0].status == "imported"
    assert [messages(store, each) for each in ALL] == [80, 200, 0, 80]
    store.close()


def test_a_capture_that_was_imported_before_there_were_rules_is_known(tmp_path: Path) -> None:
    path = capture(tmp_path / "a.pcap")
    store = open_store(f"sqlite:{tmp_path / 'events'}")
    import_files(store, [path])
    (again,) = import_files(store, [path], owners=TrafficRules([A, Rule("everything", "", "default")])).files
    assert again.status == "already"
    assert [messages(store, each) for each in ALL] == [0, 0, 120, 0]
    store.close()


def test_an_import_by_the_rules_that_died_and_was_resumed_stores_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dies(Exception):
        pass

    class Mortal:
        def __init__(self, store: EventStore, lives: int) -> None:
            self._store, self.left = store, lives

        def write(self, batch: object) -> None:
            self.left -= 1
            if self.left < 0:
                raise Dies
            self._store.write(batch)  # type: ignore[arg-type]

        def __getattr__(self, name: str) -> object:
            return getattr(self._store, name)

    monkeypatch.setattr(files, "BATCH_MESSAGES", 20)
    monkeypatch.setattr(pcap_file, "CHUNK", 5_000)
    path = capture(tmp_path / "a.pcap", start_us=MIDNIGHT_US - 8 * SECOND)
    for lives in range(6):
        store = open_store(f"sqlite:{tmp_path / str(lives)}")
        with pytest.raises(Dies):
            import_files(Mortal(store, lives), [path], owners=TWO)  # type: ignore[arg-type]
        import_files(store, [path], owners=TWO)
        assert [messages(store, each) for each in ALL] == [40, 40, 0, 40]
        assert len(where(store)) == 30
        assert [begun(store, each) for each in ALL] == [10, 10, 0, 10]
        store.close()


def test_a_large_capture_that_several_processes_share_goes_there_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SHARED_BYTES", 10_000)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    path = capture(tmp_path / "a.pcap", legs=60)
    assert path.stat().st_size < SHARED_BYTES
    url = f"sqlite:{tmp_path / 'events'}"
    store = open_store(url)
    (result,) = import_files(store, [path], owners=TWO, store_url=url).files
    assert (result.status, result.messages, result.legs) == ("imported", 240, 60)
    assert [messages(store, each) for each in ALL] == [80, 80, 0, 80]
    store.close()


def test_lines_over_http_go_where_the_rules_say_unless_their_environment_is_named(tmp_path: Path) -> None:
    store = open_store(f"sqlite:{tmp_path / 'events'}")
    table = LegTable(owners=TWO)
    table.add([(START_US, PHONE, asked("1", "a.example"), 0, "")])
    write(store, table, START_US)

    def document(text: str, **more: str) -> dict[str, object]:
        return {"time": START_US, "text": text, **more}

    sent = [
        document("of the session", call_id="1", domain="b.example"),
        document("by its domain", domain="B.example"),
        document("of an unknown session", call_id="2", request_uri="sip:1@b.example"),
        document("nobody's"),
    ]
    body = b"\n".join(map(orjson.dumps, sent))
    assert ingest_logs(store, body, owners=TWO).accepted == 4
    assert lines(store) == {
        "of the session": {"a"}, "by its domain": {"b"}, "of an unknown session": {"b"}, "nobody's": {"unassigned"},
    }  # fmt: skip
    ingest_logs(store, orjson.dumps(document("a token's", call_id="1")), environment="b", owners=TWO)
    assert lines(store)["a token's"] == {"b"}
    ingest_logs(store, orjson.dumps(document("one tenant")))
    assert lines(store)["one tenant"] == {"default"}
    store.close()


def set_rules(data: Path, *rules: Rule) -> None:
    """As an administrator does, in the records of the data folder."""
    data.mkdir(exist_ok=True)
    engine = open_engine(f"sqlite:///{data / 'records.sqlite'}")
    migrate(engine)
    version = list_rules(engine).version
    with changing(engine, Actor("user", "ada", "console"), EVERYWHERE) as work:
        replace_rules(work, version, rules)
    engine.dispose()


def call_until(running: Collector, data: Path, prefix: str, environment: str) -> None:
    """New calls of a.example, until one has come to `environment`; earlier ones are where the rules before put them."""
    deadline = time.monotonic() + PATIENCE
    number = 0
    while time.monotonic() < deadline:
        call_id = f"{prefix}-{number}"
        running.send([encode(time.time_ns() // 1000, PHONE, asked(call_id, "a.example"))])
        running.wait(lambda status: status.waiting == 0 and status.stored > 0)
        with opened(data) as store:
            until = time.monotonic() + PATIENCE
            while call_id not in (found := where(store)) and time.monotonic() < until:
                time.sleep(0.05)
        if environment in found[call_id]:
            return
        number += 1
    raise AssertionError(f"no call came to {environment}")


def test_a_collector_follows_the_rules_while_it_runs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    set_rules(data, A)
    with collector(data) as running:
        call_until(running, data, "first", "a")
        before = running.status.stored
        running.send([encode(time.time_ns() // 1000, PHONE, asked("b", "b.example"))])
        running.wait(lambda status: status.stored > before)
        set_rules(data, replace(A, environment="b"))
        call_until(running, data, "second", "b")
        running.send([encode(time.time_ns() // 1000, PHONE, asked("first-0", "a.example"))])  # its leg is open
        running.stop()
    with opened(data) as store:
        found = where(store)
        assert found["first-0"] == {"a"}
        assert found["b"] == {"unassigned"}


AWAY = {"RINGBACK_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1"}


def test_a_collector_that_never_knew_the_rules_gives_traffic_to_nobody(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with collector(data, **AWAY) as running:
        call_until(running, data, "away", "unassigned")
    with opened(data) as store:
        assert set().union(*where(store).values()) == {"unassigned"}


def test_a_collector_that_was_killed_goes_on_with_the_rules_known_last_while_the_records_are_away(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    set_rules(data, A)
    with collector(data) as running:
        call_until(running, data, "first", "a")
        running.kill()
    with collector(data, **AWAY) as running:
        call_until(running, data, "second", "a")
        running.stop()
    with opened(data) as store:
        assert set().union(*where(store).values()) == {"a"}


def test_records_of_before_there_were_rules_are_of_one_tenant(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with collector(data) as running:
        call_until(running, data, "old", "default")
    assert saved_rules(data / "run") == ONE_TENANT
