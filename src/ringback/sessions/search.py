"""Sessions of a time, newest first: leg rows of the store joined to the rows a person scans.

A page may end anywhere, so its cursor holds a time and the sessions already shown, not a position in the store: what
arrives while somebody pages neither repeats nor hides a session.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import orjson

from ringback import clock
from ringback.events.store import EventStore, LegQuery, LegRow, NumberPattern, Role, call_hash
from ringback.sessions.keys import UNCERTAIN
from ringback.sessions.schemas import Histogram, HistogramBucket, QueryError, SearchResult, SessionQuery, SessionRow
from ringback.sessions.smartbox import MASKED_SEARCH, Reading, number_readings, readings
from ringback.sessions.story import NodeInfo

REFERENCE = "cid:"  # prefix of the keys that name another leg's Call-ID
MINUTE_US = 60_000_000
DAY_US = 86_400_000_000
LINKED_WITHIN_US = 3_600_000_000  # legs of one session that exact keys join in a list begin within an hour
NOBODY = ("\0",)  # no leg has such a number
REMEMBERED = 100  # sessions of the pages before that a cursor can recognise

ROLE_WORDS = {
    Role.FROM: "caller",
    Role.TO: "called number",
    Role.REQUEST_URI: "dialled number",
    Role.ASSERTED: "asserted identity",
    Role.REMOTE_PARTY: "remote party",
    Role.DIVERSION: "diverting number",
    Role.HISTORY: "call history",
    Role.CONTACT: "contact",
    Role.AUTH_USER: "login",
    Role.ACCOUNT: "account",
}


@dataclass(frozen=True, slots=True)
class Cursor:
    """Go on with the reading `reading`, before `end_us`, leaving out the sessions `seen`."""

    reading: int
    end_us: int
    seen: tuple[str, ...]

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(orjson.dumps([self.reading, self.end_us, *self.seen])).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Raises QueryError for what is no cursor of ours."""
        try:
            reading, end_us, *seen = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            if not isinstance(reading, int) or not isinstance(end_us, int) or len(seen) > REMEMBERED:
                raise ValueError(text)
            return cls(reading, end_us, tuple(map(str, seen)))
        except (ValueError, TypeError, binascii.Error) as error:
            raise QueryError("cursor", "not a cursor of this search; start from the first page") from error


def session_id(row: LegRow) -> str:
    """The day of the leg's start and its hash: stable over engines, short enough for a URL."""
    day = clock.from_us(row.started_us).strftime("%Y%m%d")
    return f"{day}-{call_hash(row.environment, row.call_id):016x}"


def page(
    events: EventStore,
    query: SessionQuery,
    nodes: Sequence[NodeInfo],
    *,
    troubled: bool | None = None,
    named: Sequence[Reading] = (),
) -> SearchResult:
    """The page after `query.cursor`; `named`: what else the smart box may mean, tried last. Raises QueryError."""
    if query.start_us >= query.end_us:
        raise QueryError("from", "the interval ends before it begins")
    ways = _ways(query, named)
    cursor = Cursor.parse(query.cursor) if query.cursor else None
    if cursor and cursor.reading >= len(ways):
        raise QueryError("cursor", "not a cursor of this search; start from the first page")
    order = [cursor.reading] if cursor else range(len(ways))
    result = SearchResult([], None, query, ways[0].words)
    for index in order:
        reading = ways[index]
        position = cursor or Cursor(index, query.end_us, ())
        legs = replace(_leg_query(query, reading, nodes), end_us=position.end_us, troubled=troubled)
        rows, more = _fill(events, legs, reading, nodes, query.limit, position.seen)
        result = SearchResult(rows, None, query, reading.words, reading=index)
        if more:
            result.cursor = cursor_after(result, len(rows))
        if rows:
            break
    return result


def cursor_after(result: SearchResult, count: int) -> str:
    """What goes on behind the first `count` rows of `result`; `count` is at least 1."""
    rows = result.rows[:count]
    seen = Cursor.parse(result.query.cursor).seen if result.query.cursor else ()
    shown = (*seen, *(row.id for row in rows))[-REMEMBERED:]
    return str(Cursor(result.reading, min(row.listed_us for row in rows) + 1, shown))


