"""What arrives and what does not: the collector's counters, senders, the store and its retention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Request
from starlette.responses import Response

from ringback import clock
from ringback.access.dependencies import CurrentSettings, Records, may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.configuration.dependencies import CurrentConfiguration
from ringback.configuration.shared import LOG_MAX_AGE
from ringback.events.store import EventStore, EventStoreError, SegmentStatus, StoreStatus
from ringback.hosts.service import RoleState, role_states
from ringback.sessions.dependencies import Events
from ringback.sessions.ingest.status import SOCKET_DROP, CollectorStatus
from ringback.sessions.nodes.service import NodeRegister
from ringback.sessions.options import MAX_AGE
from ringback.sessions.status.collectors import HostCollector, collectors, role_rows, together, without_people
from ringback.sessions.status.store import store_status
from ringback.web.formats import duration, number, size
from ringback.web.templating import render

router = APIRouter(prefix="/capture", include_in_schema=False)

SLOW_LAG_MS = 2_000.0
SPOOL_NEARLY_FULL = 0.8  # of its limit
SMALL_BUFFER = 4 * 2**20  # bytes of a UDP socket; less overflows in a burst of some milliseconds
LOW_DISK_DAYS = 2.0  # left at the pace of the last whole day

OTHER_KINDS = "HEP type "  # and the number: kinds of capture that are not kept

# Reason of a counter -> (harmless, what it means, what to do).
REASONS: dict[str, tuple[bool, str, str]] = {
    "keep-alive": (True, "Empty packets that keep a NAT binding open; senders capture them too.", ""),
    "STUN": (True, "STUN requests on a SIP port.", ""),
    "not SIP": (
        True,
        "The payload is no SIP message.",
        "Nothing, unless SIP is missing: then look at one with tcpdump.",
    ),
    "socket drop": (
        False,
        "The kernel dropped datagrams because the receive buffer was full: packets came faster than they were taken.",
        "Raise net.core.rmem_max and restart, send HEP over TCP (it waits instead), or spread the senders.",
    ),
    "spool full": (
        False,
        "More packets waited to be stored than RINGBACK_SPOOL_BYTES or the free disk allow.",
        "Look why storing is slow or the store is away; raise RINGBACK_SPOOL_BYTES, or free some disk.",
    ),
    "spool failed": (
        False,
        "The disk refused to write the spool, where packets wait to be stored.",
        "Look at the log of the collector, and at the disk of the data folder.",
    ),
    "spool damaged": (
        False,
        "A piece of the spool, where packets wait to be stored, cannot be read back.",
        "Look at the disk of the data folder.",
    ),
    "killed": (
        False,
        "The collector was killed while it held these packets in memory.",
        "Look in the system's log for who killed it: often the machine was out of memory.",
    ),
    "store failed": (
        False,
        "The store refused a batch for so long that it was given up.",
        "Look at the problem told above, and at the disk.",
    ),
    "store refused": (
        False,
        "The store will never take a part of these batches; how much of them is missing is not known.",
        "The collector's log names the documents and the reason.",
    ),
    "bad key": (
        False,
        "The authentication key is missing or another one.",
        "Give the sender a key (chunk 0x000e) of the option Capture.HEP_Keys, or add the sender's key there (Configuration).",
    ),
    "unknown sender": (
        False,
        "The address is not on the allow-list RINGBACK_HEP_ALLOW.",
        "Add the address where it is one of yours; the addresses stand below.",
    ),
    "too many connections": (
        False,
        "More TCP or TLS connections than are taken at once.",
        "Look which sender opens so many.",
    ),
    "cut packet": (False, "A connection ended inside a packet.", "Look why the sender or the network closed it."),
    "bad magic": (False, "The packet is no HEP.", "Look what else sends to this port."),
    "bad length": (
        False,
        "A length in the packet contradicts its size.",
        "Look for a cut on the way: MTU, fragments.",
    ),
    "bad chunk": (False, "A part of the packet cannot be read.", "Tell the sender's maker; a pcap of it helps."),
    "bad address": (
        False,
        "An address in the packet cannot be read.",
        "Tell the sender's maker; a pcap of it helps.",
    ),
    "bad compression": (
        False,
        "A compressed payload cannot be unpacked, or is too large.",
        "Switch compression off at the sender.",
    ),
    "no payload": (False, "The packet carries nothing.", ""),
    "no Call-ID": (False, "A SIP message without a Call-ID belongs to no session.", ""),
    "Call-ID too long": (False, "A Call-ID longer than any sane one.", ""),
}

_UNTOLD = (False, "The log of the collector tells more.", "")


@dataclass(frozen=True, slots=True)
class LostRow:
    reason: str
    count: int
    harmless: bool
    meaning: str
    remedy: str


@dataclass(frozen=True, slots=True)
class DayRow:
    """All segments of one day."""

    day: str
    bytes: int
    legs: int
    messages: int
    logs: int
    problem: str


@router.get("")
def capture_page(
    request: Request,
    reader: Annotated[Principal, may(Permission.CAPTURE_READ)],
    events: Events,
    settings: CurrentSettings,
    records: Records,
    configuration: CurrentConfiguration,
) -> Response:
    """The whole page; its figures alone for the page that refreshes itself."""
    states = role_states(records)
    register: NodeRegister = request.app.state.nodes
    nodes = register(reader.environments[0])
    hosts = collectors(settings, states)
    if not reader.sees_personal:
        hosts = without_people(hosts, nodes)
    collector = together(hosts)
    store, store_problem = _store(events)
    names = {agent: node.name for node in nodes for agent in node.agents}
    part = "hx-request" in request.headers
    return render(
        request,
        "sessions/capture_figures.html" if part else "sessions/capture.html",
        collector=collector,
        running=any(each.running for each in hosts),
        roles=role_rows(states, hosts) if len({each.host for each in states}) > 1 else [],
        store=store,
        problems=problems(hosts, store, store_problem, states),
        masked=not reader.sees_personal,
        lost=lost_rows(collector) if collector else [],
        names=names,
        days=days(store.segments) if store else [],
        total=sum(segment.bytes for segment in store.segments) if store else 0,
        sessions_days=configuration.value(MAX_AGE),
        logs_days=configuration.value(LOG_MAX_AGE),
    )


def _store(events: EventStore) -> tuple[StoreStatus | None, str]:
    try:
        return store_status(events), ""
    except EventStoreError as error:
        return None, str(error)


def lost_rows(collector: CollectorStatus) -> list[LostRow]:
    """What was not stored, the harmful first, then the most."""
    rows = []
    for reason, count in collector.lost.items():
        unknown = (
            (True, "A kind of capture that Ringback does not keep.", "")
            if reason.startswith(OTHER_KINDS)
            else _UNTOLD
        )
        harmless, meaning, remedy = REASONS.get(reason, unknown)
        rows.append(LostRow(reason, count, harmless, meaning, remedy))
    return sorted((row for row in rows if row.count), key=lambda row: (row.harmless, -row.count))


def problems(
    hosts: Sequence[HostCollector],
    store: StoreStatus | None,
    store_problem: str,
    states: Sequence[RoleState] = (),
) -> list[tuple[str, str]]:
    """(tone, text) of what someone must look at, the worst first."""
    found = [*_collector_problems(hosts), *_store_problems(store, store_problem), *_role_problems(states)]
    return sorted(found, key=lambda each: each[0] != "bad")


def _collector_problems(hosts: Sequence[HostCollector]) -> Iterator[tuple[str, str]]:
    if not hosts:
        yield (
            "bad",
            "The collector has never run on this data folder: no HEP is received. “ringback serve” starts it.",
        )
    some_run = any(each.running for each in hosts)
    for each in hosts:
        on = f" on {each.host}" if len(hosts) > 1 else ""
        if not each.running:
            ended = "was stopped" if each.stopped else "died, or its machine hangs"
            if on and not each.stopped:
                ended = (
                    f"has been silent since {clock.isoformat(each.updated_us)[:19]}Z: it or its machine died, or the"
                )
                ended += " way to the records is cut"
            old = duration((clock.now_us() - each.updated_us) / 1_000_000)
            tone = "warn" if each.stopped and some_run else "bad"
            yield (
                tone,
                f"The collector{on} {ended}; its last word is {old} old. What is sent over UDP meanwhile is lost.",
            )
        elif each.status.problem:
            yield "bad", f"Nothing can be stored{on} just now: {each.status.problem}"
        if each.status.spool_oldest_us:
            yield _spool_problem(each, on)
        elif each.running and not each.status.problem and each.status.lag_ms > SLOW_LAG_MS:
            behind = duration(each.status.lag_ms / 1000)
            yield "warn", f"Storing{on} is {behind} behind; {number(each.status.waiting)} packets wait."
        if each.running and each.status.lost.get(SOCKET_DROP) and 0 < each.status.receive_buffer < SMALL_BUFFER:
            yield _buffer_problem(each, on)


def _buffer_problem(each: HostCollector, on: str) -> tuple[str, str]:
    granted = size(each.status.receive_buffer)
    return (
        "warn",
        f"The kernel grants HEP over UDP{on} only {granted} of buffer: a burst overflows it. Set net.core.rmem_max higher.",
    )


def _role_problems(states: Sequence[RoleState]) -> Iterator[tuple[str, str]]:
    if states and not any(state.running for state in states if state.role == "work"):
        yield "warn", "No host runs the work role: what is past its days is not dropped. “--role work” starts it."


def _spool_problem(each: HostCollector, on: str) -> tuple[str, str]:
    status = each.status
    full = status.spool_bytes > SPOOL_NEARLY_FULL * status.spool_limit > 0
    room = f" of {size(status.spool_limit)}: what finds no room is lost" if full else ""
    then = "they can be searched once they are stored" if each.running else "the next start stores them"
    waits = f"{number(status.spool_packets)} packets wait on disk ({size(status.spool_bytes)}{room})"
    return "bad" if full else "warn", f"Storing{on} is behind by {duration(status.behind_s)}: {waits}; {then}."


def _store_problems(store: StoreStatus | None, problem: str) -> Iterator[tuple[str, str]]:
    if store is None or store.problem:
        yield "bad", f"The event store cannot be read: {store.problem if store else problem}"
        return
    for segment in store.segments:
        if segment.problem:
            yield "bad", f"{segment.name} cannot be read: {segment.problem}"
    left = _days_left(store)
    if left is not None and left < LOW_DISK_DAYS:
        yield "warn", f"{size(store.free_bytes)} are free: about {left:.1f} days at yesterday's pace."


def _days_left(store: StoreStatus) -> float | None:
    """How long the disk lasts at the pace of the last whole day; None where that cannot be said."""
    if store.free_bytes is None:
        return None
    whole = days(store.segments)[1:2]
    return store.free_bytes / whole[0].bytes if whole and whole[0].bytes else None


def days(segments: list[SegmentStatus]) -> list[DayRow]:
    """Newest first."""
    by_day: dict[str, list[SegmentStatus]] = {}
    for segment in segments:
        by_day.setdefault(segment.day, []).append(segment)
    return [
        DayRow(
            day,
            sum(one.bytes for one in of_day),
            sum(one.legs for one in of_day),
            sum(one.messages for one in of_day),
            sum(one.logs for one in of_day),
            "; ".join(one.problem for one in of_day if one.problem),
        )
        for day, of_day in sorted(by_day.items(), reverse=True)
        if any(one.kind != "audit" for one in of_day)  # those alone are no captured day
    ]
