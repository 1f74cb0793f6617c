"""Captures and log lines over HTTP, the import from the command line, and the status that tells of them."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from actors import by_tester
from ringback.access import tokens
from ringback.app import create_app
from ringback.sessions.capture.pcap_writer import write_pcap
from ringback.sessions.share.service import open_share
from ringback.sessions.story import Hop, Sighting
from ringback.settings import Settings, load_settings
from running import command

START_US = 1_795_348_800_000_000  # 2026-11-22T12:00:00Z
THERE = Hop("udp", "198.51.100.23", 5060, "192.0.2.10", 5060)
BACK = Hop("udp", "192.0.2.10", 5060, "198.51.100.23", 5060)


def message(start_line: str, to_tag: str = "", method: str = "INVITE") -> bytes:
    lines = [
        start_line,
        "Via: SIP/2.0/UDP 198.51.100.23:5060;branch=z9hG4bK-1",
        "From: <sip:12103355787@acme.example>;tag=a",
        f"To: <sip:18660333777@acme.example>{to_tag}",
        "Call-ID: intake@198.51.100.23",
        f"CSeq: 1 {method}",
        "Content-Length: 0",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.fixture
def capture() -> bytes:
    """A call that is refused."""
    target = io.BytesIO()
    write_pcap(
        target,
        [
            Sighting(START_US, THERE, message("INVITE sip:18660333777@acme.example SIP/2.0")),
            Sighting(START_US + 90_000, BACK, message("SIP/2.0 403 Destination forbidden", ";tag=b")),
            Sighting(START_US + 91_000, THERE, message("ACK sip:18660333777@acme.example SIP/2.0", ";tag=b", "ACK")),
        ],
    )
    return target.getvalue()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"RINGBACK_UPLOAD_MIB": "1"}, data=tmp_path / "data")


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://ringback.test", follow_redirects=False) as made:
        with by_tester(app.state.records) as work:
            made.headers["Authorization"] = f"Bearer {tokens.create_token(work, 'test')}"
        yield made


def found(client: TestClient, number: str = "18660333777") -> list[str]:
    """Ids of the sessions of that number."""
    query = {"number": number, "from": "2026-11-22T11:00:00Z", "to": "2026-11-22T13:00:00Z"}
    answer = client.get("/api/v1/sessions", params=query)
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()["sessions"]]


@pytest.mark.parametrize("way", ["form", "body", "gzipped"])
def test_an_uploaded_capture_is_searchable_when_the_answer_comes(
    client: TestClient, settings: Settings, capture: bytes, way: str
) -> None:
    if way == "form":
        answer = client.post("/api/v1/captures", files=[("file", ("call.pcap", capture)), ("file", ("b", b"junk"))])
    else:
        answer = client.post("/api/v1/captures", content=gzip.compress(capture) if way == "gzipped" else capture)
    assert answer.status_code == 200, answer.text
    document = answer.json()
    first = document["files"][0]
    assert first["name"] == ("call.pcap" if way == "form" else "capture")
    assert (first["status"], first["messages"], first["legs"]) == ("imported", 3, 1)
    assert first["first"] == "2026-11-22T12:00:00.000000Z"
    assert document["messages"] == 3
    if way == "form":
        assert document["files"][1]["status"] == "failed"
        assert document["files"][1]["name"] == "b"
    assert len(found(client)) == 1
    assert list((settings.run_folder / "uploads").iterdir()) == []


def test_a_search_diagnoses_unless_told_otherwise(client: TestClient, capture: bytes) -> None:
    client.post("/api/v1/captures", content=capture)
    query = {"from": "2026-11-22T11:00:00Z", "to": "2026-11-22T13:00:00Z"}
    (told,) = client.get("/api/v1/sessions", params=query).json()["sessions"]
    (bare,) = client.get("/api/v1/sessions", params=query | {"diagnose": "false"}).json()["sessions"]
    assert told["issue"]["id"]
    assert bare == told | {"issue": None}


def test_the_same_capture_twice_is_stored_once(client: TestClient, capture: bytes) -> None:
    client.post("/api/v1/captures", content=capture)
    again = client.post("/api/v1/captures", content=capture).json()
    assert again["files"][0]["status"] == "already"
    assert len(found(client)) == 1


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"", 400, "Send a capture"),
        (b"no capture at all, just text", 422, "capture"),
        (b"x" * 2**20 + b"x", 413, "larger"),
    ],
    ids=["empty", "text", "too large"],
)
def test_what_is_no_capture_is_told(client: TestClient, content: bytes, status: int, said: str) -> None:
    answer = client.post("/api/v1/captures", content=content)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json()["detail"]


def test_nobody_writes_to_the_disk_before_saying_who_they_are(
    client: TestClient, settings: Settings, capture: bytes
) -> None:
    del client.headers["Authorization"]
    assert client.post("/api/v1/captures", content=capture).status_code == 401
    assert list((settings.run_folder / "uploads").iterdir()) == []


def test_a_session_is_shared_and_its_link_counted(client: TestClient, app: FastAPI, capture: bytes) -> None:
    client.post("/api/v1/captures", content=capture)
    (session,) = found(client)
    made = client.post("/api/v1/shares", json={"session": session, "expires_in_hours": 2})
    assert made.status_code == 201, made.text
    url = made.json()["url"]
    assert url.startswith("http://ringback.test/share/")
    assert open_share(app.state.records, url.rpartition("/")[2]).session_id == session
    listed = client.get("/api/v1/shares", params={"session": session}).json()["shares"]
    assert listed == [{key: value for key, value in made.json().items() if key != "url"}]
    too_long = client.post("/api/v1/shares", json={"session": session, "expires_in_hours": 721})
    assert (too_long.status_code, too_long.json()["field"]) == (422, "expires_in_hours")
    assert client.delete(f"/api/v1/shares/{listed[0]['id']}").status_code == 204
    assert client.get("/api/v1/shares").json()["shares"][0]["revoked_at"]


# Log lines


def lines(*documents: object) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in documents)


GOOD = {
    "time": "2026-11-22T12:00:00.050Z",
    "text": "Rate matched",
    "kind": "billing",
    "call_id": "intake@198.51.100.23",
}


def test_log_lines_stand_in_the_timeline_of_their_session(client: TestClient, capture: bytes) -> None:
    client.post("/api/v1/captures", content=capture)
    answer = client.post("/ingest/v1/logs", content=lines(GOOD))
    assert answer.json() == {"accepted": 1, "rejected": 0, "reasons": []}
    (session,) = found(client)
    assert "Rate matched" in client.get(f"/api/v1/sessions/{session}").text


def test_lines_that_will_not_do_are_told_one_by_one(client: TestClient) -> None:
    answer = client.post("/ingest/v1/logs", content=lines(GOOD, {"text": "no time"}, ["no object"], GOOD))
    assert answer.status_code == 200
    document = answer.json()
    assert (document["accepted"], document["rejected"]) == (2, 2)
    assert [each["line"] for each in document["reasons"]] == [2, 3]


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", {}, 422),
        (b"not json\n", {}, 422),
        (b"compressed", {"Content-Encoding": "gzip"}, 415),
        (b"x" * (16 * 1024 * 1024 + 1), {}, 413),
    ],
    ids=["empty", "no JSON", "compressed", "too large"],
)
def test_log_lines_of_which_none_will_do_are_refused(
    client: TestClient, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = client.post("/ingest/v1/logs", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.json()["status"] == status


# Status


def test_the_status_tells_what_is_stored(client: TestClient, capture: bytes) -> None:
    client.post("/api/v1/captures", content=capture)
    status = client.get("/api/v1/status").json()
    assert status["collector"] is None
    (segment,) = status["store"]["segments"]
    assert (segment["day"], segment["messages"], segment["legs"], segment["problem"]) == ("2026-11-22", 3, 1, "")
    assert (status["keep_sessions_days"], status["keep_logs_days"]) == (30, 180)
    assert "ringback_store_messages 3.0" in client.get("/metrics").text


# From the command line


def test_import_tells_what_it_stored_and_what_it_could_not(tmp_path: Path, capture: bytes) -> None:
    good, bad = tmp_path / "good.pcap", tmp_path / "bad.pcap"
    good.write_bytes(capture)
    bad.write_text("no capture")
    data = str(tmp_path / "data")
    done = command("import", "--data", data, str(good), str(bad), str(tmp_path / "missing.pcap"))
    assert done.returncode == 1
    assert "good.pcap: 3 messages" in done.stdout
    assert "3 messages stored" in done.stdout
    assert "bad.pcap: " in done.stderr
    assert "missing.pcap: No such file" in done.stderr
    assert "Traceback" not in done.stderr
    again = command("import", "--data", data, "--json", str(good))
    assert again.returncode == 0
    assert json.loads(again.stdout)["files"][0]["status"] == "already"
    forced = command("import", "--data", data, "--json", "--force", str(good))
    assert json.loads(forced.stdout)["files"][0]["status"] == "imported"
    status = command("events", "status", "--data", data)
    assert status.returncode == 0
    assert "2026-11-22" in status.stdout
