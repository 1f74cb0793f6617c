"""Who may not see personal data sees none, whatever is asked: every route of the sessions room over real traffic."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from httpx2 import Response
from leaks import identities, of_session, told
from masked_calls import BILLED_SECRETS, NODE_INFOS, SECRET_FREE, SECRETS, SHOWN, fill
from starlette.testclient import TestClient

from actors import by_tester
from goods import World
from ringback import clock
from ringback.access import tokens
from ringback.access.permissions import PERMISSIONS, Permission, Role
from ringback.app import create_app
from ringback.demo.nodes import NODES
from ringback.sessions.capture.pcap import read_capture
from ringback.sessions.export import FORMATS
from ringback.sessions.ingest.status import CollectorStatus, SenderStatus, write_collector_status
from ringback.sessions.nodes.service import replace_nodes
from ringback.sessions.schemas import SessionQuery
from ringback.sessions.share.service import list_views
from ringback.settings import load_settings

HTMX = {"HX-Request": "true"}
UNKNOWN_SENDERS = ("198.51.100.66", "2001:db8::77:66", "198.51.100.67", "198.51.100.68")
ANY = (
    "talkative",
    "billed",
    "forked",
    "attended-transfer",
    "wrong-password",
    "private-address-in-contact",
    "text-message",
)

# What is asked of each route, as NOC engineers may. {session_id} is each of ANY, {number} each entry, {token} a link.
READ = {
    "/": [""],
    "/sessions": ["?last=24h", "?last=24h&limit=3", "?last=24h&q=nobody", "?last=24h&q=44%25", "?last=24h&ip=10.1.*",
                  "?last=24h&outcome=failed&kind=call", "?last=24h&issue=caller-not-allowed",
                  "?last=24h&customer=1", "?last=24h&account=1"],
    "/sessions/histogram": ["?last=24h"],
    "/sessions/issues": ["?id={session_id}"],
    "/sessions/{session_id}": ["", "?view=nodes", "?view=classic", "?kind=billing", "?kind=sip&all=1", "?node=edge1"],
    "/sessions/{session_id}/messages/{number}": [""],
    "/sessions/{session_id}/compare": ["?m=1&m=2", "?m=1&m=3"],
    "/sessions/{session_id}/export": [f"?format={one}" for one in FORMATS],
    "/sessions/{session_id}/shares": [""],
    "/share/{token}": ["", "?view=nodes", "?view=classic"],
    "/share/{token}/messages/{number}": [""],
    "/share/{token}/compare": ["?m=1&m=2"],
    "/share/{token}/export": [f"?format={one}" for one in FORMATS],
    "/customers/{row_id:int}/sessions": ["", "?last=7d"],
    "/accounts/{row_id:int}/sessions": ["", "?last=7d"],
    "/nodes/unknown-senders": [""],
    "/capture": [""],
    "/upload": [""],
    "/guide": [""],
    "/guide/{issue}": [""],
    "/environments/traffic": [""],
    "/api/v1/traffic-rules": [""],
    "/api/v1/sessions": ["", "?limit=2", "?issue=caller-not-allowed", "?diagnose=false", "?number=%25787", "?q=44%25",
                         "?customer=1", "?account=1"],
    "/api/v1/sessions/{session_id}": [""],
    "/api/v1/sessions/{session_id}/export": [f"?format={one}" for one in FORMATS],
    "/api/v1/shares": [""],
    "/api/v1/status": [""],
}  # fmt: skip
OF_ONE = {path for path in READ if "{session_id}" in path or "{token}" in path}
# What changes something answers with what was sent, with figures, or not at all.
WRITE: dict[str, dict[str, Any]] = {
    "/sessions/{session_id}/shares": {"data": {"hours": "1"}},
    "/sessions/{session_id}/shares/{share_id}/revoke": {"data": {}},
    "/api/v1/shares": {"json": {"session": "{session_id}"}},
    "/api/v1/shares/{share_id}": {},
    "/upload": {"files": {"file": ("x.pcap", b"no capture")}},
    "/api/v1/captures": {"content": b"no capture"},
    "/ingest/v1/logs": {"content": b"not json"},
    "/nodes/unknown-senders": {"data": {"name": "n2", "sender_kind": "address", "value": "nothing"}},
    "/api/v1/nodes": {"json": {"nodes": "wrong"}},
    "/environments/traffic": {"data": {}},
    "/environments/traffic/change": {"data": {}},
    "/environments/traffic/move": {"data": {}},
    "/environments/traffic/remove": {"data": {}},
    "/api/v1/traffic-rules": {"json": {}},
    "/api/v1/traffic-rules/test": {"json": {}},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Masked:
    client: TestClient
    app: FastAPI
    ids: dict[str, str]  # name of a call -> session id
    known: set[str]  # identities of the traffic
    entries: dict[str, int]  # session id -> entries
    clear: str  # a token that may see personal data


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Masked]:
    """The application with all calls in it, asked by a token without the permission."""
    app = create_app(load_settings({}, data=tmp_path_factory.mktemp("masked")))
    scopes = tuple(PERMISSIONS[Role.NOC] - {Permission.TOKENS_OWN})
    assert Permission.PERSONAL_READ not in scopes
    with TestClient(app, base_url="http://ringback.test", follow_redirects=False) as client:
        with by_tester(app.state.records) as work:
            secret = tokens.create_token(work, "noc", scopes=scopes)
            clear = tokens.create_token(work, "support", scopes=(*scopes, Permission.PERSONAL_READ))
            replace_nodes(work, "default", NODES)
        world = World(app.state.records)
        customer = world.make("customer", name="Balthazar Quint & Sons")
        account = world.make("account", id="12105557788", i_customer=customer)
        write_collector_status(app.state.settings.data, heard(clock.now_us()))
        client.headers["Authorization"] = f"Bearer {secret}"
        calls = fill(app.state.events, clock.now_us(), account)
        service = app.state.sessions
        query = SessionQuery(clock.now_us() - 86_400_000_000, clock.now_us(), personal=True, limit=1)
        ids, entries, known = {}, {}, (set(SECRETS) - SECRET_FREE) | set(UNKNOWN_SENDERS) | set(BILLED_SECRETS)
        for name, call_id in calls.items():
            (row,) = service.search(replace(query, call_id=call_id)).rows
            session = service.open(row.id, ("default",), personal=True).session
            ids[name], entries[row.id] = row.id, len(session.entries)
            known |= identities(of_session(session), NODE_INFOS)
        yield Masked(client, app, ids, known, entries, clear)


def heard(now_us: int) -> CollectorStatus:
    """Of nodes and of others, who sent HEP or were refused."""
    senders = [("203.0.113.10", ""), ("198.51.100.200", "102"), (UNKNOWN_SENDERS[0], "999"), (UNKNOWN_SENDERS[1], "")]
    return CollectorStatus(
        updated_us=now_us, senders=[SenderStatus(address, agent, 7, now_us) for address, agent in senders],
        strangers={UNKNOWN_SENDERS[2]: 5, UNKNOWN_SENDERS[3]: 6, "203.0.113.20": 8},
    )  # fmt: skip


def routes(app: FastAPI) -> set[tuple[str, str]]:
    """(method, path) of all that the sessions room answers."""
    return {
        (method, each.path or "")
        for each in iter_route_contexts(app.routes)
        for method in each.methods or ()
        if method != "HEAD" and each.endpoint.__module__.startswith("ringback.sessions.")
    }


def test_every_route_of_the_room_is_asked(masked: Masked) -> None:
    reading = {path for method, path in routes(masked.app) if method == "GET"}
    writing = {path for method, path in routes(masked.app) if method != "GET"}
    assert reading <= READ.keys()
    assert writing <= WRITE.keys()


def filled(masked: Masked, path: str, session_id: str, token: str) -> list[str]:
    path = (
        path.replace("{row_id:int}", "1")
        .replace("{session_id}", session_id)
        .replace("{token}", token)
        .replace("{issue}", "caller-not-allowed")
    )
    if "{number}" not in path:
        return [path]
    entries = masked.entries[session_id]
    return [path.replace("{number}", str(number)) for number in range(1, entries + 1, 1 + entries // 8)]


def leaked(masked: Masked, data: bytes, headers: str = "") -> set[str]:
    found = told(data, masked.known) | told(headers, masked.known)
    if data[:4] == b"\xd4\xc3\xb2\xa1":
        for one in read_capture(io.BytesIO(data)):
            found |= {one[1].source, one[1].destination} & masked.known
    return found


@pytest.mark.parametrize("name", ANY)
def test_no_answer_about_a_session_tells_who_it_was(masked: Masked, name: str) -> None:
    session_id = masked.ids[name]
    made = masked.client.post("/api/v1/shares", json={"session": session_id}).json()
    token = made["url"].rpartition("/")[2]
    for path in OF_ONE:
        for here in filled(masked, path, session_id, token):
            for query in READ[path]:
                assert ask(masked, here + query) == 200, here


def test_no_other_answer_tells_who_somebody_was(masked: Masked) -> None:
    for path in READ.keys() - OF_ONE:
        for query in READ[path]:
            (here,) = filled(masked, path, "", "")
            assert ask(masked, here + query.replace("{session_id}", masked.ids["talkative"])) in (
                200,
                303,
                400,
                403,
            ), here


def headers(answer: Response) -> str:
    """Without the length, which may be an extension's number by chance."""
    return str([(name, value) for name, value in answer.headers.items() if name != "content-length"])


