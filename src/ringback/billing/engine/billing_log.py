"""The billing log: what the engine looked at and why it decided so, a line a step, in the event store.

Lines are written beside the call path, in batches. While the store is away they wait, as many as there is room for; what
finds none is dropped and counted.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import islice

import structlog

from ringback import clock
from ringback.events import EventStore, EventStoreError
from ringback.events.store import LogRecord, WriteRefused

KIND, ENGINE = "billing", "ringback"
ROOM = 200_000  # lines that may wait
BATCH = 500  # requests, of some eight lines each
PAUSE_S = 0.25  # between two batches: a line is searched for within half a second
RETRY_S = 1.0
LAST_WORD_S = 8.0  # that lines have to be written when the process stops

_log = structlog.get_logger()


class Trail:
    """The steps of one request, in order. What is known of the call stands on its last line, so that one line tells all."""

    __slots__ = ("_at", "_known", "_lines", "account", "call_id", "conf_id", "environment", "node")

    def __init__(
        self, environment: str, node: str, call_id: str, conf_id: str, account: str, **known: object
    ) -> None:
        self.environment, self.node, self.call_id, self.conf_id = environment, node, call_id, conf_id
        self.account = account
        self._known = known
        self._at = clock.now_us()
        self._lines: list[tuple[str, str, dict[str, str]]] = []

    def tell(self, step: str, text: str, level: str = "info", **fields: object) -> None:
        """`text`: one sentence with its numbers. Fields that are None or "" are left out."""
        told = {"step": step, "engine": ENGINE}
        for name, value in fields.items():
            if value is not None and value != "":
                told[name] = str(value)
        self._lines.append((text, level, told))

    def know(self, **known: object) -> None:
        """Fields of the last line."""
        self._known |= known

    def decide(self, text: str, level: str = "info", **fields: object) -> None:
        """The last line."""
        self.tell("decision", text, level, **self._known, **fields)

    @property
    def count(self) -> int:
        return len(self._lines)

    def records(self) -> list[LogRecord]:
        """A microsecond apart, so that their order is known."""
        return [
            LogRecord(
                self.environment, self._at + place, KIND, self.node, level, text, self.call_id, self.conf_id,
                self.account, fields,
            )
            for place, (text, level, fields) in enumerate(self._lines)
        ]  # fmt: skip


class BillingLog:
    """`put` is called by any thread and waits for nothing."""

    def __init__(
        self, store: EventStore, *, dropped: Callable[[int], None] = lambda _: None,
        written: Callable[[int], None] = lambda _: None, room: int = ROOM,
    ) -> None:  # fmt: skip
        self._store = store
        self._room = room
        self._dropped, self._written = dropped, written
        self._trails: deque[Trail] = deque()
        self._waiting = 0  # lines
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.problem = ""
        self._thread = threading.Thread(target=self._write_always, name="billing log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def waiting(self) -> int:
        return self._waiting

    def put(self, trail: Trail) -> None:
        lines = trail.count
        with self._lock:
            if self._waiting + lines > self._room:
                self._dropped(lines)
                return
            self._waiting += lines
            self._trails.append(trail)

    def close(self) -> None:
        """What waits is written, if that can be done soon."""
        self._ended.set()
        self._thread.join(LAST_WORD_S + RETRY_S)

    def _write_always(self) -> None:
        while not self._ended.wait(PAUSE_S):
            while self._write():
                pass
        deadline = time.monotonic() + LAST_WORD_S
        while self._trails and time.monotonic() < deadline:
            if not self._write():
                time.sleep(0.1)
        if self._waiting:
            _log.error("lines of the billing log are lost", lines=self._waiting, problem=self.problem)
            self._dropped(self._waiting)

    def _write(self) -> bool:
        """One batch; whether there may be more. Where it could not be written it waits on."""
        with self._lock:
            trails = list(islice(self._trails, BATCH))
        if not trails:
            return False
        batch = [record for trail in trails for record in trail.records()]
        problem, refused = "", False
        try:
            self._store.write_logs(batch)
        except WriteRefused as error:
            problem, refused = str(error), True
        except EventStoreError as error:
            problem = str(error)
        if problem and problem != self.problem:
            _log.warning("lines of the billing log are not written", problem=problem, waiting=self._waiting)
        self.problem = problem
        if problem and not refused:
            self._ended.wait(RETRY_S)
            return False
        with self._lock:
            for _ in trails:
                self._trails.popleft()
            self._waiting -= len(batch)
        self._written(len(batch))
        return len(trails) >= BATCH
