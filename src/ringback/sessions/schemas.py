"""What goes in and out of the sessions room: queries, rows of a result list, an opened session."""

from __future__ import annotations

from dataclasses import dataclass, field

from ringback.billing.entities.whose import Whose
from ringback.sessions.story import Issue, Session

OUTCOMES = (
    "answered", "failed", "busy", "no_answer", "cancelled", "redirected", "registered", "unregistered",
    "rejected", "in_progress", "incomplete", "succeeded",
)  # fmt: skip


class QueryError(ValueError):
    """A query that cannot be understood: the field and the reason, fit to be shown."""

    def __init__(self, field_: str, reason: str) -> None:
        super().__init__(f"{field_}: {reason}")
        self.field = field_
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SessionQuery:
    """One search. `q` is the smart box: a number, Call-ID, session id or address; the rest narrows it."""

    start_us: int
    end_us: int
    q: str = ""
    number: str = ""
    call_id: str = ""
    outcomes: tuple[str, ...] = ()
    issue: str = ""  # an id of the catalogue
    node: str = ""  # name in the node register, capture id or address
    ip: str = ""
    codes: tuple[int, ...] = ()
    kinds: tuple[str, ...] = ()
    min_duration_s: float | None = None
    max_duration_s: float | None = None
    customer: int | None = None  # whose accounts' numbers took part
    account: int | None = None
    environments: tuple[str, ...] = ("default",)
    personal: bool = False  # the reader may see personal data; else it is masked, and numbers are searched whole
    customers: bool = False  # the reader may see customers: `q` may be the name of one
    numbers: tuple[str, ...] = ()  # what `customer` and `account` stand for, filled in by the service
    limit: int = 50
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class IssueBrief:
    id: str
    severity: str  # critical warning notice
    title: str


@dataclass(slots=True)
class SessionRow:
    """One line of a result list. Legs with the same Call-ID, or joined by exact links, are one row."""

    id: str  # opens the session page: /sessions/{id}
    environment: str
    kind: str
    caller: str
    called: str
    started_us: int
    ended_us: int
    duration_s: float | None  # answer to end
    outcome: str
    final_code: int | None
    final_phrase: str
    nodes: list[str]  # names where known, else capture ids, else addresses
    legs: int
    messages: int
    call_ids: list[str]
    listed_us: int  # its place in the list: the newest of the legs that matched
    matched: str  # which field matched the number: "called number, contact", "" when nothing was asked
    issue: IssueBrief | None = None  # primary issue
    diagnosed: bool = False  # False: `issue` was not worked out (yet)
    identities: tuple[str, ...] = ()  # numbers and users of its legs; a masked row has none
    masked: bool = False


@dataclass(slots=True)
class SearchResult:
    rows: list[SessionRow]
    cursor: str | None
    query: SessionQuery
    understood: str  # how the smart box was read: "number ending in 3355787", "Call-ID 7d0f3c1e@…"
    searched_until_us: int | None = None  # an issue filter stopped here on its time budget; the cursor goes on
    reading: int = 0  # which way of reading the smart box this is


@dataclass(slots=True)
class HistogramBucket:
    start_us: int
    outcomes: dict[str, int]


@dataclass(slots=True)
class Histogram:
    start_us: int
    end_us: int
    width_us: int
    buckets: list[HistogramBucket]  # every bucket of the interval, empty ones too


@dataclass(slots=True)
class OpenedSession:
    id: str
    session: Session
    issues: list[Issue]  # the primary one first; empty: nothing unusual
    masked: bool = False  # its personal data are hidden
    whose: list[Whose] = field(
        default_factory=list
    )  # accounts behind its numbers, where the reader may see customers
