"""What the collector counts, as it is published to the pages and the metrics: DATA/run/collector.json, every second.

Totals go on over restarts. Every packet that reached a socket is in exactly one of: `stored`, `logs`, `lost` (by
reason), `waiting`; those that the kernel dropped for want of buffer are in `lost` as "socket drop". "Stored" means
committed: after a crash at least that many messages are there.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ringback import clock

FILE = "collector.json"
STALE_US = 10_000_000  # a status older than that is of a collector that is gone


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
    waiting: int = 0  # packets received and not stored yet
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

    @property
    def running(self) -> bool:
        return not self.stopped and clock.now_us() - self.updated_us < STALE_US


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
    return CollectorStatus(**known)
