"""A HEP collector that keeps what it gets: the SIP messages and log lines of a node."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ringback.sessions.capture.hep import LOG, HepPacket, decode


class Collector:
    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.packets: list[HepPacket] = []

    def lines(self, call_id: str, *, at_least: int = 1, within_s: float = 3.0) -> list[str]:
        """The log lines of a call, waited for."""
        end = time.monotonic() + within_s
        while True:
            texts = [
                one.payload.decode().strip()
                for one in list(self.packets)
                if one.payload_type == LOG and one.correlation == call_id
            ]
            if len(texts) >= at_least or time.monotonic() > end:
                return texts
            time.sleep(0.05)

    def status_lines(self, call_id: str) -> list[str]:
        """First lines of the responses of a call, each once, in order of time."""
        found = [
            one.payload.split(b"\r\n", 1)[0].decode()
            for one in sorted(self.packets, key=lambda one: one.time_us)
            if one.payload.startswith(b"SIP/2.0 ") and call_id.encode() in one.payload
        ]
        return list(dict.fromkeys(found))


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
