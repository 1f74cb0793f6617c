"""Search, open and export over a real store, filled by the real import."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import starmap
from pathlib import Path

import pytest

from ringback.events import open_store
from ringback.events.store import EventStore
from ringback.sessions.capture.pcap import read_capture
from ringback.sessions.capture.pcap_writer import write_pcap
from ringback.sessions.diagnose import load_catalogue
from ringback.sessions.ingest.files import import_files
from ringback.sessions.keys import load_rules
from ringback.sessions.schemas import QueryError, SessionQuery
from ringback.sessions.service import SessionNotFound, SessionService
from ringback.sessions.story import NodeInfo, Sighting
from scenario import START_US, play

HOUR_US = 3_600_000_000
PLACES = """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060
    pbx   = 192.0.2.20:5060
    bob   = 203.0.113.9:5060    ua=Snom
"""


def call(second: int, caller: str, called: str, code: str, leg: str) -> str:
    return f"""
    {second}.000  alice -> edge  INVITE sip:{called}@acme.example  from={caller} leg={leg} callid={leg}@198.51.100.23
    +.002  edge -> alice  100  leg={leg}
    +.001  edge -> bob    INVITE sip:{called}@203.0.113.9  leg={leg}
    +.080  bob -> edge    {code}  leg={leg}
    +.001  edge -> bob    ACK  leg={leg}
    +.001  edge -> alice  {code.split()[0]}  leg={leg}
    +.002  alice -> edge  ACK  leg={leg}
    """


TWO_LEGS = """
    50.000 alice -> pbx  INVITE sip:18005550100@acme.example  from=12105550111 leg=first callid=first@198.51.100.23
    +.010  pbx -> bob    INVITE sip:18005550100@203.0.113.9  from=12105550111 leg=second new callid=second@192.0.2.20
        X-CID: first@198.51.100.23
    +.050  bob -> pbx    404  leg=second
    +.001  pbx -> bob    ACK  leg=second
    +.001  pbx -> alice  404  leg=first
    +.001  alice -> pbx  ACK  leg=first
