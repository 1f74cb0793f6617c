"""pcap and pcapng files: every header, broken ends, compression, going on in the middle, and files written."""

from __future__ import annotations

import gzip
import io
import os
import struct
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from wire import (
    SDP,
    T0,
    A,
    B,
    block,
    enhanced,
    ethernet,
    interface,
    ipv4,
    ok,
    option,
    payloads,
    pcap,
    read,
    reader,
    section,
    sip,
    tcp,
    udp,
)

from ringback import clock
from ringback.sessions.capture.frames import CHUNK
from ringback.sessions.capture.pcap import NotACapture, read_capture
from ringback.sessions.capture.pcap_writer import write_pcap
from ringback.sessions.story import CUT_BY_CAPTURE, IP_ID_KNOWN, TIME_OF_RECEIPT, Hop, Sighting

MESSAGE = sip(body=SDP)
FRAME = ethernet(ipv4(udp(MESSAGE)))
ODD = 123_456


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
def test_pcap_of_every_byte_order_and_resolution(order: str, nano: bool) -> None:
    sightings, capture = read(pcap([(T0 + ODD, FRAME)], order=order, nano=nano))
    assert sightings == [(T0 + ODD, Hop("udp", A, 5060, B, 5060), MESSAGE, IP_ID_KNOWN | 7, "")]
    assert capture.problem == ""


@pytest.mark.parametrize("order", ["<", ">"])
def test_modified_pcap_has_longer_record_headers(order: str) -> None:
    head = struct.pack(order + "IHHiIII", 0xA1B2CD34, 2, 4, 0, 0, 65535, 1)
    record = struct.pack(order + "IIIIIHBB", T0 // 1_000_000, 5, len(FRAME), len(FRAME), 1, 0, 0, 0) + FRAME
    assert [sighting[0] for sighting in read(head + record + record)[0]] == [T0 + 5, T0 + 5]


def test_a_link_type_may_carry_flags_about_checksums() -> None:
    assert payloads(read(pcap([FRAME + b"\0\0\0\0"], 1 | 0x24000000))[0]) == [MESSAGE]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "the file is empty"),
        (b"PK\x03\x04" + b"\0" * 100, "neither a pcap nor a pcapng file"),
        (sip(), "neither a pcap nor a pcapng file"),
        (pcap([])[:20], "ends inside its own header"),
        (section()[:10], "breaks off inside its first header"),
        (section()[:8] + b"\0\0\0\0" + section()[12:], "breaks off inside its first header"),
        (gzip.compress(b"", mtime=0), "the file is empty"),
        (gzip.compress(b"hello", mtime=0), "neither a pcap nor a pcapng file"),
        (b"\x1f\x8b\x08\0", "the compressed data is damaged"),
    ],
)
def test_what_is_no_capture_is_refused_with_what_was_found(data: bytes, found: str) -> None:
    with pytest.raises(NotACapture, match=found):
        reader(data)


def test_a_file_that_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_capture(tmp_path / "nothing.pcap")


@pytest.mark.parametrize("cut", [1, 8, 100])
def test_a_file_that_ends_inside_a_packet_yields_what_is_whole(cut: int) -> None:
    for whole in (pcap([FRAME, FRAME]), section() + interface() + enhanced(FRAME, T0) + enhanced(FRAME, T0)):
        sightings, capture = read(whole[:-cut])
        assert payloads(sightings) == [MESSAGE]
        assert "the file ends inside the" in capture.problem


def test_an_absurd_packet_length_ends_the_reading_and_says_where() -> None:
    good = pcap([FRAME])
    sightings, capture = read(good + struct.pack("<IIII", 1, 1, 0x7FFFFFFF, 0x7FFFFFFF) + b"\0" * 3_000_000)
    assert payloads(sightings) == [MESSAGE]
    assert capture.problem.startswith(f"at byte {len(good)} stands a packet of 2147483647 bytes")


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_of_both_byte_orders(order: str) -> None:
    data = section(order) + interface(order=order) + enhanced(FRAME, T0 + ODD, order=order)
    assert [(sighting[0], sighting[2]) for sighting in read(data)[0]] == [(T0 + ODD, MESSAGE)]


