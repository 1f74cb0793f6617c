"""The work role of a running server copies audit records within a second or so, and the figures tell how far it is."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

from audited import ANN
from ringback.changes.schemas import Owner
from ringback.changes.service import changing, note
from ringback.events import AuditQuery, open_store
from ringback.records.engine import open_engine
from ringback.settings import load_settings
from running import serving, until

EVER = AuditQuery(("default",), 0, 1 << 52, actions=("payment.made",))


def test_a_running_server_copies_what_is_recorded(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data, "--role", "web", "--role", "work") as server:
        settings = load_settings({}, data=data)
        records = open_engine(settings.records_url)
        with changing(records, ANN, ("default",)) as work:
            note(work, "payment.made", "customer", 1, "Jerry Price", Owner("default", 1))
        records.dispose()
        with closing(open_store(settings.store_url)) as events:
            until(lambda: events.search_audit(EVER).rows)
            assert [row.entity_name for row in events.search_audit(EVER).rows] == ["Jerry Price"]

        def figures() -> dict[str, str]:
            text = server.get("/metrics").text
            return dict(re.findall(r"^(ringback_\w*audit\w*) (\S+)$", text, re.MULTILINE))

        until(lambda: figures()["ringback_audit_records_waiting"] == "0.0")  # counted once the rows are there
        told = figures()
        assert told.pop("ringback_store_audit_rows") >= "1.0"
        assert told == {
            "ringback_audit_records_waiting": "0.0",
            "ringback_audit_lag_seconds": "0.0",
            "ringback_audit_batches_refused": "0.0",
        }
        assert not server.logged("audit records are not copied to the event store")
