"""RTCP packets: sender and receiver reports, and the VoIP metrics of extended reports.

Sources: RFC 3550 section 6.4, RFC 3611 sections 2 and 4.7, RFC 5761 section 4 for telling RTCP from RTP.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HEADER = struct.Struct(">BBH")
_REPORT_BLOCK = struct.Struct(">IIIIII")
_SENDER_INFO = struct.Struct(">IIIIII")  # SSRC, NTP seconds and fraction, RTP time, packets, octets
_VOIP_METRICS = struct.Struct(">IBBBBHHHHbbBBBBBB")
_SR, _RR, _BYE, _XR = 200, 201, 203, 207
_MAX_BLOCKS = 64  # of one datagram


@dataclass(frozen=True, slots=True)
class ReceptionReport:
    """How the sender of a report hears the stream `ssrc`. None: the report does not say."""

    reporter: int  # SSRC of whoever reports
    ssrc: int
    loss_percent: float | None = None  # since the report before (SR, RR), or of the call (VoIP metrics)
    lost: int | None = None  # cumulative; negative where duplicates outweigh losses
    highest_sequence: int | None = None  # extended
    jitter: int | None = None  # in units of the stream's clock
    mos: float | None = None  # MOS-LQ
    r_factor: int | None = None
    round_trip_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SenderReport:
    ssrc: int
    packets: int
    octets: int


def is_rtcp(payload: bytes) -> bool:
    """By RFC 5761: version 2, a packet type of 192-223, and a length that fits."""
    if len(payload) < 8 or payload[0] >> 6 != 2 or not 192 <= payload[1] <= 223:
        return False
    return (int.from_bytes(payload[2:4]) + 1) * 4 <= len(payload)


def parse_rtcp(payload: bytes) -> tuple[list[SenderReport], list[ReceptionReport]]:
    """All reports of a compound packet. Never raises: reading ends where the bytes stop making sense."""
    senders: list[SenderReport] = []
    reports: list[ReceptionReport] = []
    position = 0
    while position + 8 <= len(payload) and len(reports) < _MAX_BLOCKS:
        first, kind, words = _HEADER.unpack_from(payload, position)
        end = position + (words + 1) * 4
        if first >> 6 != 2 or end > len(payload):
            break
        reporter = int.from_bytes(payload[position + 4 : position + 8])
        if kind == _SR and end - position >= 28:
            ssrc, _, _, _, packets, octets = _SENDER_INFO.unpack_from(payload, position + 4)
            senders.append(SenderReport(ssrc, packets, octets))
            reports += _blocks(payload, position + 28, end, first & 31, reporter)
        elif kind == _RR:
            reports += _blocks(payload, position + 8, end, first & 31, reporter)
        elif kind == _XR:
            reports += _voip_metrics(payload, position + 8, end, reporter)
        position = end
    return senders, reports


def _blocks(payload: bytes, position: int, end: int, count: int, reporter: int) -> list[ReceptionReport]:
    found = []
    for at in range(position, min(end - 23, position + count * 24), 24):
        ssrc, loss, highest, jitter, _, _ = _REPORT_BLOCK.unpack_from(payload, at)
        lost = loss & 0xFFFFFF
        found.append(
            ReceptionReport(
                reporter,
                ssrc,
                loss_percent=(loss >> 24) * 100 / 256,
                lost=lost - (1 << 24) if lost & 0x800000 else lost,
                highest_sequence=highest,
                jitter=jitter,
            )
        )
    return found


def _voip_metrics(payload: bytes, position: int, end: int, reporter: int) -> list[ReceptionReport]:
    found = []
    while position + 4 <= end:
        kind, _, words = _HEADER.unpack_from(payload, position)
        if kind == 7 and words == 8 and position + 36 <= end:
            values = _VOIP_METRICS.unpack_from(payload, position + 4)
            ssrc, lost, round_trip, r_factor, mos_lq = (values[at] for at in (0, 1, 7, 13, 15))
            found.append(
                ReceptionReport(
                    reporter,
                    ssrc,
                    loss_percent=lost * 100 / 256,
                    # 127 stands for "unavailable" (RFC 3611 section 4.7.5)
                    mos=mos_lq / 10 if 10 <= mos_lq <= 50 else None,
                    r_factor=r_factor if r_factor <= 100 else None,
                    round_trip_ms=round_trip,
                )
            )
        position += (words + 1) * 4
    return found
