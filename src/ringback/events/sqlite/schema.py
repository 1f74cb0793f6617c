"""What a segment file holds, and opening one: version, damage, durability settings.

A leg's id is its start: microseconds since the day's midnight << 10, the low bits keep legs of one microsecond apart.
So ids sort by time, a time range is an id range in every index, and the start needs neither column nor index. Log rows
alike; an audit row's id is its time << 26 and the low bits of its record's id, so that it is the same wherever it is
written again.

Index entries are grouped into *slices* of some 32,000 legs in the order of their first write. An entry begins with its
slice, so writing touches the pages of the newest slice only, however large the day grows; a look-up asks each slice
that the time range touches (26 for 850,000 legs, some µs each).
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from ringback.events.sqlite.files import SegmentFile
from ringback.events.store import SegmentUnreadable

VERSION = 1
APPLICATION = 0x52426576  # "RBev"
SLICE_ROWS = 1 << 15
LOW_BITS = 10
AUDIT_BITS = 26  # the low bits of an audit row's id are those of its record
PAGE_BYTES = 4096
WRITER_CACHE_KIB = 65536
READER_CACHE_KIB = 4096
CHECKPOINT_PAGES = 8192  # 32 MiB of -wal: a page changed by many batches is written back once
BUSY_SECONDS = 30.0

_COMMON = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE word (id INTEGER PRIMARY KEY, text UNIQUE);
CREATE TABLE slice (id INTEGER PRIMARY KEY, rows, messages, first, last, last_us);
"""
# Columns without a type keep what they are given. Those that an update changes hold biased integers of one width, so
# that it never moves a row (see `rows`).
_SIP = """
CREATE TABLE leg (
 id INTEGER PRIMARY KEY, slice, environment, kind, method,
 outcome, code, unusual, trouble, duration, ended, answered, messages, head, phrase, reason,
 route, source, destination, caller, called, call_id, numbers, keys);
CREATE INDEX leg_unusual ON leg (unusual) WHERE unusual = 1;
CREATE INDEX leg_code ON leg (code) WHERE unusual = 1;
CREATE TABLE leg_key (slice, hash, leg, PRIMARY KEY (slice, hash, leg)) WITHOUT ROWID;
CREATE TABLE leg_number (slice, number, leg, PRIMARY KEY (slice, number, leg)) WITHOUT ROWID;
CREATE TABLE leg_number_reversed (slice, number, leg, PRIMARY KEY (slice, number, leg)) WITHOUT ROWID;
CREATE TABLE route (id INTEGER PRIMARY KEY, addresses, agents);
CREATE TABLE route_slice (route, slice, PRIMARY KEY (route, slice)) WITHOUT ROWID;
CREATE TABLE block (id INTEGER PRIMARY KEY, started, ended, messages, checksum, parts, data);
CREATE TABLE minute (minute, environment, outcome, sessions, PRIMARY KEY (minute, environment, outcome)) WITHOUT ROWID;
CREATE TABLE mark (name TEXT PRIMARY KEY, value, written) WITHOUT ROWID;
"""
_LOG = """
CREATE TABLE log (
 id INTEGER PRIMARY KEY, environment, late, kind, node, level, call_id, conf_id, account, text, fields);
CREATE TABLE log_key (slice, hash, log, PRIMARY KEY (slice, hash, log)) WITHOUT ROWID;
CREATE VIRTUAL TABLE log_text USING fts5(
 line, content='', detail=none, columnsize=0, tokenize='unicode61 remove_diacritics 0');
"""
_AUDIT = """
CREATE TABLE audit (
 id INTEGER PRIMARY KEY, slice, record, seq, shape, fields, entity_id, entity_name, customer, customer_name,
 account, account_name, actor, address, request, amount, currency, message_key, body);
CREATE UNIQUE INDEX audit_record ON audit (record);
CREATE INDEX audit_amount ON audit (amount) WHERE amount IS NOT NULL;
CREATE TABLE shape (id INTEGER PRIMARY KEY, text UNIQUE, rows);
CREATE TABLE fields (id INTEGER PRIMARY KEY, text UNIQUE, rows);
CREATE TABLE audit_key (slice, hash, audit, PRIMARY KEY (slice, hash, audit)) WITHOUT ROWID;
CREATE TABLE audit_word (slice, word, audit, PRIMARY KEY (slice, word, audit)) WITHOUT ROWID;
"""
_SCHEMA = {"sip": _COMMON + _SIP, "log": _COMMON + _LOG, "audit": _COMMON + _AUDIT}
ROWS = {"sip": "leg", "log": "log", "audit": "audit"}  # the table of what a segment is for
TIME_BITS = {"sip": LOW_BITS, "log": LOW_BITS, "audit": AUDIT_BITS}


