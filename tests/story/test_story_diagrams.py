"""The SVG diagrams: what they show, that they are sound markup, and that nothing sent gets out of its text."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ringback.sessions.correlate import build_session
from ringback.sessions.diagram.style import STYLE
from ringback.sessions.diagram.svg import Flow, advanced_flow, advanced_svg, basic_svg
from ringback.sessions.diagram.words import cells, wrapped
from ringback.sessions.story import Evidence, Issue, NodeInfo, Session
from scenario import play
from told import told

REFUSED = """
alice = 198.51.100.23:5060 ua=Yealink/T46S
edge  = 192.0.2.10:5060 agent=101 node=edge cluster
0.000 alice -> edge INVITE sip:18660333777@acme.example from=12103355787 sdp
0.002 edge -> alice 100
0.040 edge ! error rate 1866 is forbidden
0.041 edge -> alice 403 Destination forbidden
0.063 alice -> edge ACK
"""
CHAIN = """
alice = 198.51.100.23:5060
edge  = 192.0.2.10:5060 agent=101 node=edge cluster
core  = 192.0.2.20:5060 agent=102 node=core cluster skew=2
bob   = 203.0.113.9:5060
0.000 alice -> edge INVITE sip:18660333777@acme.example from=12103355787 sdp
0.002 edge -> alice 100
0.003 edge -> core INVITE
0.004 core -> edge 100
0.804 core -> bob INVITE
1.304,2.304,4.304 core -> bob again INVITE
5.000 bob -> core 200 sdp
5.001 core -> edge 200
5.002 edge -> alice 200
5.003 alice -> edge ACK
"""


def issue(*numbers: int, severity: str = "critical") -> Issue:
    evidence = tuple(Evidence(number, "because") for number in numbers)
    return Issue("x", severity, "Title", "Words", 1.0, evidence, (), ())  # type: ignore[arg-type]


def story(ladder: str) -> Session:
    played = play(ladder)
    return build_session(played.sightings, logs=played.logs, media=played.media, nodes=played.nodes)


def tree(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<root>{markup}</root>")


def words(markup: str) -> list[str]:
    """What a reader sees."""
    shown = []
    for text in tree(markup).iter("{http://www.w3.org/2000/svg}text"):
        shown.append(
            "".join((part.tail or "") if part is not text else "" for part in text.iter()) or (text.text or "")
        )
    return shown


def classes(markup: str, number: int) -> set[str]:
    (found,) = [element for element in tree(markup).iter() if element.get("data-number") == str(number)]
    return set((found.get("class") or "").split())


def test_the_basic_diagram_shows_the_phone_the_switch_and_who_was_never_reached() -> None:
    drawn = basic_svg(story(REFUSED), [issue(3, 4)], {"12103355787": "John Doe's phone"})
    assert words(drawn)[:6] == [
        "John Doe's phone", "Yealink · 198.51.100.23", "Your switch", "edge", "18660333777", "never reached",
    ]  # fmt: skip
    assert "✕ 403 Destination forbidden" in words(drawn)
    assert "rate 1866 is forbidden" in words(drawn)
    assert {"failing", "evidence", "refusal"} <= classes(drawn, 4)
    assert "failing" not in classes(drawn, 1)


@pytest.mark.parametrize("severity", ["warning", "notice"])
def test_what_worked_all_the_same_is_marked_but_not_as_failed(severity: str) -> None:
    for draw in (basic_svg, advanced_svg):
        drawn = draw(story(REFUSED), [issue(3, 4, severity=severity)])
        assert "evidence" in classes(drawn, 4)
        assert "failing" not in classes(drawn, 4)


def test_the_basic_diagram_draws_the_whole_switch_as_one_lane() -> None:
    drawn = basic_svg(story(CHAIN))
    assert words(drawn)[:6] == [
        "12103355787",
        "198.51.100.23",
        "Your switch",
        "edge · core",
        "18660333777",
        "203.0.113.9",
    ]
    assert "INVITE 18660333777 ×4 over 3.5 s" in words(drawn)
    numbers = [element.get("data-number") for element in tree(drawn).iter() if element.get("data-number")]
    assert numbers == ["1", "2", "5", "9", "11", "12"], "what went on inside is left out"


def test_parties_without_a_switch_between_them_are_drawn_as_they_are() -> None:
    session = told("a = 192.0.2.1:5060\nb = 192.0.2.2:5060\n0 a -> b INVITE sip:200@x from=100\n.1 b -> a 486")
    drawn = words(basic_svg(session))
    assert drawn[:4] == ["100", "192.0.2.1", "200", "192.0.2.2"]
    assert "Your switch" not in drawn


def test_nodes_of_the_switch_among_themselves_are_drawn_one_by_one() -> None:
    session = told(
        "edge = 192.0.2.1:5060 node=edge cluster\ncore = 192.0.2.2:5060 node=core cluster\n"
        "0 edge -> core OPTIONS sip:core@x\n.1 core -> edge 200"
    )
    drawn = words(basic_svg(session))
    assert "edge" in drawn
    assert "core" in drawn
    assert "Your switch" not in drawn


def test_a_request_that_nobody_answered_ends_in_a_cross() -> None:
    session = story(
        "alice = 192.0.2.1:5060\nedge = 192.0.2.2:5060\n"
        "0 alice -> edge INVITE sip:200@x from=100\n.5,1.5 alice -> edge again INVITE"
    )
    for drawn in (basic_svg(session, [issue(1)]), advanced_svg(session, [issue(1)])):
        assert 'class="cross"' in drawn
        assert any("×3 over 1.5 s" in text for text in words(drawn))
    assert 'class="cross"' not in basic_svg(session)


def test_a_basic_diagram_of_a_long_call_is_shortened_and_says_so() -> None:
    ladder = "alice = 192.0.2.1:5060\nbob = 192.0.2.2:5060\n0 alice -> bob INVITE sip:200@x from=100\n.1 bob -> alice 200\n"
    ladder += "".join(f"{at} alice -> bob INFO\n{at}.1 bob -> alice 200\n" for at in range(1, 60))
    drawn = basic_svg(story(ladder + "90 alice -> bob INFO\n90.1 bob -> alice 481"), [issue(122)])
    assert "82 further messages are in the timeline." in words(drawn)
    assert any("481" in text for text in words(drawn))


def test_the_lanes_of_the_flow_are_the_nodes_in_path_order_and_the_switch_stands_on_a_band() -> None:
    flow = advanced_flow(story(CHAIN))
    assert words(flow.head) == [
        "your switch", "198.51.100.23:5060", "phone", "edge", "", "core", "clock -2.000 s", "203.0.113.9:5060", "far-end",
    ]  # fmt: skip
    assert 'class="band"' in flow.head
    assert all('class="band"' in part.svg for part in flow.parts)


def test_each_hop_is_drawn_once_with_a_tick_for_every_probe_that_saw_it() -> None:
    drawn = advanced_svg(story(CHAIN))
    (hop,) = [element for element in tree(drawn).iter() if element.get("data-number") == "3"]
    assert len([one for one in hop.iter() if one.get("class") == "tick"]) == 2
    assert "seen by 101, 102" in (hop.get("aria-label") or "")
    assert any("×4 over 3.5 s" in text for text in words(drawn))


def test_the_time_that_a_node_held_a_message_stands_on_its_lane() -> None:
    drawn = advanced_svg(story(CHAIN))
    held = re.findall(r'class="hold[^"]*"[^>]*><title>([^<]*)', drawn)
    assert any(re.fullmatch(r"held INVITE 80\d\.\d ms", title) for title in held)
    assert 'class="hold long"' in drawn
    assert any(text.startswith("held INVITE 80") for text in words(drawn))


def test_legs_are_told_apart_by_letter_and_line() -> None:
    session = told(
        "a = 192.0.2.1:5060\nb = 192.0.2.2:5060\nc = 192.0.2.3:5060\n0 a -> b INVITE sip:2@x from=1\n"
        ".1 b -> c INVITE sip:3@x from=1 leg=b\n    X-CID: a-call@acme.example"
    )
    drawn = advanced_svg(session)
    assert "leg-0" in classes(drawn, 1)
    assert "leg-1" in classes(drawn, 2)
    assert {"a", "b"} <= set(words(drawn))


def long_story(quiet: int) -> Session:
    ladder = "alice = 192.0.2.1:5060\nbob = 192.0.2.2:5060\n0 alice -> bob INVITE sip:200@x from=100\n.1 bob -> alice 200\n"
    ladder += "".join(f"{at} alice -> bob INFO\n{at}.1 bob -> alice 200\n" for at in range(1, quiet + 1))
    return story(
        ladder + "900 alice -> bob INFO\n900.1 bob -> alice 481\n901 alice -> bob BYE\n901.1 bob -> alice 200"
    )


def shape(flow: Flow) -> list[tuple[int, bool]]:
    return [(part.messages, part.folded) for part in flow.parts]


def test_long_healthy_stretches_are_folded_and_what_matters_stays_in_sight() -> None:
    session = long_story(100)
    flow = advanced_flow(session, [issue(204)])
    assert shape(flow) == [(3, False), (199, True), (4, False)]
    assert "481" in flow.parts[2].svg
    markup = advanced_svg(session, [issue(204)])
    assert re.search(
        r"<details class=\"flow-fold\"><summary>199 messages in \d+\.\d s, nothing unusual</summary>", markup
    )
    assert shape(advanced_flow(session, fold=False)) == [(206, False)]


def test_a_short_story_is_not_folded() -> None:
    assert shape(advanced_flow(long_story(10))) == [(26, False)]


def test_every_message_is_drawn_in_exactly_one_part() -> None:
    session = long_story(100)
    drawn = advanced_svg(session, [issue(204), issue(101)])
    numbers = [int(found) for found in re.findall(r'data-number="(\d+)"', drawn)]
    assert numbers == [arrow.number for arrow in session.arrows]


HOSTILE = '<script>alert(1)</script>"onload="x&amp;\x1b[2J\u202e'


def hostile() -> Session:
    session = told(
        f"a = 192.0.2.1:5060\nb = 192.0.2.2:5060 agent=7\n0 a -> b INVITE sip:2@x from={HOSTILE}\n.1 b -> a 403 {HOSTILE}"
    )
    for participant in session.participants:
        participant.label = HOSTILE
        participant.colour = 'red" onload="x'
        participant.user_agent = HOSTILE
        participant.skew_us = 5_000_000
    return session


@pytest.mark.parametrize("standalone", [True, False])
def test_nothing_that_was_sent_becomes_markup(standalone: bool) -> None:
    session = hostile()
    names = {"192.0.2.1": HOSTILE, "2": HOSTILE}
    drawings = (
        basic_svg(session, [issue(2)], names, standalone=standalone),
        advanced_svg(session, [issue(2)], standalone=standalone),
    )
    allowed = {
        "root",
        "svg",
        "style",
        "g",
        "a",
        "rect",
        "line",
        "path",
        "text",
        "title",
        "circle",
        "details",
        "summary",
    }
    for drawn in drawings:
        for element in tree(drawn).iter():
            assert element.tag.rpartition("}")[2] in allowed
            assert not [name for name in element.attrib if name.startswith("on") or name == "style"]
            assert re.fullmatch(r"#m\d+", element.get("href", "#m1"))
        assert "\x1b" not in drawn
        assert "\u202e" not in drawn


def test_a_colour_of_the_register_is_shown_in_the_head() -> None:
    nodes = [NodeInfo("edge", "edge", True, "#1f5fbf", addresses=frozenset({"192.0.2.10"}))]
    session = build_session(play(REFUSED).sightings, nodes=nodes)
    assert 'fill="#1f5fbf"' in advanced_flow(session).head


def test_on_a_page_every_arrow_is_a_link_and_in_a_file_it_can_be_focused() -> None:
    session = story(REFUSED)
    links = re.findall(
        r'<a class="[^"]*" href="#m(\d+)" data-number="(\d+)" aria-label="[^"]+"><title>', advanced_svg(session)
    )
    assert links == [(number, number) for number in ("1", "2", "3", "4", "5")]
    alone = advanced_svg(session, standalone=True)
    assert "<a " not in alone
    assert len(re.findall(r'tabindex="0" data-number="\d+"', alone)) == 5


def test_a_file_of_its_own_is_one_document_with_its_style_and_everything_in_it() -> None:
    session = long_story(100)
    root = ElementTree.fromstring(advanced_svg(session, standalone=True))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    style = root.find("{http://www.w3.org/2000/svg}style")
    assert style is not None
    assert "prefers-color-scheme:dark" in (style.text or "")
    assert len([one for one in root.iter() if one.get("data-number")]) == len(session.arrows)


def test_text_that_is_cut_stands_whole_in_its_title() -> None:
    session = story(REFUSED.replace("rate 1866 is forbidden", "a very long line " * 30))
    for draw in (basic_svg, advanced_svg):
        drawn = draw(session, [issue(3)])
        assert re.search(r"<title>#3 [^<]*edge: (a very long line ){29}a very long line ?</title>", drawn)
        assert re.search(r"<text [^>]*>[^<]*…</text>", drawn)


@pytest.mark.parametrize("text", ["403 Premium numbers are not allowed", "x" * 90, "中" * 40, " - ", "- a", ""])
@pytest.mark.parametrize("room", [1, 8, 30])
def test_words_are_wrapped_into_the_room_that_there_is(text: str, room: int) -> None:
    lines = wrapped(text, room, 200)
    assert all(cells(line) <= max(room, 2) for line in lines)
    if room > 1:  # a wide character takes two
        assert "".join("".join(lines).split()) == "".join(text.split())
    few = wrapped(text, room, 2)
    assert len(few) <= 2
    assert few == lines or few[-1].endswith("…")


def test_words_break_after_a_space_or_a_hyphen() -> None:
    assert wrapped("refused: destination-forbidden", 24, 2) == ["refused: destination-", "forbidden"]
    assert wrapped("403 Premium numbers are not allowed", 27, 2) == ["403 Premium numbers are not", "allowed"]


def test_the_style_that_pages_load_is_the_style_of_the_diagrams() -> None:
    import ringback.web

    served = Path(ringback.web.__file__).parent / "static" / "css" / "diagram.css"
    assert served.read_text() == STYLE, (
        "run: python -m ringback.sessions.diagram.style > src/ringback/web/static/css/diagram.css"
    )


def test_every_class_that_is_drawn_has_a_rule_or_is_only_a_name() -> None:
    names = {"flow-head", "flow-body", "msg", "participant", "success", "request", "entry", "leg-0", "leg-1"}
    session = story(CHAIN + "6 edge ! info x\n6.1 alice => bob PCMU 1.0s\n")
    drawn = (
        basic_svg(session, [issue(5)])
        + advanced_svg(session, [issue(5)], standalone=True)
        + advanced_svg(long_story(100))
    )
    used = {name for found in re.findall(r'class="([^"]*)"', drawn) for name in found.split()}
    assert {name for name in used - names if not re.search(rf"\.{name}\b", STYLE)} == set()
