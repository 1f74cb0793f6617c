"""Log lines on their way in: NDJSON over HTTP, and what captures and HEP carry beside SIP."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

import orjson

from ringback import clock
from ringback.events.store import EventStore, LogQuery, LogRecord
from ringback.sessions.keys import conf_id
from ringback.sessions.ownership.lines import environment_of_line, with_their_sessions
from ringback.sessions.ownership.rules import ONE_TENANT, TrafficRules
from ringback.sessions.story import Hop, LogLine

MOST_BYTES = 16 * 1024 * 1024  # of one request
MOST_LINES = 20_000
LONGEST_LINE = 64 * 1024
LONGEST_TEXT = 16_384  # characters; a longer text is refused, not cut
MOST_FIELDS = 64
LONGEST_FIELD = 4096
LONGEST_KEY = 256  # call_id, conf_id, account, node, kind and level
MOST_REASONS = 100  # rejected lines told one by one; the rest only counted
LEVELS = ("debug", "info", "notice", "warning", "error", "critical")

_LEVEL_NAMES = {each: each for each in LEVELS} | {
    "": "", "trace": "debug", "dbg": "debug", "warn": "warning", "err": "error", "fatal": "critical", "crit": "critical",
    "alert": "critical", "emerg": "critical", "emergency": "critical",
}  # fmt: skip
_KIND = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_OWN = frozenset({"time", "kind", "node", "level", "text", "message", "call_id", "conf_id", "account", "fields"})
_EARLIEST_US, _LATEST_US = 0, 253_402_300_799_000_000  # 1970 to 9999


@dataclass(frozen=True, slots=True)
class RejectedLine:
    line: int  # counted from 1
    reason: str


@dataclass(slots=True)
class LogsAccepted:
    accepted: int = 0
    rejected: int = 0
    reasons: list[RejectedLine] = field(default_factory=list)  # of the first MOST_REASONS


class TooLarge(ValueError):
    """The request is over a limit as a whole; nothing of it was stored."""


def ingest_logs(
    store: EventStore, ndjson: bytes, *, environment: str = "", owners: TrafficRules = ONE_TENANT
) -> LogsAccepted:
    """Stores the good lines of an NDJSON document and tells what was wrong with the others. They belong to `environment`;
    where that is "", each to that of its session, else to the one that `owners` say.

    A line is an object: ``time`` (RFC 3339 with a zone, or seconds, milliseconds or microseconds since the epoch),
    ``text`` (or ``message``); optional ``kind`` (default "node"), ``node``, ``level``, ``call_id``, ``conf_id``,
    ``account``; everything else, and what an object ``fields`` holds, is kept as a field.
    Raises TooLarge, EventStoreError.
    """
    if len(ndjson) > MOST_BYTES:
        raise TooLarge(f"{len(ndjson)} bytes in one request; at most {MOST_BYTES} are taken")
    lines = ndjson.split(b"\n")
    if len(lines) > MOST_LINES + 1:
        raise TooLarge(f"{len(lines)} lines in one request; at most {MOST_LINES} are taken")
    result = LogsAccepted()
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = parse_log(line, environment)
            records.append(
                record if environment else replace(record, environment=environment_of_line(owners, record))
            )
        except ValueError as error:
            result.rejected += 1
            if len(result.reasons) < MOST_REASONS:
                result.reasons.append(RejectedLine(number, str(error)))
    if records:
        store.write_logs(records if environment else with_their_sessions(store, owners, records))
    result.accepted = len(records)
    return result


def parse_log(line: bytes, environment: str) -> LogRecord:
    """One line of NDJSON. Raises ValueError, its text fit to be shown."""
    if len(line) > LONGEST_LINE:
        raise ValueError(f"{len(line)} bytes; a line has at most {LONGEST_LINE}")
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ValueError("not an object")
    text = document.get("text", document.get("message"))
    if not isinstance(text, str) or not text:
        raise ValueError("text: missing; give the log line as text or message")
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"text: {len(text)} characters; at most {LONGEST_TEXT} are taken")
    if "time" not in document:
        raise ValueError("time: missing")
    kind = _word(document, "kind") or "node"
    if not _KIND.fullmatch(kind):
        raise ValueError(f"kind: {kind!r} is no lower-case word, such as node or billing")
    level = _word(document, "level").lower()
    if level not in _LEVEL_NAMES:
        raise ValueError(f"level: {level!r} is none of {', '.join(LEVELS)}")
    return LogRecord(
        environment=environment,
        time_us=time_us(document["time"]),
        kind=kind,
        node=_word(document, "node"),
        level=_LEVEL_NAMES[level],
        text=text,
        call_id=_word(document, "call_id"),
        conf_id=conf_id(_word(document, "conf_id")),
        account=_word(document, "account"),
        fields=_fields(document),
    )


def time_us(value: object) -> int:
    """RFC 3339 text with a zone, or a number of seconds, milliseconds or microseconds since the epoch, told apart by
    size (seconds until the year 5138). Raises ValueError."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"time: {value!r} is no RFC 3339 time, such as 2026-10-12T19:03:22.118Z") from None
        if moment.tzinfo is None:
            raise ValueError(f"time: {value!r} has no zone; end it with Z or +01:00")
        return clock.to_us(moment)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("time: neither text nor a number")
    for scale, limit in ((1_000_000, 1e11), (1000, 1e14), (1, 1e17)):
        if abs(value) < limit:
            microseconds = value * scale if isinstance(value, int) else round(value * scale)
            if _EARLIEST_US <= microseconds <= _LATEST_US:
                return microseconds
    raise ValueError(f"time: {value} is no time between 1970 and 9999")


