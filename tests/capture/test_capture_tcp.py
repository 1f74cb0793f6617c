"""SIP over TCP and WebSocket: streams put together, cut into messages, and joined in the middle."""

from __future__ import annotations

import random
import struct
from itertools import pairwise

import pytest
from wire import SDP, T0, A, B, ethernet, ipv4, ipv6, ok, payloads, pcap, read, read_frames, sip, tcp

from ringback.sessions.capture import hep
from ringback.sessions.capture import tcp as connections
from ringback.sessions.story import CUT_BY_CAPTURE, IP_ID_KNOWN, REASSEMBLED, Hop, SightingTuple

MESSAGE = sip(body=SDP)
START = 4_294_967_000  # the sequence numbers wrap within the first messages
SYN, FIN, RST, DATA = 0x02, 0x11, 0x04, 0x18


def segment(payload: bytes, offset: int, flags: int = DATA) -> bytes:
    """A frame whose payload stands `offset` bytes after the SYN."""
    return ethernet(ipv4(tcp(payload, (START + 1 + offset) & 0xFFFFFFFF, flags=flags), 6))


def opening() -> bytes:
    return ethernet(ipv4(tcp(b"", START, flags=SYN), 6))


def split(stream: bytes, *cuts: int) -> list[bytes]:
    edges = [0, *cuts, len(stream)]
    return [segment(stream[a:b], a) for a, b in pairwise(edges)]


def found(*frames: bytes | tuple[int, bytes]) -> list[SightingTuple]:
    return read_frames(*frames)[0]


def test_a_message_in_one_segment_has_the_ip_id_of_its_packet() -> None:
    (sighting,) = found(opening(), segment(MESSAGE, 0))
    assert sighting == (T0 + 1000, Hop("tcp", A, 5060, B, 5060), MESSAGE, IP_ID_KNOWN | 7, "")


def test_a_message_over_several_segments_has_the_time_of_the_last() -> None:
    (sighting,) = found(opening(), *split(MESSAGE, 10, 200))
    assert sighting[0] == T0 + 3000
    assert sighting[2] == MESSAGE
    assert sighting[3] & REASSEMBLED


def test_several_messages_in_one_segment_and_keep_alives_between_them() -> None:
    stream = MESSAGE + b"\r\n\r\n" + ok() + b"\r\n" + sip(b"BYE sip:b@c SIP/2.0", cseq=b"2 BYE")
    sightings, capture = read_frames(opening(), segment(stream, 0), segment(b"\r\n\r\n", len(stream)))
    assert [sighting[2][:7] for sighting in sightings] == [b"INVITE ", b"SIP/2.0", b"BYE sip"]
    assert capture.counters.ignored == {"TCP without data": 1, "keep-alive": 1}


def test_segments_in_any_order_and_twice() -> None:
    stream = MESSAGE + ok(body=SDP) + MESSAGE
    frames = split(stream, 100, 300, 450, 700, 900)
    shuffled = frames + frames[1:3]
    for seed in range(20):
        random.Random(seed).shuffle(shuffled)
        assert payloads(found(opening(), *shuffled)) == [MESSAGE, ok(body=SDP), MESSAGE]


def test_of_overlapping_segments_the_first_bytes_count() -> None:
    frames = [segment(MESSAGE[:100], 0), segment(b"x" * 50 + MESSAGE[100:200], 50), segment(MESSAGE[150:], 150)]
    assert payloads(found(opening(), *frames)) == [MESSAGE]
    assert payloads(found(opening(), frames[0], frames[2], segment(MESSAGE[90:260], 90))) == [MESSAGE]


def test_both_directions_and_ipv6_are_streams_of_their_own() -> None:
    frames = [
        ethernet(ipv6(tcp(MESSAGE[:100], 1), 6)),
        ethernet(ipv6(tcp(ok()[:50], 1), 6, "2001:db8::2", "2001:db8::1")),
        ethernet(ipv6(tcp(MESSAGE[100:], 101), 6)),
        ethernet(ipv6(tcp(ok()[50:], 51), 6, "2001:db8::2", "2001:db8::1")),
    ]
    first, second = found(*frames)
    assert (first[1].source, second[1].source) == ("2001:db8::1", "2001:db8::2")
    assert payloads([first, second]) == [MESSAGE, ok()]


def test_a_stream_joined_in_the_middle_begins_with_its_next_message() -> None:
    stream = MESSAGE + ok() + MESSAGE
    assert payloads(found(segment(stream[200:], 200))) == [ok(), MESSAGE]
    assert payloads(found(segment(MESSAGE[200:], 200), segment(ok(), len(MESSAGE)))) == [ok()]


def test_a_segment_that_was_not_captured_costs_its_own_message_only() -> None:
    stream = MESSAGE + ok() + MESSAGE
    at = len(MESSAGE)
    sightings = found(opening(), segment(stream[:100], 0), segment(stream[at:], at))
    assert payloads(sightings) == [MESSAGE[:100], ok(), MESSAGE]
    assert [bool(sighting[3] & CUT_BY_CAPTURE) for sighting in sightings] == [True, False, False]


