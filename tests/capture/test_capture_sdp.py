"""Session descriptions: alone, in multipart bodies, and broken."""

from __future__ import annotations

from wire import SDP, sip

from ringback.sessions.capture.sdp import Codec, parse_sdp, sdp_of
from ringback.sessions.capture.sip import parse


def test_an_offer() -> None:
    sdp = parse_sdp(
        b"v=0\r\no=jdoe 2890844526 2890842807 IN IP4 10.47.16.5\r\ns=SDP Seminar\r\nc=IN IP4 224.2.17.12/127\r\nt=0 0\r\n"
        b"a=recvonly\r\nm=audio 49170 RTP/AVP 96 0 18\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\na=ptime:20\r\n"
        b"m=video 51372/2 RTP/AVP 99\r\nc=IN IP6 2001:db8::2\r\na=sendrecv\r\na=rtpmap:99 h263-1998/90000\r\n"
    )
    assert (sdp.user, sdp.session_id, sdp.session_version, sdp.origin_address) == (
        "jdoe", "2890844526", "2890842807", "10.47.16.5",
    )  # fmt: skip
    assert sdp.address == "224.2.17.12"
    audio, video = sdp.media
    assert (audio.kind, audio.port, audio.protocol, audio.address) == ("audio", 49170, "RTP/AVP", "224.2.17.12")
    assert audio.codecs == (
        Codec(96, "opus", 48000, 2, "useinbandfec=1"), Codec(0, "PCMU", 8000), Codec(18, "G729", 8000),
    )  # fmt: skip
    assert (audio.direction, audio.ptime) == ("recvonly", 20)
    assert (video.port, video.address, video.direction) == (51372, "2001:db8::2", "sendrecv")


def test_an_rtpmap_beats_the_static_table_and_a_dynamic_type_without_one_has_no_name() -> None:
    (audio,) = parse_sdp(b"m=audio 1000 RTP/AVP 0 97\na=rtpmap:0 PCMU/16000\n").media
    assert audio.codecs == (Codec(0, "PCMU", 16000), Codec(97, "", 0))
    assert audio.codec(97) == Codec(97, "", 0)
    assert audio.codec(8) is None


def test_encryption_is_told_by_crypto_fingerprint_or_profile() -> None:
    sdp = parse_sdp(
        b"v=0\na=fingerprint:sha-256 00:11\nm=audio 1 RTP/AVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\n"
        b"m=audio 2 UDP/TLS/RTP/SAVPF 0\na=ice-ufrag:abc\na=rtcp-mux\n"
    )
    sdes, dtls = sdp.media
    assert sdes.crypto
    assert sdes.fingerprint, "one for the session counts for each section"
    assert sdes.encrypted
    assert dtls.encrypted
    assert dtls.ice
    assert not dtls.crypto
    assert dtls.rtcp_port == 2
    (plain,) = parse_sdp(b"m=audio 1 RTP/AVP 0\na=rtcp:1234 IN IP4 1.2.3.4\n").media
    assert (plain.encrypted, plain.ice, plain.rtcp_port) == (False, False, 1234)


def test_hold_is_told_by_direction_or_null_address() -> None:
    for text in (b"a=sendonly\n", b"a=inactive\n", b"c=IN IP4 0.0.0.0\n"):
        assert parse_sdp(b"v=0\nm=audio 1 RTP/AVP 0\n" + text).media[0].on_hold
    assert not parse_sdp(b"v=0\nm=audio 1 RTP/AVP 0\na=recvonly\n").media[0].on_hold


def test_fax_has_formats_and_no_codecs() -> None:
    (image,) = parse_sdp(b"m=image 6000 udptl t38\n").media
    assert (image.kind, image.protocol, image.formats, image.codecs) == ("image", "udptl", ("t38",), ())


def test_broken_lines_are_passed_over() -> None:
    sdp = parse_sdp(
        b"o=x\nm=\nm=audio\nm=audio 70000 RTP/AVP a 300 0\na=rtpmap:\na=rtpmap:0\na=ptime:x\na\n=\nc=IN\nhello\xff\n"
    )
    assert [section.port for section in sdp.media] == [0, 0, 0]
    assert sdp.media[2].codecs == (Codec(0, "PCMU", 8000),)
    assert sdp.user == "x"
    assert sdp.session_id == ""


def test_endless_sections_are_bounded() -> None:
    assert len(parse_sdp(b"m=audio 1 RTP/AVP 0\n" * 10_000).media) == 64


def test_the_body_of_a_message() -> None:
    message = parse(sip(body=SDP, extra=[b"Content-Type: application/sdp"]))
    sdp = sdp_of(message)
    assert sdp is not None
    assert sdp.media[0].port == 49170


def test_a_body_without_content_type_that_looks_like_sdp_is_sdp() -> None:
    assert sdp_of(parse(sip(body=SDP))) is not None
    assert sdp_of(parse(sip(body=b"hello"))) is None


def test_other_bodies_are_no_sdp() -> None:
    assert sdp_of(parse(sip(body=SDP, extra=[b"Content-Type: text/plain"]))) is None
    assert sdp_of(parse(sip())) is None


def test_the_sdp_part_of_a_multipart_body() -> None:
    body = (
        b"preamble\r\n--unique-boundary-1\r\nContent-Type: application/isup;version=x\r\n\r\n\x01\x00m=\r\n"
        b"--unique-boundary-1\r\ncontent-type : application/SDP\r\nContent-Disposition: session\r\n\r\n" + SDP
        + b"\r\n--unique-boundary-1--\r\n"
    )  # fmt: skip
    message = parse(sip(body=body, extra=[b'Content-Type: multipart/mixed;boundary="unique-boundary-1"']))
    sdp = sdp_of(message)
    assert sdp is not None
    assert [section.port for section in sdp.media] == [49170]


def test_a_multipart_body_in_a_multipart_body() -> None:
    inner = b"--b\r\nContent-Type: application/sdp\r\n\r\n" + SDP + b"\r\n--b--\r\n"
    body = b"--a\r\nContent-Type: multipart/alternative;boundary=b\r\n\r\n" + inner + b"\r\n--a--\r\n"
    assert sdp_of(parse(sip(body=body, extra=[b"Content-Type: multipart/mixed;boundary=a"]))) is not None


def test_a_multipart_body_without_boundary_or_sdp_holds_none() -> None:
    for header in (b"Content-Type: multipart/mixed", b"Content-Type: multipart/mixed;boundary=zzz"):
        assert sdp_of(parse(sip(body=b"--b\r\n\r\n" + SDP, extra=[header]))) is None
