"""The collect role: sockets in, event store out, and everything counted.

    UDP sockets -> receiver process -> pipes -> worker processes -> event store
                         |                            ^       ^
                         +-> spool on disk -----------+       |
    TCP and TLS connections -> this process -> pipes ---------+

Packets of one Call-ID always go to the same worker. This process supervises the others, publishes the counters and ends
when any of them dies (the supervisor starts the role again). If it dies itself, the pipes end: the workers store what
they have and end too.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import ssl
import struct
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import structlog

from ringback import clock
from ringback.configuration.reader import Current
from ringback.listen import bound_endpoint, tcp_socket, udp_socket
from ringback.sessions.ingest.hep_keys import FILE as CONFIGURATION
from ringback.sessions.ingest.sockets import dropped, receive_buffer
from ringback.sessions.ingest.spool import Board, drop_committed, lay_out, locked, sizes
from ringback.sessions.ingest.status import (
    SOCKET_DROP,
    CollectorStatus,
    SenderStatus,
    Totals,
    read_collector_status,
    read_count,
    write_collector_status,
)
from ringback.sessions.ingest.streams import Streams
from ringback.sessions.ingest.worker import Configuration
from ringback.sessions.ownership.following import RulesKeeper
from ringback.settings import Settings

PUBLISH_SECONDS = 1.0
RATE_SECONDS = 10
DRAIN_SECONDS = 12.0  # that the workers have to store what is left; then a store that is full is waited for no longer
MOST_SENDERS = 500  # rows of the status
_PIPE_BYTES = 1024 * 1024
LOCK_SECONDS = 40.0  # that processes of a collector that was killed have to end
RULES_SECONDS = 3.0  # that the records have to say whose traffic is whose; then what was known last is in force
TROUBLED_SECONDS = 4.0  # that they have when the store is away and the spool takes what is left
_SMALL_BUFFER = 4 * 1024 * 1024  # bytes; a burst of some milliseconds overflows what is smaller
_RECEIVER = "receiver"
_REPORT_BYTES = 4 * 1024 * 1024
_F_SETPIPE_SZ = 1031

_log = structlog.get_logger()


class CollectorDied(RuntimeError):
    """A process of the collector ended by itself: which, and how."""


def run_collector(settings: Settings) -> None:
    """Until SIGTERM or SIGINT: what was received by then is stored, or stays in the spool. Raises ListenError,
    CollectorDied, OSError."""
    with ExitStack() as held:
        lock = held.enter_context(locked(settings.spool_folder, LOCK_SECONDS))
        asyncio.run(_Collector(settings, lock).run())


@dataclass(slots=True)
class _Child:
    name: str
    process: asyncio.subprocess.Process
    report: dict[str, Any] = field(default_factory=dict)


class _Collector:
    def __init__(self, settings: Settings, lock: int) -> None:
        """`lock`: a descriptor of the spool's lock, for every process to hold."""
        self._settings = settings
        self._lock = lock
        self._udp = [udp_socket(each) for each in settings.hep_udp]
        self._tcp = [tcp_socket(each) for each in settings.hep_tcp]
        self._tls = [tcp_socket(each) for each in settings.hep_tls]
        kinds = (("udp", self._udp), ("tcp", self._tcp), ("tls", self._tls))
        self._endpoints = [f"{name} {bound_endpoint(each)}" for name, bound in kinds for each in bound]
        self._workers: list[_Child] = []
        self._readings: list[int] = []  # each worker's end of its pipe, by the number it has there
        self._owners = RulesKeeper(settings.records_url, settings.run_folder)
        self._configuration = Current(settings, role="collect", file=settings.run_folder / CONFIGURATION)
        self._receiver: _Child | None = None
        self._streams: Streams | None = None
        self._stop = asyncio.Event()
        self._count = settings.hep_workers or min(4, os.cpu_count() or 1)
        self._board = Board.make(self._count)
        self._life = clock.now_us()
        self._layout, self._kept = lay_out(settings.spool_folder, self._count, f"{self._life:x}")
        settings.run_folder.mkdir(parents=True, exist_ok=True)
        self._began = self._before()
        self._settled = False  # whether it is known what of the collector before is left
        self._buffer = receive_buffer(each.fileno() for each in self._udp)
        self._rates: deque[tuple[float, int, int]] = deque(maxlen=RATE_SECONDS + 1)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        # Ctrl-C goes to the whole group: the children inherit that it is ignored, and are told by their pipes.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        readers = []
        if 0 < self._buffer < _SMALL_BUFFER:
            _log.warning(
                "the kernel grants a small receive buffer for UDP: raise net.core.rmem_max", bytes=self._buffer
            )
        try:
            self._owners.start()
            self._configuration.start(patience=0)
            pipes = await self._start_workers()
            await self._start_receiver(pipes)
            await asyncio.to_thread(self._owners.tried, RULES_SECONDS)
            await asyncio.to_thread(self._configuration.looked, RULES_SECONDS)
            self._configure_workers()
            loop.add_signal_handler(signal.SIGINT, self._stop.set)
            readers = [asyncio.create_task(_read_reports(child)) for child in self._children]
            self._streams = await self._listen()
            endings = [asyncio.create_task(child.process.wait()) for child in self._children]
            stopped = asyncio.create_task(self._stop.wait())
            publishing = asyncio.create_task(self._publish_always())
            await asyncio.wait([stopped, publishing, *endings], return_when=asyncio.FIRST_COMPLETED)
            died = [child for child in self._children if child.process.returncode is not None]
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
            await self._shut_down(readers)
            self._publish(stopped=not died)
            if died:
                raise CollectorDied(f"{died[0].name} ended with exit code {died[0].process.returncode}")
        finally:
            self._owners.stop()
            self._configuration.close()
            for child in self._children:
                if child.process.returncode is None:
                    child.process.kill()
            for reader in readers:
                reader.cancel()

    @property
    def _spool(self) -> str:
        """The folder; "" where there is nothing to be read and nothing to be put there."""
        return str(self._settings.spool_folder) if self._settings.spool_bytes or self._kept else ""

    @property
    def _children(self) -> list[_Child]:
        return [*self._workers, *([self._receiver] if self._receiver else [])]

    async def _start_workers(self) -> list[int]:
        """Returns the ends of their pipes that the receiver writes to. They wait for `_configure_workers`."""
        pipes = []
        for number in range(self._count):
            reading, writing = _pipe()
            child = await _spawn("worker", f"worker {number}", [reading, self._board, self._lock])
            os.close(reading)
            self._workers.append(child)
            self._readings.append(reading)
            pipes.append(writing)
        return pipes

    def _configure_workers(self) -> None:
        settings = self._settings
        for number, (child, reading) in enumerate(zip(self._workers, self._readings, strict=True)):
            configuration = Configuration(
                number,
                settings.store_url,
                reading,
                settings.log_format,
                settings.hep_key,
                str(settings.correlation_file or ""),
                spool=self._spool,
                spool_bytes=settings.spool_bytes,
                layout=self._layout.id,
                layers=self._layout.layers,
                traffic_rules=str(settings.run_folder),
                configuration=str(settings.run_folder / CONFIGURATION),
                secrets_key=str(settings.secrets_key_file),
                kept=self._kept,
                board=self._board,
                counts=str(_counts(settings, f"worker {number}")),
                life=self._life,
            )
            document = orjson.dumps(asdict(configuration))
            _stdin(child).write(struct.pack("=I", len(document)) + document)

    async def _start_receiver(self, pipes: list[int]) -> None:
        sockets = [each.fileno() for each in self._udp]
        child = await _spawn("udp_receiver", _RECEIVER, [*sockets, *pipes, self._board, self._lock])
        for pipe in pipes:
            os.close(pipe)  # its end is then the receiver's end
        configuration = {
            "sockets": sockets, "pipes": pipes, "allowed": [str(network) for network in self._settings.hep_allow],
            "spool": self._spool, "spool_bytes": self._settings.spool_bytes, "board": self._board,
            "counts": str(_counts(self._settings, _RECEIVER)), "life": self._life,
            "log_format": self._settings.log_format,
        }  # fmt: skip
        _stdin(child).write(orjson.dumps(configuration) + b"\n")
        self._receiver = child

    async def _listen(self) -> Streams:
        streams = Streams([_stdin(worker) for worker in self._workers], self._settings.hep_allow)
        for bound in self._tcp:
            await streams.listen(bound, None)
        if self._tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(self._settings.tls_cert, self._settings.tls_key)  # type: ignore[arg-type]
            for bound in self._tls:
                await streams.listen(bound, context)
        return streams

    async def _shut_down(self, readers: Sequence[asyncio.Task[None]]) -> None:
        """From the sockets to the store: each stage ends when the one before has."""
        receiver = self._receiver
        if receiver and receiver.process.returncode is None:
            receiver.process.terminate()
        if self._streams:
            await self._streams.close()
        for worker in self._workers:
            _stdin(worker).close()
        ends = asyncio.gather(*(child.process.wait() for child in self._children))
        if self._settings.spool_bytes:
            await asyncio.wait([ends], timeout=TROUBLED_SECONDS)
            self._hurry([worker for worker in self._workers if worker.report.get("problem")])
        await asyncio.wait([ends], timeout=DRAIN_SECONDS)
        if not ends.done():
            self._hurry(self._workers)
        await ends
        await asyncio.gather(*readers)
        if self._spool:
            drop_committed(
                self._settings.spool_folder, min(worker.report.get("frame", 0) for worker in self._workers)
            )

    def _hurry(self, workers: Sequence[_Child]) -> None:
        kept = "saved to the spool" if self._settings.spool_bytes else "given up"
        for worker in workers:
            if worker.process.returncode is None:
                _log.error(f"a worker still waits for the event store; what it holds is {kept}", name=worker.name)
                worker.process.terminate()

    async def _publish_always(self) -> None:
        while True:
            self._publish(stopped=False)
            await asyncio.sleep(PUBLISH_SECONDS)

    def _publish(self, *, stopped: bool) -> None:
        status = self._status(stopped=stopped)
        try:
            write_collector_status(self._settings.data, status)
        except OSError as error:
            _log.error("the collector's status cannot be written", problem=str(error))

    def _before(self) -> CollectorStatus:
        """The totals that go on, in `base`: of processes that were killed what they counted last."""
        before = read_collector_status(self._settings.data) or CollectorStatus()
        parts = {
            name: read_count(_counts(self._settings, name), before.started_us) or totals
            for name, totals in before.parts.items()
        }
        base = before.base.plus(parts.values())
        drops = dropped(each.fileno() for each in self._udp)
        # A socket that outlived the collector may have overflowed meanwhile.
        missed = sum(count - before.kernel_drops.get(inode, 0) for inode, count in drops.items())
        base = base.plus([Totals(lost={SOCKET_DROP: max(0, missed)})])
        if before.updated_us:  # before the processes count anew
            write_collector_status(self._settings.data, replace(before, base=base, parts={}, kernel_drops=drops))
        return replace(before, base=base, parts={}, kernel_drops=drops, started_us=self._life)

    def _settle(self) -> None:
        """Once all that the collector before left in the spool is stored: what it had received beyond that was in its
        memory when it was killed."""
        receiver = self._receiver.report if self._receiver else {}
        reports = [worker.report for worker in self._workers]
        if self._settled or "kept" not in receiver or not all("frame" in report for report in reports):
            return
        if receiver["kept"] and min(report["frame"] for report in reports) < receiver["kept"]:
            return
        missing = self._began.base.waiting - sum(report["kept"] for report in reports)
        # Fewer than none: the last second before a kill is in no status.
        found = Totals(lost={"killed": missing}) if missing > 0 else Totals(received=-missing)
        self._began.base = self._began.base.plus([found])
        self._settled = True
        if missing > 0:
            _log.error("packets are lost: the collector before was killed while it held them", packets=missing)

    def _status(self, *, stopped: bool) -> CollectorStatus:
        self._settle()
        began, streams, workers = self._began, self._streams, [worker.report for worker in self._workers]
        receiver = self._receiver.report if self._receiver else {}
        drops = dropped(each.fileno() for each in self._udp)
        overflowed = sum(count - began.kernel_drops.get(inode, 0) for inode, count in drops.items())
        parts = {
            _RECEIVER: Totals(
                received=receiver.get("received", 0),
                spooled=receiver.get("spooled", 0),
                lost=receiver.get("lost", {}),
            ),
            "kernel": Totals(lost={SOCKET_DROP: overflowed}),
        }
        strangers = Counter(began.strangers)
        strangers.update(dict(receiver.get("strangers", [])))
        if streams:
            parts["streams"] = Totals(received=streams.received, lost=dict(streams.refused))
            strangers.update(streams.strangers)
        for worker in self._workers:
            report = worker.report
            parts[worker.name] = Totals(
                stored=report.get("stored", 0), logs=report.get("logs", 0), lost=report.get("refused", {})
            )
        totals = began.base.plus(parts.values())
        received_rate, stored_rate = self._rate(totals.received, totals.stored)
        spool_bytes, spool_packets, spool_oldest_us = receiver.get("spool", [0, 0, 0])
        if stopped:
            spool_bytes = sum(sizes(self._settings.spool_folder).values())
        return CollectorStatus(
            updated_us=clock.now_us(),
            started_us=began.started_us,
            stopped=stopped,
            endpoints=self._endpoints,
            received=totals.received,
            stored=totals.stored,
            logs=totals.logs,
            lost=totals.lost,
            waiting=max(0, totals.waiting),
            spooled=totals.spooled,
            spool_bytes=spool_bytes,
            spool_packets=spool_packets if spool_bytes else 0,
            spool_oldest_us=spool_oldest_us if spool_bytes else 0,
            spool_limit=self._settings.spool_bytes,
            receive_buffer=self._buffer,
            received_rate=received_rate,
            stored_rate=stored_rate,
            lag_ms=max((report.get("lag_us", 0) for report in workers), default=0) / 1000,
            open_legs=sum(report.get("legs", 0) for report in workers),
            connections=streams.connections if streams else 0,
            senders=_senders(began.senders, workers),
            strangers=dict(strangers.most_common(MOST_SENDERS)),
            problem=next((report["problem"] for report in workers if report.get("problem")), ""),
            kernel_drops=drops,
            base=began.base,
            parts=parts,
        )

    def _rate(self, received: int, stored: int) -> tuple[float, float]:
        now = time.monotonic()
        self._rates.append((now, received, stored))
        then, received_then, stored_then = self._rates[0]
        seconds = max(now - then, 0.001)
        return (received - received_then) / seconds, (stored - stored_then) / seconds