def test_sections_of_different_byte_orders_in_one_file() -> None:
    data = b"".join(section(order) + interface(order=order) + enhanced(FRAME, T0, order=order) for order in "<><")
    assert len(read(data)[0]) == 3


def test_interfaces_have_their_own_link_clock_and_name() -> None:
    nano = option(2, b"eth0") + option(9, b"\x09") + option(0, b"")
    binary = option(9, b"\x8a")  # 2^-10 s
    shifted = option(2, b"eth1\0") + option(14, struct.pack("<q", 100))
    data = section() + interface(options=nano) + interface(101, binary) + interface(113, shifted)
    data += enhanced(FRAME, T0 * 1000, 0)
    data += enhanced(ipv4(udp(ok())), 1024 * 10 + 512, 1)
    data += enhanced(b"\0" * 14 + b"\x08\0" + ipv4(udp(ok())), T0, 2)
    sightings, _ = read(data)
    assert [sighting[0] for sighting in sightings] == [T0, 10_500_000, T0 + 100_000_000]
    assert [sighting[1].agent for sighting in sightings] == ["eth0", "interface 1", "eth1"]


def test_old_and_simple_packet_blocks() -> None:
    old = block(2, struct.pack("<HHIIII", 0, 0, T0 >> 32, T0 & 0xFFFFFFFF, len(FRAME), len(FRAME)) + FRAME)
    simple = block(3, struct.pack("<I", len(FRAME)) + FRAME)
    first, second = read(section() + interface() + old + simple)[0]
    assert (first[0], first[3] & TIME_OF_RECEIPT) == (T0, 0)
    assert second[0] == T0, "a packet without a time has that of the one before"
    assert second[3] & TIME_OF_RECEIPT
    assert payloads([first, second]) == [MESSAGE, MESSAGE]


def test_a_simple_packet_is_cut_at_the_snap_length_of_its_interface() -> None:
    simple = block(3, struct.pack("<I", len(FRAME)) + FRAME[:100])
    (sighting,), _ = read(section() + interface(snap=100) + simple)
    assert sighting[2] == FRAME[42:100]
    assert sighting[3] & CUT_BY_CAPTURE


def test_packets_without_any_time_have_that_of_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now_us", lambda: T0 + 99)
    impossible = enhanced(FRAME, 0xFFFFFFFF_FFFFFFFF)
    (sighting,), _ = read(section() + interface() + impossible)
    assert (sighting[0], sighting[3] & TIME_OF_RECEIPT) == (T0 + 99, TIME_OF_RECEIPT)


def test_unknown_blocks_are_passed_over() -> None:
    unknown = block(0x0BAD, b"x" * 33) + block(5, b"\0" * 12) + block(4, b"\0" * 4)
    assert len(read(section() + unknown + interface() + unknown + enhanced(FRAME, T0) + unknown)[0]) == 1


@pytest.mark.parametrize(
    "broken",
    [
        struct.pack("<II", 6, 11) + b"\0" * 100,
        struct.pack("<II", 6, 33) + b"\0" * 100,
        struct.pack("<II", 6, 0xFFFFFFF0) + b"\0" * 100,
        block(6, b"\0" * 8),
        block(3, b""),
        enhanced(FRAME, T0, number=5),
        enhanced(FRAME, T0, captured=len(FRAME) + 100),
        block(1, b"\0"),
        interface(options=option(9, b"\x7f")),
        block(0x0A0D0D0A, b"\0" * 16),
    ],
)
def test_a_broken_block_ends_the_reading_and_says_where(broken: bytes) -> None:
    good = section() + interface() + enhanced(FRAME, T0)
    sightings, capture = read(good + broken)
    assert payloads(sightings) == [MESSAGE]
    assert capture.problem.startswith(f"at byte {len(good)} stands ")