def ask(masked: Masked, url: str) -> int:
    """The status of an answer that tells nobody's identity, whole and as the part that a script asks for."""
    answer = masked.client.get(url)
    assert not leaked(masked, answer.content, headers(answer)), url
    if answer.headers.get("content-type", "").startswith("text/html"):
        part = masked.client.get(url, headers=HTMX)
        assert not leaked(masked, part.content, headers(part)), url
    return answer.status_code


def test_no_change_is_answered_with_who_it_was(masked: Masked) -> None:
    session_id = masked.ids["talkative"]
    masked.client.post("/api/v1/shares", json={"session": session_id})
    for method, path in sorted(routes(masked.app)):
        if method == "GET":
            continue
        url = path.replace("{session_id}", session_id).replace("{share_id}", "1")
        how = {name: _put(value, session_id) for name, value in WRITE[path].items()}
        answer = masked.client.request(method, url, **how)
        assert answer.status_code < 500, (method, url, answer.text)
        assert not leaked(masked, answer.content, headers(answer)), (method, url)


def _put(value: Any, session_id: str) -> Any:
    if isinstance(value, dict):
        return {name: _put(one, session_id) for name, one in value.items()}
    return session_id if value == "{session_id}" else value


def test_every_recorded_call_is_masked_in_every_file(masked: Masked) -> None:
    service = masked.app.state.sessions
    for name, session_id in masked.ids.items():
        opened = service.open(session_id, ("default",))
        assert opened.masked
        for format_ in FORMATS:
            file = service.export(opened, format_)
            assert not leaked(masked, file.data, file.filename), (name, format_)


