"""What must hold for any bytes whatever."""

from __future__ import annotations

import random
import string
from contextlib import suppress
from functools import partial
from socket import AF_INET, AF_INET6, inet_ntop

from hypothesis import example, given, settings
from hypothesis import strategies as st
from wire import SDP, T0, ethernet, ipv4, ipv6, payloads, pcap, read, read_frames, reader, section, sip, tcp, udp

from ringback.sessions.capture import hep
from ringback.sessions.capture.hep import HepError, StreamSplitter
from ringback.sessions.capture.hep_logs import stream_report, to_log
from ringback.sessions.capture.pcap import CaptureReader, NotACapture
from ringback.sessions.capture.sdp import parse_sdp, sdp_of
from ringback.sessions.capture.sip import NotSip, looks_like_sip, parse, parse_uri, scan
from ringback.sessions.story import Hop, SightingTuple

WORDS = [
    *(b"INVITE ", b"SIP/2.0", b" SIP/2.0\r\n", b"\r\n", b"\n", b"\r\n\r\n", b"Call-ID: ", b"i:", b"CSeq: ", b"\r\n "),
    *(
        b"sip:",
        b"<",
        b">",
        b'"',
        b";tag=",
        b",",
        b"@",
        b"%",
        b"200 OK",
        b"\xff",
        b"\0",
        b"1",
        b"Via: SIP/2.0/UDP h",
        b"--x",
    ),
    *(b"Content-Length: ", b"m=audio 1 RTP/AVP 0", b"a=rtpmap:", b"Content-Type: multipart/mixed;boundary=x"),
]
soup = st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=20)), max_size=40).map(b"".join)
address_pairs = st.sampled_from([(AF_INET, 4), (AF_INET6, 16)]).flatmap(
    lambda family: st.tuples(
        *[st.binary(min_size=family[1], max_size=family[1]).map(partial(inet_ntop, family[0]))] * 2
    )
)


@given(soup)
@example(b"INVITE  SIP/2.0")
@example(b"INVITE a SIP/2.0\rx")
@example(b"\nSIP/2.0 200 OK\n")
@settings(max_examples=200)
def test_a_message_is_read_or_refused_and_all_three_readers_agree(payload: bytes) -> None:
    scanned = scan(payload)
    assert (scanned is not None) == looks_like_sip(payload)
    try:
        message = parse(payload)
    except NotSip:
        assert scanned is None
        return
    assert scanned is not None
    assert scanned[2] == message.cseq
    assert scanned[0] == message.call_id.encode() or scanned[0] == message.call_id.encode("latin-1")
    for name in ("from", "contact", "to"):
        assert len(message.addresses(name)) <= len(message.values(name))
    assert len(message.vias) <= len(message.values("via"))
    assert message.from_tag is not None
    assert message.to_tag is not None
    sdp_of(message)


@given(soup)
def test_any_bytes_are_some_sdp(body: bytes) -> None:
    assert len(parse_sdp(body).media) <= 64


@given(st.text())
def test_any_text_is_a_uri_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert parse_uri(text).text == text


@given(
    time_us=st.integers(1_000_000, 2**32 * 1_000_000 - 1),
    pair=address_pairs,
    ports=st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
    transport=st.sampled_from(["udp", "tcp", "tls", "sctp"]),
    agent=st.integers(0, 2**32 - 1),
    payload=st.binary(max_size=2000),
    kind=st.integers(0, 255),
    correlation=st.text(string.printable.strip(), max_size=50),
    key=st.binary(max_size=20),
    compress=st.booleans(),
)  # fmt: skip
def test_what_hep_carries_comes_out_again(
    time_us: int, pair: tuple[str, str], ports: tuple[int, int], transport: str, agent: int, payload: bytes, kind: int,
    correlation: str, key: bytes, compress: bool,
) -> None:  # fmt: skip
    hop = Hop(transport, pair[0], ports[0], pair[1], ports[1], str(agent))
    datagram = hep.encode(
        time_us, hop, payload, payload_type=kind, correlation=correlation, auth_key=key, compress=compress
    )
    for _ in range(2):
        packet = hep.decode(datagram, 0)
        assert packet == (time_us, hop, payload, 0, correlation, kind, str(agent), "", key, ())


