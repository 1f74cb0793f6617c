"""Captures written by hand: SIP as plain strings, packets by `struct`. Shares nothing with the other builders."""

from __future__ import annotations

import json
import re
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from ringback import terminal

START = 1_795_000_000.0  # 2026-11-18
Place = tuple[str, int]


def request(
    method: str,
    uri: str,
    via: str | list[str],
    *,
    call: str,
    cseq: int = 1,
    caller: str = "<sip:1001@pbx.example>;tag=f1",
    callee: str = "<sip:2002@pbx.example>",
    more: str = "",
    body: str = "",
    kind: str = "application/sdp",
) -> str:
    """A request. `via`: "host:port;branch", top first; `more`: further header lines; `body` with LF or CRLF."""
    vias = [via] if isinstance(via, str) else via
    lines = [f"{method} {uri} SIP/2.0"]
    lines += [f"Via: SIP/2.0/UDP {one.partition(';')[0]};branch=z9hG4bK{one.partition(';')[2]}" for one in vias]
    lines += [f"From: {caller}", f"To: {callee}", f"Call-ID: {call}", f"CSeq: {cseq} {method}", "Max-Forwards: 70"]
    return _message(lines, more, body, kind)


def response(to: str, status: str, *, tag: str = "", more: str = "", body: str = "") -> str:
    """The response "486 Busy Here" to a request: Via, From, To, Call-ID and CSeq are copied."""
    copied = re.findall(r"(?m)^(?:Via|v|From|f|To|t|Call-ID|i|CSeq|Record-Route):? .*?(?=\r?$)", to)
    lines = [f"SIP/2.0 {status}"]
    for line in copied:
        adds = tag and re.match(r"(?:To|t): ", line) and ";tag=" not in line
        lines.append(f"{line};tag={tag}" if adds else line)
    return _message(lines, more, body, "application/sdp")


def without_top_via(text: str) -> str:
    """A response as a proxy passes it on."""
    return re.sub(r"Via: .*\r\n", "", text, count=1)


def _message(lines: list[str], more: str, body: str, kind: str) -> str:
    lines = lines + [line for line in more.strip().splitlines() if line]
    body = "\r\n".join(body.splitlines()) + "\r\n" if body else ""
    if body:
        lines.append(f"Content-Type: {kind}")
    return "\r\n".join([*lines, f"Content-Length: {len(body.encode())}", "", body])


def sdp(host: str, port: int, formats: str = "8 0 101", more: str = "", *, profile: str = "RTP/AVP") -> str:
    names = {"8": "PCMA/8000", "0": "PCMU/8000", "18": "G729/8000", "9": "G722/8000", "101": "telephone-event/8000"}
    maps = "".join(f"a=rtpmap:{one} {names[one]}\n" for one in formats.split() if one in names)
    version = 6 if ":" in host else 4
    return (
        f"v=0\no=- {port}77001 1 IN IP{version} {host}\ns=-\nc=IN IP{version} {host}\nt=0 0\n"
        f"m=audio {port} {profile} {formats}\n{maps}{more}"
    )