def histogram(
    events: EventStore, query: SessionQuery, nodes: Sequence[NodeInfo], buckets: int, named: Sequence[Reading] = ()
) -> Histogram:
    """About `buckets` buckets of whole minutes that cover the interval."""
    if query.start_us >= query.end_us:
        raise QueryError("from", "the interval ends before it begins")
    width = max(1, -(-(query.end_us - query.start_us) // (buckets * MINUTE_US))) * MINUTE_US
    found: dict[int, dict[str, int]] = {}
    for reading in _ways(query, named):
        found = {
            bucket.start_us: bucket.outcomes
            for bucket in events.histogram(_leg_query(query, reading, nodes), width)
            if any(bucket.outcomes.values())
        }
        if found:
            break
    first = query.start_us - query.start_us % width
    starts = range(first, query.end_us, width)
    return Histogram(
        query.start_us, query.end_us, width, [HistogramBucket(start, found.get(start, {})) for start in starts]
    )


def _ways(query: SessionQuery, named: Sequence[Reading]) -> list[Reading]:
    whole = not query.personal
    ways = readings(query.q, whole=whole)
    if query.number:
        if ways:
            raise QueryError("number", "search either by q or by number")
        ways = number_readings(query.number, "number", whole=whole)
    return [*ways, *named] or [Reading("")]


def _leg_query(query: SessionQuery, reading: Reading, nodes: Sequence[NodeInfo]) -> LegQuery:
    agents, addresses = _of_node(query.node, nodes) if query.node else ((), ())
    if query.ip:
        addresses = (*addresses, _checked_address(query.ip, whole=not query.personal))
    if reading.address:
        addresses = (*addresses, reading.address)
    if len(addresses) > 1 and (query.ip or reading.address):
        raise QueryError("ip", "search by one address or one node without a capture id at a time")
    call_id = reading.call_id or query.call_id
    return LegQuery(
        environments=query.environments,
        start_us=query.start_us,
        end_us=query.end_us,
        number=reading.number,
        numbers=_both(reading.numbers, query.numbers),
        call_ids=(call_id,) if call_id else (),
        call_hashes=(reading.call_hash,) if reading.call_hash is not None else (),
        keys=(reading.key,) if reading.key else (),
        outcomes=query.outcomes,
        codes=query.codes,
        kinds=query.kinds,
        agents=agents,
        addresses=addresses,
        min_duration_ms=None if query.min_duration_s is None else round(query.min_duration_s * 1000),
        max_duration_ms=None if query.max_duration_s is None else round(query.max_duration_s * 1000),
    )


def _both(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """Numbers of which one must be there."""
    if not one or not other:
        return one or other
    return tuple(number for number in one if number in other) or NOBODY


def _of_node(name: str, nodes: Sequence[NodeInfo]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(capture agents, addresses) of a registered node, a capture id or an address."""
    for node in nodes:
        if node.name.lower() == name.lower():
            if node.agents:
                return tuple(sorted(node.agents)), ()
            return (), tuple(sorted({_without_port(address) for address in node.addresses}))
    if name.isdigit():
        return (name,), ()
    try:
        return (), (str(ipaddress.ip_address(name)),)
    except ValueError:
        raise QueryError("node", f"no node is named {name!r}, and it is no capture id or address") from None


def _without_port(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def _checked_address(text: str, *, whole: bool) -> str:
    if whole and text.endswith("*"):
        raise QueryError("ip", f"write the whole address: {MASKED_SEARCH}")
    if text.endswith("*") and all(part.isdigit() or part == "*" for part in text.split(".")):
        return text
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise QueryError("ip", f"{text!r} is no IPv4 or IPv6 address") from None


def _fill(
    events: EventStore,
    query: LegQuery,
    reading: Reading,
    nodes: Sequence[NodeInfo],
    limit: int,
    seen: Iterable[str],
) -> tuple[list[SessionRow], bool]:
    """Up to `limit` sessions that are not in `seen`, and whether there may be more."""
    known = set(seen)
    rows: list[SessionRow] = []
    cursor: str | None = None
    while True:
        found = events.search(query, limit=limit + 1, cursor=cursor)
        cursor = found.cursor
        groups = _joined(events, found.rows)
        for group in groups:
            row = _session_row(group, reading, query, nodes)
            if row.id in known:
                continue
            if len(rows) == limit:
                return rows, True
            known.add(row.id)
            rows.append(row)
        if cursor is None:
            return rows, False


@dataclass(slots=True)
class _Group:
    matched: list[LegRow]  # rows of the search, newest first
    legs: list[LegRow]  # all rows of the session


def _joined(events: EventStore, matched: Sequence[LegRow]) -> list[_Group]:
    """The sessions that the rows belong to, in the order of their newest matching row.

    Rows of one Call-ID are one leg; legs that one exact key joins are one session. One round of keys is enough for a
    list; opening a session closes over all of them.
    """
    if not matched:
        return []
    environments = tuple({row.environment for row in matched})
    start, end = min(row.started_us for row in matched), max(row.ended_us for row in matched)
    around = (start - LINKED_WITHIN_US, end + LINKED_WITHIN_US + 1)
    named = [key.removeprefix(REFERENCE) for row in matched for key in row.keys if key.startswith(REFERENCE)]
    hashes = {call_hash(row.environment, row.call_id) for row in matched}
    hashes |= {call_hash(environment, call_id) for environment in environments for call_id in named}
    others = list(_all_rows(events, LegQuery(environments, *around, call_hashes=tuple(sorted(hashes)))))
    keys = {key for row in matched for key in _exact(row)} | {REFERENCE + row.call_id for row in matched}
    others += events.by_keys(environments, sorted(keys), *around)
    return list(_groups(matched, others))


def _exact(row: LegRow) -> list[str]:
    return sorted(key for key in row.keys if not key.startswith(UNCERTAIN))


def _all_rows(events: EventStore, query: LegQuery) -> Iterator[LegRow]:
    cursor: str | None = None
    while True:
        found = events.search(query, limit=500, cursor=cursor)
        yield from found.rows
        cursor = found.cursor
        if cursor is None:
            return


def _groups(matched: Sequence[LegRow], others: Sequence[LegRow]) -> Iterator[_Group]:
    rows = {(row.environment, row.ref): row for row in (*others, *matched)}
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while (up := parent.setdefault(name, name)) != name:
            name = up
        return name

    def names(row: LegRow) -> Iterator[str]:
        yield f"{row.environment}\0{REFERENCE}{row.call_id}"
        yield from (f"{row.environment}\0{key}" for key in _exact(row))

    for row in rows.values():
        first, *rest = names(row)
        for other in rest:
            parent[root(other)] = root(first)
    groups: dict[str, _Group] = {}
    for row in matched:
        group = groups.setdefault(root(next(names(row))), _Group([], []))
        group.matched.append(row)
    for row in rows.values():
        if group_of := groups.get(root(next(names(row)))):
            group_of.legs.append(row)
    yield from groups.values()


def _session_row(group: _Group, reading: Reading, query: LegQuery, nodes: Sequence[NodeInfo]) -> SessionRow:
    legs = sorted(group.legs, key=lambda row: (row.started_us, row.call_id))
    first = legs[0]
    # Rows of the first leg that came later (another writer, a reopened leg) know how it ended.
    own = [row for row in legs if row.call_id == first.call_id]
    ended = next((row for row in reversed(own) if row.outcome not in ("in_progress", "incomplete")), first)
    answered = max((row.duration_ms for row in own), default=0)
    return SessionRow(
        id=session_id(first),
        environment=first.environment,
        kind=first.kind,
        caller=first.caller,
        called=first.called,
        started_us=first.started_us,
        ended_us=max(row.ended_us for row in legs),
        duration_s=answered / 1000 if answered else None,
        outcome=ended.outcome,
        final_code=ended.code or None,
        final_phrase=ended.phrase,
        nodes=_node_names(legs, nodes),
        legs=len({row.call_id for row in legs}),
        messages=sum(row.messages for row in legs),
        call_ids=list(dict.fromkeys(row.call_id for row in legs)),
        matched=_matched(group.matched, reading.number, query.numbers) if reading.number or query.numbers else "",
        listed_us=max(row.started_us for row in group.matched),
        identities=tuple(dict.fromkeys(number for row in legs for number in row.numbers)),
    )


def _node_names(legs: Sequence[LegRow], nodes: Sequence[NodeInfo]) -> list[str]:
    by_agent = {agent: node.name for node in nodes for agent in node.agents}
    by_address = {address: node.name for node in nodes for address in node.addresses if not node.agents}
    agents = dict.fromkeys(agent for row in legs for agent in row.agents if agent)
    addresses = dict.fromkeys(address for row in legs for address in row.addresses)
    named = [by_agent.get(agent, agent) for agent in agents]
    named += [by_address[address] for address in addresses if address in by_address]
    return list(dict.fromkeys(named or addresses))


def _matched(legs: Sequence[LegRow], number: NumberPattern | None, numbers: Sequence[str]) -> str:
    roles = 0
    for row in legs:
        for text, bits in row.numbers.items():
            if text in numbers or (number is not None and number.matches(text)):
                roles |= bits
    return ", ".join(words for role, words in ROLE_WORDS.items() if roles & role)
