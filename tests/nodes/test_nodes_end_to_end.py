"""Two Kamailio proxies with HEP to a running server, sipp calls through them, and a person who looks for each call."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kamailio import TOOLS, Provider, missing_tools, provider
from playwright.sync_api import Browser, Page, expect
from truth import TRUTH, lanes, told

from chromium import sign_in

pytestmark = [pytest.mark.nodes, pytest.mark.browser]

WITHIN_S = 30.0  # from the end of a call until a person finds it: 2 where the machine has nothing else to do
# scenario -> what happens on the way, in this order; "a>b WORD" is an arrow, and others may stand between
CALLS = {
    "answered": "phone>edge1 INVITE, edge1>phone 407, phone>edge1 ACK, phone>edge1 INVITE, edge1>core1 INVITE, "
    "core1>gw-east INVITE, gw-east>core1 180, core1>edge1 180, edge1>phone 180, gw-east>core1 200, core1>edge1 200, "
    "edge1>phone 200, phone>edge1 ACK, edge1>core1 ACK, core1>gw-east ACK, phone>edge1 BYE, edge1>core1 BYE, "
    "core1>gw-east BYE, gw-east>core1 200, core1>edge1 200, edge1>phone 200",
    "busy": "phone>edge1 INVITE, edge1>core1 INVITE, core1>gw-east INVITE, gw-east>core1 180, gw-east>core1 486, "
    "core1>edge1 486, edge1>phone 486, phone>edge1 ACK",
    "cancelled": "phone>edge1 INVITE, core1>gw-east INVITE, gw-east>core1 180, edge1>phone 180, phone>edge1 CANCEL, "
    "edge1>core1 CANCEL, core1>gw-east CANCEL, gw-east>core1 487, core1>edge1 487, edge1>phone 487, phone>edge1 ACK",
    "wrong-password": "phone>edge1 INVITE, edge1>phone 407, phone>edge1 ACK, phone>edge1 INVITE, edge1>phone 407, "
    "phone>edge1 ACK",
    "unknown-number": "phone>edge1 INVITE, core1>gw-east INVITE, gw-east>core1 404, core1>edge1 404, edge1>phone 404",
    "no-response": "phone>edge1 INVITE, edge1>core1 INVITE, core1>gw-east INVITE, core1>edge1 408, edge1>phone 408",
    "failover": "phone>edge1 INVITE, core1>gw-east INVITE, gw-east>core1 503, core1>gw-west INVITE, gw-west>core1 200, "
    "core1>edge1 200, edge1>phone 200, phone>edge1 ACK, core1>gw-west ACK, core1>gw-west BYE",
    "codec-mismatch": "phone>edge1 INVITE, core1>gw-east INVITE, gw-east>core1 488, core1>edge1 488, edge1>phone 488",
    "forwarded": "phone>edge1 INVITE, core1>pbx1 INVITE, pbx1>core1 INVITE, core1>gw-west INVITE, gw-west>core1 200, "
    "core1>pbx1 200, pbx1>core1 200, edge1>phone 200, phone>edge1 BYE, core1>pbx1 BYE, pbx1>core1 BYE, core1>gw-west BYE",
    "registration-wrong-password": "phone>edge1 REGISTER, edge1>phone 401, phone>edge1 REGISTER, edge1>phone 401",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    if missing := missing_tools(*TOOLS):
        pytest.skip(missing)
    with provider(tmp_path_factory.mktemp("provider"), list(CALLS)) as one:
        yield one


@pytest.fixture(scope="module")
def page(running: Provider, browser: Browser) -> Iterator[Page]:
    """Signed in as the user of the first start, with the password that was printed."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, timezone_id="America/Chicago")
    context.set_default_timeout(20_000)
    page = context.new_page()
    sign_in(page, running.server.web, "admin", running.server.password or "")
    yield page
    context.close()


@pytest.mark.parametrize("scenario", CALLS)
def test_a_call_is_found_by_number_once_it_has_ended_with_its_ladder_and_issue(
    scenario: str, running: Provider, page: Page
) -> None:
    caller, number = running.numbers(scenario)
    search = f"{running.server.web}/sessions?q=%2B{number[:1]} {number[1:4]}-{number[4:]}&last=15m"
    page.goto(search)
    expect(page.locator("tr[data-row]")).to_have_count(0)

    ended = running.play(scenario)
    while not _is_found(scenario, page, search):
        assert time.monotonic() < ended + WITHIN_S, f"not there: {page.inner_text('main')[:600]}"

    expect(page.locator("h1")).to_have_text(caller if caller == number else f"{caller} → {number}")
    _is_drawn_by_node(scenario, page)
    _is_told_by_the_api(scenario, running, page.url.split("/")[-1].split("?")[0])