class Capture:
    """Frames with their times, in seconds from the start."""

    def __init__(self) -> None:
        self.frames: list[tuple[float, int, bytes]] = []  # time, interface, frame
        self._id = 100
        self._tcp: dict[tuple[Place, Place], int] = {}

    def udp(
        self, at: float, source: Place, destination: Place, payload: str | bytes, *, interface: int = 0,
        ip_id: int | None = None, ttl: int = 64, vlan: int = 0, mac: int = 1,
    ) -> None:  # fmt: skip
        data = payload.encode() if isinstance(payload, str) else payload
        datagram = struct.pack("!HHHH", source[1], destination[1], 8 + len(data), 0) + data
        packet = self._ip(source[0], destination[0], 17, datagram, ip_id, ttl)
        self.frame(at, packet, interface, vlan, mac)

    def twice(self, at: float, source: Place, destination: Place, payload: str | bytes) -> None:
        """A mirror port: the same packet again 0.2 ms later, from the other VLAN, one router further."""
        self._id += 1
        self.udp(at, source, destination, payload, ip_id=self._id, vlan=10)
        self.udp(at + 0.0002, source, destination, payload, ip_id=self._id, vlan=20, ttl=63, mac=7)

    def fragments(self, at: float, source: Place, destination: Place, payload: str, *, lose: int = -1) -> None:
        data = payload.encode()
        datagram = struct.pack("!HHHH", source[1], destination[1], 8 + len(data), 0) + data
        self._id += 1
        for number, offset in enumerate(range(0, len(datagram), 1480)):
            part = datagram[offset : offset + 1480]
            flags = (0x2000 if offset + 1480 < len(datagram) else 0) | offset // 8
            if number != lose:
                packet = self._ip(source[0], destination[0], 17, part, self._id, 64, flags)
                self.frame(at + number * 1e-5, packet)

    def tcp(self, at: float, source: Place, destination: Place, payload: str | bytes) -> None:
        data = payload.encode() if isinstance(payload, str) else payload
        ways = (source, destination), (destination, source)
        for way in ways:
            self._tcp.setdefault(way, 1000)
        here, there = self._tcp[ways[0]], self._tcp[ways[1]]
        head = struct.pack("!HHIIBBHHH", source[1], destination[1], here, there, 0x50, 0x18, 65535, 0, 0)
        self._tcp[ways[0]] += len(data)
        self.frame(at, self._ip(source[0], destination[0], 6, head + data, None, 64))

    def rtp(
        self, at: float, seconds: float, source: Place, destination: Place, *, payload_type: int = 8, ssrc: int = 0,
        lose: int = 0, shake: float = 0.0, size: int = 160, sequence: int = 1,
    ) -> None:  # fmt: skip
        """50 packets a second; `lose`: every so manieth packet is missing; `shake`: every second packet comes so late."""
        ssrc = ssrc or source[1] * 65536 + destination[1]
        for number in range(int(seconds * 50)):
            if lose and number % lose == lose - 1:
                continue
            head = struct.pack("!BBHII", 0x80, payload_type, (sequence + number) & 0xFFFF, number * 160, ssrc)
            self.udp(at + number * 0.02 + (shake if number % 2 else 0), source, destination, head + b"\xd5" * size)

    def frame(self, at: float, packet: bytes, interface: int = 0, vlan: int = 0, mac: int = 1) -> None:
        kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
        tag = struct.pack("!HH", 0x8100, vlan) if vlan else b""
        self.frames.append(
            (
                at,
                interface,
                struct.pack("!6s6s", b"\2" + bytes(4) + b"\2", b"\2\0\0\0\0" + bytes([mac])) + tag + kind + packet,
            )
        )

    def _ip(
        self, source: str, destination: str, protocol: int, data: bytes, ip_id: int | None, ttl: int, flags: int = 0
    ) -> bytes:
        if ":" in source:
            head = struct.pack("!IHBB", 6 << 28, len(data), protocol, ttl)
            return (
                head
                + socket.inet_pton(socket.AF_INET6, source)
                + socket.inet_pton(socket.AF_INET6, destination)
                + data
            )
        if ip_id is None:
            self._id += 1
            ip_id = self._id
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), ip_id & 0xFFFF, flags, ttl, protocol, 0)
        return head + socket.inet_aton(source) + socket.inet_aton(destination) + data

    def save(self, path: Path, *, snap: int = 65535) -> Path:
        """As pcap, or as pcapng where more than one interface was used."""
        frames = sorted(self.frames, key=lambda one: one[0])
        interfaces = max((one[1] for one in frames), default=0) + 1
        with path.open("wb") as file:
            if interfaces > 1:
                file.write(_block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)))
                for _ in range(interfaces):
                    file.write(_block(1, struct.pack("<HHI", 1, 0, 65535)))
            else:
                file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snap, 1))
            for at, interface, frame in frames:
                stamp = round((START + at) * 1e6)
                kept = frame[:snap]
                if interfaces > 1:
                    head = struct.pack("<IIIII", interface, stamp >> 32, stamp & 0xFFFFFFFF, len(kept), len(frame))
                    file.write(_block(6, head + kept + bytes(-len(kept) % 4)))
                else:
                    file.write(
                        struct.pack("<IIII", stamp // 1_000_000, stamp % 1_000_000, len(kept), len(frame)) + kept
                    )
        return path


def _block(kind: int, body: bytes) -> bytes:
    return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)


def explained(path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> list[dict[str, Any]]:
    """The sessions of `ringback explain FILE --json`."""
    assert terminal.explain([path], as_json=True) == 0
    document: dict[str, Any] = json.loads(capsysbinary.readouterr().out)
    sessions: list[dict[str, Any]] = document["sessions"]
    return sessions


def ids(session: dict[str, Any]) -> list[str]:
    return [issue["id"] for issue in session["issues"]]
