"""What the collector counts, as it is published to the pages and the metrics: DATA/run/collector.json, every second.

Totals go on over restarts. Every packet that reached a socket is in exactly one of: `stored`, `logs`, `lost` (by
reason), `waiting`; those that the kernel dropped for want of buffer are in `lost` as "socket drop". "Stored" means
committed: after a crash at least that many messages are there. So that they are exact then too, each process also writes
its own totals to a file, DATA/run/NAME.count, and what it held in memory is counted as "killed" by the next start.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ringback import clock

FILE = "collector.json"
STALE_US = 10_000_000  # a status older than that is of a collector that is gone


SOCKET_DROP = "socket drop"


@dataclass(slots=True)
class Totals:
    """What one process, or all, did with packets."""

    received: int = 0
    stored: int = 0
    logs: int = 0
    spooled: int = 0  # packets that went by way of the spool
    lost: dict[str, int] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """Received and neither stored nor lost. What the kernel dropped was never received."""
        lost = sum(self.lost.values()) - self.lost.get(SOCKET_DROP, 0)
        return self.received - self.stored - self.logs - lost

    def plus(self, others: Iterable[Totals]) -> Totals:
        everything = [self, *others]
        lost: Counter[str] = Counter()
        for each in everything:
            lost.update(each.lost)
        return Totals(
            sum(each.received for each in everything),
            sum(each.stored for each in everything),
            sum(each.logs for each in everything),
            sum(each.spooled for each in everything),
            {reason: count for reason, count in sorted(lost.items()) if count},
        )


class CountFile:
    """A process's totals on disk, for the time after a crash."""

    def __init__(self, path: Path, life: int) -> None:
        """`life` tells the collector's starts apart. Raises OSError."""
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
        self._life = life

    def write(self, totals: Totals) -> None:
        """One system call, so that a kill leaves the old or the new; a disk that is full leaves the old."""
        with suppress(OSError):
            os.pwrite(self._fd, orjson.dumps([self._life, asdict(totals)]) + b"\n", 0)


def read_count(path: Path, life: int) -> Totals | None:
    """None where the process did not count in that life."""
    try:
        found, totals = orjson.loads(path.read_bytes().split(b"\n", 1)[0])
    except (OSError, ValueError):
        return None
    return Totals(**totals) if found == life else None


@dataclass(slots=True)
class SenderStatus:
    """One capture agent as one address sends it; `agent` "" where packets name none."""

    address: str
    agent: str
    packets: int
    last_us: int


@dataclass(slots=True)
class CollectorStatus:
    updated_us: int = 0
    started_us: int = 0
    stopped: bool = False  # in order; a collector that crashed is not `running` and not `stopped`
    endpoints: list[str] = field(default_factory=list)  # "udp 127.0.0.1:9060"
    received: int = 0  # packets
    stored: int = 0  # SIP messages
    logs: int = 0  # log lines and quality reports
    lost: dict[str, int] = field(default_factory=dict)  # reason -> packets; "keep-alive" and its like included
    waiting: int = 0  # packets received and not stored yet, in memory or in the spool
    spooled: int = 0  # packets that went by way of the spool
    spool_bytes: int = 0  # on disk, now
    spool_packets: int = 0  # that wait in it; some may be stored already
    spool_oldest_us: int = 0  # when the oldest of them was received; 0: none waits
    spool_limit: int = 0  # bytes; 0: there is no spool
    receive_buffer: int = 0  # bytes that the kernel grants the smallest UDP socket
    received_rate: float = 0.0  # packets a second, over the last ten seconds
    stored_rate: float = 0.0
    lag_ms: float = 0.0  # from receipt to commit, in the last write
    open_legs: int = 0
    connections: int = 0  # TCP and TLS, now
    senders: list[SenderStatus] = field(default_factory=list)  # the busiest first
    strangers: dict[str, int] = field(
        default_factory=dict
    )  # address -> packets or connections refused by the allow-list
    problem: str = ""  # why nothing can be stored just now
    kernel_drops: dict[str, int] = field(default_factory=dict)  # the kernel's own counter by socket inode

    base: Totals = field(default_factory=Totals)  # of the collectors before
    parts: dict[str, Totals] = field(default_factory=dict)  # of this one, by process

    @property
    def running(self) -> bool:
        return not self.stopped and clock.now_us() - self.updated_us < STALE_US

    @property
    def behind_s(self) -> float:
        """Age of the oldest packet that waits in the spool, seconds; 0.0: the spool is empty."""
        return max(0.001, (self.updated_us - self.spool_oldest_us) / 1e6) if self.spool_oldest_us else 0.0


def read_collector_status(data: Path) -> CollectorStatus | None:
    """The last status of the collector of a data folder; None when there never was one."""
    try:
        document = orjson.loads((data / "run" / FILE).read_bytes())
    except FileNotFoundError:
        return None
    except orjson.JSONDecodeError:
        return None  # cut by a crash of the machine: the next second writes it anew
    return status_of(document)


def write_collector_status(data: Path, status: CollectorStatus) -> None:
    """Readers see the old or the new one, never a part. Raises OSError."""
    folder = data / "run"
    folder.mkdir(parents=True, exist_ok=True)
    written = folder / f"{FILE}.{os.getpid()}"
    written.write_bytes(orjson.dumps(asdict(status)))
    written.replace(folder / FILE)


def status_of(document: dict[str, Any]) -> CollectorStatus:
    """From its JSON; what this version does not know is left out."""
    known = {name: value for name, value in document.items() if name in CollectorStatus.__dataclass_fields__}
    known["senders"] = [SenderStatus(**each) for each in known.get("senders", [])]
    known["base"] = Totals(**known.get("base", {}))
    known["parts"] = {name: Totals(**each) for name, each in known.get("parts", {}).items()}
    status = CollectorStatus(**known)
    if "parts" not in document:  # of a version that kept only sums
        status.base = Totals(status.received, status.stored, status.logs, 0, status.lost)
    return status
