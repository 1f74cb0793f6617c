"""The unit of work commits once or not at all; reading keeps nobody waiting and nothing."""

from __future__ import annotations

import threading
import traceback
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import DatabaseError, IntegrityError, StatementError

from databases import Postgres, at_once, only_postgresql
from ringback.access.models import LoginSession
from ringback.hosts.models import Lease
from ringback.records import postgresql
from ringback.records.engine import (
    RecordsUnavailable,
    UnitOfWork,
    do_in_unit_of_work,
    open_engine,
    reading,
    unit_of_work,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def lease(name: str, at: datetime = NOON) -> Lease:
    return Lease(name=name, holder="x", held_until=at)


def leases(engine: Engine) -> int:
    with reading(engine) as session:
        return session.scalars(select(func.count()).select_from(Lease)).one()


def test_what_was_done_is_committed_at_the_end(engine: Engine) -> None:
    with unit_of_work(engine) as work:
        work.add(lease("ann"))
        work.add(lease("bob"))
    assert leases(engine) == 2


def test_nothing_is_kept_when_the_block_raises(engine: Engine) -> None:
    def add_and_fail() -> None:
        with unit_of_work(engine) as work:
            work.add(lease("ann"))
            work.flush()
            raise KeyError("later trouble")

    with pytest.raises(KeyError):
        add_and_fail()
    assert leases(engine) == 0


def test_a_service_cannot_commit(engine: Engine) -> None:
    def add_and_commit() -> None:
        with unit_of_work(engine) as work:
            work.add(lease("ann"))
            work.commit()

    with pytest.raises(RuntimeError, match="once"):
        add_and_commit()
    assert leases(engine) == 0


def test_nothing_can_be_written_while_reading(engine: Engine) -> None:
    for _ in range(2):
        with reading(engine) as session, pytest.raises(DatabaseError, match=r"read-?only"):
            session.execute(text("DELETE FROM leases"))
        with unit_of_work(engine) as work:  # on the same connection
            work.execute(text("DELETE FROM leases"))


def test_reading_is_one_view_whatever_is_written_meanwhile(engine: Engine) -> None:
    with reading(engine) as session:
        before = session.scalars(select(func.count()).select_from(Lease)).one()
        with unit_of_work(engine) as work:
            work.add(lease("ann"))
        assert session.scalars(select(func.count()).select_from(Lease)).one() == before
    assert leases(engine) == before + 1


def test_readers_do_not_wait_for_a_writer(engine: Engine) -> None:
    with unit_of_work(engine) as work:
        work.add(lease("ann"))
        work.flush()
        assert leases(engine) == 0
    assert leases(engine) == 1


def test_writers_that_read_first_lose_nothing(engine: Engine) -> None:
    with unit_of_work(engine) as work:
        work.add(lease("counter"))

    def add_one() -> None:
        for _ in range(10):
            with unit_of_work(engine) as work:
                held = work.scalars(select(Lease).with_for_update()).one()
                held.holder += "x"

    at_once(*[add_one] * 4)
    with reading(engine) as session:
        assert len(session.scalars(select(Lease.holder)).one()) == 1 + 40


def test_who_holds_a_lock_may_trust_that_nothing_is_there(engine: Engine) -> None:
    def add_if_new() -> None:
        for name in "abcdefgh":
            with unit_of_work(engine) as work:
                work.lock("leases")
                if work.scalars(select(Lease).where(Lease.name == name)).first() is None:
                    work.add(lease(name))

    at_once(*[add_if_new] * 4)  # without the lock the second of two is refused by the unique constraint
    assert leases(engine) == 8


def test_work_that_was_broken_off_for_another_is_done_again(engine: Engine) -> None:
    with unit_of_work(engine) as work:
        work.add_all([lease("ann"), lease("bob")])
    both_hold_one = threading.Barrier(2 if engine.dialect.name == "postgresql" else 1, timeout=30)
    tries: list[str] = []

    def hold(first: str, second: str) -> None:
        def change(work: UnitOfWork) -> None:
            tries.append(first)
            for name in (first, second):
                work.scalars(select(Lease).where(Lease.name == name).with_for_update()).one().holder += "x"
                if name == first and len(tries) <= 2:
                    both_hold_one.wait()

        do_in_unit_of_work(engine, change)

    at_once(partial(hold, "ann", "bob"), partial(hold, "bob", "ann"))
    with reading(engine) as session:
        assert session.scalars(select(Lease.holder)).all() == ["xxx", "xxx"]
    assert len(tries) == (3 if engine.dialect.name == "postgresql" else 2)


def test_work_that_fails_by_itself_is_not_done_again(engine: Engine) -> None:
    tries = []

    def fail(work: UnitOfWork) -> None:
        tries.append(1)
        work.execute(text("SELECT * FROM nowhere"))

    with pytest.raises(DatabaseError, match="nowhere"):
        do_in_unit_of_work(engine, fail)
    assert len(tries) == 1


def test_foreign_keys_hold(engine: Engine) -> None:
    stray = LoginSession(
        id_hash="x", user_id=7, created_at=NOON, seen_at=NOON, expires_at=NOON, address="", user_agent=""
    )
    with pytest.raises(IntegrityError), unit_of_work(engine) as work:
        work.add(stray)


def test_times_are_microseconds_in_the_table_and_utc_in_code(engine: Engine) -> None:
    moment = datetime(2026, 11, 22, 14, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    with unit_of_work(engine) as work:
        work.add(lease("ann", moment))
    with reading(engine) as session:
        assert session.execute(text("SELECT held_until FROM leases")).scalar_one() == 1795348800123456
        read = session.scalars(select(Lease.held_until)).one()
    assert read == moment
    assert read.tzinfo is UTC


def test_a_time_without_a_zone_is_refused(engine: Engine) -> None:
    with pytest.raises(StatementError, match="without a zone"), unit_of_work(engine) as work:
        work.add(lease("ann", datetime(2026, 11, 22)))  # noqa: DTZ001


def test_values_are_in_no_error(engine: Engine) -> None:
    with pytest.raises(DatabaseError) as caught, unit_of_work(engine) as work:
        work.execute(text("SELECT :secret FROM nowhere"), {"secret": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_the_folder_of_a_file_is_made(tmp_path: Path) -> None:
    open_engine(f"sqlite:///{tmp_path / 'deep' / 'er' / 'records.sqlite'}").dispose()
    assert (tmp_path / "deep" / "er" / "records.sqlite").exists()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "no URL of a database"),
        ("nosuch://host/db", "which nosuch:// is not"),
        ("mysql://host/db", "which mysql:// is not"),
        ("postgresql+asyncpg://host/db", "which postgresql\\+asyncpg:// is not"),
        ("sqlite://", "a file of SQLite"),
        ("sqlite:////proc/ringback/records.sqlite", "folder"),
        ("postgresql://u@127.0.0.1:9/db", "postgresql\\+psycopg://u@127.0.0.1:9/db cannot be opened: .*refused"),
        ("postgresql://u@/db?host=/nowhere", "No such file"),
        ("postgresql://u@127.0.0.1/db?no_such_option=1", "no_such_option"),
    ],
)
def test_what_cannot_be_opened_is_said(url: str, said: str) -> None:
    with pytest.raises(RecordsUnavailable, match=said):
        open_engine(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@127.0.0.1:9/db",
        "postgresql://u:hunter2@127.0.0.1:9/db?sslmode=nonsense",
        "postgresql://u@127.0.0.1:9/db?password=hunter2",
        "postgresql://u@127.0.0.1:9/db?sslpassword=hunter2&connect_timeout=x",
        "postgresql://u:p@hunter2@127.0.0.1:9/db",
        "postgresql://u:p@hunter2:x/db",
        "postgresql//u:hunter2@127.0.0.1:9/db",
        "postgresql://u:hunter2@[::1/db",
        "nosuch://u:hunter2@host/db",
        "mysql://u:hunter2@host/db",
    ],
)
def test_a_password_is_never_said(url: str) -> None:
    with pytest.raises(RecordsUnavailable) as caught:
        open_engine(url)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "hunter2" not in told.replace(repr(url), "").replace(url, ""), told


