"""From a frame to its IP header: the link layers on which SIP is captured.

Sources: the LINKTYPE_ registry of tcpdump.org; IEEE 802.1Q and 802.1ad; RFC 1661 and 2516 (PPP, PPPoE), 3032 (MPLS).
"""

from __future__ import annotations

from ringback.sessions.capture.frames import ETHERNET, RAW, SLL, SLL2

NULL, PPP, PPP_HDLC, C_HDLC, LOOP = 0, 9, 50, 104, 108

_IP = frozenset((0x0800, 0x86DD))
_VLAN = frozenset((0x8100, 0x88A8, 0x9100, 0x9200, 0x9300))
_PPPOE, _MPLS, _LLC_BELOW = 0x8864, 0x8847, 0x0600
_PPP_IP = frozenset((0x0021, 0x0057))
_LOOPBACK_FAMILIES = frozenset((2, 10, 24, 28, 30))  # AF_INET, and AF_INET6 of Linux, NetBSD, FreeBSD and Darwin
_REASONS = {0x0806: "ARP", 0x88CC: "LLDP", 0x8863: "PPPoE discovery", 0x88E5: "MACsec"}
_MOST_TAGS = 8


def ip_header(link_type: int, data: bytes, start: int, end: int) -> int | str:
    """Offset in `data` of the IP header inside the frame data[start:end], or why there is none."""
    if link_type == ETHERNET:
        return ethernet(data, start, end)
    if link_type == SLL:
        return _by_type(_u16(data, start + 14, end), data, start + 16, end)
    if link_type == SLL2:
        return _by_type(_u16(data, start, end), data, start + 20, end)
    if link_type in RAW:
        return start
    if link_type in (NULL, LOOP):
        family = data[start : start + 4]
        known = not _LOOPBACK_FAMILIES.isdisjoint((int.from_bytes(family, "little"), int.from_bytes(family)))
        return start + 4 if known and start + 4 < end else "not IP"
    if link_type in (PPP, PPP_HDLC):
        return ppp(data, start, end)
    if link_type == C_HDLC:
        return _by_type(_u16(data, start + 2, end), data, start + 4, end)
    return f"link type {link_type}"


def ethernet(data: bytes, start: int, end: int) -> int | str:
    """As `ip_header`, for a frame that begins with two MAC addresses."""
    return _by_type(_u16(data, start + 12, end), data, start + 14, end)


def ppp(data: bytes, at: int, end: int) -> int | str:
    """As `ip_header`, for a PPP frame with or without address and control bytes."""
    if data[at : at + 2] == b"\xff\x03":
        at += 2
    if at < end and data[at] & 1:  # protocol field compressed to one byte
        return at + 1 if data[at] in _PPP_IP else "not IP"
    return at + 2 if _u16(data, at, end) in _PPP_IP else "not IP"


def _by_type(kind: int, data: bytes, at: int, end: int) -> int | str:
    for _ in range(_MOST_TAGS):
        if kind in _IP:
            return at
        if kind in _VLAN:
            kind, at = _u16(data, at + 2, end), at + 4
        elif kind == _PPPOE:
            return ppp(data, at + 6, end)
        elif kind == _MPLS:
            while at + 4 <= end and not data[at + 2] & 1:  # bottom of the label stack
                at += 4
            return at + 4
        elif kind < _LLC_BELOW and data[at : at + 3] == b"\xaa\xaa\x03":  # LLC and SNAP
            kind, at = _u16(data, at + 6, end), at + 8
        else:
            break
    return _REASONS.get(kind, "not IP")


def _u16(data: bytes, at: int, end: int) -> int:
    """0 where the frame ends before."""
    return data[at] << 8 | data[at + 1] if at + 2 <= end else 0
