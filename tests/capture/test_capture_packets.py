"""From frames to messages: link layers, IP, fragments, tunnels, UDP, SCTP, HEP in a capture, and what is counted."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import pairwise

import pytest
from wire import A6, B6, SDP, T0, A, B, ethernet, ipv4, ipv6, ok, payloads, pcap, read, read_frames, sip, tcp, udp

from ringback.sessions.capture import hep
from ringback.sessions.capture.ip import FRAGMENT_BYTES_HELD, FRAGMENT_TIMEOUT_US, FRAGMENTS_HELD, FRAGMENTS_OF_ONE
from ringback.sessions.story import CUT_BY_CAPTURE, IP_ID_KNOWN, REASSEMBLED, Hop

MESSAGE = sip(body=SDP)
PACKET = ipv4(udp(MESSAGE))
PACKET6 = ipv6(udp(MESSAGE))
HOP = Hop("udp", A, 5060, B, 5060)
HOP6 = Hop("udp", A6, 5060, B6, 5060)


def vlan(*tags: int) -> bytes:
    return b"".join(
        struct.pack(">HH", 0x88A8 if number == 0 and len(tags) > 1 else 0x8100, tag)
        for number, tag in enumerate(tags)
    )


def sll(packet: bytes) -> bytes:
    return struct.pack(">HHH8s", 0, 1, 6, b"\2" * 8) + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\0") + packet


def sll2(packet: bytes) -> bytes:
    kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\0"
    return kind + struct.pack(">HIHBB8s", 0, 2, 1, 0, 6, b"\2" * 8) + packet


def pppoe(packet: bytes) -> bytes:
    return (
        MACS_PPPOE
        + struct.pack(">BBHHH", 0x11, 0, 1, len(packet) + 2, 0x21 if packet[0] >> 4 == 4 else 0x57)
        + packet
    )


MACS_PPPOE = b"\2" * 12 + b"\x88\x64"
SNAP = b"\2" * 12 + b"\x02\x00\xaa\xaa\x03\0\0\0\x08\0"

LINKS: list[tuple[str, int, Callable[[bytes], bytes]]] = [
    ("Ethernet", 1, ethernet),
    ("VLAN", 1, lambda packet: ethernet(packet, vlan(100))),
    ("QinQ", 1, lambda packet: ethernet(packet, vlan(100, 200))),
    ("Linux cooked", 113, sll),
    ("Linux cooked 2", 276, sll2),
    ("raw 12", 12, bytes),
    ("raw 14", 14, bytes),
    ("raw 101", 101, bytes),
    ("BSD loopback, little-endian", 0, lambda packet: struct.pack("<I", 2 if packet[0] >> 4 == 4 else 30) + packet),
    ("BSD loopback, big-endian", 0, lambda packet: struct.pack(">I", 2 if packet[0] >> 4 == 4 else 24) + packet),
    ("OpenBSD loopback", 108, lambda packet: struct.pack(">I", 2 if packet[0] >> 4 == 4 else 24) + packet),
    ("PPP", 9, lambda packet: b"\xff\x03" + (b"\0\x21" if packet[0] >> 4 == 4 else b"\0\x57") + packet),
    ("PPP, compressed", 9, lambda packet: (b"\x21" if packet[0] >> 4 == 4 else b"\x57") + packet),
    ("PPPoE", 1, pppoe),
    ("Cisco HDLC", 104, lambda packet: b"\x0f\0" + (b"\x08\0" if packet[0] >> 4 == 4 else b"\x86\xdd") + packet),
    ("MPLS", 1, lambda packet: b"\2" * 12 + b"\x88\x47" + b"\0\x06\x40\xff" + b"\0\x06\x51\xff" + packet),
]


@pytest.mark.parametrize(("link_type", "wrap"), [link[1:] for link in LINKS], ids=[link[0] for link in LINKS])
@pytest.mark.parametrize(("packet", "hop"), [(PACKET, HOP), (PACKET6, HOP6)], ids=["IPv4", "IPv6"])
def test_sip_is_found_on_every_link(link_type: int, wrap: Callable[[bytes], bytes], packet: bytes, hop: Hop) -> None:
    (sighting,), capture = read_frames(wrap(packet), link_type=link_type)
    assert sighting[:3] == (T0, hop, MESSAGE)
    assert capture.counters.ignored == {}


def test_snap_headers_and_ip_of_one_family_only() -> None:
    assert payloads(read_frames(SNAP + PACKET)[0]) == [MESSAGE]
    assert payloads(read_frames(PACKET, link_type=228)[0]) == [MESSAGE]
    assert payloads(read_frames(PACKET6, link_type=229)[0]) == [MESSAGE]


def test_the_plain_way_and_the_long_way_agree() -> None:
    """The first frame is read by the loop for plain packets, the second one is not, for its IP options."""
    plain, long = read_frames(ethernet(PACKET), ethernet(ipv4(udp(MESSAGE), options=b"\x94\x04\0\0")))[0]
    assert plain[1:] == long[1:]
    assert plain[3] == IP_ID_KNOWN | 7


def test_hops_are_one_object_per_interface() -> None:
    first, second = read_frames(ethernet(PACKET), ethernet(ipv4(udp(ok()))))[0]
    assert first[1] is second[1]


def test_ethernet_padding_is_no_payload() -> None:
    short = b"OPTIONS sip:b SIP/2.0\r\n\r\n"
    assert payloads(read_frames(ethernet(ipv4(udp(short))) + b"\0" * 20)[0]) == [short]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (ethernet(b"\0" * 28)[:12] + b"\x08\x06" + b"\0" * 28, "ARP"),
        (b"\2" * 12 + b"\x88\xcc" + b"\0" * 50, "LLDP"),
        (b"\2" * 10, "not IP"),
        (ethernet(ipv4(b"\x08\0\0\0", 1)), "ICMP"),
        (ethernet(ipv6(b"\x80\0\0\0", 58)), "ICMP"),
        (ethernet(ipv4(b"\0" * 40, 50)), "ESP"),
        (ethernet(ipv4(b"\0" * 40, 253)), "IP protocol 253"),
        (ethernet(ipv4(udp(b"\x12\x34\1\0\0\1\0\0", 40000, 53))), "DNS"),
        (ethernet(ipv4(udp(b"\r\n\r\n"))), "keep-alive"),
        (ethernet(ipv4(udp(b""))), "keep-alive"),
        (ethernet(ipv4(udp(b"\0\1\0\0\x21\x12\xa4\x42" + b"\0" * 12))), "STUN"),
        (ethernet(ipv4(udp(b"\x16\xfe\xfd" + b"\0" * 20))), "DTLS"),
        (ethernet(ipv4(udp(b"hello, world"))), "UDP without SIP"),
        (ethernet(ipv4(udp(b"OPTIONS * RTSP/1.0\r\n\r\n"))), "UDP without SIP"),
        (ethernet(ipv4(b"\0\0")), "broken UDP"),
        (ethernet(ipv4(udp(MESSAGE), total=10)), "broken IP"),
        (ethernet(ipv4(udp(MESSAGE)))[:20], "cut frame"),
        (ethernet(ipv4(udp(MESSAGE)))[:38], "cut frame"),
        (ethernet(ipv6(udp(MESSAGE)))[:50], "cut frame"),
        (ethernet(ipv4(tcp(b"", 1), 6)), "TCP without data"),
        (ethernet(ipv4(tcp(b"\x16\x03\x01\x02\0", 1), 6)), "TLS"),
        (ethernet(ipv4(tcp(b"SSH-2.0-x\r\n", 1), 6)), "TCP without SIP"),
        (ethernet(ipv4(b"\0\0", 6)), "broken TCP"),
        (ethernet(ipv4(b"\x40\0\x08\0" + b"\0" * 40, 47)), "GRE with routing"),
    ],
)  # fmt: skip
def test_what_is_no_sip_is_counted_by_its_reason(frame: bytes, reason: str) -> None:
    sightings, capture = read_frames(frame)
    assert sightings == []
    assert capture.counters.ignored == {reason: 1}
    assert capture.counters.packets == 1


def test_a_link_type_nobody_knows_is_told() -> None:
    assert read_frames(PACKET, link_type=147)[1].counters.ignored == {"link type 147": 1}


def test_sip_is_found_on_any_port() -> None:
    (sighting,), _ = read_frames(ethernet(ipv4(udp(MESSAGE, 12345, 23456))))
    assert (sighting[1].source_port, sighting[1].destination_port) == (12345, 23456)


@pytest.mark.parametrize("payload", [b"\r\n\r\n" + MESSAGE, b"\0\0\0\0" + MESSAGE, b"KDMQ sip:a SIP/2.0\r\n\r\n"])
def test_what_is_odd_but_sip_is_taken(payload: bytes) -> None:
    assert payloads(read_frames(ethernet(ipv4(udp(payload))))[0]) == [payload]


@pytest.mark.parametrize("length", [60_000, 5, 0])
def test_an_impossible_udp_length_leaves_what_is_there(length: int) -> None:
    (sighting,), _ = read_frames(ethernet(ipv4(udp(MESSAGE, length=length))))
    assert sighting[2] == MESSAGE


def test_a_udp_length_below_the_packet_ends_the_payload() -> None:
    (sighting,), _ = read_frames(ethernet(ipv4(udp(MESSAGE + b"tail", length=len(MESSAGE) + 8))))
    assert sighting[2] == MESSAGE


def test_a_message_cut_by_the_snap_length_is_marked() -> None:
    frame = ethernet(PACKET)
    (sighting,), _ = read(pcap([frame], snap=200))
    assert sighting[2] == frame[42:200]
    assert sighting[3] == IP_ID_KNOWN | 7 | CUT_BY_CAPTURE


def test_ip_without_a_length_was_segmented_by_the_network_card() -> None:
    assert payloads(read_frames(ethernet(ipv4(udp(MESSAGE), total=0)))[0]) == [MESSAGE]


def fragments(payload: bytes, *cuts: int, identification: int = 99) -> list[bytes]:
    """IPv4 frames of a UDP datagram cut at multiples of 8."""
    datagram = udp(payload)
    edges = [0, *cuts, len(datagram)]
    return [
        ethernet(
            ipv4(datagram[a:b], identification=identification, fragment=(0x2000 if b < len(datagram) else 0) | a // 8)
        )
        for a, b in pairwise(edges)
    ]


def test_fragments_in_any_order_are_one_message() -> None:
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        frames = fragments(MESSAGE, 80, 160)
        (sighting,), capture = read_frames(*[frames[at] for at in order])
        assert sighting == (T0 + 2000, HOP, MESSAGE, IP_ID_KNOWN | 99 | REASSEMBLED, "")
        assert capture.counters.ignored == {}


def test_of_overlapping_fragments_the_first_bytes_count() -> None:
    first, second = fragments(MESSAGE, 80)
    overlap = ethernet(ipv4(b"x" * 80, identification=99, fragment=0x2000 | 5))  # bytes 40-120
    assert payloads(read_frames(first, first, overlap, second)[0])[0][:72] == MESSAGE[:72]
    assert payloads(read_frames(first, second, overlap)[0]) == [MESSAGE]


def test_a_lost_last_fragment_leaves_a_cut_message() -> None:
    first, second, _ = fragments(MESSAGE, 80, 160)
    (sighting,), _ = read_frames(second, first)
    assert sighting[2] == MESSAGE[:152]
    assert sighting[3] & CUT_BY_CAPTURE
    assert sighting[0] == T0 + 1000


def test_a_lost_first_fragment_leaves_nothing_but_a_count() -> None:
    _, second, third = fragments(MESSAGE, 80, 160)
    sightings, capture = read_frames(second, third)
    assert sightings == []
    assert capture.counters.ignored == {"fragment without its beginning": 2}


def test_fragments_of_two_datagrams_are_kept_apart() -> None:
    one, two = fragments(MESSAGE, 80, identification=1), fragments(ok(), 80, identification=2)
    assert payloads(read_frames(one[0], two[0], one[1], two[1])[0]) == [MESSAGE, ok()]


def test_fragments_too_old_are_given_up() -> None:
    first, second = fragments(MESSAGE, 80)
    sightings, _ = read_frames(
        (T0, first), (T0 + FRAGMENT_TIMEOUT_US, second), (T0 + FRAGMENT_TIMEOUT_US, ethernet(PACKET))
    )
    assert [bool(sighting[3] & CUT_BY_CAPTURE) for sighting in sightings] == [True, False]


def test_fragments_held_are_bounded() -> None:
    many = [fragments(MESSAGE, 80, identification=number)[1] for number in range(FRAGMENTS_HELD + 100)]
    assert read_frames(*many)[1].counters.ignored == {"fragment without its beginning": FRAGMENTS_HELD + 100}
    big = [
        ethernet(ipv4(b"x" * 60_000, identification=number, fragment=0x2000 | 8))
        for number in range(FRAGMENT_BYTES_HELD // 60_000 + 9)
    ]
    assert read_frames(*big)[1].counters.ignored == {"fragment without its beginning": len(big)}


def test_fragments_of_one_datagram_are_bounded() -> None:
    many = [
        ethernet(ipv4(b"x" * 16, identification=9, fragment=0x2000 | 2 * number))
        for number in range(1, FRAGMENTS_OF_ONE + 50)
    ]
    assert read_frames(*many)[1].counters.ignored == {"fragment without its beginning": len(many)}


def test_a_fragmented_datagram_may_hold_a_tunnel_whose_datagram_is_incomplete() -> None:
    inner = ipv4(udp(MESSAGE)[:160], fragment=0x2000)
    outer = ethernet(ipv4(inner[:80], 4, fragment=0x2000)), ethernet(ipv4(inner[80:], 4, fragment=10))
    (sighting,), _ = read_frames(*outer)
    assert sighting[2] == MESSAGE[:152]
    assert sighting[3] & CUT_BY_CAPTURE


def test_ipv6_fragments_and_other_extension_headers() -> None:
    datagram = udp(MESSAGE)
    hop_by_hop = b"\x2c\0\1\4\0\0\0\0"  # next: fragment
    frames = [
        ethernet(ipv6(datagram[a:b], 0, extensions=hop_by_hop + struct.pack(">BBHI", 17, 0, a | more, 5)))
        for a, b, more in ((0, 80, 1), (80, len(datagram), 0))
    ]
    for order in (frames, frames[::-1]):
        (sighting,), _ = read_frames(*order)
        assert sighting[1:4] == (HOP6, MESSAGE, REASSEMBLED)
    destination_options = b"\x33\0\1\4\0\0\0\0"  # next: AH
    authentication = b"\x11\4" + b"\0" * 22
    assert payloads(
        read_frames(ethernet(ipv6(datagram, 60, extensions=destination_options + authentication)))[0]
    ) == [MESSAGE]


def gre(kind: int, inner: bytes, flags: int = 0, optional: bytes = b"") -> bytes:
    return struct.pack(">HH", flags, kind) + optional + inner


@pytest.mark.parametrize(
    "packet",
    [
        ipv4(PACKET, 4, "10.0.0.1", "10.0.0.2"),
        ipv4(PACKET6, 41, "10.0.0.1", "10.0.0.2"),
        ipv6(PACKET, 4),
        ipv4(gre(0x0800, PACKET), 47, "10.0.0.1", "10.0.0.2"),
        ipv4(gre(0x0800, PACKET, 0xB000, b"\1" * 12), 47, "10.0.0.1", "10.0.0.2"),
        ipv4(gre(0x86DD, PACKET6), 47, "10.0.0.1", "10.0.0.2"),
        ipv4(gre(0x6558, ethernet(PACKET, vlan(5))), 47, "10.0.0.1", "10.0.0.2"),
        ipv4(gre(0x880B, b"\xff\x03\0\x21" + PACKET, 0x3081, b"\1" * 12), 47, "10.0.0.1", "10.0.0.2"),
        ipv4(gre(0x88BE, b"\1" * 8 + ethernet(PACKET), 0x1000, b"\0\0\0\1"), 47, "10.0.0.1", "10.0.0.2"),
        ipv4(gre(0x22EB, b"\0" * 12 + ethernet(PACKET), 0x1000, b"\0\0\0\1"), 47, "10.0.0.1", "10.0.0.2"),
        ipv4(ipv4(gre(0x0800, PACKET), 47), 4),
    ],
    ids=["IP in IP", "IPv6 in IP", "IP in IPv6", "GRE", "GRE with options", "GRE of IPv6", "GRE of Ethernet", "PPTP",
         "ERSPAN II", "ERSPAN III", "tunnel in a tunnel"],
)  # fmt: skip
def test_tunnels_are_opened(packet: bytes) -> None:
    (sighting,), _ = read_frames(ethernet(packet))
    assert sighting[1] in (HOP, HOP6)
    assert sighting[2] == MESSAGE


def test_tunnels_without_end_are_not_followed() -> None:
    packet = PACKET
    for _ in range(10):
        packet = ipv4(packet, 4)
    assert read_frames(ethernet(packet))[1].counters.ignored == {"IP protocol 4": 1}


def data_chunk(payload: bytes, flags: int = 3) -> bytes:
    size = len(payload) + 16
    return struct.pack(">BBHIHHI", 0, flags, size, 1, 0, 0, 0) + payload + b"\0" * (-size % 4)


def test_sctp_data_chunks() -> None:
    header = struct.pack(">HHII", 5060, 5060, 1, 0)
    packet = header + struct.pack(">BBHI", 3, 0, 8, 0) + data_chunk(MESSAGE[:-1]) + data_chunk(ok())
    sightings, capture = read_frames(ethernet(ipv4(packet, 132)))
    assert payloads(sightings) == [MESSAGE[:-1], ok()]
    assert sightings[0][1] == Hop("sctp", A, 5060, B, 5060)
    assert capture.counters.ignored == {}
    assert read_frames(ethernet(ipv4(header + data_chunk(MESSAGE, 2), 132)))[1].counters.ignored == {
        "SCTP message in parts": 1
    }
    assert read_frames(ethernet(ipv4(header + data_chunk(b"hello"), 132)))[1].counters.ignored == {
        "SCTP without SIP": 1
    }


INNER = Hop("tls", "10.9.9.1", 5061, "10.9.9.2", 5061, "101")


def test_hep_in_a_capture_is_what_it_carries() -> None:
    packets = [hep.encode(T0 + 5, INNER, MESSAGE, correlation="c"), hep.encode(T0 + 5, INNER, b"\r\n")]
    packets += [hep.encode(T0 + 5, INNER, b"a line", payload_type=hep.LOG), b"HEP3\0\x08xx"]
    sightings, capture = read_frames(*[ethernet(ipv4(udp(packet, 40000, 9060))) for packet in packets])
    assert sightings == [(T0 + 5, INNER, MESSAGE, 0, "c")]
    assert [line.text for line in capture.logs] == ["a line"]
    assert capture.counters.ignored == {"keep-alive": 1, "HEP: bad length": 1}


@pytest.mark.parametrize("version", [1, 2])
def test_old_hep_in_a_capture(version: int) -> None:
    packet = struct.pack(">BBBBHH", version, 16, 2, 17, 5060, 5080) + b"\1\2\3\4\5\6\7\x08"
    packet += struct.pack("<IIHxx", T0 // 1_000_000, 9, 7) if version == 2 else b""
    (sighting,), _ = read_frames(ethernet(ipv4(udp(packet + MESSAGE, 40000, 9060))))
    assert sighting[2] == MESSAGE
    assert sighting[1].source == "1.2.3.4"
    assert sighting[0] == (T0 + 9 if version == 2 else T0)
