"""Who may ask, what is no question, and what the engine tells of itself."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from engine_asked import JOHN, PRAGUE, Asking, Books, Running
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from actors import by_tester
from ringback import clock
from ringback.access.tokens import revoke_token
from ringback.billing.engine.models import EngineSession
from ringback.records.engine import reading
from running import PATIENCE

BODY = {"node": "edge-1", "call_id": "c1", "account": JOHN, "caller": JOHN, "called": PRAGUE}


def test_a_token_of_another_environment_finds_nothing(
    live: Running, books: Books, node: Asking, engine: Engine
) -> None:
    theirs = Books.of(engine, "acme")
    theirs.world.change("account", theirs.made["account"], {"blocked": True})
    session = node.authorize(call_id="c1")["session"]
    other = live.node(theirs.token())
    with other.client:
        assert other.authorize(call_id="c1")["reason"] == "account-blocked", "their John, not ours"
        only_ours = books.account("15550001")
        assert only_ours
        assert other.authorize(call_id="c9", account="15550001")["reason"] == "account-unknown"
        books.world.make("node", name="core-1")
        assert other.authorize(call_id="c9", node="core-1")["reason"] == "node-unknown"
        for told in ({"session": session}, {"session": session, "account": "15550001"}):
            body = {"event": "stop", "node": "edge-1", "call_id": "c1", "seconds": 60} | told
            assert other.post("accounting", body).status_code == 422
    assert live.lines("c1", "acme")
    assert {line.fields["i_account"] for line in live.lines("c1") if "i_account" in line.fields} == {
        str(books.made["account"])
    }
    with reading(engine, ("acme",)) as found:
        assert found.scalars(select(EngineSession.id)).all() == []
    assert live.xdrs() == []


def test_a_token_of_several_environments_names_one(live: Running, books: Books, engine: Engine) -> None:
    theirs = Books.of(engine, "acme")
    token = books.token(environments=("default", "acme"))
    with live.node(token).client as client:

        def asked(**headers: str) -> Any:
            return client.post("/aaa/v1/authorize", json=BODY | {"call_id": clock.random_token(6)}, headers=headers)

        assert asked().json()["i_account"] == books.made["account"]
        assert asked(**{"Ringback-Environment": "acme"}).json()["i_account"] == theirs.made["account"]
        refused = asked(**{"Ringback-Environment": "other"})
        assert refused.status_code == 403


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer rb_nobody", "Basic cmI6cmI=", "Bearer é"])
@pytest.mark.parametrize("database", ["sqlite"])
def test_who_shows_no_token_gets_no_answer(live: Running, books: Books, authorization: str) -> None:
    headers = [(b"authorization", authorization.encode("latin-1"))] if authorization else []
    for path, body in (("authorize", BODY), ("accounting", BODY | {"event": "stop"})):
        answer = httpx2.post(f"{live.url}/aaa/v1/{path}", json=body, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("database", ["sqlite"])
def test_a_token_without_the_permission_is_refused(live: Running, books: Books) -> None:
    with live.node(books.token("customers.read")).client as client:
        answer = client.post("/aaa/v1/authorize", json=BODY)
    assert answer.status_code == 403
    assert "engine.ask" in answer.json()["detail"]


def test_a_token_that_is_revoked_ends_with_the_next_request(live: Running, books: Books, engine: Engine) -> None:
    asking = live.node(books.token(name="edge"))
    with asking.client:
        assert asking.authorize()["allowed"]
        assert asking.tell("start", call_id="c1", account=JOHN)
        with by_tester(engine) as work:
            revoke_token(work, "edge")
        assert asking.post("authorize", BODY).status_code == 401
        assert asking.post("accounting", BODY | {"event": "stop", "seconds": 1}).status_code == 401


BAD: list[tuple[object, str | None]] = [
    ({}, "node"),
    ([], None),
    ("text", None),
    (BODY | {"node": ""}, "node"),
    (BODY | {"call_id": "a\0b"}, "call_id"),
    (BODY | {"called": "1" * 300}, "called"),
    (BODY | {"service": "fax"}, "service"),
    (BODY | {"at": "2026-01-01T00:00:00"}, "at"),
    (BODY | {"at": "1500-01-01T00:00:00Z"}, "at"),
    (BODY | {"ip": "192.0.2.1"}, None),
    ({name: value for name, value in BODY.items() if name != "account"}, None),
    (BODY | {"account": "", "username": "a"}, None),
    (BODY | {"colour": "red"}, "colour"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "field"), BAD)
@pytest.mark.parametrize("database", ["sqlite"])
def test_what_is_wrong_with_a_body_is_told(live: Running, node: Asking, body: object, field: str | None) -> None:
    answer = node.post("authorize", body)
    assert answer.status_code == 422, answer.text
    assert answer.json().get("field") == field
    assert answer.json()["detail"].endswith(".")


@pytest.mark.parametrize("database", ["sqlite"])
def test_paths_methods_and_sizes(live: Running, node: Asking) -> None:
    client = node.client
    assert client.get("/aaa/v1/authorize").status_code == 405
    assert client.get("/aaa/v1/authorize").headers["allow"] == "POST"
    assert client.get("/").status_code == 404
    assert client.post("/aaa/v1/authorize", content=b" " * 70_000).status_code == 413
    assert client.post("/aaa/v1/authorize", content=b"{").status_code == 422
    assert client.post("/aaa/v1/authorize?format=xml", json=BODY).status_code == 422
    assert client.get("/healthz").text == "ok"
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]) == (200, {"records": "ok"})


@pytest.mark.parametrize("database", ["sqlite"])
def test_an_answer_is_one_packet_and_one_without_a_body_is_not_kept_back(live: Running) -> None:
    address = urlsplit(live.url)
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as node:

        def ask(method: str, more: bytes = b"") -> bytes:
            node.sendall(b"%s /healthz HTTP/1.1\r\nHost: x\r\n%s\r\n" % (method.encode(), more))
            return node.recv(65536)

        assert ask("GET").endswith(b"\r\n\r\nok")
        assert ask("HEAD").endswith(b"\r\n\r\n")
        assert ask("GET").endswith(b"\r\n\r\nok")
        body = b'{"node": "edge-1"}'
        expecting = b"Expect: 100-continue\r\nContent-Length: %d\r\n" % len(body)
        node.sendall(b"POST /aaa/v1/authorize HTTP/1.1\r\nHost: x\r\n%s\r\n" % expecting)
        assert node.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        node.sendall(body)
        assert node.recv(65536).startswith(b"HTTP/1.1 422 ")
        assert ask("GET", b"Connection: close\r\n").endswith(b"\r\n\r\nok")
        assert node.recv(65536) == b""


@pytest.mark.parametrize("database", ["sqlite"])
def test_figures(live: Running, books: Books, node: Asking) -> None:
    node.authorize()
    node.authorize(called="33123")
    node.tell("start", call_id="c1", account=JOHN)
    live.lines("c1")
    node.post("authorize", {})
    figures = node.client.get("/metrics").text
    for line in (
        'ringback_engine_authorizations_total{reason="",result="allowed"} 1.0',
        'ringback_engine_authorizations_total{reason="destination-not-in-tariff",result="refused"} 1.0',
        'ringback_engine_authorize_seconds_bucket{le="+Inf"} 2.0',
        'ringback_engine_accounting_total{event="start"} 1.0',
        "ringback_engine_requests_refused_total 1.0",
        "ringback_engine_log_lines_dropped_total 0.0",
    ):
        assert line in figures
    assert JOHN not in figures


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "node", "call_id", "conf_id", "service", "direction", "account", "authorization", "method", "username", "password",
    "ip", "caller", "called", "at", "event", "session", "seconds", "connected_at", "ended_at", "cause",
)  # fmt: skip
VALUES = st.one_of(
    json_values,
    st.sampled_from(["edge-1", JOHN, PRAGUE, "start", "interim", "stop", "voice", "outgoing", "2026-11-20T10:00:00Z",
                     "192.0.2.1", "::1", 'Digest username="12103355787", realm="", nonce="", uri="", response=""']),
    st.text(max_size=80),
    st.integers(-10, 1 << 70),
)  # fmt: skip
RADIUS_NAMES = (
    "User-Name", "NAS-Identifier", "Called-Station-Id", "Acct-Session-Id", "Acct-Status-Type", "Acct-Session-Time",
    "h323-conf-id", "h323-connect-time", "Cisco-AVPair", "Digest-Response", "User-Password",
)  # fmt: skip


@pytest.mark.parametrize("database", ["sqlite"])
def test_no_body_breaks_the_engine(live: Running, books: Books, node: Asking) -> None:
    """Whatever is sent, the answer is an answer or says what is wrong with the question."""

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(["authorize", "accounting"]),
        st.dictionaries(st.sampled_from(FIELDS), VALUES) | json_values,
        st.dictionaries(
            st.sampled_from(RADIUS_NAMES), VALUES | st.fixed_dictionaries({"value": VALUES | st.lists(VALUES)})
        ),
        st.booleans(),
        st.binary(max_size=40),
        st.sampled_from(["json", "radius", "bytes"]),
    )
    def fuzz(path: str, body: Any, attributes: Any, whole: bool, raw: bytes, kind: str) -> None:
        if whole and isinstance(body, dict):
            body = {"node": "edge-1", "call_id": "c1", "event": "stop"} | body
            if path == "authorize":
                body.pop("event")
        given = attributes if kind == "radius" else body
        content = raw if kind == "bytes" else json.dumps(given).encode(errors="surrogatepass")
        url = f"/aaa/v1/{path}" + ("?format=radius" if kind == "radius" else "")
        answer = node.client.post(url, content=content)
        assert answer.status_code in (200, 422), (answer.status_code, answer.text, content)
        if answer.status_code == 200 and path == "authorize" and kind != "radius":
            assert answer.json()["reason"] != "system-error", content

    fuzz()
