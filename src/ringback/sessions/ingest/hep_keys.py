"""Which keys let a HEP sender in: the collector keeps what is applied in a file, its workers look at that between two batches.

So no packet waits for the records, and what was applied last holds when the collector starts while they are away.
"""

from __future__ import annotations

import hmac
from pathlib import Path

import structlog

from ringback.configuration.snapshot import NOTHING, Snapshot, read_snapshot
from ringback.sessions.options import HEP_KEYS

FILE = "configuration.json"  # in the run folder

_log = structlog.get_logger()


class KeysFollower:
    """A worker's end. `otherwise`: the key that holds until keys are applied; "" lets everybody in."""

    def __init__(self, file: Path | None, otherwise: str = "", secrets_key: Path | None = None) -> None:
        self._file = file
        self._otherwise = (otherwise,) if otherwise else ()
        self._secrets_key = secrets_key
        self._seen = self._stamp()
        self._keys: tuple[bytes, ...] | None = None  # None: there are keys that cannot be opened
        self._take((read_snapshot(file) if file else None) or NOTHING)

    @property
    def asks(self) -> bool:
        """Whether a sender has to give a key at all."""
        return self._keys != ()

    def lets_in(self, given: bytes) -> bool:
        return any(hmac.compare_digest(given, key) for key in self._keys or ())

    def look(self) -> None:
        """Takes in what the file says since the last look. A file that cannot be read changes nothing."""
        stamp = self._stamp()
        if self._file is None or stamp == self._seen:
            return
        self._seen = stamp
        snapshot = read_snapshot(self._file)
        if snapshot is not None:
            self._take(snapshot)

    def _take(self, snapshot: Snapshot) -> None:
        if self._secrets_key is not None and any(name == HEP_KEYS.name for _, name, _ in snapshot.rows):
            from ringback.records.secrets import ring  # not above: a worker without secrets loads no cryptography

            ring.use(self._secrets_key)
        if not snapshot.is_sound(HEP_KEYS):
            in_force = "those before stay in force" if self._keys else "every packet is refused"
            _log.error("the keys of HEP senders cannot be opened", option=HEP_KEYS.name, then=in_force)
            return
        applied = snapshot.get(HEP_KEYS)
        keys = tuple(key.encode() for key in (self._otherwise if applied is None else applied))
        if self._keys is not None and keys != self._keys:
            _log.info("other keys let HEP senders in", keys=len(keys))
        self._keys = keys

    def _stamp(self) -> tuple[int, int]:
        try:
            status = self._file.stat() if self._file else None
        except OSError:
            return 0, 0
        return (status.st_ino, status.st_mtime_ns) if status else (0, 0)
