"""Audio for the example captures: RTP (RFC 3550) with G.729 frames, as evenly or unevenly as asked for."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from dataclasses import dataclass

G729 = 18
_PACKET_S, _TICKS, _BYTES = 0.020, 160, 20


@dataclass(frozen=True, slots=True)
class Stream:
    """One direction. `loss` is the share of packets never sent; `jitter_s` the most a packet is late."""

    source: tuple[str, int]
    destination: tuple[str, int]
    seconds: float
    starts_after_s: float
    ssrc: int
    loss: float = 0.0
    jitter_s: float = 0.0

    def start(self) -> threading.Thread:
        thread = threading.Thread(target=self._send, name=f"rtp {self.source[0]}")
        thread.start()
        return thread

    def _send(self) -> None:
        dice = random.Random(self.ssrc)
        begun = time.monotonic() + self.starts_after_s
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.bind(self.source)
            for number in range(round(self.seconds / _PACKET_S)):
                due = begun + number * _PACKET_S + dice.random() * self.jitter_s
                time.sleep(max(0.0, due - time.monotonic()))
                if dice.random() >= self.loss:
                    first = 0x80 if number == 0 else 0
                    head = struct.pack(">BBHII", 0x80, first | G729, number, number * _TICKS, self.ssrc)
                    out.sendto(head + dice.randbytes(_BYTES), self.destination)
