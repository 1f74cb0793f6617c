"""Reading rows of one table in the order of their ids, by the table itself or by index entries that lead to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from ringback.events.sqlite.readers import Reader
from ringback.events.sqlite.schema import LOW_BITS, Damaged
from ringback.events.store import DAY_US

_FIRST_ROWS, _MORE_ROWS = 64, 2048
_SLICES_AT_ONCE = 16

Row = tuple[Any, ...]
Select = Callable[[int, int, int], list[Row]]
"""(low id, high id, n): the first n rows in [low, high], in the order of the search."""


@dataclass(frozen=True, slots=True)
class Condition:
    sql: str
    values: list[Any]


@dataclass(frozen=True, slots=True)
class Order:
    """A table and the way it is read."""

    table: str  # leg | log | audit
    columns: str  # the id first
    newest_first: bool

    @property
    def direction(self) -> str:
        return "DESC" if self.newest_first else "ASC"


@dataclass(frozen=True, slots=True)
class Entries:
    """Index entries that lead to the rows wanted: those of `table` that meet any of the tests."""

    table: str  # leg_key leg_number leg_number_reversed log_key audit_key audit_word
    tests: list[Condition]

    def select(self, slices: Sequence[int], low: int, high: int) -> Condition:
        """The ids they lead to, as `row`."""
        column = self.table.partition("_")[0]
        marks = ", ".join("?" * len(slices))
        sql = " UNION ".join(
            f"SELECT DISTINCT {column} AS row FROM {self.table}"
            f" WHERE slice IN ({marks}) AND {test.sql} AND {column} BETWEEN ? AND ?"
            for test in self.tests
        )
        return Condition(sql, [value for test in self.tests for value in (*slices, *test.values, low, high)])


def id_range(midnight_us: int, start_us: int, end_us: int, bits: int = LOW_BITS) -> tuple[int, int]:
    """Ids (both inclusive) of rows of that day that begin in [start_us, end_us)."""
    first = min(max(start_us - midnight_us, 0), DAY_US)
    last = min(max(end_us - midnight_us, 0), DAY_US)
    return first << bits, (last << bits) - 1


def pages(select: Select, order: Order, low: int, high: int) -> Iterator[Row]:
    """All rows, fetched as they are asked for."""
    count = _FIRST_ROWS
    while low <= high:
        found = select(low, high, count)
        yield from found
        if len(found) < count:
            return
        if order.newest_first:
            high = found[-1][0] - 1
        else:
            low = found[-1][0] + 1
        count = _MORE_ROWS


def by_table(reader: Reader, order: Order, index: str, condition: Condition) -> Select:
    """`index`: NOT INDEXED for the table itself, or INDEXED BY one that sorts by id."""
    sql = (
        f"SELECT {order.columns} FROM {order.table} {index} WHERE id BETWEEN ? AND ? AND {condition.sql}"
        f" ORDER BY id {order.direction} LIMIT ?"
    )
    return lambda low, high, count: reader.rows(sql, (low, high, *condition.values, count))


def by_entries(reader: Reader, order: Order, wanted: Entries, condition: Condition) -> Select:
    """Slice by slice in the order of the search; an entry without its row is damage, not a row less."""

    def select(low: int, high: int, count: int) -> list[Row]:
        slices = _slices(reader, order, low, high)
        found: list[Row] = []
        begin, step = 0, 1
        while begin < len(slices):
            if len(found) >= count and _comes_later(order, slices[begin][1], found[-1][0]):
                break
            ids = wanted.select([id_ for id_, _ in slices[begin : begin + step]], low, high)
            rows = reader.rows(
                f"SELECT {order.columns}, entry.row FROM ({ids.sql}) AS entry LEFT JOIN {order.table} ON id = entry.row"
                f" WHERE id IS NULL OR ({condition.sql}) ORDER BY entry.row {order.direction} LIMIT ?",
                (*ids.values, *condition.values, count),
            )
            if any(row[0] is None for row in rows):
                raise Damaged(reader.file, f"an index entry leads to a {order.table} that is not there")
            found += [row[:-1] for row in rows]
            found = sorted(found, key=itemgetter(0), reverse=order.newest_first)[:count]
            begin, step = begin + step, min(step * 2, _SLICES_AT_ONCE)
        return found

    return select


def by_spans(spans: Sequence[tuple[int, int]], order: Order, table: Select) -> Select:
    """`table`, but only where the id lies in one of the spans, which are sorted and apart."""
    ordered = sorted(spans, reverse=order.newest_first)

    def select(low: int, high: int, count: int) -> list[Row]:
        found: list[Row] = []
        for first, last in ordered:
            if first <= high and last >= low and len(found) < count:
                found += table(max(first, low), min(last, high), count - len(found))
        return found

    return select


def all_slices(reader: Reader, low: int, high: int) -> list[int]:
    """Of those that hold rows with ids in [low, high]."""
    return [id_ for (id_,) in reader.rows("SELECT id FROM slice WHERE last >= ? AND first <= ?", (low, high))]


def _slices(reader: Reader, order: Order, low: int, high: int) -> list[Row]:
    """(slice, the id of its first row in the order of the search)."""
    edge = "last" if order.newest_first else "first"
    return reader.rows(
        f"SELECT id, {edge} FROM slice WHERE last >= ? AND first <= ? ORDER BY {edge} {order.direction}", (low, high)
    )


def _comes_later(order: Order, id_: int, than: int) -> bool:
    return id_ < than if order.newest_first else id_ > than
