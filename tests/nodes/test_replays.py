"""HEP that nobody here encoded: sngrep replays a capture, and packets recorded elsewhere are sent to a listener."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from kamailio import missing_tools

from ringback.demo import recording
from running import Server, command, serving

pytestmark = pytest.mark.nodes

SAMPLES = Path(__file__).parents[3] / "shared" / "samples" / "hep"
EXAMPLE = recording.FOLDER / "examples" / "answered-with-audio.pcap"
PATIENCE_S = 20.0


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

    def await_received(self, packets: int) -> dict[str, Any]:
        """The collector's counters once `packets` came, and all of them are stored or counted as lost."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            now = self.status()
            if now["received"] >= packets and not now["waiting"] and _accounted(now) >= packets:
                return now
            time.sleep(0.1)
        raise AssertionError(f"{packets} packets were sent, the collector says {self.status()}")

    def sessions(self, **query: Any) -> list[dict[str, Any]]:
        wide: dict[str, Any] = {"from": "2020-01-01T00:00:00Z", "to": "2030-01-01T00:00:00Z", "limit": 200, **query}
        found: list[dict[str, Any]] = self.api.get("/sessions", params=wide).raise_for_status().json()["sessions"]
        return found


def _accounted(counters: dict[str, Any]) -> int:
    told: list[int] = [counters["stored"], counters["logs"], *counters["lost"].values()]
    return sum(told)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    data = tmp_path / "data"
    with serving(data, wait_for="HEP: tcp") as server:
        token = command("token", "create", "tests", "--data", str(data)).stdout.strip()
        headers = {"Authorization": f"Bearer {token}"}
        with httpx2.Client(base_url=f"{server.web}/api/v1", headers=headers, timeout=30) as api:
            yield Listener(server, api)


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
    subprocess.run(
        ["sngrep", "-N", "-q", "-I", str(EXAMPLE), "-H", f"udp:{host}:{port}"],
        check=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    counters = listener.await_received(sip_messages)
    assert counters["lost"] == {}
    (session,) = listener.sessions()
    assert (session["outcome"], session["messages"]) == ("answered", sip_messages)


@pytest.mark.parametrize(
    ("name", "calls", "agents"),
    [("kamailio_two_nodes_udp.bin", 5, {"101", "102"}), ("kamailio_auth_key.bin", 3, None)],
)
def test_recorded_packets_over_udp(name: str, calls: int, agents: set[str] | None, listener: Listener) -> None:
    packets = packets_of(name)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for packet in packets:
            out.sendto(packet, listener.address("udp"))
    counters = listener.await_received(len(packets))
    assert counters["lost"] == {}
    sessions = listener.sessions(kind="call")
    assert len(sessions) == calls
    assert {session["outcome"] for session in sessions} == {"answered"}
    if agents:
        assert {sender["agent"] for sender in counters["senders"]} == agents


def test_recorded_packets_over_tcp_in_pieces(listener: Listener) -> None:
    """The packets back to back, cut where no packet ends."""
    packets = packets_of("kamailio_tcp.bin")
    stream = b"".join(packets)
    with socket.create_connection(listener.address("tcp"), timeout=10) as connection:
        for at in range(0, len(stream), 1021):
            connection.sendall(stream[at : at + 1021])
    counters = listener.await_received(len(packets))
    assert counters["lost"] == {}
    assert len(listener.sessions(kind="call")) == 10


def test_the_demo_recording_over_tcp_is_stored_whole(listener: Listener) -> None:
    packets, played = recording.load()
    with socket.create_connection(listener.address("tcp"), timeout=10) as connection:
        connection.sendall(b"".join(packets))
    counters = listener.await_received(len(packets))
    assert counters["lost"] == {}
    assert counters["stored"] + counters["logs"] == len(packets)
    call_ids = {call_id for session in listener.sessions() for call_id in session["call_ids"]}
    assert call_ids == {call_id for each in played for call_id in each.call_ids}
    (premium,) = listener.sessions(number="18660333777")
    assert premium["issue"]["id"] == "caller-not-allowed"


def test_a_packet_cut_short_is_counted(listener: Listener) -> None:
    packets, _ = recording.load()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(packets[0], listener.address("udp"))
        out.sendto(packets[1][:60], listener.address("udp"))
        out.sendto(b"HEP4" + struct.pack(">H", 6), listener.address("udp"))
    counters = listener.await_received(3)
    assert counters["stored"] == 1
    assert sum(counters["lost"].values()) == 2
