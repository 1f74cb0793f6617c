"""RTP and RTCP in a capture: streams found, loss and jitter counted, quality estimated, directions paired."""

from __future__ import annotations

import struct

import pytest
from wire import T0, A, B, ethernet, ipv4, ipv6, ok, read_frames, sip, udp

from ringback.sessions.capture.media import BELIEVED_AFTER, MAX_CANDIDATES, pair
from ringback.sessions.capture.pcap import CaptureReader
from ringback.sessions.capture.quality import estimate_mos, mos_of_r
from ringback.sessions.capture.rtcp import is_rtcp, parse_rtcp
from ringback.sessions.story import StreamReport

Timed = tuple[int, bytes]


def rtp(sequence: int, timestamp: int, *, ssrc: int = 0x1234, payload_type: int = 0, first: int = 0x80) -> bytes:
    return struct.pack(">BBHII", first, payload_type, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + b"\xd5" * 160


def frame(
    payload: bytes, source: str = A, source_port: int = 4000, destination: str = B, destination_port: int = 5000
) -> bytes:
    return ethernet(ipv4(udp(payload, source_port, destination_port), 17, source, destination))


def call(numbers: range | list[int], *, start: int = T0, jitter_us: int = 0, **kwargs: int) -> list[Timed]:
    """A packet each 20 ms, every other one late by `jitter_us`."""
    return [
        (start + number * 20_000 + (number % 2) * jitter_us, frame(rtp(number, number * 160, **kwargs)))
        for number in numbers
    ]


def media(*frames: bytes | Timed) -> tuple[list[StreamReport], CaptureReader]:
    _, capture = read_frames(*frames)
    return capture.media, capture


def offer(
    call_id: bytes = b"call@x", address: bytes = A.encode(), port: int = 4000, codec: bytes = b"8\r\n"
) -> bytes:
    body = b"v=0\r\nc=IN IP4 " + address + b"\r\nm=audio %d RTP/AVP " % port + codec
    return sip(call_id=call_id, body=body, extra=[b"Content-Type: application/sdp"])


def test_a_steady_stream() -> None:
    (stream,), capture = media(*call(range(100)))
    assert (stream.source, stream.destination, stream.ssrc) == (f"{A}:4000", f"{B}:5000", 0x1234)
    assert (stream.packets, stream.lost, stream.loss_percent) == (100, 0, 0.0)
    assert (stream.codec, stream.payload_type, stream.jitter_ms, stream.max_jitter_ms) == ("PCMU", 0, 0.0, 0.0)
    assert (stream.started_us, stream.ended_us) == (T0, T0 + 99 * 20_000)
    assert stream.mos is not None
    assert 4.3 < stream.mos < 4.5
    assert not stream.from_report
    assert (capture.counters.media_packets, capture.counters.ignored) == (100, {})


def test_lost_packets_are_told_by_their_sequence_numbers() -> None:
    (stream,), _ = media(*call([number for number in range(100) if number % 10 != 5]))
    assert (stream.packets, stream.lost, stream.loss_percent) == (90, 10, 10.0)
    assert stream.mos is not None
    assert stream.mos < 3.6


def test_reordered_and_doubled_packets_are_not_lost() -> None:
    frames = call(range(50))
    frames[20], frames[21] = frames[21], frames[20]
    (stream,), _ = media(*frames, frames[-1], frames[-1])
    assert (stream.lost, stream.packets) == (0, 52)


def test_sequence_numbers_wrap() -> None:
    frames = [
        (T0 + number * 20_000, frame(rtp(65_500 + number, (2**32 - 3000) + number * 160))) for number in range(100)
    ]
    (stream,), _ = media(*frames)
    assert (stream.packets, stream.lost, stream.jitter_ms) == (100, 0, 0.0)


def test_a_sender_that_begins_anew_has_lost_nothing() -> None:
    again = [
        (T0 + (50 + number) * 20_000, frame(rtp(30_000 + number, 9_000_000 + number * 160))) for number in range(50)
    ]
    (stream,), _ = media(*call(range(50)), *again)
    assert (stream.packets, stream.lost) == (100, 0)
    assert stream.jitter_ms == 0.0


def test_jitter_is_that_of_rfc_3550() -> None:
    """Packets late by 8 ms in turn: the difference is 8 ms each time, and the estimate tends to it."""
    (stream,), _ = media(*call(range(500), jitter_us=8000))
    assert stream.max_jitter_ms == pytest.approx(8.0, abs=0.05)
    assert stream.jitter_ms == pytest.approx(8.0, abs=0.4)


def test_the_clock_rate_is_announced_or_measured() -> None:
    """48 kHz: at 8 kHz these stamps would look like 100 ms of jitter."""

    def packets() -> list[Timed]:
        return [
            (T0 + 1 + number * 20_000, frame(rtp(number, number * 960, payload_type=111))) for number in range(60)
        ]  # fmt: skip

    invite = frame(offer(codec=b"111\r\na=rtpmap:111 opus/48000/2\r\n"), source_port=5060, destination_port=5060)
    (announced,), _ = media((T0, invite), *packets())
    assert (announced.codec, announced.jitter_ms, announced.leg) == ("opus", 0.0, "call@x")
    (measured,), _ = media(*packets())
    assert (measured.codec, measured.jitter_ms, measured.mos) == ("", 0.0, None)


def test_telephone_events_are_no_jitter() -> None:
    frames = call(range(50))
    events = [
        (T0 + (50 + number) * 20_000, frame(rtp(50 + number, 50 * 160, payload_type=101))) for number in range(20)
    ]
    (stream,), _ = media(*frames, *events, *call(range(70, 100)))
    assert (stream.packets, stream.lost, stream.payload_type) == (100, 0, 0)
    assert stream.max_jitter_ms == 0.0


def test_a_socket_named_in_sdp_is_believed_at_once_and_belongs_to_its_leg() -> None:
    answer = ok(call_id=b"call@x", body=b"v=0\r\nc=IN IP4 198.51.100.2\r\nm=audio 5000 RTP/AVP 8\r\n")
    signalling = [(T0, frame(answer, source_port=5060, destination_port=5060))]
    (stream,), _ = media(*signalling, *call([1], payload_type=8))
    assert (stream.packets, stream.leg, stream.codec) == (1, "call@x", "PCMA")


def test_sdp_is_found_however_much_sip_lies_before_the_media() -> None:
    """Once a stream was seen, what was announced is kept: later calls find it."""
    first = [(T0, frame(offer(), source_port=5060, destination_port=5060)), *call([1], payload_type=8)]
    later = (T0, frame(offer(b"later@x", port=4444), source_port=5060, destination_port=5060))
    filler = [
        (T0, frame(sip(call_id=b"%d" % number), source_port=5060, destination_port=5060)) for number in range(3000)
    ]
    packet = (T0 + 90_000, ethernet(ipv4(udp(rtp(1, 1, ssrc=9), 4444, 9999))))
    streams, _ = media(*first, later, *filler, packet)
    assert [stream.leg for stream in streams] == ["call@x", "later@x"]


def test_a_few_packets_that_look_like_rtp_are_not_believed() -> None:
    streams, capture = media(*call(range(BELIEVED_AFTER - 1)))
    assert streams == []
    assert capture.counters.ignored == {"UDP without SIP": BELIEVED_AFTER - 1}
    assert capture.counters.media_packets == 0


def test_random_sequence_numbers_are_no_stream() -> None:
    frames = [frame(rtp(number * 7919, number * 160)) for number in range(100)]
    streams, capture = media(*frames)
    assert streams == []
    assert capture.counters.ignored == {"UDP without SIP": 100}


def test_candidates_are_bounded_and_all_of_them_counted() -> None:
    frames = [frame(rtp(1, 1, ssrc=number)) for number in range(MAX_CANDIDATES + 500)]
    assert media(*frames)[1].counters.ignored == {"UDP without SIP": len(frames)}


@pytest.mark.parametrize(
    "payload", [b"\x80\0\0\0\0", b"\x80" + b"\0" * 9, b"\x8f\0" + b"\0" * 20, b"\x80\x23" + b"\0" * 30]
)
def test_what_cannot_be_rtp_is_not_taken_for_it(payload: bytes) -> None:
    assert media(frame(payload))[1].counters.ignored["UDP without SIP"] == 1


def test_ipv6_sockets_are_written_with_brackets() -> None:
    frames = [
        (T0 + number * 20_000, ethernet(ipv6(udp(rtp(number, number * 160), 4000, 5000)))) for number in range(10)
    ]
    (stream,), _ = media(*frames)
    assert (stream.source, stream.destination) == ("[2001:db8::1]:4000", "[2001:db8::2]:5000")


def report_block(ssrc: int, fraction: int, lost: int, jitter: int) -> bytes:
    return struct.pack(">IIIIII", ssrc, fraction << 24 | lost & 0xFFFFFF, 1000, jitter, 0, 0)


def receiver_report(reporter: int, block: bytes) -> bytes:
    return struct.pack(">BBHI", 0x81, 201, 7, reporter) + block


def sender_report(reporter: int, packets: int, block: bytes = b"") -> bytes:
    words = 6 + len(block) // 4
    return (
        struct.pack(">BBHIIIIII", 0x80 | len(block) // 24, 200, words, reporter, 0, 0, 0, packets, packets * 160)
        + block
    )


def voip_metrics(reporter: int, ssrc: int, loss: int, r_factor: int, mos: int) -> bytes:
    body = struct.pack(
        ">IBBBBHHHHbbBBBBBBBBHHH",
        ssrc,
        loss,
        0,
        0,
        0,
        0,
        0,
        120,
        0,
        0,
        0,
        0,
        0,
        r_factor,
        127,
        mos,
        127,
        0,
        0,
        0,
        0,
        0,
    )
    return struct.pack(">BBHI", 0x80, 207, 10, reporter) + struct.pack(">BBH", 7, 0, 8) + body


def test_reports_of_every_kind_in_a_compound_packet() -> None:
    packet = sender_report(1, 250, report_block(2, 64, -3, 80)) + voip_metrics(1, 2, 32, 80, 41)
    senders, reports = parse_rtcp(packet)
    assert is_rtcp(packet)
    assert (senders[0].ssrc, senders[0].packets, senders[0].octets) == (1, 250, 40_000)
    assert (reports[0].reporter, reports[0].ssrc, reports[0].loss_percent, reports[0].lost, reports[0].jitter) == (
        1,
        2,
        25.0,
        -3,
        80,
    )
    assert (reports[1].ssrc, reports[1].loss_percent, reports[1].mos, reports[1].r_factor, reports[1].round_trip_ms) == (
        2, 12.5, 4.1, 80, 120,
    )  # fmt: skip


def test_figures_that_a_report_calls_unavailable_are_none() -> None:
    _, reports = parse_rtcp(voip_metrics(1, 2, 0, 127, 127))
    assert (reports[0].mos, reports[0].r_factor) == (None, None)


def test_rtcp_that_is_cut_ends_the_reading() -> None:
    whole = sender_report(1, 250) + receiver_report(1, report_block(2, 0, 0, 0))
    assert [len(part) for part in parse_rtcp(whole[:-4])] == [1, 0]
    assert parse_rtcp(b"") == ([], [])


def test_rtcp_tells_how_the_other_end_hears_a_stream() -> None:
    stream = call(range(50))
    back = [
        (
            T0 + second * 1_000_000,
            frame(receiver_report(99, report_block(0x1234, 26, second, 80 * second)), B, 5001, A, 4001),
        )
        for second in (1, 2, 3)
    ]
    counted, told = media(*stream, *back)[0]
    assert not counted.from_report
    assert told.from_report
    assert (told.source, told.destination, told.ssrc, told.codec) == (f"{A}:4000", f"{B}:5000", 0x1234, "PCMU")
    assert (told.lost, told.loss_percent, told.jitter_ms, told.max_jitter_ms) == (3, 10.16, 20.0, 30.0)
    assert told.mos is not None


def test_rtcp_alone_is_told_with_the_codec_of_the_sdp() -> None:
    signalling = (T0, frame(offer(), source_port=5060, destination_port=5060))
    sent = (T0 + 1, frame(sender_report(0x77, 900), A, 4001, B, 5001))
    heard = (
        T0 + 2,
        frame(receiver_report(99, report_block(0x77, 0, 0, 8)) + voip_metrics(99, 0x77, 0, 90, 43), B, 5001, A, 4001),
    )
    (told,), capture = media(signalling, sent, heard)
    assert (told.packets, told.codec, told.jitter_ms, told.mos, told.leg) == (900, "PCMA", 1.0, 4.3, "call@x")
    assert (told.source, told.destination) == (f"{A}:4001", f"{B}:5001")
    assert capture.counters.media_packets == 2


def report(
    source: str, destination: str, *, leg: str = "", start: int = 0, from_report: bool = False
) -> StreamReport:
    return StreamReport(source, destination, 1, start, start + 1, 100, leg=leg, from_report=from_report)


def test_directions_between_two_sockets_are_a_pair() -> None:
    there, back, other = report("a:1", "b:2"), report("b:2", "a:1", start=1), report("c:3", "d:4", start=2)
    assert [(one.forward, one.backward) for one in pair([back, other, there])] == [
        ((there,), (back,)),
        ((other,), ()),
    ]


def test_a_direction_may_have_several_streams_and_reports_are_left_out() -> None:
    first, second = report("a:1", "b:2"), report("a:1", "b:2", start=5)
    (one,) = pair([first, second, report("b:2", "a:1", from_report=True)])
    assert (one.forward, one.backward) == ((first, second), ())


def test_nat_changes_the_far_socket_of_one_direction() -> None:
    there, back = report("192.0.2.1:4000", "b:2", leg="x"), report("b:2", "10.0.0.5:4000", leg="x", start=1)
    (one,) = pair([there, back])
    assert (one.forward, one.backward) == ((there,), (back,))
    assert len(pair([there, report("b:2", "10.0.0.5:4000", leg="y", start=1)])) == 2


def test_mos_falls_with_loss_and_jitter_and_is_none_for_what_nobody_rated() -> None:
    clean, lossy = estimate_mos("PCMA", 0, 0), estimate_mos("pcma", 5, 0)
    assert clean is not None
    assert lossy is not None
    assert clean > lossy > 1
    late, compressed = estimate_mos("PCMA", 0, 150), estimate_mos("G729", 0, 0)
    assert late is not None
    assert late < clean
    assert compressed is not None
    assert compressed < clean
    assert estimate_mos("H264", 0, 0) is None
    assert (mos_of_r(-5), mos_of_r(0), mos_of_r(120)) == (1.0, 1.0, 4.5)
    assert mos_of_r(93.2) == pytest.approx(4.41, abs=0.01)
