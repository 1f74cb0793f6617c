"""One captured packet taken apart, whatever it is wrapped in, until SIP, media or a reason to ignore it is found."""

from __future__ import annotations

from collections import Counter
from socket import AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple

from ringback import clock
from ringback.sessions.capture import hep
from ringback.sessions.capture.frames import Interface
from ringback.sessions.capture.hep_logs import to_log
from ringback.sessions.capture.ip import (
    GRE,
    IP_IN_IP,
    IPV6_IN_IP,
    SCTP,
    TCP,
    UDP,
    Datagram,
    Incomplete,
    Reassembler,
    parse_ip,
)
from ringback.sessions.capture.link import ethernet, ip_header, ppp
from ringback.sessions.capture.media import Media
from ringback.sessions.capture.sip import REQUEST_WORDS, RESPONSE_WORD, looks_like_sip, why_not_sip
from ringback.sessions.capture.tcp import Connections, Found
from ringback.sessions.story import CUT_BY_CAPTURE, TIME_OF_RECEIPT, Hop, LogLine, SightingTuple

MAX_LOGS = 50_000  # log lines out of HEP packets that are kept
MAX_TUNNELS = 4  # inside one another

_ICMP = frozenset((1, 58))
_PROTOCOLS = {2: "IGMP", 50: "ESP", 51: "AH", 89: "OSPF", 103: "PIM", 112: "VRRP"}
_SCTP_DATA, _SCTP_WHOLE = 0, 3
_GRE_CHECKSUM, _GRE_ROUTING, _GRE_KEY, _GRE_SEQUENCE, _GRE_ACKNOWLEDGE = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080
_TRANSPARENT_ETHERNET, _ERSPAN_2, _ERSPAN_3, _GRE_PPP = 0x6558, 0x88BE, 0x22EB, 0x880B
_HEP_TRANSPORTS = frozenset((0, 6, 17, 22, 132))
_DNS_PORTS = frozenset(port.to_bytes(2) for port in (53, 5353))


class Seen(NamedTuple):
    """When and where a packet was captured, and the list that takes what it completes."""

    time_us: int
    interface: Interface
    out: list[SightingTuple]


