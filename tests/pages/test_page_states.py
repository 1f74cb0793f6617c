"""What the pages answer where something is wrong, partial or not allowed: over HTTP, without a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from browser_site import PASSWORD, USER, prepared
from recorded_calls import Recorded, record
from starlette.testclient import TestClient

from ringback import clock
from ringback.app import create_app
from ringback.events import SearchTimedOut, SegmentUnreadable, open_store
from ringback.events.store import LogRecord
from ringback.sessions.schemas import SessionQuery
from ringback.sessions.service import SessionService
from ringback.sessions.share.service import list_views

NASTY = '<img src=x onerror="alert(1)">'
HTMX = {"HX-Request": "true"}


class Reader:
    """Somebody who is signed in."""

    def __init__(self, client: TestClient, calls: dict[str, Recorded]) -> None:
        self.client = client
        self.calls = calls
        client.post("/login", data={"name": USER, "password": PASSWORD})
        page = client.get("/upload").text
        found = re.search(r'name="csrf-token" content="([^"]+)"', page)
        assert found
        self.csrf = {"X-CSRF-Token": found[1]}

    def path(self, call: str) -> str:
        return f"/sessions/{self.calls[call].id}"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    settings = prepared(tmp_path_factory.mktemp("states"))
    events = open_store(settings.store_url)
    calls = record(events, clock.now_us())
    refused = calls["refused"]
    events.write_logs([LogRecord("default", refused.started_us, "node", NASTY, "info", NASTY, refused.call_id)])
    events.close()
    with TestClient(create_app(settings), base_url="http://ringback.test") as client:
        yield Reader(client, calls)


def sessions(reader: Reader) -> SessionService:
    service: SessionService = reader.client.app.state.sessions  # type: ignore[attr-defined]
    return service


def failing(error: Exception) -> object:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "status"),
    [(SearchTimedOut("10 s were over"), 504), (SegmentUnreadable("sip-2026-11-20 is torn; repair it"), 503)],
)
def test_a_search_that_could_not_finish_is_an_error_and_no_short_list(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    monkeypatch.setattr(SessionService, "search", failing(error))
    response = reader.client.get("/sessions?q=12103355787&last=7d")
    assert response.status_code == status
    assert str(error) in response.text
    assert "Nothing is shown, because a list with gaps would look like a full one" in response.text
    assert 'value="12103355787"' in response.text
    assert 'href="/sessions?last=7d&amp;q=12103355787">Try again' in response.text


def test_a_histogram_that_could_not_be_counted_does_not_take_the_list_with_it(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SessionService, "histogram", failing(SearchTimedOut("too slow")))
    response = reader.client.get("/sessions/histogram?last=1h", headers=HTMX)
    assert response.status_code == 200
    assert "could not be counted: too slow" in response.text
    assert "<html" not in response.text


def test_a_place_in_the_list_that_is_none_is_told_with_a_way_back(reader: Reader) -> None:
    response = reader.client.get("/sessions?cursor=nonsense&last=1h")
    assert response.status_code == 400
    assert "not a cursor of this search" in response.text
    assert 'href="/sessions?last=1h"' in response.text


def test_further_rows_come_alone_where_a_script_asks_and_as_a_page_where_a_person_does(reader: Reader) -> None:
    query = SessionQuery(clock.now_us() - 3_600_000_000, clock.now_us(), limit=1)
    cursor = sessions(reader).search(query).cursor
    url = f"/sessions?last=1h&cursor={cursor}"
    part, page = reader.client.get(url, headers=HTMX).text, reader.client.get(url).text
    assert part.count("<tr data-row>") == page.count("<tr data-row>") == len(reader.calls) - 1
    assert "<html" not in part
    assert "<html" in page


def test_further_rows_that_could_not_be_read_say_so_in_the_list_and_can_be_tried_again(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SessionService, "search", failing(SearchTimedOut("10 s were over")))
    response = reader.client.get("/sessions?last=1h&cursor=abc", headers=HTMX)
    assert response.status_code == 504
    assert response.text.startswith('<tr class="more">')
    assert "10 s were over" in response.text
    assert 'hx-get="/sessions?last=1h&amp;cursor=abc"' in response.text


def test_the_issue_of_a_session_that_is_gone_says_so_in_its_cell(reader: Reader) -> None:
    response = reader.client.get("/sessions/issues?id=20260101-00000000000000ff", headers=HTMX)
    assert response.status_code == 200
    assert "could not be read" in response.text


def test_an_issue_search_that_ran_out_of_time_says_how_far_it_came(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ringback.sessions.service.ISSUE_SEARCH_SECONDS", 0.0)
    response = reader.client.get("/sessions?last=1h&issue=caller-not-allowed")
    assert "this looked back as far as" in response.text
    assert "cursor=" in response.text


def test_an_unknown_issue_is_told_at_its_field(reader: Reader) -> None:
    response = reader.client.get("/sessions?issue=no-such-issue")
    assert response.status_code == 400
    assert "there is no issue" in response.text


def test_what_came_over_the_wire_is_text_and_never_markup(reader: Reader) -> None:
    page = reader.client.get(reader.path("refused")).text
    number = re.search(r'id="m(\d+)"[^>]*>(?:(?!</tr>).)*onerror', page, re.DOTALL)
    assert number
    entry = reader.client.get(f"{reader.path('refused')}/messages/{number[1]}").text
    for text in (page, entry):
        assert NASTY not in text
        assert "&lt;img src=x onerror=" in text


def test_a_search_for_markup_is_shown_as_text(reader: Reader) -> None:
    text = reader.client.get("/sessions", params={"q": f'"><script>{NASTY}'}).text
    assert "<script>" not in text
    assert NASTY not in text


@pytest.mark.parametrize("query", ["", "?m=1", "?m=1&m=1", "?m=1&m=2&m=3"])
def test_a_comparison_needs_two_messages(reader: Reader, query: str) -> None:
    assert reader.client.get(f"{reader.path('refused')}/compare{query}").status_code == 400


@pytest.mark.parametrize("part", ["messages/999", "compare?m=1&m=999"])
def test_an_entry_that_is_not_there_is_404(reader: Reader, part: str) -> None:
    assert reader.client.get(f"{reader.path('refused')}/{part}").status_code == 404


def views(reader: Reader, call: str) -> list[tuple[str, str]]:
    engine = reader.client.app.state.records  # type: ignore[attr-defined]
    return [(view.how, view.viewer.name) for view in list_views(engine, ("default",), reader.calls[call].id)]


def test_every_view_and_export_is_recorded(reader: Reader) -> None:
    path = reader.path("answered")
    reader.client.get(path)
    reader.client.get(path, headers=HTMX)
    reader.client.get(f"{path}/messages/1")
    reader.client.get(f"{path}/export?format=text")
    assert views(reader, "answered") == [("export text", USER), ("page", USER)]


@pytest.mark.parametrize("part", ["", "/messages/1", "/compare?m=1&m=2"])
def test_parts_of_a_page_that_was_never_opened_are_a_view_too(reader: Reader, part: str) -> None:
    call = {"": "long", "/messages/1": "named", "/compare?m=1&m=2": "chain"}[part]
    assert reader.client.get(reader.path(call) + part, headers=HTMX).status_code == 200
    assert views(reader, call) == [("part", USER)]


def test_nothing_is_changed_without_the_token_of_the_login(reader: Reader) -> None:
    for path, data in (
        ("/nodes/new", {"name": "evil", "agents": "666"}),
        (f"{reader.path('refused')}/shares", {"hours": "24"}),
        ("/upload", {}),
    ):
        assert reader.client.post(path, data=data).status_code == 403, path
    assert "evil" not in reader.client.get("/nodes").text


def share(reader: Reader, call: str) -> str:
    response = reader.client.post(f"{reader.path(call)}/shares", data={"hours": "1"}, headers=reader.csrf | HTMX)
    found = re.search(r'id="new-link">([^<]+)<', response.text)
    assert found
    return found[1].removeprefix("http://ringback.test")


def test_a_share_link_shows_its_session_to_anyone_and_nothing_else(reader: Reader) -> None:
    link = share(reader, "refused")
    stranger = TestClient(reader.client.app, base_url="http://ringback.test", follow_redirects=False)
    page = stranger.get(link)
    assert page.status_code == 200
    assert "121xxxxxx87" in page.text
    assert 'name="robots" content="noindex"' in page.text
    assert stranger.get(f"{link}/messages/1").status_code == 200
    assert stranger.get(f"{link}/export?format=pcap").content[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1")
    assert stranger.get(f"{link}/shares").status_code == 404
    assert stranger.get(reader.path("refused")).headers["location"].startswith("/login")
    hrefs = set(re.findall(r'href="(/[^"]*)"', page.text)) - {link}
    inside = {href for href in hrefs if href.startswith((link + "/", link + "?", link + "#", "/static/"))}
    assert hrefs - inside <= {"/sessions"}  # the name of the product


def test_the_link_is_shown_once(reader: Reader) -> None:
    link = share(reader, "answered")
    token = link.rpartition("/")[2]
    assert token not in reader.client.get(f"{reader.path('answered')}/shares").text


@pytest.mark.parametrize("hours", ["0", "9999", "10000000000000", "a week"])
def test_a_life_that_no_link_has_is_refused(reader: Reader, hours: str) -> None:
    response = reader.client.post(f"{reader.path('refused')}/shares", data={"hours": hours}, headers=reader.csrf)
    assert response.status_code == 422
    assert "hours" in response.text


def test_a_session_that_is_not_there_cannot_be_shared(reader: Reader) -> None:
    path = "/sessions/20260101-00000000000000ff/shares"
    assert reader.client.post(path, data={"hours": "1"}, headers=reader.csrf).status_code == 404


def test_a_sender_may_join_a_node_that_exists(reader: Reader) -> None:
    def name(value: str, kind: str) -> int:
        data = {"sender_kind": kind, "value": value, "name": "edge9", "kind": "edge", "cluster": "1"}
        return reader.client.post(
            "/nodes/unknown-senders", data=data, headers=reader.csrf, follow_redirects=False
        ).status_code

    assert name("901", "agent") == name("192.0.2.201", "address") == 303
    page = reader.client.get("/nodes").text
    assert re.search(r"edge9</a>.*?901.*?192\.0\.2\.201", page, re.DOTALL)
    assert name("not an address", "address") == 422


def test_the_guide_has_a_page_for_every_issue_and_says_when_there_is_none(reader: Reader) -> None:
    for definition in reader.client.app.state.catalogue:  # type: ignore[attr-defined]
        assert f'href="/guide/{definition.id}"' in reader.client.get("/guide").text
        assert reader.client.get(f"/guide/{definition.id}").status_code == 200
    missing = reader.client.get("/guide/no-such-issue")
    assert missing.status_code == 404
    assert "the list is at /guide" in missing.text