def test_compressed_captures_of_any_number_of_members(tmp_path: Path) -> None:
    data = pcap([FRAME] * 500)
    file = tmp_path / "calls.pcap.gz"
    file.write_bytes(gzip.compress(data[:1000]) + gzip.compress(data[1000:]))
    capture = read_capture(file)
    assert payloads(capture) == [MESSAGE] * 500
    assert (capture.fraction, capture.problem) == (1.0, "")
    assert capture.position == len(data)
    assert capture.total == file.stat().st_size


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_compression_yields_what_came_before_and_says_so(damage: str) -> None:
    frames = [ethernet(ipv4(udp(sip(body=os.urandom(600))))) for _ in range(2000)]
    packed = bytearray(gzip.compress(pcap(frames)))
    if damage == "cut":
        del packed[-len(packed) // 2 :]
    else:
        packed[-len(packed) // 2 :] = b"\xff" * (len(packed) // 2)
    sightings, capture = read(bytes(packed))
    assert 500 < len(sightings) < 2000
    assert "damaged" in capture.problem


def test_a_pipe_is_read_too() -> None:
    source, sink = os.pipe()
    data = pcap([FRAME] * 300)

    def write() -> None:
        with os.fdopen(sink, "wb") as file:
            file.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(source, "rb") as file:
        capture = read_capture(file)
        assert len(list(capture)) == 300
        assert (capture.total, capture.fraction) == (None, 0.0)
    writer.join()


def test_a_file_handed_in_stays_open_and_one_opened_here_is_closed(tmp_path: Path) -> None:
    file = io.BytesIO(pcap([FRAME]))
    list(read_capture(file))
    assert not file.closed
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap([FRAME]))
    (tmp_path / "y.pcap").write_bytes(b"nonsense")
    with pytest.raises(NotACapture):
        read_capture(tmp_path / "y.pcap")
    capture = read_capture(path)
    next(iter(capture))
    capture.close()
    capture.close()


def long_capture() -> tuple[bytes, int]:
    """Plain packets, fragments and a TCP connection, all of them reaching across the borders of what is read at once."""
    frames: list[bytes | tuple[int, bytes]] = []
    stream, sequence = b"", 1
    datagram = udp(sip(call_id=b"fragmented@192.0.2.1", body=b"x" * 300))
    count = 2 * CHUNK // len(FRAME)
    for number in range(count):
        frames.append(
            ethernet(ipv4(udp(sip(call_id=b"call-%d@192.0.2.1" % number, body=SDP)), identification=number))
        )
        if number % 7 == 0:
            stream += sip(b"SIP/2.0 200 OK", call_id=b"tcp-%d@192.0.2.1" % number)
        piece, stream = stream[:150], stream[150:]
        if piece:
            frames.append(ethernet(ipv4(tcp(piece, sequence), 6)))
            sequence += len(piece)
        if number % 50 == 0:
            frames.append(ethernet(ipv4(datagram[:160], identification=number, fragment=0x2000)))
        if number % 50 == 30:
            frames.append(ethernet(ipv4(datagram[160:], identification=number - 30, fragment=20)))
    return pcap(frames), count


@pytest.mark.parametrize("form", ["pcap", "gzip"])
def test_reading_can_go_on_from_every_position_and_yields_nothing_twice(form: str) -> None:
    data, count = long_capture()
    data = gzip.compress(data, 1) if form == "gzip" else data
    whole, capture = read(data)
    assert len(whole) > count
    steps = []
    told = reader(data)
    done = 0
    for batch in told.batches():
        done += len(batch)
        steps.append((told.position, done))
    assert len(steps) > 3
    for position, before in steps:
        rest = reader(data, position)
        assert list(rest) == whole[before:]
        assert rest.counters == capture.counters


def test_position_and_fraction_grow_and_end_at_the_whole() -> None:
    data, _ = long_capture()
    capture = reader(data)
    seen = [(capture.position, capture.fraction) for _ in capture.batches()]
    assert all(earlier <= later for earlier, later in pairwise(seen))
    assert seen[-1] == (len(data), 1.0)
    assert capture.total == len(data)


SIGHTINGS = [
    Sighting(T0 + 1, Hop("udp", A, 5060, B, 5060), MESSAGE, IP_ID_KNOWN | 77),
    Sighting(T0 + 2, Hop("udp", "2001:db8::1", 5060, "2001:db8::2", 7788), ok(), 0),
    Sighting(T0 + 3, Hop("tcp", A, 40000, B, 5060), MESSAGE),
    Sighting(T0 + 4, Hop("tcp", B, 5060, A, 40000), ok()),
    Sighting(T0 + 5, Hop("tcp", A, 40000, B, 5060), sip(b"BYE sip:b SIP/2.0", body=b"x" * 90_000)),
    Sighting(T0 + 6, Hop("udp", A, 5060, B, 5060), sip(body=b"y" * 65_000)),
]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "written.pcap"
    assert write_pcap(path, SIGHTINGS) == len(SIGHTINGS)
    capture = read_capture(path)
    sightings = list(capture)
    assert [sighting[:3] for sighting in sightings] == [sighting[:3] for sighting in SIGHTINGS]
    assert sightings[0][3] == IP_ID_KNOWN | 77
    assert capture.counters.ignored == {}


def test_what_no_tool_would_decode_is_written_as_udp() -> None:
    out = io.BytesIO()
    odd = [Sighting(T0, Hop(transport, A, 1, B, 443), MESSAGE) for transport in ("tls", "ws", "wss", "sctp")]
    odd.append(Sighting(T0, Hop("tcp", A, 1, B, 443), MESSAGE[:-9], CUT_BY_CAPTURE))
    odd.append(Sighting(T0, Hop("udp", "", 0, "2001:db8::1", 5060), MESSAGE))
    write_pcap(out, odd)
    sightings, _ = read(out.getvalue())
    assert payloads(sightings) == payloads(odd)
    assert {sighting[1].transport for sighting in sightings} == {"udp"}
    assert sightings[-1][1].source == "::ffff:0.0.0.0"


def test_checksums_of_written_packets_are_correct() -> None:
    out = io.BytesIO()
    write_pcap(out, SIGHTINGS[:4])
    data, at = out.getvalue(), 24
    for _ in range(4):
        size = int.from_bytes(data[at + 8 : at + 12], "little")
        packet = data[at + 16 + 14 : at + 16 + size]
        v4 = packet[0] >> 4 == 4
        protocol = packet[9] if v4 else packet[6]
        addresses, payload = (packet[12:20], packet[20:]) if v4 else (packet[8:40], packet[40:])
        if v4:
            assert ones_sum(packet[:20]) == 0xFFFF
        assert ones_sum(addresses + struct.pack(">HH", protocol, len(payload)) + payload) == 0xFFFF
        at += 16 + size


def ones_sum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_what_is_put_together_from_packets_without_a_time_says_so() -> None:
    datagram, stream = udp(MESSAGE), ok()
    frames = [
        ethernet(ipv4(datagram[:80], fragment=0x2000)),
        ethernet(ipv4(datagram[80:], fragment=10)),
        ethernet(ipv4(tcp(stream[:50], 1), 6)),
        ethernet(ipv4(tcp(stream[50:], 51), 6)),
    ]
    simple = b"".join(block(3, struct.pack("<I", len(frame)) + frame) for frame in frames)
    sightings, _ = read(section() + interface() + simple)
    assert payloads(sightings) == [MESSAGE, ok()]
    assert all(sighting[3] & TIME_OF_RECEIPT for sighting in sightings)
