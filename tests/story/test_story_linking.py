"""Legs to sessions: what is certain, what is likely, what is neither; in memory and over stored rows alike."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from ringback.events.store import LegPage, LegQuery, LegRow, NumberPattern, Role
from ringback.sessions.correlate import build_session, build_sessions
from ringback.sessions.keys import correlation_keys
from ringback.sessions.story import Link, Session
from ringback.sessions.trace import close_over
from scenario import START_US, play
from told import all_told

PEOPLE = """
alice = 198.51.100.23:5060
pbx   = 192.0.2.10:5060
bob   = 203.0.113.9:5060
carol = 203.0.113.10:5060
"""
FIRST = "0 alice -> pbx INVITE sip:18660333777@acme.example from=12103355787 sdp\n"


def linked(second: str, first: str = FIRST) -> list[Session]:
    return all_told(PEOPLE + first + second)


NAMING = {
    "X-CID": "X-CID header",
    "X-Call-ID": "X-Call-ID header",
    "Replaces": "Replaces header",
    "Join": "Join header",
    "In-Reply-To": "In-Reply-To header",
}


@pytest.mark.parametrize("header", NAMING)
def test_a_header_that_names_another_leg_links_the_two_for_certain(header: str) -> None:
    value = "a-call@acme.example" + (";to-tag=1;from-tag=2" if header in ("Replaces", "Join") else "")
    (session,) = linked(f"900 carol -> bob INVITE sip:9@acme.example from=8 leg=b\n    {header}: {value}")
    (link,) = session.links
    assert (link.from_call_id, link.to_call_id, link.confidence) == (
        "a-call@acme.example",
        "b-call@acme.example",
        1.0,
    )
    assert link.because == NAMING[header]


@pytest.mark.parametrize(
    ("first", "second", "because"),
    [
        ("    Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000",
         "    Session-ID: 47755a9de7794ba387653f2099600ef2;remote=ab30317f1a784dc48ff824d0d3715d86", "same Session-ID"),
        ("    P-Charging-Vector: icid-value=1234bc", "    P-Charging-Vector: icid-value=1234bc", "same charging id (icid)"),
        ("    Cisco-GUID: 1-2-3-4", "    h323-conf-id: 00000001 00000002 00000003 00000004", "same billing session"),
    ],
)  # fmt: skip
def test_a_key_that_two_legs_share_links_them_for_certain(first: str, second: str, because: str) -> None:
    (session,) = linked(f"5 carol -> bob INVITE sip:9@acme.example from=8 leg=b\n{second}", f"{FIRST}{first}\n")
    assert [(link.because, link.confidence) for link in session.links] == [(because, 1.0)]


@pytest.mark.parametrize("suffix", ["_b2b-1", "_pbx-1", "~1o"])
def test_the_suffix_conventions_of_bridges_link_for_certain(suffix: str) -> None:
    (session,) = linked(f"5 carol -> bob INVITE sip:9@acme.example from=8 leg=b callid=a-call@acme.example{suffix}")
    assert session.links[0].because == "Call-ID is a-call@acme.example with a suffix added"


def test_two_branches_of_a_bridge_that_was_not_captured_itself_belong_together() -> None:
    sessions = all_told(
        PEOPLE
        + "0 pbx -> bob INVITE sip:2@acme.example from=1 leg=b\n    X-CID: gone@acme.example\n"
        + "1 pbx -> carol INVITE sip:3@acme.example from=1 leg=c\n    X-CID: gone@acme.example\n"
    )
    assert [session.call_ids for session in sessions] == [["b-call@acme.example", "c-call@acme.example"]]


def test_a_transfer_links_the_call_it_asked_for() -> None:
    (session,) = linked(
        """
.1 pbx -> alice 200
.2 alice -> pbx ACK
9 alice -> pbx REFER
    Refer-To: <sip:300@acme.example>
    Referred-By: <sip:12103355787@acme.example>
9.1 pbx -> carol INVITE sip:300@acme.example from=12103355787 leg=b
    Referred-By: <sip:12103355787@acme.example>
