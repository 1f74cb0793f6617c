"""How much traffic no rule gives to an environment, and whom it comes from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ringback.events.store import EventStore, LegQuery, LogQuery
from ringback.records.environments import UNASSIGNED

READ = 2000  # newest legs, and as many lines, that are looked at: who sends is seen from few
_PAGE = 500
_HOUR_US = 3_600_000_000


@dataclass(slots=True)
class Sender:
    """Whom unassigned traffic comes from: a capture id or the name of a node (kind "node"), or an address."""

    kind: str
    value: str
    sessions: int = 0
    messages: int = 0
    lines: int = 0
    last_us: int = 0


@dataclass(slots=True)
class Unassigned:
    """`sessions` are all; messages, lines and senders are of the newest `READ` legs and lines, where `more_legs` or
    `more_lines` says that there are others."""

    sessions: int
    messages: int = 0
    lines: int = 0
    more_legs: bool = False
    more_lines: bool = False
    senders: list[Sender] = field(default_factory=list)  # those of most sessions first; nodes before addresses

    @property
    def none(self) -> bool:
        return not (self.sessions or self.messages or self.lines)


def unassigned(events: EventStore, start_us: int, end_us: int) -> Unassigned:
    """Of the interval. Raises what the store raises."""
    width = _HOUR_US
    buckets = events.histogram(LegQuery((UNASSIGNED,), start_us, end_us), width)
    result = Unassigned(sum(count for bucket in buckets for count in bucket.outcomes.values()))
    senders: dict[tuple[str, str], Sender] = {}
    _count_legs(events, start_us, end_us, result, senders)
    _count_lines(events, start_us, end_us, result, senders)
    result.senders = sorted(
        senders.values(), key=lambda each: (each.kind != "node", -each.sessions, -each.lines, each.value)
    )
    return result


def _count_legs(
    events: EventStore, start_us: int, end_us: int, result: Unassigned, senders: dict[tuple[str, str], Sender]
) -> None:
    cursor, read = None, 0
    while read < READ:
        page = events.search(LegQuery((UNASSIGNED,), start_us, end_us), limit=_PAGE, cursor=cursor)
        for leg in page.rows:
            result.messages += leg.messages
            address = leg.source.rpartition(":")[0].strip("[]")
            for sender in _each(senders, [("node", agent) for agent in leg.agents] + [("address", address)]):
                sender.sessions += 1
                sender.messages += leg.messages
                sender.last_us = max(sender.last_us, leg.started_us)
        read += len(page.rows)
        cursor = page.cursor
        if cursor is None:
            return
    result.more_legs = True


def _count_lines(
    events: EventStore, start_us: int, end_us: int, result: Unassigned, senders: dict[tuple[str, str], Sender]
) -> None:
    cursor = None
    query = LogQuery((UNASSIGNED,), start_us, end_us, newest_first=True)
    while result.lines < READ:
        page = events.search_logs(query, limit=_PAGE, cursor=cursor)
        for line in page.records:
            for sender in _each(senders, [("node", line.node)]):
                sender.lines += 1
                sender.last_us = max(sender.last_us, line.time_us)
        result.lines += len(page.records)
        cursor = page.cursor
        if cursor is None:
            return
    result.more_lines = True


def _each(senders: dict[tuple[str, str], Sender], names: Iterable[tuple[str, str]]) -> Iterable[Sender]:
    return [senders.setdefault((kind, value), Sender(kind, value)) for kind, value in names if value]
