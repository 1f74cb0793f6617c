"""A segment made anew from the rows that could be read of another."""

from __future__ import annotations

import sqlite3
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import zstandard

from ringback.events.sqlite import audit, logs, rows
from ringback.events.sqlite.files import SegmentFile
from ringback.events.sqlite.parts import COUNT_BITS, packed, unpacked
from ringback.events.sqlite.rollups import MINUTE_US
from ringback.events.sqlite.salvage import Row, Salvage
from ringback.events.sqlite.schema import SLICE_ROWS
from ringback.events.sqlite.segment_writer import Words
from ringback.events.sqlite.sip_writer import NewEntries
from ringback.events.store import AuditRow, LegRow, call_hash

_NO_ROUTE = ("", "")
_HEAD = rows.COLUMNS.split(", ").index("head")
_ROUTE = rows.COLUMNS.split(", ").index("route")


Route = Callable[[int], tuple[list[str], list[str]]]


@dataclass(slots=True)
class Rebuilt:
    """Losses are None where the totals could not be read."""

    legs: int = 0
    messages: int = 0
    logs: int = 0
    audits: int = 0
    lost_legs: int | None = 0
    lost_messages: int | None = 0
    lost_logs: int | None = 0
    lost_audits: int | None = 0
    batches: int | None = None  # the last that the source holds


def rebuild(source: Salvage, target: sqlite3.Connection, file: SegmentFile) -> Rebuilt:
    """Fill `target`, an empty segment of the same kind. Raises sqlite3.Error where that cannot be written."""
    totals, complete = source.all("SELECT sum(rows), sum(messages) FROM slice")
    expected = totals[0] if complete and totals else None
    meta, _ = source.all("SELECT value FROM meta WHERE name = 'batches'")
    result = Rebuilt(batches=meta[0][0] if meta and isinstance(meta[0][0], int) else None)
    target.execute("BEGIN")
    words = _words(source, target)
    lost_rows = lost_messages = None
    if file.kind == "sip":
        _sip(source, target, file, words, result)
        saved = result.legs
    elif file.kind == "audit":
        _audits(source, target, file, words, result)
        saved = result.audits
    else:
        _logs(source, target, file, words, result)
        saved = result.logs
    if expected:
        lost_rows = max((expected[0] or 0) - saved, 0)
        lost_messages = max((expected[1] or 0) - result.messages, 0)
    if file.kind == "sip":
        result.lost_legs, result.lost_messages = lost_rows, lost_messages
    elif file.kind == "audit":
        result.lost_audits = lost_rows
    else:
        result.lost_logs = lost_rows
    target.execute("UPDATE meta SET value = ? WHERE name = 'batches'", (result.batches or 0,))
    target.execute("COMMIT")
    return result


class _Words(dict[int, str]):
    def __call__(self, stored: rows.Stored) -> str:
        """Raises KeyError where the word was lost."""
        return self[stored] if isinstance(stored, int) else rows.readable(stored)


def _words(source: Salvage, target: sqlite3.Connection) -> _Words:
    """Read twice: the table and the index of its texts lie on different pages."""
    found, _ = source.all("SELECT id, text FROM word NOT INDEXED")
    again, _ = source.all("SELECT id, text FROM word INDEXED BY sqlite_autoindex_word_1 WHERE text > ''")
    stored = {id_: text for id_, text in (*again, *found) if text is not None}
    target.executemany("INSERT OR IGNORE INTO word VALUES (?, ?)", sorted(stored.items()))
    return _Words((id_, rows.readable(text)) for id_, text in stored.items())


