"""Requests to the engine: fail-over between hosts, deadlines, and errors that say what to do."""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections.abc import Mapping
from typing import Any

import orjson
import urllib3
from opensearchpy import OpenSearch
from opensearchpy.exceptions import (
    ConnectionError as Unreachable,
)
from opensearchpy.exceptions import (
    ConnectionTimeout,
    OpenSearchException,
    SSLError,
    TransportError,
)
from opensearchpy.serializer import JSONSerializer

from ringback.events.opensearch.address import Address
from ringback.events.store import (
    EventStoreError,
    SearchTimedOut,
    SegmentUnreadable,
    StoreAway,
    StoreFull,
)

CONNECT_S = 3.0
_CONNECTIONS = 16
_DEAD_S = 5.0  # a host that did not answer is asked again after
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
BUSY = frozenset({429, 502, 503, 504})
_FULL = ("flood-stage", "flood stage", "read-only / allow delete", "no space left", "disk usage exceeded")

# It tells of every failed request with a traceback; what matters of them is raised, and told once by who asked.
logging.getLogger("opensearch").setLevel(logging.CRITICAL)


class Deadline:
    """A moment after which a read fails."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, more than none. Raises SearchTimedOut."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise self.passed()
        return left

    def passed(self) -> SearchTimedOut:
        return SearchTimedOut(f"not everything was read within {self._seconds:g} s; ask for a shorter time or less")


class _Json(JSONSerializer):
    def loads(self, s: str) -> Any:
        return orjson.loads(s)


class Refused(Exception):
    """The engine answered with an error. `kind` is its name for it, `status` that of HTTP."""

    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(f"{reason or kind or 'no reason given'} (HTTP {status})")
        self.status = status
        self.kind = kind
        self.reason = reason


class Client:
    """Thread-safe. Connects when first asked."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._lock = threading.Lock()
        self._opened: OpenSearch | None = None

    def read(self, method: str, path: str, deadline: Deadline, body: object = None, **params: str) -> Any:
        """Tries again while the engine has no time, until the deadline. Raises Refused, SearchTimedOut, StoreAway,
        EventStoreError."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                return self._once(method, path, deadline.left(), None if body is None else orjson.dumps(body), params)
            except ConnectionTimeout:
                raise deadline.passed() from None
            except Refused as error:
                if error.status != 429 or deadline.left() < pause:
                    raise
            pause = paused(pause)

    def write(self, method: str, path: str, body: bytes, timeout_s: float, **params: str) -> Any:
        """Once. Raises Refused, StoreAway, EventStoreError."""
        try:
            return self._once(method, path, timeout_s, body, params)
        except ConnectionTimeout:
            raise StoreAway(f"{self.address.shown}: no answer to a write within {timeout_s:g} s") from None

    def close(self) -> None:
        with self._lock:
            if self._opened:
                self._opened.close()
            self._opened = None

    def _once(self, method: str, path: str, timeout_s: float, body: bytes | None, params: Mapping[str, str]) -> Any:
        timeout: Any = urllib3.Timeout(connect=min(CONNECT_S, timeout_s), read=timeout_s)
        try:
            return self._client().transport.perform_request(
                method, path, params=dict(params), body=body, timeout=timeout
            )
        except ConnectionTimeout:
            raise
        except SSLError as error:
            raise StoreAway(
                f"{self.address.shown}: TLS failed ({error.error}); ca=FILE in RINGBACK_EVENTS_URL names the authority"
            ) from None
        except Unreachable as error:
            raise StoreAway(
                f"the event store at {self.address.shown} does not answer: {_plain(error.error)}"
            ) from None
        except TransportError as error:
            raise self._refused(error) from None
        except (OpenSearchException, ValueError, AttributeError) as error:  # the last: JSON that is no object
            raise EventStoreError(f"{self.address.shown} did not answer as an engine does: {error}") from None

    def _refused(self, error: TransportError) -> Exception:
        status = int(error.status_code)
        if status == 401:
            return EventStoreError(
                f"{self.address.shown} refused the user, password or API key of RINGBACK_EVENTS_URL"
            )
        if status == 413:
            return EventStoreError(
                f"{self.address.shown} takes no request of that size: raise http.max_content_length"
            )
        refused = Refused(status, *reason_of(error.info))
        if status == 403 and not refused.kind.startswith("cluster_block"):
            return EventStoreError(f"{self.address.shown} refused it: {refused.reason}; give the user that privilege")
        return StoreFull(refused.reason) if is_full(refused.reason) else refused

    def _client(self) -> OpenSearch:
        with self._lock:
            if self._opened is None:
                self._opened = _opened(self.address)
            return self._opened


def _opened(address: Address) -> OpenSearch:
    options: dict[str, Any] = {}
    if address.user:
        options["http_auth"] = (address.user, address.password)
    if address.api_key:
        options["headers"] = {"authorization": f"ApiKey {address.api_key}"}
    if address.ca:
        options["ca_certs"] = str(address.ca)
    hosts = [{"host": host, "port": port} | ({"url_prefix": address.path} if address.path else {})
             for host, port in address.hosts]  # fmt: skip
    try:
        return OpenSearch(
            hosts, use_ssl=address.secure, pool_maxsize=_CONNECTIONS, dead_timeout=_DEAD_S,
            max_retries=len(hosts), retry_on_status=(502, 503, 504), serializer=_Json(), **options,
        )  # fmt: skip
    except (OSError, ValueError, OpenSearchException) as error:
        raise EventStoreError(f"RINGBACK_EVENTS_URL: {error}") from None


def _plain(told: str) -> str:
    """Without the objects of the client that stand before the reason."""
    return re.sub(r"^(?:<[^>]*>|\w+\([^)]*\)): ", "", told)


def paused(seconds: float) -> float:
    """Sleeps between half and all of it, so that many writers do not come back at once; returns the next pause."""
    time.sleep(seconds * random.uniform(0.5, 1.0))
    return min(2 * seconds, _LONGEST_PAUSE_S)


def reason_of(info: Any) -> tuple[str, str]:
    """(kind, reason) of the engine's error, the innermost where one is told."""
    error = info.get("error") if isinstance(info, dict) else None
    if not isinstance(error, dict):
        return "", str(error or "")[:500]
    inner = error
    for shard in error.get("failed_shards") or ():
        if isinstance(shard, dict) and isinstance(shard.get("reason"), dict):
            inner = shard["reason"]
    while isinstance(inner.get("caused_by"), dict):
        inner = inner["caused_by"]
    reason = str(error.get("reason") or "")
    because = str(inner.get("reason") or "")
    told = f"{reason}: {because}" if because and because not in reason else reason
    index = str(inner.get("index") or error.get("index") or "")
    if index and index not in told:
        told = f"index {index}: {told}"
    return str(error.get("type") or ""), told[:500]


def is_full(reason: str) -> bool:
    return any(sign in reason.lower() for sign in _FULL)


def unreadable(what: str, error: Refused) -> SegmentUnreadable:
    return SegmentUnreadable(f"{what}: {error}; GET _cluster/health and _cluster/allocation/explain tell more")
