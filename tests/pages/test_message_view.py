"""One message as a person reads it, and two side by side."""

import pytest

from ringback.sessions.capture.sip import parse
from ringback.sessions.pages.comparison import Pair, compare, differences, spelled
from ringback.sessions.pages.message_view import LONGEST, hex_lines, message_text
from ringback.sessions.story import Arrow, Hop, Sighting

HOP = Hop("udp", "192.0.2.1", 5060, "192.0.2.2", 5060)
INVITE = (
    b"INVITE sip:18660333777@acme.example SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 198.51.100.23:5060;branch=z9hG4bK1\r\n"
    b"f: <sip:12103355787@acme.example>;tag=a\r\n"
    b"To: <sip:18660333777@acme.example>\r\n"
    b"Subject: folded\r\n over two lines\r\n"
    b"Call-ID: x@y\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n"
    b"Content-Type: application/sdp\r\nContent-Length: 11\r\n\r\nv=0\r\nc=IN 4\n"
)


def arrow(payload: bytes, number: int = 1) -> Arrow:
    return Arrow(number, 0, 0, HOP, parse(payload), payload, "x@y", [Sighting(0, HOP, payload)])


def test_header_names_first_line_and_body_are_told_apart() -> None:
    lines = message_text(arrow(INVITE)).lines
    assert [line.kind for line in lines] == [
        "start", "key", "key", "key", "header", "folded", "key", "key", "key", "header", "header", "body", "body", "body",
    ]  # fmt: skip
    assert lines[2].name == "f"
    assert "\r\n".join(line.whole for line in lines[:11]).encode() == INVITE.partition(b"\r\n\r\n")[0]


def test_a_refusal_and_what_gives_its_reason_stand_out() -> None:
    refused = INVITE.replace(b"INVITE sip:18660333777@acme.example SIP/2.0", b"SIP/2.0 403 Forbidden")
    refused = refused.replace(b"Subject: folded\r\n over two lines", b'Reason: Q.850;cause=21;text="rejected"')
    kinds = {line.name: line.kind for line in message_text(arrow(refused)).lines}
    assert kinds["Reason"] == "why"
    assert message_text(arrow(refused)).lines[0].kind == "failure"


def test_bare_line_feeds_are_lines_too() -> None:
    lines = message_text(arrow(INVITE.replace(b"\r\n", b"\n"))).lines
    assert [line.text for line in lines[-2:]] == ["v=0", "c=IN 4"]


def test_a_body_that_is_no_text_is_shown_as_hex() -> None:
    head = INVITE.partition(b"\r\n\r\n")[0]
    lines = message_text(arrow(head + b"\r\n\r\n" + bytes(range(20)))).lines
    assert [line.kind for line in lines[-2:]] == ["hex", "hex"]
    assert lines[-1].text.startswith("0010  10 11 12 13 ")


def test_hex_rows_are_aligned() -> None:
    rows = list(hex_lines(b"RTP\x00" * 5))
    assert rows[0] == "0000  52 54 50 00 52 54 50 00 52 54 50 00 52 54 50 00  RTP.RTP.RTP.RTP."
    assert rows[1].index("RTP.") == rows[0].index("RTP.")


def test_what_is_too_long_to_show_or_was_cut_is_told() -> None:
    head = INVITE.partition(b"\r\n\r\n")[0].replace(b"Content-Length: 11", b"Content-Length: 90000")
    notes = [
        line.text for line in message_text(arrow(head + b"\r\n\r\n" + b"x" * 70_000)).lines if line.kind == "note"
    ]
    assert len(notes) == 2
    assert f"{len(head) + 4 + 70_000 - LONGEST} more bytes" in notes[0]


def state(pairs: list[Pair], name: str) -> list[str]:
    return [pair.state for pair in pairs if pair.name == name]


def test_an_added_via_does_not_shift_the_headers_after_it() -> None:
    forwarded = INVITE.replace(b"Via: ", b"Via: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK2\r\nVia: ", 1)
    forwarded = forwarded.replace(b"Max-Forwards: 70", b"Max-Forwards: 69")
    pairs = compare(arrow(INVITE), arrow(forwarded, 2))
    assert state(pairs, "Via") == ["right", "same"]
    assert state(pairs, "Max-Forwards") == ["changed"]
    assert differences(pairs) == 2


def test_a_compact_name_is_the_same_header() -> None:
    assert differences(compare(arrow(INVITE), arrow(INVITE.replace(b"f: ", b"From: ")))) == 0


def test_only_the_words_that_differ_are_marked() -> None:
    pairs = compare(
        arrow(INVITE), arrow(INVITE.replace(b"sip:18660333777@acme.example SIP", b"sip:9@acme.example SIP"))
    )
    assert [piece.text for piece in pairs[0].left if piece.differs] == ["18660333777"]
    assert [piece.text for piece in pairs[0].right if piece.differs] == ["9"]


def test_bodies_are_compared_line_by_line() -> None:
    other = INVITE.replace(b"v=0\r\nc=IN 4\n", b"v=0\r\na=sendonly\r\nc=IN 4\n").replace(b"Length: 11", b"Length: 23")
    pairs = compare(arrow(INVITE), arrow(other))
    body = pairs[[pair.state for pair in pairs].index("gap") + 1 :]
    assert [pair.state for pair in body] == ["same", "right", "same"]


@pytest.mark.parametrize(
    ("name", "written"), [("call-id", "Call-ID"), ("cseq", "CSeq"), ("p-asserted-identity", "P-Asserted-Identity")]
)
def test_header_names_are_spelled_as_people_know_them(name: str, written: str) -> None:
    assert spelled(name) == written
