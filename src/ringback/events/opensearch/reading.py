"""Searches that give the whole answer or an error: shards that failed and time that ran out are never a shorter list.

What takes several requests is read from one point in time. Where that was lost (a node restarted, it grew too old) a new
one is taken and the reading goes on behind the last row: the order is total.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ringback.events.opensearch.client import Client, Deadline, Refused, paused, unreadable
from ringback.events.store import EventStoreError, SearchTimedOut, SegmentUnreadable

Hit = dict[str, Any]

PAGE = 2000  # rows of one answer
BUCKETS = 5000
_KEEP_ALIVE = "1m"
_LOST_TIMES = 3
_PATIENCE_S, _FIRST_PAUSE_S = 2.0, 0.05
# Wildcards that meet a closed index fail: its rows would be missing. Those that meet none find nothing.
_INDICES = {"expand_wildcards": "open,closed", "ignore_unavailable": "false"}


@dataclass(frozen=True, slots=True)
class Search:
    """`sort` is a total order, field to asc or desc, and its values are whole numbers."""

    indices: str
    query: dict[str, Any]
    sort: Sequence[tuple[str, str]]
    after: tuple[int, ...] | None = None


class Reader:
    """Thread-safe."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.flavour = ""  # opensearch or elasticsearch, once that is known

    def hits(self, search: Search, count: int, deadline: Deadline, *, page: int = 0) -> Iterator[Hit]:
        """The first `count` documents, `page` at a time. Raises SearchTimedOut, SegmentUnreadable, EventStoreError."""
        page = page or PAGE
        body: dict[str, Any] = {
            "query": search.query,
            "sort": [{field: {"order": order}} for field, order in search.sort],
            "track_total_hits": False,
        }
        size = min(count, page)
        first = self._search(search.indices, {**body, "size": size} | _after(search.after), deadline)["hits"]["hits"]
        yield from first
        if len(first) == size < count:
            rest = replace(search, after=tuple(first[-1]["sort"]))
            yield from self._rest(rest, body, count - size, page, deadline)

    def _rest(self, search: Search, body: dict[str, Any], count: int, page: int, deadline: Deadline) -> Iterator[Hit]:
        """What does not fit one answer: from one point in time."""
        after, lost = search.after, 0
        point = self._opened(search.indices, deadline)
        try:
            while count > 0:
                size = min(count, page)
                asked = {**body, "size": size, "pit": {"id": point, "keep_alive": _KEEP_ALIVE}} | _after(after)
                try:
                    answer = self._search("", asked, deadline)
                except _Lost as error:
                    lost += 1
                    if lost > _LOST_TIMES:
                        raise SegmentUnreadable(
                            f"the engine lost the point in time again and again: {error}"
                        ) from None
                    point = self._opened(search.indices, deadline)
                    continue
                point = answer.get("pit_id", point)
                found = answer["hits"]["hits"]
                yield from found
                if len(found) < size:
                    return
                count -= len(found)
                after = tuple(found[-1]["sort"])
        finally:
            self._close(point)

    def buckets(
        self, indices: str, query: dict[str, Any], sources: Sequence[dict[str, Any]], sums: dict[str, str], deadline: Deadline
    ) -> Iterator[dict[str, Any]]:  # fmt: skip
        """Every bucket of a composite aggregation: exact, however many there are. `sums`: name -> field."""
        after: dict[str, Any] = {}
        inner = {name: {"sum": {"field": field}} for name, field in sums.items()}
        while True:
            composite = {"sources": list(sources), "size": BUCKETS} | ({"after": after} if after else {})
            aggregation = {"composite": composite} | ({"aggs": inner} if inner else {})
            body = {"size": 0, "track_total_hits": False, "query": query, "aggs": {"found": aggregation}}
            found = self._search(indices, body, deadline).get("aggregations", {}).get("found", {})
            yield from found.get("buckets", ())
            after = found.get("after_key", {})
            if not after or len(found["buckets"]) < BUCKETS:
                return

    def aggregated(
        self, indices: str, aggregations: dict[str, Any], deadline: Deadline, *, partial: bool = False
    ) -> dict[str, Any]:
        """`partial`: of what can be read."""
        body = {"size": 0, "track_total_hits": False, "aggs": aggregations}
        found: dict[str, Any] = self._search(indices, body, deadline, partial=partial).get("aggregations", {})
        return found

    def count(self, indices: str, query: dict[str, Any], at_most: int, deadline: Deadline) -> int:
        """How many documents there are; `at_most` for that many or more."""
        body = {"size": 0, "track_total_hits": at_most, "query": query}
        return min(int(self._search(indices, body, deadline)["hits"].get("total", {}).get("value", 0)), at_most)

    def refresh(self, indices: str, deadline: Deadline) -> None:
        """What was written until now is found."""
        with _told(deadline, indices):
            self._client.read("POST", f"/{indices}/_refresh", deadline, **_INDICES)

    def delete(self, indices: str, filters: Sequence[dict[str, Any]], deadline: Deadline) -> None:
        """Every document that meets all of the filters."""
        self.refresh(indices, deadline)
        path, params = f"/{indices}/_delete_by_query", {"conflicts": "proceed", "refresh": "true"}
        with _told(deadline, indices):
            answer = self._client.read(
                "POST", path, deadline, {"query": {"bool": {"filter": list(filters)}}}, **params, **_INDICES
            )
        if answer.get("failures") or answer.get("timed_out"):
            raise SegmentUnreadable(f"{indices}: not everything could be taken back: {answer.get('failures')}")

    def _search(
        self, indices: str, body: dict[str, Any], deadline: Deadline, *, partial: bool = False
    ) -> dict[str, Any]:
        params = {"allow_partial_search_results": "true" if partial else "false"}
        if indices:
            params |= _INDICES | {"allow_no_indices": "true"}
            if partial:
                params |= {"expand_wildcards": "open", "ignore_unavailable": "true"}
        path = f"/{indices}/_search" if indices else "/_search"
        with _told(deadline, indices):
            answer = self._patiently(path, deadline, body, params)
        if not isinstance(answer, dict) or "_shards" not in answer or "hits" not in answer:
            raise EventStoreError(f"{self._client.address.shown} did not answer as an engine does")
        if not partial:
            if answer.get("timed_out"):
                raise deadline.passed()
            _check_shards(answer["_shards"])
        return answer

    def _patiently(self, path: str, deadline: Deadline, body: dict[str, Any], params: dict[str, str]) -> Any:
        """An index that was made a moment ago has no shard yet, and one whose node went has none for a moment."""
        until, pause = time.monotonic() + _PATIENCE_S, _FIRST_PAUSE_S
        while True:
            body["timeout"] = f"{max(1, int(deadline.left() * 1000))}ms"
            try:
                return self._client.read("POST", path, deadline, body, **params)
            except Refused as error:
                if not _passes(error) or time.monotonic() > until or deadline.left() < pause:
                    raise
            pause = paused(pause)

    def _opened(self, indices: str, deadline: Deadline) -> str:
        params = _INDICES | {"keep_alive": _KEEP_ALIVE}
        with _told(deadline, indices):
            if self.flavour == "elasticsearch":
                answer = self._client.read("POST", f"/{indices}/_pit", deadline, **params)
            else:
                path, strict = f"/{indices}/_search/point_in_time", {"allow_partial_pit_creation": "false"}
                answer = self._client.read("POST", path, deadline, **params, **strict)
        if "_shards" in answer:
            _check_shards(answer["_shards"])
        return str(answer.get("pit_id") or answer["id"])

    def _close(self, point: str) -> None:
        """It would close by itself."""
        with suppress(EventStoreError, Refused):
            if self.flavour == "elasticsearch":
                self._client.read("DELETE", "/_pit", Deadline(1.0), {"id": point})
            else:
                self._client.read("DELETE", "/_search/point_in_time", Deadline(1.0), {"pit_id": [point]})


