"""The ladder for a terminal: what it shows, within its width, and nothing that drives a terminal."""

from __future__ import annotations

import re

import pytest

from ringback.sessions.correlate import build_session
from ringback.sessions.diagram.text import ladder
from ringback.sessions.diagram.words import cells, cut, printable
from ringback.sessions.story import Evidence, Issue, Session
from scenario import play
from told import told

CALL = """
alice = 198.51.100.23:5060
edge  = 192.0.2.10:5060 node=edge cluster
bob   = 203.0.113.9:5060
0.000 alice -> edge INVITE sip:18660333777@acme.example from=100 sdp
0.002 edge -> alice 100
0.003 edge -> bob INVITE
0.100 bob -> edge 180
0.101 edge -> alice 180
2.000 bob -> edge 200 sdp
2.001 edge -> alice 200
2.501,3.501 edge -> alice again 200
4.000 alice -> edge ACK
4.001 edge -> bob ACK
"""


def issue(*numbers: int, severity: str = "critical") -> Issue:
    evidence = tuple(Evidence(number, "because") for number in numbers)
    return Issue("x", severity, "Title", "Words", 1.0, evidence, (), ())  # type: ignore[arg-type]


def many_lanes(count: int) -> Session:
    lines = [f"node{at} = 192.0.2.{at + 1}:5060" for at in range(count)]
    lines.append("0 node0 -> node1 INVITE sip:18660333777@acme.example from=100")
    lines += [f".{at:03} node{at} -> node{at + 1} INVITE" for at in range(1, count - 1)]
    return told("\n".join(lines))


def test_a_call_on_a_wide_terminal() -> None:
    drawn = ladder(told(CALL), 130, colour=False).split("\n")
    assert drawn[0].split() == ["198.51.100.23", "edge", "203.0.113.9"]
    assert drawn[1].split() == ["phone", "far-end"]
    assert re.fullmatch(r"   1  \+0\.000 +│─* INVITE 18660333777@acme\.example ─*▶│ +│", drawn[2])
    assert re.fullmatch(r"   2  \+0\.002 +│◀─* 100 Trying \(INVITE\) ─*│ +│", drawn[3])
    assert re.fullmatch(r"   6  \+2\.000 +│ +│◀─* 200 OK \(INVITE\) ─*│", drawn[7])


def test_retransmissions_are_folded_into_the_first() -> None:
    drawn = ladder(told(CALL), 120, colour=False).split("\n")
    assert sum("200 OK" in line for line in drawn) == 2
    assert "200 OK (INVITE) ×3 over 1.5 s" in drawn[8]


def test_how_often_it_was_sent_is_not_cut_off() -> None:
    assert "×3 over 1.5 s" in ladder(told(CALL), 80, colour=False)


@pytest.mark.parametrize("width", [40, 80, 81, 100, 120, 200])
@pytest.mark.parametrize("lanes", [2, 3, 5, 12, 30])
@pytest.mark.parametrize("unicode", [True, False])
def test_no_line_is_wider_than_the_terminal_while_lanes_fit(width: int, lanes: int, unicode: bool) -> None:
    drawn = ladder(many_lanes(lanes), width, colour=False, unicode=unicode).split("\n")
    if width >= 14 + 3 * lanes:
        assert max(map(cells, drawn)) <= width
    if not unicode:
        assert all(line.isascii() for line in drawn)


def test_many_lanes_are_lettered_and_the_letters_explained() -> None:
    drawn = ladder(many_lanes(12), 80, colour=False).split("\n")
    assert drawn[0] == " A  192.0.2.1:5060 (phone)"
    assert drawn[11] == " L  192.0.2.12:5060 (far-end)"
    assert drawn[12].split() == list("ABCDEFGHIJKL")
    assert "INVITE" in drawn[13]


def test_evidence_is_marked_even_where_it_is_a_folded_retransmission() -> None:
    drawn = ladder(told(CALL), 120, colour=False, issues=[issue(9)]).split("\n")
    assert [line[:4] for line in drawn if line.startswith("►")] == ["►  7"]


def test_colour_is_closed_on_every_line_and_changes_nothing_else() -> None:
    session = told(CALL)
    plain, coloured = (ladder(session, 120, colour=colour, issues=[issue(7)]) for colour in (False, True))
    assert "\x1b[" in coloured
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain
    for line in coloured.split("\n"):
        assert line.count("\x1b[0m") * 2 == line.count("\x1b[")


def test_log_lines_and_media_stand_in_their_place() -> None:
    played = play(CALL + "0.0025 edge ! warning asked in vain\n2.1 alice => bob PCMU 1.0s lost=2 mos=3.9\n")
    drawn = ladder(
        build_session(played.sightings, logs=played.logs, media=played.media, nodes=played.nodes), 120, colour=False
    )
    assert "edge: asked in vain" in drawn.split("\n")[4]
    assert "50 packets, 2 lost (3.8 %), MOS 3.9" in drawn


HOSTILE = "sip:\x1b[2J\x1b]0;owned\x07\u202egpj.exe\u200b@x"


def test_what_was_sent_never_reaches_the_terminal_unescaped() -> None:
    ladder_text = (
        f"a = 192.0.2.1:5060\nb = 192.0.2.2:5060\n0 a -> b OPTIONS {HOSTILE}\n.1 b -> a 200 \x1b[31mOK\x08\x9b"
    )
    for width in (60, 200):
        for unicode in (True, False):
            drawn = ladder(told(ladder_text), width, colour=False, unicode=unicode)
            assert all(character.isprintable() or character == "\n" for character in drawn)
    assert r"\x1b[2J" in ladder(told(ladder_text), 200, colour=False)


def test_wide_characters_take_two_columns() -> None:
    assert cells("電話") == 4
    assert cut("電話番号", 5) == "電話…"
    assert cells("e\u0301") == 1
    assert printable("a\tb") == r"a\x09b"
    drawn = ladder(
        told("a = 192.0.2.1:5060\nb = 192.0.2.2:5060\n0 a -> b OPTIONS sip:電話番号電話番号電話番号@x"),
        60,
        colour=False,
    )
    assert max(map(cells, drawn.split("\n"))) <= 60


def test_a_message_to_oneself_is_drawn_as_a_turn() -> None:
    drawn = ladder(told("a = 192.0.2.1:5060\n0 a -> a OPTIONS sip:a@192.0.2.1"), 100, colour=False)
    assert "↺ OPTIONS sip:a@192.0.2.1" in drawn


def test_the_correction_of_a_clock_is_told_in_the_head() -> None:
    session = told(CALL)
    session.participants[1].skew_us = -1_500_000
    assert "clock -1.500 s" in ladder(session, 120, colour=False).split("\n")[1]
