"""Rows for the tests of the event store: legs, blocks and log lines of a made-up day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ringback.events import (
    DAY_US,
    AuditQuery,
    AuditRow,
    Batch,
    BlockPart,
    BlockWrite,
    EventStore,
    LegQuery,
    LegRow,
    LogQuery,
    LogRecord,
)

MIDNIGHT = 1_795_305_600_000_000  # 2026-11-22T00:00:00Z
NOON = MIDNIGHT + DAY_US // 2
SECOND = 1_000_000
MINUTE = 60 * SECOND
ANY_TIME = LegQuery(("default",), MIDNIGHT - 2 * DAY_US, MIDNIGHT + 4 * DAY_US)
ANY_AUDIT = AuditQuery(("default",), MIDNIGHT - 2 * DAY_US, MIDNIGHT + 4 * DAY_US)
ANY_LOG = LogQuery(("default",), MIDNIGHT - 2 * DAY_US, MIDNIGHT + 4 * DAY_US)


def leg(number: int = 0, **changes: Any) -> LegRow:
    """The leg that begins `number` seconds after noon, from 1210335xxxx to 18660333777."""
    caller = f"1210335{number:04}"
    started = NOON + number * SECOND
    row = LegRow(
        environment="default",
        call_id=f"call-{number}@198.51.100.7",
        kind="call",
        method="INVITE",
        started_us=started,
        ended_us=started + 30 * SECOND,
        caller="+" + caller,
        called="18660333777",
        outcome="answered",
        code=200,
        phrase="OK",
        answered_us=started + 4 * SECOND,
        duration_ms=26_000,
        source="198.51.100.7:5060",
        destination="203.0.113.5:5060",
        addresses=["198.51.100.7", "203.0.113.5"],
        agents=["101"],
        messages=7,
        numbers={caller: 1, "18660333777": 6},
        keys={f"icid:{number}"},
    )
    return replace(row, **changes)


def block(legs: Sequence[LegRow], data: bytes = b"", each: int = 2) -> BlockWrite:
    """`each` messages of each leg, one leg after the other."""
    parts = [BlockPart(row, position * each, each) for position, row in enumerate(legs)]
    return BlockWrite(legs[0].started_us, legs[-1].started_us + SECOND, each * len(legs), data or b"block", parts)


def line(number: int = 0, text: str = "INVITE relayed", **changes: Any) -> LogRecord:
    """The line written `number` seconds after noon."""
    record = LogRecord("default", NOON + number * SECOND, "node", "edge-1", "info", text)
    return replace(record, **changes)


def audit(number: int = 0, **changes: Any) -> AuditRow:
    """The record `number` of its chain: a change of an account's credit limit, `number` seconds after noon."""
    row = AuditRow(
        environment="default",
        id=number + 1,
        seq=number + 1,
        time_us=NOON + number * SECOND,
        entity_type="account",
        entity_id="7",
        entity_name="12103355787",
        action="changed",
        properties=("credit_limit", "status"),
        realm="console",
        actor_kind="user",
        actor="amy",
        address="192.0.2.10",
        request_id=f"request-{number}",
        customer_id=3,
        customer_name="Acme Telecom Ltd",
        account_id=7,
        account_name="12103355787",
        amount=6_000_000,
        currency="EUR",
        message_key="account.changed",
        body='{"old": 1, "new": 2}',
    )
    return replace(row, **changes)


def audits(store: EventStore, query: AuditQuery = ANY_AUDIT, **changes: Any) -> list[int]:
    """Numbers of the rows, as given to `audit`."""
    return [row.id - 1 for row in store.search_audit(replace(query, **changes), limit=1000).rows]


def write(store: EventStore, *legs: LegRow) -> None:
    store.write(Batch(legs, []))


def found(store: EventStore, query: LegQuery = ANY_TIME, **changes: Any) -> list[str]:
    """Call-IDs, shortened to the leg's number where it is one of `leg`."""
    return [short(row) for row in store.search(replace(query, **changes), limit=1000).rows]


def short(row: LegRow) -> str:
    return row.call_id.removeprefix("call-").removesuffix("@198.51.100.7")


def lines(store: EventStore, query: LogQuery = ANY_LOG, **changes: Any) -> list[str]:
    page = store.search_logs(replace(query, **changes), limit=1000)
    return [record.text for record in page.records]