def _sip(source: Salvage, target: sqlite3.Connection, file: SegmentFile, words: _Words, result: Rebuilt) -> None:
    routes = {id_: (addresses, agents) for id_, addresses, agents in source.by_id("route")}
    missing: set[int] = set()

    def route(id_: int) -> tuple[list[str], list[str]]:
        if id_ not in routes:
            routes[id_] = _NO_ROUTE
            missing.add(id_)
        return rows.from_path_list(routes[id_][0]), rows.from_path_list(routes[id_][1])

    minutes: Counter[tuple[int, int, int]] = Counter()
    nonsense = 0
    numbers = iter(range(1, 1 << 30))
    readable = _decoded(source, file, words, route)
    while chunk := list(islice(readable, SLICE_ROWS)):
        slice_ = next(numbers)
        entries = NewEntries()
        legs: list[Row] = []
        for row, leg in chunk:
            if leg is None:
                nonsense += 1
                continue
            legs.append((row[0], slice_, *row[2:_HEAD], rows.HEAD, *row[_HEAD + 1 :]))
            entries.keys.append((slice_, call_hash(leg.environment, leg.call_id), row[0]))
            entries.add(leg, slice_, row[0])
            minutes[(leg.started_us - file.start_us) // MINUTE_US, row[2], row[5]] += 1
        target.executemany(rows.INSERT, legs)
        target.executemany("INSERT OR IGNORE INTO route_slice VALUES (?, ?)", {(row[_ROUTE], slice_) for row in legs})
        entries.store(target)
        ends = [leg.ended_us for _, leg in chunk if leg]
        _slice(target, slice_, [row[0] for row in legs], max(ends, default=0))
        result.legs += len(legs)
    target.executemany("INSERT INTO route VALUES (?, ?, ?)", [(id_, *texts) for id_, texts in routes.items()])
    if missing:
        source.notes.append(f"the addresses and agents of {len(missing)} routes are lost")
    if nonsense:
        source.notes.append(f"{nonsense} legs made no sense")
    _blocks(source, target, result)
    counted, complete = source.all("SELECT minute, environment, outcome, sessions FROM minute")
    if not complete:
        source.notes.append("the counts by minute were made anew from the legs")
        counted = [(*key, legs_) for key, legs_ in minutes.items()]
    target.executemany("INSERT INTO minute VALUES (?, ?, ?, ?)", counted)
    marks, _ = source.all("SELECT name, value, written FROM mark")
    target.executemany("INSERT INTO mark VALUES (?, ?, ?)", marks)


def _decoded(source: Salvage, file: SegmentFile, words: _Words, route: Route) -> Iterator[tuple[Row, LegRow | None]]:
    """Rows of legs, each with what it says; None where that makes no sense."""
    for row in source.by_id("leg"):
        try:
            yield row, rows.leg_row(row, file.start_us, file.name, words, route)
        except (ValueError, TypeError, LookupError):
            yield row, None


def _blocks(source: Salvage, target: sqlite3.Connection, result: Rebuilt) -> None:
    """Blocks that are what was written, and the chains through those that are left."""
    heads: dict[int, int] = {}
    broken = 0
    for number, started, ended, messages, checksum, parts, data in source.by_id("block"):
        if (
            not isinstance(parts, bytes)
            or not isinstance(data, bytes)
            or zlib.crc32(parts, zlib.crc32(data)) != checksum
        ):
            broken += 1
            continue
        _, owners = unpacked(parts)
        before = array("I", [heads.get(owner >> COUNT_BITS, 0) for owner in owners])
        heads.update((owner >> COUNT_BITS, number) for owner in owners)
        chained = packed(before, owners)
        target.execute(
            "INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?)",
            (number, started, ended, messages, zlib.crc32(chained, zlib.crc32(data)), chained, data),
        )
        result.messages += messages
    if broken:
        source.notes.append(f"{broken} blocks of messages were not what was written (checksum)")
    target.executemany(
        "UPDATE leg SET head = ? WHERE id = ?", [(head + rows.HEAD, leg) for leg, head in heads.items()]
    )
    target.execute("UPDATE slice SET messages = ? WHERE id = (SELECT max(id) FROM slice)", (result.messages,))


def _logs(source: Salvage, target: sqlite3.Connection, file: SegmentFile, words: _Words, result: Rebuilt) -> None:
    nonsense = slice_ = 0
    lines = source.by_id("log")
    while chunk := list(islice(lines, SLICE_ROWS)):
        slice_ += 1
        kept: list[Row] = []
        last_us = 0
        for row in chunk:
            try:
                record = logs.log_record(row, file.start_us, words)
            except (ValueError, TypeError, LookupError):
                nonsense += 1
                continue
            kept.append(row)
            last_us = max(last_us, record.time_us)
            target.execute(logs.INSERT_TEXT, (row[0], record.text.encode(errors="replace").decode()))
            target.executemany(
                "INSERT OR IGNORE INTO log_key VALUES (?, ?, ?)",
                [(slice_, hash_, row[0]) for hash_ in logs.key_hashes(record)],
            )
        target.executemany(logs.INSERT, kept)
        _slice(target, slice_, [row[0] for row in kept], last_us)
        result.logs += len(kept)
    if nonsense:
        source.notes.append(f"{nonsense} lines made no sense")


def _audits(source: Salvage, target: sqlite3.Connection, file: SegmentFile, words: _Words, result: Rebuilt) -> None:
    shapes: dict[int, str] = dict(source.all("SELECT id, text FROM shape")[0])
    fields: dict[int, str] = dict(source.all("SELECT id, text FROM fields")[0])
    tables = audit.Tables(target, Words(target, bounded=True).__getitem__)
    decompressor = zstandard.ZstdDecompressor()
    nonsense = slice_ = 0
    seen: set[int] = set()
    found = source.by_id("audit")
    while chunk := list(islice(found, SLICE_ROWS)):
        slice_ += 1
        kept: list[tuple[int, AuditRow]] = []
        for columns in chunk:
            try:
                row = audit.audit_row(
                    columns, file.start_us, shapes.__getitem__, fields.__getitem__, words, decompressor
                )
            except (ValueError, TypeError, LookupError, zstandard.ZstdError):
                nonsense += 1
                continue
            if row.id not in seen:
                seen.add(row.id)
                kept.append((columns[0], row))
        tables.insert(kept, slice_)
        _slice(target, slice_, [id_ for id_, _ in kept], max((row.time_us for _, row in kept), default=0))
        result.audits += len(kept)
    if nonsense:
        source.notes.append(f"{nonsense} audit rows made no sense")


def _slice(target: sqlite3.Connection, slice_: int, ids: list[int], last_us: int) -> None:
    if ids:
        target.execute("INSERT INTO slice VALUES (?, ?, 0, ?, ?, ?)", (slice_, len(ids), min(ids), max(ids), last_us))
