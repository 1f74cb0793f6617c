"""The billing log in the story: the engine has a lane, its steps their order, and asking and answering are arrows."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

import pytest

from ringback.sessions.billing_log import short_words
from ringback.sessions.classic import billing_lines, classic_text
from ringback.sessions.correlate import build_session
from ringback.sessions.diagram.drawing import MONO_PX
from ringback.sessions.diagram.svg import advanced_svg, basic_svg
from ringback.sessions.diagram.text import ladder
from ringback.sessions.documents import traced_document
from ringback.sessions.story import Evidence, Issue, LogLine, NodeInfo, Session
from scenario import Played, play

REFUSED = """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060     agent=101 node=edge cluster

    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp
    +.002  edge -> alice  100
    +.001  edge $ request engine=ringback account=12103355787: 12103355787 asks to call 18660333777
    +.001  edge $ rate engine=ringback prefix=1866: Rate 1866 found, forbidden
    +.001  edge $ decision engine=ringback result=refused reason=destination-forbidden: Refused, as the destination is forbidden
    +.01   edge -> alice  403 Destination forbidden
    +.01   alice -> edge  ACK
"""


def told(played: Played, nodes: tuple[NodeInfo, ...] = ()) -> Session:
    return build_session(played.sightings, logs=played.logs, nodes=[*played.nodes, *nodes])


def said(session: Session) -> list[tuple[str, str, str]]:
    return [(one.log.fields.get("step", ""), one.source, one.destination) for one in session.entries if one.log]


def test_the_engine_has_a_lane_in_the_switch_and_the_node_asks_it() -> None:
    session = told(play(REFUSED))
    assert [(one.label, one.kind, one.cluster) for one in session.participants] == [
        ("198.51.100.23:5060", "phone", False), ("edge", "edge", True), ("Billing engine", "billing", True),
    ]  # fmt: skip
    assert said(session) == [
        ("request", "edge", "Billing engine"), ("rate", "Billing engine", ""), ("decision", "Billing engine", "edge"),
    ]  # fmt: skip


def test_steps_of_one_moment_keep_the_order_in_which_an_engine_takes_them() -> None:
    played = play(REFUSED)
    for line in played.logs:
        line.time_us = played.logs[0].time_us
    played.logs.reverse()
    assert [step for step, _, _ in said(told(played))] == ["request", "rate", "decision"]


@pytest.mark.parametrize(
    ("node", "fields", "lane", "source", "destination"),
    [
        ("edge", {}, "Billing engine", "Billing engine", "edge"),
        ("101", {"engine": "CGRateS"}, "CGRateS", "CGRateS", "edge"),
        ("192.0.2.10", {}, "Billing engine", "Billing engine", "edge"),
        ("oldbill", {}, "oldbill", "oldbill", ""),
        ("oldbill", {"asked_by": "edge"}, "oldbill", "oldbill", "edge"),
        ("nobody-knows", {"engine": "ringback"}, "Billing engine", "Billing engine", ""),
        ("", {}, "Billing engine", "Billing engine", ""),
        ("books1", {}, "books1", "books1", ""),  # registered as a billing node
        ("pbx9", {"engine": "ringback"}, "Billing engine", "Billing engine", "pbx9"),  # registered, and sent no SIP
        ("edge", {"engine": "edge"}, "edge (billing)", "edge (billing)", "edge"),
    ],
)
def test_who_decided_and_who_had_asked(
    node: str, fields: dict[str, str], lane: str, source: str, destination: str
) -> None:
    played = play(REFUSED)
    line = LogLine(played.logs[0].time_us, "billing", node, "info", "No.", "", {"result": "refused", **fields})
    played.logs[:] = [line]
    register = (NodeInfo("books1", "billing", True), NodeInfo("pbx9", "core", True))
    session = told(played, register)
    assert lane in [one.label for one in session.participants]
    (entry,) = [one for one in session.entries if one.log]
    assert (entry.source, entry.destination) == (source, destination)


def test_the_engines_clock_is_not_the_nodes() -> None:
    """The stamps of the core, which asked, are 5 s ahead and corrected; the engine's are left as they are."""
    played = play(
        REFUSED.replace("\n\n", "\n    core  = 192.0.2.20:5060 agent=102 node=core cluster skew=5\n\n")
        + "    +.01 edge -> core OPTIONS sip:core@192.0.2.20 leg=b\n    +.001 core -> edge 200 leg=b\n"
    )
    for line in played.logs:
        line.node = "core"
    session = told(played)
    assert next(one for one in session.participants if one.label == "core").skew_us != 0
    assert [one.time_us for one in session.entries if one.log] == [line.time_us for line in played.logs]


