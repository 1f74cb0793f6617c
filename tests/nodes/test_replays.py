"""HEP that nobody here encoded: sngrep replays a capture, and packets recorded elsewhere are sent to a listener."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from kamailio import missing_tools
from truth import TRUTH

from ringback.demo import recording
from ringback.sessions.capture.hep import SIP, decode
from ringback.sessions.capture.sip import parse
from running import Server, command, serving

pytestmark = pytest.mark.nodes

SAMPLES = Path(__file__).parents[3] / "shared" / "samples" / "hep"
EXAMPLE = recording.FOLDER / "examples" / "answered-with-audio.pcap"
EXAMPLE_CALLED = "13125550109"
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Listener:
    server: Server
    api: httpx2.Client

    def address(self, transport: str) -> tuple[str, int]:
        host, _, port = self.server.hep[transport].rpartition(":")
        return host, int(port)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get("/status").raise_for_status().json()["collector"]
        return found

    @contextmanager
    def takes(self, packets: int, lost: int = 0) -> Iterator[None]:
        """After what is sent within, so many more packets are received, and all but `lost` of them stored."""
        before = _accounted(self.status())
        yield
        end = time.monotonic() + PATIENCE_S
        while (after := _accounted(self.status())) != (before[0] + packets - lost, before[1] + lost):
            assert time.monotonic() < end, f"{packets} packets were sent, (stored, lost) were {before}, are {after}"
            time.sleep(0.1)

    def sessions(self, call_ids: set[str]) -> list[dict[str, Any]]:
        """Those of the day that has any of these Call-IDs."""
        wide = {"from": "2020-01-01T00:00:00Z", "to": "2030-01-01T00:00:00Z", "limit": "200"}
        answer = self.api.get("/sessions", params=wide).raise_for_status().json()
        assert answer["cursor"] is None
        return [session for session in answer["sessions"] if call_ids & set(session["call_ids"])]


def _accounted(counters: dict[str, Any]) -> tuple[int, int]:
    return counters["stored"] + counters["logs"], sum(counters["lost"].values())


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    data = tmp_path_factory.mktemp("listener") / "data"
    with serving(data, wait_for="HEP: tcp") as server:
        token = command("token", "create", "tests", "--data", str(data)).stdout.strip()
        headers = {"Authorization": f"Bearer {token}"}
        with httpx2.Client(base_url=f"{server.web}/api/v1", headers=headers, timeout=30) as api:
            end = time.monotonic() + PATIENCE_S
            while not api.get("/status").json()["collector"]["running"]:
                assert time.monotonic() < end, "the collector does not run"
                time.sleep(0.1)
            yield Listener(server, api)


def call_ids_of(packets: list[bytes]) -> set[str]:
    decoded = [decode(packet, 0) for packet in packets]
    return {parse(packet.payload).call_id for packet in decoded if packet.payload_type == SIP}


def packets_of(name: str) -> list[bytes]:
    file = SAMPLES / name
    if not file.exists():
        pytest.skip(f"{file} is not here")
    return list(recording.frames(file.read_bytes()))


def test_a_capture_that_sngrep_replays_is_a_session(listener: Listener) -> None:
    if missing := missing_tools("sngrep"):
        pytest.skip(missing)
    host, port = listener.address("udp")
    sip_messages = 24
    with listener.takes(sip_messages):
        subprocess.run(
            ["sngrep", "-N", "-q", "-I", str(EXAMPLE), "-H", f"udp:{host}:{port}"],
            check=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    found = listener.api.get("/sessions", params={"number": EXAMPLE_CALLED, "from": "2020-01-01T00:00:00Z"}).json()
    assert [(one["outcome"], one["messages"]) for one in found["sessions"]] == [("answered", sip_messages)]


@pytest.mark.parametrize(
    ("name", "calls", "agents"),
    [("kamailio_two_nodes_udp.bin", 5, {"101", "102"}), ("kamailio_auth_key.bin", 3, set())],
)
def test_recorded_packets_over_udp(name: str, calls: int, agents: set[str], listener: Listener) -> None:
    packets = packets_of(name)
    with listener.takes(len(packets)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for packet in packets:
            out.sendto(packet, listener.address("udp"))
    sessions = listener.sessions(call_ids_of(packets))
    assert len(sessions) == calls
    assert {session["outcome"] for session in sessions} == {"answered"}
    assert {sender["agent"] for sender in listener.status()["senders"]} >= agents


def test_recorded_packets_over_tcp_in_pieces(listener: Listener) -> None:
    """The packets back to back, cut where no packet ends."""
    packets = packets_of("kamailio_tcp.bin")
    stream = b"".join(packets)
    with listener.takes(len(packets)), socket.create_connection(listener.address("tcp"), timeout=10) as connection:
        for at in range(0, len(stream), 1021):
            connection.sendall(stream[at : at + 1021])
    sessions = listener.sessions(call_ids_of(packets))
    assert [session["outcome"] for session in sessions] == ["answered"] * 10


def test_the_demo_recording_over_tcp_is_stored_whole(listener: Listener) -> None:
    packets, played = recording.load()
    with listener.takes(len(packets)), socket.create_connection(listener.address("tcp"), timeout=10) as connection:
        connection.sendall(b"".join(packets))
    scenario_of = {call_id: each.id for each in played for call_id in each.call_ids}
    told = {name: (truth.outcome, truth.issue, truth.legs) for name, truth in TRUTH.items()}
    end = time.monotonic() + PATIENCE_S
    while (listed := _listed(listener, scenario_of)) != told:
        assert time.monotonic() < end, {name: pair for name, pair in listed.items() if pair != told[name]}
        time.sleep(0.5)  # a challenge may still be answered: that call is in progress for some seconds


def _listed(listener: Listener, scenario_of: dict[str, str]) -> dict[str, tuple[str, str, int]]:
    """Scenario -> (outcome, primary issue, legs) as the list of sessions says; all Call-IDs are there."""
    found = listener.sessions(set(scenario_of))
    assert {call_id for session in found for call_id in session["call_ids"]} == set(scenario_of)
    return {  # of several sessions the last is what the scenario is about: phones register before they are called
        scenario_of[session["call_ids"][0]]: (session["outcome"], session["issue"]["id"], session["legs"])
        for session in sorted(found, key=lambda session: str(session["started_at"]))
    }


def test_a_packet_cut_short_is_counted(listener: Listener) -> None:
    packets, _ = recording.load()
    with listener.takes(3, lost=2), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(packets[0], listener.address("udp"))
        out.sendto(packets[1][:60], listener.address("udp"))
        out.sendto(b"HEP4" + struct.pack(">H", 6), listener.address("udp"))
