"""Sessions that were allowed, written some at a time beside the call path: of accounts whose calls at once are not limited,
so that nobody has to see them at once. Whoever looks for one flushes first.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import structlog

from ringback.billing.engine.direct import Direct, RecordsAway, RowsRefused
from ringback.billing.engine.queries import Statements

PAUSE_S = 0.1  # between two batches
BATCH = 500
ROOM = 20_000  # that may wait while the records are away; then accounting rates calls from themselves
RETRY_S = 0.5
ELSEWHERE_S = 0.25  # in which another process has written what it allowed

_log = structlog.get_logger()

Row = dict[str, Any]  # values of a session, by column


class Reservations:
    """`put` is called by any thread and waits for nothing."""

    def __init__(self, direct: Direct, statements: Statements) -> None:
        self._direct = direct
        self._statements = statements
        self._rows: dict[tuple[str, str], Row] = {}  # by environment and key: asked twice, reserved once
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._some = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._write_always, name="reservations", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, row: Row) -> None:
        with self._lock:
            if len(self._rows) < ROOM:
                self._rows[row["environment"], row["key"]] = row
        self._some.set()

    def flush(self) -> None:
        """What was put before is written when it returns. Raises RecordsAway."""
        with self._writing:
            while self._write():
                pass

    def close(self) -> None:
        self._ended = True
        self._some.set()
        if self._thread.is_alive():
            self._thread.join()

    def _write_always(self) -> None:
        problem = ""
        while not self._ended:
            self._some.wait()
            time.sleep(PAUSE_S)
            self._some.clear()
            try:
                self.flush()
                problem = ""
            except RecordsAway as error:
                if str(error) != problem:
                    _log.error("sessions cannot be reserved", problem=str(error), waiting=len(self._rows))
                problem = str(error)
                time.sleep(RETRY_S)
                if not self._ended:
                    self._some.set()

    def _write(self) -> bool:
        """One batch; whether there was any. Where it could not be written it waits on."""
        with self._lock:
            some = dict(list(self._rows.items())[:BATCH])
        if not some:
            return False
        try:
            self._direct.write(self._statements.reserve_many, list(some.values()))
        except RowsRefused:
            self._write_singly(list(some.values()))
        with self._lock:
            for name, row in some.items():
                if self._rows.get(name) is row:
                    del self._rows[name]
        return True

    def _write_singly(self, rows: list[Row]) -> None:
        for row in rows:
            try:
                self._direct.write(self._statements.reserve_many, [row])
            except RowsRefused as error:
                _log.warning("a session is not reserved", call_id=row["call_id"], problem=str(error))
