"""Audit rows of one day: writing them, and finding them by key, by words of names, by kind or by time.

What repeats is said once: type, action, realm and the like are a row's `shape`, the names of the properties its `fields`,
both numbers of small tables that are asked first. Whom a row is about (customer, account, entity), who did it, from which
address and in which request are keys: entries of an index, and bits of the segment's key filter.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import zstandard

from ringback.events.audit import Term, matches, terms, words_of
from ringback.events.sqlite.entries import (
    Condition,
    Entries,
    Order,
    Row,
    Select,
    by_entries,
    by_table,
    pages,
)
from ringback.events.sqlite.files import SegmentFile
from ringback.events.sqlite.key_filter import Group, KeyFilter
from ringback.events.sqlite.readers import Reader
from ringback.events.sqlite.rows import Stored, readable, storable
from ringback.events.sqlite.schema import AUDIT_BITS, Damaged
from ringback.events.sqlite.segment_writer import SegmentWriter
from ringback.events.store import AuditQuery, AuditRow, call_hash

_COLUMNS = (
    "id, slice, record, seq, shape, fields, entity_id, entity_name, customer, customer_name, account, account_name, actor,"
    " address, request, amount, currency, message_key"
)
COLUMNS = _COLUMNS + ", body"
_WITHOUT_BODY = _COLUMNS + ", NULL"
INSERT = f"INSERT INTO audit ({COLUMNS}) VALUES ({', '.join('?' * 19)})"
_LEVEL = 3
_RECORD_MASK = (1 << AUDIT_BITS) - 1
_RECORDS_A_KEY = 6  # bits: that many records, one after the other, are one key of the filter
_MANY = 4  # of so many rows one: read them in turn rather than by entries

Shape = tuple[str, str, str, str, str, bool, str]  # environment, type, action, realm, kind of actor, personal, kind
Texts = Callable[[int], str]


class Facets(dict[str, int]):
    """text -> its number in `table`. A missing one is added in the open transaction."""

    def __init__(self, connection: sqlite3.Connection, table: str) -> None:
        super().__init__()
        self._connection = connection
        self._table = table
        self._fresh: list[str] = []
        self._rows: Counter[int] = Counter()

    def __missing__(self, text: str) -> int:
        row = self._connection.execute(f"SELECT id FROM {self._table} WHERE text = ?", (text,)).fetchone()
        if row is None:
            row = self._connection.execute(
                f"INSERT INTO {self._table} (text, rows) VALUES (?, 0) RETURNING id", (text,)
            ).fetchone()
        self[text] = number = int(row[0])
        self._fresh.append(text)
        return number

    def count(self, number: int, rows: int) -> None:
        self._rows[number] += rows

    def store(self) -> None:
        """What was counted."""
        self._connection.executemany(
            f"UPDATE {self._table} SET rows = rows + ? WHERE id = ?",
            [(rows, id_) for id_, rows in self._rows.items()],
        )
        self._rows.clear()

    def forget(self, *, back: bool) -> None:
        """The transaction ended; `back`: it was rolled back."""
        for text in self._fresh if back else ():
            del self[text]
        self._fresh.clear()
        self._rows.clear()


class Tables:
    """The rows of a segment and what leads to them, written in the open transaction."""

    def __init__(self, connection: sqlite3.Connection, name: Callable[[str], Stored]) -> None:
        """`name`: the number of a text that repeats, or itself."""
        self._connection = connection
        self._name = name
        self._compress = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress
        self.shapes = Facets(connection, "shape")
        self.fields = Facets(connection, "fields")

    def insert(self, rows: Iterable[tuple[int, AuditRow]], slice_: int) -> set[int]:
        """Of (id, row), none of which is there. Returns what belongs into the key filter."""
        columns: list[tuple[Any, ...]] = []
        keys: list[tuple[int, int, int]] = []
        words: list[tuple[int, str, int]] = []
        filtered: set[int] = set()
        for id_, row in rows:
            shape, fields = self.shapes[_shape_text(row)], self.fields[json.dumps(row.properties)]
            self.shapes.count(shape, 1)
            self.fields.count(fields, 1)
            body = row.body.encode(errors="surrogatepass")
            columns.append(
                (
                    id_, slice_, row.id, row.seq, shape, fields, storable(row.entity_id), storable(row.entity_name),
                    row.customer_id, storable(row.customer_name) or None, row.account_id,
                    storable(row.account_name) or None, self._name(row.actor), storable(row.address) or None,
                    storable(row.request_id) or None, row.amount, self._name(row.currency),
                    self._name(row.message_key), self._compress(body) if body else None,
                )
            )  # fmt: skip
            found, named = keys_of(row), words_of(row)
            keys += [(slice_, key, id_) for key in (*found, _shape_key(shape), _fields_key(fields))]
            words += [(slice_, word, id_) for word in named]
            filtered.update(found)
            filtered.update(map(_word_key, named))
            filtered.add(_records_key(row.id >> _RECORDS_A_KEY))
        self._connection.executemany(INSERT, columns)
        self._connection.executemany("INSERT OR IGNORE INTO audit_key VALUES (?, ?, ?)", sorted(keys))
        self._connection.executemany("INSERT INTO audit_word VALUES (?, ?, ?)", sorted(words))
        self.shapes.store()
        self.fields.store()
        return filtered

    def delete(self, id_: int, slice_: int, shape: int, fields: int, row: AuditRow) -> None:
        self.shapes.count(shape, -1)
        self.fields.count(fields, -1)
        keys = (*keys_of(row), _shape_key(shape), _fields_key(fields))
        self._connection.executemany(
            "DELETE FROM audit_key WHERE slice = ? AND hash = ? AND audit = ?", [(slice_, key, id_) for key in keys]
        )
        self._connection.executemany(
            "DELETE FROM audit_word WHERE slice = ? AND word = ? AND audit = ?",
            [(slice_, word, id_) for word in words_of(row)],
        )
        self._connection.execute("DELETE FROM audit WHERE id = ?", (id_,))
        self._connection.execute("UPDATE slice SET rows = rows - 1 WHERE id = ?", (slice_,))
        self.shapes.store()
        self.fields.store()

    def filter_keys(self) -> set[int]:
        """All that belong into the segment's key filter."""
        keys = {key for (key,) in self._connection.execute("SELECT DISTINCT hash FROM audit_key WHERE hash > 0")}
        groups = self._connection.execute(f"SELECT DISTINCT record >> {_RECORDS_A_KEY} FROM audit")
        words = self._connection.execute("SELECT DISTINCT word FROM audit_word")
        return keys | {_records_key(group) for (group,) in groups} | {_word_key(word) for (word,) in words}


