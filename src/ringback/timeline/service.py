"""Merges what the sources tell into one list, newest first, a page at a time.

Of each source a page holds at most `limit` rows, so that many and one more are read of each. The cursor holds where each
source goes on; a source that was away goes on behind the last row that was shown.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import accumulate

import orjson
from sqlalchemy import Engine

from ringback.access.schemas import Principal
from ringback.billing.entities.fields import Entity
from ringback.changes.schemas import Actor
from ringback.changes.service import changing, note
from ringback.timeline.schemas import (
    GREATEST_US,
    KINDS,
    Asked,
    BadPlace,
    Missing,
    Page,
    Row,
    Source,
    SourceAway,
    Subject,
)

PAGE, LARGEST_PAGE = 50, 200
WORDS_SECONDS = 2.0  # that a search for words may take, a part in each source, before it says how far it came
WORDS_ROWS = 500  # read at once while words are searched for
READ = "timeline.read"

_Place = str | int | None  # of a source: after that row; before that time, of one that was away; at its end


@dataclass(slots=True)
class _Read:
    """What was read of one source for a page."""

    source: Source
    was: _Place
    rows: list[Row] = field(default_factory=list)
    reached: _Place = ""  # where the source goes on when all rows are shown
    until_us: int | None = None  # a search for words came there, and did not find a page yet
    note: str = ""
    away: str = ""  # why it could not be read
    taken: int = 0


def page(
    sources: Sequence[Source], reader: Principal, subject: Subject, asked: Asked, *, cursor: str = "", limit: int = PAGE
) -> Page:  # fmt: skip
    """Raises BadPlace. The interval of the first page is that of all pages of its cursor."""
    named = [each for each in sources if not asked.kinds or each.kind in asked.kinds]
    missing = _withheld(named, reader)
    named = [each for each in named if reader.may(each.permission)]
    start_us, end_us = asked.start_us, asked.end_us
    places: dict[str, _Place] = dict.fromkeys((each.name for each in named), "")
    seal = _seal(subject, asked, named)
    if cursor:
        start_us, end_us, places = _opened(cursor, seal, places)
    reads = [_Read(each, places[each.name]) for each in named if places[each.name] is not None]
    _fill(reads, start_us, end_us, [word.lower() for word in asked.words], limit)
    missing += [Missing(each.source.kind, "away", each.away) for each in reads if each.away]
    notes = dict.fromkeys(each.note for each in reads if each.note)
    rows, until_us = _merged(reads, limit)
    goes_on = None
    if any(read.taken < len(read.rows) or read.until_us is not None for read in reads):
        after = {read.source.name: _after(read, rows) for read in reads}
        goes_on = _sealed(seal, start_us, end_us, {each.name: after.get(each.name) for each in named})
    return Page(rows, goes_on, start_us, end_us, tuple(dict.fromkeys(missing)), tuple(notes), until_us)


def groups(rows: Sequence[Row]) -> list[int]:
    """Of each row the number of the group that it belongs to, from 1; 0 of rows that stand alone."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while (up := parent.setdefault(key, key)) != key:
            key = up
        return key

    for row in rows:
        first, *others = sorted(row.together) or [""]
        for other in others:
            parent[root(other)] = root(first)
    of = [root(min(row.together)) if row.together else "" for row in rows]
    several = {key for key in of if key and of.count(key) > 1}
    numbers = {key: at for at, key in enumerate(dict.fromkeys(key for key in of if key in several), 1)}
    return [numbers.get(key, 0) for key in of]


def note_read(engine: Engine, reader: Principal, actor: Actor, row: Entity, count: int) -> None:
    """Somebody saw that many rows with personal data in clear."""
    if count and reader.sees_personal:
        with changing(engine, actor, reader.environments[:1]) as work:
            kind, name = row.about.name, row.told_as()
            note(work, READ, kind, str(row.id), name, row.owner(), arguments={"count": count})


def _withheld(sources: Sequence[Source], reader: Principal) -> list[Missing]:
    return [
        Missing(each.kind, "not allowed", f"{KINDS[each.kind]} take the permission {each.permission}.")
        for each in sources
        if not reader.may(each.permission)
    ]