def log_record(line: LogLine, owners: TrafficRules, hop: Hop | None = None) -> LogRecord:
    """A line that came with a capture or over HEP, to be stored where the rules say. `hop`: of the packet it came in."""
    fields = dict(line.fields)
    record = LogRecord(
        environment="",
        time_us=line.time_us,
        kind=line.kind,
        node=line.node,
        level=line.level,
        text=line.text,
        call_id=line.call_id,
        conf_id=conf_id(fields.pop("conf_id", "")),
        account=fields.pop("account", ""),
        fields=fields,
    )
    return replace(record, environment=environment_of_line(owners, record, hop))


def new_logs(store: EventStore, records: Iterable[LogRecord]) -> list[LogRecord]:
    """Those of `records` that the store does not hold yet: an import that is repeated after a crash adds nothing twice."""
    wanted = list(records)
    if not wanted:
        return []
    query = LogQuery(
        environments=tuple({record.environment for record in wanted}),
        start_us=min(record.time_us for record in wanted),
        end_us=max(record.time_us for record in wanted) + 1,
        kinds=tuple({record.kind for record in wanted}),
    )
    held = set()
    cursor = None
    while True:
        page = store.search_logs(query, limit=1000, cursor=cursor, deadline_s=60)
        held |= {_identity(record) for record in page.records}
        cursor = page.cursor
        if cursor is None:
            return [record for record in wanted if _identity(record) not in held]


def _identity(record: LogRecord) -> tuple[str, ...]:
    figures = sorted(f"{name}={value}" for name, value in record.fields.items())
    return (
        record.environment, str(record.time_us), record.kind, record.node, record.text, record.call_id, *figures,
    )  # fmt: skip


def _word(document: dict[str, object], name: str) -> str:
    value = document.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{name}: not a text")
    text = str(value).strip()
    if len(text) > LONGEST_KEY:
        raise ValueError(f"{name}: {len(text)} characters; at most {LONGEST_KEY} are taken")
    return text


def _fields(document: dict[str, object]) -> dict[str, str]:
    inner = document.get("fields", {})
    if not isinstance(inner, dict):
        raise ValueError("fields: not an object")
    found: dict[str, str] = {}
    for name, value in [*inner.items(), *((name, value) for name, value in document.items() if name not in _OWN)]:
        if value is None:
            continue
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        if len(text) > LONGEST_FIELD or len(name) > LONGEST_KEY:
            raise ValueError(f"{name[:40]}: longer than {LONGEST_FIELD} characters")
        if len(found) == MOST_FIELDS:
            raise ValueError(f"more than {MOST_FIELDS} fields")
        found[name] = text
    return found