@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=300).map(lambda data: b"HEP3" + (len(data) + 6).to_bytes(2) + data),
    )
)
def test_any_datagram_is_hep_or_a_hep_error(datagram: bytes) -> None:
    with suppress(HepError):
        packet = hep.decode(datagram, T0)
        line = to_log(packet)
        if line is not None:
            stream_report(line)


@given(st.lists(st.binary(max_size=100), max_size=10), st.randoms(use_true_random=False))
def test_a_hep_stream_is_cut_alike_however_it_is_split(bodies: list[bytes], rng: random.Random) -> None:
    packets = [b"HEP3" + (len(body) + 6).to_bytes(2) + body for body in bodies]
    stream, splitter, found = b"".join(packets), StreamSplitter(), []
    while stream:
        size = rng.randint(1, 60)
        found += list(splitter.feed(stream[:size]))
        stream = stream[size:]
    assert found == packets


def messages(rng: random.Random) -> list[bytes]:
    made = []
    for number in range(rng.randint(1, 5)):
        body = rng.choice([b"", SDP, b"x\r\n\r\nSIP/2.0 200 OK\r\n", b"y" * rng.randint(1, 3000)])
        made.append(sip(rng.choice([b"SIP/2.0 200 OK", b"BYE sip:x SIP/2.0"]), call_id=b"%d@x" % number, body=body))
    return made


@given(st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_a_tcp_stream_gives_its_messages_in_any_split_and_order(rng: random.Random) -> None:
    told = messages(rng)
    stream = b"".join(message + rng.choice([b"", b"\r\n", b"\r\n\r\n"]) for message in told)
    start = rng.randint(0, 2**32 - 1)
    frames, at = [], 0
    while at < len(stream):
        size = rng.choice([1, 20, 200, 1400])
        overlap = rng.choice([0, 0, 0, 5])
        begin = max(0, at - overlap)
        frames.append(ethernet(ipv4(tcp(stream[begin : at + size], (start + 1 + begin) % 2**32), 6)))
        at += size
    frames += rng.sample(frames, len(frames) // 4)
    rng.shuffle(frames)
    sightings, _ = read_frames(ethernet(ipv4(tcp(b"", start, flags=2), 6)), *frames)
    assert payloads(sightings) == told


def wrapped(payload: bytes, depth: int) -> bytes:
    """`payload` as what stands at some depth of a frame."""
    at_depth = (
        payload,
        ethernet(payload),
        ethernet(ipv4(payload, 17)),
        ethernet(ipv4(payload, 6)),
        ethernet(ipv4(udp(payload))),
        ethernet(ipv4(tcp(payload, 1), 6)),
        ethernet(ipv6(payload, 44)),
        ethernet(ipv4(payload, 47)),
        ethernet(ipv4(payload, 132)),
    )
    return at_depth[depth]


frames = st.builds(wrapped, st.one_of(st.binary(min_size=1, max_size=400), soup.filter(bool)), st.integers(0, 8))


@given(frames, st.sampled_from([0, 1, 12, 101, 108, 113, 276, 9]))
@settings(max_examples=200)
def test_any_frame_is_read_and_counted(frame: bytes, link_type: int) -> None:
    sightings, capture = read(pcap([frame], link_type))
    check(sightings, capture)
    counters = capture.counters
    assert counters.sip_messages + counters.media_packets + sum(counters.ignored.values()) >= 1, (
        "none is lost silently"
    )


@given(st.binary(max_size=600), st.sampled_from([b"", pcap([]), section()]))
def test_any_file_is_read_or_no_capture(data: bytes, head: bytes) -> None:
    with suppress(NotACapture):
        capture = reader(head + data)
        check(list(capture), capture)


def check(sightings: list[SightingTuple], capture: CaptureReader) -> None:
    for sighting in sightings:
        parse(sighting[2])
    assert capture.counters.sip_messages == len(sightings)
