"""Capture status over HTTP: GET /api/v1/status."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from typing_extensions import TypedDict

from ringback import __version__, clock
from ringback.access.dependencies import CurrentSettings, Records, may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.configuration.dependencies import CurrentConfiguration
from ringback.configuration.shared import LOG_MAX_AGE
from ringback.events.store import StoreStatus
from ringback.hosts.service import role_states
from ringback.sessions.dependencies import Events
from ringback.sessions.ingest.status import CollectorStatus
from ringback.sessions.options import MAX_AGE
from ringback.sessions.status.collectors import RoleRow, collectors, role_rows, together, without_people
from ringback.sessions.status.store import store_status

router = APIRouter(prefix="/api/v1/status", tags=["status"])


class SenderDocument(TypedDict):
    address: str  # masked without personal.read, unless it or the capture id is a node's
    agent: str  # capture id; empty where packets name none
    packets: int
    last: str


class SpoolDocument(TypedDict):
    bytes: int  # on disk
    limit: int  # RINGBACK_SPOOL_BYTES
    packets: int  # that wait there
    behind_s: float  # age of the oldest of them; 0: none waits
    total: int  # packets that went this way, since the data folder was made


class CollectorDocument(TypedDict):
    running: bool
    started: str
    updated: str
    endpoints: list[str]
    received: int  # packets, since the data folder was made
    stored: int  # SIP messages
    logs: int  # log lines and quality reports
    lost: dict[str, int]  # reason -> packets
    waiting: int
    spool: SpoolDocument  # what came over UDP faster than it could be stored
    received_rate: float  # packets a second, over the last ten seconds
    stored_rate: float
    lag_ms: float  # from receipt to commit
    open_legs: int
    connections: int
    problem: str  # why nothing can be stored just now
    senders: list[SenderDocument]
    strangers: dict[str, int]  # address -> what the allow-list refused; masked as those of senders


class SegmentDocument(TypedDict):
    name: str
    kind: str
    day: str
    bytes: int
    legs: int
    messages: int
    logs: int
    problem: str


class StoreDocument(TypedDict):
    engine: str
    free_bytes: int | None
    problem: str
    segments: list[SegmentDocument]


class RoleDocument(TypedDict):
    host: str
    role: str
    state: str  # running, silent, stopped
    version: str
    started: str
    updated: str  # its last word
    collector: CollectorDocument | None  # of the collect role


class StatusDocument(TypedDict):
    version: str
    collector: CollectorDocument | None  # of all hosts together; null: none ever ran
    roles: list[RoleDocument]
    store: StoreDocument
    keep_sessions_days: int
    keep_logs_days: int


@router.get("")
def read_status(
    request: Request,
    user: Annotated[Principal, may(Permission.CAPTURE_READ)],
    events: Events,
    settings: CurrentSettings,
    records: Records,
    configuration: CurrentConfiguration,
) -> StatusDocument:
    """Rates, every counter of what was not stored, lag, disk, which host runs what, and each stored segment."""
    states = role_states(records)
    hosts = collectors(settings, states)
    if not user.sees_personal:
        hosts = without_people(hosts, request.app.state.nodes(user.environments[0]))
    collector = together(hosts)
    return {
        "version": __version__,
        "collector": _collector(collector, running=any(each.running for each in hosts)) if collector else None,
        "roles": [_role(row) for row in role_rows(states, hosts)],
        "store": _store(store_status(events)),
        "keep_sessions_days": configuration.value(MAX_AGE),
        "keep_logs_days": configuration.value(LOG_MAX_AGE),
    }


def _collector(status: CollectorStatus, *, running: bool) -> CollectorDocument:
    return {
        "running": running,
        "started": clock.isoformat(status.started_us),
        "updated": clock.isoformat(status.updated_us),
        "endpoints": status.endpoints,
        "received": status.received,
        "stored": status.stored,
        "logs": status.logs,
        "lost": status.lost,
        "waiting": status.waiting,
        "spool": {
            "bytes": status.spool_bytes,
            "limit": status.spool_limit,
            "packets": status.spool_packets,
            "behind_s": status.behind_s,
            "total": status.spooled,
        },
        "received_rate": status.received_rate,
        "stored_rate": status.stored_rate,
        "lag_ms": status.lag_ms,
        "open_legs": status.open_legs,
        "connections": status.connections,
        "problem": status.problem,
        "senders": [
            {"address": one.address, "agent": one.agent, "packets": one.packets, "last": clock.isoformat(one.last_us)}
            for one in status.senders
        ],
        "strangers": status.strangers,
    }


def _role(row: RoleRow) -> RoleDocument:
    counted = row.collector
    return {
        "host": row.host,
        "role": row.role,
        "state": row.state,
        "version": row.version,
        "started": clock.isoformat(row.started_us),
        "updated": clock.isoformat(row.updated_us),
        "collector": _collector(counted.status, running=counted.running) if counted else None,
    }


def _store(status: StoreStatus) -> StoreDocument:
    return {
        "engine": status.engine,
        "free_bytes": status.free_bytes,
        "problem": status.problem,
        "segments": [
            {
                "name": one.name,
                "kind": one.kind,
                "day": one.day,
                "bytes": one.bytes,
                "legs": one.legs,
                "messages": one.messages,
                "logs": one.logs,
                "problem": one.problem,
            }
            for one in status.segments
        ],
    }
