"""A collector as a process, and packets to send it."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ringback.events import EventStore, LegQuery, open_store
from ringback.sessions.capture.hep import encode
from ringback.sessions.ingest.blocks import decode_block
from ringback.sessions.ingest.status import CollectorStatus, read_collector_status
from ringback.sessions.story import Hop
from ringback.settings import Settings, load_settings
from running import PATIENCE

PHONE = Hop("udp", "198.51.100.23", 5060, "192.0.2.10", 5060, "101")
BACK = Hop("udp", "192.0.2.10", 5060, "198.51.100.23", 5060, "101")
EVER = 250_000_000_000_000_000


def options(call_id: str, caller: str = "12103355787") -> bytes:
    return (
        "OPTIONS sip:18660333777@acme.example SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.23;branch=z9hG4bK1\r\n"
        f"From: <sip:{caller}@acme.example>;tag=1\r\nTo: <sip:18660333777@acme.example>\r\nCall-ID: {call_id}\r\n"
        "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def packets(count: int, start: int = 0, *, key: bytes = b"") -> list[bytes]:
    """Packets of as many legs, of now."""
    now = time.time_ns() // 1000
    return [encode(now + n, PHONE, options(f"call-{n}@h"), auth_key=key) for n in range(start, start + count)]


@dataclass
class Collector:
    process: subprocess.Popen[bytes]
    data: Path
    since_us: int

    @property
    def status(self) -> CollectorStatus:
        """The last published since this process began."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            status = read_collector_status(self.data)
            if status and status.updated_us >= self.since_us:
                return status
            if self.process.poll() is not None:
                raise AssertionError(f"the collector ended with {self.process.returncode}")
            time.sleep(0.02)
        raise AssertionError("the collector published nothing")

    def port(self, transport: str) -> int:
        return next(int(each.rpartition(":")[2]) for each in self.status.endpoints if each.startswith(transport))

    def send(self, datagrams: list[bytes], source: str = "127.0.0.1") -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.bind((source, 0))
            for number, datagram in enumerate(datagrams):
                out.sendto(datagram, ("127.0.0.1", self.port_udp))
                if number % 200 == 199:
                    time.sleep(0.002)  # the default buffer of a socket is small

    @property
    def port_udp(self) -> int:
        if not hasattr(self, "_udp"):
            self._udp = self.port("udp")
        return self._udp

    def wait(self, until: Callable[[CollectorStatus], bool], seconds: float = PATIENCE) -> CollectorStatus:
        deadline = time.monotonic() + seconds
        while not until(self.status):
            if time.monotonic() > deadline:
                raise AssertionError(f"still {self.status}")
            time.sleep(0.05)
        return self.status

    def stop(self) -> CollectorStatus:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0
        return self.status

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)


@contextmanager
def collector(data: Path, **environ: str) -> Iterator[Collector]:
    """On free ports of the loopback; `environ`: further RINGBACK_ settings."""
    variables = {"RINGBACK_HEP": "127.0.0.1:0", "RINGBACK_HEP_WORKERS": "2", **environ}
    with run(load_settings(variables, data=data)) as running:
        yield running


@contextmanager
def run(settings: Settings) -> Iterator[Collector]:
    since_us = time.time_ns() // 1000
    descriptors = [each.fd for each in (*settings.hep_udp, *settings.hep_tcp) if each.fd is not None]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "ringback.role", "collect"],
        stdin=subprocess.PIPE, start_new_session=True, pass_fds=descriptors,
    )  # fmt: skip
    assert process.stdin
    try:
        ours = replace(settings, secrets_key=settings.secrets_key_file)  # what a test has sealed, it opens
        process.stdin.write(pickle.dumps(ours))
        process.stdin.flush()
        yield Collector(process, settings.data, since_us)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)
        process.stdin.close()


def stored_payloads(store: EventStore) -> dict[str, list[bytes]]:
    """Call-ID -> payloads, of everything; reading it checks every block."""
    found: dict[str, list[bytes]] = {}
    cursor = None
    while True:
        page = store.search(LegQuery(("default",), 0, EVER), limit=500, cursor=cursor, deadline_s=60)
        for row in page.rows:
            own = [
                one.payload
                for piece in store.blocks([row])
                for one in decode_block(piece.data, piece.first, piece.count)
            ]
            assert len(own) == row.messages
            found.setdefault(row.call_id, []).extend(own)
        cursor = page.cursor
        if cursor is None:
            return found


@contextmanager
def opened(data: Path) -> Iterator[EventStore]:
    store = open_store(f"sqlite:{data / 'events'}")
    try:
        yield store
    finally:
        store.close()
