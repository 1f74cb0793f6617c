"""From one stored leg to all legs of its session: the linking rules of `correlate.linking` over what a store can look up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ringback.events.store import LegPage, LegQuery, LegRow, NumberPattern, Role
from ringback.sessions.correlate import linking
from ringback.sessions.keys import UNCERTAIN
from ringback.sessions.story import Link

_FAR_US = 6 * 3_600_000_000  # legs that name each other lie no further apart than this
_MOST_ROWS = 200  # read at one step; a key that more legs share joins nothing that a person would call a session
_MOST_NUMBERS = 4  # of a leg that evidence is looked for by
_RIVAL_US = 2 * 3_600_000_000  # registrations that push each other out are refreshed within that
_MOST_RIVALS = 4
_CALLER = Role.FROM | Role.ASSERTED | Role.REMOTE_PARTY
_CALLED = Role.TO | Role.REQUEST_URI


class Lookup(Protocol):
    """The two readers of `EventStore` that a closure needs."""

    def search(
        self, query: LegQuery, limit: int = 50, cursor: str | None = None, deadline_s: float = 10.0
    ) -> LegPage: ...

    def by_keys(
        self,
        environments: tuple[str, ...],
        keys: Iterable[str],
        start_us: int,
        end_us: int,
        limit: int = 200,
        deadline_s: float = 10.0,
    ) -> list[LegRow]: ...


@dataclass(frozen=True, slots=True)
class Closure:
    """The rows of a session's legs (several of one Call-ID where days or writers shared it), why, and what to say of it."""

    legs: list[LegRow]  # in order of start
    links: list[Link]
    notes: list[str]


def close_over(
    first: LegRow, lookup: Lookup, *, most_legs: int = linking.MOST_LEGS, deadline_s: float = 10.0
) -> Closure:
    """All legs that exact links and then evidence join to `first`, nearest first up to `most_legs`.

    Only the environment of `first` is read. Raises what the store raises: a closure that could not be read to its end
    would be a wrong answer.
    """
    search = _Search(first, lookup, most_legs, deadline_s)
    search.follow([first])
    if search.rows and first.kind == "call":
        # What evidence found may name further legs for certain; their evidence would be hearsay.
        search.follow(search.likely())
    return search.closure()


def rivals(legs: Sequence[LegRow], lookup: Lookup, *, deadline_s: float = 10.0) -> list[list[LegRow]]:
    """Accepted registrations of the same number from other sockets, a list a Call-ID, nearest in time first.

    `legs`: the rows of one registration. Whether they push it out only their messages tell.
    """
    first = legs[0]
    known, sources = {leg.call_id for leg in legs}, {leg.source for leg in legs}
    number = next((number for number, roles in first.numbers.items() if roles & Role.TO), "")
    if not number:
        return []
    query = LegQuery(
        (first.environment,), first.started_us - _RIVAL_US, max(leg.ended_us for leg in legs) + _RIVAL_US,
        number=NumberPattern(number, "exact"), roles=Role.TO, kinds=("registration",), outcomes=("registered",),
    )  # fmt: skip
    found: dict[str, list[LegRow]] = {}
    for row in lookup.search(query, _MOST_ROWS, deadline_s=deadline_s).rows:
        if row.call_id not in known and row.source not in sources:
            found.setdefault(row.call_id, []).append(row)
    nearest = sorted(found.values(), key=lambda rows: min(abs(row.started_us - first.started_us) for row in rows))
    return nearest[:_MOST_RIVALS]


