"""One RTP stream in figures: packets expected and lost, and the jitter of their arrival.

Source: RFC 3550 sections 6.4.1, A.1, A.3 and A.8.
"""

from __future__ import annotations

_MAX_DROPOUT, _MAX_MISORDER = 3000, 100  # packets, RFC 3550 appendix A.1
_CLOCK_RATES = (8000, 16000, 32000, 44100, 48000, 90000)
_MEASURED_AFTER = 20  # packets, to tell a clock rate that nobody announced
_PAUSE = 5  # seconds by which arrival and timestamp differ: the sender began anew, that is no jitter


class RtpStream:
    """Counts and jitter of one SSRC between two sockets."""

    __slots__ = (
        "_bad", "_base", "_cycles", "_expected_before", "_first", "_highest", "_jitter", "_jitter_count", "_jitter_sum",
        "_last_time_us", "_last_timestamp", "_not_counted", "clock_rate", "ended_us", "flow", "max_jitter", "packets",
        "payload_type", "ssrc", "started_us",
    )  # fmt: skip

    def __init__(
        self, time_us: int, flow: bytes, ssrc: int, payload_type: int, sequence: int, timestamp: int
    ) -> None:
        self.flow = flow
        self.ssrc = ssrc
        self.payload_type = payload_type
        self.clock_rate = 0  # Hz; 0 unknown
        self.started_us = self.ended_us = time_us
        self.packets = 1
        self.max_jitter = 0.0  # in units of the clock, as all jitter here
        self._first = (time_us, timestamp)
        self._base = self._highest = sequence
        self._cycles = self._expected_before = self._not_counted = 0
        self._bad = -1
        self._jitter = self._jitter_sum = 0.0
        self._jitter_count = 0
        self._last_time_us, self._last_timestamp = time_us, timestamp

    def add(self, time_us: int, payload_type: int, sequence: int, timestamp: int) -> bool:
        """False where the sequence number has nothing to do with those before."""
        self.packets += 1
        self.ended_us = time_us
        ahead = (sequence - self._highest) & 0xFFFF
        if 0 < ahead < _MAX_DROPOUT:
            if sequence < self._highest:
                self._cycles += 1 << 16
            self._highest = sequence
        elif ahead == 0:
            self._not_counted += 1  # captured or sent twice
        elif ahead <= 0x10000 - _MAX_MISORDER:
            if sequence != self._bad:
                self._bad = (sequence + 1) & 0xFFFF
                self._not_counted += 1
                return False
            self._expected_before = self.expected + 1  # the sender began anew, one packet ago
            self._not_counted -= 1
            self._base = self._highest = sequence
            self._cycles = 0
        # Else out of order: not lost, and late, which jitter counts in order of arrival (section 6.4.1).
        if payload_type == self.payload_type and timestamp != self._last_timestamp:
            if self.clock_rate:
                self._update_jitter(time_us, timestamp)
            elif self.packets >= _MEASURED_AFTER:
                self.clock_rate = self._measured_rate(time_us, timestamp)
            self._last_time_us, self._last_timestamp = time_us, timestamp
        return True

    def _update_jitter(self, time_us: int, timestamp: int) -> None:
        """RFC 3550 appendix A.8, on packets with a new timestamp: of a video frame's the first counts."""
        advance = (timestamp - self._last_timestamp) & 0xFFFFFFFF
        if advance >= 1 << 31:
            advance -= 1 << 32
        difference = abs((time_us - self._last_time_us) * self.clock_rate / 1_000_000 - advance)
        if difference > _PAUSE * self.clock_rate:
            return
        self._jitter += (difference - self._jitter) / 16
        self._jitter_sum += self._jitter
        self._jitter_count += 1
        self.max_jitter = max(self.max_jitter, self._jitter)

    def _measured_rate(self, time_us: int, timestamp: int) -> int:
        elapsed = time_us - self._first[0]
        ticks = (timestamp - self._first[1]) & 0xFFFFFFFF
        if elapsed <= 0:
            return 0
        rate = ticks * 1_000_000 / elapsed
        return min(_CLOCK_RATES, key=lambda known: abs(known - rate))

    @property
    def expected(self) -> int:
        return self._expected_before + self._cycles + self._highest - self._base + 1

    @property
    def lost(self) -> int:
        return max(0, self.expected - (self.packets - self._not_counted))

    @property
    def mean_jitter(self) -> float | None:
        return self._jitter_sum / self._jitter_count if self._jitter_count else None