"""
    )
    assert len(session.legs) == 2
    assert session.links[0].confidence == 1.0
    assert session.outcome == "answered", "the caller's own leg speaks for the session"


def test_a_bridge_without_a_word_of_it_is_likely_when_numbers_and_way_agree() -> None:
    (session,) = linked(".2 pbx -> bob INVITE sip:0018660333777@carrier.example from=12103355787 leg=b")
    (link,) = session.links
    assert link.confidence == pytest.approx(0.8)
    assert link.because == (
        "same caller and same called number (…0333777); began 0.200 s apart; it went to 192.0.2.10, where this one comes from"
    )


def test_more_evidence_makes_it_surer_but_never_certain() -> None:
    origin = "".join(f"    | {line}\n" for line in ("v=0", "o=- 8730493 1 IN IP4 198.51.100.23", "s=-", "t=0 0"))
    (session,) = linked(
        f".2 pbx -> bob INVITE sip:18660333777@x from=12103355787 leg=b\n{origin}",
        f"{FIRST.replace(' sdp', '')}{origin}",
    )
    assert session.links[0].confidence == pytest.approx(0.94)
    assert "same SDP origin" in session.links[0].because


def test_a_tag_within_a_tag_is_evidence() -> None:
    (session,) = linked(
        ".2 pbx -> bob INVITE sip:777@x from=999 leg=b\n    From: <sip:999@x>;tag=sbc-4f1c99d0a2-1\n",
        FIRST + "    From: <sip:12103355787@acme.example>;tag=4f1c99d0a2\n",
    )
    assert session.links[0].confidence == pytest.approx(0.7)


@pytest.mark.parametrize(
    "second",
    [
        ".2 carol -> bob INVITE sip:18660333777@x from=12103355787 leg=b",  # the first did not go to carol
        "11 pbx -> bob INVITE sip:18660333777@x from=12103355787 leg=b",  # too late
        ".2 pbx -> bob INVITE sip:777@x from=999 leg=b",  # nothing in common
        ".2 alice -> pbx INVITE sip:18660333777@x from=12103355787 leg=b",  # dialled again
    ],
)
def test_what_is_no_evidence(second: str) -> None:
    assert [len(session.legs) for session in linked(second)] == [1, 1]


def test_a_load_test_with_one_number_stays_as_many_calls() -> None:
    """sipp through one proxy on the loopback: same numbers, same hosts, same SDP origin, tags within tags."""
    ladder = "alice = 127.0.0.1:5080\nedge = 127.0.0.1:5060\nbob = 127.0.0.1:5070\n"
    sdp = "    | v=0\n    | o=user1 53655765 2353687637 IN IP4 127.0.0.1\n    | s=-\n"
    for call in range(30):
        at = call / 10
        ladder += f"{at:.3f} alice -> edge INVITE sip:491701234567@x from=+4930100 leg=c{call}\n"
        ladder += f"    From: <sip:+4930100@x>;tag=77SIPpTag00{call}\n{sdp}"
        ladder += f"{at + 0.002:.3f} edge -> bob INVITE leg=c{call}\n"
    assert [len(session.legs) for session in all_told(ladder)] == [1] * 30


def test_a_bridge_on_the_loopback_is_found_by_its_port() -> None:
    ladder = """