class _Lost(Exception):
    """A point in time that the engine does not know any more."""


class _told:  # noqa: N801 - reads as the statement that it is
    """Turns what the engine refuses into what a reader is told."""

    def __init__(self, deadline: Deadline, indices: str) -> None:
        self._deadline = deadline
        self._indices = indices

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, Refused):
            return
        about = f"{error.kind} {error.reason}".lower()
        if "search context" in about or "search_context" in about or "point in time" in about:
            raise _Lost(str(error)) from None
        if "time exceeded" in about or "timeout" in about or "task_cancelled" in about:
            raise self._deadline.passed() from None
        if error.kind == "index_closed_exception":
            raise SegmentUnreadable(f"{error.reason}: open it again or delete it") from None
        if error.status >= 500 or error.status == 404:
            raise unreadable(self._indices or "a search", error) from None
        raise EventStoreError(f"the engine refused to search: {error}") from None


def _passes(error: Refused) -> bool:
    """A node that died in the middle of a search: its shards have copies elsewhere, as soon as the cluster knows."""
    about = f"{error.kind} {error.reason}".lower()
    return error.status == 503 or "disconnected" in about or "not connected" in about


def _after(place: tuple[int, ...] | None) -> dict[str, Any]:
    return {"search_after": list(place)} if place else {}


def _check_shards(shards: dict[str, Any]) -> None:
    """Raises SegmentUnreadable, SearchTimedOut where not every shard answered."""
    if not shards.get("failed") and shards.get("successful", 0) + shards.get("failed", 0) >= shards.get("total", 0):
        return
    failures = shards.get("failures") or [{}]
    reason = failures[0].get("reason") or {}
    told = reason.get("reason", "no copy of it is there") if isinstance(reason, dict) else str(reason)
    if "time exceeded" in str(told).lower():
        raise SearchTimedOut(f"a shard had no time: {told}")
    raise SegmentUnreadable(
        f"{shards.get('failed') or 'some'} of {shards.get('total')} shards could not be read"
        f" ({failures[0].get('index') or 'unknown index'}: {told}); GET _cluster/health tells more"
    )
