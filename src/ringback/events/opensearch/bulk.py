"""Many documents in few requests: bounded by bytes, every item's answer examined.

What the engine had no time for is sent again, with growing pauses; what it will never take is told at the end, after
everything else was stored. Documents have ids of their own, so that sending one twice does no harm.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from ringback.events.opensearch.client import BUSY, Client, Refused, is_full, paused, reason_of
from ringback.events.store import EventStoreError, StoreAway, StoreFull, WriteRefused

CHUNK_BYTES = 5_000_000
TIMEOUT_S = 30.0  # of one request
TRIES, PATIENCE_S = 8, 20.0  # for what the engine has no time for
TRIES_AWAY = 3  # of an engine that does not answer
_FIRST_PAUSE_S = 0.1
_PRIMARY = "10s"  # a shard whose node went is waited for as long
_REASONS_TOLD = 3


@dataclass(slots=True)
class Action:
    """A document to be put under `id`. `version`: an older one that is still under way does not replace it."""

    index: str
    id: str
    document: bytes
    version: int | None = None

    def lines(self) -> bytes:
        version = f',"version":{self.version},"version_type":"external_gte"' if self.version is not None else ""
        return (
            f'{{"index":{{"_index":"{self.index}","_id":"{self.id}"{version}}}}}\n'.encode() + self.document + b"\n"
        )


class Bulk:
    """Sends in the order given. `refused` gathers what the engine will never take."""

    def __init__(self, client: Client, *, refresh: bool) -> None:
        self._client = client
        self._params = {"filter_path": "errors,items.*.status,items.*.error", "timeout": _PRIMARY}
        if refresh:
            self._params["refresh"] = "true"
        self.refused: list[str] = []

    def send(self, actions: Iterable[Action]) -> None:
        """Raises StoreFull, StoreAway, EventStoreError."""
        for chunk in _chunks(actions):
            self._send(chunk)

    def check(self) -> None:
        """Raises WriteRefused where something was."""
        if self.refused:
            reasons = "; ".join(dict.fromkeys(self.refused[:_REASONS_TOLD]))
            raise WriteRefused(f"{len(self.refused)} documents were refused for good, the rest is stored: {reasons}")

    def _send(self, chunk: list[Action]) -> None:
        tries, pause, began = 0, _FIRST_PAUSE_S, time.monotonic()
        while True:
            tries += 1
            try:
                chunk, reason = self._once(chunk)
                most = TRIES
            except StoreAway as error:
                reason, most = str(error), TRIES_AWAY
            if not chunk:
                return
            if tries >= most or time.monotonic() - began > PATIENCE_S:
                raise StoreAway(f"the event store took no write in {tries} tries: {reason}")
            pause = paused(pause)

    def _once(self, chunk: list[Action]) -> tuple[list[Action], str]:
        """(what is to be sent again, why)"""
        body = b"".join([action.lines() for action in chunk])
        try:
            answer = self._client.write("POST", "/_bulk", body, TIMEOUT_S, **self._params)
        except Refused as error:
            if error.status in BUSY:
                return chunk, str(error)
            raise EventStoreError(f"a write was refused: {error}") from None
        if not isinstance(answer, dict) or len(answer.get("items", ())) != len(chunk):
            raise EventStoreError("the engine's answer to a write does not tell of every document")
        return self._left(chunk, answer["items"]) if answer.get("errors") else ([], "")

    def _left(self, chunk: list[Action], items: list[dict[str, Any]]) -> tuple[list[Action], str]:
        again: list[Action] = []
        reason = ""
        for action, item in zip(chunk, items, strict=True):
            (result,) = item.values()
            status = result["status"]
            if status < 300:
                continue
            kind, told = reason_of(result)
            if is_full(told):
                raise StoreFull(f"index {action.index}: {told}")
            if status == 409 and action.version is not None:  # clocks differ: the newest write counts all the same
                action.version = None
                again.append(action)
            elif status in BUSY:
                reason = told or kind
                again.append(action)
            else:
                self.refused.append(f"{action.index}/{action.id}: {told or kind} (HTTP {status})")
        return again, reason


def _chunks(actions: Iterable[Action]) -> Iterator[list[Action]]:
    chunk: list[Action] = []
    size = 0
    for action in actions:
        length = len(action.document) + 200
        if chunk and size + length > CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(action)
        size += length
    if chunk:
        yield chunk


def encoded(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document)
