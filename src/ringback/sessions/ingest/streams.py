"""HEP over TCP and TLS: connections read no faster than the workers take, so that a fast sender waits and loses nothing."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import cast

import structlog

from ringback import clock
from ringback.sessions.capture.hep import HepError, StreamSplitter
from ringback.sessions.ingest.chunks import pack_shares

MOST_CONNECTIONS = 1000
READ_BYTES = 256 * 1024
FIRST_SECONDS = 30.0  # for the first byte, and for the rest of a packet that has begun
IDLE_SECONDS = 3600.0
HANDSHAKE_SECONDS = 10.0

_log = structlog.get_logger()


class Streams:
    """All connections of a collector. `sinks`: one pipe a worker."""

    def __init__(self, sinks: Sequence[asyncio.StreamWriter], allowed: Sequence[IPv4Network | IPv6Network]) -> None:
        self.received = 0  # packets, and connections that were refused
        self.refused: Counter[str] = Counter()  # reason -> packets or connections
        self.strangers: Counter[str] = Counter()  # address -> connections refused
        self._sinks = sinks
        self._allowed = allowed
        self._servers: list[asyncio.Server] = []
        self._connections: dict[asyncio.Task[None], tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def listen(self, bound: socket.socket, tls: ssl.SSLContext | None) -> None:
        """On a socket that listens already."""
        self._servers.append(
            await asyncio.start_server(
                self._accepted,
                sock=bound,
                limit=READ_BYTES,
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if tls else None,
            )
        )

    async def close(self) -> None:
        """No new connections; of the open ones what has arrived is still taken."""
        for server in self._servers:
            server.close()
        for reader, writer in self._connections.values():
            cast("asyncio.Transport", writer.transport).pause_reading()
            reader.feed_eof()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        peer = writer.get_extra_info("peername")
        if task is None or peer is None:
            writer.close()
            return
        address = ip_address(peer[0].partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        if self._allowed and not any(address in network for network in self._allowed):
            self._refuse(str(address))
            writer.close()
            return
        if len(self._connections) >= MOST_CONNECTIONS:
            self.received += 1
            self.refused["too many connections"] += 1
            writer.close()
            return
        self._connections[task] = reader, writer
        try:
            await self._read(reader, str(address))
        except (ConnectionError, ssl.SSLError) as error:
            _log.info("a HEP connection broke", sender=str(address), reason=str(error))
        finally:
            del self._connections[task]
            writer.close()

    def _refuse(self, address: str) -> None:
        self.received += 1
        self.refused["unknown sender"] += 1
        if address in self.strangers or len(self.strangers) < MOST_CONNECTIONS:
            self.strangers[address] += 1
        _log.warning("a HEP connection was refused: its address is not allowed", sender=address)

    async def _read(self, reader: asyncio.StreamReader, address: str) -> None:
        splitter = StreamSplitter()
        patience = FIRST_SECONDS
        try:
            while True:
                try:
                    data = await asyncio.wait_for(reader.read(READ_BYTES), patience)
                except TimeoutError:
                    _log.info("a HEP connection was idle and is closed", sender=address)
                    break
                if not data:
                    break
                await self._take(splitter, data, address)
                patience = FIRST_SECONDS if splitter.pending else IDLE_SECONDS
        except HepError as error:
            # What follows cannot be told apart any more.
            self.received += 1
            self.refused[error.reason] += 1
            _log.warning("a HEP connection is closed", sender=address, reason=str(error))
            return
        if splitter.pending:
            self.received += 1
            self.refused["cut packet"] += 1

    async def _take(self, splitter: StreamSplitter, data: bytes, address: str) -> None:
        packets: list[bytes] = []
        try:
            for packet in splitter.feed(data):
                packets.append(packet)  # noqa: PERF402 -- what came before an error is kept
        finally:  # the good ones before a fault count
            await self._hand_on(packets, address)

    async def _hand_on(self, packets: list[bytes], address: str) -> None:
        if not packets:
            return
        self.received += len(packets)
        shares = pack_shares(clock.now_us(), [address], (), packets, len(self._sinks))
        busy = [sink for sink, share in zip(self._sinks, shares, strict=True) if share]
        for sink, share in zip(self._sinks, shares, strict=True):
            if share:
                sink.write(share)
        await asyncio.gather(*(sink.drain() for sink in busy))
