"""How the rules reach the processes that store traffic, without any of them asking the records while packets wait.

The collector reads them from the records every two seconds and writes what has changed to DATA/run/traffic-rules.json;
its workers look at that file between two batches. So the file also holds what was known last when the records are away
at the next start. Where nothing was ever known, traffic is unassigned: never a wrong tenant's.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from ringback.sessions.ownership.rules import ALL_UNASSIGNED, KINDS, ONE_TENANT, Rule, TrafficRules

if TYPE_CHECKING:
    from sqlalchemy import Engine

FILE = "traffic-rules.json"
READ_SECONDS = 2.0
TABLE = "traffic_rules"
_COLUMNS = "kind, value, target, senders"
_SQLITE = "sqlite:///"

_log = structlog.get_logger()


class RulesUnknown(Exception):
    """The rules cannot be read from the records: why."""


class RulesReader:
    """Reads the rules in force from the records. A file is opened anew each time, a server stays connected to."""

    def __init__(self, records_url: str) -> None:
        self._url = records_url
        self._engine: Engine | None = None

    def read(self) -> TrafficRules:
        """Records without the table of the rules are of a version that had one tenant. Raises RulesUnknown."""
        if self._url.startswith(_SQLITE):
            return _read_sqlite(self._url.removeprefix(_SQLITE).partition("?")[0])
        from sqlalchemy.exc import SQLAlchemyError

        from ringback.records.engine import RecordsUnavailable, open_engine
        from ringback.sessions.ownership.queries import rules_in_force

        try:
            self._engine = self._engine or open_engine(self._url)
            return rules_in_force(self._engine)
        except (RecordsUnavailable, SQLAlchemyError) as error:
            raise RulesUnknown(" ".join(str(error).split())) from error

    def close(self) -> None:
        if self._engine:
            self._engine.dispose()


def read_rules(records_url: str) -> TrafficRules:
    """As `RulesReader.read`, once."""
    with closing(RulesReader(records_url)) as reader:
        return reader.read()


def _read_sqlite(path: str) -> TrafficRules:
    """Without SQLAlchemy, whose import costs an import of a capture more than anything else it does at its start."""
    if not Path(path).is_file():
        return ONE_TENANT
    try:
        with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as records:
            if not records.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (TABLE,)).fetchone():
                return ONE_TENANT
            found = records.execute(f"SELECT {_COLUMNS} FROM {TABLE} ORDER BY position, id").fetchall()  # noqa: S608
    except sqlite3.Error as error:
        raise RulesUnknown(f"{path}: {error}") from error
    return TrafficRules([Rule(kind, value, target, split_senders(senders)) for kind, value, target, senders in found])


def split_senders(text: str) -> tuple[str, ...]:
    return tuple(text.split(", ")) if text else ()


def save_rules(folder: Path, rules: TrafficRules) -> None:
    """Raises OSError."""
    path = folder / FILE
    written = path.with_name(f"{FILE}.{os.getpid()}")
    lines = [[rule.kind, rule.value, rule.environment, list(rule.senders)] for rule in rules.rules]
    written.write_bytes(orjson.dumps({"rules": lines}))
    written.replace(path)


def saved_rules(folder: Path) -> TrafficRules | None:
    """Those that were known last; None where none were, or the file cannot be read (which is logged)."""
    try:
        document = orjson.loads((folder / FILE).read_bytes())
        return TrafficRules([_rule(line) for line in document["rules"]])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.error(
            "the rules of ownership that were known last cannot be read", file=str(folder / FILE), problem=str(error)
        )
        return None


def _rule(line: Sequence[Any]) -> Rule:
    kind, value, environment, senders = line
    if kind not in KINDS or not all(isinstance(text, str) for text in (value, environment, *senders)):
        raise ValueError(f"{line!r} is no rule")
    return Rule(kind, value, environment, tuple(senders))


class RulesFollower:
    """A worker's end: `rules` are in force; `look` sees whether the file has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = self._stamp()
        known = saved_rules(folder)
        if known is None:
            _log.warning("whose traffic it is cannot be told yet: it is unassigned, for administrators to see")
        self.rules = known or ALL_UNASSIGNED

    def look(self) -> bool:
        """Whether other rules are in force now."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        rules = saved_rules(self._folder)
        if rules is None or rules == self.rules:
            return False
        self.rules = rules
        _log.info("other rules of ownership are in force", rules=len(rules.rules))
        return True

    def _stamp(self) -> tuple[int, int]:
        try:
            status = (self._folder / FILE).stat()
        except OSError:
            return 0, 0  # none yet: what is known stays in force
        return status.st_ino, status.st_mtime_ns


class RulesKeeper:
    """The collector's end: a thread that reads the records now and then, until `stop`."""

    def __init__(self, records_url: str, folder: Path) -> None:
        self._reader = RulesReader(records_url)
        self._folder = folder
        self._known = saved_rules(folder)
        self._problem = ""
        self._stop = threading.Event()
        self._tried = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic-rules", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tried(self, seconds: float) -> bool:
        """Whether the records were asked once, waited for."""
        return self._tried.wait(seconds)

    def stop(self) -> None:
        """A read under way is not waited for."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._read()
            self._tried.set()
            self._stop.wait(READ_SECONDS)
        self._reader.close()

    def _read(self) -> None:
        try:
            rules = self._reader.read()
            if rules != self._known:
                save_rules(self._folder, rules)
                self._known = rules
        except (RulesUnknown, OSError) as error:
            if not self._problem:
                _log.error(
                    "the rules of ownership cannot be read; those known last stay in force", problem=str(error)
                )
            self._problem = str(error)
        else:
            if self._problem:
                _log.info("the rules of ownership can be read again")
            self._problem = ""
