"""SIP on the wire: the whole parse, the quick scan, and telling SIP from what is none."""

from __future__ import annotations

import pytest
from wire import SDP, ok, sip

from ringback.sessions.capture.sip import NotSip, looks_like_sip, parse, scan, why_not_sip


def test_a_request_is_read_whole() -> None:
    message = parse(sip(body=SDP, extra=[b"Content-Type: application/sdp"]))
    assert message.is_request
    assert (message.method, message.request_uri, message.status) == ("INVITE", "sip:bob@example.com", 0)
    assert (message.call_id, message.cseq) == ("a84b4c76e66710@192.0.2.1", 314159)
    assert message.header("content-type") == "application/sdp"
    assert message.body == SDP
    assert message.content_length == len(SDP)
    assert not message.truncated


def test_a_response_has_the_method_of_its_cseq() -> None:
    message = parse(sip(b"SIP/2.0 486 Busy Here", cseq=b"1 INVITE"))
    assert not message.is_request
    assert (message.status, message.phrase, message.method) == (486, "Busy Here", "INVITE")
    assert message.request_uri == ""


def test_a_response_may_have_no_phrase() -> None:
    for first in (b"SIP/2.0 200", b"SIP/2.0 200 "):
        assert (parse(sip(first)).status, parse(sip(first)).phrase) == (200, "")


def test_header_names_are_canonical_whatever_their_form() -> None:
    message = parse(
        b"INVITE sip:bob@example.com SIP/2.0\r\nv: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1\r\nF: <sip:a@example.com>;tag=x\r\n"
        b"t : <sip:b@example.com>\r\nI: compact@192.0.2.1\r\ncSeQ: 7 INVITE\r\nl: 0\r\n\r\n"
    )
    assert [name for name, _ in message.headers] == ["via", "from", "to", "call-id", "cseq", "content-length"]
    assert (message.call_id, message.cseq, message.content_length) == ("compact@192.0.2.1", 7, 0)
    assert message.from_tag == "x"
    assert message.to_tag == ""


def test_folded_headers_are_one_line() -> None:
    message = parse(
        b"OPTIONS sip:b@example.com SIP/2.0\r\nSubject: I know you're there,\r\n\tpick up\r\n   the phone\r\n"
        b"Call-ID:\r\n folded@192.0.2.1\r\nCSeq:\r\n 9\r\n OPTIONS\r\n\r\n"
    )
    assert message.header("subject") == "I know you're there, pick up the phone"
    assert (message.call_id, message.cseq, message.method) == ("folded@192.0.2.1", 9, "OPTIONS")


def test_bare_lf_ends_a_line_and_a_head() -> None:
    message = parse(sip(body=SDP).replace(b"\r\n", b"\n"))
    assert message.call_id == "a84b4c76e66710@192.0.2.1"
    assert message.header("to") == "Bob <sip:bob@example.com>"
    assert message.body == SDP.replace(b"\r\n", b"\n")
    assert not message.truncated, "Content-Length counted the CRs that are gone"


def test_values_of_several_lines_and_of_one_line_are_the_same_list() -> None:
    message = parse(sip(extra=[b'Contact: "Doe, John" <sip:j@a>, <sip:k@b;x=1,2>;q=0.5', b"m: sip:l@c"]))
    assert message.values("contact") == ['"Doe, John" <sip:j@a>', "<sip:k@b;x=1,2>;q=0.5", "sip:l@c"]
    assert [address.uri.user for address in message.addresses("contact")] == ["j", "k", "l"]


def test_headers_whose_commas_separate_nothing_are_left_whole() -> None:
    digest = b'Digest username="alice", realm="x"'
    message = parse(sip(extra=[b"Authorization: " + digest, b"Date: Sat, 13 Nov 2010 23:29:00 GMT"]))
    assert message.values("authorization") == [digest.decode()]
    assert message.values("date") == ["Sat, 13 Nov 2010 23:29:00 GMT"]


def test_addresses_that_cannot_be_read_are_left_out() -> None:
    message = parse(sip(extra=[b"Contact: *", b"Contact: <sip:good@example.com>", b"Contact: <sip:"]))
    assert [address.uri.user for address in message.addresses("contact")] == ["good"]