class Damaged(SegmentUnreadable):
    """The file itself is broken: a writer sets it aside, `ringback events repair` saves what it can."""

    def __init__(self, file: SegmentFile, reason: str) -> None:
        super().__init__(f"segment {file.name} cannot be read: {reason}. Run: ringback events repair {file.name}")
        self.file = file
        self.reason = reason


def fill(kind: str, path: Path) -> None:
    """Write an empty segment of `kind` to `path`."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.executescript(
            f"BEGIN; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
            f"{_SCHEMA[kind]} INSERT INTO meta VALUES ('batches', 0); INSERT INTO word VALUES (1, NULL); COMMIT;"
        )
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


def connect(file: SegmentFile, *, writer: bool = False, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Open and look whether it can be trusted. Raises FileNotFoundError, Damaged, SegmentUnreadable, sqlite3.Error."""
    acknowledged = file.acknowledged()
    wal_stood = file.beside("-wal").exists()
    if not file.path.exists():
        raise FileNotFoundError(file.path)
    connection = sqlite3.connect(
        f"{file.path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
    )
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION:
            raise Damaged(file, "its header is not that of an event segment")
        if version > VERSION:
            raise SegmentUnreadable(
                f"segment {file.name} has schema {version}, written by a newer Ringback; this one reads up to"
                f" {VERSION}: upgrade it"
            )
        (batches,) = connection.execute("SELECT value FROM meta WHERE name = 'batches'").fetchone()
        if batches < acknowledged and not wal_stood:
            raise Damaged(
                file, f"its -wal file is missing, and with it {acknowledged - batches} of {acknowledged} batches"
            )
        connection.execute("PRAGMA synchronous = NORMAL")
        if writer:
            connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {CHECKPOINT_PAGES * PAGE_BYTES * 2}")
            connection.execute("PRAGMA secure_delete = OFF")
            connection.execute("PRAGMA temp_store = MEMORY")
        else:
            connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
            connection.execute("PRAGMA query_only = ON")
    except sqlite3.DatabaseError as error:
        connection.close()
        if is_damage(error):
            raise Damaged(file, str(error)) from error
        raise
    except BaseException:
        connection.close()
        raise
    return connection


_DAMAGE = {
    sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS,
}  # fmt: skip
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}


def is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # raised by the sqlite3 module itself: text that is no UTF-8; a table that should be there
        return isinstance(error, sqlite3.OperationalError)
    if code == sqlite3.SQLITE_ERROR:
        return "no such table" in str(error) or "no such column" in str(error)
    return code in _DAMAGE or code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY


def is_full(error: BaseException) -> bool:
    """SQLite says FULL where a write found no space; -shm and -wal that cannot grow come as other codes."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_FULL or code in (sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_WRITE)


def note_problem(file: SegmentFile, reason: str) -> None:
    """Remember for `status`, in whatever process it is asked, that a read found the segment broken."""
    if file.path.exists():
        new = file.beside(f"-problem.{os.getpid()}")
        new.write_text(reason)
        new.rename(file.beside("-problem"))
