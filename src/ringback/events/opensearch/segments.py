"""The days that are stored: what `status` tells of them, and dropping those that are past.

Of audit rows a whole month is one index. Its days are told one by one as well, and leave it one by one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from ringback.events.opensearch import days
from ringback.events.opensearch.client import Client, Deadline, Refused, unreadable
from ringback.events.opensearch.days import AUDIT, BLOCKS, COUNTS, INDICES, KINDS, LEGS, LOGS, Names
from ringback.events.opensearch.reading import Reader
from ringback.events.store import DAY_US, EventStoreError, SegmentStatus

_MOST_INDICES = 10_000


@dataclass(slots=True)
class Segment:
    """The indices of one kind and day, or month."""

    kind: str
    day: str
    bytes: int = 0
    created_us: int = 0  # the youngest index
    indices: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return days.segment(self.kind, self.day)

    @property
    def end_us(self) -> int:
        return days.end_us(self.day)


def segments(client: Client, names: Names, deadline: Deadline) -> list[Segment]:
    """In order of day and kind."""
    found: dict[tuple[str, str], Segment] = {}
    for row in _listed(client, names, deadline):
        parsed = names.parsed(row["index"])
        if parsed is None:
            continue
        index, day = parsed
        kind = KINDS[index]
        segment = found.setdefault((day, kind), Segment(kind, day))
        segment.indices.append(row["index"])
        segment.bytes += int(row.get("store.size") or 0)
        segment.created_us = max(segment.created_us, int(row.get("creation.date") or 0) * 1000)
        if row.get("status") == "close":
            segment.problems.append(f"index {row['index']} is closed: open it again or delete it")
        elif row.get("health") == "red":
            segment.problems.append(
                f"index {row['index']} is red, a primary shard is not assigned: GET _cluster/allocation/explain says why"
            )
    return [found[each] for each in sorted(found)]


def statuses(client: Client, reader: Reader, names: Names, deadline: Deadline) -> list[SegmentStatus]:
    held = segments(client, names, deadline)
    if not held:
        return []
    extent = {"first": {"min": {"field": "started_us"}}, "last": {"max": {"field": "ended_us"}}}
    legs = _by_index(reader, names, LEGS, extent, deadline)
    blocks = _by_index(reader, names, BLOCKS, {"messages": {"sum": {"field": "messages"}}}, deadline)
    span = {"first": {"min": {"field": "time_us"}}, "last": {"max": {"field": "time_us"}}}
    logs = _by_index(reader, names, LOGS, span, deadline)
    audit = _by_index(reader, names, AUDIT, _days_of(span), deadline)
    found = []
    for segment in held:
        if segment.kind == "audit":
            found += _audit_days(segment, audit.get(segment.day, {}))
            continue
        rows = (legs if segment.kind == "sip" else logs).get(segment.day, {})
        found.append(
            SegmentStatus(
                name=segment.name,
                kind=segment.kind,
                day=segment.day.replace(".", "-"),
                bytes=segment.bytes,
                legs=rows.get("doc_count", 0) if segment.kind == "sip" else 0,
                messages=_figure(blocks.get(segment.day, {}), "messages") if segment.kind == "sip" else 0,
                logs=rows.get("doc_count", 0) if segment.kind == "log" else 0,
                first_us=_figure(rows, "first"),
                last_us=_figure(rows, "last"),
                problem="; ".join(segment.problems),
            )
        )
    return sorted(found, key=lambda each: (each.day, each.kind))


def free_bytes(client: Client, deadline: Deadline) -> int | None:
    """Of all data nodes; None where the engine does not say."""
    try:
        rows = client.read("GET", "/_cat/allocation", deadline, format="json", bytes="b", h="disk.avail")
        sizes = [int(row["disk.avail"]) for row in rows if row.get("disk.avail")]
    except (Refused, EventStoreError, ValueError, TypeError, AttributeError):
        return None
    return sum(sizes) if sizes else None


def drop_before(
    client: Client, reader: Reader, names: Names, kind: str, before_us: int, written_before_us: int | None, deadline: Deadline
) -> list[str]:  # fmt: skip
    past = [
        segment
        for segment in segments(client, names, deadline)
        if segment.kind == kind and segment.end_us <= before_us
    ]
    if kind == "audit":
        return _drop_audit(client, reader, names, before_us, [segment.indices for segment in past], deadline)
    if past and written_before_us is not None:
        told = COUNTS if kind == "sip" else LOGS
        reader.refresh(names.every(told), deadline)
        written = _by_index(reader, names, told, {"written": {"max": {"field": "written_us"}}}, deadline, whole=True)
        past = [
            segment
            for segment in past
            if max(segment.created_us, _figure(written.get(segment.day, {}), "written")) < written_before_us
        ]
    for segment in past:
        _delete(client, segment.indices, deadline)
    return [segment.name for segment in past]


def _drop_audit(
    client: Client, reader: Reader, names: Names, before_us: int, past: list[list[str]], deadline: Deadline
) -> list[str]:
    """Whole months with their index, and the days before in the month that goes on."""
    end_us = before_us // DAY_US * DAY_US
    every = names.every(AUDIT)
    reader.refresh(every, deadline)
    found = _by_index(reader, names, AUDIT, _days_of({}), deadline)
    dropped = {
        int(day["key"]) for month in found.values() for day in month["by_day"]["buckets"] if day["key"] < end_us
    }
    for indices in past:
        _delete(client, indices, deadline)
    month_us = days.midnight_us(days.month(end_us))
    if any(day >= month_us for day in dropped):
        index = names.covering(AUDIT, month_us, month_us + 1)
        reader.delete(index, [{"range": {"time_us": {"lt": end_us}}}], deadline)
    return [days.segment("audit", days.text(day)) for day in sorted(dropped)]


def _delete(client: Client, indices: list[str], deadline: Deadline) -> None:
    try:
        client.read("DELETE", "/" + ",".join(indices), deadline, ignore_unavailable="true")
    except Refused as error:
        if error.status != 404:
            raise unreadable(f"{', '.join(indices)} cannot be dropped", error) from None


def _days_of(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures by day."""
    by_day: dict[str, Any] = {"histogram": {"field": "time_us", "interval": DAY_US, "min_doc_count": 1}}
    return {"by_day": by_day | ({"aggs": figures} if figures else {})}


