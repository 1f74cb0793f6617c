"""What goes with fewer days is counted before, and goes, where the event store is OpenSearch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from audited import ANN, add_product, records
from opensearch_server import own_prefix
from ringback import clock
from ringback.audit.keys import AuditKeys
from ringback.audit.relay import rebuild
from ringback.audit.verification import verify
from ringback.changes.schemas import Actor
from ringback.changes.service import changing
from ringback.composition import compose
from ringback.configuration.reader import Current
from ringback.configuration.service import ConfigurationService
from ringback.events import DAY_US, AuditQuery, EventStore, open_store
from ringback.records.engine import open_engine
from ringback.records.schema import migrate
from ringback.records.tables import INSTALLATION
from ringback.retention import drop_expired
from ringback.sessions.ingest.logs import ingest_logs
from ringback.settings import Settings, load_settings


@pytest.fixture
def settings(shared_node: str, tmp_path: Path) -> Iterator[Settings]:
    with own_prefix(shared_node) as prefix:
        store = f"{shared_node}/?prefix={prefix}&replicas=0&refresh=true"
        yield replace(load_settings({}, data=tmp_path / "data"), events_url=store)


def found(store: EventStore, now_us: int) -> set[int]:
    everything = AuditQuery(environments=("default", INSTALLATION), start_us=0, end_us=now_us + DAY_US)
    return {row.id for row in store.search_audit(everything, 100).rows}


def test_the_counts_are_those_of_what_goes(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    compose(settings)
    engine, began_us = open_engine(settings.records_url), clock.now_us()
    migrate(engine)
    for number in range(4):
        with changing(engine, ANN, ("default",)) as work:
            add_product(work, f"Product {number}")
    lines = [
        json.dumps({"time": clock.isoformat(began_us), "text": f"line {number}"}).encode() for number in range(3)
    ]
    with closing(open_store(settings.store_url)) as store:
        assert ingest_logs(store, b"\n".join(lines)).accepted == 3
    rebuild(settings)

    later_us = began_us + 40 * DAY_US
    monkeypatch.setattr(clock, "now_us", lambda: later_us)
    with changing(engine, ANN, ("default",)) as work:
        add_product(work, "Later")
    service, me = ConfigurationService(engine, settings), Actor("user", "ann", "cli")
    service.save(me, INSTALLATION, {"Tasks.Log_Max_Age": 31}, None)
    verification = service.verify(me, INSTALLATION)
    log_lines, audit_records = verification.touched["Tasks.Log_Max_Age"]
    assert log_lines.startswith("3 log lines (1 day, ")
    assert audit_records.startswith("4 audit records older than 31 days will go within the hour, for good: ")
    service.apply(me, INSTALLATION, verification.token, "less disk")

    configuration = Current(settings, engine)
    configuration.refresh()
    rebuild(settings)
    with closing(open_store(settings.store_url)) as store:
        assert len(found(store, later_us)) == 6, "four old, one newer, one of the option"
        day = clock.from_us(began_us).strftime("%Y-%m-%d")
        assert drop_expired(settings, engine, configuration) == [f"log-{day}", "4 audit records", f"audit-{day}"]
        rebuild(settings)
        kept = [each.id for environment in ("default", INSTALLATION) for each in records(engine, environment)]
        assert found(store, later_us) == set(kept)
        assert [each.kind for each in store.status().segments] == ["audit"]
        assert drop_expired(settings, engine, configuration) == []
    assert [each.action for each in records(engine)] == ["created", "audit.trimmed"]
    assert verify(engine, "default", AuditKeys()).is_whole
    engine.dispose()
