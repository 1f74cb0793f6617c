"""/metrics: figures for Prometheus. They name no person, number or session, so that no login stands before them."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ringback.events.store import EventStore


class StoreMetrics(Collector):
    """What the event store holds, asked at each scrape."""

    def __init__(self, events: EventStore) -> None:
        self._events = events

    def collect(self) -> Iterator[Metric]:
        status = self._events.status()
        amounts = {
            "ringback_store_bytes": ("Bytes of the segments", "bytes"),
            "ringback_store_legs": ("Leg rows stored", "legs"),
            "ringback_store_messages": ("SIP messages stored", "messages"),
            "ringback_store_log_lines": ("Log lines stored", "logs"),
        }
        for name, (meaning, attribute) in amounts.items():
            total = sum(getattr(segment, attribute) for segment in status.segments)
            yield GaugeMetricFamily(name, meaning, value=total)
        broken = sum(bool(segment.problem) for segment in status.segments)
        yield GaugeMetricFamily("ringback_store_unreadable_segments", "Segments that cannot be read", value=broken)
        if status.free_bytes is not None:
            yield GaugeMetricFamily(
                "ringback_disk_free_bytes", "Free on the disk of the data", value=status.free_bytes
            )


def make_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry
