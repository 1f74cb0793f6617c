"""What holds, in this process: asked of the records every few seconds, told at once.

current = Current(settings, engine, role="web")
current.start()
current.value(LOG_MAX_AGE)
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ringback import clock
from ringback.configuration import queries
from ringback.configuration.models import ConfigurationSeen
from ringback.configuration.options import Option
from ringback.configuration.snapshot import NOTHING, Snapshot, read_snapshot, write_snapshot
from ringback.records.engine import RecordsUnavailable, open_engine, reading, unit_of_work
from ringback.records.tables import INSTALLATION
from ringback.records.wall import EVERYWHERE
from ringback.settings import Settings

POLL_SECONDS = 1.5  # an applied value is in use everywhere within five
PATIENCE = 10.0  # seconds that a start waits for the records
_LAST_WORD_SECONDS = 3.0

Value = TypeVar("Value")
_log = structlog.get_logger()


class Current:
    """Applied values, else what environment variables or defaults say. Reading costs no query; any thread may.

    While the records are away the last known values hold. With a `file` these are kept over a restart. With a `role`
    the records are told which entry of the history this process has taken in.
    """

    def __init__(
        self,
        settings: Settings,
        records: Engine | None = None,
        *,
        role: str = "",
        file: Path | None = None,
        changed: Callable[[Snapshot], None] = lambda _: None,
    ) -> None:
        """`records`: None opens them by `settings` when they can be opened. `changed` is called by the thread that
        refreshes."""
        self._settings = settings
        self._records, self._own = records, records is None
        self._role = role
        self._file = file
        self._changed = changed
        self._snapshot = (read_snapshot(file) if file else None) or NOTHING
        self._told: int | None = None  # what the records were told that we have
        self._known = False  # whether the records were read at least once
        self._problem = ""
        self._ended = threading.Event()
        self._looked = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def entry(self) -> int:
        """The last entry of the history that was taken in; 0: none."""
        return self._snapshot.entry

    def value(self, option: Option[Value], environment: str = INSTALLATION) -> Value:
        found = self._snapshot.get(option, environment)
        return option.otherwise(self._settings) if found is None else found

    def is_sound(self, option: Option[Any]) -> bool:
        """False: something is applied that this version cannot use, and `value` tells what holds otherwise."""
        return self._snapshot.is_sound(option)

    def start(self, patience: float = PATIENCE) -> None:
        """Follows in a thread, from a first look on that is waited for so many seconds."""
        self._thread = threading.Thread(target=self._refresh_always, name="configuration", daemon=True)
        self._thread.start()
        self._looked.wait(patience)

    def looked(self, seconds: float) -> bool:
        """Whether the records were asked once, waited for."""
        return self._looked.wait(seconds)

    def close(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(_LAST_WORD_SECONDS)
            if self._thread.is_alive():
                return  # it hangs in the records
        if self._own and self._records is not None:
            self._records.dispose()
            self._records = None

    def refresh(self) -> bool:
        """Whether the records could be read. What keeps them from it is logged once."""
        problem = ""
        try:
            self._refresh()
        except (RecordsUnavailable, OSError) as error:
            problem = str(error)
        except SQLAlchemyError as error:
            problem = f"the records: {getattr(error, 'orig', None) or error}"
        if problem and problem != self._problem:
            _log.warning("the last known configuration holds", entry=self.entry, problem=problem)
        self._problem = problem
        return not problem

    def _refresh_always(self) -> None:
        while True:
            self.refresh()
            self._looked.set()
            if self._ended.wait(POLL_SECONDS):
                return

    def _refresh(self) -> None:
        if self._records is None:
            file = _sqlite_file(self._settings.records_url)
            if file is not None and not file.is_file():
                return  # nobody has made the records yet: nothing is applied
            self._records = open_engine(self._settings.records_url)
        with reading(self._records, EVERYWHERE) as session:
            entry = queries.latest(session)
            if entry != self.entry or not self._known:  # also where it went back: the records were restored
                rows = [(row.environment, row.name, row.value) for row in queries.values(session)]
                snapshot = Snapshot(entry, rows)
                differs = snapshot.rows != self._snapshot.rows or entry != self.entry
                self._snapshot, self._known = snapshot, True
            else:
                differs = False
        if differs:
            _log.info("configuration taken in", entry=entry)
            self._changed(self._snapshot)
        if self._file is not None and (differs or not self._file.exists()):
            write_snapshot(self._file, self._snapshot)
        if self._role and self._told != entry:
            self._tell(self._records, entry)

    def _tell(self, records: Engine, entry: int) -> None:
        host = self._settings.host_name
        with unit_of_work(records, EVERYWHERE) as work:
            work.lock("configuration seen", host, self._role)
            row = work.get(ConfigurationSeen, (host, self._role))
            if row is None:
                work.add(ConfigurationSeen(host=host, role=self._role, apply_id=entry, seen_at=clock.now()))
            elif row.apply_id != entry or self._told is None:
                row.apply_id, row.seen_at = entry, clock.now()
        self._told = entry


def _sqlite_file(url: str) -> Path | None:
    """None: the records are elsewhere."""
    scheme, _, path = url.partition(":///")
    return Path(path.partition("?")[0]) if scheme.startswith("sqlite") else None
