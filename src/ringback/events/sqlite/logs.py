"""Log lines of one day: writing them, and finding them by session key, by words or by time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import orjson

from ringback.events.sqlite.entries import Condition, Entries, Order, Row, Select, by_entries, by_table, pages
from ringback.events.sqlite.readers import Reader
from ringback.events.sqlite.rows import Stored, readable, storable
from ringback.events.sqlite.schema import LOW_BITS, Damaged
from ringback.events.sqlite.segment_writer import SegmentWriter
from ringback.events.store import LogQuery, LogRecord, call_hash

COLUMNS = "id, environment, late, kind, node, level, call_id, conf_id, account, text, fields"
INSERT = f"INSERT INTO log ({COLUMNS}) VALUES ({', '.join('?' * 11)})"
INSERT_TEXT = "INSERT INTO log_text (rowid, line) VALUES (?, ?)"
_TOKEN = re.compile(r"[^\W_]+")


class LogWriter(SegmentWriter):
    """Not thread-safe."""

    def stage(self, records: Sequence[LogRecord]) -> None:
        """Into the open transaction."""
        midnight = self.file.start_us
        ids = self.free_ids("log", [(each.time_us - midnight << LOW_BITS, at) for at, each in enumerate(records)])
        slice_ = self.slice()
        word, name = self.words.__getitem__, self.phrases.__getitem__
        logs, keys, texts = [], [], []
        for at, record in enumerate(records):
            id_ = ids[at]
            late = (id_ >> LOW_BITS) + midnight - record.time_us
            logs.append(
                (
                    id_, word(record.environment), late, word(record.kind), name(record.node), word(record.level),
                    storable(record.call_id) or None, storable(record.conf_id) or None, storable(record.account) or None,
                    storable(record.text), _written(record.fields),
                )
            )  # fmt: skip
            keys += [(slice_, hash_, id_) for hash_ in key_hashes(record)]
            texts.append((id_, record.text.encode(errors="replace").decode()))
        # In order of id: the full-text index starts a new segment of its own wherever an id is below the one before.
        self.executemany(INSERT, sorted(logs, key=lambda row: row[0]))
        self.executemany(INSERT_TEXT, sorted(texts))
        self.executemany("INSERT OR IGNORE INTO log_key VALUES (?, ?, ?)", keys)
        self.grow_slice(slice_, ids.values(), 0, max(record.time_us for record in records))


def _written(fields: dict[str, str]) -> str | None:
    if not fields:
        return None
    try:
        return orjson.dumps(fields).decode()
    except TypeError:  # a lone surrogate: a byte that was not UTF-8 in the line
        return json.dumps(fields)


def records(reader: Reader, query: LogQuery, low: int, high: int) -> Iterator[tuple[int, LogRecord]]:
    """(id, record) of those of the query with an id in [low, high]."""
    condition = _conditions(reader, query)
    if condition is None:
        return
    order = Order("log", COLUMNS, query.newest_first)
    for row in pages(_driver(reader, order, query, condition), order, low, high):
        record = _record(reader, row)
        if _verified(query, record):
            yield row[0], record


def _conditions(reader: Reader, query: LogQuery) -> Condition | None:
    parts: list[str] = []
    values: list[Any] = []
    words = {"environment": query.environments, "kind": query.kinds, "level": query.levels}
    for column, texts in words.items():
        if texts or column == "environment":
            numbers = reader.word_ids(texts)
            if not numbers:
                return None
            parts.append(f"{column} IN ({', '.join('?' * len(numbers))})")
            values += numbers
    if query.nodes:
        parts.append(
            f"node IN ({', '.join('?' * (len(numbers := reader.word_ids(query.nodes)) + len(query.nodes)))})"
        )
        values += [*numbers, *map(storable, query.nodes)]
    return Condition(" AND ".join(parts), values)


def _driver(reader: Reader, order: Order, query: LogQuery, condition: Condition) -> Select:
    hashes = [
        call_hash(environment, prefix + value)
        for environment in query.environments
        for prefix, values in (("\x02", query.call_ids), ("\x03", query.conf_ids), ("\x04", query.accounts))
        for value in values
    ]
    if hashes:
        test = Condition(f"hash IN ({', '.join('?' * len(hashes))})", [*hashes])
        return by_entries(reader, order, Entries("log_key", [test]), condition)
    tokens = _match(query.words)
    return (
        _by_words(reader, order, tokens, condition) if tokens else by_table(reader, order, "NOT INDEXED", condition)
    )


def _by_words(reader: Reader, order: Order, tokens: str, condition: Condition) -> Select:
    """The range of time is a range of rowids, which is what makes the full-text index fast."""
    sql = (
        f"SELECT {order.columns}, log_text.rowid FROM log_text LEFT JOIN log ON id = log_text.rowid"
        " WHERE log_text MATCH ? AND log_text.rowid BETWEEN ? AND ?"
        f" AND (id IS NULL OR ({condition.sql})) ORDER BY log_text.rowid {order.direction} LIMIT ?"
    )

    def select(low: int, high: int, count: int) -> list[Row]:
        rows = reader.rows(sql, (tokens, low, high, *condition.values, count))
        if any(row[0] is None for row in rows):
            raise Damaged(reader.file, "the text index leads to a line that is not there")
        return [row[:-1] for row in rows]

    return select


def _match(words: str) -> str:
    """The FTS5 expression for lines that hold all the words' tokens; a word that ends in ``*`` is a beginning."""
    terms = []
    for word in words.split():
        tokens = _TOKEN.findall(word)
        terms += [f'"{token}"' for token in tokens]
        if tokens and word.endswith("*"):
            terms[-1] += "*"
    return " AND ".join(terms)