def _senders(before: Sequence[SenderStatus], reports: Sequence[dict[str, Any]]) -> list[SenderStatus]:
    rows = {(each.address, each.agent): replace(each) for each in before}
    for report in reports:
        for address, agent, packets, last_us in report.get("seen", []):
            row = rows.setdefault((address, agent), SenderStatus(address, agent, 0, 0))
            row.packets += packets
            row.last_us = max(row.last_us, last_us)
    return sorted(rows.values(), key=lambda row: -row.packets)[:MOST_SENDERS]


async def _spawn(module: str, name: str, fds: Sequence[int]) -> _Child:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", f"ringback.sessions.ingest.{module}",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, pass_fds=fds, limit=_REPORT_BYTES,
    )  # fmt: skip
    return _Child(name, process)


def _counts(settings: Settings, name: str) -> Path:
    return settings.run_folder / f"{name.replace(' ', '-')}.count"


def _stdin(child: _Child) -> asyncio.StreamWriter:
    if child.process.stdin is None:
        raise RuntimeError(f"{child.name} was started without a pipe")
    return child.process.stdin


def _pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    try:
        fcntl.fcntl(writing, _F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError as error:
        _log.info("the kernel grants only its usual size for pipes", reason=error.strerror)
    return reading, writing


async def _read_reports(child: _Child) -> None:
    """The last line counts: reports hold totals."""
    if child.process.stdout is None:
        raise RuntimeError(f"{child.name} was started without a pipe")
    async for line in child.process.stdout:
        child.report = orjson.loads(line)