def _fill(reads: Sequence[_Read], start_us: int, end_us: int, words: Sequence[str], limit: int) -> None:
    """Reads what a page may need. Words are looked for where least was read yet, until there is a page or time is over."""
    deadline = time.monotonic() + WORDS_SECONDS
    for read in reads:
        _read_on(read, start_us, end_us, words, limit + 1)
    while behind := [read for read in reads if read.until_us is not None]:
        first = max(behind, key=lambda read: read.until_us or 0)
        until_us = first.until_us or 0
        found = sum(row.at_us >= until_us for read in reads for row in read.rows)
        if found > limit or time.monotonic() > deadline:
            return
        _read_on(first, start_us, end_us, words, limit + 1)


def _read_on(read: _Read, start_us: int, end_us: int, words: Sequence[str], limit: int) -> None:
    """One piece more."""
    place = read.reached or read.was
    end_us = min(end_us, read.was) if isinstance(read.was, int) else end_us
    count = WORDS_ROWS if words else limit
    try:
        piece = read.source.rows(start_us, end_us, place if isinstance(place, str) else "", count, words)
    except SourceAway as error:
        read.away, read.rows, read.until_us = str(error), [], None
        read.reached = read.was if isinstance(read.was, int) else end_us
        return
    read.note, read.until_us = piece.note, None
    for row in piece.rows:
        if _has(row, words):
            read.rows.append(row)
            if len(read.rows) == limit:
                read.reached = row.place
                return
    read.reached = None
    if len(piece.rows) == count:
        read.reached, read.until_us = piece.rows[-1].place, piece.rows[-1].at_us


def _has(row: Row, words: Sequence[str]) -> bool:
    if not words:
        return True
    shown = f"{row.sentence} {row.detail}".lower()
    return all(word in shown for word in words)


def _merged(reads: Sequence[_Read], limit: int) -> tuple[list[Row], int | None]:
    """The newest rows of all, of one time those of the first source first; and until when a search came that stopped.
    Nothing older than that is shown: something newer may still be found."""
    stops = [read.until_us for read in reads if read.until_us is not None]
    until_us = max(stops, default=None)
    keyed = [
        (-at_us, rank, row)
        for rank, read in enumerate(reads)
        # A clock that was put back must not put a source's rows into another order than its own.
        for at_us, row in zip(accumulate((row.at_us for row in read.rows), min), read.rows, strict=True)
    ]
    keyed.sort(key=lambda each: each[:2])
    shown = [each for each in keyed if until_us is None or -each[0] >= until_us][:limit]
    for _, rank, _ in shown:
        reads[rank].taken += 1
    return [row for _, _, row in shown], until_us if len(shown) < limit else None


def _after(read: _Read, shown: Sequence[Row]) -> _Place:
    if read.taken == len(read.rows):
        if isinstance(read.reached, int) and shown:  # it was away
            return min(read.reached, shown[-1].at_us + 1)
        return read.reached
    return read.rows[read.taken - 1].place if read.taken else read.was


def _seal(subject: Subject, asked: Asked, sources: Sequence[Source]) -> str:
    of = [subject.environment, subject.customer_id, subject.account_id, asked.words, [each.name for each in sources]]
    return blake2b(orjson.dumps(of), digest_size=8).hexdigest()


def _sealed(seal: str, start_us: int, end_us: int, places: dict[str, _Place]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([seal, start_us, end_us, places])).decode().rstrip("=")


def _opened(cursor: str, seal: str, named: dict[str, _Place]) -> tuple[int, int, dict[str, _Place]]:
    try:
        was, start_us, end_us, places = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        times = [start_us, end_us, *(each for each in places.values() if isinstance(each, int))]
        if (
            was == seal
            and places.keys() == named.keys()
            and all(type(each) is int and 0 <= each < GREATEST_US for each in times)
            and all(each is None or isinstance(each, str | int) for each in places.values())
        ):
            return start_us, end_us, places
    except (ValueError, TypeError, AttributeError, binascii.Error):
        pass
    raise BadPlace
