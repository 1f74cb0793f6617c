"""A session with a billing log, over HTTP: whose it was, where it is mended, the log alone; and who sees which of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from html import unescape

import pytest
from browser_site import PASSWORD, USER, prepared
from recorded_calls import Recorded, record
from sqlalchemy import Engine
from starlette.testclient import TestClient

from actors import by_tester
from goods import ANN, HOME, World
from ringback import clock
from ringback.access.permissions import Role
from ringback.access.service import add_user
from ringback.app import create_app
from ringback.billing.ledger.service import post_usage
from ringback.changes.service import do_changing
from ringback.events.store import LogRecord

NAME = "Doe & Daughters <Hotel>"
CALLER = "12103355787"


class Site:
    def __init__(self, client: TestClient, calls: dict[str, Recorded], made: dict[str, int]) -> None:
        self.client, self.calls, self.made = client, calls, made

    def as_(self, name: str) -> Site:
        self.client.cookies.clear()
        assert self.client.post("/login", data={"name": name, "password": PASSWORD}).status_code < 400
        return self

    def get(self, path: str, **headers: str) -> str:
        answer = self.client.get(path, headers=headers)
        assert answer.status_code == 200, (path, answer.status_code)
        return unescape(answer.text)

    def session(self, call: str, query: str = "") -> str:
        return self.get(f"/sessions/{self.calls[call].id}{query}")


@pytest.fixture(scope="module")
def module_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = prepared(tmp_path_factory.mktemp("billing"))
    with TestClient(create_app(settings), base_url="http://ringback.test") as client:
        state = client.app.state  # type: ignore[attr-defined]
        world = World(state.records)
        made = {
            "customer": world.make("customer", name=NAME),
            "rate": world.make("rate", prefix="1866", forbidden=True),
        }
        made["account"] = world.make("account", id=CALLER, i_customer=made["customer"])
        made["nobody"] = world.make("account", id="no-calls", i_customer=world.make("customer", name="Quiet Ltd"))
        with by_tester(state.records) as work:
            add_user(work, "nora", PASSWORD, role=Role.NOC)
            add_user(work, "rea", PASSWORD, role=Role.READ_ONLY)
        calls = record(state.events, clock.now_us())
        made["xdr"] = charged(state.records, calls["long"], made["account"])
        state.events.write_logs([*billing_log(calls["refused"], made), charge_told(calls["long"], made["xdr"])])
        yield Site(client, calls, made)


@pytest.fixture
def site(module_site: Site) -> Site:
    return module_site.as_(USER)


def billing_log(call: Recorded, made: dict[str, int]) -> Iterator[LogRecord]:
    common = {"engine": "ringback", "i_account": str(made["account"])}
    link = {"link_type": "rate", "link_id": str(made["rate"])}
    steps: tuple[tuple[str, str, dict[str, str]], ...] = (
        ("request", f"core asks for a call from {CALLER} to 18660333777.", {}),
        ("account", f"Found the account {CALLER} by its id; its customer is {NAME}, its product Home.", {}),
        ("rate", "18660333777 is 1866 (Premium): forbidden.", {"prefix": "1866", "destination": "Premium", **link}),
        (
            "decision",
            "The call is refused: it is forbidden.",
            {"result": "refused", "reason": "destination-forbidden", **link},
        ),
    )
    for place, (step, text, fields) in enumerate(steps):
        yield LogRecord(
            "default", call.started_us + 5_000 + place, "billing", "192.0.2.20", "info", text, call.call_id,
            account=CALLER, fields={"step": step, **common, **fields},
        )  # fmt: skip


def charged(records: Engine, call: Recorded, account: int) -> int:
    """The xDR of a call that was charged as its caller hung up."""
    started = clock.from_us(call.started_us)
    xdr = do_changing(
        records, ANN, (HOME,),
        lambda work: post_usage(
            work, HOME, account, Decimal("0.05"), session_key="long", service="voice", seconds=170, caller=CALLER,
            called="4930555123", call_id=call.call_id, started_at=started, ended_at=started + timedelta(seconds=170),
        ),
    )  # fmt: skip
    assert xdr is not None
    return xdr.id


def charge_told(call: Recorded, xdr: int) -> LogRecord:
    return LogRecord(
        "default", call.started_us + 160_000_000, "billing", "192.0.2.10", "info", "0.05 USD were charged.", call.call_id,
        account=CALLER, fields={"step": "xdr", "engine": "ringback", "xdr": str(xdr), "amount": "0.05"},
    )  # fmt: skip


def links(html: str) -> set[str]:
    return set(re.findall(r'href="([^"]+)"', html))


def test_the_answer_is_billings_and_leads_to_the_rate_and_to_its_changes(site: Site) -> None:
    page = site.session("refused")
    assert "The destination is forbidden for this account" in page
    assert "the rate for Premium (prefix 1866) is marked as forbidden" in page
    assert f"/rates/{site.made['rate']}" in links(page)
    (changes,) = [href for href in links(page) if href.startswith("/audit?")]
    assert f"type=rate&property=forbidden&id={site.made['rate']}" in changes
    log = site.get(changes)
    assert "Nothing was searched" not in log
    assert site.client.get(f"/rates/{site.made['rate']}").status_code == 200


def test_it_says_whose_the_number_is(site: Site) -> None:
    page = site.session("refused")
    assert {f"/customers/{site.made['customer']}", f"/accounts/{site.made['account']}"} <= links(page)
    assert NAME in page
    assert "Whose numbers" not in site.session("named")


def test_who_may_not_see_personal_data_sees_whose_it_is_masked(module_site: Site) -> None:
    page = module_site.as_("nora").session("refused")
    assert f"/customers/{module_site.made['customer']}" in links(page)
    assert f"/rates/{module_site.made['rate']}" in links(page)
    assert "Daughters" not in page
    assert CALLER not in page


def test_a_share_link_tells_nothing_of_customers(site: Site) -> None:
    made = site.client.post(
        f"/sessions/{site.calls['refused'].id}/shares", data={"hours": "1", "personal": "1"}, headers=csrf(site)
    )
    url = re.search(r"/share/[\w-]+", made.text)
    assert url
    site.client.cookies.clear()
    page = site.get(url[0])
    assert "The destination is forbidden" in page
    assert "Whose numbers" not in page
    assert not any(href.startswith(("/customers", "/accounts", "/rates", "/audit")) for href in links(page))


def test_a_session_leads_to_its_xdr_and_the_xdr_back(site: Site) -> None:
    page, xdr = site.session("long", "?all=1"), f"/xdrs/{site.made['xdr']}"
    assert re.search(rf'<a class="btn small" href="{xdr}">xDR {site.made["xdr"]}</a>', page)
    (whole,) = [href for href in links(page) if href.startswith("/xdrs?")]
    answer = site.client.get(whole)
    assert (answer.status_code, answer.url.path) == (200, xdr)
    line = re.findall(r'<tr id="m(\d+)"', page[: page.index(f'href="{xdr}"')])[-1]
    assert xdr in links(site.get(f"/sessions/{site.calls['long'].id}/messages/{line}"))
    (back,) = [href for href in links(site.get(xdr)) if href.startswith("/sessions?call_id=")]
    assert re.findall(r'data-open="([^"]+)"', site.get(back)) == [site.calls["long"].id]
    assert not xdr_links(site.session("refused"))


def xdr_links(html: str) -> list[str]:
    return [href for href in links(html) if href.startswith("/xdrs")]


def test_what_was_charged_is_not_shown_masked_nor_shared(module_site: Site) -> None:
    assert not xdr_links(module_site.as_("nora").session("long", "?all=1"))
    site = module_site.as_(USER)
    made = site.client.post(
        f"/sessions/{site.calls['long'].id}/shares", data={"hours": "1", "personal": "1"}, headers=csrf(site)
    )
    url = re.search(r"/share/[\w-]+", made.text)
    assert url
    site.client.cookies.clear()
    page = site.get(f"{url[0]}?all=1")
    assert "0.05 USD were charged." in page
    assert not xdr_links(page)


def csrf(site: Site) -> dict[str, str]:
    found = re.search(r'name="csrf-token" content="([^"]+)"', site.get("/upload"))
    assert found
    return {"X-CSRF-Token": found[1]}


def test_the_timeline_names_steps_and_can_be_narrowed_to_them(site: Site) -> None:
    page = site.session("refused", "?kind=billing")
    assert re.findall(r'<span class="step">([^<]+)</span>', page) == ["Request:", "Account:", "Rate:", "Decision:"]
    assert "192.0.2.20:5060" in page
    assert "Billing engine" in page


def test_classic_view_is_the_log_as_text_in_the_readers_zone(site: Site) -> None:
    site.client.cookies.set("zone", "Asia/Tokyo")
    page = site.session("refused", "?view=classic")
    site.client.cookies.delete("zone")
    text = re.search(
        r'<pre class="classic" tabindex="0" role="region" aria-label="Billing log">(.*?)</pre>', page, re.DOTALL
    )
    assert text
    lines = text[1].splitlines()
    assert lines[0].endswith("  Billing engine, asked by 192.0.2.20:5060")
    assert [line.split()[1] for line in lines[1:]] == ["Request", "Account", "Rate", "Decision"]
    assert NAME in lines[2]
    assert "JST" in page or "+09" in page or "Tokyo" in page


def test_a_line_is_the_engines_wherever_it_is_shown(site: Site) -> None:
    page = site.session("refused", "?kind=billing")
    numbers = dict(
        zip(re.findall(r'<span class="step">([^<]+):', page), re.findall(r'<tr id="m(\d+)"', page), strict=True)
    )
    for step, head in (
        ("Request", "<b>192.0.2.20:5060</b> → <b>Billing engine</b>"),
        ("Rate", "<b>Billing engine</b> "),
        ("Decision", "<b>Billing engine</b> → <b>192.0.2.20:5060</b>"),
    ):
        assert head in site.get(f"/sessions/{site.calls['refused'].id}/messages/{numbers[step]}")
    file = site.client.get(f"/sessions/{site.calls['refused'].id}/export?format=text").text
    assert f"#{numbers['Decision']} " in file
    assert re.search(r"Z billing Billing engine -> 192.0.2.20:5060\n", file)
    assert re.search(r"Z billing Billing engine\n", file)


def test_classic_view_without_a_log_says_so(site: Site) -> None:
    assert "No billing log came with this session." in site.session("answered", "?view=classic")


def test_the_log_can_be_taken_along(site: Site) -> None:
    for path in (
        f"/sessions/{site.calls['refused'].id}/export",
        f"/api/v1/sessions/{site.calls['refused'].id}/export",
    ):
        answer = site.client.get(f"{path}?format=classic")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["content-disposition"].endswith('-billing.txt"')
        assert "Decision  The call is refused: it is forbidden." in answer.text


class TestSearch:
    def test_by_a_customers_name(self, site: Site) -> None:
        page = site.get("/sessions?q=daughters&last=24h")
        assert f"customer {NAME}, 1 number" in page
        assert site.calls["refused"].id in page
        assert "matched caller" in page

    def test_nobodys_name_finds_nothing(self, site: Site) -> None:
        assert "No session" in site.get("/sessions?q=nobodys-name&last=24h")

    def test_by_customer_and_account_with_their_names_as_filters(self, site: Site) -> None:
        page = site.get(f"/sessions?customer={site.made['customer']}&last=24h")
        assert f"customer: <b>{NAME}</b>" in page
        assert site.calls["refused"].id in page
        assert site.calls["refused"].id in site.get(f"/sessions?account={site.made['account']}&last=24h")
        assert "No session" in site.get(f"/sessions?account={site.made['nobody']}&last=24h")
        assert "No session" in site.get("/sessions?customer=999999&last=24h")

    def test_with_an_issue(self, site: Site) -> None:
        page = site.get(f"/sessions?customer={site.made['customer']}&issue=destination-forbidden&last=24h")
        assert re.findall(r'data-open="([^"]+)"', page) == [site.calls["refused"].id]

    @pytest.mark.parametrize("given", ["abc", "0", "-1", "9" * 20])
    def test_what_is_no_id_is_told(self, site: Site, given: str) -> None:
        answer = site.client.get(f"/sessions?customer={given}")
        assert answer.status_code == 400
        assert "is no id of a customer" in unescape(answer.text)


class TestTab:
    @pytest.mark.parametrize("kind", ["customer", "account"])
    def test_their_sessions(self, site: Site, kind: str) -> None:
        path = f"/{kind}s/{site.made[kind]}"
        assert f"{path}/sessions" in links(site.get(path))
        page = site.get(f"{path}/sessions")
        assert 'aria-current="page">Sessions</a>' in page
        assert site.calls["refused"].id in page
        assert f"/sessions?last=24h&{kind}={site.made[kind]}" in links(page)

    def test_pages_of_it(self, site: Site) -> None:
        path = f"/customers/{site.made['customer']}/sessions"
        first = site.get(f"{path}?limit=1&last=7d")
        (more,) = [href for href in links(first) if "cursor=" in href]
        assert more.startswith(path)
        rest = site.get(more, **{"HX-Request": "true"})
        assert "<html" not in rest
        assert set(re.findall(r'data-open="([^"]+)"', rest)).isdisjoint(re.findall(r'data-open="([^"]+)"', first))

    def test_nothing_in_the_interval(self, site: Site) -> None:
        page = site.get(f"/accounts/{site.made['nobody']}/sessions?last=1h")
        assert "No session of its numbers began between" in page
        assert f"/accounts/{site.made['nobody']}/sessions?last=24h" in links(page)

    def test_what_is_wrong_is_told(self, site: Site) -> None:
        assert "none of 15m" in unescape(site.client.get(f"/accounts/{site.made['account']}/sessions?last=9y").text)
        assert site.client.get("/customers/999999/sessions").status_code == 404

    def test_masked(self, module_site: Site) -> None:
        page = module_site.as_("rea").get(f"/customers/{module_site.made['customer']}/sessions")
        assert module_site.calls["refused"].id in page
        assert "Daughters" not in page
        assert CALLER not in page