def test_of_a_message_that_lost_its_end_the_beginning_is_told() -> None:
    (sighting,) = found(opening(), segment(MESSAGE[:-20], 0))
    assert sighting[2] == MESSAGE[:-20]
    assert sighting[3] & CUT_BY_CAPTURE


def test_bytes_that_the_other_end_confirms_are_not_waited_for() -> None:
    """Then what follows is told when it is captured and not at the end of the file."""
    back = ethernet(ipv4(tcp(b"", 1, flags=0x10, acknowledge=(START + 1 + 1000) & 0xFFFFFFFF), 6, B, A))
    frames = [opening(), segment(MESSAGE, 400), back, ethernet(ipv4(tcp(ok(), 1), 6, B, A))]
    assert payloads(found(*frames)) == [MESSAGE, ok()]


def test_a_gap_is_given_up_after_a_time() -> None:
    late = T0 + connections.GAP_TIMEOUT_US + 1
    other = ethernet(ipv4(tcp(ok(), 1, source_port=9), 6))
    frames = [
        (T0, opening()),
        (T0, segment(MESSAGE, 400)),
        (late, segment(MESSAGE, 400 + len(MESSAGE))),
        (late, other),
    ]
    assert payloads(found(*frames)) == [MESSAGE, MESSAGE, ok()]


def test_a_segment_cut_by_the_snap_length_is_a_gap() -> None:
    frame = segment(MESSAGE, 0)
    sightings, _ = read(pcap([opening(), frame, segment(ok(), len(MESSAGE))], snap=len(frame) - 30))
    assert [sighting[2][:7] for sighting in sightings] == [b"INVITE ", b"SIP/2.0"]
    assert sightings[0][3] & CUT_BY_CAPTURE
    assert not sightings[1][3] & CUT_BY_CAPTURE


def test_the_end_of_a_connection_tells_what_is_left() -> None:
    for flags in (FIN, RST):
        end = segment(b"", len(MESSAGE) - 20, flags)
        again = ethernet(ipv4(tcp(ok(), 77, source_port=9), 6))
        assert payloads(found(opening(), segment(MESSAGE[:-20], 0), end, again)) == [MESSAGE[:-20], ok()]


def test_the_same_ports_again_are_another_connection() -> None:
    frames = [opening(), segment(MESSAGE[:-20], 0), ethernet(ipv4(tcp(b"", 5_000_000, flags=SYN), 6))]
    frames.append(ethernet(ipv4(tcp(ok(), 5_000_001), 6)))
    assert payloads(found(*frames)) == [MESSAGE[:-20], ok()]
    without_syn = [opening(), segment(MESSAGE, 0), ethernet(ipv4(tcp(ok(), 900_000_000), 6))]
    assert payloads(found(*without_syn)) == [MESSAGE, ok()]


def test_a_syn_captured_twice_is_one() -> None:
    assert payloads(found(opening(), opening(), segment(MESSAGE, 0), opening(), segment(ok(), len(MESSAGE)))) == [
        MESSAGE,
        ok(),
    ]


def test_a_message_without_content_length_has_no_body_on_a_stream() -> None:
    bare = sip().replace(b"Content-Length: 0\r\n", b"")
    assert payloads(found(opening(), segment(bare + ok(), 0))) == [bare, ok()]


def test_compact_and_odd_content_lengths_and_bare_lf() -> None:
    odd = MESSAGE.replace(b"Content-Length: ", b"l :  ")
    bare_lf = sip(body=b"x\n").replace(b"\r\n", b"\n")
    assert payloads(found(opening(), segment(odd + bare_lf + ok(), 0))) == [odd, bare_lf, ok()]


def test_a_content_length_beyond_belief_costs_its_own_message_only() -> None:
    absurd = sip().replace(b"Content-Length: 0", b"Content-Length: 999999999")
    assert payloads(found(opening(), segment(absurd, 0), segment(ok(), len(absurd)))) == [ok()]


def test_streams_without_sip_are_counted_and_left_alone() -> None:
    frames = [opening(), segment(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0), segment(b"more", 26)]
    assert read_frames(*frames)[1].counters.ignored["TCP without data"] == 1
    assert read_frames(*frames)[1].counters.ignored["TCP without SIP"] == 2


