"""The applied values of one moment, and the file that keeps the last ones for a start without the records.

A HEP worker reads the file alone: this module loads no database driver.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import structlog

from ringback.configuration import options as registered
from ringback.configuration.options import Option, Registry
from ringback.records.environments import INSTALLATION

Value = TypeVar("Value")


_log = structlog.get_logger()


class Snapshot:
    """`entry`: the last one of the history that is in it. Immutable."""

    def __init__(
        self,
        entry: int,
        rows: Iterable[tuple[str, str, str]],
        registry: Registry = registered.registry,
    ) -> None:
        """`rows`: (environment, option, JSON). What this version does not know, or would not let pass, is left out."""
        self.entry = entry
        self.rows = tuple(rows)
        self._values: Mapping[tuple[str, str], Any] = dict(_loaded(self.rows, registry))

    def get(self, option: Option[Value], environment: str = INSTALLATION) -> Value | None:
        """None: nothing is applied, not for the whole installation either."""
        for scope in (environment, INSTALLATION):
            if (scope, option.name) in self._values:
                value: Value = self._values[scope, option.name]
                return value
        return None


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Whole or not at all; for our eyes only, though secrets in it are sealed. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"entry": snapshot.entry, "values": snapshot.rows}, file)
    made.replace(path)


def read_snapshot(path: Path, registry: Registry = registered.registry) -> Snapshot | None:
    """None: there is none, or it cannot be read (which is logged)."""
    try:
        document = json.loads(path.read_text())
        rows = [(str(scope), str(name), str(value)) for scope, name, value in document["values"]]
        return Snapshot(int(document["entry"]), rows, registry)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("the last known configuration cannot be read", file=str(path), problem=str(error))
        return None


def _loaded(rows: Iterable[tuple[str, str, str]], registry: Registry) -> Iterable[tuple[tuple[str, str], Any]]:
    for scope, name, text in rows:
        option = registry.get(name)
        if option is None:
            continue
        try:
            yield (scope, option.name), option.kind.load(json.loads(text))
        except ValueError as error:
            _log.error("an applied option does not hold", option=name, problem=str(error))


NOTHING = Snapshot(0, ())
