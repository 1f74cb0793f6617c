"""What /readyz says of a collector and of the stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from ringback import checks, clock
from ringback.events import open_store
from ringback.listen import Endpoint, bound_endpoint, tcp_socket
from ringback.sessions.ingest.status import CollectorStatus, write_collector_status
from ringback.settings import Settings, load_settings
from ringback.watch import RoleLife, Watch


def status(**changes: object) -> CollectorStatus:
    found = CollectorStatus(updated_us=clock.now_us(), spool_limit=1000)
    for name, value in changes.items():
        setattr(found, name, value)
    return found


@pytest.mark.parametrize(
    ("told", "ready", "said"),
    [
        (None, False, {"collect": "does not run"}),
        ({"stopped": True}, False, {"collect": "does not run"}),
        ({}, True, {"collect": "ok", "store": "ok", "spool": "ok"}),
        ({"problem": "away"}, True, {"store": "packets wait in the spool: away"}),
        ({"problem": "away", "spool_limit": 0}, False, {"store": "away"}),
        ({"problem": "away", "spool_bytes": 990}, False, {"store": "away", "spool": "is full: 990 of 1000 bytes"}),
    ],
)
def test_a_collector_is_ready_while_it_can_keep_what_comes(
    told: dict[str, object] | None, ready: bool, said: dict[str, str]
) -> None:
    found = checks.collector(None if told is None else status(**told))
    assert found.items() >= said.items()
    assert checks.ready(found) is ready


def test_a_store_that_cannot_be_read_is_not_ready(tmp_path: Path) -> None:
    store = open_store(f"sqlite:{tmp_path / 'events'}")
    assert checks.events(store) == "ok"
    day = clock.isoformat(clock.now_us() - 1_000_000)[:10]  # at midnight the second before is looked at, too
    for each in {day, clock.isoformat(clock.now_us())[:10]}:
        (tmp_path / "events" / f"sip-{each}.sqlite").write_bytes(b"not what was written" * 100)
    assert "cannot be read" in checks.events(store)
    store.close()


@contextmanager
def watched(settings: Settings, lives: dict[str, RoleLife]) -> Iterator[Watch]:
    watch = Watch(settings, lambda: lives)
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()


def test_the_admin_listener_tells_which_part_is_not_ready(tmp_path: Path) -> None:
    with tcp_socket(Endpoint("127.0.0.1", 0)) as bound:
        endpoint = bound_endpoint(bound)
        settings = replace(load_settings({}, data=tmp_path), admin=endpoint)
        lives = {"collect": RoleLife(running=True, restarts=2)}
        with watched(settings, lives) as watch:
            url = f"http://{endpoint}"
            answer = httpx2.get(f"{url}/readyz")
            assert (answer.status_code, answer.json()["checks"]) == (503, {"collect": "does not run"})
            write_collector_status(tmp_path, status(problem="the disk is full", spool_limit=0))
            assert httpx2.get(f"{url}/readyz").json()["checks"]["store"] == "the disk is full"
            write_collector_status(tmp_path, status())
            assert httpx2.get(f"{url}/readyz").status_code == 200
            assert 'ringback_role_restarts_total{role="collect"} 2.0' in httpx2.get(f"{url}/metrics").text
            lives["work"] = RoleLife(running=False, restarts=1)
            found = httpx2.get(f"{url}/readyz").json()["checks"]
            assert found["work"] == "does not run"
            assert found["records"] == "the tables are not those of this version"
            del lives["work"]
            watch.note_stopping()
            assert "stopping" in httpx2.get(f"{url}/readyz").json()["checks"]["server"]
            head = httpx2.head(f"{url}/healthz")
            assert (head.status_code, head.content) == (200, b"")
