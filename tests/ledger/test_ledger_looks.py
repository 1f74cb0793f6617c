"""What looks at the ledger by itself: the work role, and `ringback billing`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ledgers import HOME, Till
from sqlalchemy import Engine, func, select
from typer.testing import CliRunner

from audited import assert_audited
from ringback import clock
from ringback.billing.ledger import idempotency
from ringback.billing.ledger.commands import overdue
from ringback.billing.ledger.models import Command
from ringback.cli import app
from ringback.composition import compose
from ringback.records.engine import open_engine, reading, unit_of_work
from ringback.records.schema import migrate
from ringback.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = load_settings({}, data=tmp_path / "data")
    compose(found)
    return found


@pytest.fixture
def engine(settings: Settings) -> Engine:
    found = open_engine(settings.records_url)
    migrate(found)
    return found


def test_the_work_role_looks_each_hour_and_forgets_old_keys(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = datetime(2026, 10, 1, 9, tzinfo=UTC)
    monkeypatch.setattr(clock, "now_us", lambda: clock.to_us(start))
    till = Till(engine, due_days=1)
    invoice = till.invoice("10").invoice_id
    with unit_of_work(engine, (HOME,)) as work:
        assert idempotency.once(work, HOME, "old", "x", lambda: (200, {})) == (200, {})
    look = overdue(settings)
    assert look.run_if_due()
    monkeypatch.setattr(clock, "now_us", lambda: clock.to_us(start + timedelta(minutes=30)))
    assert not look.run_if_due()
    monkeypatch.setattr(clock, "now_us", lambda: clock.to_us(start + timedelta(days=40)))
    assert look.run_if_due()
    told = assert_audited(
        engine, "invoice", invoice, "settlement.changed", changes={"settlement": ("unpaid", "overdue")},
        actor="overdue handling",
    )  # fmt: skip
    assert told.realm == "task"
    with reading(engine, (HOME,)) as session:
        assert session.scalar(select(func.count()).select_from(Command)) == 0


def test_an_old_key_may_mean_something_else(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    start = datetime(2026, 10, 1, 9, tzinfo=UTC)
    for days, answer in ((0, 1), (29, 1), (31, 2)):
        monkeypatch.setattr(clock, "now_us", lambda days=days: clock.to_us(start + timedelta(days=days)))
        with unit_of_work(engine, (HOME,)) as work:
            of = "x" if days < 30 else "y"
            found = idempotency.once(work, HOME, "key", of, lambda answer=answer: (200, {"n": answer}))  # type: ignore[misc]
        assert found == (200, {"n": answer})


def test_the_commands_say_what_they_found(settings: Settings, engine: Engine) -> None:
    till = Till(engine, due_days=0)
    till.invoice("10")
    data = ["--data", str(settings.data)]
    run = CliRunner().invoke
    assert run(app, ["billing", "check", *data]).exit_code == 0
    told = run(app, ["billing", "notice", *data])
    assert told.output.split() == ["default", "0", "invoices"]
    assert run(app, ["billing", "check", "--environment", "elsewhere", *data]).exit_code == 2
