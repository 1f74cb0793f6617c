"""Writing one day's segment of legs and blocks: everything of a batch in one transaction.

A leg is inserted once, with the index entries of its numbers and keys; afterwards its row is updated in place, and
only numbers and keys that are new make entries. Where a leg's messages lie is a chain: its row names its last block,
and each part of a block names the leg's block before. That costs 12 bytes a part and no index.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from zlib import crc32

from ringback.events.sqlite import rows
from ringback.events.sqlite.files import SegmentFile
from ringback.events.sqlite.parts import COUNT_BITS
from ringback.events.sqlite.parts import packed as packed_parts
from ringback.events.sqlite.rows import HEAD, Stored, keys_column, packed_number
from ringback.events.sqlite.schema import LOW_BITS
from ringback.events.sqlite.segment_writer import SegmentWriter
from ringback.events.store import BlockWrite, LegRow, call_hash

_MOST = (1 << COUNT_BITS) - 1
_LOW_MASK = (1 << LOW_BITS) - 1
_ROUTES_KEPT = 100_000  # a route that fell out of memory is stored once more: harmless


@dataclass(slots=True)
class Known:
    """What of a leg is stored, kept on the leg (`LegRow.engine`) so that its next write touches only what changed."""

    writer: SipWriter
    id: int
    slice: int
    head: int  # id of its last block
    route: int
    nodes: int  # addresses and agents in that route
    roles: int  # sum of the numbers' Role bits: grows with every new number and every new role
    keys: int
    shape: int  # hash of what the first messages settle


class NewEntries:
    """Index entries to be made: (slice, what is looked up, leg)."""

    def __init__(self) -> None:
        self.keys: list[tuple[int, int, int]] = []
        self.numbers: list[tuple[int, Stored, int]] = []
        self.reversed: list[tuple[int, Stored, int]] = []

    def add(self, leg: LegRow, slice_: int, id_: int) -> None:
        """Those of its numbers and keys; that of its Call-ID is made with the row."""
        for key in leg.keys:
            self.keys.append((slice_, key_hash(leg.environment, key), id_))
        numbers, reversed_ = self.numbers, self.reversed
        for number in leg.numbers:
            numbers.append((slice_, packed_number(number), id_))
            reversed_.append((slice_, packed_number(number[::-1]), id_))

    def store(self, connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT OR IGNORE INTO leg_key VALUES (?, ?, ?)", self.keys)
        connection.executemany("INSERT OR IGNORE INTO leg_number VALUES (?, ?, ?)", self.numbers)
        connection.executemany("INSERT OR IGNORE INTO leg_number_reversed VALUES (?, ?, ?)", self.reversed)


class SipWriter(SegmentWriter):
    """Not thread-safe."""

    def __init__(self, file: SegmentFile) -> None:
        super().__init__(file)
        self._routes: dict[tuple[str | None, ...], int] = {}
        self._fresh_routes: list[tuple[str | None, ...]] = []
        self._route_slices: set[tuple[int, int]] = set()
        self._last_route = 0
        self._route_rows: list[tuple[int, Stored, Stored]] = []  # to be stored by the transaction
        self._route_slice_rows: list[tuple[int, int]] = []
        self._after: list[tuple[LegRow, Known]] = []  # what to tell the legs when the transaction is durable
        self._moved: list[tuple[Known, int]] = []  # last blocks of legs of which nothing else is new

    def rolled_back(self) -> None:
        for route in self._fresh_routes:
            del self._routes[route]
        self._route_slices.clear()
        self._route_rows.clear()
        self._route_slice_rows.clear()
        self._after.clear()
        self._moved.clear()

    def committed(self) -> None:
        self._fresh_routes.clear()
        for leg, known in self._after:
            leg.engine = known
            leg.ref = f"{self.file.name}/{known.id:x}"
        for known, head in self._moved:
            known.head = head
        self._after.clear()
        self._moved.clear()

    def stage(
        self,
        legs: Sequence[LegRow],
        blocks: Sequence[BlockWrite],
        counts: Iterable[tuple[str, int, str, int]],
        marks: Mapping[str, str],
        marked_us: int,
    ) -> None:
        """Into the open transaction. The legs learn of it when `committed`. Of marks of one name in several days the
        one with the highest `marked_us` counts."""
        self._fresh_routes.clear()
        (self._last_route,) = self.connection.execute("SELECT coalesce(max(id), 0) FROM route").fetchone()
        new: list[LegRow] = []
        changed: list[tuple[LegRow, Known]] = []
        for leg in {id(leg): leg for leg in legs}.values():
            known = leg.engine
            if isinstance(known, Known) and known.writer is self:
                changed.append((leg, known))
            elif leg.ref and (found := self._found(leg)):
                changed.append((leg, found))
            else:
                new.append(leg)
        slice_ = self.slice()
        midnight = self.file.start_us
        # Legs of one microsecond are apart by their Call-IDs; the id stays the same when a batch is tried again.
        wanted = [
            (
                leg.started_us - midnight << LOW_BITS | crc32(leg.call_id.encode(errors="surrogatepass")) & _LOW_MASK,
                id(leg),
            )
            for leg in new
        ]
        ids = self.free_ids("leg", wanted)
        ends = {key: (id_, 0) for key, id_ in ids.items()}
        ends.update((id(leg), (known.id, known.head)) for leg, known in changed)
        heads = self._blocks(blocks, ends)
        self._update(changed, heads)
        self._insert(new, ids, heads, slice_)
        self._store_routes()
        self._count(counts)
        self.executemany(
            "INSERT OR REPLACE INTO mark VALUES (?, ?, ?)",
            [(name, value, marked_us) for name, value in marks.items()],
        )
        last_us = max((block.ended_us for block in blocks), default=0)
        last_us = max([last_us, *(leg.ended_us for leg in new)])
        self.grow_slice(slice_, ids.values(), sum(block.messages for block in blocks), last_us)

    def _found(self, leg: LegRow) -> Known | None:
        """What is stored of a leg that another writer (or a reader) hands on. None: not in this segment."""
        name, _, id_ = (leg.ref or "").partition("/")
        if name != self.file.name:
            return None
        row = self.connection.execute(
            "SELECT slice, head, route, call_id FROM leg WHERE id = ?", (int(id_, 16),)
        ).fetchone()
        if row is None or rows.readable(row[3]) != leg.call_id:
            return None
        # Nothing compares equal to the impossible figures: the whole row is written anew.
        return Known(self, int(id_, 16), row[0], row[1] - HEAD, row[2], -1, -1, -1, 0)

    def _blocks(self, blocks: Sequence[BlockWrite], ends: dict[int, tuple[int, int]]) -> dict[int, int]:
        """Store the blocks. `ends`: id(leg) -> (its id, its last block so far); returns id(leg) -> its last block."""
        if not blocks:
            return {}
        (number,) = self.connection.execute("SELECT coalesce(max(id), 0) FROM block").fetchone()
        heads: dict[int, int] = {}
        values = []
        for block in blocks:
            number += 1
            parts, before = array("Q"), array("I")
            position = 0
            for part in block.parts:
                key, first, count = id(part.leg), part.first, part.count
                if key not in ends or first < position or count < 1 or first + count > min(block.messages, _MOST):
                    raise ValueError(
                        f"messages {first}+{count} of the block at {block.started_us} belong to {part.leg.call_id!r}:"
                        " not a leg of this batch and day, or not in order"
                    )
                if first != position:  # what lies between belongs to no leg
                    parts.append(first - position)
                    before.append(0)
                leg, head = ends[key]
                parts.append(leg << COUNT_BITS | count)
                before.append(heads.get(key, head))
                position = first + count
                heads[key] = number
            packed = packed_parts(before, parts)
            checksum = crc32(packed, crc32(block.data))
            values.append((number, block.started_us, block.ended_us, block.messages, checksum, packed, block.data))
        self.executemany("INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        return heads

    def _insert(self, new: Sequence[LegRow], ids: dict[int, int], heads: dict[int, int], slice_: int) -> None:
        word, phrase_word = self.words.__getitem__, self.phrases.__getitem__
        legs: list[tuple[Stored, ...]] = []
        entries = NewEntries()
        for leg in new:
            key = id(leg)
            leg_id, head = ids[key], heads.get(key, 0)
            environment = leg.environment
            route = self._route(leg, slice_)
            (
                outcome, code, unusual, trouble, duration, ended, answered, messages, head_, phrase, reason, _
            ) = rows.mutable_columns(leg, head, word, phrase_word, leg_id)  # fmt: skip
            legs.append(
                (
                    leg_id, slice_, word(environment), word(leg.kind), phrase_word(leg.method),
                    outcome, code, unusual, trouble, duration, ended, answered, messages, head_, phrase, reason,
                    *rows.rest_columns(leg, route),
                    rows.storable(leg.call_id), rows.numbers_column(leg.numbers), keys_column(leg.keys),
                )
            )  # fmt: skip
            entries.keys.append((slice_, call_hash(environment, leg.call_id), leg_id))
            entries.add(leg, slice_, leg_id)
            self._after.append((leg, _known(self, leg, leg_id, slice_, head, route)))
        legs.sort(key=itemgetter(0))
        self.executemany(rows.INSERT, legs)
        entries.store(self.connection)

    def _update(self, changed: Sequence[tuple[LegRow, Known]], heads: dict[int, int]) -> None:
        word, phrase_word = self.words.__getitem__, self.phrases.__getitem__
        updates: list[tuple[Stored, ...]] = []
        rest: list[tuple[Stored, ...]] = []
        entries = NewEntries()
        for leg, known in changed:
            head = heads.get(id(leg), known.head)
            updates.append(rows.mutable_columns(leg, head, word, phrase_word, known.id))
            same_nodes = known.nodes == len(leg.addresses) + len(leg.agents)
            if (
                same_nodes
                and known.roles == sum(leg.numbers.values())
                and known.keys == len(leg.keys)
                and known.shape == _shape(leg)
            ):
                if head != known.head:
                    self._moved.append((known, head))
                continue
            route = known.route if same_nodes else self._route(leg, known.slice)
            rest.append(
                (
                    word(leg.kind), phrase_word(leg.method), *rows.rest_columns(leg, route),
                    rows.numbers_column(leg.numbers), keys_column(leg.keys), known.id,
                )
            )  # fmt: skip
            entries.add(leg, known.slice, known.id)
            self._after.append((leg, _known(self, leg, known.id, known.slice, head, route)))
        self.executemany(rows.UPDATE, updates)
        self.executemany(rows.UPDATE_REST, rest)
        entries.store(self.connection)

    def _route(self, leg: LegRow, slice_: int) -> int:
        """The number of the leg's addresses and agents; notes that the slice has legs of that route."""
        nodes = (*leg.addresses, None, *leg.agents)
        route = self._routes.get(nodes)
        if route is None:
            if len(self._routes) >= _ROUTES_KEPT:
                self._routes.clear()
                self._fresh_routes.clear()
            self._last_route += 1
            route = self._routes[nodes] = self._last_route
            self._route_rows.append((route, rows.path_list(leg.addresses), rows.path_list(leg.agents)))
            self._fresh_routes.append(nodes)
        if (route, slice_) not in self._route_slices:
            if len(self._route_slices) >= _ROUTES_KEPT:
                self._route_slices.clear()
            self._route_slice_rows.append((route, slice_))
            self._route_slices.add((route, slice_))
        return route

    def _store_routes(self) -> None:
        self.executemany("INSERT INTO route VALUES (?, ?, ?)", self._route_rows)
        self.executemany("INSERT OR IGNORE INTO route_slice VALUES (?, ?)", self._route_slice_rows)
        self._route_rows.clear()
        self._route_slice_rows.clear()

    def _count(self, counts: Iterable[tuple[str, int, str, int]]) -> None:
        sums: dict[tuple[Stored, Stored, Stored], int] = {}
        word = self.words.__getitem__
        for environment, minute_us, outcome, delta in counts:
            key = ((minute_us - self.file.start_us) // 60_000_000, word(environment), word(outcome))
            sums[key] = sums.get(key, 0) + delta
        self.executemany(
            "INSERT INTO minute VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET sessions = sessions + excluded.sessions",
            [(*key, delta) for key, delta in sums.items() if delta],
        )


def key_hash(environment: str, key: str) -> int:
    """Kept apart from Call-IDs by a byte that neither holds."""
    return call_hash(environment, "\x01" + key)


def _shape(leg: LegRow) -> int:
    return hash((leg.kind, leg.method, leg.caller, leg.called, leg.source, leg.destination))


def _known(writer: SipWriter, leg: LegRow, id_: int, slice_: int, head: int, route: int) -> Known:
    return Known(
        writer, id_, slice_, head, route,
        len(leg.addresses) + len(leg.agents), sum(leg.numbers.values()), len(leg.keys), _shape(leg),
    )  # fmt: skip
