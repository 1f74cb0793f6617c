"""Whose a log line is: of its session where that is known, else what the rules say of what the line itself tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import structlog

from ringback.events.store import EventStore, EventStoreError, LegQuery, LogRecord
from ringback.sessions.numbers import digits
from ringback.sessions.ownership.parties import domain_of, plain_domain, user_of
from ringback.sessions.ownership.rules import Traffic, TrafficRules, socket_of
from ringback.sessions.story import Hop

LONGEST_US = 12 * 3_600_000_000  # that a session may have begun before its line
_AHEAD_US = 60_000_000  # that clocks of line and leg may be apart
_LOOK_UPS = 200  # Call-IDs asked for at once
_ROWS = 500

_log = structlog.get_logger()

# Fields of a line that rules look at, beside its node and account.
ADDRESS_FIELDS = (
    "source", "destination", "address", "ip", "source_ip", "destination_ip", "src_ip", "dst_ip", "peer",
)  # fmt: skip
DOMAIN_FIELDS = ("domain", "realm", "from_domain", "to_domain", "ruri_domain")
NUMBER_FIELDS = ("caller", "called", "auth_user", "from_user", "to_user", "ruri_user", "username")
URI_FIELDS = ("from", "to", "ruri", "request_uri", "caller", "called")


def environment_of_line(owners: TrafficRules, record: LogRecord, hop: Hop | None = None) -> str:
    """By the rules alone. `hop`: of the packet that brought it."""
    return owners.sole if owners.sole is not None else owners.of_traffic(traffic_of(record, hop))


def traffic_of(record: LogRecord, hop: Hop | None = None) -> Traffic:
    fields = record.fields
    nodes = [record.node, hop.agent] if hop else [record.node]
    sockets = [socket_of(fields[name]) for name in ADDRESS_FIELDS if name in fields]
    if hop:
        sockets += [(hop.source, hop.source_port), (hop.destination, hop.destination_port)]
    domains = [plain_domain(fields[name]) for name in DOMAIN_FIELDS if name in fields]
    domains += [domain_of(fields[name]) for name in URI_FIELDS if name in fields]
    numbers = [record.account, *(fields[name] for name in NUMBER_FIELDS if name in fields)]
    users = [user_of(number) or digits(number.partition("@")[0]) for number in numbers]
    return Traffic([node for node in nodes if node], sockets, filter(None, domains), filter(None, users))


def with_their_sessions(
    store: EventStore,
    owners: TrafficRules,
    records: Sequence[LogRecord],
    open_leg: Callable[[str], str | None] = lambda _: None,
) -> list[LogRecord]:
    """`records`, those of a session known to `open_leg` or stored in its environment, the others as they are, which is
    where the rules put them: also where the store cannot be asked.
    """
    environments: dict[str, str | None] = {record.call_id: open_leg(record.call_id) for record in records}
    if owners.sole is None:
        unknown = [record for record in records if record.call_id and environments[record.call_id] is None]
        try:
            environments |= _stored(store, owners.environments, unknown)
        except EventStoreError as error:
            _log.warning("log lines go where the rules say: their sessions cannot be looked up", problem=str(error))
    return [
        replace(record, environment=environment)
        if (environment := environments[record.call_id]) is not None and environment != record.environment
        else record
        for record in records
    ]


def _stored(store: EventStore, environments: tuple[str, ...], records: Sequence[LogRecord]) -> dict[str, str]:
    """Call-ID -> environment of the newest leg there is."""
    found: dict[str, str] = {}
    if not records:
        return found
    times = [record.time_us for record in records]
    start_us, end_us = min(times) - LONGEST_US, max(times) + _AHEAD_US
    for call_ids in _parts(sorted({record.call_id for record in records})):
        query = LegQuery(environments, start_us, end_us, call_ids=call_ids)
        cursor = None
        while True:
            page = store.search(query, limit=_ROWS, cursor=cursor, deadline_s=60)
            for row in page.rows:
                found.setdefault(row.call_id, row.environment)
            cursor = page.cursor
            if cursor is None:
                break
    return found


def _parts(call_ids: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(call_ids), _LOOK_UPS):
        yield tuple(call_ids[start : start + _LOOK_UPS])
