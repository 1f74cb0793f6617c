"""The unit of work commits once or not at all; reading keeps nobody waiting and nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import IntegrityError, StatementError

from ringback.access.models import LoginSession, User
from ringback.records.engine import RecordsUnavailable, open_engine, reading, unit_of_work
from ringback.records.schema import migrate

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'deep' / 'records.sqlite'}")
    migrate(engine)
    yield engine
    engine.dispose()


def person(name: str, at: datetime = NOON) -> User:
    return User(name=name, password_hash="x", created_at=at, password_changed_at=at)


def people(engine: Engine) -> int:
    with reading(engine) as session:
        return session.scalars(select(func.count()).select_from(User)).one()


def test_what_was_done_is_committed_at_the_end(engine: Engine) -> None:
    with unit_of_work(engine) as work:
        work.add(person("ann"))
        work.add(person("bob"))
    assert people(engine) == 2


def test_nothing_is_kept_when_the_block_raises(engine: Engine) -> None:
    def add_and_fail() -> None:
        with unit_of_work(engine) as work:
            work.add(person("ann"))
            work.flush()
            raise KeyError("later trouble")

    with pytest.raises(KeyError):
        add_and_fail()
    assert people(engine) == 0


def test_a_service_cannot_commit(engine: Engine) -> None:
    def add_and_commit() -> None:
        with unit_of_work(engine) as work:
            work.add(person("ann"))
            work.commit()

    with pytest.raises(RuntimeError, match="once"):
        add_and_commit()
    assert people(engine) == 0


def test_nothing_written_while_reading_is_kept(engine: Engine) -> None:
    with reading(engine) as session:
        session.add(person("ann"))
        session.flush()
    assert people(engine) == 0


def test_readers_do_not_wait_for_a_writer(engine: Engine) -> None:
    with unit_of_work(engine) as work:
        work.add(person("ann"))
        work.flush()
        assert people(engine) == 0
    assert people(engine) == 1


def test_writers_that_read_first_lose_nothing(engine: Engine) -> None:
    with unit_of_work(engine) as work:
        work.add(person("counter"))

    def add_one() -> None:
        for _ in range(10):
            with unit_of_work(engine) as work:
                user = work.scalars(select(User)).one()
                user.password_hash += "x"

    threads = [threading.Thread(target=add_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as session:
        assert len(session.scalars(select(User.password_hash)).one()) == 1 + 40


def test_foreign_keys_hold(engine: Engine) -> None:
    stray = LoginSession(
        id_hash="x", user_id=7, created_at=NOON, seen_at=NOON, expires_at=NOON, address="", user_agent=""
    )
    with pytest.raises(IntegrityError), unit_of_work(engine) as work:
        work.add(stray)


def test_times_are_microseconds_in_the_table_and_utc_in_code(engine: Engine) -> None:
    moment = datetime(2026, 11, 22, 14, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    with unit_of_work(engine) as work:
        work.add(person("ann", moment))
    with reading(engine) as session:
        assert session.execute(text("SELECT created_at FROM users")).scalar_one() == 1795348800123456
        read = session.scalars(select(User.created_at)).one()
    assert read == moment
    assert read.tzinfo is UTC


def test_a_time_without_a_zone_is_refused(engine: Engine) -> None:
    with pytest.raises(StatementError, match="without a zone"), unit_of_work(engine) as work:
        work.add(person("ann", datetime(2026, 11, 22)))  # noqa: DTZ001


def test_new_records_belong_to_the_default_environment(engine: Engine) -> None:
    with unit_of_work(engine) as work:
        work.add(person("ann"))
    with reading(engine) as session:
        assert session.scalars(select(User.environment)).one() == "default"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "RINGBACK_DATABASE_URL"),
        ("nosuch://host/db", "RINGBACK_DATABASE_URL"),
        ("sqlite:////proc/ringback/records.sqlite", "folder"),
    ],
)
def test_what_cannot_be_opened_is_said(url: str, said: str) -> None:
    with pytest.raises(RecordsUnavailable, match=said):
        open_engine(url)


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    path.write_bytes(b"these are not the records you look for" * 100)
    with pytest.raises(RecordsUnavailable, match="not a database"):
        open_engine(f"sqlite:///{path}")
