"""From a session's id to its whole story: legs by closure, messages from blocks, log lines, all correlated anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from ringback import clock
from ringback.events.store import (
    EventStore,
    EventStoreError,
    LegQuery,
    LegRow,
    LogQuery,
    LogRecord,
    SegmentUnreadable,
)
from ringback.sessions.correlate import build_session, take_turns
from ringback.sessions.ingest.blocks import BlockDamaged, decode_block
from ringback.sessions.ingest.media_records import MEDIA_KIND, decode_media
from ringback.sessions.keys import KeyRules
from ringback.sessions.search import DAY_US
from ringback.sessions.smartbox import SESSION_ID
from ringback.sessions.story import Link, LogLine, NodeInfo, Session, Sighting, StreamReport
from ringback.sessions.trace import close_over, rivals

BEFORE_US = 60_000_000  # log lines and reports of a session lie within its time and these margins
AFTER_US = 3_600_000_000  # a node that could not reach the billing engine tells it later
MOST_MESSAGES = 20_000  # sightings of one session that are read; the rest is told
MOST_LINES = 5_000
READ_SECONDS = 10.0


def open_session(
    events: EventStore,
    session_id: str,
    environments: tuple[str, ...],
    nodes: Sequence[NodeInfo],
    rules: KeyRules,
) -> Session | None:
    """None when no leg of that id is stored. Raises the store's errors: part of a story is no story."""
    first = _first_leg(events, session_id, environments)
    if first is None:
        return None
    closure = close_over(first, events, deadline_s=READ_SECONDS)
    legs, links, notes = list(closure.legs), list(closure.links), list(closure.notes)
    sightings = _sightings(events, legs, notes)
    if first.kind == "registration":
        links += _add_rivals(events, legs, sightings)
    logs, media = _logs(events, legs, notes)
    return build_session(
        sightings,
        logs=logs,
        media=media,
        nodes=nodes,
        rules=rules,
        links=links,
        notes=notes,
        environment=first.environment,
        until_us=clock.now_us() if _is_live(sightings) else None,
    )


def _add_rivals(events: EventStore, legs: list[LegRow], sightings: list[Sighting]) -> list[Link]:
    """Another device's registrations that push this one out are part of its story: they are added to both lists."""
    others = {
        rows[0].call_id: (rows, _sightings(events, rows, []))
        for rows in rivals(legs, events, deadline_s=READ_SECONDS)
    }
    if not others:
        return []
    links = take_turns([*sightings, *(sighting for _, seen in others.values() for sighting in seen)])
    linked = {name for link in links for name in (link.from_call_id, link.to_call_id)}
    if not linked & {leg.call_id for leg in legs}:
        return []
    for call_id in linked & others.keys():
        rows, seen = others[call_id]
        legs += rows
        sightings += seen
    return links


def _is_live(sightings: Iterable[Sighting]) -> bool:
    """Whether a node reported it (HEP numbers its agents), so that silence goes on until now. A capture file ends."""
    return any(sighting.hop.agent.isdecimal() for sighting in sightings)


def _first_leg(events: EventStore, session_id: str, environments: tuple[str, ...]) -> LegRow | None:
    match = SESSION_ID.fullmatch(session_id)
    if match is None:
        return None
    try:
        day_us = clock.to_us(datetime.strptime(match[1], "%Y%m%d").replace(tzinfo=UTC))
    except ValueError:
        return None
    query = LegQuery(environments, day_us, day_us + DAY_US, call_hashes=(int(match[2], 16),))
    rows = events.search(query, deadline_s=READ_SECONDS).rows
    return min(rows, key=lambda row: row.started_us, default=None)


def _sightings(events: EventStore, legs: Sequence[LegRow], notes: list[str]) -> list[Sighting]:
    sightings: list[Sighting] = []
    for piece in events.blocks(legs, deadline_s=READ_SECONDS):
        try:
            sightings += decode_block(piece.data, piece.first, piece.count)
        except BlockDamaged as error:
            raise SegmentUnreadable(f"Messages of this session cannot be read: {error}") from error
        if len(sightings) > MOST_MESSAGES:
            notes.append(f"Only the first {MOST_MESSAGES} messages of the session are shown.")
            return sightings[:MOST_MESSAGES]
    if not sightings:
        raise EventStoreError("The messages of this session are gone, though its entry is still stored.")
    return sightings


def _logs(events: EventStore, legs: Sequence[LegRow], notes: list[str]) -> tuple[list[LogLine], list[StreamReport]]:
    """Log lines that carry a Call-ID or billing session id of the legs, and the media figures among them."""
    query = LogQuery(
        environments=(legs[0].environment,),
        start_us=min(leg.started_us for leg in legs) - BEFORE_US,
        end_us=max(leg.ended_us for leg in legs) + AFTER_US,
        call_ids=tuple(dict.fromkeys(leg.call_id for leg in legs)),
        conf_ids=tuple(sorted(_conf_ids(legs))),
    )
    page = events.search_logs(query, limit=MOST_LINES, deadline_s=READ_SECONDS)
    if page.cursor:
        notes.append(f"Only the first {MOST_LINES} log lines of the session are shown.")
    reports = [decode_media(record) for record in page.records if record.kind == MEDIA_KIND]
    media = [report for report in reports if report is not None]
    return [_line(record) for record in page.records if record.kind != MEDIA_KIND], media


def _conf_ids(legs: Iterable[LegRow]) -> set[str]:
    return {key.removeprefix("conf:") for leg in legs for key in leg.keys if key.startswith("conf:")}


def _line(record: LogRecord) -> LogLine:
    fields = record.fields | {
        name: value for name, value in (("conf_id", record.conf_id), ("account", record.account)) if value
    }
    return LogLine(record.time_us, record.kind, record.node, record.level, record.text, record.call_id, fields)