alice = 127.0.0.1:5080
pbx   = 127.0.0.1:5060
bob   = 127.0.0.1:5070
0 alice -> pbx INVITE sip:18660333777@x from=12103355787
.1 pbx -> bob INVITE sip:18660333777@x from=12103355787 leg=b
"""
    assert [len(session.legs) for session in all_told(ladder)] == [2]


def test_extensions_link_only_when_both_agree() -> None:
    both = ".2 pbx -> bob INVITE sip:1002@x from=1001 leg=b"
    one = ".2 pbx -> bob INVITE sip:1002@x from=1009 leg=b"
    first = "0 alice -> pbx INVITE sip:1002@x from=1001\n"
    assert [session.links[0].confidence for session in linked(both, first)] == [0.65]
    assert [len(session.legs) for session in linked(one, first)] == [1, 1]


def test_a_session_has_at_most_twenty_legs_and_says_so() -> None:
    ladder = PEOPLE + "".join(
        f"{number} alice -> pbx INVITE sip:9@x from=1 leg=l{number:02}\n    P-Charging-Vector: icid-value=same\n"
        for number in range(45)
    )
    sessions = all_told(ladder)
    assert [len(session.legs) for session in sessions] == [20, 20, 5]
    assert sessions[1].notes == ["45 legs are linked; these are 21 to 40 of them."]


def test_links_that_were_found_in_the_store_are_kept_where_messages_tell_nothing_better() -> None:
    played = play(PEOPLE + FIRST + "5 carol -> bob INVITE sip:9@acme.example from=8 leg=b")
    told_by_store = Link("a-call@acme.example", "b-call@acme.example", "same billing session", 1.0)
    gone = Link("a-call@acme.example", "gone@acme.example", "same billing session", 1.0)
    session = build_session(played.sightings, links=[told_by_store, gone], notes=["a note"])
    assert session.links == [told_by_store]
    assert session.notes == ["a note"]


# Over stored rows.


class Rows:
    """A store of a few rows; `by_keys` and `search` as EventStore describes them, for the conditions used here."""

    def __init__(self, rows: list[LegRow]) -> None:
        self.rows = rows
        self.reads = 0

    def by_keys(
        self, environments: tuple[str, ...], keys: Iterable[str], start_us: int, end_us: int,
        limit: int = 200, deadline_s: float = 10.0,
    ) -> list[LegRow]:  # fmt: skip
        self.reads += 1
        wanted = set(keys)
        found = [
            row
            for row in self.rows
            if row.environment in environments
            and row.keys & wanted
            and row.started_us < end_us
            and row.ended_us >= start_us
        ]
        return found[:limit]

    def search(
        self, query: LegQuery, limit: int = 50, cursor: str | None = None, deadline_s: float = 10.0
    ) -> LegPage:
        self.reads += 1
        found = [row for row in self.rows if self._matches(row, query)]
        return LegPage(found[:limit], None)

    @staticmethod
    def _matches(row: LegRow, query: LegQuery) -> bool:
        if row.environment not in query.environments or not query.start_us <= row.started_us < query.end_us:
            return False
        if query.call_ids and row.call_id not in query.call_ids:
            return False
        if query.kinds and row.kind not in query.kinds:
            return False
        return query.number is None or any(
            roles & query.roles and _like(number, query.number) for number, roles in row.numbers.items()
        )


def _like(number: str, pattern: NumberPattern) -> bool:
    return number == pattern.text if pattern.match == "exact" else number.endswith(pattern.text)


def row(call_id: str, *keys: str, at: float = 0, environment: str = "default", caller: str = "12103355787",
        called: str = "18660333777", source: str = "198.51.100.23:5060", destination: str = "192.0.2.10:5060",
        kind: str = "call", ref: str = "") -> LegRow:  # fmt: skip
    start = START_US + round(at * 1e6)
    return LegRow(
        environment, call_id, kind, "INVITE", start, start + 1_000_000, caller, called, source=source,
        destination=destination, addresses=[source.partition(":")[0], destination.partition(":")[0]],
        numbers={caller: int(Role.FROM), called: int(Role.TO | Role.REQUEST_URI)}, keys=set(keys), ref=ref or call_id,
    )  # fmt: skip


FAR = {"caller": "1", "called": "2", "source": "203.0.113.1:5060", "destination": "203.0.113.2:5060"}


def test_a_closure_follows_names_and_keys_in_both_directions_to_the_end() -> None:
    first = row("a")
    store = Rows(
        [
            first,
            row("b", "cid:a", "icid:7", at=1, **FAR),  # names the first
            row("c", "icid:7", "cid:d", at=2, **FAR),  # shares a key with it
            row("d", at=3, **FAR),  # is named by that
            row("other", "icid:8", at=2, **FAR),
            row("foreign", "cid:a", at=2, environment="tenant", **FAR),
        ]
    )
    closure = close_over(first, store)
    assert [leg.call_id for leg in closure.legs] == ["a", "b", "c", "d"]
    assert {(link.from_call_id, link.to_call_id) for link in closure.links} == {("a", "b"), ("b", "c"), ("c", "d")}
    assert all(link.confidence == 1.0 and link.because for link in closure.links)
    assert closure.notes == []


def test_a_closure_from_any_of_its_legs_is_the_same() -> None:
    rows = [row("a"), row("b", "cid:a", "icid:7", at=1, **FAR), row("c", "icid:7", at=2, **FAR)]
    found = [[leg.call_id for leg in close_over(start, Rows(rows)).legs] for start in rows]
    assert found == [["a", "b", "c"]] * 3


def test_a_closure_adds_what_evidence_makes_likely_and_what_that_names() -> None:
    first = row("a")
    store = Rows(
        [
            first,
            row("b", at=0.2, source="192.0.2.10:5060", destination="203.0.113.9:5060"),
            row("c", "cid:b", at=1, **FAR),
            row("dialled again", at=5),
            row("elsewhere", at=0.3, source="203.0.113.7:5060"),
        ]
    )
    closure = close_over(first, store)
    assert [leg.call_id for leg in closure.legs] == ["a", "b", "c"]
    assert [(link.to_call_id, link.confidence) for link in closure.links] == [("c", 1.0), ("b", 0.8)]


def test_a_closure_stops_at_its_cap_and_says_so() -> None:
    first = row("leg00", "icid:x")
    store = Rows([first, *(row(f"leg{at:02}", "icid:x", at=at, **FAR) for at in range(1, 40))])
    closure = close_over(first, store, most_legs=5)
    assert [leg.call_id for leg in closure.legs] == ["leg00", "leg01", "leg02", "leg03", "leg04"]
    assert closure.notes == ["Only the 5 nearest of the linked legs are shown."]


def test_the_rows_of_one_leg_that_two_days_share_are_both_returned() -> None:
    first = row("a", ref="day1")
    second = row("a", at=100, ref="day2", **FAR)
    closure = close_over(first, Rows([first, second, row("b", "cid:a", at=101, **FAR)]))
    assert [(leg.call_id, leg.ref) for leg in closure.legs] == [("a", "day1"), ("a", "day2"), ("b", "b")]


def test_a_leg_that_is_no_call_is_not_joined_by_evidence() -> None:
    first = row("a", kind="registration")
    store = Rows([first, row("b", at=0.2, source="192.0.2.10:5060", destination="203.0.113.9:5060")])
    assert [leg.call_id for leg in close_over(first, store).legs] == ["a"]


def test_opening_a_lone_leg_costs_few_reads() -> None:
    first = row("a")
    store = Rows([first])
    close_over(first, store)
    assert store.reads <= 4


def test_memory_and_store_agree() -> None:
    """The rows that ingest would write of a capture close over the same legs that the capture itself shows."""
    played = play(
        PEOPLE
        + FIRST
        + """
.2 pbx -> bob INVITE sip:18660333777@x from=12103355787 leg=b
.3 pbx -> carol INVITE sip:5@x from=6 leg=c
    X-CID: b-call@acme.example
.4 carol -> bob INVITE sip:7@x from=8 leg=d
"""
    )
    in_memory = build_sessions(played.sightings)
    rows = []
    for session in in_memory:
        for leg in session.legs:
            arrow = next(one for one in session.arrows if one.leg == leg.call_id)
            source = f"{arrow.hop.source}:{arrow.hop.source_port}"
            destination = f"{arrow.hop.destination}:{arrow.hop.destination_port}"
            made = row(
                leg.call_id, *correlation_keys(arrow.sip), at=(leg.started_us - START_US) / 1e6,
                caller=leg.caller, called=leg.called, source=source, destination=destination,
            )  # fmt: skip
            rows.append(made)
    for session in in_memory:
        closure = close_over(next(one for one in rows if one.call_id == session.call_ids[0]), Rows(rows))
        assert [leg.call_id for leg in closure.legs] == session.call_ids
        assert [(link.from_call_id, link.to_call_id, link.confidence) for link in closure.links] == [
            (link.from_call_id, link.to_call_id, link.confidence) for link in session.links
        ]
