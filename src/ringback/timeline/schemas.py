"""What the room shows, and what a source of it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, Protocol

from ringback.access.permissions import Permission

Kind = Literal["sessions", "money", "changes"]
GREATEST_US = 253_402_300_800_000_000  # the year 10000
KINDS: dict[Kind, str] = {"sessions": "Sessions", "money": "Money", "changes": "Changes"}


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose timeline it is: a customer, or one account of theirs."""

    environment: str
    customer_id: int
    account_id: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be shown. `start_us` <= time < `end_us`; every word has to occur in what is shown of a row."""

    start_us: int
    end_us: int
    kinds: tuple[Kind, ...] = ()  # none: all
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that happened, as its reader may see it."""

    at_us: int
    kind: Kind
    what: str  # session xdr invoice audit_record: what `id` is the id of
    id: str
    sentence: str
    href: str
    place: str  # where its source goes on after it
    detail: str = ""  # who, which account, where
    amount: Decimal | None = None  # positive: owed
    balance_after: Decimal | None = None
    currency: str = ""
    outcome: str = ""  # of a session
    root: int | None = None  # the audit record that began it
    together: frozenset[str] = frozenset()  # rows that share one of these belong together


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one source, newest first."""

    rows: Sequence[Row]
    note: str = ""  # what is not among them, and why: fit to be shown


class SourceAway(Exception):
    """A source cannot be read now. The text says why, fit to be shown."""


class Source(Protocol):
    """A room's part of the timeline, for one subject and one reader."""

    name: str  # in cursors; of one source alone
    kind: Kind
    permission: Permission  # of who may see its rows

    def rows(self, start_us: int, end_us: int, place: str, limit: int, words: Sequence[str] = ()) -> Piece:
        """The newest `limit` rows of start <= time < end that come after `place` ("" the newest of all). Fewer: there
        are no more. Rows that lack one of the `words` (in lower case) may be left out, the others not. Raises SourceAway."""
        ...


@dataclass(frozen=True, slots=True)
class Missing:
    """A kind of which rows are missing in a page."""

    kind: Kind
    why: Literal["not allowed", "away"]
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    rows: list[Row]
    cursor: str | None  # of the next page; None: this is the last
    start_us: int
    end_us: int
    missing: tuple[Missing, ...] = ()
    notes: tuple[str, ...] = ()
    searched_until_us: int | None = (
        None  # where a search for words stopped on its time; the cursor goes on from there
    )

    def read(self, asked: Asked) -> bool:
        """Whether any of the kinds that were asked for could be read."""
        return not {each.kind for each in self.missing} >= set(asked.kinds or KINDS)


class BadPlace(ValueError):
    """The cursor is none of this list."""

    def __init__(self) -> None:
        super().__init__("The list cannot go on from there: begin at its first page.")
