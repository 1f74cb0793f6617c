"""Packets to a running collector, as nodes send them: HEP over TCP for what was, over UDP for what is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable

from ringback import clock
from ringback.demo.copies import Timed


def send_all(address: tuple[str, int], timed: Iterable[Timed], stopping: threading.Event) -> int:
    """As fast as the collector takes it. Returns the number of packets sent. Raises OSError."""
    sent = 0
    with socket.create_connection(address, timeout=30) as connection:
        for each in timed:
            if stopping.is_set():
                break
            connection.sendall(each.packet)
            sent += 1
    return sent


def send_in_time(address: tuple[str, int], timed: Iterable[Timed], stopping: threading.Event) -> None:
    """Each at its moment, until told to stop."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for each in timed:
            if stopping.wait(max(0.0, (each.time_us - clock.now_us()) / 1e6)):
                return
            out.sendto(each.packet, address)