@pytest.mark.parametrize("name", ["postgres", "postgresql", "postgresql+psycopg"])
def test_a_server_is_named_in_the_ways_that_people_do(name: str, postgres: Postgres) -> None:
    url = postgres.create()
    engine = open_engine(url.replace("postgresql+psycopg", name, 1))
    assert engine.dialect.driver == "psycopg"
    engine.dispose()
    postgres.drop(url)


def test_a_wrong_password_is_said_without_it(postgres: Postgres) -> None:
    engine_url = postgres.url.set(username="nobody-there", password="hunter2")
    with pytest.raises(RecordsUnavailable, match=r'FATAL: .*"nobody-there"') as caught:
        open_engine(engine_url.render_as_string(hide_password=False))
    assert "hunter2" not in str(caught.value)


def test_a_server_that_is_too_old_is_said(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "OLDEST", 99)
    with pytest.raises(RecordsUnavailable, match=r"the server is PostgreSQL \d+.*; Ringback needs 99 or newer"):
        open_engine(postgres.url.render_as_string(hide_password=False))


def test_a_database_that_cannot_hold_every_letter_is_said(postgres: Postgres) -> None:
    url = postgres.create()
    name = url.rpartition("/")[2].partition("?")[0]
    postgres.admin.execute(f'CREATE DATABASE "{name}_ascii" TEMPLATE template0 ENCODING SQL_ASCII'.encode())
    with pytest.raises(RecordsUnavailable, match="encoded as SQL_ASCII, not UTF8"):
        open_engine(url.replace(name, f"{name}_ascii"))
    postgres.drop(url.replace(name, f"{name}_ascii"))
    postgres.drop(url)


