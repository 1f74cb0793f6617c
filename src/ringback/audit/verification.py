"""Proves that a chain is whole: every record as it was written, none missing, none added, in its order, and its anchors
signed. Records are read in pages while others write: what was written stays as it is.

What it cannot see: records added properly by whoever may write to the database. Anchors, and their lines in the log,
prove that what was there on their day still is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

import orjson
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from ringback import clock
from ringback.audit.keys import AuditKeys
from ringback.audit.models import AuditAnchor, AuditChain, AuditRecord
from ringback.audit.retention import LOG, TRIMMED
from ringback.audit.writer import COLUMNS, NO_HASH, hash_of
from ringback.records.engine import reading
from ringback.records.wall import EVERYWHERE

PAGE = 10_000
_WINDOW = 50  # records beside a broken one that are looked at to say what happened
_SEQ, _ID = COLUMNS.index("seq"), COLUMNS.index("id")
_SELECT = f"SELECT {', '.join(COLUMNS)}, hash FROM audit_records"  # noqa: S608

Values = tuple[Any, ...]  # of COLUMNS, and the hash
Progress = Callable[[str, int, int], None]  # environment, records verified, of how many


class Wrong(StrEnum):
    CHANGED = "changed"
    MISSING = "missing"
    INSERTED = "inserted"
    REORDERED = "reordered"
    END = "end"  # the chain's end is not that of its records
    REWRITTEN = "rewritten"  # not what an anchor signed
    ANCHOR = "anchor"  # an anchor that nobody signed so
    TRIMMED = "trimmed"  # the oldest are gone, and no record tells of it


@dataclass(frozen=True, slots=True)
class Finding:
    """The first that is wrong with a chain."""

    wrong: Wrong
    seq: int
    id: int | None  # of the record; None: there is none
    text: str  # a sentence


@dataclass(frozen=True, slots=True)
class Verified:
    """One chain. `checked` records from `first` on; `finding` None: it is whole."""

    environment: str
    first: int
    last: int  # where the chain ends
    checked: int
    anchors: int  # that are signed as they should be
    unknown_anchors: int  # signed by a key that is not known here
    finding: Finding | None = None

    @property
    def is_whole(self) -> bool:
        return self.finding is None


@dataclass(frozen=True, slots=True)
class _Chain:
    environment: str
    seq: int
    hash: bytes
    trimmed_seq: int
    trimmed_hash: bytes
    last: int  # greatest number of its records
    has_end: bool  # whether there is a row that says where it ends


def environments(engine: Engine) -> list[str]:
    """All that have a chain, records or anchors."""
    with reading(engine, EVERYWHERE) as session:
        found = set(session.scalars(select(AuditChain.environment)))
        found |= set(session.scalars(select(AuditAnchor.environment).distinct()))
        last: str | None = ""
        while last is not None:  # a look at the index for each, not at each record
            last = session.scalar(select(func.min(AuditRecord.environment)).where(AuditRecord.environment > last))
            found |= {last} - {None}  # type: ignore[arg-type]
    return sorted(found)


def verify(
    engine: Engine,
    environment: str,
    keys: AuditKeys,
    *,
    from_anchor: bool = False,
    progress: Progress = lambda *_: None,
) -> Verified:
    """`from_anchor`: only what came after the last anchor that is signed. Raises sqlalchemy.exc.SQLAlchemyError."""
    with reading(engine, EVERYWHERE) as session:
        chain = _chain(session, environment)
        anchors = session.scalars(
            select(AuditAnchor).where(AuditAnchor.environment == environment).order_by(AuditAnchor.seq)
        ).all()
        trimming = _told_trimming(session, environment)
        run = _Run(engine, chain, anchors, keys, progress)
        problem = run.before_records(trimming)
    if problem is None:
        problem = run.records(from_anchor=from_anchor) or run.end()
    return Verified(environment, run.first, chain.seq, run.checked, run.signed, run.unknown, problem)


class _Run:
    def __init__(
        self, engine: Engine, chain: _Chain, anchors: Sequence[AuditAnchor], keys: AuditKeys, progress: Progress
    ) -> None:
        self._engine = engine
        self._chain = chain
        self._anchors = anchors
        self._keys = keys
        self._progress = progress
        self._good: dict[int, AuditAnchor] = {}  # those that are signed, by the number they sign
        self.signed = self.unknown = self.checked = 0
        self.first = chain.trimmed_seq + 1

    def before_records(self, told_trimmed: int) -> Finding | None:
        chain = self._chain
        for anchor in self._anchors:
            signed = self._keys.is_signed(
                anchor.key_id, anchor.signature, anchor.environment, anchor.seq, anchor.hash, clock.to_us(anchor.at)
            )
            if signed is False:
                day = f"{anchor.at:%Y-%m-%d}"
                text = f"The anchor of {day} at record {anchor.seq:,} is not signed by the key that it names."
                return Finding(Wrong.ANCHOR, anchor.seq, None, text)
            if signed is None:
                self.unknown += 1
            else:
                self.signed += 1
                self._good[anchor.seq] = anchor
        if not chain.has_end:
            return Finding(Wrong.END, chain.last, None, "Nothing says where the chain ends: its row is gone.")
        if chain.trimmed_seq and told_trimmed != chain.trimmed_seq:
            text = (
                f"The chain says that records up to {chain.trimmed_seq:,} were past their days; "
                f"the last record that tells of it says {told_trimmed:,}."
            )
            return Finding(Wrong.TRIMMED, chain.trimmed_seq, None, text)
        return None

    def records(self, *, from_anchor: bool) -> Finding | None:
        chain = self._chain
        before, seq = chain.trimmed_hash, chain.trimmed_seq
        if (anchor := self._good.get(seq)) and anchor.hash != before:
            return self._rewritten(anchor, None)
        if from_anchor:
            usable = [one for number, one in self._good.items() if seq < number <= chain.seq]
            if usable:
                anchor = max(usable, key=lambda one: one.seq)
                page = self._page(anchor.seq - 1, 1)
                if not page or page[0][_SEQ] != anchor.seq:
                    return self._missing(anchor.seq, page[0] if page else None)
                if page[0][-1] != anchor.hash:
                    return self._rewritten(anchor, page[0][_ID])
                before, seq, self.first = anchor.hash, anchor.seq, anchor.seq + 1
        total = chain.seq - seq
        dumps, sha256, wanted = orjson.dumps, hashlib.sha256, {number: one.hash for number, one in self._good.items()}
        while seq < chain.seq:
            page = self._page(seq, min(PAGE, chain.seq - seq))
            if not page or page[0][_SEQ] != seq + 1:
                again = self._trimmed_meanwhile()
                if again.trimmed_seq > seq:  # retention was quicker than we
                    seq, before = again.trimmed_seq, again.trimmed_hash
                    continue
            for place, row in enumerate(page):
                if row[_SEQ] != seq + 1:
                    return self._missing(seq + 1, row)
                stored = row[-1]
                if sha256(before + dumps(row[:-1])).digest() != stored:
                    return _explain(before, page[place : place + _WINDOW])
                seq, before = seq + 1, stored
                if seq in wanted and wanted[seq] != before:
                    return self._rewritten(self._good[seq], row[_ID])
            self.checked += len(page)
            if not page:
                return self._missing(seq + 1, None)
            self._progress(chain.environment, total - (chain.seq - seq), total)
        if before != chain.hash:
            text = f"The chain ends at record {seq:,} with another hash than that record has."
            return Finding(Wrong.END, seq, None, text)
        return None

    def end(self) -> Finding | None:
        chain = self._chain
        if chain.last > chain.seq:
            row = next(iter(self._page(chain.seq, 1)), None)
            return Finding(
                Wrong.INSERTED, chain.seq + 1, row[_ID] if row else None,
                f"The chain ends at record {chain.seq:,}; there are records behind it, up to {chain.last:,}.",
            )  # fmt: skip
        beyond = [number for number in self._good if number > chain.seq]
        if beyond:
            text = f"An anchor signed record {max(beyond):,}; the chain ends at {chain.seq:,}."
            return Finding(Wrong.MISSING, chain.seq + 1, None, text)
        return None

    def _page(self, after: int, limit: int) -> list[Values]:
        with reading(self._engine, EVERYWHERE) as session:
            return _rows(session, self._chain.environment, after, limit)

    def _trimmed_meanwhile(self) -> _Chain:
        with reading(self._engine, EVERYWHERE) as session:
            return _chain(session, self._chain.environment)

    def _missing(self, seq: int, found: Values | None) -> Finding:
        if found is None:
            text = f"Record {seq:,} is missing, and all behind it up to {self._chain.seq:,}, where the chain ends."
        elif found[_SEQ] == seq + 1:
            text = f"Record {seq:,} is missing; the next one is there."
        else:
            text = f"Records {seq:,} to {found[_SEQ] - 1:,} are missing."
        return Finding(Wrong.MISSING, seq, None, text)

    def _rewritten(self, anchor: AuditAnchor, record_id: int | None) -> Finding:
        text = (
            f"Record {anchor.seq:,} is not the one that was signed on {anchor.at:%Y-%m-%d}: "
            "it or what is before it was written anew."
        )
        return Finding(Wrong.REWRITTEN, anchor.seq, record_id, text)


def _explain(before: bytes, rows: Sequence[Values]) -> Finding:
    """What is wrong with the first of these, whose hash is not its own."""
    row, rest = rows[0], rows[1:]
    seq, record_id = row[_SEQ], row[_ID]
    hashes = [before, *(one[-1] for one in rows)]
    numbers = [one[_SEQ] for one in rows]
    for one in rest:  # the true record of this place, under another number
        if _hash_as(before, one, seq) == one[-1]:
            if any(_hash_as(each, row, number) == row[-1] for each in hashes for number in numbers):
                text = f"Record {seq:,} is in the place of another: it was written as a later one."
                return Finding(Wrong.REORDERED, seq, record_id, text)
            text = f"Record {seq:,} was put in: the one that was written there follows as {one[_SEQ]:,}."
            return Finding(Wrong.INSERTED, seq, record_id, text)
    if any(_hash_as(each, row, number) == row[-1] for each in hashes for number in numbers):
        text = f"Record {seq:,} is in the place of another."
        return Finding(Wrong.REORDERED, seq, record_id, text)
    return Finding(Wrong.CHANGED, seq, record_id, f"Record {seq:,} is not as it was written.")


def _hash_as(before: bytes, row: Values, seq: int) -> bytes:
    """What the record's hash would be at that place."""
    return hash_of(before, [*row[:_SEQ], seq, *row[_SEQ + 1 : -1]])