def test_the_clear_call_tells_what_the_masked_one_hides(masked: Masked) -> None:
    service = masked.app.state.sessions
    opened = service.open(masked.ids["talkative"], ("default",), personal=True)
    text = service.export(opened, "json").data
    assert told(text, SECRETS) == set(SECRETS)
    assert len(masked.known) > 150


def test_a_masked_call_is_diagnosed_as_the_clear_one_is(masked: Masked) -> None:
    service = masked.app.state.sessions
    for name, session_id in masked.ids.items():
        hidden = service.open(session_id, ("default",))
        clear = service.open(session_id, ("default",), personal=True)
        assert [(one.id, one.severity, one.confidence) for one in hidden.issues] == [
            (one.id, one.severity, one.confidence) for one in clear.issues
        ], name
        assert [[one.message for one in issue.evidence] for issue in hidden.issues] == [
            [one.message for one in issue.evidence] for issue in clear.issues
        ]
        for told_of in ("kind", "outcome", "final_code", "started_us", "message_count", "retransmission_count"):
            assert getattr(hidden.session, told_of) == getattr(clear.session, told_of), (name, told_of)
        # Who is one stays one, and who is another stays another.
        assert len({one.id for one in hidden.session.participants}) == len(clear.session.participants)
        assert len(set(hidden.session.call_ids)) == len(clear.session.call_ids)
        assert [one.number for one in hidden.session.entries] == [one.number for one in clear.session.entries]
        assert [one.sip.status for one in hidden.session.arrows] == [one.sip.status for one in clear.session.arrows]
        assert [one.sip.truncated for one in hidden.session.arrows] == [
            one.sip.truncated for one in clear.session.arrows
        ]


def test_the_billed_call_tells_the_reason_and_whose_it_was(masked: Masked) -> None:
    """Masked alike wherever it stands: who has it in clear sees the customer's name, who has not sees whose account it is."""
    url = f"/api/v1/sessions/{masked.ids['billed']}"
    clear = masked.client.get(url, headers={"Authorization": f"Bearer {masked.clear}"}).json()
    hidden = masked.client.get(url).json()
    assert [(one["name"], one["customer"]) for one in clear["whose"]] == [("12105557788", "Balthazar Quint & Sons")]
    assert [(one["name"], one["i_account"], one["i_customer"]) for one in hidden["whose"]] == [
        (hidden["caller"], clear["whose"][0]["i_account"], clear["whose"][0]["i_customer"])
    ]
    assert hidden["issues"][0]["id"] == clear["issues"][0]["id"] == "destination-forbidden"
    assert hidden["issues"][0]["mend"] == [{"type": "rate", "id": 101}]
    steps = [
        (one["step"], one["source"], one["destination"]) for one in hidden["timeline"] if one["kind"] == "billing"
    ]
    assert steps == [
        (one["step"], one["source"], one["destination"]) for one in clear["timeline"] if one["kind"] == "billing"
    ]
    assert "its product Home Phone" in next(one["text"] for one in hidden["timeline"] if one["step"] == "account")


