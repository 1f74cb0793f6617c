"""The applied values of one moment, and the file that keeps the last ones for a start without the records.

A HEP worker reads the file alone: this module loads no database driver.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import structlog

from ringback.configuration.options import Option
from ringback.records.environments import INSTALLATION

Value = TypeVar("Value")


_log = structlog.get_logger()


class Snapshot:
    """`entry`: the last one of the history that is in it. What it says never changes."""

    def __init__(self, entry: int, rows: Iterable[tuple[str, str, str]]) -> None:
        """`rows`: (environment, option, JSON)."""
        self.entry = entry
        self.rows = tuple(rows)
        self._texts = {(scope, name): text for scope, name, text in self.rows}
        self._loaded: dict[tuple[str, str], tuple[Any] | None] = {}  # None: this version cannot use it

    def get(self, option: Option[Value], environment: str = INSTALLATION) -> Value | None:
        """None: nothing is applied that can be used, not for the whole installation either."""
        for scope in (environment, INSTALLATION):
            found = self._load(option, scope)
            if found is not None:
                value: Value = found[0]
                return value
        return None

    def is_sound(self, option: Option[Any]) -> bool:
        """Whether all that is applied of it can be used."""
        return all(self._load(option, scope) is not None for scope, name in self._texts if name == option.name)

    def _load(self, option: Option[Any], scope: str) -> tuple[Any] | None:
        key = scope, option.name
        if key not in self._texts:
            return None
        if key not in self._loaded:
            try:
                self._loaded[key] = (option.kind.load(json.loads(self._texts[key])),)
            except ValueError as error:
                _log.error("an applied option cannot be used", option=option.name, scope=scope, problem=str(error))
                self._loaded[key] = None
        return self._loaded[key]


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Whole or not at all; for our eyes only, though secrets in it are sealed. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"entry": snapshot.entry, "values": snapshot.rows}, file)
    made.replace(path)


def read_snapshot(path: Path) -> Snapshot | None:
    """None: there is none, or it cannot be read (which is logged)."""
    try:
        document = json.loads(path.read_text())
        rows = [(str(scope), str(name), str(value)) for scope, name, value in document["values"]]
        return Snapshot(int(document["entry"]), rows)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("the last known configuration cannot be read", file=str(path), problem=str(error))
        return None


NOTHING = Snapshot(0, ())
