"""`ringback explain` and `ringback trace`, run as a person runs them."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ringback.sessions.capture.pcap_writer import write_pcap
from scenario import play

BUSY = """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060
    bob   = 203.0.113.9:5060    ua=Snom
    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp=PCMU,PCMA
    +.002  edge -> alice  100
    +.001  edge -> bob    INVITE sip:18660333777@203.0.113.9
    +.080  bob -> edge    486 Busy Here
    +.001  edge -> bob    ACK
    +.001  edge -> alice  486
    +.002  alice -> edge  ACK
"""
ESCAPES = """
    alice = 198.51.100.23:5060
    edge  = 192.0.2.10:5060
    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787
    +.002  edge -> alice  403 \x1b[2Jwiped
    +.002  alice -> edge  ACK
"""


def explain(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    command = [Path(sys.executable).with_name("ringback"), "explain", *arguments]
    return subprocess.run(command, capture_output=True, timeout=60, check=False)


@pytest.fixture
def busy(tmp_path: Path) -> Path:
    write_pcap(tmp_path / "busy.pcap", play(BUSY).sightings)
    return tmp_path / "busy.pcap"


def test_the_json_keeps_its_promise(busy: Path) -> None:
    ran = explain(busy, "--json")
    assert ran.returncode == 0
    told = json.loads(ran.stdout)
    assert told["capture"] == {"packets": 7, "sip_messages": 7, "media_packets": 0, "ignored": {}}
    (session,) = told["sessions"]
    assert (session["kind"], session["outcome"], session["final_code"]) == ("call", "busy", 486)
    assert (session["caller"], session["called"]) == ("12103355787", "18660333777")
    assert (session["messages"], session["arrows"], session["retransmissions"]) == (7, 7, 0)
    assert session["started_at"] == "2026-11-22T12:00:00.000000Z"
    assert len(session["call_ids"]) == 1
    assert session["links"] == []
    assert session["participants"][0]["label"].startswith("198.51.100.23")
    issue = session["issues"][0]
    assert issue["id"] == "callee-busy"
    assert issue["severity"] in ("critical", "warning", "notice")
    assert issue["title"]
    assert issue["description"]
    assert 0 < issue["confidence"] <= 1
    assert {one["message"] for one in issue["evidence"]} <= set(range(1, 8))
    assert all(one["why"] for one in issue["evidence"])
    assert {step["role"] for step in issue["steps"]} <= {"support", "noc", "billing", "customer"}


def test_a_person_reads_the_line_the_answer_and_the_ladder(busy: Path) -> None:
    ran = explain(busy)
    text = ran.stdout.decode()
    assert ran.returncode == 0
    assert "7 packets, 7 SIP messages, 1 session" in text
    assert "12103355787 → 18660333777" in text
    assert "486 Busy Here" in text
    assert "callee-busy" in text
    assert "support:" in text
    assert "+0.083" in text
    assert "\x1b" not in text  # not a terminal: no colour


def test_several_files_and_compressed_ones_are_read_together(busy: Path, tmp_path: Path) -> None:
    (tmp_path / "again.pcap.gz").write_bytes(gzip.compress(busy.read_bytes()))
    told = json.loads(explain(busy, tmp_path / "again.pcap.gz", "--json").stdout)
    assert told["capture"]["packets"] == 14
    assert len(told["sessions"]) == 2


def test_one_session_can_be_picked(busy: Path) -> None:
    assert len(json.loads(explain(busy, "--json", "--session", "1").stdout)["sessions"]) == 1
    ran = explain(busy, "--session", "2")
    assert ran.returncode == 1
    assert b"--session 2" in ran.stderr


@pytest.mark.parametrize("content", [b"", b"no capture at all", b"\xd4\xc3\xb2\xa1"])
def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.pcap").write_bytes(content)
    ran = explain(tmp_path / "broken.pcap")
    assert ran.returncode == 1
    assert b"broken.pcap" in ran.stderr
    assert b"Traceback" not in ran.stderr


def test_a_missing_file_is_named_and_the_others_are_told(busy: Path, tmp_path: Path) -> None:
    ran = explain(busy, tmp_path / "missing.pcap")
    assert ran.returncode == 1
    assert b"missing.pcap" in ran.stderr
    assert b"callee-busy" in ran.stdout


def test_a_capture_without_sip_is_told(tmp_path: Path) -> None:
    write_pcap(tmp_path / "empty.pcap", [])
    ran = explain(tmp_path / "empty.pcap")
    assert ran.returncode == 0
    assert b"No SIP was found" in ran.stdout


def test_wire_text_cannot_drive_the_terminal(tmp_path: Path) -> None:
    write_pcap(tmp_path / "escapes.pcap", play(ESCAPES).sightings)
    ran = explain(tmp_path / "escapes.pcap")
    assert ran.returncode == 0
    assert b"\x1b" not in ran.stdout
    assert b"wiped" in ran.stdout


def test_trace_says_that_no_server_answers() -> None:
    command: list[str | Path] = [
        Path(sys.executable).with_name("ringback"),
        "trace",
        "--number",
        "3355787",
        "--token",
        "rb_x",
    ]
    ran = subprocess.run([*command, "--server", "http://127.0.0.1:9"], capture_output=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert b"http://127.0.0.1:9" in ran.stderr
    assert b"Traceback" not in ran.stderr
