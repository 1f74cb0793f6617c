"""A HEP collector that keeps what it gets: the SIP messages and log lines of a node."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from ringback.sessions.capture.hep import LOG, HepPacket, decode

T = TypeVar("T")
WAITED_S = 30.0


class Collector:
    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.packets: list[HepPacket] = []

    def lines(self, call_id: str, *, at_least: int = 1) -> list[str]:
        """The log lines of a call, waited for."""
        return _waited(
            lambda: [
                one.payload.decode().strip()
                for one in list(self.packets)
                if one.payload_type == LOG and one.correlation == call_id
            ],
            at_least,
        )

    def messages(self, call_id: str, starts: str, *, at_least: int = 1) -> list[bytes]:
        """The SIP messages of a call whose first line starts so, waited for."""
        return _waited(
            lambda: [
                one.payload
                for one in list(self.packets)
                if one.payload.startswith(starts.encode()) and call_id.encode() in one.payload
            ],
            at_least,
        )


def _waited(read: Callable[[], list[T]], at_least: int) -> list[T]:
    end = time.monotonic() + WAITED_S
    while True:
        found = read()
        if len(found) >= at_least or time.monotonic() > end:
            return found
        time.sleep(0.05)


@contextmanager
def collector() -> Iterator[Collector]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(0.1)
        kept = Collector(receiver.getsockname()[1])
        over = threading.Event()

        def receive() -> None:
            while not over.is_set():
                try:
                    datagram = receiver.recv(65535)
                except TimeoutError:
                    continue
                kept.packets.append(decode(datagram, time.time_ns() // 1000))

        thread = threading.Thread(target=receive)
        thread.start()
        try:
            yield kept
        finally:
            over.set()
            thread.join()
