"""What the engine's processes count, in a file each, so that any of them tells the figures of all."""

from __future__ import annotations

import mmap
import struct
import threading
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ringback.billing.engine.reasons import REASONS

BUCKETS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)  # seconds
EVENTS = ("start", "interim", "stop")
_OUTCOMES = ("allowed", *REASONS)
_NAMES = (
    *(f"authorized {each}" for each in _OUTCOMES), *(f"bucket {each}" for each in (*BUCKETS, "inf")), "seconds",
    *(f"told {each}" for each in EVENTS), "refused requests", "lines written", "lines dropped",
)  # fmt: skip
_PLACE = {name: place for place, name in enumerate(_NAMES)}
_SIZE = 8 * len(_NAMES)
_PATTERN = "engine-*.counts"


class Counters:
    """Of one process; they go on where its forerunner stopped."""

    def __init__(self, folder: Path, number: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"engine-{number}.counts"
        with path.open("a+b") as file:
            if path.stat().st_size != _SIZE:
                file.truncate(0)
                file.truncate(_SIZE)
            self._memory = mmap.mmap(file.fileno(), _SIZE)
        self._counts = memoryview(self._memory).cast("Q")
        self._lock = threading.Lock()

    def authorized(self, outcome: str, seconds: float) -> None:
        """`outcome`: allowed, or a reason's id. `seconds`: from request to answer."""
        place = bisect_left(BUCKETS, seconds)
        bucket = BUCKETS[place] if place < len(BUCKETS) else "inf"
        with self._lock:
            self._counts[_PLACE[f"authorized {outcome}"]] += 1
            self._counts[_PLACE[f"bucket {bucket}"]] += 1
            self._counts[_PLACE["seconds"]] += int(seconds * 1e6)

    def told(self, event: str) -> None:
        self._add(f"told {event}", 1)

    def refused_request(self) -> None:
        """One that was answered 4xx."""
        self._add("refused requests", 1)

    def lines_written(self, lines: int) -> None:
        self._add("lines written", lines)

    def lines_dropped(self, lines: int) -> None:
        self._add("lines dropped", lines)

    def close(self) -> None:
        self._counts.release()
        self._memory.close()

    def _add(self, name: str, count: int) -> None:
        with self._lock:
            self._counts[_PLACE[name]] += count


class EngineMetrics(Collector):
    """Of all processes that count in the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        sums = self._sums()
        answered = CounterMetricFamily(
            "ringback_engine_authorizations", "Calls that nodes asked for", labels=["result", "reason"]
        )
        for outcome in _OUTCOMES:
            labels = ["allowed", ""] if outcome == "allowed" else ["refused", outcome]
            answered.add_metric(labels, sums[f"authorized {outcome}"])
        yield answered
        seconds = HistogramMetricFamily("ringback_engine_authorize_seconds", "From request to answer")
        buckets, below = [], 0
        for each in (*BUCKETS, "inf"):
            below += sums[f"bucket {each}"]
            buckets.append(("+Inf" if each == "inf" else str(each), below))
        seconds.add_metric([], buckets, sums["seconds"] / 1e6)
        yield seconds
        told = CounterMetricFamily("ringback_engine_accounting", "Accounting requests taken", labels=["event"])
        for event in EVENTS:
            told.add_metric([event], sums[f"told {event}"])
        yield told
        yield CounterMetricFamily(
            "ringback_engine_requests_refused", "Requests answered 4xx", value=sums["refused requests"]
        )
        yield CounterMetricFamily(
            "ringback_engine_log_lines_written", "Lines of the billing log stored", value=sums["lines written"]
        )
        yield CounterMetricFamily(
            "ringback_engine_log_lines_dropped", "Lines of the billing log lost", value=sums["lines dropped"]
        )

    def _sums(self) -> dict[str, int]:
        sums = [0] * len(_NAMES)
        for path in self._folder.glob(_PATTERN):
            data = path.read_bytes()
            if len(data) == _SIZE:
                sums = [one + more for one, more in zip(sums, struct.unpack(f"{len(_NAMES)}Q", data), strict=True)]
        return dict(zip(_NAMES, sums, strict=True))