@only_postgresql
def test_connections_that_the_server_ended_are_not_handed_out(engine: Engine) -> None:
    with ExitStack() as held:  # several in the pool
        for _ in range(4):
            held.enter_context(reading(engine)).execute(text("SELECT 1"))
    with unit_of_work(engine) as work:
        ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        assert work.scalar(text(ended + "AND datname = current_database()")) == 3
    for _ in range(4):
        assert leases(engine) == 0


@only_postgresql
def test_no_process_takes_more_connections_than_it_should(engine: Engine) -> None:
    most = 0

    def read() -> None:
        nonlocal most
        with reading(engine) as session:
            open_now = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            most = max(most, session.scalars(text(open_now)).one())
            session.execute(text("SELECT pg_sleep(0.02)"))

    at_once(*[read] * 40)
    assert 5 < most <= postgresql.POOL_KEPT + postgresql.POOL_MORE


@only_postgresql
def test_a_writer_waits_for_another_one_and_not_for_ever(engine: Engine) -> None:
    with reading(engine) as session:
        limits = [session.scalar(text(f"SHOW {name}")) for name in ("lock_timeout", "statement_timeout")]
        assert limits == ["10s", "1min"]
        assert session.scalar(text("SHOW idle_in_transaction_session_timeout")) == "1min"


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    path.write_bytes(b"these are not the records you look for" * 100)
    with pytest.raises(RecordsUnavailable, match="not a database"):
        open_engine(f"sqlite:///{path}")


def test_a_new_file_is_opened_by_all_who_come_at_once(tmp_path: Path) -> None:
    """SQLite refuses some of those that change the journal's mode in the same moment, without waiting."""
    for number in range(60):
        url = f"sqlite:///{tmp_path / str(number)}.sqlite"
        for engine in at_once(*[partial(open_engine, url)] * 8):
            engine.dispose()