"""
CALLS = (
    PLACES
    + call(1, "12103355787", "18660333777", "403 Forbidden", "aa-1")
    + call(2, "12103355787", "442079460123", "486 Busy Here", "bb-2")
    + call(3, "12109990000", "18660333777", "486 Busy Here", "cc-3")
    + call(4, "john.doe", "18660333777", "503 Service Unavailable", "dd-4")
    + TWO_LEGS
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventStore]:
    folder = tmp_path_factory.mktemp("store")
    write_pcap(folder / "calls.pcap", sorted(play(CALLS).sightings, key=lambda one: one.time_us))
    events = open_store(f"sqlite:{folder / 'events'}")
    summary = import_files(events, [Path(folder / "calls.pcap")])
    assert [file.problem for file in summary.files] == [""]
    yield events
    events.close()


@pytest.fixture(scope="module")
def sessions(store: EventStore) -> SessionService:
    gateway = NodeInfo("gateway1", "gateway", cluster=False, addresses=frozenset({"203.0.113.9"}))
    return SessionService(store, load_catalogue(), lambda environment: [gateway] if environment == "default" else [])


QUERY = SessionQuery(start_us=START_US, end_us=START_US + HOUR_US, personal=True)


def called_of(sessions: SessionService, query: SessionQuery) -> list[str]:
    return [row.called for row in sessions.search(query).rows]


def test_the_newest_come_first_and_legs_of_one_session_are_one_row(sessions: SessionService) -> None:
    rows = sessions.search(QUERY).rows
    assert [row.caller for row in rows] == ["12105550111", "john.doe", "12109990000", "12103355787", "12103355787"]
    assert rows[0].legs == 2
    assert set(rows[0].call_ids) == {"first@198.51.100.23", "second@192.0.2.20"}
    assert rows[0].nodes == ["gateway1"]


@pytest.mark.parametrize(
    ("typed", "called", "matched"),
    [
        ("+1 (210) 335-5787", ["442079460123", "18660333777"], "caller"),
        ("3355787", ["442079460123", "18660333777"], "caller"),
        ("44%", ["442079460123"], "called number"),
        ("John.Doe", ["18660333777"], "caller"),
        ("bb-2@198.51.100.23", ["442079460123"], ""),
    ],
)
def test_the_box_finds_what_people_type_and_says_where(
    sessions: SessionService, typed: str, called: list[str], matched: str
) -> None:
    result = sessions.search(replace(QUERY, q=typed))
    assert [row.called for row in result.rows] == called
    assert all(matched in row.matched for row in result.rows)
    assert result.understood


def test_a_number_stored_without_its_country_code_is_found_by_the_whole_number(sessions: SessionService) -> None:
    result = sessions.search(replace(QUERY, q="+1 2079460123"))
    assert [row.called for row in result.rows] == ["442079460123"]
    assert "nothing ends in 12079460123" in result.understood


def test_filters_narrow(sessions: SessionService) -> None:
    assert called_of(sessions, replace(QUERY, outcomes=("busy",))) == ["18660333777", "442079460123"]
    assert called_of(sessions, replace(QUERY, codes=(503,))) == ["18660333777"]
    assert called_of(sessions, replace(QUERY, ip="192.0.2.20")) == ["18005550100"]
    assert len(called_of(sessions, replace(QUERY, node="gateway1"))) == 5
    assert called_of(sessions, replace(QUERY, kinds=("registration",))) == []
    assert called_of(sessions, replace(QUERY, environments=("other",))) == []
    assert called_of(sessions, replace(QUERY, start_us=START_US + 3_500_000)) == ["18005550100", "18660333777"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (replace(QUERY, start_us=QUERY.end_us), "from"),
        (replace(QUERY, node="nowhere"), "node"),
        (replace(QUERY, ip="10.0.0.1.2"), "ip"),
        (replace(QUERY, issue="no-such-issue"), "issue"),
        (replace(QUERY, cursor="nonsense"), "cursor"),
        (replace(QUERY, cursor="WzksMSwyXQ"), "cursor"),
        (replace(QUERY, q="1%2"), "q"),
        (replace(QUERY, q="3355787", number="3355787"), "number"),
    ],
)
def test_a_query_that_cannot_be_understood_names_its_field(
    sessions: SessionService, query: SessionQuery, field: str
) -> None:
    with pytest.raises(QueryError) as caught:
        sessions.search(query)
    assert caught.value.field == field


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_pages_hold_every_session_once(sessions: SessionService, limit: int) -> None:
    found: list[str] = []
    cursor: str | None = None
    for _ in range(10):
        result = sessions.search(replace(QUERY, limit=limit, cursor=cursor))
        assert len(result.rows) <= limit
        found += [row.id for row in result.rows]
        cursor = result.cursor
        if cursor is None:
            break
    assert found == [row.id for row in sessions.search(QUERY).rows]


def test_an_issue_is_found_by_diagnosing(sessions: SessionService) -> None:
    result = sessions.search(replace(QUERY, issue="callee-busy"))
    assert [row.called for row in result.rows] == ["18660333777", "442079460123"]
    assert all(row.issue and row.issue.id == "callee-busy" for row in result.rows)
    first = sessions.search(replace(QUERY, issue="callee-busy", limit=1))
    assert first.cursor
    second = sessions.search(replace(QUERY, issue="callee-busy", limit=1, cursor=first.cursor))
    assert [row.id for row in (*first.rows, *second.rows)] == [row.id for row in result.rows]


def test_the_list_names_the_same_issue_as_the_session(sessions: SessionService) -> None:
    rows = sessions.search(QUERY).rows
    sessions.diagnose_rows(rows)
    for row in rows:
        issues = sessions.open(row.id, ("default",), personal=True).issues
        assert row.issue
        assert row.issue.id == issues[0].id


def test_any_leg_opens_the_whole_session(sessions: SessionService) -> None:
    row = sessions.search(replace(QUERY, q="second@192.0.2.20")).rows[0]
    opened = sessions.open(row.id, ("default",), personal=True)
    assert set(opened.session.call_ids) == {"first@198.51.100.23", "second@192.0.2.20"}
    assert opened.session.links[0].confidence == 1.0
    assert opened.session.outcome == "failed"
    assert opened.issues[0].id == "number-unknown"


@pytest.mark.parametrize("session_id", ["20261122-0000000000000000", "nonsense", "20269999-0000000000000000", ""])
def test_an_unknown_session_is_said_to_be_none(sessions: SessionService, session_id: str) -> None:
    with pytest.raises(SessionNotFound):
        sessions.open(session_id, ("default",), personal=True)


def test_a_session_of_another_environment_is_not_there(sessions: SessionService) -> None:
    row = sessions.search(QUERY).rows[0]
    with pytest.raises(SessionNotFound):
        sessions.open(row.id, ("other",))


def test_the_histogram_counts_each_session_once_by_its_outcome(sessions: SessionService) -> None:
    counted = sessions.histogram(QUERY)
    assert len(counted.buckets) == 60
    assert counted.buckets[0].outcomes == {"failed": 4, "busy": 2}  # both legs of the last call began there
    assert sum(sum(bucket.outcomes.values()) for bucket in counted.buckets) == 6


def test_a_link_by_a_header_of_ones_own_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "correlation.toml").write_text('headers = { "X-Orig-Leg" = "" }')
    rules = load_rules(tmp_path / "correlation.toml")
    ladder = PLACES + TWO_LEGS.replace("X-CID", "X-Orig-Leg").replace("18005550100@203", "99@203")
    write_pcap(tmp_path / "calls.pcap", sorted(play(ladder).sightings, key=lambda one: one.time_us))
    events = open_store(f"sqlite:{tmp_path / 'events'}")
    try:
        import_files(events, [tmp_path / "calls.pcap"], rules=rules)
        service = SessionService(events, load_catalogue(), rules=rules)
        opened = service.open(service.search(QUERY).rows[0].id, ("default",), personal=True)
    finally:
        events.close()
    assert [(link.because, link.confidence) for link in opened.session.links] == [("X-Orig-Leg header", 1.0)]


def test_exports_hold_what_was_captured(sessions: SessionService) -> None:
    opened = sessions.open(sessions.search(replace(QUERY, codes=(503,))).rows[0].id, ("default",), personal=True)
    pcap = sessions.export(opened, "pcap")
    again = list(starmap(Sighting, read_capture(io.BytesIO(pcap.data))))
    assert [one.payload for one in again] == [arrow.payload for arrow in opened.session.arrows]
    assert [one.time_us for one in again] == [arrow.observed_us for arrow in opened.session.arrows]
    text = sessions.export(opened, "text").data.decode()
    assert "503 Service Unavailable" in text
    assert "INVITE sip:18660333777@acme.example SIP/2.0" in text
    told = json.loads(sessions.export(opened, "json").data)
    assert told["id"] == opened.id
    assert [entry["number"] for entry in told["timeline"]] == list(range(1, 8))
    assert sessions.export(opened, "svg").data.startswith(b"<svg")
    assert pcap.filename == "session-20261122-120004-john.doe.pcap"
    with pytest.raises(QueryError):
        sessions.export(opened, "docx")


def registrations(turns: str, listed: str = "") -> str:
    """Two phones of one account, each with a Call-ID of its own; of `turns` each letter is one that registers."""
    text = """
    a = 198.51.100.23:5060  ua=Yealink
    b = 198.51.100.77:5060  ua=Zoiper
    edge = 192.0.2.10:5060  agent=101
    """
    for number, phone in enumerate(turns):
        contact = f"<sip:1001@{'198.51.100.23' if phone == 'a' else '198.51.100.77'}:5060>;expires=600"
        text += f"""
    {300 * number}.0  {phone} -> edge  REGISTER sip:acme.example from=1001 contact={contact} leg={phone} callid={phone}@phone
    +.01  edge -> {phone}  200 OK leg={phone}
        Contact: {listed or contact}
    """
    return text


@pytest.mark.parametrize(
    ("turns", "listed", "told"),
    [
        ("abab", "", {"a@phone", "b@phone"}),
        ("aabb", "", {"a@phone"}),  # a new phone took over for good
        ("abab", "<sip:1001@198.51.100.23:5060>;expires=600, <sip:1001@198.51.100.77:5060>;expires=600", {"a@phone"}),
        ("aaaa", "", {"a@phone"}),
    ],
)
def test_a_stored_registration_is_told_with_the_one_that_pushes_it_out(
    tmp_path: Path, turns: str, listed: str, told: set[str]
) -> None:
    write_pcap(tmp_path / "r.pcap", sorted(play(registrations(turns, listed)).sightings, key=lambda one: one.time_us))
    events = open_store(f"sqlite:{tmp_path / 'events'}")
    import_files(events, [tmp_path / "r.pcap"])
    service = SessionService(events, load_catalogue())
    row = next(row for row in service.search(QUERY).rows if "a@phone" in row.call_ids)
    opened = service.open(row.id, ("default",), personal=True)
    assert set(opened.session.call_ids) == told
    assert ("registrations-overwrite" in {issue.id for issue in opened.issues}) == (len(told) == 2)
    events.close()
