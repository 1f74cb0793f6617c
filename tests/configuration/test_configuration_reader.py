"""What holds in a process: without a query, through trouble with the records, and over a restart."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path

import pytest
from settled import Room, known
from sqlalchemy import event, select
from structlog.testing import capture_logs

from ringback.configuration import reader
from ringback.configuration.models import ConfigurationSeen
from ringback.configuration.reader import Current
from ringback.configuration.service import ConfigurationService
from ringback.configuration.snapshot import Snapshot, read_snapshot, write_snapshot
from ringback.hosts.service import tell
from ringback.records.engine import open_engine, reading
from ringback.records.schema import migrate
from ringback.records.secrets import ring
from ringback.records.tables import INSTALLATION
from ringback.records.wall import EVERYWHERE
from ringback.settings import load_settings
from running import PATIENCE

AGE, KEYS = "Tasks.Age", "Capture.Keys"


def test_values_come_from_what_is_applied_else_the_variable_else_the_default(here: Room, tmp_path: Path) -> None:
    settings = load_settings({"RINGBACK_SHARE_DAYS": "9", "RINGBACK_HEP_KEY": "of the variable"}, data=tmp_path)
    current = Current(settings, here.engine)
    known = here.known
    assert (current.value(known.life), current.value(known.keys)) == (9, ("of the variable",))
    here.applied({"Sessions.Life": 3, KEYS: {"add": ["applied"]}})
    current.refresh()
    assert (current.value(known.life), current.value(known.keys)) == (3, ("applied",))
    here.applied({"Sessions.Life": None, KEYS: {}})
    current.refresh()
    assert (current.value(known.life), current.value(known.keys)) == (9, ()), "applied: no key"


def test_reading_asks_nothing_and_a_look_asks_one_thing(here: Room) -> None:
    here.applied({AGE: 90})
    here.current.refresh()
    asked: list[str] = []
    event.listen(here.engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    assert [here.current.value(here.known.age) for _ in range(100)] == [90] * 100
    assert asked == []
    here.current.refresh()
    assert len([each for each in asked if "SELECT" in each]) == 1


def test_a_started_reader_follows(here: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "POLL_SECONDS", 0.05)
    here.current.start()
    try:
        assert here.current.value(here.known.age) == 180
        here.applied({AGE: 90})
        deadline = time.monotonic() + PATIENCE
        while here.current.value(here.known.age) != 90:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        here.current.close()


def test_the_records_are_told_once_what_each_role_has(here: Room) -> None:
    current = Current(here.settings, here.engine, role="work")
    current.refresh()
    entry = here.applied({AGE: 90})
    current.refresh()

    def seen() -> list[ConfigurationSeen]:
        with reading(here.engine, EVERYWHERE) as session:
            return list(session.scalars(select(ConfigurationSeen)))

    (row,) = seen()
    assert (row.host, row.role, row.apply_id) == (here.settings.host_name, "work", entry.id)
    current.refresh()
    assert [each.seen_at for each in seen()] == [row.seen_at]
    tell(here.engine, row.host, "work", run="a", started_at=row.seen_at)
    tell(here.engine, row.host, "collect", run="a", started_at=row.seen_at)
    tell(here.engine, "gone", "work", run="b", started_at=row.seen_at, stopped=True)
    last, processes = here.service.processes()
    assert last == entry.id
    assert [(each.role, each.entry) for each in processes] == [("collect", None), ("work", entry.id)]


def test_records_that_are_away_leave_the_last_known_values(tmp_path: Path) -> None:
    """Over a restart too, where a file keeps them; and all is followed again once they are back."""
    file, data = tmp_path / "run" / "configuration.json", tmp_path / "data"
    settings = load_settings({}, data=data)
    options = known()
    current = Current(settings, file=file)
    with capture_logs() as logged:
        away = load_settings({"RINGBACK_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}, data=data)
        nobody = Current(away, file=file)
        assert not nobody.refresh()
        assert not nobody.refresh()
    assert [line["log_level"] for line in logged] == ["warning"], "told once"
    assert nobody.value(options.age) == 180
    engine = open_engine(settings.records_url)
    assert not current.refresh(), "no tables yet"
    migrate(engine)
    room = Room(options, engine, settings, ConfigurationService(engine, settings, options.registry), current)
    room.applied({AGE: 90, KEYS: {"add": ["s3cret"]}})
    assert current.refresh()
    current.close()
    engine.dispose()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "s3cret" not in file.read_text()
    restarted = Current(away, file=file)
    assert not restarted.refresh()
    assert (restarted.value(options.age), restarted.value(options.keys)) == (90, ("s3cret",))


def test_a_damaged_file_is_told_and_the_defaults_hold(tmp_path: Path) -> None:
    file = tmp_path / "configuration.json"
    for damage in ("", "{", "[]", '{"entry": 1}', '{"entry": "x", "values": []}', '{"entry": 1, "values": [[1]]}'):
        file.write_text(damage)
        with capture_logs() as logged:
            assert read_snapshot(file) is None
        assert len(logged) == 1
    assert read_snapshot(tmp_path / "none") is None


def test_a_snapshot_is_written_and_read(tmp_path: Path) -> None:
    rows = [(INSTALLATION, AGE, "90"), ("default", "Sessions.Life", "3"), (INSTALLATION, "Gone.Option", '"x"')]
    write_snapshot(tmp_path / "a" / "b.json", Snapshot(7, rows))
    again = read_snapshot(tmp_path / "a" / "b.json")
    assert again is not None
    assert (again.entry, again.rows) == (7, tuple(rows))
    options = known()
    assert [again.get(options.age), again.get(options.life), again.get(options.life, "default")] == [90, None, 3]


@pytest.mark.parametrize("text", ["7", '"x"', "null", "[]"])
def test_what_is_out_of_bounds_by_now_is_told_and_not_used(text: str) -> None:
    options = known()
    snapshot = Snapshot(1, [(INSTALLATION, AGE, text)])
    with capture_logs() as logged:
        assert snapshot.get(options.age) is None
        assert not snapshot.is_sound(options.age)
        assert snapshot.is_sound(options.life)
    assert len(logged) == 1


def test_a_secret_that_no_key_opens_is_told(here: Room, tmp_path: Path) -> None:
    """On a host without the key file of the others."""
    here.applied({KEYS: {"add": ["s3cret"]}})
    ring.use(tmp_path / "another.key")
    here.current.refresh()
    with capture_logs() as logged:
        assert here.current.value(here.known.keys) == ()
        assert not here.current.is_sound(here.known.keys)
    assert "key file" in json.dumps(logged)
