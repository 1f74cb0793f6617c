"""What a predicate yields, and how predicates are made known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ringback.sessions.diagnose.facts import Ending, Facts
from ringback.sessions.story import Arrow, Evidence, Mend

Severity = Literal["critical", "warning", "notice"]


@dataclass(frozen=True, slots=True)
class Finding:
    """An issue that the facts show."""

    issue: str
    evidence: tuple[Evidence, ...]
    values: Mapping[str, str] = field(default_factory=dict)  # what the texts of the catalogue may name in {braces}
    confidence: float = 1.0
    severity: Severity | None = None  # milder than the catalogue's, where this case is
    by_absence: bool = False  # it rests on something that was not seen: a capture with gaps makes it doubtful
    mend: tuple[Mend, ...] = ()  # entities of the books that would have to change


@dataclass(frozen=True, slots=True)
class EndingRecogniser:
    """Tells what ended a session. Asked in order; the first that finds something speaks for that ending."""

    issue: str
    provides: frozenset[str]  # names of `Finding.values` beyond the shared ones
    find: Callable[[Facts, Ending], Finding | None]
    unmarked: bool = False  # found too in sessions that show ingest no trouble (`events.store.LegRow.troubled`)


@dataclass(frozen=True, slots=True)
class RemarkRecogniser:
    """Tells of something else that stands out, whatever the ending was."""

    issue: str
    provides: frozenset[str]
    find: Callable[[Facts], Finding | None]


def tells_ending(
    issue: str, *provides: str, unmarked: bool = False
) -> Callable[[Callable[[Facts, Ending], Finding | None]], EndingRecogniser]:
    return lambda find: EndingRecogniser(issue, frozenset(provides), find, unmarked)


def remarks(issue: str, *provides: str) -> Callable[[Callable[[Facts], Finding | None]], RemarkRecogniser]:
    return lambda find: RemarkRecogniser(issue, frozenset(provides), find)


def evidence(*shown: tuple[Arrow | None, str]) -> tuple[Evidence, ...]:
    """Each message once, in the order given; what is not there is left out."""
    seen: dict[int, Evidence] = {}
    for arrow, why in shown:
        if arrow is not None:
            seen.setdefault(arrow.number, Evidence(arrow.number, why))
    return tuple(seen.values())


def in_order(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """By message, each once."""
    seen: dict[int, Evidence] = {}
    for one in evidence:
        seen.setdefault(one.message, one)
    return tuple(seen[number] for number in sorted(seen))