class AuditWriter(SegmentWriter):
    """Not thread-safe."""

    def __init__(self, file: SegmentFile) -> None:
        super().__init__(file)
        self._tables = Tables(self.connection, self.phrases.__getitem__)
        self._filter = KeyFilter(file)
        self._decompressor = zstandard.ZstdDecompressor()

    def stage(self, rows: Sequence[AuditRow]) -> None:
        """Into the open transaction: those that are not there, and in place of those that say something else."""
        new = self._without_known({row.id: row for row in rows})
        if not new:
            return
        ids = self._free_ids(new)
        slice_ = self.slice()
        keys = self._tables.insert(zip(ids, new, strict=True), slice_)
        self.grow_slice(slice_, ids, 0, max(row.time_us for row in new))
        self._filter.add(keys, self._tables.filter_keys)

    def committed(self) -> None:
        self._tables.shapes.forget(back=False)
        self._tables.fields.forget(back=False)

    def rolled_back(self) -> None:
        self._tables.shapes.forget(back=True)
        self._tables.fields.forget(back=True)

    def close(self) -> None:
        self._filter.close()
        super().close()

    def _without_known(self, rows: dict[int, AuditRow]) -> list[AuditRow]:
        """In order of time. Those that are there and say something else are taken away."""
        found = self.connection.execute(
            f"SELECT {COLUMNS} FROM audit INDEXED BY audit_record WHERE record IN (SELECT value FROM json_each(?))",
            (json.dumps(list(rows)),),
        ).fetchall()
        texts: dict[str, dict[int, str]] = {}
        if found:
            for table in ("shape", "fields"):
                texts[table] = dict(self.connection.execute(f"SELECT id, text FROM {table}"))
            texts["word"] = {
                id_: readable(text) for id_, text in self.connection.execute("SELECT id, text FROM word")
            }
        for columns in found:
            try:
                stored = audit_row(
                    columns, self.file.start_us, texts["shape"].__getitem__, texts["fields"].__getitem__,
                    lambda word: texts["word"][word] if isinstance(word, int) else readable(word), self._decompressor,
                )  # fmt: skip
            except (ValueError, TypeError, LookupError, zstandard.ZstdError) as error:
                raise Damaged(self.file, f"audit row {columns[0]!r} makes no sense ({error!r})") from error
            if stored == rows[stored.id]:
                del rows[stored.id]
            else:
                self._tables.delete(columns[0], columns[1], columns[4], columns[5], stored)
        return sorted(rows.values(), key=lambda row: (row.time_us, row.id))

    def _free_ids(self, rows: Sequence[AuditRow]) -> list[int]:
        """What `row_id` says; the next one where a record of the same microsecond has it, 2^26 records away."""
        wanted = [row_id(row, self.file.start_us) for row in rows]
        found = self.connection.execute(
            "SELECT id FROM audit WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(wanted),)
        )
        taken = {id_ for (id_,) in found}
        if not taken and len(set(wanted)) == len(wanted):
            return wanted
        ids: list[int] = []
        for id_ in wanted:
            while id_ in taken or self.connection.execute("SELECT 1 FROM audit WHERE id = ?", (id_,)).fetchone():
                id_ += 1
            taken.add(id_)
            ids.append(id_)
        return ids


