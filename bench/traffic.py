"""Synthetic SIP traffic for measurements: calls through one proxy, seen on both of its hops, as pcap or as HEP.

A call is what Kamailio between phones and a gateway would report: about 13 messages, of which most are answered and
some are challenged, busy, cancelled or refused. Numbers, Call-IDs, branches, tags, ports, user agents and bodies vary
from call to call (they decide how well blocks compress); the same seed makes the same bytes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import socket
import struct
import time
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

START_US = 1_795_348_800_000_000  # 2026-11-22T12:00:00Z
SUBSCRIBERS = 10_000
ROUND = "r000000"  # stands in every Call-ID; HepStream counts it up to make new calls of the same packets
_AGENTS = {"192.0.2.10": 101, "192.0.2.11": 102}
_USER_AGENTS = (
    "Yealink SIP-T54W 96.86.0.70", "Grandstream GXP2170 1.0.11.79", "Zoiper rv2.10.19.7-mod", "PolyVVX-VVX_450-UA/6.4.6.2494",
    "snomD785/10.1.175.16", "Linphone-Desktop/5.2.4 (Windows 11) LinphoneCore/5.3.72", "Cisco-CP8845/14.2.1", "MicroSIP/3.21.5",
    "FRITZ!OS", "Gigaset N510 IP PRO/42.264", "Bria 6.5.3", "baresip v3.16.0 (x86_64/linux)",
)  # fmt: skip
_GATEWAYS = ("203.0.113.5", "203.0.113.6", "203.0.113.17", "198.51.100.200")
_DOMAINS = ("sip.acme.example", "voice.example.net", "pbx.example.org")
_CODECS = (
    ("8 0 101", ("8 PCMA/8000", "0 PCMU/8000", "101 telephone-event/8000")),
    ("9 8 0 18 101", ("9 G722/8000", "8 PCMA/8000", "0 PCMU/8000", "18 G729/8000", "101 telephone-event/8000")),
    ("96 8 101", ("96 opus/48000/2", "8 PCMA/8000", "101 telephone-event/8000")),
)


class Message(NamedTuple):
    """One SIP message on one hop; `time_us` since the start of the traffic."""

    time_us: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    agent: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class _Side:
    """What the two ends of a call write into their messages."""

    uri: str
    tag: str
    contact: str
    agent: str
    sdp: str


def traffic(calls: int, *, calls_per_second: float = 100.0, seed: int = 7, longest_s: float = 60.0) -> list[Message]:
    """`calls` calls in order of time; talk time is exponential with a mean of a third of `longest_s`."""
    rng = random.Random(seed)
    messages: list[Message] = []
    for number in range(calls):
        messages += _call(rng, int(number / calls_per_second * 1e6) + rng.randrange(1000), longest_s)
    messages.sort(key=lambda message: message.time_us)
    return messages


def _call(rng: random.Random, start_us: int, longest_s: float) -> Iterator[Message]:
    subscriber = random.Random(rng.randrange(SUBSCRIBERS))  # whose phone, number and proxy are always the same
    proxy = subscriber.choice(list(_AGENTS))
    phone = f"198.51.{subscriber.randrange(64, 128)}.{subscriber.randrange(1, 255)}"
    phone_port = subscriber.choice((5060, subscriber.randrange(1024, 65535)))
    domain, agent = subscriber.choice(_DOMAINS), subscriber.choice(_USER_AGENTS)
    caller = f"1210{subscriber.randrange(10**7):07d}"
    gateway, called = rng.choice(_GATEWAYS), f"1{rng.randrange(2 * 10**9, 10**10)}"
    call_id = f"{rng.getrandbits(80):020x}{ROUND}@{phone}"
    up = (phone, phone_port, proxy, 5060)
    down = (proxy, 5060, gateway, 5060)
    a = _Side(
        f"<sip:{caller}@{domain}>", f"{rng.getrandbits(40):x}", f"<sip:{caller}@{phone}:{phone_port};transport=udp>",
        f"User-Agent: {agent}", _sdp(rng, phone),
    )  # fmt: skip
    b = _Side(
        f"<sip:{called}@{domain}>", f"as{rng.getrandbits(32):08x}", f"<sip:{called}@{gateway}:5060>", "Server: Gateway 8.4",
        _sdp(rng, gateway),
    )  # fmt: skip
    record = f"Record-Route: <sip:{proxy};lr;ftag={a.tag}>"
    clock = start_us

    def both(
        first: str, cseq: str, via: str, via2: str, headers: list[str], body: str, to_tag: bool, upstream: bool
    ) -> Iterator[Message]:
        """A message of one end on the hop it makes and, forwarded, on the next."""
        nonlocal clock
        for far in (upstream, not upstream):
            hop = down if far else up
            if far == upstream:
                clock += rng.randrange(300, 1500)
            vias = [via2, via + f";received={phone};rport={phone_port}"] if far else [via]
            lines = [first if not far else first.replace(f"@{domain} SIP", f"@{gateway}:5060 SIP")]
            lines += [f"Via: SIP/2.0/UDP {each}" for each in vias]
            lines += (
                [record] if first.startswith(("INVITE", "SIP/2.0 1", "SIP/2.0 2")) and cseq.endswith("INVITE") else []
            )
            if not first.startswith("SIP"):
                lines.append(f"Max-Forwards: {69 if far else 70}")
            lines += [
                f"From: {a.uri};tag={a.tag}", f"To: {b.uri}" + (f";tag={b.tag}" if to_tag else ""), f"Call-ID: {call_id}",
                f"CSeq: {cseq}", *headers, f"Content-Length: {len(body)}", "", body,
            ]  # fmt: skip
            back = first.startswith("SIP")
            at = clock if far == upstream else clock + rng.randrange(150, 900)
            clock = at
            source, source_port, destination, destination_port = hop
            if back:
                source, source_port, destination, destination_port = (
                    destination,
                    destination_port,
                    source,
                    source_port,
                )
            yield Message(
                at, source, source_port, destination, destination_port, _AGENTS[proxy], "\r\n".join(lines).encode()
            )

    def branch() -> tuple[str, str]:
        return (
            f"{phone}:{phone_port};branch=z9hG4bK{rng.getrandbits(48):x}",
            f"{proxy};branch=z9hG4bK{rng.getrandbits(16):04x}.{rng.getrandbits(128):032x}.0",
        )

    def request(
        method: str, cseq: int, vias: tuple[str, str], headers: list[str], body: str = "", tag: bool = False
    ) -> Iterator[Message]:
        yield from both(
            f"{method} sip:{called}@{domain} SIP/2.0", f"{cseq} {method}", *vias, headers, body, tag, False
        )

    def response(
        code: str, cseq: str, vias: tuple[str, str], body: str = "", extra: tuple[str, ...] = ()
    ) -> Iterator[Message]:
        headers = [b.agent, *extra] + ([f"Contact: {b.contact}", "Content-Type: application/sdp"] if body else [])
        yield from both(f"SIP/2.0 {code}", cseq, *vias, headers, body, True, True)

    story = rng.random()
    cseq, vias = rng.choice((1, 102, 20)), branch()
    invite = [f"Contact: {a.contact}", a.agent, "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO, UPDATE",
              "Supported: replaces, timer", "Session-Expires: 1800", "Content-Type: application/sdp"]  # fmt: skip
    if story < 0.06:  # challenged by the proxy first: only its own hop sees that
        challenge = f'Proxy-Authenticate: Digest realm="{domain}", nonce="{rng.getrandbits(160):040x}", qop="auth"'
        yield next(iter(request("INVITE", cseq, vias, invite, a.sdp)))
        yield list(response("407 Proxy Authentication Required", f"{cseq} INVITE", vias, "", (challenge,)))[1]
        yield next(iter(request("ACK", cseq, vias, [a.agent], tag=True)))
        cseq, vias = cseq + 1, branch()
        invite.append(
            f'Proxy-Authorization: Digest username="{caller}", realm="{domain}", nonce="{rng.getrandbits(160):040x}", '
            f'uri="sip:{called}@{domain}", response="{rng.getrandbits(128):032x}", algorithm=MD5'
        )
    yield from request("INVITE", cseq, vias, invite, a.sdp)
    yield from response("100 Trying", f"{cseq} INVITE", vias)
    clock += rng.randrange(30_000, 900_000)
    if story > 0.96:
        code = rng.choice(("404 Not Found", "403 Forbidden", "503 Service Unavailable", "488 Not Acceptable Here"))
        yield from response(code, f"{cseq} INVITE", vias)
        yield from request("ACK", cseq, vias, [a.agent], tag=True)
        return
    yield from response("180 Ringing", f"{cseq} INVITE", vias)
    clock += rng.randrange(1_000_000, 9_000_000)
    if story > 0.89:
        yield from response("486 Busy Here", f"{cseq} INVITE", vias, "", ("Reason: Q.850;cause=17",))
        yield from request("ACK", cseq, vias, [a.agent], tag=True)
        return
    if story > 0.83:
        yield from request("CANCEL", cseq, vias, [a.agent])
        yield from response("200 OK", f"{cseq} CANCEL", vias)
        yield from response("487 Request Terminated", f"{cseq} INVITE", vias)
        yield from request("ACK", cseq, vias, [a.agent], tag=True)
        return
    yield from response("200 OK", f"{cseq} INVITE", vias, b.sdp)
    yield from request("ACK", cseq, branch(), [f"Contact: {a.contact}", a.agent], tag=True)
    clock += min(int(rng.expovariate(3 / longest_s) * 1e6), int(longest_s * 1e6))
    vias = branch()
    yield from request("BYE", cseq + 1, vias, [a.agent, "Reason: Q.850;cause=16"], tag=True)
    yield from response("200 OK", f"{cseq + 1} BYE", vias)


def _sdp(rng: random.Random, address: str) -> str:
    formats, maps = rng.choice(_CODECS)
    session = rng.randrange(10**8, 10**10)
    return "\r\n".join(
        [
            "v=0", f"o=- {session} {session} IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0",
            f"m=audio {rng.randrange(10000, 60000, 2)} RTP/AVP {formats}", *(f"a=rtpmap:{each}" for each in maps),
            "a=fmtp:101 0-16", "a=sendrecv", "",
        ]
    )  # fmt: skip


def write_pcap(path: Path, messages: Iterable[Message], *, start_us: int = START_US) -> int:
    """The messages as UDP in Ethernet frames, classic pcap. Returns how many."""
    count = 0
    with path.open("wb", buffering=1 << 20) as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for count, message in enumerate(messages, 1):
            frame = _frame(message, count & 0xFFFF)
            moment = start_us + message.time_us
            file.write(struct.pack("<IIII", moment // 1_000_000, moment % 1_000_000, len(frame), len(frame)))
            file.write(frame)
    return count


def _frame(message: Message, ip_id: int) -> bytes:
    udp = struct.pack("!HHHH", message.source_port, message.destination_port, 8 + len(message.payload), 0)
    ip = bytearray(
        struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, 28 + len(message.payload), ip_id, 0, 64, 17, 0,
            socket.inet_aton(message.source), socket.inet_aton(message.destination),
        )
    )  # fmt: skip
    total = sum(struct.unpack("!10H", ip))
    total = (total & 0xFFFF) + (total >> 16)
    ip[10:12] = struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)
    return b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0" + ip + udp + message.payload


def hep3(message: Message, moment_us: int) -> bytes:
    """One packet with the chunks, and in the order, that Kamailio 5.6 sends."""
    payload = message.payload
    return b"HEP3" + struct.pack(
        "!H HHHB HHHB HHH4s HHH4s HHHH HHHH HHHI HHHI HHHB HHHI HHH",
        99 + len(payload), 0, 1, 7, 2, 0, 2, 7, 17, 0, 3, 10, socket.inet_aton(message.source),
        0, 4, 10, socket.inet_aton(message.destination), 0, 7, 8, message.source_port, 0, 8, 8, message.destination_port,
        0, 9, 10, moment_us // 1_000_000, 0, 10, 10, moment_us % 1_000_000, 0, 11, 7, 1, 0, 12, 10, message.agent,
        0, 15, 6 + len(payload),
    ) + payload  # fmt: skip


_SECONDS_AT = 6 + 7 + 7 + 10 + 10 + 8 + 8 + 6  # offset of chunk 0009's value in a packet of hep3()


class _MsgHdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32), ("iov", ctypes.c_void_p), ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t), ("flags", ctypes.c_int),
    )  # fmt: skip


class _MMsgHdr(ctypes.Structure):
    _fields_ = (("header", _MsgHdr), ("sent", ctypes.c_uint))


class HepStream:
    """Endless HEP3 traffic at a set rate, made once and stamped anew on every round.

    One round is what calls begun at a steady rate send in `round_s` seconds; a call that lasts longer goes on in the
    next rounds under its own Call-ID. Every packet carries the time it is sent at.
    """

    def __init__(self, rate: int, *, round_s: float = 3.0, seed: int = 7, longest_s: float = 30.0) -> None:
        round_us = int(round_s * 1e6)
        sample = len(traffic(400, seed=seed, longest_s=longest_s)) / 400
        calls = int(rate * round_s / sample)
        messages = traffic(calls, calls_per_second=calls / round_s, seed=seed, longest_s=longest_s)
        folded = sorted((m.time_us % round_us, m.time_us // round_us, m) for m in messages)
        self.ages = [age for _, age, _ in folded]  # rounds since the call began
        self.oldest = max(self.ages)
        packets = [hep3(message, 0) for _, _, message in folded]
        marker = ROUND.encode()
        self.data = bytearray(b"".join(packets))
        self.starts, self.markers = array("Q"), array("Q")
        at = 0
        for packet in packets:
            self.starts.append(at)
            self.markers.append(at + packet.index(marker) + 1)
            at += len(packet)
        self.starts.append(at)
        self.rate = rate
        self._places = [
            (start + _SECONDS_AT, marker) for start, marker in zip(self.starts, self.markers, strict=False)
        ]
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.data))
        vectors = array("Q")
        for start, stop in zip(self.starts, self.starts[1:], strict=False):
            vectors.extend((base + start, stop - start))
        self._vectors = (ctypes.c_uint64 * len(vectors)).from_buffer(vectors)
        # A header for each packet, made once: what is sent then are runs of them.
        self._headers = (_MMsgHdr * len(self.ages))()
        where = ctypes.addressof(self._vectors)
        for index, each in enumerate(self._headers):
            each.header.iov, each.header.iovlen = where + 16 * index, 1
        self._libc = ctypes.CDLL(None, use_errno=True)

    def __len__(self) -> int:
        return len(self.ages)

    def send_udp(self, address: tuple[str, int], seconds: float, *, sockets: int = 2) -> int:
        """Packets handed to the kernel, paced to the rate in steps of a millisecond. Returns how many were sent."""
        outs = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(sockets)]
        for out in outs:
            out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
            out.connect(address)
        step = ctypes.sizeof(_MMsgHdr)
        sent = 0
        for number, (first, last) in enumerate(self._paced(seconds, 1024)):
            fd = outs[number % sockets].fileno()
            while first < last:
                count = self._libc.sendmmsg(fd, ctypes.byref(self._headers, first * step), last - first, 0)
                if count < 0 and ctypes.get_errno() == errno.ECONNREFUSED:
                    continue  # told of an earlier packet: nobody listens just now
                if count < 0:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
                first += count
                sent += count
        for out in outs:
            out.close()
        return sent

    def send_tcp(self, address: tuple[str, int], seconds: float) -> int:
        """As `send_udp` through one connection; a receiver that is slower slows the sender. Returns how many were sent."""
        sent = 0
        view = memoryview(self.data)
        with socket.create_connection(address) as out:
            for first, last in self._paced(seconds, 1024):
                out.sendall(view[self.starts[first] : self.starts[last]])
                sent += last - first
        return sent

    def _paced(self, seconds: float, most: int) -> Iterator[tuple[int, int]]:
        """(first, last + 1) of the packets that are due, stamped."""
        begun = time.monotonic()
        total, position, turn, due = 0, 0, 0, 0
        size = len(self.ages)
        while (elapsed := time.monotonic() - begun) < seconds:
            due = int(elapsed * self.rate)
            if due - total < 32:
                time.sleep(0.001)
                continue
            first = position
            last = min(size, first + min(due - total, most))
            self._stamp(first, last, turn)
            yield first, last
            total += last - first
            position = last
            if position == size:
                position, turn = 0, turn + 1

    def _stamp(self, first: int, last: int, turn: int) -> None:
        now = time.time_ns() // 1000
        seconds, micros = struct.pack("!I", now // 1_000_000), struct.pack("!I", now % 1_000_000)
        stamp = seconds + struct.pack("!HHH", 0, 10, 10) + micros
        tags = [f"{(turn - age) % 1_000_000:06d}".encode() for age in range(self.oldest + 1)]
        data = self.data
        for (at, marker), age in zip(self._places[first:last], self.ages[first:last], strict=True):
            data[at : at + 14] = stamp
            data[marker : marker + 6] = tags[age]
