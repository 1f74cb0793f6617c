"""The page and the API of the rules: who may, what is refused and how, and what a reader of one environment sees."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from databases import SQLITE
from ringback import clock
from ringback.access.dependencies import current_user
from ringback.access.permissions import PERMISSIONS, Permission, Role
from ringback.access.schemas import Principal
from ringback.app import create_app
from ringback.billing.entities.models import Environment
from ringback.changes.schemas import Actor
from ringback.changes.service import changing
from ringback.events import EventStore, LegQuery, LogQuery, LogRecord
from ringback.records.wall import EVERYWHERE
from ringback.sessions.capture.pcap_writer import write_pcap
from ringback.sessions.ingest.legs import LegTable
from ringback.sessions.ingest.packing import batches
from ringback.sessions.ownership.rules import Rule, TrafficRules
from ringback.sessions.search import session_id
from ringback.sessions.story import Hop, Sighting
from ringback.settings import load_settings

pytestmark = pytest.mark.parametrize("database", [SQLITE])  # what both have to say alike is said by the other tests
PATH = "/environments/traffic"
API = "/api/v1/traffic-rules"
PHONE = Hop("udp", "198.51.100.23", 5060, "192.0.2.10", 5060, "101")


@dataclass
class Site:
    app: FastAPI
    client: TestClient

    def sign_in(self, role: Role = Role.ADMINISTRATOR, *environments: str, everywhere: bool = False) -> TestClient:
        """How one signs in is no subject here, what a principal may is."""
        everywhere = everywhere or (role is Role.ADMINISTRATOR and not environments)
        belongs_to = ("default", "a", "b", "unassigned") if everywhere else environments or ("default",)
        principal = Principal(
            "token", "ada", belongs_to[:1], PERMISSIONS[role], 1, belongs_to=belongs_to, everywhere=everywhere
        )
        self.app.dependency_overrides[current_user] = lambda: principal
        return self.client

    @property
    def events(self) -> EventStore:
        events: EventStore = self.app.state.events
        return events

    @property
    def page(self) -> str:
        return self.client.get(PATH).text

    @property
    def version(self) -> str:
        found = re.search(r'name="version" value="(\w+)"', self.page)
        assert found
        return found[1]

    def post(self, path: str = "", **form: object) -> Any:
        data = {"version": self.version, **{name: str(value) for name, value in form.items()}}
        return self.client.post(PATH + path, data=data)

    def rules(self) -> list[tuple[str, str, str]]:
        return [(each["kind"], each["value"], each["environment"]) for each in self.client.get(API).json()["rules"]]

    def id_of(self, what: str) -> int:
        found = re.search(r"\?edit=(\d+)#edit\" aria-label=\"Change the rule for " + re.escape(what), self.page)
        assert found
        return int(found[1])


@pytest.fixture
def site(tmp_path: Path, records_url: str) -> Iterator[Site]:
    app = create_app(load_settings({"RINGBACK_DATABASE_URL": records_url}, data=tmp_path / "data"))
    with TestClient(app, base_url="http://ringback.test", follow_redirects=False) as client:
        with changing(app.state.records, Actor("user", "ada", "console"), EVERYWHERE) as work:
            for key in ("a", "b"):
                row = Environment(environment=key, key=key, name=f"Tenant {key}", created_at=clock.now())
                row.currency, row.time_zone = "USD", "UTC"
                work.add(row)
        made = Site(app, client)
        made.sign_in()
        yield made


def invite(call_id: str, domain: str, caller: str = "12103355787") -> bytes:
    return (
        f"INVITE sip:18660333777@{domain} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.23;branch=z9hG4bK{call_id}\r\n"
        f"From: <sip:{caller}@{domain}>;tag=1\r\nTo: <sip:18660333777@{domain}>\r\nCall-ID: {call_id}\r\n"
        "CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def stored(events: EventStore, owners: TrafficRules, **calls: str) -> dict[str, str]:
    """Call-ID -> domain, of now. Returns Call-ID -> session id."""
    table = LegTable(owners=owners)
    now = clock.now_us() - 60_000_000
    table.add([(now, PHONE, invite(call_id, domain), 0, "") for call_id, domain in calls.items()])
    ids = {row.call_id: session_id(row) for row in table.open_rows()}
    for batch in batches(table.take(now)).values():
        events.write(batch)
    return ids


def test_only_who_looks_after_environments_may(site: Site) -> None:
    for role in Role:
        client = site.sign_in(role)
        allowed = 200 if role is Role.ADMINISTRATOR else 403
        assert client.get(PATH).status_code == allowed
        assert client.get(API).status_code == allowed
        if allowed == 403:
            for path in ("", "/change", "/move", "/remove"):
                assert client.post(PATH + path, data={"version": "x", "rule": "1", "place": "1"}).status_code == 403
            assert client.put(API, json={"version": "x", "rules": []}).status_code == 403
            assert client.post(f"{API}/test", json={}).status_code == 403
    every = PERMISSIONS[Role.ADMINISTRATOR]
    blind = Principal("token", "ada", ("default",), every - {Permission.PERSONAL_READ}, 1, everywhere=True)
    of_one = Principal("token", "ada", ("a",), every, 1, belongs_to=("a",))
    for principal in (blind, of_one):
        site.app.dependency_overrides[current_user] = lambda principal=principal: principal
        assert [site.client.get(path).status_code for path in (PATH, API)] == [403, 403]
        assert site.client.post(PATH, data={"version": "x"}).status_code == 403
    site.sign_in()
    assert site.rules() == [("everything", "", "default")]


def test_rules_are_added_changed_moved_and_removed(site: Site) -> None:
    assert site.post(kind="domain", value="A.example", environment="a").status_code == 303
    assert site.post(kind="account", value="+44%", environment="b").status_code == 303
    assert site.rules() == [("domain", "a.example", "a"), ("account", "44%", "b"), ("everything", "", "default")]
    assert "Tenant b" in site.page
    rule = site.id_of("Account 44%")
    assert f'name="rule" value="{rule}"' in site.client.get(f"{PATH}?edit={rule}").text
    answer = site.post("/change", rule=rule, kind="account", value="4477%", environment="a", place=1)
    assert answer.headers["location"] == PATH
    assert site.rules()[0] == ("account", "4477%", "a")
    assert site.post("/move", rule=rule, place=2).status_code == 303
    assert [kind for kind, _, _ in site.rules()] == ["domain", "account", "everything"]
    assert site.post("/remove", rule=site.id_of("Everything")).status_code == 303
    assert site.post("/remove", rule=rule).status_code == 303
    assert site.rules() == [("domain", "a.example", "a")]
    assert "What matches no rule is unassigned" in site.page


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"kind": "address", "value": "<b>", "environment": "a"}, "&#39;&lt;b&gt;&#39; is no address or network"),
        ({"kind": "domain", "value": "x.example", "environment": ""}, "Choose the environment"),
        ({"kind": "domain", "value": "x.example", "environment": "zz"}, "There is no environment zz"),
        ({"kind": "planet", "value": "x", "environment": "a"}, "is none of node"),
        ({"kind": "everything", "value": "", "environment": "a"}, "a rule for everything already, the 1st"),
    ],
)
def test_what_will_not_do_is_told_at_its_field_and_what_was_typed_stays(
    site: Site, form: dict[str, str], said: str
) -> None:
    answer = site.post(**form)
    assert answer.status_code == 400
    assert said in answer.text
    assert 'aria-invalid="true"' in answer.text
    rule = site.id_of("Everything")
    if form["kind"] != "everything":
        changed = site.post("/change", rule=rule, **form)
        assert changed.status_code == 400
        assert said in changed.text
    assert site.rules() == [("everything", "", "default")]


def test_a_form_of_an_older_list_changes_nothing(site: Site) -> None:
    old = site.version
    site.post(kind="domain", value="a.example", environment="a")
    for path, form in (
        ("", {"kind": "domain", "value": "b.example", "environment": "b"}),
        ("/remove", {"rule": "1"}),
        ("/move", {"rule": "1", "place": "1"}),
        ("/change", {"rule": "1", "kind": "everything", "environment": "a"}),
    ):
        answer = site.client.post(PATH + path, data={"version": old, **form})
        assert answer.status_code == 303
        assert "changed meanwhile" in site.client.get(PATH).text
    assert len(site.rules()) == 2
    refused = site.client.put(API, json={"version": old, "rules": []})
    assert (refused.status_code, refused.json()["field"]) == (409, "version")
    assert site.post("/remove", rule=999).status_code == 303
    assert "no rule 999" in site.client.get(PATH).text


def test_the_list_is_put_as_a_whole_or_not_at_all(site: Site) -> None:
    def put(*rules: tuple[str, str, str]) -> Any:
        body = [{"kind": kind, "value": value, "environment": environment} for kind, value, environment in rules]
        return site.client.put(API, json={"version": site.client.get(API).json()["version"], "rules": body})

    rules = [("node", "0101", "a"), ("address", "192.0.2.0/24", "b"), ("everything", "", "unassigned")]
    answer = put(*rules)
    assert answer.status_code == 200
    assert site.rules() == [("node", "101", "a"), *rules[1:]]
    assert answer.json() == site.client.get(API).json()
    for bad, field in (
        ((*rules, ("domain", "*", "a")), "rules[3].value"),
        ((*rules, ("domain", "a.example", "zz")), "rules[3].environment"),
        ((*rules, ("node", "101", "b")), "rules[3].value"),
    ):
        refused = put(*bad)
        assert (refused.status_code, refused.json()["field"]) == (422, field)
    assert site.rules() == [("node", "101", "a"), *rules[1:]]
    assert put().status_code == 200
    assert site.rules() == []
    assert "There is no rule: all traffic is unassigned" in site.page


def test_the_rules_are_tried(site: Site) -> None:
    site.post(kind="domain", value="*.a.example", environment="a")
    found = site.client.post(f"{API}/test", json={"request_uri": "sip:1@sip.a.example"}).json()
    rule = {"kind": "domain", "value": "*.a.example", "environment": "a"}
    assert found == {"place": 1, "rule": rule, "environment": "a"}
    assert site.client.post(f"{API}/test", json={"from": "sip:1@a.example"}).json()["environment"] == "default"
    page = site.client.get(PATH, params={"tried": "1", "sender": "sip:1@sip.a.example"}).text
    assert "Rule 1 decides, domain *.a.example" in page
    site.post("/remove", rule=site.id_of("Everything"))
    assert "No rule matches" in site.client.get(PATH, params={"tried": "1"}).text
    assert site.client.post(f"{API}/test", json={"colour": "red"}).status_code == 422


def test_how_much_is_unassigned_is_told_and_a_click_makes_a_rule_of_it(site: Site) -> None:
    assert "Nothing: every session" in site.page
    stored(
        site.events,
        TrafficRules([Rule("domain", "a.example", "a")]),
        one="x.example",
        two="y.example",
        mine="a.example",
    )
    site.events.write_logs([LogRecord("unassigned", clock.now_us() - 1, "node", "edge-9", "", "a line")])
    page = site.page
    assert re.search(r"<b>2</b> sessions begun", page)
    assert re.search(r"<b>2</b> messages", page)
    assert re.search(r"<b>1</b> log lines", page)
    for value in ("101", "edge-9", "198.51.100.23"):
        assert f'name="value" value="{value}"' in page
    assert site.post(kind="node", value="101", environment="b", sender="101").status_code == 303
    assert site.rules()[0] == ("node", "101", "b")
    refused = site.post(kind="address", value="198.51.100.23", environment="", sender="198.51.100.23")
    assert "198.51.100.23: Choose the environment" in refused.text


def test_many_rules_are_shown_page_by_page_and_found(site: Site) -> None:
    rules = [{"kind": "domain", "value": f"d{n}.example", "environment": "ab"[n % 2]} for n in range(250)]
    version = site.client.get(API).json()["version"]
    assert site.client.put(API, json={"version": version, "rules": rules}).status_code == 200
    first, last = site.page, site.client.get(PATH, params={"page": 3}).text
    assert "page 1 of 3" in first
    assert "d99.example" in first
    assert "d249.example" not in first
    assert "d249.example" in last
    assert "1 of 250 rules" in site.client.get(PATH, params={"q": "D249"}).text
    assert "No rule says “nothing”" in site.client.get(PATH, params={"q": "nothing"}).text
    edited = site.client.get(PATH, params={"edit": re.findall(r"edit=(\d+)#edit", last)[-1]}).text
    assert "page 3 of 3" in edited


def test_a_reader_of_one_environment_neither_finds_nor_opens_what_is_anothers(site: Site) -> None:
    rules = TrafficRules([Rule("domain", "a.example", "a"), Rule("domain", "b.example", "b")])
    ids = stored(site.events, rules, mine="a.example", others="b.example", nobodys="c.example")
    assert len(ids) == 3
    for role in (Role.SUPPORT, Role.NOC, Role.READ_ONLY, Role.API):
        client = site.sign_in(role, "a")
        for query in ({}, {"q": "12103355787"}, {"q": "3355787"}, {"q": "others"}, {"q": "nobodys"}):
            found = client.get("/api/v1/sessions", params=query)
            assert found.status_code == 200
            listed = {each["id"] for each in found.json()["sessions"]}
            assert listed <= {ids["mine"]}
            if "q" not in query:
                assert listed == {ids["mine"]}
            for path in ("/sessions", "/sessions/histogram"):
                page = client.get(path, params=query)
                assert ids["others"] not in page.text
                assert ids["nobodys"] not in page.text
        assert client.get(f"/sessions/{ids['mine']}").status_code == 200
        for other in ("others", "nobodys"):
            for path in (
                "/api/v1/sessions/{}",
                "/sessions/{}",
                "/sessions/{}?view=nodes",
                "/sessions/{}/share",
                "/sessions/{}/messages/1",
            ):
                assert client.get(path.format(ids[other])).status_code in (403, 404), (role, path)
            for path in ("/api/v1/sessions/{}/export?format=json", "/sessions/{}/export?format=pcap"):
                assert client.get(path.format(ids[other])).status_code in (403, 404), (role, path)
    client = site.sign_in(Role.ADMINISTRATOR, "unassigned")
    assert client.get(f"/sessions/{ids['nobodys']}").status_code == 200
    assert client.get(f"/sessions/{ids['mine']}").status_code == 404


def lines_of(site: Site) -> dict[str, str]:
    """Text -> environment."""
    found = {}
    for environment in ("default", "a", "b", "unassigned"):
        for record in site.events.search_logs(LogQuery((environment,), 0, clock.now_us() + 1)).records:
            assert record.text not in found
            found[record.text] = environment
    return found


def test_lines_belong_to_the_token_or_where_the_rules_say(site: Site) -> None:
    site.post(kind="domain", value="a.example", environment="a")
    site.post("/remove", rule=site.id_of("Everything"))

    def send(text: str, **headers: str) -> int:
        document = {"time": clock.now_us() - 1, "text": text, "domain": "a.example"}
        return site.client.post("/ingest/v1/logs", json=document, headers=headers).status_code

    site.sign_in(Role.API, "b")
    assert send("of b") == 200
    site.sign_in(Role.API, everywhere=True)
    assert send("by the rules") == 200
    assert send("named", **{"Ringback-Environment": "default"}) == 200  # `environments` are those that were chosen
    assert (
        site.client.post("/ingest/v1/logs", json={"time": clock.now_us() - 1, "text": "nobody's"}).status_code == 200
    )
    assert lines_of(site) == {"of b": "b", "by the rules": "a", "named": "default", "nobody's": "unassigned"}


def test_a_capture_belongs_to_who_uploads_it_or_where_the_rules_say(site: Site, tmp_path: Path) -> None:
    site.post(kind="domain", value="a.example", environment="a")
    hop = Hop("udp", "198.51.100.23", 5060, "192.0.2.10", 5060)
    now = clock.now_us() - 60_000_000

    def capture(call_id: str) -> bytes:
        write_pcap(tmp_path / "c.pcap", [Sighting(now, hop, invite(call_id, "a.example"))])
        return (tmp_path / "c.pcap").read_bytes()

    def upload(call_id: str, **fields: str) -> int:
        files = {"file": ("c.pcap", capture(call_id))}
        return site.client.post("/api/v1/captures", files=files, data=fields).status_code

    def where() -> dict[str, str]:
        return {
            row.call_id: row.environment
            for row in site.events.search(LegQuery(("default", "a", "b", "unassigned"), 0, now * 2)).rows
        }

    site.sign_in(Role.SUPPORT, "b")
    assert upload("of b") == 200
    assert upload("a's", environment="a") == 422
    assert upload("by rules", environment="") == 422
    site.sign_in(everywhere=True)
    assert upload("ruled") == 200
    assert upload("chosen", environment="unassigned") == 200
    assert upload("ruled too", environment="") == 200
    assert upload("nowhere", environment="zz") == 422
    page = site.client.get("/upload").text
    assert '<option value="">what the rules say</option>' in page
    assert where() == {"of b": "b", "ruled": "a", "chosen": "unassigned", "ruled too": "a"}
