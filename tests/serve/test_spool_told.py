"""What waits in the spool, told to machines."""

from __future__ import annotations

import time
from pathlib import Path

from starlette.testclient import TestClient

from actors import by_tester
from ringback.access import tokens
from ringback.app import create_app
from ringback.sessions.ingest.status import CollectorStatus, write_collector_status
from ringback.settings import load_settings


def test_how_far_storing_is_behind_is_told_by_readiness_metrics_and_status(tmp_path: Path) -> None:
    settings = load_settings({}, data=tmp_path / "data")
    now = time.time_ns() // 1000
    app = create_app(settings)
    with TestClient(app, base_url="http://ringback.test") as client:
        assert client.get("/readyz").json()["spool"] == {"behind_s": 0.0, "packets": 0, "bytes": 0}
        waiting = CollectorStatus(
            updated_us=now, received=900, stored=200, waiting=700, spooled=800, spool_bytes=5000, spool_packets=650,
            spool_oldest_us=now - 130_000_000, spool_limit=10_000,
        )  # fmt: skip
        write_collector_status(settings.data, waiting)
        ready = client.get("/readyz")
        assert ready.status_code == 200  # what waits is not lost
        assert ready.json()["spool"] == {"behind_s": 130.0, "packets": 650, "bytes": 5000}
        metrics = client.get("/metrics").text
        assert "ringback_hep_packets_spooled_total 800.0" in metrics
        assert "ringback_spool_bytes 5000.0" in metrics
        assert "ringback_spool_limit_bytes 10000.0" in metrics
        assert "ringback_spool_packets 650.0" in metrics
        assert "ringback_spool_oldest_seconds 130.0" in metrics
        with by_tester(app.state.records) as work:
            token = tokens.create_token(work, "test")
        document = client.get("/api/v1/status", headers={"Authorization": f"Bearer {token}"}).json()
        assert document["collector"]["spool"] == {
            "bytes": 5000, "limit": 10_000, "packets": 650, "behind_s": 130.0, "total": 800,
        }  # fmt: skip