def _is_found(scenario: str, page: Page, search: str) -> bool:
    """One look: the search, its only row, and the answer on the session's page, all of its messages stored."""
    session, issues = told(scenario)
    page.goto(search)
    links = page.locator("tr[data-row] a[data-open]")
    if links.count() != 1:
        return False
    links.click()
    page.wait_for_url("**/sessions/*")
    shown, tags, answers = (
        " ".join(page.locator(each).all_inner_texts())
        for each in ("#diagram div.head", ".page-head .tag", ".answer h2 >> nth=0")
    )
    whole = session.retransmission_count > 0 or f"{len(session.arrows)} messages" in shown
    code = session.final_code or 0
    ended = code < 300 or str(code) in tags
    return whole and ended and issues[0].title in answers


def _is_drawn_by_node(scenario: str, page: Page) -> None:
    session, _ = told(scenario)
    page.goto(f"{page.url.split('?')[0]}?view=nodes")
    drawn = page.locator("#diagram div.diagram")
    for lane in set(TRUTH[scenario].lanes) - {"phone"}:
        expect(drawn).to_contain_text(lane)
    expect(drawn).to_contain_text(str(session.final_code))


def _is_told_by_the_api(scenario: str, running: Provider, session_id: str) -> None:
    session = _asked_when_whole(scenario, running, session_id)
    truth = TRUTH[scenario]
    assert session["outcome"] == truth.outcome
    assert [issue["id"] for issue in session["issues"]][:1] == [truth.issue]
    assert [issue["severity"] for issue in session["issues"]][:1] == [truth.severity]
    assert lanes([one["label"] for one in session["participants"]]) == truth.lanes
    assert len(session["legs"]) == truth.legs
    told_now = _ladder(session)
    rest = iter(told_now)
    for arrow in CALLS[scenario].split(", "):
        assert arrow in rest, f"{arrow} is missing, or out of order: {told_now}"
    assert Counter(told_now) == Counter(_recorded_ladder(scenario)), "other hops than the same call had when recorded"


def _asked_when_whole(scenario: str, running: Provider, session_id: str) -> dict[str, Any]:
    """The session once the last ACK is stored too: it follows the answer that a person sees, perhaps in the next batch."""
    expected = Counter(_recorded_ladder(scenario))
    until = time.monotonic() + WITHIN_S
    session: dict[str, Any] = running.ask(f"/sessions/{session_id}")
    while Counter(_ladder(session)) != expected and time.monotonic() < until:
        time.sleep(0.1)
        session = running.ask(f"/sessions/{session_id}")
    return session


def _ladder(session: dict[str, Any]) -> list[str]:
    """Every hop once, without retransmissions, as "from>to WORD"."""
    labels = {one["id"]: one["label"] for one in session["participants"]}
    return [
        f"{_lane(labels[entry['source']])}>{_lane(labels[entry['destination']])} {entry['text'].split()[0]}"
        for entry in session["timeline"]
        if entry["kind"] == "sip" and entry["retransmission_of"] is None
    ]


def _recorded_ladder(scenario: str) -> list[str]:
    session, _ = told(scenario)
    labels = {one.id: one.label for one in session.participants}
    return [
        f"{_lane(labels[arrow.source])}>{_lane(labels[arrow.destination])} {arrow.sip.status or arrow.sip.method}"
        for arrow in session.arrows
        if not arrow.is_retransmission
    ]


def _lane(label: str) -> str:
    return lanes([label])[0]


def test_hep_over_tcp_with_a_key(tmp_path: Path) -> None:
    if missing := missing_tools(*TOOLS):
        pytest.skip(missing)
    with provider(tmp_path, ["unknown-number"], tcp=True, key="open sesame") as running:
        ended = running.play("unknown-number")
        _, number = running.numbers("unknown-number")
        while [each["outcome"] for each in running.ask("/sessions", number=number)["sessions"]] != ["failed"]:
            assert time.monotonic() < ended + WITHIN_S, running.ask("/status")
            time.sleep(0.1)
        assert running.ask("/status")["collector"]["lost"] == {}
