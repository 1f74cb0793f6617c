"""Finding legs in one segment.

The most selective condition drives: Call-IDs, keys and numbers by their entries; codes and troubled legs by their
partial indexes; rare addresses by the slices they occur in; everything else by the table in order of time. The other
conditions are tested on the rows that come.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from ringback.events.sqlite import rows
from ringback.events.sqlite.entries import Condition, Entries, Order, Select, by_entries, by_spans, by_table, pages
from ringback.events.sqlite.readers import Reader
from ringback.events.sqlite.sip_writer import key_hash
from ringback.events.store import FINE_OUTCOMES, LegQuery, LegRow, NumberPattern, call_hash


def legs(reader: Reader, query: LegQuery, low: int, high: int, *, newest_first: bool = True) -> Iterator[LegRow]:
    """Those of the query with an id in [low, high], in order of their start."""
    condition = conditions(reader, query)
    if condition is None:
        return
    order = Order("leg", rows.COLUMNS, newest_first)
    for row in pages(_driver(reader, order, query, condition), order, low, high):
        leg = reader.leg(row)
        if verified(query, leg):
            yield leg


def conditions(reader: Reader, query: LegQuery) -> Condition | None:
    """What can be tested on the row in SQL; None where no row of the segment can meet it."""
    parts: list[str] = []
    values: list[Any] = []

    def among(column: str, stored: Sequence[Any]) -> None:
        parts.append(f"{column} IN ({', '.join('?' * len(stored))})")
        values.extend(stored)

    words = {"environment": query.environments, "kind": query.kinds, "outcome": query.outcomes}
    for column, texts in words.items():
        if texts or column == "environment":
            numbers = reader.word_ids(texts)
            if not numbers:
                return None
            among(column, numbers)
    if query.methods:
        among(
            "method", [*reader.word_ids(query.methods), *map(rows.storable, query.methods)]
        )  # a rare one may stand in the row itself
    if query.codes:
        among("code", [code + rows.CODE for code in query.codes])
    if query.troubled is not None:
        fine = reader.word_ids(sorted(FINE_OUTCOMES))
        test = f"(trouble <> {rows.TROUBLE} OR outcome NOT IN ({', '.join('?' * len(fine))}))"
        parts.append(test if query.troubled else f"NOT {test}")
        values.extend(fine)
    if query.min_duration_ms is not None:
        parts.append("duration >= ?")
        values.append(query.min_duration_ms + rows.DURATION)
    if query.max_duration_ms is not None:
        parts.append("duration <= ?")
        values.append(query.max_duration_ms + rows.DURATION)
    if query.call_id_prefix:
        ranges = rows.text_prefix(query.call_id_prefix)
        parts.append(f"({' OR '.join(['call_id >= ? AND call_id < ?'] * len(ranges))})")
        values += [edge for each in ranges for edge in each]
    if query.addresses or query.agents:
        routes = _routes(reader, query)
        if not routes:
            return None
        parts.append("route IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(routes))
    if query.number and _by_row(query.number):
        parts.append("instr(numbers, ?)")
        values.append(rows.storable(query.number.text))
    return Condition(" AND ".join(parts), values)


def verified(query: LegQuery, leg: LegRow) -> bool:
    """What hashes and packed columns cannot tell for sure."""
    if query.call_ids and leg.call_id not in query.call_ids:
        return False
    if query.call_hashes and call_hash(leg.environment, leg.call_id) not in query.call_hashes:
        return False
    if query.keys and leg.keys.isdisjoint(query.keys):
        return False
    if query.numbers and leg.numbers.keys().isdisjoint(query.numbers):
        return False
    if query.number is None:
        return True
    return any(
        query.number.matches(text) and (not query.roles or roles & query.roles) for text, roles in leg.numbers.items()
    )


def needs_verifying(query: LegQuery) -> bool:
    """Whether `conditions` and `entries` alone could let a wrong leg through."""
    hashed = query.call_ids or query.call_hashes or query.keys
    return bool(hashed or query.numbers or (query.number and (query.roles or _by_row(query.number))))


def entries(query: LegQuery) -> Entries | None:
    """None where the query names nothing that has entries."""
    hashes = list(query.call_hashes) or [
        call_hash(environment, call_id) for environment in query.environments for call_id in query.call_ids
    ]
    if not hashes:
        hashes = [key_hash(environment, key) for environment in query.environments for key in query.keys]
    if hashes:
        return Entries("leg_key", [Condition(f"hash IN ({', '.join('?' * len(hashes))})", [*hashes])])
    if query.numbers:
        packed = [rows.packed_number(text) for text in query.numbers]
        return Entries("leg_number", [Condition(f"number IN ({', '.join('?' * len(packed))})", [*packed])])
    number = query.number
    if number is None or _by_row(number):
        return None
    if number.match == "exact":
        return Entries("leg_number", [Condition("number = ?", [rows.packed_number(number.text)])])
    table, text = (
        ("leg_number_reversed", number.text[::-1]) if number.match == "suffix" else ("leg_number", number.text)
    )
    return Entries(table, [Condition("number >= ? AND number < ?", [*each]) for each in rows.packed_prefix(text)])


def _by_row(number: NumberPattern) -> bool:
    """Whether the number cannot be looked up by its beginning or end."""
    return number.match == "contains" or not number.text


def _driver(reader: Reader, order: Order, query: LegQuery, condition: Condition) -> Select:
    wanted = entries(query)
    if wanted:
        return by_entries(reader, order, wanted, condition)
    unusual = Condition("unusual = 1 AND " + condition.sql, condition.values)
    if query.codes and min(query.codes) >= rows.CODE_OF_TROUBLE:
        return by_table(reader, order, "INDEXED BY leg_code", unusual)
    if query.troubled or (query.outcomes and FINE_OUTCOMES.isdisjoint(query.outcomes)):
        return by_table(reader, order, "INDEXED BY leg_unusual", unusual)
    table = by_table(reader, order, "NOT INDEXED", condition)
    if query.addresses or query.agents:
        return by_spans(_spans(reader, _routes(reader, query)), order, table)
    return table


def _routes(reader: Reader, query: LegQuery) -> list[int]:
    """Numbers of the sets of addresses and agents that the query admits."""
    tests: list[str] = []
    values: list[Any] = []
    for column, wanted in (("addresses", query.addresses), ("agents", query.agents)):
        if wanted:
            tests.append(f"({' OR '.join([f'instr({column}, ?)'] * len(wanted))})")
            values += [
                "\n" + (text[:-1] if column == "addresses" and text.endswith("*") else text + "\n") for text in wanted
            ]
    return [id_ for (id_,) in reader.rows(f"SELECT id FROM route WHERE {' AND '.join(tests)}", values)]


def _spans(reader: Reader, routes: Sequence[int]) -> list[tuple[int, int]]:
    """Where the slices lie that have legs of these routes; overlapping ones as one."""
    spans: list[tuple[int, int]] = []
    for first, last in reader.rows(
        "SELECT first, last FROM slice WHERE first IS NOT NULL AND id IN (SELECT slice FROM route_slice WHERE route IN"
        " (SELECT value FROM json_each(?))) ORDER BY first",
        (json.dumps(routes),),
    ):
        if spans and first <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], last))
        else:
            spans.append((first, last))
    return spans