def row_id(row: AuditRow, midnight_us: int) -> int:
    return row.time_us - midnight_us << AUDIT_BITS | row.id & _RECORD_MASK


def rows(
    reader: Reader, query: AuditQuery, low: int, high: int, columns: str = COLUMNS
) -> Iterator[tuple[int, AuditRow]]:
    """(id, row) of those of the query with an id in [low, high], newest first."""
    for found in _found(reader, query, low, high, columns):
        row = _row(reader, found)
        if matches(query, row):
            yield found[0], row


def ids(reader: Reader, query: AuditQuery, low: int, high: int) -> Iterator[Row]:
    """As `rows`: (id, id of the record)."""
    if query.names:  # words alone do not say that a row matches
        yield from ((id_, row.id) for id_, row in rows(reader, query, low, high, _WITHOUT_BODY))
        return
    yield from _found(reader, query, low, high, "id, record")


def wanted_keys(query: AuditQuery) -> list[Group]:
    """For the key filter: a row has one of each group."""
    groups: list[Group] = [_hashes(query, kind, value) for kind, value in _keyed(query)]
    if query.ids:
        groups.append({_records_key(record >> _RECORDS_A_KEY) for record in query.ids})
    groups += [{_word_key(term.word)} for term in terms(query.names) if not term.begins]
    return groups


def keys_of(row: AuditRow) -> list[int]:
    """The most selective kinds first, as in `_keyed`."""
    values = (row.request_id, row.entity_id, row.account_id, row.customer_id, row.address, row.actor)
    return [
        _hash(row.environment, kind, value) for kind, value in enumerate(values) if value is not None and value != ""
    ]


def _keyed(query: AuditQuery) -> list[tuple[int, str | int]]:
    """(kind, value) of the keys that are asked for."""
    address = "" if query.address.endswith("*") else query.address
    values = (query.request_id, query.entity_id, query.account_id, query.customer_id, address, query.actor)
    return [(kind, value) for kind, value in enumerate(values) if value is not None and value != ""]


