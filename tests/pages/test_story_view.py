"""An opened session as its page shows it."""

from ringback.sessions.correlate import build_sessions
from ringback.sessions.pages import story_view
from ringback.sessions.schemas import OpenedSession
from ringback.sessions.story import Evidence, Issue, Step
from scenario import play

LANES = """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060     agent=101 node=edge cluster
    bob   = 203.0.113.9:5060    ua=Snom
"""
ANSWERED = f"""{LANES}
    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp
    +.002  edge -> alice  100
    +.001  edge -> bob    INVITE sip:18660333777@203.0.113.9
    0.500  bob -> edge    180
    +.001  edge -> alice  180
    2.500  bob -> edge    200 sdp
    +.001  edge -> alice  200
    +.020  alice -> edge  ACK
    +.001  edge -> bob    ACK
    2.6    alice => bob   PCMA 7.5s lost=50 mos=2.9
    3.000  edge ! warning audio is late
"""
INFOS = "".join(
    f"    {10 + at}.0 alice -> edge INFO as=caller\n    +.001 edge -> bob INFO\n"
    f"    +.01 bob -> edge {'500' if at == 20 else '200'}\n    +.001 edge -> alice {'500' if at == 20 else '200'}\n"
    for at in range(40)
)


def opened(ladder: str, *issues: Issue) -> OpenedSession:
    played = play(ladder)
    (session,) = build_sessions(played.sightings, logs=played.logs, media=played.media, nodes=played.nodes)
    return OpenedSession("20261122-0000000000000001", session, list(issues))


def issue(severity: str, *numbers: int, steps: tuple[Step, ...] = ()) -> Issue:
    evidence = tuple(Evidence(number, f"because of #{number}") for number in numbers)
    return Issue("x", severity, "X", "x", 1.0, evidence, (), steps)  # type: ignore[arg-type]


def test_the_timeline_holds_every_entry_with_its_lanes() -> None:
    one = opened(ANSWERED)
    shown = story_view.timeline(one)
    rows = [row for stretch in shown.stretches for row in stretch.rows]
    assert [row.number for row in rows] == [entry.number for entry in one.session.entries]
    assert rows[0].text == "INVITE sip:18660333777@acme.example"
    assert rows[0].destination == "edge"
    assert {kind: count for kind, _, count in shown.kinds}["sip"] == 9
    assert shown.total == shown.shown == len(rows)


def test_a_filter_keeps_what_is_of_the_kind_and_touches_the_node() -> None:
    one = opened(ANSWERED)
    bob = story_view.timeline(one, kind="sip", node="203.0.113.9:5060")
    assert bob.shown == 4
    assert all("203.0.113.9:5060" in (row.source, row.destination) for row in bob.stretches[0].rows)
    assert bob.total == len(one.session.entries)
    assert story_view.timeline(one, kind="billing").stretches == []


def test_evidence_says_why_and_only_what_the_story_turns_on_is_red() -> None:
    ladder = ANSWERED.replace("2.500  bob -> edge    200 sdp", "2.500  bob -> edge    486").partition("    +.020")[0]
    shown = story_view.timeline(opened(ladder, issue("critical", 3, 6), issue("warning", 3, 4), issue("notice", 2)))
    rows = {row.number: row for row in shown.stretches[0].rows}
    assert {number: row.tone for number, row in rows.items() if row.why} == {2: "", 3: "warn", 4: "warn", 6: "bad"}
    assert rows[3].why == ["because of #3"]


def test_a_long_story_folds_what_is_healthy_and_keeps_what_failed_in_sight() -> None:
    one = opened(ANSWERED + INFOS)
    shown = story_view.timeline(one)
    assert [stretch.folded for stretch in shown.stretches] == [False, True, False, True, False]
    visible = [row for stretch in shown.stretches if not stretch.folded for row in stretch.rows]
    assert sum(row.failure for row in visible) == 2
    assert sum(len(stretch.rows) for stretch in shown.stretches) == len(one.session.entries)
    assert not any(row.failure for stretch in shown.stretches if stretch.folded for row in stretch.rows)


def test_nothing_is_folded_where_everything_was_asked_for() -> None:
    assert [stretch.folded for stretch in story_view.timeline(opened(ANSWERED + INFOS), unfolded=True).stretches] == [
        False
    ]


def test_evidence_is_never_folded_away() -> None:
    shown = story_view.timeline(opened(ANSWERED + INFOS, issue("notice", 40)))
    assert 40 in [row.number for stretch in shown.stretches if not stretch.folded for row in stretch.rows]


def test_steps_stand_by_role_support_first() -> None:
    steps = (Step("noc", "a"), Step("support", "b"), Step("noc", "c"), Step("carrier", "d"))
    assert story_view.steps_by_role(issue("critical", steps=steps)) == [
        ("Support", ["b"]), ("NOC", ["a", "c"]), ("Carrier", ["d"]),
    ]  # fmt: skip


def test_facts_tell_who_when_and_by_what() -> None:
    facts = {fact.name: fact.text for fact in story_view.facts(opened(ANSWERED))}
    assert (facts["Caller"], facts["Called"]) == ("12103355787", "18660333777")
    assert facts["Post-dial delay"] == "0.501 s"
    assert facts["Ring time"] == "2.0 s"
    assert facts["Nodes"] == "edge"
    assert "Talk time" not in facts  # no BYE was seen


def test_poor_audio_is_marked_at_the_figure_that_is_poor() -> None:
    (stream,) = opened(ANSWERED).session.media
    assert story_view.stream_troubles(stream) == {"loss": True, "jitter": False, "mos": True}


def test_where_the_catalogue_is_silent_what_happened_is_told() -> None:
    assert story_view.unnamed_answer(opened(ANSWERED).session) == (
        "ok", "Nothing unusual", "12103355787 called 18660333777, who answered after 2.5 s; no end was seen yet.",
    )  # fmt: skip


def test_a_failure_without_a_name_is_not_called_nothing_unusual() -> None:
    tone, title, text = story_view.unnamed_answer(opened(ANSWERED + INFOS).session)
    assert (tone, title) == ("neutral", "No known issue")
    assert "2 messages below say that something failed" in text