class Dissector:
    """Keeps what outlives a packet (fragments, streams, media), all of it bounded."""

    def __init__(self, ignored: Counter[str]) -> None:
        self.ignored = ignored
        self.media = Media(ignored)
        self.logs: list[LogLine] = []  # out of HEP packets
        self.last_time_us = clock.now_us()  # for packets without a time: as those before, else the time of reading
        self._fragments = Reassembler()
        self._connections = Connections(ignored)

    def frame(
        self, time_us: int | None, data: bytes, start: int, end: int, interface: Interface, out: list[SightingTuple]
    ) -> None:
        """The frame data[start:end]; what it completes is appended to `out`."""
        marks = 0
        if time_us is None:
            time_us, marks = self.last_time_us, TIME_OF_RECEIPT
        self.last_time_us = time_us
        at = ip_header(interface.link_type, data, start, end)
        if isinstance(at, str):
            self.ignored[at] += 1
        else:
            self._ip(Seen(time_us, interface, out), data, at, end, marks, 0)

    def udp(self, seen: Seen, flow: bytes, payload: bytes, marks: int) -> None:
        """A UDP payload; `flow` is source and destination address, then both ports, as they stand on the wire."""
        if payload[:1] >= b"\x80" and self.media.observe(seen.time_us, flow, payload):
            return
        if (payload[:4] in REQUEST_WORDS or payload[:4] == RESPONSE_WORD) and looks_like_sip(payload):
            self._sip(seen, flow, payload, marks)
        elif payload.startswith(b"HEP3") or _is_old_hep(payload):
            self._hep(seen, payload)
        elif b"SIP/2.0" in payload and looks_like_sip(payload):
            self._sip(seen, flow, payload, marks)
        else:
            self.ignored[_why_ignored(flow, payload)] += 1

    def finish(self, out: list[SightingTuple]) -> None:
        """The capture ends: messages of which a part is missing are told as far as they came."""
        while given_up := self._fragments.flush():  # a datagram may hold another, of a tunnel
            for incomplete in given_up:
                self._incomplete(out, incomplete)
        self._take(out, self._connections.flush())

    def _ip(self, seen: Seen, data: bytes, at: int, end: int, marks: int, depth: int) -> None:
        parsed = parse_ip(data, at, end)
        if isinstance(parsed, str):
            self.ignored[parsed] += 1
        elif isinstance(parsed, Datagram):
            self._datagram(seen, _marked(parsed, marks), depth)
        else:
            fragment = parsed._replace(part=_marked(parsed.part, marks))
            whole, given_up = self._fragments.add(seen.time_us, fragment, seen.interface)
            for incomplete in given_up:
                self._incomplete(seen.out, incomplete)
            if whole is not None:
                self._datagram(seen, whole, depth)

    def _incomplete(self, out: list[SightingTuple], incomplete: Incomplete) -> None:
        datagram = incomplete.datagram
        if datagram.start == datagram.end:
            self.ignored["fragment without its beginning"] += incomplete.fragments
        else:
            self._datagram(Seen(incomplete.time_us, incomplete.interface, out), datagram, 0)

    def _datagram(self, seen: Seen, datagram: Datagram, depth: int) -> None:
        protocol = datagram.protocol
        if protocol == UDP:
            self._udp_header(seen, datagram)
        elif protocol == TCP:
            self._take(seen.out, self._connections.segment(seen.time_us, datagram, seen.interface))
        elif protocol == SCTP:
            self._sctp(seen, datagram)
        elif protocol in (IP_IN_IP, IPV6_IN_IP, GRE) and depth < MAX_TUNNELS:
            inner = datagram.start if protocol != GRE else _inside_gre(datagram)
            if isinstance(inner, str):
                self.ignored[inner] += 1
            else:
                lost = datagram.marks & (CUT_BY_CAPTURE | TIME_OF_RECEIPT)
                self._ip(seen, datagram.data, inner, datagram.end, lost, depth + 1)
        elif protocol in _ICMP:
            self.ignored["ICMP"] += 1
        else:
            self.ignored[_PROTOCOLS.get(protocol) or f"IP protocol {protocol}"] += 1

    def _udp_header(self, seen: Seen, datagram: Datagram) -> None:
        data, at, end, marks = datagram.data, datagram.start, datagram.end, datagram.marks
        if end - at < 8:
            self.ignored["cut frame" if marks & CUT_BY_CAPTURE else "broken UDP"] += 1
            return
        length = int.from_bytes(data[at + 4 : at + 6])
        if 8 <= length <= end - at:
            end = at + length
            marks &= ~CUT_BY_CAPTURE
        # Else the length is wrong, or bytes are missing: what is there is taken; Content-Length will tell.
        self.udp(seen, datagram.addresses + data[at : at + 4], data[at + 8 : end], marks)

    def _sctp(self, seen: Seen, datagram: Datagram) -> None:
        """RFC 9260: whole messages in DATA chunks; those spread over several chunks are not put together."""
        data, at, end = datagram.data, datagram.start, datagram.end
        flow = datagram.addresses + data[at : at + 4]
        reason = "SCTP without SIP"
        at += 12
        while at + 16 <= end:
            kind, flags, length = data[at], data[at + 1], int.from_bytes(data[at + 2 : at + 4])
            if kind == _SCTP_DATA and length > 16:
                payload = data[at + 16 : min(at + length, end)]
                if flags & _SCTP_WHOLE != _SCTP_WHOLE:
                    reason = "SCTP message in parts"
                elif looks_like_sip(payload):
                    self._sip(seen, flow, payload, datagram.marks, "sctp")
                    reason = ""
            at += max(4, (length + 3) // 4 * 4)
        if reason:
            self.ignored[reason] += 1

    def _take(self, out: list[SightingTuple], messages: list[Found]) -> None:
        for found in messages:
            framed = found.framed
            seen = Seen(framed.time_us, found.interface, out)
            if found.transport == "hep":
                self._hep(seen, framed.payload)
            else:
                self._sip(seen, found.flow, framed.payload, framed.marks, found.transport)

    def _hep(self, seen: Seen, payload: bytes) -> None:
        """A HEP packet on its way to a collector: what counts is what it carries."""
        try:
            packet = hep.decode(payload, seen.time_us)
        except hep.HepError as error:
            self.ignored[f"HEP: {error.reason}"] += 1
            return
        if packet.payload_type == hep.SIP:
            if looks_like_sip(packet.payload):
                seen.out.append(packet[:5])
            else:
                self.ignored[why_not_sip(packet.payload)] += 1
            return
        line = to_log(packet)
        if line is None:
            self.ignored["HEP without SIP"] += 1
        elif len(self.logs) >= MAX_LOGS:
            self.ignored["HEP log lines beyond the limit"] += 1
        else:
            self.logs.append(line)

    @staticmethod
    def _sip(seen: Seen, flow: bytes, payload: bytes, marks: int, transport: str = "udp") -> None:
        seen.out.append((seen.time_us, hop_of(seen.interface, transport, flow), payload, marks, ""))


def _marked(datagram: Datagram, marks: int) -> Datagram:
    return datagram._replace(marks=datagram.marks | marks) if marks else datagram


def hop_of(interface: Interface, transport: str, flow: bytes) -> Hop:
    """The interned hop of a flow as `Dissector.udp` describes it."""
    key = flow if transport == "udp" else transport.encode() + flow
    hop = interface.hops.get(key)
    if hop is None:
        half = (len(flow) - 4) // 2
        family = AF_INET if half == 4 else AF_INET6
        source, destination = inet_ntop(family, flow[:half]), inet_ntop(family, flow[half:-4])
        ports = int.from_bytes(flow[-4:-2]), int.from_bytes(flow[-2:])
        hop = Hop(transport, source, ports[0], destination, ports[1], interface.name)
        interface.hops.remember(key, hop)
    return hop


def _inside_gre(datagram: Datagram) -> int | str:
    """Offset of the inner IP header (RFC 2784, 2890, 2637; ERSPAN), or why there is none."""
    data, at, end = datagram.data, datagram.start, datagram.end
    if at + 4 > end:
        return "cut frame"
    flags, kind = int.from_bytes(data[at : at + 2]), int.from_bytes(data[at + 2 : at + 4])
    at += 4
    if flags & _GRE_ROUTING:
        return "GRE with routing"
    for flag in (_GRE_CHECKSUM, _GRE_KEY, _GRE_SEQUENCE, _GRE_ACKNOWLEDGE):
        at += 4 if flags & flag else 0
    if kind in (0x0800, 0x86DD):
        return at
    if kind == _TRANSPARENT_ETHERNET:
        return ethernet(data, at, end)
    if kind == _ERSPAN_2:
        return ethernet(data, at + (8 if flags & _GRE_SEQUENCE else 0), end)
    if kind == _ERSPAN_3 and at + 12 <= end:
        return ethernet(data, at + (20 if data[at + 11] & 1 else 12), end)
    return ppp(data, at, end) if kind == _GRE_PPP else "not IP"


def _is_old_hep(payload: bytes) -> bool:
    """Versions 1 and 2 have no magic: what they say must fit, and SIP stand where they put it."""
    if len(payload) < 28 or payload[0] not in (1, 2) or payload[2] not in (2, 10):
        return False
    start = (16 if payload[2] == 2 else 40) + (12 if payload[0] == 2 else 0)
    return payload[3] in _HEP_TRANSPORTS and looks_like_sip(payload[start:])


def _why_ignored(flow: bytes, payload: bytes) -> str:
    if flow[-2:] in _DNS_PORTS or flow[-4:-2] in _DNS_PORTS:
        return "DNS"
    if b"\x14" <= payload[:1] <= b"\x3f" and payload[1:2] == b"\xfe":
        return "DTLS"
    reason = why_not_sip(payload)
    return "UDP without SIP" if reason == "not SIP" else reason