def _hashes(query: AuditQuery, kind: int, value: str | int) -> set[int]:
    return {_hash(environment, kind, value) for environment in query.environments}


@lru_cache(maxsize=1 << 16)
def _hash(environment: str, kind: int, value: str | int) -> int:
    return call_hash(environment, f"{kind}\0{value}")


@lru_cache(maxsize=1 << 14)
def _word_key(word: str) -> int:
    return call_hash("", f"word\0{word}")


@lru_cache(maxsize=1 << 10)
def _records_key(group: int) -> int:
    return call_hash("", f"record\0{group}")


def _shape_key(number: int) -> int:
    """Numbers of shapes and of fields stand among the hashes, which are above 0."""
    return -2 * number


def _fields_key(number: int) -> int:
    return -2 * number - 1


def _shape_text(row: AuditRow) -> str:
    return json.dumps(
        [row.environment, row.entity_type, row.action, row.realm, row.actor_kind, row.personal, row.kind]
    )


@lru_cache(maxsize=1 << 12)
def _shape(text: str) -> Shape:
    """Raises ValueError, TypeError."""
    environment, type_, action, realm, actor_kind, personal, kind = json.loads(text)
    return environment, type_, action, realm, actor_kind, personal, kind


@lru_cache(maxsize=1 << 12)
def _properties(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _found(reader: Reader, query: AuditQuery, low: int, high: int, columns: str) -> Iterator[Row]:
    """Those of the query but for the names: of these they hold one word."""
    shapes = _shapes(reader, query)
    fields = _fields(reader, query)
    if shapes and fields != {}:
        order = Order("audit", columns, newest_first=True)
        condition = _condition(reader, query, shapes, fields)
        yield from pages(_driver(reader, order, query, condition, shapes, fields), order, low, high)


def _shapes(reader: Reader, query: AuditQuery) -> dict[int, int]:
    """Number -> rows, of the shapes that the query takes."""
    found = {}
    for number, text, count in reader.rows("SELECT id, text, rows FROM shape WHERE rows > 0"):
        environment, type_, action, realm, _, personal, kind = _shape(text)
        if (
            environment in query.environments
            and (not query.entity_types or type_ in query.entity_types)
            and (not query.actions or action in query.actions)
            and (not query.realms or realm in query.realms)
            and (not query.kind or kind == query.kind)
            and query.personal in (None, personal)
        ):
            found[number] = count
    return found


def _fields(reader: Reader, query: AuditQuery) -> dict[int, int] | None:
    """Number -> rows, of the sets of properties that hold one of those asked for; None: none is."""
    if not query.properties:
        return None
    test = " OR ".join(["instr(text, ?)"] * len(query.properties))
    found = reader.rows(
        f"SELECT id, rows FROM fields WHERE rows > 0 AND ({test})", [json.dumps(name) for name in query.properties]
    )
    return dict(found)


def _condition(
    reader: Reader, query: AuditQuery, shapes: Collection[int], fields: Collection[int] | None
) -> Condition:
    parts = ["shape IN (SELECT value FROM json_each(?))"]
    values: list[Any] = [json.dumps(list(shapes))]
    tests: list[tuple[str, Any]] = [
        ("customer = ?", query.customer_id), ("account = ?", query.account_id),
        ("entity_id = ?", storable(query.entity_id) or None), ("request = ?", storable(query.request_id) or None),
        ("amount >= ?", query.min_amount), ("amount <= ?", query.max_amount),
        ("fields IN (SELECT value FROM json_each(?))", None if fields is None else json.dumps(list(fields))),
        ("record IN (SELECT value FROM json_each(?))", json.dumps(query.ids) if query.ids else None),
    ]  # fmt: skip
    if not query.address.endswith("*"):
        tests.append(("address = ?", storable(query.address) or None))
    elif begins := query.address[:-1]:
        tests += [("address >= ?", storable(begins)), ("address < ?", storable(begins + "\U0010ffff"))]
    if query.actor:
        parts.append("(actor IN (SELECT value FROM json_each(?)) OR actor = ?)")
        values += [json.dumps(reader.word_ids([query.actor])), storable(query.actor)]
    for test, value in tests:
        if value is not None:
            parts.append(test)
            values.append(value)
    return Condition(" AND ".join(parts), values)


def _driver(
    reader: Reader, order: Order, query: AuditQuery, condition: Condition,
    shapes: dict[int, int], fields: dict[int, int] | None,
) -> Select:  # fmt: skip
    if query.ids:
        return by_table(reader, order, "INDEXED BY audit_record", condition)
    for kind, value in _keyed(query):
        return _by_keys(reader, order, condition, _hashes(query, kind, value))
    if found := terms(query.names):
        longest = max(found, key=lambda term: len(term.word))
        return by_entries(reader, order, Entries("audit_word", [_word_test(longest)]), condition)
    if query.min_amount is not None or query.max_amount is not None:
        return by_table(reader, order, "INDEXED BY audit_amount", condition)
    ((held,),) = reader.rows("SELECT coalesce(sum(rows), 0) FROM slice")
    if fields is not None and sum(fields.values()) * _MANY < held:
        return _by_keys(reader, order, condition, map(_fields_key, fields))
    if sum(shapes.values()) * _MANY < held:
        return _by_keys(reader, order, condition, map(_shape_key, shapes))
    return by_table(reader, order, "NOT INDEXED", condition)


def _by_keys(reader: Reader, order: Order, condition: Condition, keys: Iterable[int]) -> Select:
    test = Condition("hash IN (SELECT value FROM json_each(?))", [json.dumps(list(keys))])
    return by_entries(reader, order, Entries("audit_key", [test]), condition)


def _word_test(term: Term) -> Condition:
    if not term.begins:
        return Condition("word = ?", [term.word])
    return Condition("word >= ? AND word < ?", [term.word, term.word + "\U0010ffff"])


def _row(reader: Reader, columns: Row) -> AuditRow:
    """Raises Damaged where the row is nothing that a writer writes."""
    try:
        return audit_row(
            columns, reader.file.start_us, reader.shape, reader.fields, reader.word, reader.decompressor
        )  # fmt: skip
    except (ValueError, TypeError, LookupError, zstandard.ZstdError) as error:
        raise Damaged(reader.file, f"audit row {columns[0]!r} makes no sense ({error!r})") from error


def audit_row(
    columns: Row, midnight_us: int, shape: Texts, fields: Texts, word: Callable[[Stored], str],
    decompressor: zstandard.ZstdDecompressor,
) -> AuditRow:  # fmt: skip
    """Raises ValueError, TypeError, LookupError, ZstdError where the columns make no sense."""
    (
        id_, _, record, seq, shape_, fields_, entity_id, entity_name, customer, customer_name, account, account_name, actor,
        address, request, amount, currency, message_key, body,
    ) = columns  # fmt: skip
    environment, type_, action, realm, actor_kind, personal, _ = _shape(shape(shape_))
    return AuditRow(
        environment=environment,
        id=record,
        seq=seq,
        time_us=midnight_us + (id_ >> AUDIT_BITS),
        entity_type=type_,
        entity_id=readable(entity_id),
        entity_name=readable(entity_name),
        action=action,
        properties=_properties(fields(fields_)),
        realm=realm,
        actor_kind=actor_kind,
        actor=word(actor),
        address=readable(address),
        request_id=readable(request),
        customer_id=customer,
        customer_name=readable(customer_name),
        account_id=account,
        account_name=readable(account_name),
        amount=amount,
        currency=word(currency),
        message_key=word(message_key),
        body=decompressor.decompress(body).decode(errors="surrogatepass") if body else "",
        personal=personal,
    )
