"""/metrics: figures for Prometheus. They name no person, number or session, so that no login stands before them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ringback import clock
from ringback.audit.relay import lag, store_name
from ringback.events.store import EventStore, EventStoreError
from ringback.hosts.service import FORGOTTEN_AFTER, STOPPED_FORGOTTEN_AFTER
from ringback.sessions.ingest.status import read_collector_status
from ringback.sessions.status.store import store_status
from ringback.settings import Settings


class StoreMetrics(Collector):
    """What the event store holds."""

    def __init__(self, events: EventStore) -> None:
        self._events = events

    def collect(self) -> Iterator[Metric]:
        try:
            status = store_status(self._events)
        except EventStoreError:
            yield GaugeMetricFamily("ringback_store_up", "1: the event store answers", value=0)
            return
        yield GaugeMetricFamily("ringback_store_up", "1: the event store answers", value=1)
        amounts = {
            "ringback_store_bytes": ("Bytes of the segments", "bytes"),
            "ringback_store_legs": ("Leg rows stored", "legs"),
            "ringback_store_messages": ("SIP messages stored", "messages"),
            "ringback_store_log_lines": ("Log lines stored", "logs"),
            "ringback_store_audit_rows": ("Copies of audit records stored", "audits"),
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


class AuditMetrics(Collector):
    """What the event store lacks of the audit records; nothing while the records are away."""

    def __init__(self, records: Engine, settings: Settings) -> None:
        self._records = records
        self._name = store_name(settings)

    def collect(self) -> Iterator[Metric]:
        try:
            behind = lag(self._records, self._name)
        except SQLAlchemyError:
            return
        yield GaugeMetricFamily(
            "ringback_audit_records_waiting",
            "Audit records that the event store has no copy of yet",
            value=behind.records,
        )
        yield GaugeMetricFamily("ringback_audit_lag_seconds", "Age of the oldest of them", value=behind.seconds)
        yield GaugeMetricFamily(
            "ringback_audit_batches_refused",
            "Batches of audit records of which the event store will never take some",
            value=behind.refused,
        )


class CollectorMetrics(Collector):
    """What the collector counts, read from its status at each scrape; nothing where none ran for long."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def collect(self) -> Iterator[Metric]:
        status = read_collector_status(self._data)
        if status is None or clock.from_us(status.updated_us) < clock.now() - (
            STOPPED_FORGOTTEN_AFTER if status.stopped else FORGOTTEN_AFTER
        ):
            return
        yield GaugeMetricFamily("ringback_collector_up", "1: the collector runs", value=status.running)
        yield CounterMetricFamily("ringback_hep_packets_received", "HEP packets received", value=status.received)
        yield CounterMetricFamily("ringback_hep_messages_stored", "SIP messages stored", value=status.stored)
        yield CounterMetricFamily("ringback_hep_log_lines_stored", "Log lines and reports stored", value=status.logs)
        lost = CounterMetricFamily(
            "ringback_hep_packets_lost", "HEP packets not stored, by reason", labels=["reason"]
        )
        for reason, count in status.lost.items():
            lost.add_metric([reason], count)
        yield lost
        yield GaugeMetricFamily("ringback_hep_packets_waiting", "Received and not stored yet", value=status.waiting)
        yield CounterMetricFamily(
            "ringback_hep_packets_spooled", "Packets that waited on disk to be stored", value=status.spooled
        )
        yield GaugeMetricFamily("ringback_spool_bytes", "Bytes of the spool on disk", value=status.spool_bytes)
        yield GaugeMetricFamily("ringback_spool_limit_bytes", "RINGBACK_SPOOL_BYTES", value=status.spool_limit)
        yield GaugeMetricFamily("ringback_spool_packets", "Packets in the spool", value=status.spool_packets)
        yield GaugeMetricFamily(
            "ringback_spool_oldest_seconds", "Age of the oldest packet in the spool", value=status.behind_s
        )
        yield GaugeMetricFamily("ringback_hep_lag_seconds", "From receipt to commit", value=status.lag_ms / 1000)
        yield GaugeMetricFamily("ringback_hep_connections", "TCP and TLS connections", value=status.connections)


def make_registry(data: Path) -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(CollectorMetrics(data))
    return registry