def test_vias_come_top_first() -> None:
    message = parse(
        sip(extra=[b"Via: SIP/2.0/TCP p2;branch=z9hG4bKb , SIP/2.0/TLS [2001:db8::9]:5061;branch=z9hG4bKc"])
    )
    assert [via.host for via in message.vias] == ["192.0.2.1", "p2", "2001:db8::9"]
    assert message.top_via is not None
    assert message.top_via.branch == "z9hG4bK776asdhds"


def test_a_message_without_via_has_no_top_via() -> None:
    assert parse(b"INVITE sip:b@c SIP/2.0\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n").top_via is None


@pytest.mark.parametrize("junk", [b"\r\n\r\n", b"\0\0\0\0", b" \t\r\n", b"\xff\xfe\x01junk", b"\n"])
def test_junk_before_the_start_line_is_passed_over(junk: bytes) -> None:
    message = sip(body=SDP)
    assert parse(junk + message) == parse(message)
    assert scan(junk + message) == scan(message)


def test_junk_may_not_be_another_protocol_that_quotes_sip() -> None:
    assert scan(b"<134>Oct 11 22:14:15 edge1 kamailio[231]: received: " + sip()) is None


def test_a_body_shorter_than_its_content_length_is_truncated() -> None:
    message = parse(sip(body=SDP)[:-10])
    assert message.truncated
    assert message.body == SDP[:-10]


def test_bytes_beyond_the_content_length_are_dropped() -> None:
    message = parse(sip(body=SDP) + b"trailing")
    assert message.body == SDP
    assert not message.truncated


def test_without_a_content_length_the_rest_is_the_body() -> None:
    message = parse(b"MESSAGE sip:b@c SIP/2.0\r\nCall-ID: x\r\nCSeq: 1 MESSAGE\r\n\r\nhello")
    assert (message.body, message.content_length, message.truncated) == (b"hello", None, False)


@pytest.mark.parametrize("value", [b"-1", b"abc", b"", b"1e3", b"\xc2\xb2", b"99999999999"])
def test_a_broken_content_length_is_none(value: bytes) -> None:
    message = parse(b"MESSAGE sip:b@c SIP/2.0\r\nCall-ID: x\r\nContent-Length: " + value + b"\r\n\r\nhello")
    assert (message.content_length, message.body, message.truncated) == (None, b"hello", False)


def test_a_head_without_end_is_truncated() -> None:
    whole = sip(body=SDP)
    cut = parse(whole[: whole.index(b"CSeq") + 4])
    assert cut.truncated
    assert (cut.call_id, cut.cseq, cut.body) == ("a84b4c76e66710@192.0.2.1", -1, b"")


def test_a_call_id_that_was_cut_is_no_call_id() -> None:
    whole = sip()
    cut = whole[: whole.index(b"66710@")]
    assert scan(cut) == (b"", b"INVITE sip:bob@example.com SIP/2.0", -1)
    assert parse(cut).call_id == ""


def test_a_cseq_is_never_read_out_of_the_start_line() -> None:
    cut = sip(b"INVITE 5551234 SIP/2.0")
    cut = cut[: cut.index(b"66710@")]
    assert scan(cut) == (b"", b"INVITE 5551234 SIP/2.0", -1)


def test_a_start_line_that_was_cut_is_still_sip() -> None:
    assert scan(b"INVITE sip:bob") == (b"", b"INVITE sip:bob", -1)
    assert parse(b"INVITE sip:bob").request_uri == "sip:bob"
    assert parse(b"INVITE sip:bob").truncated


def test_text_that_is_no_utf_8_is_read_as_latin_1() -> None:
    message = parse(sip(extra=[b"Subject: Jos\xe9"]))
    assert message.header("subject") == "José"
    assert parse(sip(extra=["Subject: 你好".encode()])).header("subject") == "你好"


def test_lines_without_a_colon_are_passed_over() -> None:
    message = parse(sip(extra=[b"this is no header", b":no name", b"X-Good: 1"]))
    assert message.header("x-good") == "1"
    assert message.header("") == "no name"