@pytest.mark.parametrize(
    ("apart_s", "told_us"), [(0.012, -2_001), (-0.009, 6_000), (1.2, -1_190_001), (-1.2, 1_197_000)]
)
def test_an_engine_whose_clock_is_off_is_put_between_question_and_answer(apart_s: float, told_us: int) -> None:
    played = play(REFUSED)
    for line in played.logs:
        line.time_us += round(apart_s * 1e6)
    session = told(played)
    lines = [entry.number for entry in session.entries if entry.log]
    refusal = next(arrow.number for arrow in session.arrows if arrow.sip.status == 403)
    assert session.arrows[0].number < lines[0] < lines[-1] < refusal
    engine = next(one for one in session.participants if one.kind == "billing")
    assert engine.skew_us == pytest.approx(told_us, abs=200)


@pytest.mark.parametrize("apart_s", [0.0005, 3.0])
def test_a_clock_that_stands_well_or_too_far_off_is_left_alone(apart_s: float) -> None:
    played = play(REFUSED)
    for line in played.logs:
        line.time_us += round(apart_s * 1e6)
    session = told(played)
    assert [one.time_us for one in session.entries if one.log] == [line.time_us for line in played.logs]
    assert all(one.skew_us == 0 for one in session.participants)


def test_lines_that_no_correction_would_put_right_are_left_alone() -> None:
    """The engine was asked for 2 s, and the node had answered long before."""
    played = play(REFUSED)
    played.logs[2].time_us += 2_000_000
    assert [one.time_us for one in told(played).entries if one.log] == [line.time_us for line in played.logs]


def test_the_ladder_draws_asking_and_answering() -> None:
    lines = ladder(told(play(REFUSED)), 110, False).splitlines()
    assert "12103355787 asks" not in lines[4]
    assert lines[4].rstrip().endswith("▶│")
    assert "may it begin?" in lines[4]
    assert lines[5].split("  ", 3)[-1].strip().endswith("Billing engine: Rate 1866 found, forbidden")
    assert "│◀" in lines[6]
    assert "refused: destination" in lines[6]


def test_both_diagrams_have_the_arrows_and_the_refusal_is_marked() -> None:
    session = told(play(REFUSED))
    for drawn in (basic_svg(session), advanced_svg(session, standalone=True)):
        assert "Billing engine" in drawn
        assert drawn.count('class="msg asked') == 2
        assert drawn.count('class="msg asked refused') == 1
        assert "✕ refused: destination" in drawn
    assert "Rate 1866 found" in advanced_svg(session)
    assert "Rate 1866 found" not in basic_svg(session)  # no issue rests on it


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"result": "allowed"}, "allowed"),
        ({"result": "allowed", "max_seconds": "104"}, "allowed, 104 s at most"),
        ({"result": "allowed", "max_seconds": "7200"}, "allowed, 2 h at most"),
        ({"result": "allowed", "max_seconds": "10000"}, "allowed, 2 h 46 min 40 s at most"),
        ({"result": "allowed", "max_seconds": "nan"}, "allowed"),
        ({"result": "allowed", "max_seconds": "-7"}, "allowed"),
        ({"result": "refused", "max_seconds": "60"}, "refused"),
        ({"result": "refused", "reason": "in_use"}, "refused: in_use"),
    ],
)
def test_a_decision_in_few_words(fields: dict[str, str], said: str) -> None:
    assert short_words(LogLine(0, "billing", "edge", "info", "", "", {"step": "decision", **fields})) == said


def test_billing_texts_stay_between_their_lanes_and_what_counts_is_whole() -> None:
    """By node: a step that does not fit is its name; one that an issue rests on is wrapped, the row as high as it takes."""
    played = play(REFUSED)
    played.logs[
        1
    ].text = "18660333777 is 1866 (Premium numbers of the United States and Canada) in the tariff Home: forbidden."
    played.logs[2].text = "Refused " * 20
    session = told(played)
    number = next(one.number for one in session.entries if one.log is played.logs[1])
    issue = Issue("x", "critical", "", "", 1.0, (Evidence(number, ""),), (), ())
    assert ">Rate<" in advanced_svg(session)
    for drawn in (advanced_svg(session, [issue]), basic_svg(session, [issue])):
        (row,) = re.findall(rf'data-number="{number}".*?</a>', drawn)
        lines = re.findall(r'<text x="([\d.]+)" [^>]*class="words[^>]*>([^<]*)<', row)
        assert " ".join(words for _, words in lines) == played.logs[1].text
        assert len(lines) > 1
        lanes = [float(x) for x in re.findall(r'<line class="life[^"]*" x1="([\d.]+)"', drawn)]
        for x, words in lines:  # at the left or the right of a lane, and nearer to it than the next is
            room = min(abs(lane - float(x)) for lane in lanes if abs(lane - float(x)) > 20)
            assert len(words) * MONO_PX < room
    heights = [
        int(re.findall(r'height="(\d+)"', drawn)[0]) for drawn in (basic_svg(session), basic_svg(session, [issue]))
    ]
    assert heights[1] > heights[0]