def _rows(session: Session, environment: str, after: int, limit: int) -> list[Values]:
    """As the database has them: the times in microseconds."""
    connection = session.connection()
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    found = connection.exec_driver_sql(
        f"{_SELECT} WHERE environment = {mark} AND seq > {mark} ORDER BY seq LIMIT {limit:d}", (environment, after)
    )
    return cast("list[Values]", cast("Any", found.cursor).fetchall())


def _chain(session: Session, environment: str) -> _Chain:
    last = session.scalar(select(func.max(AuditRecord.seq)).where(AuditRecord.environment == environment)) or 0
    row = session.scalars(select(AuditChain).where(AuditChain.environment == environment)).one_or_none()
    if row is None:
        return _Chain(environment, last, NO_HASH, 0, NO_HASH, last, has_end=False)
    return _Chain(environment, row.seq, row.hash, row.trimmed_seq, row.trimmed_hash, last, has_end=True)


def _told_trimming(session: Session, environment: str) -> int:
    """Up to where the last record of a trimming says that records went."""
    arguments = session.scalar(
        select(AuditRecord.arguments)
        .where(
            AuditRecord.environment == environment,
            AuditRecord.entity_type == LOG,
            AuditRecord.entity_id == environment,
            AuditRecord.action == TRIMMED,
        )
        .order_by(AuditRecord.id.desc())
        .limit(1)
    )
    return int(orjson.loads(arguments).get("to_seq", 0)) if arguments else 0