def test_sip_may_begin_later_in_a_stream() -> None:
    assert payloads(found(opening(), segment(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", 0), segment(MESSAGE, 32))) == [
        MESSAGE
    ]


def test_streams_held_are_bounded() -> None:
    piece = b"MESSAGE sip:b SIP/2.0\r\nCall-ID: x\r\nContent-Length: 200000\r\n\r\n" + b"x" * 30_000
    frames = [
        ethernet(ipv4(tcp(piece, 1, source_port=port), 6))
        for port in range(1, 1 + 2 * connections.BYTES_HELD // len(piece))
    ]
    sightings, _ = read_frames(*frames)
    assert len(sightings) == len(frames)
    assert all(sighting[3] & CUT_BY_CAPTURE for sighting in sightings)


def test_bytes_that_wait_for_a_gap_are_bounded() -> None:
    frames = [segment(b"\r\n", 0)] + [segment(b"x" * 1400, 10 + 1400 * number) for number in range(400)]
    _, capture = read_frames(*frames)
    assert sum(capture.counters.ignored.values()) == len(frames)


def websocket(payload: bytes, opcode: int = 1, *, final: bool = True, mask: bytes = b"") -> bytes:
    size = len(payload)
    length = (
        bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2) if size < 65536 else b"\x7f" + size.to_bytes(8)
    )
    length = bytes([length[0] | (0x80 if mask else 0)]) + length[1:]
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if mask else payload
    return bytes([opcode | (0x80 if final else 0)]) + length + mask + masked


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: sip-ws.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
MASK = b"\x37\xfa\x21\x3d"


def test_sip_over_websocket_from_its_handshake_on() -> None:
    stream = (
        UPGRADE + websocket(MESSAGE, mask=MASK) + websocket(b"ping", 9, mask=MASK) + websocket(ok(), 2, mask=MASK)
    )
    sightings = found(opening(), segment(stream, 0))
    assert payloads(sightings) == [MESSAGE, ok()]
    assert sightings[0][1].transport == "ws"
    assert payloads(found(segment(SWITCHING + websocket(ok()), 0))) == [ok()]


@pytest.mark.parametrize("size", [1, 7, 64, 500])
def test_a_websocket_stream_split_anywhere(size: int) -> None:
    stream = UPGRADE + websocket(MESSAGE, mask=MASK) + websocket(ok(), mask=MASK)
    assert payloads(found(opening(), *split(stream, *range(size, len(stream), size)))) == [MESSAGE, ok()]


def test_fragmented_websocket_messages_with_a_ping_between() -> None:
    stream = (
        UPGRADE + websocket(MESSAGE[:50], final=False) + websocket(b"", 9) + websocket(MESSAGE[50:90], 0, final=False)
    )
    assert payloads(found(opening(), segment(stream + websocket(MESSAGE[90:], 0), 0))) == [MESSAGE]


def test_a_websocket_joined_in_the_middle() -> None:
    long = sip(body=b"x" * 300)
    for message in (MESSAGE, long, sip(body=b"x" * 70_000)):
        stream = websocket(message, mask=MASK)
        assert payloads(found(*split(stream, 100 if len(stream) < 60_000 else 60_000))) == [message]


def test_a_websocket_goes_on_after_a_gap() -> None:
    stream = UPGRADE + websocket(MESSAGE, mask=MASK)
    at = len(stream)
    frames = [opening(), segment(stream[:-40], 0), segment(websocket(ok(), mask=MASK), at)]
    assert payloads(found(*frames)) == [ok()]


def test_a_websocket_of_something_else_is_counted() -> None:
    stream = UPGRADE + websocket(b'{"type":"hello"}', mask=MASK) + b"\xc1\x05abcde"
    sightings, capture = read_frames(segment(stream, 0), segment(websocket(b"x" * 10, mask=MASK), len(stream)))
    assert sightings == []
    assert capture.counters.ignored == {"WebSocket without SIP": 1, "TCP without SIP": 1}


def test_a_request_that_upgrades_to_nothing_is_no_websocket() -> None:
    stream = b"GET /index.html HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n"
    sightings, capture = read_frames(*split(stream, 30), segment(MESSAGE, len(stream)))
    assert payloads(sightings) == [MESSAGE]
    assert capture.counters.ignored == {"WebSocket without SIP": 1}


def test_hep_over_tcp_in_a_capture() -> None:
    inner = Hop("udp", "10.9.9.1", 5060, "10.9.9.2", 5060, "101")
    stream = hep.encode(T0, inner, MESSAGE) + hep.encode(T0 + 1, inner, ok())
    assert found(opening(), *split(stream, 50, 600)) == [(T0, inner, MESSAGE, 0, ""), (T0 + 1, inner, ok(), 0, "")]
    assert found(opening(), segment(b"HEP3\0\x01" + struct.pack(">H", 1), 0)) == []


def test_a_stream_in_single_bytes_costs_no_more_than_its_bytes() -> None:
    """20,000 segments: were each looked at from the begin of its message, this would take minutes."""
    message = sip(extra=[b"X-Long: " + b"x" * 4000], body=b"y" * 16_000)
    frames = split(message, *range(1, len(message)))
    assert payloads(found(opening(), *frames)) == [message]


def test_a_head_without_end_is_given_up() -> None:
    endless = b"INVITE sip:b SIP/2.0\r\n" + b"X: y\r\n" * 12_000
    frames = [segment(endless[at : at + 1400], at) for at in range(0, len(endless), 1400)]
    assert payloads(found(opening(), *frames, segment(MESSAGE, (len(frames) - 1) * 1400 + len(endless) % 1400))) == [
        MESSAGE
    ]
