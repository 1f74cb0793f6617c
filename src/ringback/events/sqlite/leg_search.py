"""Finding legs in one segment.

The most selective condition drives: Call-IDs, keys and numbers by their entries, slice by slice and newest first; codes
and troubled legs by their partial indexes; rare addresses by the slices they occur in; everything else by the table in
order of time. The other conditions are tested on the rows that come.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from ringback.events.sqlite import rows
from ringback.events.sqlite.readers import Reader
from ringback.events.sqlite.rows import Stored
from ringback.events.sqlite.schema import LOW_BITS, Damaged
from ringback.events.sqlite.sip_writer import key_hash
from ringback.events.store import DAY_US, FINE_OUTCOMES, LegQuery, LegRow, NumberPattern, call_hash

_FIRST_ROWS, _MORE_ROWS = 64, 2048
_SLICES_AT_ONCE = 16

Row = tuple[Any, ...]
Select = Callable[[int, int, int], list[Row]]  # (low id, high id, n): the newest n rows in there, newest first


@dataclass(frozen=True, slots=True)
class Condition:
    sql: str
    values: list[Any]


def id_range(midnight_us: int, start_us: int, end_us: int) -> tuple[int, int]:
    """Ids (both inclusive) of rows that begin in [start_us, end_us)."""
    first = min(max(start_us - midnight_us, 0), DAY_US)
    last = min(max(end_us - midnight_us, 0), DAY_US)
    return first << LOW_BITS, (last << LOW_BITS) - 1


def legs(reader: Reader, query: LegQuery, low: int, high: int) -> Iterator[LegRow]:
    """Those of the query with an id in [low, high], newest first."""
    condition = conditions(reader, query)
    if condition is None:
        return
    select = _driver(reader, query, condition)
    count = _FIRST_ROWS
    while low <= high:
        found = select(low, high, count)
        for row in found:
            leg = reader.leg(row)
            if verified(query, leg):
                yield leg
        if len(found) < count:
            return
        high = found[-1][0] - 1
        count = _MORE_ROWS


def oldest_legs(reader: Reader, query: LegQuery, low: int, high: int) -> Iterator[LegRow]:
    """As `legs`, for a query that has entries, the oldest first."""
    condition, wanted = conditions(reader, query), entries(query)
    if condition is None or wanted is None:
        return
    ids: set[int] = set()
    slices = [id_ for id_, _ in slices_between(reader, low, high)]
    for begin in range(0, len(slices), _MORE_ROWS):
        select = wanted.select(slices[begin : begin + _MORE_ROWS], low, high)
        ids.update(id_ for (id_,) in reader.rows(select.sql, select.values))
    for id_ in sorted(ids):
        row = reader.connection.execute(f"SELECT {rows.COLUMNS} FROM leg WHERE id = ?", (id_,)).fetchone()
        if row is None:
            raise entry_without_leg(reader)
        leg = reader.leg(row)
        if leg.environment in query.environments and verified(query, leg):
            yield leg


def entry_without_leg(reader: Reader) -> Damaged:
    return Damaged(reader.file, "an index entry leads to a leg that is not there")


def conditions(reader: Reader, query: LegQuery) -> Condition | None:
    """What can be tested on the row in SQL; None where no row of the segment can meet it."""
    parts: list[str] = []
    values: list[Any] = []

    def among(column: str, stored: Sequence[Any]) -> None:
        parts.append(f"{column} IN ({', '.join('?' * len(stored))})")
        values.extend(stored)

    words = {
        "environment": query.environments,
        "kind": query.kinds,
        "method": query.methods,
        "outcome": query.outcomes,
    }
    for column, texts in words.items():
        if texts or column == "environment":
            stored = reader.word_ids(texts)
            if column != "method" and not stored:
                return None
            among(column, [*stored, *texts])
    if query.codes:
        among("code", [code + rows.CODE for code in query.codes])
    if query.troubled is not None:
        fine = [*reader.word_ids(sorted(FINE_OUTCOMES)), *sorted(FINE_OUTCOMES)]
        marks = ", ".join("?" * len(fine))
        test = f"(trouble <> {rows.TROUBLE} OR outcome NOT IN ({marks}))"
        parts.append(test if query.troubled else f"NOT {test}")
        values.extend(fine)
    if query.min_duration_ms is not None:
        parts.append("duration >= ?")
        values.append(query.min_duration_ms + rows.DURATION)
    if query.max_duration_ms is not None:
        parts.append("duration <= ?")
        values.append(query.max_duration_ms + rows.DURATION)
    if query.call_id_prefix:
        low = rows.storable(query.call_id_prefix)
        parts.append("call_id >= ? AND call_id < ?")
        values += [low, low + "\U0010ffff" if isinstance(low, str) else bytes(low or b"") + b"\xff" * 4]
    if query.addresses or query.agents:
        routes = _routes(reader, query)
        if not routes:
            return None
        parts.append("route IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(routes))
    if query.number and by_row(query.number):
        parts.append("instr(numbers, ?)")
        values.append(rows.storable(query.number.text))
    return Condition(" AND ".join(parts), values)


def by_row(number: NumberPattern) -> bool:
    """Whether the number cannot be looked up by its beginning or end."""
    return number.match == "contains" or not number.text


def verified(query: LegQuery, leg: LegRow) -> bool:
    """What hashes and packed columns cannot tell for sure."""
    if query.call_ids and leg.call_id not in query.call_ids:
        return False
    if query.call_hashes and call_hash(leg.environment, leg.call_id) not in query.call_hashes:
        return False
    if query.keys and leg.keys.isdisjoint(query.keys):
        return False
    if query.number is None:
        return True
    return any(
        query.number.matches(text) and (not query.roles or roles & query.roles) for text, roles in leg.numbers.items()
    )


def _routes(reader: Reader, query: LegQuery) -> list[int]:
    tests: list[str] = []
    values: list[Stored] = []
    for column, wanted in (("addresses", query.addresses), ("agents", query.agents)):
        if wanted:
            tests.append("(" + " OR ".join([f"instr({column}, ?)"] * len(wanted)) + ")")
            values += [
                "\n" + (text[:-1] if column == "addresses" and text[-1:] == "*" else text + "\n") for text in wanted
            ]
    return [id_ for (id_,) in reader.rows(f"SELECT id FROM route WHERE {' AND '.join(tests)}", values)]


@dataclass(frozen=True, slots=True)
class Entries:
    """Index entries that lead to the legs wanted: any of the tests on `table`."""

    table: str
    tests: list[Condition]

    def select(self, slices: Sequence[int], low: int, high: int) -> Condition:
        """Ids of legs."""
        marks = ", ".join("?" * len(slices))
        sql = " UNION ".join(
            f"SELECT DISTINCT leg FROM {self.table} WHERE slice IN ({marks}) AND {test.sql} AND leg BETWEEN ? AND ?"
            for test in self.tests
        )
        return Condition(sql, [value for test in self.tests for value in (*slices, *test.values, low, high)])


def entries(query: LegQuery) -> Entries | None:
    """None where the query names nothing that has entries."""
    hashes = list(query.call_hashes) or [
        call_hash(environment, call_id) for environment in query.environments for call_id in query.call_ids
    ]
    if not hashes:
        hashes = [key_hash(environment, key) for environment in query.environments for key in query.keys]
    if hashes:
        return Entries("leg_key", [Condition(f"hash IN ({', '.join('?' * len(hashes))})", [*hashes])])
    number = query.number
    if number is None or by_row(number):
        return None
    if number.match == "exact":
        return Entries("leg_number", [Condition("number = ?", [rows.packed_number(number.text)])])
    table, text = (
        ("leg_number_reversed", number.text[::-1]) if number.match == "suffix" else ("leg_number", number.text)
    )
    return Entries(table, [Condition("number >= ? AND number < ?", [*each]) for each in rows.prefix_ranges(text)])


def slices_between(reader: Reader, low: int, high: int) -> list[tuple[int, int]]:
    """(slice, its highest id) of those that hold rows with ids in [low, high], the newest first."""
    return [
        (id_, last)
        for id_, last in reader.rows(
            "SELECT id, last FROM slice WHERE last >= ? AND first <= ? ORDER BY last DESC", (low, high)
        )
    ]


def _driver(reader: Reader, query: LegQuery, condition: Condition) -> Select:
    wanted = entries(query)
    if wanted:
        return _by_entries(reader, wanted, condition)
    if query.codes and min(query.codes) >= rows.CODE_OF_TROUBLE:
        return _by_table(reader, "INDEXED BY leg_code", "unusual = 1 AND " + condition.sql, condition.values)
    if query.troubled or (query.outcomes and FINE_OUTCOMES.isdisjoint(query.outcomes)):
        return _by_table(reader, "INDEXED BY leg_unusual", "unusual = 1 AND " + condition.sql, condition.values)
    if query.addresses or query.agents:
        return _by_routes(reader, _routes(reader, query), condition)
    return _by_table(reader, "NOT INDEXED", condition.sql, condition.values)


def _by_table(reader: Reader, index: str, test: str, values: Sequence[Any]) -> Select:
    sql = f"SELECT {rows.COLUMNS} FROM leg {index} WHERE id BETWEEN ? AND ? AND {test} ORDER BY id DESC LIMIT ?"
    return lambda low, high, count: reader.rows(sql, (low, high, *values, count))


def _by_entries(reader: Reader, wanted: Entries, condition: Condition) -> Select:
    def select(low: int, high: int, count: int) -> list[Row]:
        slices = slices_between(reader, low, high)
        found: list[Row] = []
        begin, step = 0, 1
        while begin < len(slices):
            if len(found) >= count and found[-1][0] > slices[begin][1]:
                break  # all that is left is older
            group = [id_ for id_, _ in slices[begin : begin + step]]
            ids = wanted.select(group, low, high)
            # An entry without its leg is damage, not a leg less.
            rows_ = reader.rows(
                f"SELECT {rows.COLUMNS}, entry.leg FROM ({ids.sql}) AS entry LEFT JOIN leg ON id = entry.leg"
                f" WHERE id IS NULL OR ({condition.sql}) ORDER BY entry.leg DESC LIMIT ?",
                (*ids.values, *condition.values, count),
            )
            if any(row[0] is None for row in rows_):
                raise entry_without_leg(reader)
            found = sorted([*found, *(row[:-1] for row in rows_)], key=itemgetter(0), reverse=True)[:count]
            begin, step = begin + step, min(step * 2, _SLICES_AT_ONCE)
        return found

    return select


def _by_routes(reader: Reader, routes: Sequence[int], condition: Condition) -> Select:
    """The table, but only where a slice has legs of the routes."""
    spans: list[list[int]] = []
    for first, last in reader.rows(
        "SELECT first, last FROM slice WHERE first IS NOT NULL AND id IN (SELECT slice FROM route_slice WHERE route IN"
        " (SELECT value FROM json_each(?))) ORDER BY first",
        (json.dumps(routes),),
    ):
        if spans and first <= spans[-1][1] + 1:
            spans[-1][1] = max(spans[-1][1], last)
        else:
            spans.append([first, last])
    table = _by_table(reader, "NOT INDEXED", condition.sql, condition.values)

    def select(low: int, high: int, count: int) -> list[Row]:
        found: list[Row] = []
        for first, last in reversed(spans):
            if first <= high and last >= low and len(found) < count:
                found += table(max(first, low), min(last, high), count - len(found))
        return found

    return select
