"""What a batch is made of: blocks first, then the legs that lead to them with their counts, the marks last.

So whatever moment the writer dies at, a leg that is found has its messages, and a mark never tells of more than is
stored. Every id follows from what the document says: a batch that is written again, after a time-out or from a spool,
replaces itself and counts once.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ringback.events.opensearch import days, legs
from ringback.events.opensearch.bulk import Action, encoded
from ringback.events.opensearch.days import BLOCKS, COUNTS, LEGS, Names
from ringback.events.opensearch.texts import USUAL, digest, storable
from ringback.events.store import Batch, BlockWrite, LegRow

MOST_MESSAGES = 65_535


@dataclass(frozen=True, slots=True)
class Place:
    day: str
    id: str


class Plan:
    """One batch, ready to be sent. Raises ValueError where a block's part names a leg of another day or none of the
    batch. `writer` sets its rows apart from those that others hold of the same Call-IDs."""

    def __init__(self, batch: Batch, names: Names, writer: str, written_us: int, today: str) -> None:
        self._batch = batch
        self._names = names
        self._writer = writer
        self._written_us = written_us
        self._today = today
        self._legs = list({id(leg): leg for leg in batch.legs}.values())
        # Who goes on after its last mark writes again what it had written since: the legs with the ids that they had.
        owner = owner_of(batch.marks)
        self._owned = {"owner": owner, "batch_us": written_us} if owner else {}
        self._places = {id(leg): _place(leg, owner or writer) for leg in self._legs}
        self._block_days = [self._checked(block) for block in batch.blocks]
        self._content = digest(*self._contents(), size=16)
        for environment in {leg.environment for leg in self._legs} | {count[0] for count in batch.counts}:
            if len(environment) > USUAL:
                raise ValueError(f"an environment's name of {len(environment)} characters")

    @property
    def content(self) -> str:
        """Tells batches apart. Two that only count may be equal and yet be two."""
        return self._content

    @property
    def only_counts(self) -> bool:
        return not (self._legs or self._batch.blocks)

    def name_legs(self) -> None:
        """Sets their `ref`, before anything is sent: a row that is tried again, even by another process, is that row."""
        for leg in self._legs:
            place = self._places[id(leg)]
            leg.ref = legs.ref(place.day, place.id)

    def blocks(self) -> Iterator[Action]:
        for number, (block, day) in enumerate(zip(self._batch.blocks, self._block_days, strict=True)):
            owners = [self._places[id(part.leg)].id for part in block.parts]
            parts = ",".join(f"{part.first}+{part.count}" for part in block.parts)
            id_ = digest(block.data, parts, *owners)
            yield Action(
                self._names.index(BLOCKS, day), id_,
                encoded({
                    "legs": owners, "parts": parts, "started_us": block.started_us, "ended_us": block.ended_us,
                    "written_us": self._written_us + number, "tie": legs.tie(id_), "messages": block.messages,
                    **self._owned, "data": b64encode(block.data).decode(),
                }),
            )  # fmt: skip

    def legs(self) -> Iterator[Action]:
        for leg in self._legs:
            place = self._places[id(leg)]
            yield Action(
                self._names.index(LEGS, place.day), place.id, legs.document(leg, place.id), version=self._written_us
            )

    def counts(self, token: str) -> Iterator[Action]:
        """`token` makes the ids of this batch's counts its own."""
        touched = {place.day for place in self._places.values()} | set(self._block_days)
        for number, (environment, minute_us, outcome, delta) in enumerate(self._batch.counts):
            day = days.text(minute_us)
            touched.add(day)
            if delta:
                document = {
                    "what": "count", "environment": storable(environment), "minute_us": minute_us,
                    "outcome": storable(outcome), "sessions": delta, **self._owned,
                }  # fmt: skip
                yield Action(self._names.index(COUNTS, day), digest(token, str(number)), encoded(document))
        for day in sorted(touched):
            document = {"what": "written", "written_us": self._written_us}
            yield Action(self._names.index(COUNTS, day), f"written-{self._writer}", encoded(document))

    def marks(self) -> Iterator[Action]:
        days_ = {place.day for place in self._places.values()} | set(self._block_days)
        days_ |= {days.text(count[1]) for count in self._batch.counts}
        for name, value in self._batch.marks.items():
            document = {
                "what": "mark", "name": mark_name(name), "value": storable(value), "written_us": self._written_us,
            }  # fmt: skip
            index = self._names.index(COUNTS, max(days_, default=self._today))
            yield Action(index, f"mark-{mark_name(name)}", encoded(document))

    def _checked(self, block: BlockWrite) -> str:
        """The day it belongs to."""
        day = ""
        position = 0
        for part in block.parts:
            place = self._places.get(id(part.leg))
            end = part.first + part.count
            if (
                place is None
                or (day and place.day != day)
                or part.first < position
                or part.count < 1
                or end > min(block.messages, MOST_MESSAGES)
            ):
                raise ValueError(
                    f"messages {part.first}+{part.count} of the block at {block.started_us} belong to"
                    f" {part.leg.call_id!r}: not a leg of this batch and day, or not in order"
                )
            day, position = place.day, end
        return day or days.text(block.started_us)

    def _contents(self) -> Iterator[str | bytes]:
        yield repr([
            (self._places[id(leg)].id, leg.messages, leg.ended_us, leg.outcome, leg.code, leg.trouble) for leg in self._legs
        ])  # fmt: skip
        yield repr(self._batch.counts)
        for block in self._batch.blocks:
            yield block.data


def owner_of(marks: Iterable[str]) -> str:
    """Who goes on after marks of these names; "" without any."""
    names = sorted(marks)
    return digest(*names) if names else ""


def mark_name(name: str) -> str:
    return digest("mark", name)


def _place(leg: LegRow, owner: str) -> Place:
    """Where the row is, or will be."""
    day = days.text(leg.started_us)
    known = legs.place(leg)
    return Place(day, known[1] if known and known[0] == day else legs.new_id(leg, owner))


def parsed_parts(text: str) -> list[tuple[int, int]]:
    """(first, count) of each part. Raises ValueError."""
    found = []
    for part in text.split(",") if text else ():
        first, _, count = part.partition("+")
        found.append((int(first), int(count)))
    return found
