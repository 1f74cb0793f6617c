"""Sessions begun over time, by outcome: from the per-minute counts, or from the legs where a filter asks for more."""

from __future__ import annotations

from collections import Counter

from ringback.events.sqlite.entries import all_slices
from ringback.events.sqlite.leg_search import conditions, entries, legs, needs_verifying
from ringback.events.sqlite.readers import Reader
from ringback.events.sqlite.schema import LOW_BITS
from ringback.events.store import LegQuery

MINUTE_US = 60_000_000

Counts = Counter[tuple[int, str]]
"""(start of the bucket, outcome) -> sessions."""


def is_plain(query: LegQuery) -> bool:
    """Whether the query has no other conditions than the environments, the interval and the outcomes."""
    return query == LegQuery(query.environments, query.start_us, query.end_us, outcomes=query.outcomes)


def by_minute(reader: Reader, query: LegQuery, width_us: int) -> Counts:
    """A minute counts as a whole when it begins in the interval or the interval begins in it."""
    midnight = reader.file.start_us
    environments = reader.word_ids(query.environments)
    outcomes = reader.word_ids(query.outcomes)
    if not environments or (query.outcomes and not outcomes):
        return Counter()
    counts: Counts = Counter()
    sql = (
        f"SELECT (minute * {MINUTE_US} + ?) / ? * ?, outcome, sum(sessions) FROM minute"
        f" WHERE minute >= ? AND minute * {MINUTE_US} < ? AND environment IN ({', '.join('?' * len(environments))})"
    )
    values = [midnight, width_us, width_us, (query.start_us - midnight) // MINUTE_US, query.end_us - midnight]
    if outcomes:
        sql += f" AND outcome IN ({', '.join('?' * len(outcomes))})"
    for start, outcome, sessions in reader.rows(sql + " GROUP BY 1, 2", (*values, *environments, *outcomes)):
        counts[start, reader.word(outcome)] += sessions
    return counts


def by_leg(reader: Reader, query: LegQuery, width_us: int, low: int, high: int) -> Counts:
    """Legs that the query finds, each counted at its start."""
    counts: Counts = Counter()
    if needs_verifying(query):
        for leg in legs(reader, query, low, high):
            counts[leg.started_us // width_us * width_us, leg.outcome] += 1
        return counts
    condition = conditions(reader, query)
    if condition is None:
        return counts
    sql = f"SELECT ((id >> {LOW_BITS}) + ?) / ? * ?, outcome, count(*) FROM leg NOT INDEXED WHERE "
    values = [reader.file.start_us, width_us, width_us]
    wanted = entries(query)
    if wanted:
        ids = wanted.select(all_slices(reader, low, high), low, high)
        sql += f"id IN ({ids.sql})"
        values += ids.values
    else:
        sql += "id BETWEEN ? AND ?"
        values += [low, high]
    for start, outcome, legs_ in reader.rows(
        f"{sql} AND {condition.sql} GROUP BY 1, 2", (*values, *condition.values)
    ):
        counts[start, reader.word(outcome)] += legs_
    return counts