class _Search:
    def __init__(self, first: LegRow, lookup: Lookup, most_legs: int, deadline_s: float) -> None:
        self.lookup = lookup
        self.environments = (first.environment,)
        self.most_legs = most_legs
        self.deadline_s = deadline_s
        self.first = first
        self.rows: dict[str, list[LegRow]] = {}  # by Call-ID
        self.asked: set[str] = set()  # keys
        self.left_out = False

    def follow(self, found: Sequence[LegRow]) -> None:
        """Breadth first over exact keys, so that a cap keeps the nearest."""
        while found := self._add(found):
            window = (min(row.started_us for row in found) - _FAR_US, max(row.ended_us for row in found) + _FAR_US)
            keys = {key for row in found for key in row.keys if not key.startswith(UNCERTAIN)}
            named = {key.removeprefix("cid:") for key in keys - self.asked if key.startswith("cid:")}
            named |= {
                row.call_id for row in found if f"cid:{row.call_id}" not in self.asked
            }  # other days, other writers
            keys |= {f"cid:{row.call_id}" for row in found}
            fresh = sorted(keys - self.asked)
            self.asked.update(fresh)
            found = []
            if fresh:
                found = self.lookup.by_keys(
                    self.environments, fresh, *window, limit=_MOST_ROWS, deadline_s=self.deadline_s
                )
            if named:
                query = LegQuery(self.environments, *window, call_ids=tuple(sorted(named)))
                found += self.lookup.search(query, _MOST_ROWS, deadline_s=self.deadline_s).rows

    def _add(self, rows: Iterable[LegRow]) -> list[LegRow]:
        """The rows that are new and have room, by how near they are to the first leg in time."""
        added = []
        for row in sorted(rows, key=lambda one: (abs(one.started_us - self.first.started_us), one.call_id)):
            known = self.rows.get(row.call_id)
            if known is None and len(self.rows) >= self.most_legs:
                self.left_out = True
            elif known is None:
                self.rows[row.call_id] = [row]
                added.append(row)
            elif all((one.ref, one.started_us) != (row.ref, row.started_us) for one in known):
                known.append(row)
                added.append(row)
        return added

    def likely(self) -> list[LegRow]:
        """Rows of legs that evidence joins to those that are known."""
        candidates: dict[str, list[LegRow]] = {}
        for rows in list(self.rows.values()):
            for row in self._resembling(rows[0]):
                if row.kind == "call" and row.call_id not in self.rows:
                    candidates.setdefault(row.call_id, []).append(row)
        everything = [facts_of(rows) for rows in (*self.rows.values(), *candidates.values())]
        exact = linking.exact_links(everything)
        components = linking.Components(leg.call_id for leg in everything)
        for link in (*exact, *linking.uncertain_links(everything, exact)):
            components.join(link.from_call_id, link.to_call_id)
        return [
            row
            for call_id, rows in candidates.items()
            if components.connected(call_id, self.first.call_id)
            for row in rows
        ]

    def _resembling(self, row: LegRow) -> list[LegRow]:
        """Legs with one of this leg's numbers or its SDP origin, begun within 10 s."""
        window = (row.started_us - linking.TOGETHER_US, row.started_us + linking.TOGETHER_US + 1)
        found: list[LegRow] = []
        numbers = [number for number, roles in row.numbers.items() if roles & (_CALLER | _CALLED)]
        for number in sorted(numbers, key=lambda one: (not row.numbers[one] & _CALLED, one))[:_MOST_NUMBERS]:
            ending = number[-linking.SUFFIX :]
            pattern = NumberPattern(ending, "suffix" if len(ending) == linking.SUFFIX else "exact")
            query = LegQuery(self.environments, *window, number=pattern, roles=_CALLER | _CALLED, kinds=("call",))
            found += self.lookup.search(query, _MOST_ROWS, deadline_s=self.deadline_s).rows
        origins = sorted(key for key in row.keys if key.startswith(UNCERTAIN))
        if origins:
            found += self.lookup.by_keys(
                self.environments, origins, *window, limit=_MOST_ROWS, deadline_s=self.deadline_s
            )
        return list({(one.call_id, one.ref, one.started_us): one for one in found}.values())

    def closure(self) -> Closure:
        facts = [facts_of(rows) for rows in self.rows.values()]
        exact = linking.exact_links(facts)
        links = exact + linking.uncertain_links(facts, exact)
        notes = [f"Only the {self.most_legs} nearest of the linked legs are shown."] if self.left_out else []
        rows = sorted(
            (row for rows in self.rows.values() for row in rows), key=lambda row: (row.started_us, row.call_id)
        )
        return Closure(rows, links, notes)


def facts_of(rows: Sequence[LegRow]) -> linking.LegFacts:
    """What linking needs, of all stored rows of one Call-ID."""
    first = min(rows, key=lambda row: row.started_us)
    host, destination = _host(first.source), _host(first.destination)
    addresses = {address for row in rows for address in row.addresses}
    roles: dict[str, int] = {}
    for row in rows:
        for number, bits in row.numbers.items():
            roles[number] = roles.get(number, 0) | bits
    return linking.LegFacts(
        call_id=first.call_id,
        started_us=first.started_us,
        is_call=first.kind == "call",
        keys={key: "" for row in rows for key in row.keys},
        callers=frozenset(number for number, bits in roles.items() if bits & _CALLER) - {"anonymous"},
        called=frozenset(number for number, bits in roles.items() if bits & _CALLED),
        source=(host, first.source),
        reached=frozenset({destination, first.destination, *(addresses - {host})}),
    )


def _host(socket: str) -> str:
    return socket.rpartition(":")[0].strip("[]")
