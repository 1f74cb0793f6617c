"""Two tenants behind one real `ringback serve`: HEP over UDP and TCP, lines and captures, rules that change meanwhile."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from ringback import clock
from ringback.billing.entities.models import Environment
from ringback.changes.schemas import Actor
from ringback.changes.service import changing
from ringback.events import EventStore, LegQuery, LogQuery, open_store
from ringback.records.engine import open_engine
from ringback.records.wall import EVERYWHERE
from ringback.sessions.capture.hep import LOG, encode
from ringback.sessions.capture.pcap_writer import write_pcap
from ringback.sessions.story import Hop, Sighting
from running import PATIENCE, Server, command, serving, until

EDGE_A = Hop("udp", "198.51.100.23", 5060, "192.0.2.10", 5060, "101")
EDGE_B = Hop("udp", "203.0.113.7", 5060, "192.0.2.20", 5060, "202")
PLACES = ("a", "b", "unassigned", "default")
EVER = 250_000_000_000_000_000


def options(call_id: str, domain: str) -> bytes:
    return (
        f"OPTIONS sip:1@{domain} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.23;branch=z9hG4bK1\r\nFrom: <sip:2@{domain}>;tag=1\r\n"
        f"To: <sip:1@{domain}>\r\nCall-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def packet(call_id: str, domain: str = "x.example", hop: Hop = EDGE_A) -> bytes:
    return encode(clock.now_us(), hop, options(call_id, domain))


def line(text: str, call_id: str = "", hop: Hop = EDGE_A) -> bytes:
    return encode(clock.now_us(), hop, text.encode(), payload_type=LOG, correlation=call_id)


def send(server: Server, transport: str, packets: Sequence[bytes]) -> None:
    host, _, port = server.hep[transport].rpartition(":")
    if transport == "tcp":
        with socket.create_connection((host, int(port))) as out:
            out.sendall(b"".join(packets))
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for each in packets:
            out.sendto(each, (host, int(port)))


def found(store: EventStore) -> dict[str, set[str]]:
    """Call-ID of a leg, or text of a line -> environments that have it."""
    places: dict[str, set[str]] = {}
    for place in PLACES:
        for row in store.search(LegQuery((place,), 0, EVER), limit=500).rows:
            places.setdefault(row.call_id, set()).add(place)
        for record in store.search_logs(LogQuery((place,), 0, EVER), limit=500).records:
            places.setdefault(record.text, set()).add(place)
    return places


def stored(store: EventStore, *names: str) -> Callable[[], bool]:
    return lambda: set(names) <= set(found(store))


@contextmanager
def events(data: Path) -> Iterator[EventStore]:
    store = open_store(f"sqlite:{data / 'events'}")
    try:
        yield store
    finally:
        store.close()


class Administrator:
    """Signed in on the pages."""

    def __init__(self, server: Server) -> None:
        self._client = httpx2.Client(base_url=server.web, timeout=PATIENCE)
        answer = self._client.post("/login", data={"name": "admin", "password": server.password})
        assert answer.status_code == 303
        page = self._client.get("/environments/traffic").text
        token = re.search(r'name="csrf-token" content="([^"]+)"', page)
        assert token
        self._client.headers["X-CSRF-Token"] = token[1]

    def put(self, *rules: tuple[str, str, str]) -> None:
        version = self._client.get("/api/v1/traffic-rules").json()["version"]
        listed = [{"kind": kind, "value": value, "environment": environment} for kind, value, environment in rules]
        answer = self._client.put("/api/v1/traffic-rules", json={"version": version, "rules": listed})
        assert answer.status_code == 200, answer.text

    def unassigned(self) -> str:
        return self._client.get("/environments/traffic").text

    def __enter__(self) -> Administrator:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()


def make_environments(data: Path) -> None:
    engine = open_engine(f"sqlite:///{data / 'records.sqlite'}")
    with changing(engine, Actor("user", "ada", "console"), EVERYWHERE) as work:
        for key in ("a", "b"):
            row = Environment(environment=key, key=key, name=key, created_at=clock.now())
            row.currency, row.time_zone = "USD", "UTC"
            work.add(row)
    engine.dispose()


def new_call_until(server: Server, store: EventStore, name: str, place: str) -> None:
    """Calls of a.example, one after the other, until one came to `place`."""
    for number in range(60):
        call_id = f"{name} {number}"
        send(server, "udp", [packet(call_id, "a.example")])
        until(stored(store, call_id))
        if found(store)[call_id] == {place}:
            return
        time.sleep(0.2)
    raise AssertionError(f"no call came to {place}")


@pytest.mark.timeout(240)  # two starts of a whole server, on a machine that may be busy
def test_traffic_of_two_tenants_is_kept_apart_while_rules_change(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with (
        serving(data, wait_for="HEP: tcp", environ={"RINGBACK_HEP_WORKERS": "2"}) as server,
        events(data) as store,
    ):
        send(server, "udp", [packet("before there were rules", "a.example")])
        until(stored(store, "before there were rules"))
        make_environments(data)
        with Administrator(server) as administrator:
            administrator.put(("domain", "a.example", "a"), ("node", "202", "b"))
            new_call_until(server, store, "first", "a")

            for transport in ("udp", "tcp"):
                send(
                    server,
                    transport,
                    [
                        line(f"{transport} line of a", f"{transport} a", EDGE_B),  # its session's, not its node's
                        packet(f"{transport} a", "a.example"),
                        packet(f"{transport} b", "b.example", EDGE_B),
                        packet(f"{transport} nobody's"),
                        line(f"{transport} line of b", hop=EDGE_B),
                        line(f"{transport} line of nobody"),
                    ],
                )
            capture = tmp_path / "a.pcap"
            hop = replace(EDGE_A, agent="")
            now = clock.now_us()
            calls = [options("file a", "a.example"), options("file x", "x.example")]
            write_pcap(capture, [Sighting(now, hop, call) for call in calls])
            assert command("import", "--data", str(data), str(capture)).returncode == 0
            whats = ("a", "b", "nobody's", "line of a", "line of b", "line of nobody")
            names = [f"{transport} {what}" for transport in ("udp", "tcp") for what in whats]
            until(stored(store, *names))
            places = found(store)
            for each in ("udp", "tcp"):
                assert places[f"{each} a"] == places[f"{each} line of a"] == {"a"}
                assert places[f"{each} b"] == places[f"{each} line of b"] == {"b"}
                assert places[f"{each} nobody's"] == places[f"{each} line of nobody"] == {"unassigned"}
            assert places["file a"] == {"a"}
            assert places["file x"] == {"unassigned"}
            page = administrator.unassigned()
            assert re.search(r"<b>3</b> sessions begun", page)
            assert 'name="value" value="101"' in page

            administrator.put(("domain", "a.example", "b"), ("everything", "", "default"))
            new_call_until(server, store, "second", "b")
            send(server, "udp", [packet("udp a", "a.example"), packet("the rest")])
            until(stored(store, "the rest"))
        places = found(store)
        assert places["udp a"] == {"a"}, "an open session stays where it is"
        assert places["the rest"] == places["before there were rules"] == {"default"}
        assert server.stop(signal.SIGTERM) == 0


@pytest.mark.timeout(240)  # two starts of a whole server, on a machine that may be busy
def test_a_server_that_was_killed_knows_the_rules_from_its_first_packet(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data, wait_for="HEP: tcp") as server, events(data) as store:
        make_environments(data)
        with Administrator(server) as administrator:
            administrator.put(("domain", "a.example", "a"))
        new_call_until(server, store, "first", "a")
        children = list(server.children().values())
        server.process.kill()
        server.process.wait(30)
        for child in children:
            child.wait(30)
    with serving(data, wait_for="HEP: tcp") as server, events(data) as store:
        send(server, "udp", [packet("second", "a.example"), packet("none")])
        until(stored(store, "second", "none"))
        places = found(store)
        assert places["second"] == {"a"}
        assert places["none"] == {"unassigned"}
        assert server.stop(signal.SIGTERM) == 0
