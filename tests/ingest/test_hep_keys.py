"""Keys of HEP senders: several at once, changed while the collector runs."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import pytest
from collecting import Collector, collector, packets
from sqlalchemy import select
from structlog.testing import capture_logs

from ringback.changes.schemas import Actor
from ringback.composition import compose
from ringback.configuration.kinds import Json
from ringback.configuration.models import ConfigurationSeen
from ringback.configuration.reader import POLL_SECONDS
from ringback.configuration.sealed_list import ids_of
from ringback.configuration.service import ConfigurationService
from ringback.configuration.snapshot import Snapshot, write_snapshot
from ringback.records.engine import open_engine, reading
from ringback.records.schema import migrate
from ringback.records.secrets import ring
from ringback.records.tables import INSTALLATION
from ringback.records.wall import EVERYWHERE
from ringback.sessions.ingest.hep_keys import KeysFollower
from ringback.sessions.ingest.status import CollectorStatus
from ringback.sessions.ingest.worker import BATCH_SECONDS
from ringback.sessions.options import HEP_KEYS
from ringback.settings import load_settings
from running import until

SEEN = 5.0  # seconds within which all that is applied holds


def test_five_seconds_are_enough() -> None:
    assert POLL_SECONDS + BATCH_SECONDS < SEEN / 1.5


PROBES = 16  # calls: some come to each worker
numbers = count(step=PROBES)


def let_in(running: Collector, key: bytes) -> int:
    """How many packets of as many calls are stored; the others are refused for their key."""
    before = running.status
    running.send(packets(PROBES, start=next(numbers), key=key))
    after = running.wait(lambda now: now.stored + bad(now) == before.stored + bad(before) + PROBES)
    assert bad(after) - bad(before) == PROBES - (after.stored - before.stored)
    return after.stored - before.stored


def bad(status: CollectorStatus) -> int:
    return status.lost.get("bad key", 0)


def test_keys_that_are_applied_hold_within_seconds_and_over_a_start_without_the_records(tmp_path: Path) -> None:
    settings = load_settings({"RINGBACK_HEP_KEY": "old"}, data=tmp_path)
    compose(settings)
    records = open_engine(settings.records_url)
    migrate(records)
    service, me = ConfigurationService(records, settings), Actor("user", "ann", "console")

    def apply(given: Json) -> None:
        service.save(me, INSTALLATION, {HEP_KEYS.name: given}, None)
        service.apply(me, INSTALLATION, service.verify(me, INSTALLATION).token, "rotation")

    def seen() -> list[tuple[str, int]]:
        with reading(records, EVERYWHERE) as session:
            return [(each.role, each.apply_id) for each in session.scalars(select(ConfigurationSeen))]

    with collector(tmp_path, RINGBACK_HEP_KEY="old") as running:
        assert (let_in(running, b"old"), let_in(running, b"new")) == (PROBES, 0)
        apply({"keep": ["variable"], "add": ["new"]})
        until(lambda: let_in(running, b"new") == PROBES)
        assert (let_in(running, b"old"), let_in(running, b"")) == (PROBES, 0)
        (state,) = [each for each in service.overview(INSTALLATION)[0] if each.option is HEP_KEYS]
        apply({"keep": [each for each in ids_of(state.stored) if each != "variable"]})
        until(lambda: let_in(running, b"old") == 0)
        assert let_in(running, b"new") == PROBES
        until(lambda: seen() == [("collect", service.history(INSTALLATION)[0].id)])
    records.dispose()
    (tmp_path / "records.sqlite").rename(tmp_path / "away.sqlite")
    with collector(tmp_path, RINGBACK_HEP_KEY="old") as running:
        assert (let_in(running, b"old"), let_in(running, b"new")) == (0, PROBES)


@pytest.fixture
def applied(tmp_path: Path) -> Path:
    """A file of what is applied, with a key that tmp_path/theirs.key opens."""
    ring.use(tmp_path / "theirs.key")
    file = tmp_path / "configuration.json"
    write_snapshot(file, Snapshot(1, [(INSTALLATION, HEP_KEYS.name, json.dumps(HEP_KEYS.kind.store(("s3cret",))))]))
    return file


def test_keys_that_cannot_be_opened_let_nobody_in(applied: Path, tmp_path: Path) -> None:
    """On a host without the key file of the others: better none than everybody."""
    with capture_logs() as logged:
        alone = KeysFollower(applied, "old", tmp_path / "mine.key")
    assert alone.asks
    assert not any(alone.lets_in(given) for given in (b"s3cret", b"old", b""))
    assert logged[-1]["then"] == "every packet is refused"
    write_snapshot(applied, Snapshot(2, []))
    alone.look()
    assert alone.lets_in(b"old")


def test_a_follower_keeps_what_it_has_while_the_file_is_damaged(applied: Path, tmp_path: Path) -> None:
    keys = KeysFollower(applied, "", tmp_path / "theirs.key")
    assert [keys.lets_in(b"s3cret"), keys.lets_in(b"guess"), keys.asks] == [True, False, True]
    applied.write_text("{")
    with capture_logs() as logged:
        keys.look()
        keys.look()
    assert keys.lets_in(b"s3cret")
    assert len(logged) == 1
    applied.unlink()
    keys.look()
    assert keys.lets_in(b"s3cret")


def test_without_anything_applied_the_variable_holds(tmp_path: Path) -> None:
    assert not KeysFollower(None).asks
    assert KeysFollower(tmp_path / "none", "old").lets_in(b"old")
