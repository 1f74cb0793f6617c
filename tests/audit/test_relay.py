"""Audit records come to the event store: all of them, once, in the order of their chains, whatever dies or is away."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, select, update
from structlog.testing import capture_logs

from audited import ANN, jerry_price, records
from databases import at_once
from ringback import clock
from ringback.access.models import User
from ringback.audit import relay
from ringback.audit.models import AuditChain, AuditCopy, AuditRecord
from ringback.audit.relay import AuditRelay, Lag, lag, rebuild, record_of, store_name
from ringback.billing.entities.models import Customer
from ringback.changes.schemas import Owner
from ringback.changes.service import changing, note
from ringback.events import DAY_US, AuditQuery, AuditRow, EventStore, StoreAway, WriteRefused, open_store
from ringback.hosts.models import Lease
from ringback.records.engine import reading, unit_of_work
from ringback.records.tables import INSTALLATION
from ringback.records.wall import EVERYWHERE
from ringback.sessions.ownership.models import TrafficRule
from ringback.settings import Settings, load_settings

EVER = AuditQuery(("default", "acme"), 0, 1 << 52)


@pytest.fixture
def settings(records_url: str, tmp_path: Path) -> Settings:
    return load_settings({"RINGBACK_DATABASE_URL": records_url}, data=tmp_path / "data")


@pytest.fixture
def relayed(settings: Settings) -> Iterator[AuditRelay]:
    made = AuditRelay(settings)
    yield made
    made.close()


def add(engine: Engine, count: int, environment: str = "default") -> None:
    """`count` records, in one unit of work."""
    with changing(engine, ANN, (environment,)) as work:
        for number in range(count):
            note(work, "payment.made", "customer", number, f"Customer {number}", Owner(environment, number))


def copied(settings: Settings, query: AuditQuery = EVER) -> list[AuditRow]:
    """Newest first; each number of a chain once."""
    with closing(open_store(settings.store_url)) as store:
        rows = store.search_audit(query, 100_000, deadline_s=60).rows
    assert len({(row.environment, row.seq) for row in rows}) == len(rows)
    return rows


def seqs(settings: Settings, environment: str = "default") -> list[int]:
    return sorted(row.seq for row in copied(settings, replace(EVER, environments=(environment,))))


def test_records_are_copied_as_they_are(engine: Engine, settings: Settings, relayed: AuditRelay) -> None:
    customer, account = jerry_price(engine)
    with changing(engine, ANN, ("default",)) as work:
        found = work.get_one(Customer, customer.id)
        found.credit_limit, found.email = Decimal(50), "jerry@example.net"
    assert relayed.step()
    rows = copied(settings)
    written = records(engine)
    assert [row.seq for row in rows] == [record.seq for record in reversed(written)]
    for row, record in zip(rows, reversed(written), strict=True):
        again = record_of(row)
        for column in AuditRecord.__table__.columns.keys():  # noqa: SIM118 -- not a dictionary
            assert getattr(again, column) == getattr(record, column), column
        assert row.time_us == clock.to_us(record.at)
    changed = rows[0]
    assert (changed.entity_type, changed.action, changed.actor) == ("customer", "changed", ANN.name)
    assert set(changed.properties) == {"credit_limit", "email"}
    assert changed.personal
    assert (changed.customer_id, changed.customer_name) == (customer.id, "Jerry Price")
    made = next(row for row in rows if row.entity_type == "account")
    assert (made.account_id, made.account_name, made.customer_name) == (account.id, "12103355787", "Jerry Price")
    product = next(row for row in rows if row.entity_type == "product")
    assert not product.personal
    assert copied(settings, replace(EVER, names="jerry pri*", entity_types=("account",))) == [made]


def people_and_rules(engine: Engine) -> None:
    """Changes of what has no pages of entities: half of them are of personal data."""
    with changing(engine, ANN, EVERYWHERE) as work:
        user = User(name="nora", role="noc", created_at=clock.now())
        rule = TrafficRule(
            position=1, kind="node", value="edge", target="default", senders="192.0.2.10", changed_at=clock.now()
        )
        work.add_all([user, rule])
    for row, changes in (
        (user, {"email": "nora@example.net"}), (user, {"role": "billing"}), (rule, {"senders": "192.0.2.11"}),
        (rule, {"target": "acme"}),
    ):  # fmt: skip
        with changing(engine, ANN, EVERYWHERE) as work:
            found = work.get_one(type(row), row.id)
            for name, value in changes.items():
                setattr(found, name, value)


PERSONAL = [("traffic_rule", "created"), ("user", "changed"), ("traffic_rule", "changed")]  # of people_and_rules


def personal_of(settings: Settings) -> list[tuple[str, str]]:
    """In the order in which they were written."""
    rows = copied(settings, AuditQuery((INSTALLATION,), 0, 1 << 52, personal=True))
    assert len(copied(settings, AuditQuery((INSTALLATION,), 0, 1 << 52, personal=False))) == 3
    return [(row.entity_type, row.action) for row in reversed(rows)]


def test_what_is_personal_of_people_and_rules_of_traffic_is_found(
    engine: Engine, settings: Settings, relayed: AuditRelay
) -> None:
    people_and_rules(engine)
    assert relayed.step()
    assert personal_of(settings) == PERSONAL


def test_each_chain_is_copied_to_its_end_in_turn(
    engine: Engine, settings: Settings, relayed: AuditRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "BATCH", 4)
    add(engine, 30)
    add(engine, 3, "acme")
    monkeypatch.setattr(relay, "TURN_S", 0.0)  # a turn without time copies nothing
    relayed.step()
    assert lag(engine, store_name(settings)).records == 33
    monkeypatch.undo()
    monkeypatch.setattr(relay, "BATCH", 4)
    relayed.step()
    assert seqs(settings) == list(range(1, 31))
    assert seqs(settings, "acme") == [1, 2, 3]
    add(engine, 2)
    relayed.step()
    assert seqs(settings) == list(range(1, 33))


def test_the_lag_says_what_is_missing_of_what_one_may_see(
    engine: Engine, settings: Settings, relayed: AuditRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = store_name(settings)
    assert lag(engine, name) == Lag()
    assert str(Lag()) == "up to date"
    add(engine, 12)
    add(engine, 1, "acme")
    now = clock.now_us()
    monkeypatch.setattr(clock, "now_us", lambda: now + 3_000_000)
    behind = lag(engine, name, ("default",))
    assert (behind.records, str(behind)) == (12, "12 records, 3 s behind")
    assert str(lag(engine, name, ("acme",))) == "1 record, 3 s behind"
    assert lag(engine, name).records == 13
    assert lag(engine, name, ("other",)) == Lag()
    relayed.step()
    assert lag(engine, name) == Lag()
    assert lag(engine, "another").records == 13


def test_nothing_is_written_while_there_is_nothing_to_copy(
    engine: Engine, settings: Settings, relayed: AuditRelay
) -> None:
    add(engine, 1)
    relayed.step()

    def leases() -> list[object]:
        with reading(engine) as session:
            return [(each.name, each.held_until, each.done_at) for each in session.scalars(select(Lease))]

    before = leases()
    assert before
    assert relayed.step()
    assert leases() == before


class Odd:
    """An event store of which the next writes fail: `kept` tells whether the rows are there all the same."""

    def __init__(self, store: EventStore, errors: list[Exception], *, kept: bool = False) -> None:
        self._store = store
        self._errors = errors
        self._kept = kept

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def write_audit(self, rows: list[AuditRow]) -> None:
        if not self._errors or self._kept:
            self._store.write_audit(rows)
        if self._errors:
            raise self._errors.pop(0)


def make_odd(monkeypatch: pytest.MonkeyPatch, errors: list[Exception], *, kept: bool = False) -> None:
    monkeypatch.setattr(relay, "open_store", lambda url: Odd(open_store(url), errors, kept=kept))


@pytest.mark.parametrize("kept", [True, False])
def test_a_store_that_is_away_is_waited_for_and_told(
    engine: Engine, settings: Settings, relayed: AuditRelay, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    make_odd(monkeypatch, [StoreAway("nobody answers"), StoreAway("nobody answers")], kept=kept)
    add(engine, 5)
    with capture_logs() as logs:
        assert not relayed.step()
        assert not relayed.step()
        behind = lag(engine, store_name(settings))
        assert behind.records == 5
        assert str(behind).endswith(" s behind: nobody answers")
        assert relayed.step()
    assert [each["log_level"] for each in logs] == ["error", "info"]
    assert lag(engine, store_name(settings)) == Lag()
    assert seqs(settings) == [1, 2, 3, 4, 5]


def test_a_folder_that_cannot_be_made_is_waited_for(engine: Engine, settings: Settings, relayed: AuditRelay) -> None:
    add(engine, 1)
    folder = Path(settings.store_url.partition(":")[2])
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("in the way")
    assert not relayed.step()
    folder.unlink()
    assert relayed.step()
    assert seqs(settings) == [1]


def test_what_the_store_refuses_for_good_holds_nothing_up(
    engine: Engine, settings: Settings, relayed: AuditRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "BATCH", 2)
    make_odd(monkeypatch, [WriteRefused("one row is too long")], kept=True)
    add(engine, 4)
    with capture_logs() as logs:
        assert relayed.step()
    assert [each["error"] for each in logs] == ["one row is too long"]
    assert seqs(settings) == [1, 2, 3, 4]
    assert lag(engine, store_name(settings)) == Lag(refused=1)
    assert str(Lag(refused=1)).startswith(
        "up to date; the event store refused some records for good, in 1 of its writes"
    )


def test_a_store_that_lost_its_rows_gets_them_again(engine: Engine, settings: Settings, relayed: AuditRelay) -> None:
    add(engine, 5)
    relayed.step()
    relayed.close()
    shutil.rmtree(settings.store_url.partition(":")[2])
    again = AuditRelay(settings)
    with closing(again), capture_logs() as logs:
        assert again.step()
    assert seqs(settings) == [1, 2, 3, 4, 5]
    assert "does not have the audit records that it had" in logs[0]["event"]


def test_records_that_ended_earlier_than_their_copy_are_copied_anew(
    engine: Engine, settings: Settings, relayed: AuditRelay
) -> None:
    add(engine, 3)
    relayed.step()
    with unit_of_work(engine, EVERYWHERE) as work:  # as a backup of before has it
        work.execute(update(AuditCopy).values(seq=9))
    relayed.close()
    add(engine, 1)
    assert relayed.step()
    assert seqs(settings) == [1, 2, 3, 4]
    assert lag(engine, store_name(settings)) == Lag()


def test_what_was_trimmed_is_not_waited_for(engine: Engine, settings: Settings, relayed: AuditRelay) -> None:
    add(engine, 6)
    with unit_of_work(engine, EVERYWHERE) as work:
        work.execute(update(AuditChain).values(trimmed_seq=4))
        work.execute(delete(AuditRecord).where(AuditRecord.seq <= 4))
    assert lag(engine, store_name(settings)).records == 2
    relayed.step()
    assert seqs(settings) == [5, 6]
    assert lag(engine, store_name(settings)) == Lag()


def test_hosts_that_share_a_store_copy_everything_once_while_others_write(
    engine: Engine, settings: Settings, hosts: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "BATCH", 7)
    monkeypatch.setattr(relay, "POLL_S", 0.01)
    stop = threading.Event()
    relays = [AuditRelay(settings) for _ in range(3)]
    threads = [threading.Thread(target=each.run, args=(stop,)) for each in relays]
    for thread in threads:
        thread.start()

    def writing(host: Engine) -> Callable[[], None]:
        def write() -> None:
            for _ in range(5):
                add(host, 6)
                add(host, 2, "acme")

        return write

    at_once(*map(writing, hosts))
    deadline = time.monotonic() + 60
    while lag(engine, store_name(settings)).records and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    for thread in threads:
        thread.join()
    assert seqs(settings) == list(range(1, 121))
    assert seqs(settings, "acme") == list(range(1, 41))


def _relay_slowly(settings: Settings) -> None:
    relay.BATCH = 3
    AuditRelay(settings).run(threading.Event())


def test_killed_at_any_moment_it_goes_on_where_it_was(engine: Engine, settings: Settings) -> None:
    add(engine, 1500)
    spawn = multiprocessing.get_context("spawn")
    reached = []
    for wait in (0.0, 0.1, 0.25):
        process = spawn.Process(target=_relay_slowly, args=(settings,))
        process.start()
        before = lag(engine, store_name(settings)).records
        deadline = time.monotonic() + 60
        while lag(engine, store_name(settings)).records == before and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(wait)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        reached.append(lag(engine, store_name(settings)).records)
        with unit_of_work(engine) as work:  # the time that a dead holder is waited for
            work.execute(update(Lease).values(held_until=clock.now()))
    assert 1500 > reached[0] > reached[-1]
    with closing(AuditRelay(settings)) as last:
        while lag(engine, store_name(settings)).records:
            assert last.step()
    assert seqs(settings) == list(range(1, 1501))


def test_a_turn_that_lasted_too_long_moves_nothing(engine: Engine, settings: Settings) -> None:
    add(engine, 5)
    with closing(open_store(settings.store_url)) as events:
        slow = relay._Copy(engine, events, store_name(settings))
        quick = relay._Copy(engine, events, store_name(settings))
        quick.go_on()
        assert slow._batch("default", 0) is None
        quick.put_back(0)
        assert slow._batch("default", 5) is None
    assert lag(engine, store_name(settings)).records == 5


def test_a_rebuild_copies_everything_again(engine: Engine, settings: Settings, relayed: AuditRelay) -> None:
    add(engine, 9)
    relayed.step()
    shutil.rmtree(settings.store_url.partition(":")[2])
    heard: list[tuple[int, int]] = []
    assert rebuild(settings, progress=lambda left, every: heard.append((left, every))) == 9
    assert heard == [(9, 9)]
    assert seqs(settings) == list(range(1, 10))
    assert rebuild(settings) == 9
    assert seqs(settings) == list(range(1, 10))


def test_a_rebuild_since_a_day_copies_what_is_younger(
    engine: Engine, settings: Settings, relayed: AuditRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = clock.now_us
    for ago in (5, 4, 2, 1):
        monkeypatch.setattr(clock, "now_us", lambda ago=ago: real() - ago * DAY_US)
        add(engine, 3)
    monkeypatch.undo()
    relayed.step()
    assert rebuild(settings, since_us=real() - 3 * DAY_US) == 6
    assert rebuild(settings, since_us=real()) == 0
    assert rebuild(settings, since_us=real() - 9 * DAY_US) == 12
    assert seqs(settings) == list(range(1, 13))


def test_a_store_that_has_nothing_gets_everything_whatever_the_day(engine: Engine, settings: Settings) -> None:
    add(engine, 3)
    assert rebuild(settings, since_us=clock.now_us()) == 3
    assert seqs(settings) == [1, 2, 3]


def test_a_rebuild_anew_drops_what_the_records_do_not_know(
    engine: Engine, settings: Settings, relayed: AuditRelay
) -> None:
    add(engine, 2)
    relayed.step()
    stray = replace(copied(settings)[0], id=77, seq=77, time_us=clock.now_us() - 3 * DAY_US)
    with closing(open_store(settings.store_url)) as events:
        events.write_audit([stray])
    rebuild(settings)
    assert seqs(settings) == [1, 2, 77]
    rebuild(settings, anew=True)
    assert seqs(settings) == [1, 2]


def test_one_command_rebuilds(engine: Engine, settings: Settings, records_url: str) -> None:
    add(engine, 4)
    people_and_rules(engine)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ringback.cli", "audit", "rebuild", "--data", str(settings.data), *words],
            env={"RINGBACK_DATABASE_URL": records_url, "PATH": ""},
            capture_output=True,
            text=True,
            timeout=120,
        )

    done = run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "10 audit records copied to the event store.\n", "")
    assert seqs(settings) == [1, 2, 3, 4]
    assert personal_of(settings) == PERSONAL, "told by a process that imports little"
    refused = run("--since", "2026-13-01")
    assert (refused.returncode, "is no day" in refused.stderr) == (2, True)
    assert "leave out one of them" in run("--since", "2026-01-01", "--anew").stderr
    assert run("--anew").stdout == "10 audit records copied to the event store.\n"