def test_an_unknown_method_is_a_method() -> None:
    message = parse(sip(b"KDMQ sip:notification_peer@192.0.2.1 SIP/2.0", cseq=b"10 KDMQ"))
    assert message.method == "KDMQ"


def test_a_request_uri_may_hold_spaces() -> None:
    assert parse(sip(b"INVITE sip:bob smith@example.com SIP/2.0")).request_uri == "sip:bob smith@example.com"


@pytest.mark.parametrize(
    ("cseq", "number"),
    [
        (b"4294967295 ACK", 2**32 - 1),
        (b"4294967296 ACK", -1),
        (b"x ACK", -1),
        (b"", -1),
        (b"1_0 ACK", -1),
        (b"0009 ACK", 9),
    ],
)
def test_a_cseq_out_of_range_or_broken_is_minus_one(cseq: bytes, number: int) -> None:
    assert parse(sip(cseq=cseq)).cseq == number


@pytest.mark.parametrize(
    "change",
    [
        (b"Call-ID:", b"Call-Id:"),
        (b"Call-ID:", b"CALL-ID   :  "),
        (b"Call-ID:", b"i:"),
        (b"CSeq: ", b"CSEQ:"),
        (b"\r\n", b"\n"),
        (b"CSeq: 314159 INVITE", b"CSeq: 314159   INVITE"),
        (b"CSeq: 314159 INVITE", b"CSeq:   314159\tINVITE"),
    ],
)
def test_scan_bears_what_parse_bears(change: tuple[bytes, bytes]) -> None:
    odd = sip().replace(*change)
    assert scan(odd) == (b"a84b4c76e66710@192.0.2.1", b"INVITE sip:bob@example.com SIP/2.0", 314159)
    assert parse(odd).call_id == "a84b4c76e66710@192.0.2.1"


def test_scan_does_not_read_the_body() -> None:
    """A NOTIFY that quotes another message, and names its own Call-ID in the compact form."""
    inner = sip(call_id=b"inner@192.0.2.9", cseq=b"99 INVITE")
    outer = b"NOTIFY sip:b@c SIP/2.0\r\ni: outer@192.0.2.1\r\nCSEQ: 5 NOTIFY\r\n\r\n" + inner
    assert scan(outer) == (b"outer@192.0.2.1", b"NOTIFY sip:b@c SIP/2.0", 5)
    assert scan(b"NOTIFY sip:b@c SIP/2.0\r\nTo: x\r\n\r\n" + inner) == (b"", b"NOTIFY sip:b@c SIP/2.0", -1)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"OPTIONS * RTSP/1.0\r\n\r\n", b"NOTIFY * HTTP/1.1\r\nHost: x\r\n\r\n",
     b"SIP/2.0 OK\r\n\r\n", b"SIP/2.0 20\r\n\r\n", b"SIP/3.0 200 OK\r\n\r\n", b" SIP/2.0\r\n\r\n", b"\x80\x00" * 100,
     b"INVITE\r\n\r\n", b"hello sip", b"HEP3\0\x20"],
)  # fmt: skip
def test_what_is_no_sip_is_refused_by_all_three(payload: bytes) -> None:
    assert scan(payload) is None
    assert not looks_like_sip(payload)
    with pytest.raises(NotSip):
        parse(payload)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\r\n\r\n", "keep-alive"),
        (b"\0", "keep-alive"),
        (b"jaK\0", "keep-alive"),
        (b"", "keep-alive"),
        (b"\0\x01\0\0\x21\x12\xa4\x42" + b"\0" * 12, "STUN"),
        (b"GET / HTTP/1.1\r\n\r\n", "not SIP"),
    ],
)
def test_what_stands_on_a_sip_port_without_being_sip_has_a_reason(payload: bytes, reason: str) -> None:
    assert why_not_sip(payload) == reason


def test_a_refusal_says_what_was_found() -> None:
    with pytest.raises(NotSip, match=r"not SIP: b.GET / HTTP"):
        parse(b"GET / HTTP/1.1\r\n\r\n")


def test_responses_scan_like_requests() -> None:
    assert scan(ok()) == (b"a84b4c76e66710@192.0.2.1", b"SIP/2.0 200 OK", 314159)
