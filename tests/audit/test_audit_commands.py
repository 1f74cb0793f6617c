"""`ringback audit`: what it says, and its exit codes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chains import intruder, make_records
from sqlalchemy import Engine, text
from typer.testing import CliRunner, Result

from audited import assert_audited, jerry_price, records
from ringback.audit.relay import rebuild
from ringback.cli import app
from ringback.composition import compose
from ringback.records.engine import open_engine
from ringback.records.schema import migrate
from ringback.settings import Settings, load_settings

Run = Callable[..., Result]


@pytest.fixture
def settings(tmp_path: Path, composed: Path) -> Settings:
    settings = load_settings({}, data=tmp_path / "data")
    compose(settings)
    return settings


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = open_engine(settings.records_url)
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("RINGBACK_DATA", str(settings.data))
    return lambda *words: CliRunner().invoke(app, ["audit", *words])


def test_a_whole_log_is_code_0_and_a_broken_one_code_1_with_its_first_broken_record(engine: Engine, run: Run) -> None:
    make_records(engine, 5)
    make_records(engine, 2, "other")
    said: Result = run("anchor")
    assert said.exit_code == 0
    assert "default              anchored at 5:" in said.stdout
    said = run("verify")
    assert said.exit_code == 0, said.output
    assert "default              whole: 5 records (1 to 5), 1 anchor signed" in said.stdout
    broken = records(engine)[2]
    with intruder(engine) as connection:
        connection.execute(text(f"UPDATE audit_records SET actor = 'eve' WHERE id = {broken.id}"))
    said = run("verify")
    assert said.exit_code == 1
    assert f"BROKEN at 3 (record id {broken.id}): changed. Record 3 is not as it was written." in said.stdout
    assert "other                whole" in said.stdout
    assert run("verify", "--environment", "other").exit_code == 0
    assert run("verify", "--from-anchor", "--environment", "default").exit_code == 0
    told = json.loads(run("verify", "--json").stdout)
    assert told[0]["finding"] == {
        "wrong": "changed",
        "seq": 3,
        "id": broken.id,
        "text": "Record 3 is not as it was written.",
    }
    assert run("verify", "--environment", "nobody").exit_code == 3


def test_a_key_that_cannot_be_read_is_code_3(engine: Engine, settings: Settings, run: Run) -> None:
    settings.audit_key_file.parent.mkdir(parents=True, exist_ok=True)
    settings.audit_key_file.write_text("nothing")
    said: Result = run("verify")
    assert said.exit_code == 3
    assert "holds no key in PEM form" in said.stderr
    assert run("key").exit_code == 1


def test_the_public_key_verifies_where_the_private_one_is_not(
    engine: Engine, settings: Settings, run: Run, tmp_path: Path
) -> None:
    make_records(engine, 2)
    run("anchor")
    public = tmp_path / "public.pem"
    public.write_text(run("key").stdout)
    assert "PRIVATE" not in public.read_text()
    settings.audit_key_file.rename(tmp_path / "elsewhere.pem")
    assert "0 anchors signed, 1 by keys not known here" in run("verify").stdout
    assert "1 anchor signed" in run("verify", "--key", str(public)).stdout
    assert not settings.audit_key_file.exists()


def test_an_export_is_csv_and_told(engine: Engine, settings: Settings, run: Run) -> None:
    customer, _ = jerry_price(engine)
    rebuild(settings)
    said: Result = run("export", "--filter", "type=customer", "--filter", "last=24h")
    assert said.exit_code == 0, said.output
    (row,) = csv.DictReader(said.stdout.splitlines())
    assert row["sentence"] == "Customer Jerry Price was created."
    assert (row["entity_id"], row["actor"]) == (str(customer.id), "ann")
    told = assert_audited(engine, "audit_log", "default", "audit.export.read")
    assert json.loads(told.arguments) == {"count": 1, "filter": {"type": "customer", "last": "24h"}}
    said = run("export", "--filter", "min=abc")
    assert said.exit_code == 2
    assert "is no amount" in said.stderr
