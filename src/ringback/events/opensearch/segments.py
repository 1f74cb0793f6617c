"""The days that are stored: what `status` tells of them, and dropping those that are past."""

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
    """The indices of one kind and day."""

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
        return days.midnight_us(self.day) + DAY_US


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
    rows_of = {"sip": legs, "log": logs, "audit": _by_index(reader, names, AUDIT, span, deadline)}
    found = []
    for segment in held:
        rows = rows_of[segment.kind].get(segment.day, {})
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
                audits=rows.get("doc_count", 0) if segment.kind == "audit" else 0,
            )
        )
    return found


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
    if past and written_before_us is not None and kind != "audit":
        told = COUNTS if kind == "sip" else LOGS
        reader.refresh(names.every(told), deadline)
        written = _by_index(reader, names, told, {"written": {"max": {"field": "written_us"}}}, deadline, whole=True)
        past = [
            segment
            for segment in past
            if max(segment.created_us, _figure(written.get(segment.day, {}), "written")) < written_before_us
        ]
    for segment in past:
        try:
            client.read("DELETE", "/" + ",".join(segment.indices), deadline, ignore_unavailable="true")
        except Refused as error:
            if error.status != 404:
                raise unreadable(f"{segment.name} cannot be dropped", error) from None
    return [segment.name for segment in past]


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
