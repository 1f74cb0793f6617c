"""`ringback events copy` as it is typed."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from actors import by_tester
from ringback import clock
from ringback.billing.entities.models import Environment
from ringback.events import DAY_US, LogRecord, open_store
from ringback.moving import environments_of, source_name
from ringback.records.engine import open_engine
from ringback.records.schema import migrate
from ringback.sessions.ingest.logs import ingest_logs
from ringback.settings import load_settings
from running import command

DEFAULT = ("--environment", "default")


def filled(folder: Path) -> str:
    """A line of yesterday and one of today."""
    url = f"sqlite:{folder}"
    store = open_store(url)
    now = clock.now()
    times = (now - timedelta(days=1), now)
    ingest_logs(store, b"\n".join(json.dumps({"time": time.isoformat(), "text": "words"}).encode() for time in times))
    store.close()
    return url


def test_days_that_are_over_are_copied_and_today_when_it_is_said(tmp_path: Path) -> None:
    source, target = filled(tmp_path / "source"), f"sqlite:{tmp_path / 'target'}"
    first = command("events", "copy", "--from", source, "--to", target, *DEFAULT)
    assert (first.returncode, first.stderr) == (0, "")
    assert "1 log lines          0 audit rows  verified" in first.stdout
    assert "--today" in first.stdout
    last = command("events", "copy", "--from", source, "--today", *DEFAULT, environ={"RINGBACK_EVENTS_URL": target})
    assert last.returncode == 0
    assert last.stdout.count("verified") == 2
    assert "(before: 0, 0, 1, 0)" in last.stdout
    store = open_store(target)
    assert sum(segment.logs for segment in store.status().segments) == 2
    store.close()


def test_all_environments_are_copied_that_the_records_know(tmp_path: Path) -> None:
    source, target = f"sqlite:{tmp_path / 'source'}", f"sqlite:{tmp_path / 'target'}"
    settings = load_settings({}, data=tmp_path)
    engine = open_engine(settings.records_url)
    migrate(engine)
    with by_tester(engine) as work:
        row = Environment(environment="acme", key="acme", name="Acme", created_at=clock.now())
        row.currency, row.time_zone = "USD", "UTC"
        work.add(row)
    assert environments_of(settings) == ["acme", "default"]
    engine.dispose()
    store = open_store(source)
    store.write_logs([LogRecord("acme", clock.now_us() - DAY_US, "node", "edge", "", "words")])
    store.close()
    done = command("events", "copy", "--from", source, "--to", target, "--data", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 log lines          0 audit rows  verified" in done.stdout


def test_what_is_not_copied_is_said_and_the_exit_code_tells(tmp_path: Path) -> None:
    source, target = filled(tmp_path / "source"), f"sqlite:{tmp_path / 'target'}"
    done = command("events", "copy", "--from", source, "--to", target, "--today", "--environment", "staging")
    assert done.returncode == 1
    assert "NOT COPIED: the target holds 0 of 1 log lines" in done.stdout


def test_what_cannot_work_is_told_in_one_line(tmp_path: Path) -> None:
    source = filled(tmp_path / "source")
    for options, code, said in (
        (["--from", source, "--to", "nosuch:x"], 1, "not a store"),
        (["--from", source, "--to", "http://user:s3cret@127.0.0.1:9/"], 1, "127.0.0.1:9"),
        (["--from", source, "--to", f"sqlite:{tmp_path / 'b'}", "--since", "yesterday"], 2, "no day"),
        (["--from", source], 2, "--to"),
        (
            ["--from", source, "--to", f"sqlite:{tmp_path / 'b'}", "--data", str(tmp_path / "none")],
            1,
            "--environment",
        ),
    ):
        named = () if "--data" in options else DEFAULT
        refused = command("events", "copy", *named, *options)
        assert refused.returncode == code, refused.stderr
        assert said in refused.stderr
        assert "s3cret" not in refused.stderr
        assert "Traceback" not in refused.stderr


def test_a_source_is_known_by_its_place_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert source_name(f"sqlite:{tmp_path}/link") == source_name(f"sqlite:{tmp_path}")
    assert source_name("https://user:s3cret@search1:9200/?prefix=x") == "search1:9200/?prefix=x"