def _verified(query: LogQuery, record: LogRecord) -> bool:
    """Hashes may collide, and of a word such as 10.0.0.1 the index knows only that its four parts occur."""
    asked = query.call_ids or query.conf_ids or query.accounts
    if asked and not (
        record.call_id in query.call_ids or record.conf_id in query.conf_ids or record.account in query.accounts
    ):
        return False
    text = record.text.lower()
    tokens = set(_TOKEN.findall(text))
    for word in query.words.lower().split():
        if word in tokens:
            continue
        bare = word.removesuffix("*")
        if bare not in text or (_TOKEN.fullmatch(word)):
            return False
        if word != bare and _TOKEN.fullmatch(bare) and not any(token.startswith(bare) for token in tokens):
            return False
    return True


def key_hashes(record: LogRecord) -> tuple[int, ...]:
    return _key_hashes(record.environment, record.call_id, record.conf_id, record.account)


@lru_cache(1024)  # lines of one call come together
def _key_hashes(environment: str, call_id: str, conf_id: str, account: str) -> tuple[int, ...]:
    keys = (("\x02", call_id), ("\x03", conf_id), ("\x04", account))
    return tuple(call_hash(environment, prefix + value) for prefix, value in keys if value)


def _record(reader: Reader, row: Row) -> LogRecord:
    """Raises Damaged where the row is nothing that a writer writes."""
    try:
        return log_record(row, reader.file.start_us, reader.word)
    except (ValueError, TypeError, LookupError) as error:
        raise Damaged(reader.file, f"log line {row[0]!r} makes no sense ({error!r})") from error


def log_record(row: Row, midnight_us: int, word: Callable[[Stored], str]) -> LogRecord:
    """Raises ValueError, TypeError, LookupError where the columns make no sense."""
    id_, environment, late, kind, node, level, call_id, conf_id, account, text, fields = row
    return LogRecord(
        environment=word(environment),
        time_us=midnight_us + (id_ >> LOW_BITS) - late,
        kind=word(kind),
        node=word(node),
        level=word(level),
        text=readable(text),
        call_id=readable(call_id),
        conf_id=readable(conf_id),
        account=readable(account),
        fields=json.loads(fields) if fields else {},
    )