def _audit_days(month: Segment, figures: dict[str, Any]) -> list[SegmentStatus]:
    """One by one; the bytes of the index by their share. A month that cannot be read is told by its first day."""
    found = figures.get("by_day", {}).get("buckets", ())
    rows = sum(each["doc_count"] for each in found)
    problem = "; ".join(month.problems)
    start_us = days.midnight_us(month.day)
    told = [
        (int(each["key"]), each["doc_count"], month.bytes * each["doc_count"] // rows, each) for each in found
    ] or [(start_us, 0, month.bytes, {})]
    return [
        SegmentStatus(
            name=days.segment("audit", days.text(day)), kind="audit", day=days.text(day).replace(".", "-"), bytes=bytes_,
            legs=0, messages=0, logs=0, first_us=_figure(each, "first"), last_us=_figure(each, "last"), problem=problem,
            audits=count,
        )
        for day, count, bytes_, each in told
        if count or problem
    ]  # fmt: skip


def _listed(client: Client, names: Names, deadline: Deadline) -> list[dict[str, Any]]:
    indices = ",".join(names.every(index) for kind in INDICES.values() for index in kind)
    columns = "index,health,status,store.size,creation.date"
    try:
        rows = client.read(
            "GET", f"/_cat/indices/{indices}", deadline, format="json", bytes="b", h=columns, expand_wildcards="all"
        )
    except Refused as error:
        raise unreadable("the list of indices", error) from None
    if not isinstance(rows, list):
        raise EventStoreError(f"{client.address.shown} did not answer as an engine does")
    return rows


def _by_index(
    reader: Reader, names: Names, index: str, figures: dict[str, Any], deadline: Deadline, *, whole: bool = False
) -> dict[str, dict[str, Any]]:
    """Day -> figures. `whole`: an index that cannot be read is an error, else it is left out."""
    aggregation = {"days": {"terms": {"field": "_index", "size": _MOST_INDICES}, "aggs": figures}}
    answer = reader.aggregated(names.every(index), aggregation, deadline, partial=not whole)
    found: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for bucket in answer.get("days", {}).get("buckets", ()):
        if parsed := names.parsed(bucket["key"]):
            found[parsed[1]] = bucket
    return found


def _figure(figures: dict[str, Any], name: str) -> int:
    value = figures.get(name, {}).get("value")
    return int(value) if value is not None else 0