def test_what_is_nobodys_is_still_shown(masked: Masked) -> None:
    text = masked.client.get(f"/sessions/{masked.ids['talkative']}/export?format=text").text
    for shown in SHOWN:
        assert shown in text
    assert "121xxxxxx87" in text
    assert "186xxxxxx77" in text
    page = masked.client.get(f"/sessions/{masked.ids['talkative']}").text
    assert "personal.read" in page
    assert "An administrator can grant it to you" in page


def test_of_who_sends_to_the_collector_the_nodes_are_shown_and_others_masked(masked: Masked) -> None:
    """A node is known by its address or its capture id; whatever else knocks may be somebody's phone."""
    status = masked.client.get("/api/v1/status").json()["collector"]
    assert [each["address"] for each in status["senders"]] == [
        "203.0.113.10", "198.51.100.200", "198.51.xxx.xx", "2001:db8::xx:xx"
    ]  # fmt: skip
    assert status["strangers"] == {"198.51.xxx.xy": 5, "198.51.xxx.xz": 6, "203.0.113.20": 8}
    page = masked.client.get("/capture").text
    assert "198.51.xxx.xy (5)" in page
    assert "Addresses of whoever is no node are masked" in page
    clear = masked.client.get("/api/v1/status", headers={"Authorization": f"Bearer {masked.clear}"}).json()[
        "collector"
    ]
    assert {each["address"] for each in clear["senders"]} | clear["strangers"].keys() >= set(UNKNOWN_SENDERS)


def test_who_saw_people_is_told_from_who_did_not(masked: Masked) -> None:
    session_id = masked.ids["busy"]
    url = f"/api/v1/sessions/{session_id}/export?format=text"
    masked.client.get(url)
    masked.client.get(url, headers={"Authorization": f"Bearer {masked.clear}"})
    seen = {(view.viewer.name, view.how) for view in list_views(masked.app.state.records, ("default",), session_id)}
    assert {("noc", "export text, masked"), ("support", "export text")} <= seen


def test_parts_of_a_number_find_nothing_and_the_whole_does(masked: Masked) -> None:
    def found(**query: str) -> int:
        answer = masked.client.get("/api/v1/sessions", params={"from": "-24h", **query})
        return len(answer.json()["sessions"]) if answer.status_code == 200 else -answer.status_code

    assert found(q="+1 (210) 335-5787") == 1
    assert found(number="12103355787") == 1
    assert found(q="Balthazar Quint & Sons") == 1
    assert found(q="Balthazar") == 0, "a part of a customer's name"
    for end in range(1, 11):
        assert found(q="12103355787"[-end:]) == 0, "the end of a number"
    for wildcard in ("%5787", "1210%", "%335%", "konst%"):
        assert found(q=wildcard) == -400
        assert found(number=wildcard) == -400
    assert found(q="198.51.*") == -400
    assert found(ip="198.51.*") == -400
    assert found(q="198.51.100.23") >= 1
    bars = masked.client.get("/sessions/histogram?last=24h&q=5787").text
    assert re.search(r"\b0 sessions|none", bars) or "5787" in bars


def test_a_link_shows_people_only_where_its_maker_may_and_asks(masked: Masked) -> None:
    session = masked.ids["talkative"]
    refused = masked.client.post("/api/v1/shares", json={"session": session, "personal": True})
    assert refused.status_code == 403
    assert "personal.read" in refused.json()["detail"]
    refused = masked.client.post(f"/sessions/{session}/shares", data={"hours": "1", "personal": "1"})
    assert refused.status_code == 403
    made = [
        masked.client.post(
            "/api/v1/shares",
            json={"session": session, "personal": personal},
            headers={"Authorization": f"Bearer {masked.clear}"},
        ).json()
        for personal in (False, True)
    ]
    texts = [
        masked.client.get(one["url"].removeprefix("http://ringback.test"), headers={"Authorization": ""}).text
        for one in made
    ]
    assert "Konstantina" not in texts[0]
    assert "this link does not show personal data" in texts[0]
    assert "12103355787" in texts[1]
    assert "who may see personal data and lets this link show them" in texts[1]
