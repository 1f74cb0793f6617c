"""Rows for the tests of the event store: legs, blocks and log lines of a made-up day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ringback.events import DAY_US, Batch, BlockPart, BlockWrite, EventStore, LegQuery, LegRow, LogQuery, LogRecord

MIDNIGHT = 1_795_305_600_000_000  # 2026-11-22T00:00:00Z
NOON = MIDNIGHT + DAY_US // 2
SECOND = 1_000_000
MINUTE = 60 * SECOND
ANY_TIME = LegQuery(("default",), MIDNIGHT - 2 * DAY_US, MIDNIGHT + 4 * DAY_US)
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
