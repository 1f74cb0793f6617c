"""Every collector of the installation: the one beside us by its file, those of other hosts by the records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import orjson

from ringback import clock
from ringback.hosts.service import RoleState
from ringback.sessions.ingest.status import (
    STALE_US,
    CollectorStatus,
    SenderStatus,
    read_collector_status,
    status_of,
)
from ringback.sessions.masking.veil import Veil
from ringback.sessions.story import NodeInfo
from ringback.settings import Settings

COLLECT = "collect"


@dataclass(frozen=True, slots=True)
class HostCollector:
    """`updated_us` is the last word that was heard."""

    host: str
    status: CollectorStatus
    running: bool
    updated_us: int

    @property
    def stopped(self) -> bool:
        return self.status.stopped


@dataclass(frozen=True, slots=True)
class RoleRow:
    """One role on one host, as people are shown it."""

    host: str
    role: str
    state: str  # running, silent, stopped
    version: str
    started_us: int
    updated_us: int  # its last word
    collector: HostCollector | None  # of the collect role


def collectors(settings: Settings, states: Sequence[RoleState]) -> list[HostCollector]:
    """By host. The one that shares our data folder is read there: its figures are a second old, not five. A file that a
    collector left here long ago is none, once others collect and the records have forgotten it."""
    host, told = settings.host_name, [state for state in states if state.role == COLLECT]
    own = read_collector_status(settings.data)
    if own and not own.running and told and all(state.host != host for state in told):
        own = None
    found = [_told(state) for state in told if not (own and state.host == host)]
    if own:
        found.append(HostCollector(host, own, own.running, own.updated_us))
    return sorted(found, key=lambda each: each.host)


def without_people(hosts: Sequence[HostCollector], nodes: Iterable[NodeInfo]) -> list[HostCollector]:
    """As who may not see personal data is shown them. What sends is infrastructure where its address or its capture id
    is a node's; any other address may be somebody's phone that was pointed here, or typed by somebody."""
    veil = Veil(nodes)

    def shown(sender: SenderStatus) -> SenderStatus:
        return sender if sender.agent in veil.agents else replace(sender, address=veil.host(sender.address))

    return [
        replace(
            each,
            status=replace(
                each.status,
                senders=[shown(sender) for sender in each.status.senders],
                strangers={veil.host(address): count for address, count in each.status.strangers.items()},
            ),
        )
        for each in hosts
    ]


def role_rows(states: Sequence[RoleState], hosts: Sequence[HostCollector]) -> list[RoleRow]:
    """By host and role; a collector's own word counts for more than its server's."""
    counted = {each.host: each for each in hosts}
    rows = []
    for each in states:
        collector = counted.get(each.host) if each.role == COLLECT else None
        told = collector or each
        state = "running" if told.running else "stopped" if told.stopped else "silent"
        started_us, updated_us = clock.to_us(each.started_at), clock.to_us(each.updated_at)
        updated_us = collector.updated_us if collector else updated_us
        rows.append(RoleRow(each.host, each.role, state, each.version, started_us, updated_us, collector))
    return rows


def together(hosts: Sequence[HostCollector]) -> CollectorStatus | None:
    """What all of them count; None where there never was one. It runs while one of them does."""
    if not hosts:
        return None
    if len(hosts) == 1:
        return hosts[0].status
    alive = [each.status for each in hosts if each.running]
    every = [each.status for each in hosts]
    lost: Counter[str] = Counter()
    strangers: Counter[str] = Counter()
    for status in every:
        lost.update(status.lost)
        strangers.update(status.strangers)
    return CollectorStatus(
        updated_us=max(each.updated_us for each in hosts),
        started_us=min(status.started_us for status in alive or every),
        stopped=all(status.stopped for status in every),
        endpoints=[
            f"{each.host}: {endpoint}" for each in hosts if each.running for endpoint in each.status.endpoints
        ],
        received=sum(status.received for status in every),
        stored=sum(status.stored for status in every),
        logs=sum(status.logs for status in every),
        lost=dict(lost),
        waiting=sum(status.waiting for status in alive),
        spooled=sum(status.spooled for status in every),
        spool_bytes=sum(status.spool_bytes for status in every),
        spool_packets=sum(status.spool_packets for status in every),
        spool_oldest_us=min((status.spool_oldest_us for status in every if status.spool_oldest_us), default=0),
        spool_limit=sum(status.spool_limit for status in every),
        received_rate=sum(status.received_rate for status in alive),
        stored_rate=sum(status.stored_rate for status in alive),
        lag_ms=max((status.lag_ms for status in alive), default=0.0),
        open_legs=sum(status.open_legs for status in alive),
        connections=sum(status.connections for status in alive),
        senders=_senders(every),
        strangers=dict(strangers),
        problem="; ".join(
            f"{each.host}: {each.status.problem}" for each in hosts if each.running and each.status.problem
        ),
    )


def _told(state: RoleState) -> HostCollector:
    document = orjson.loads(state.status)
    status = status_of(document) if document else CollectorStatus()
    stopped = state.stopped or status.stopped
    told_us = clock.to_us(state.updated_at)
    # Its server lives and tells; that the collector does, too, is measured by its own host's clock.
    running = state.running and not stopped and told_us - status.updated_us < STALE_US
    return HostCollector(state.host, replace(status, stopped=stopped), running, status.updated_us or told_us)


def _senders(statuses: Sequence[CollectorStatus]) -> list[SenderStatus]:
    rows: dict[tuple[str, str], SenderStatus] = {}
    for status in statuses:
        for each in status.senders:
            row = rows.setdefault((each.address, each.agent), SenderStatus(each.address, each.agent, 0, 0))
            row.packets += each.packets
            row.last_us = max(row.last_us, each.last_us)
    return sorted(rows.values(), key=lambda row: -row.packets)
