"""Every record goes from one database to another, or none does."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from filled_records import contents, fill
from sqlalchemy import Engine, inspect, text

from actors import by_tester
from databases import POSTGRESQL, SQLITE
from ringback import clock
from ringback.access.models import User
from ringback.billing.entities.node import Node
from ringback.records import copying, postgresql
from ringback.records.copying import CopyProgress, CopyRefused, copy_records
from ringback.records.engine import UNTRACKED, RecordsUnavailable, open_engine, reading, unit_of_work
from ringback.records.schema import VERSION_TABLE, SchemaTooNew, migrate, migrate_down, migrations_current
from ringback.records.wall import EVERYWHERE

BOTH = pytest.mark.parametrize("to", [SQLITE, POSTGRESQL])


@pytest.fixture
def target_url(to: str, another_database: Callable[[str], str]) -> str:
    return another_database(to)


def url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


@BOTH
def test_everything_arrives_and_the_ids_go_on(
    engine: Engine, target_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "BATCH", 3)
    for _ in range(4):
        before = fill(engine)
    with engine.execution_options(**{UNTRACKED: True}).begin() as connection:
        connection.execute(text(
            "INSERT INTO users (id, name, full_name, email, role, environments, everywhere, active, must_change_password, "
            "created_at, version) SELECT 5000000000, 'late', '', '', 'noc', ' default ', everywhere, active, "
            "must_change_password, created_at, 1 FROM users WHERE id = 1"))  # fmt: skip
    before = contents(engine, before)
    seen: list[CopyProgress] = []
    copied = copy_records(url_of(engine), target_url, seen.append)
    assert copied == {name: len(rows) for name, rows in before.items()}
    assert list(copied).index("users") < list(copied).index("login_sessions")
    target = open_engine(target_url)
    assert migrations_current(target)
    assert contents(target, before) == before
    assert contents(engine, before) == before
    with by_tester(target) as work:
        late = work.get_one(User, 5000000000)
        new = User(name="new", role="noc", created_at=late.created_at)
        node = Node(environment="default", name="new", kind="edge", cluster=True, created_at=late.created_at)
        work.add_all([new, node])
    assert new.id == 5000000001
    assert node.id == 5
    target.dispose()
    assert [(each.rows, each.total) for each in seen if each.table == "nodes"] == [(0, 4), (3, 4), (4, 4)]


@BOTH
def test_a_target_that_holds_anything_is_left_alone(engine: Engine, target_url: str) -> None:
    fill(engine)
    target = open_engine(target_url)
    migrate(target)
    with by_tester(target) as work:
        work.add(User(name="x", role="noc", created_at=clock.now()))
    before = contents(target, inspect(target).get_table_names())
    with pytest.raises(CopyRefused, match=r"has records already, in .*users"):
        copy_records(url_of(engine), target_url)
    assert contents(target, before) == before
    target.dispose()


def test_a_database_is_not_copied_onto_itself(engine: Engine) -> None:
    before = fill(engine)
    with pytest.raises(CopyRefused, match="records already"):
        copy_records(url_of(engine), url_of(engine))
    assert contents(engine, before) == before


@BOTH
def test_what_breaks_on_the_way_leaves_nothing(engine: Engine, target_url: str) -> None:
    fill(engine)

    def stop(progress: CopyProgress) -> None:
        if progress.table == "node_senders" and progress.rows:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_records(url_of(engine), target_url, stop)
    target = open_engine(target_url)
    left = contents(target, set(inspect(target).get_table_names()) - {VERSION_TABLE})
    assert {name: len(rows) for name, rows in left.items() if rows} == {"environments": 1, "traffic_rules": 1}
    target.dispose()
    assert copy_records(url_of(engine), target_url)["node_senders"] == 1


@BOTH
def test_what_is_written_meanwhile_is_no_half_of_it(engine: Engine, target_url: str) -> None:
    fill(engine)

    def write(progress: CopyProgress) -> None:
        if progress.rows == 0 and progress.table in ("users", "nodes"):
            fill(engine)

    copied = copy_records(url_of(engine), target_url, write)
    assert {rows for table, rows in copied.items() if table not in ("environments", "traffic_rules")} == {1}


@BOTH
def test_a_side_that_waits_for_the_other_is_not_given_up(
    engine: Engine, target_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgresql._SESSION, "idle_in_transaction_session_timeout", "500ms")
    fill(engine)

    def wait(progress: CopyProgress) -> None:
        if progress.table == "nodes":
            time.sleep(0.7)

    assert copy_records(url_of(engine), target_url, wait)["nodes"] == 1


@BOTH
def test_records_of_another_version_are_not_copied(engine: Engine, target_url: str) -> None:
    migrate_down(engine, "-1")
    with pytest.raises(CopyRefused, match="not those of this version"):
        copy_records(url_of(engine), target_url)
    assert not migrations_current(engine), "the source is not changed"
    migrate(engine)
    newer = open_engine(target_url)
    migrate(newer)
    with unit_of_work(newer) as work:
        work.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    newer.dispose()
    with pytest.raises(SchemaTooNew):
        copy_records(url_of(engine), target_url)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("x\0y", "NUL"), ("x" * 300, "too long"), ("\N{TELEPHONE LOCATION SIGN}" * 64, "")],
    ids=["character 0", "too long", "64 letters of 3 bytes"],
)
@pytest.mark.parametrize("database", [SQLITE])
def test_what_postgresql_cannot_hold_is_told(
    engine: Engine, another_database: Callable[[str], str], name: str, reason: str
) -> None:
    with by_tester(engine) as work:
        work.add(Node(environment="default", name=name, kind="edge", cluster=True, created_at=clock.now()))
    target_url = another_database(POSTGRESQL)
    if not reason:
        assert copy_records(url_of(engine), target_url)["nodes"] == 1
        return
    with pytest.raises(CopyRefused, match=rf"(nodes|audit_records): .*{re.escape(reason)}.*nothing was copied"):
        copy_records(url_of(engine), target_url)


@pytest.mark.parametrize("to", [POSTGRESQL])
def test_a_source_that_is_not_there_is_not_made(target_url: str, tmp_path: object) -> None:
    with pytest.raises(RecordsUnavailable, match=f"--from: there is no file {tmp_path}/typo.sqlite"):
        copy_records(f"sqlite:///{tmp_path}/typo.sqlite", target_url)
    with pytest.raises(RecordsUnavailable, match="--from cannot be read"):
        copy_records("nonsense", target_url)
    target = open_engine(target_url)
    with reading(target, EVERYWHERE) as session:
        assert not inspect(session.connection()).get_table_names()
    target.dispose()