def test_on_a_phone_the_whole_basic_diagram_is_as_wide_as_the_screen() -> None:
    session = told(
        play(REFUSED.replace("403 Destination forbidden", "403 Calls to premium numbers are not allowed for you"))
    )
    drawn = basic_svg(session, narrow=True)
    assert re.search(r'<svg [^>]*class="flow basic narrow" width="360"', drawn)
    for x, words in re.findall(r'<text x="([\d.]+)" [^>]*class="words[^>]*>([^<]*)<', drawn):
        half = len(words) * MONO_PX / 2
        assert float(x) - half >= -1, words
        assert float(x) + half <= 361, words
    assert "✕ refused: destination-forbidden" in drawn


def test_a_call_without_billing_lines_has_no_lane_for_billing() -> None:
    played = play(REFUSED)
    played.logs.clear()
    session = told(played)
    assert "Billing" not in basic_svg(session) + advanced_svg(session) + ladder(session, 100, False)


def test_the_document_tells_step_and_ends() -> None:
    entry = traced_document("x", told(play(REFUSED)), [])["timeline"][2]
    assert (entry["kind"], entry["step"], entry["source"], entry["destination"]) == (
        "billing", "request", "edge", "Billing engine",
    )  # fmt: skip


class TestClassic:
    def test_one_line_a_step_in_columns(self) -> None:
        assert billing_lines(told(play(REFUSED))).splitlines() == [
            "2026-11-22  Billing engine, asked by edge",
            "12:00:00.003  Request   12103355787 asks to call 18660333777",
            "12:00:00.004  Rate      Rate 1866 found, forbidden",
            "12:00:00.005  Decision  Refused, as the destination is forbidden",
        ]

    @pytest.mark.parametrize(
        ("node", "fields", "said"),
        [
            ("edge", {"engine": "CGRateS"}, "CGRateS, asked by edge"),
            ("101", {"engine": "ringback"}, "Billing engine, asked by edge"),  # by its capture id
            ("nobody-knows", {"engine": "ringback"}, "Billing engine, asked by nobody-knows"),
            ("oldbill", {"asked_by": "edge"}, "oldbill, asked by edge"),
            ("oldbill", {}, "oldbill"),
            ("", {}, "Billing engine"),
        ],
    )
    def test_the_engine_has_the_word_and_who_asked_is_named(
        self, node: str, fields: dict[str, str], said: str
    ) -> None:
        played = play(REFUSED)
        played.logs[2].node, played.logs[2].fields = node, {"result": "refused", **fields}
        lines = billing_lines(told(played)).splitlines()
        head = next(line for line in reversed(lines) if line.startswith("2026-"))
        assert head == f"2026-11-22  {said}"

    def test_in_the_readers_zone_with_each_day(self) -> None:
        played = play(REFUSED)
        played.logs[2].time_us += 5 * 3_600_000_000
        lines = billing_lines(told(played), ZoneInfo("Asia/Tokyo")).splitlines()
        assert [lines[0][:10], lines[1][:12], lines[3][:10], lines[4][:12]] == [
            "2026-11-22", "21:00:00.003", "2026-11-23", "02:00:00.005",
        ]  # fmt: skip

    def test_a_file_names_the_session(self) -> None:
        played = play(REFUSED)
        played.logs[0].fields["conf_id"] = "00000001000000020000000300000004"
        text = classic_text(told(played))
        assert text.startswith("Billing log of the session 12103355787 -> 18660333777 of 2026-11-22T12:00:00")
        assert (
            "Call-ID a-call@acme.example\nBilling session 00000001000000020000000300000004\nTimes in UTC\n\n2026"
            in text
        )

    def test_nothing_of_a_line_drives_the_terminal(self) -> None:
        played = play(REFUSED)
        played.logs[0].text = "two\nlines \x1b[31mred"
        played.logs[0].node = "ed\x07ge"
        played.logs[0].fields["engine"] = "bill\x1bing"
        assert "\x1b" not in classic_text(told(played))
        assert "two lines �[31mred" in classic_text(told(played))

    def test_without_lines(self) -> None:
        played = play(REFUSED)
        played.logs.clear()
        assert billing_lines(told(played)) == ""
        assert "No line of a billing log came with this session." in classic_text(told(played))
