"""HEP 1, 2 and 3: the specification's example, what real senders bend, and what must be refused."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import pytest
from wire import SDP, T0, sip

from ringback.sessions.capture import hep
from ringback.sessions.capture.hep import HepError, StreamSplitter, decode, encode
from ringback.sessions.capture.sip import parse
from ringback.sessions.story import TIME_OF_RECEIPT, Hop, Sighting

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples" / "hep"
EXAMPLE = bytes.fromhex(
    "484550330071000000010007020000000200071100000003000ad4ca000100000004000a527400d30000000700082eea00000008000813c4"
    "00000009000a4e4982cb0000000a000a0001d4c00000000b0007010000000c000a000000e40000000f0014494e56495445207369703a626f62"
)
HOP = Hop("udp", "192.0.2.1", 5060, "198.51.100.2", 5080, "101")
HOP6 = Hop("tcp", "2001:db8::1", 5060, "2001:db8::2", 5080, "7")


def packet(*chunks: tuple[int, bytes] | tuple[int, int, bytes]) -> bytes:
    """A version 3 packet of (type, data) or (vendor, type, data)."""
    body = b""
    for chunk in chunks:
        vendor, kind, data = chunk if len(chunk) == 3 else (0, *chunk)
        body += struct.pack(">HHH", vendor, kind, len(data) + 6) + data
    return b"HEP3" + struct.pack(">H", len(body) + 6) + body


ADDRESSES = ((1, b"\x02"), (2, b"\x11"), (3, bytes([192, 0, 2, 1])), (4, bytes([198, 51, 100, 2])))
PORTS = ((7, b"\x13\xc4"), (8, b"\x13\xd8"))
TIME = ((9, struct.pack(">I", T0 // 1_000_000)), (10, struct.pack(">I", 42)))
SIP = ((11, b"\x01"), (12, struct.pack(">I", 101)), (15, sip()))


def reason(datagram: bytes) -> str:
    with pytest.raises(HepError) as raised:
        decode(datagram, T0)
    return raised.value.reason


def test_the_example_of_the_specification() -> None:
    for _ in range(2):  # the second time by the prefix that was remembered
        decoded = decode(EXAMPLE, 0)
        assert decoded.hop == Hop("udp", "212.202.0.1", 12010, "82.116.0.211", 5060, "228")
        assert decoded.time_us == 1313440459_120000
        assert (decoded.payload, decoded.payload_type, decoded.agent) == (b"INVITE sip:bob", hep.SIP, "228")
        assert (decoded.marks, decoded.correlation, decoded.agent_name, decoded.auth_key) == (0, "", "", b"")
    assert encode(decoded.time_us, decoded.hop, decoded.payload) == EXAMPLE


def test_the_first_five_fields_are_a_sighting() -> None:
    decoded = decode(EXAMPLE, 0)
    assert Sighting(*decoded[:5]) == Sighting(decoded.time_us, decoded.hop, decoded.payload, 0, "")


def test_hops_are_one_object() -> None:
    plain, keyed = encode(T0, HOP, sip()), encode(T0 + 1, HOP, sip(), auth_key=b"secret")
    hops = [decode(datagram, 0).hop for datagram in (plain, plain, keyed, keyed)]
    assert all(hop is hops[0] for hop in hops)


@pytest.mark.parametrize("hop", [HOP, HOP6, Hop("tls", "192.0.2.1", 1, "192.0.2.2", 65535, "4294967295")])
@pytest.mark.parametrize("compress", [False, True])
def test_what_is_encoded_is_decoded(hop: Hop, compress: bool) -> None:
    datagram = encode(
        T0,
        hop,
        sip(body=SDP),
        correlation="abc@192.0.2.1",
        auth_key=b"s3cret",
        agent_name="edge-1",
        compress=compress,
    )
    for _ in range(2):
        decoded = decode(datagram, 0)
        assert (decoded.time_us, decoded.hop, decoded.payload) == (T0, hop, sip(body=SDP))
        assert (decoded.correlation, decoded.auth_key, decoded.agent_name) == ("abc@192.0.2.1", b"s3cret", "edge-1")


def test_chunks_may_come_in_any_order() -> None:
    chunks = (*SIP, *TIME, *PORTS, *ADDRESSES)
    decoded = decode(packet(*chunks), 0)
    assert decoded == decode(packet(*reversed(chunks)), 0)
    assert decoded == decode(packet(*ADDRESSES, *PORTS, *TIME, *SIP), 0)
    assert decoded.hop == HOP


def test_a_vendors_own_chunk_is_not_the_generic_one_of_its_number() -> None:
    decoded = decode(packet((2, 15, b"not the payload"), *ADDRESSES, *PORTS, *TIME, *SIP, (2, 3, b"odd")), 0)
    assert decoded.payload == sip()
    assert decoded.hop == HOP


def test_the_first_chunk_of_a_type_counts_on_every_path() -> None:
    """Else one odd packet would leave a wrong address behind for the good ones of the same prefix."""
    other = Hop("udp", "192.0.2.77", 5060, "198.51.100.2", 5080, "101")
    good = encode(T0, other, sip())
    odd = packet(*[(kind, data) for kind, data in ADDRESSES if kind != 3], *PORTS)  # never seen before
    assert odd
    doubled = good[:4] + struct.pack(">H", len(good) + 10) + good[6:] + struct.pack(">HHH", 0, 3, 10) + b"\1\1\1\1"
    assert decode(doubled, 0).hop == other
    assert decode(good, 0).hop == other
    assert decode(doubled, 0).hop == other


def test_kamailios_log_lines_with_ports_the_other_way_round() -> None:
    decoded = decode(
        packet(*ADDRESSES, *reversed(PORTS), *TIME, (11, b"\x64"), (12, b"\0\0\0\x65"), (17, b"id"), (15, b"hi")), 0
    )
    assert (decoded.payload_type, decoded.payload, decoded.correlation, decoded.agent) == (
        hep.LOG,
        b"hi",
        "id",
        "101",
    )


def test_protocol_22_is_tls_and_0_is_udp() -> None:
    for number, transport in ((22, "tls"), (0, "udp"), (6, "tcp"), (132, "sctp"), (99, "ip-99")):
        chunks = [(kind, bytes([number]) if kind == 2 else data) for kind, data in ADDRESSES]
        assert decode(packet(*chunks, *PORTS, *TIME, *SIP), 0).hop.transport == transport


def test_ipv6_family_with_ipv4_chunks_has_the_addresses_that_came() -> None:
    chunks = [(kind, b"\x0a" if kind == 1 else data) for kind, data in ADDRESSES]
    for _ in range(2):
        assert decode(packet(*chunks, *PORTS, *TIME, *SIP), 0).hop == HOP


def test_both_families_are_settled_by_the_one_announced() -> None:
    v6 = ((5, b"\x20\x01" + b"\0" * 13 + b"\1"), (6, b"\x20\x01" + b"\0" * 13 + b"\2"))
    for family, source in ((b"\x02", "192.0.2.1"), (b"\x0a", "2001::1")):
        chunks = [(kind, family if kind == 1 else data) for kind, data in ADDRESSES]
        for _ in range(2):
            assert decode(packet(*chunks, *PORTS, *TIME, *SIP, *v6), 0).hop.source == source


def test_a_missing_time_is_the_time_of_receipt_and_marked() -> None:
    for time in ((), ((9, b"\0\0\0\0"), (10, b"\0\0\0\0"))):
        decoded = decode(packet(*ADDRESSES, *PORTS, *time, *SIP), T0)
        assert (decoded.time_us, decoded.marks) == (T0, TIME_OF_RECEIPT)


def test_microseconds_over_a_second_are_carried() -> None:
    decoded = decode(packet(*ADDRESSES, *PORTS, (9, b"\0\0\0\x0a"), (10, struct.pack(">I", 2_500_000)), *SIP), 0)
    assert decoded.time_us == 12_500_000
    assert decoded.marks == 0


def test_without_a_payload_type_it_is_sip() -> None:
    assert decode(packet(*ADDRESSES, *PORTS, *TIME, (15, sip())), 0).payload_type == hep.SIP


@pytest.mark.parametrize(
    "compressed",
    [zlib.compress(sip()), gzip.compress(sip(), mtime=0), zlib.compress(sip())[2:-4]],
    ids=["zlib", "gzip", "raw deflate"],
)
def test_compressed_payloads(compressed: bytes) -> None:
    assert decode(packet(*ADDRESSES, *PORTS, *TIME, *SIP[:2], (16, compressed)), 0).payload == sip()


def test_a_payload_that_inflates_without_bound_is_refused() -> None:
    bomb = zlib.compress(b"\0" * (hep.MAX_PAYLOAD + 1), 9)
    assert reason(packet(*ADDRESSES, *PORTS, *TIME, *SIP[:2], (16, bomb))) == "bad compression"


@pytest.mark.parametrize("data", [b"", b"garbage!", zlib.compress(sip())[:-8]])
def test_a_payload_that_does_not_inflate_is_refused(data: bytes) -> None:
    assert reason(packet(*ADDRESSES, *PORTS, *TIME, *SIP[:2], (16, data))) == "bad compression"


def test_a_packet_compressed_as_a_whole() -> None:
    assert decode(gzip.compress(EXAMPLE), 0) == decode(EXAMPLE, 0)
    assert reason(gzip.compress(gzip.compress(EXAMPLE))) == "bad magic"
    assert reason(gzip.compress(EXAMPLE)[:-9]) == "bad compression"


def test_quality_chunks_are_kept_beside() -> None:
    decoded = decode(
        packet(*ADDRESSES, *PORTS, *TIME, *SIP, (0x20, b"\x01\xa4"), (0x23, b"\0\0\0\x07"), (0x22, b"Berlin")), 0
    )
    assert decoded.extra == (("mos", "420"), ("jitter", "7"), ("location", "Berlin"))


def test_bytes_behind_the_packet_are_ignored() -> None:
    decode(EXAMPLE, 0)
    assert decode(EXAMPLE + b"\0\0", 0) == decode(EXAMPLE, 0)


@pytest.mark.parametrize(
    ("datagram", "why"),
    [
        (b"", "bad magic"),
        (b"HEP", "bad magic"),
        (b"HEP4" + EXAMPLE[4:], "bad magic"),
        (b"INVITE sip:bob SIP/2.0\r\n", "bad magic"),
        (b"HEP3", "bad length"),
        (b"HEP3\0\x05", "bad length"),
        (b"HEP3\0\x06", "bad address"),
        (EXAMPLE[:-1], "bad length"),
        (EXAMPLE[:4] + b"\0\x70" + EXAMPLE[6:], "bad length"),
        (b"HEP3\0\x0a\0\0\0\x0f", "bad length"),
        (b"HEP3\0\x0c\0\0\0\x0f\0\x05", "bad length"),
        (packet(*ADDRESSES[:3], *PORTS, *TIME, *SIP), "bad address"),
        (packet(*ADDRESSES[:2], *PORTS, *TIME, *SIP), "bad address"),
        (packet(*ADDRESSES, (3, b"\1\2"), *PORTS, *TIME, *SIP)[:-1], "bad length"),
        (packet((3, b"\1\2"), *ADDRESSES[3:], *PORTS, *TIME, *SIP), "bad address"),
        (packet(*ADDRESSES, (7, b"\1"), *TIME, *SIP), "bad chunk"),
        (packet(*ADDRESSES, *PORTS, *TIME, *SIP[:2]), "no payload"),
    ],
)
def test_what_cannot_be_read_has_a_reason(datagram: bytes, why: str) -> None:
    assert reason(datagram) == why


def test_log_lines_may_lack_addresses() -> None:
    decoded = decode(packet((11, b"\x64"), (15, b"text")), T0)
    assert decoded.hop == Hop("udp", "", 0, "", 0, "")


def version_1(family: int = 2, version: int = 1, tail: bytes = b"") -> bytes:
    size = 4 if family == 2 else 16
    addresses = bytes(range(1, size + 1)) + bytes(range(101, 101 + size))
    return struct.pack(">BBBBHH", version, 16, family, 17, 5060, 5080) + addresses + tail + sip()


def test_version_1() -> None:
    decoded = decode(version_1(), T0)
    assert decoded.hop == Hop("udp", "1.2.3.4", 5060, "101.102.103.104", 5080)
    assert (decoded.payload, decoded.time_us, decoded.marks) == (sip(), T0, TIME_OF_RECEIPT)
    decoded = decode(version_1(10), T0)
    assert decoded.hop.source == "102:304:506:708:90a:b0c:d0e:f10"
    assert decoded.payload == sip()


@pytest.mark.parametrize("family", [2, 10])
def test_version_2_has_a_time_and_an_agent_in_little_endian(family: int) -> None:
    decoded = decode(version_1(family, 2, struct.pack("<IIHxx", T0 // 1_000_000, 7, 2001)), 0)
    assert (decoded.payload, decoded.time_us, decoded.marks, decoded.agent) == (sip(), T0 + 7, 0, "2001")
    assert decoded.hop.agent == "2001"


def test_versions_1_and_2_that_cannot_be_read() -> None:
    assert reason(version_1()[:15]) == "bad length"
    assert reason(version_1()[:16]) == "no payload"
    assert reason(version_1(10)[:20]) == "bad length"
    assert reason(version_1(2, 2)[:20]) == "bad length"
    assert reason(version_1()[:2] + b"\x07" + version_1()[3:]) == "bad magic"


def test_an_encoder_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        encode(T0, HOP, b"x" * 65_500)
    with pytest.raises(ValueError, match="two address families"):
        encode(T0, Hop("udp", "192.0.2.1", 1, "::1", 1), b"x")


def test_a_stream_is_cut_into_its_packets_wherever_it_is_split() -> None:
    packets = [EXAMPLE, encode(T0, HOP, sip(body=SDP)), encode(T0, HOP6, sip())]
    stream = b"".join(packets)
    for size in (1, 3, 5, 100, len(stream)):
        splitter = StreamSplitter()
        found = [one for at in range(0, len(stream), size) for one in splitter.feed(stream[at : at + size])]
        assert found == packets
        assert splitter.pending == 0


def test_a_stream_that_is_out_of_step_ends_after_its_good_packets() -> None:
    splitter = StreamSplitter()
    packets = splitter.feed(EXAMPLE + EXAMPLE + b"GET / HTTP/1.1\r\n")
    assert [next(packets), next(packets)] == [EXAMPLE, EXAMPLE]
    with pytest.raises(HepError) as raised:
        next(packets)
    assert raised.value.reason == "bad magic"


def test_a_wrong_magic_is_told_by_its_first_byte() -> None:
    with pytest.raises(HepError):
        list(StreamSplitter().feed(b"X"))


def test_a_stream_refuses_a_length_below_its_own_head() -> None:
    with pytest.raises(HepError) as raised:
        list(StreamSplitter().feed(b"HEP3\0\x05\0"))
    assert raised.value.reason == "bad length"


def test_a_stream_holds_no_more_than_one_packet() -> None:
    splitter = StreamSplitter()
    for _ in range(100):
        list(splitter.feed(encode(T0, HOP, b"x" * 60_000)[:-1000] + b"\0" * 1000))
        assert splitter.pending <= 0xFFFF


@pytest.mark.parametrize(
    ("name", "packets", "sips", "key"),
    [
        ("kamailio_two_nodes_udp", 140, 135, b""),
        ("kamailio_tcp", 140, 130, b""),
        ("kamailio_auth_key", 24, 21, b"s3cret"),
    ],
)
def test_packets_recorded_from_kamailio(name: str, packets: int, sips: int, key: bytes) -> None:
    file = SAMPLES / f"{name}.bin"
    if not file.exists():
        pytest.skip(f"{file} is not here")
    data, at, decoded = file.read_bytes(), 0, []
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        decoded.append(decode(data[at + 4 : at + 4 + size], 0))
        at += 4 + size
    assert len(decoded) == packets
    messages = [parse(one.payload) for one in decoded if one.payload_type == hep.SIP]
    assert len(messages) == sips
    assert not any(message.truncated for message in messages)
    assert all(message.call_id and message.cseq > 0 for message in messages)
    assert {one.auth_key for one in decoded} == {key}
    assert {one.hop.source for one in decoded} == {"127.0.0.1"}
    assert all(one.correlation for one in decoded if one.payload_type == hep.LOG)
