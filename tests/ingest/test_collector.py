"""The collector as a process, over real sockets."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import struct
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from collecting import EVER, PHONE, collector, opened, options, packets, run, stored_payloads

from ringback.events import LegQuery, LogQuery, NumberPattern
from ringback.listen import bound_endpoint, udp_socket
from ringback.sessions.capture.hep import LOG, encode
from ringback.sessions.ingest.status import CollectorStatus
from ringback.settings import load_settings
from running import PATIENCE

SAMPLES = Path(__file__).parents[3] / "shared" / "samples" / "hep"

KILLS = int(os.environ.get("RINGBACK_TEST_KILLS", "3"))


def accounted(status: CollectorStatus) -> int:
    """Packets whose fate is known."""
    return status.stored + status.logs + sum(status.lost.values())


def test_packets_over_udp_are_stored_and_their_senders_known(tmp_path: Path) -> None:
    with collector(tmp_path) as running:
        running.send(packets(2000))
        status = running.wait(lambda status: status.stored == 2000)
        assert (status.received, status.lost, status.waiting) == (2000, {}, 0)
        assert [(each.address, each.agent, each.packets) for each in status.senders] == [("127.0.0.1", "101", 2000)]
        assert status.running
        assert running.stop().stopped
    with opened(tmp_path) as store:
        found = stored_payloads(store)
        assert found == {f"call-{n}@h": [options(f"call-{n}@h")] for n in range(2000)}
        page = store.search(LegQuery(("default",), 0, EVER, number=NumberPattern("3355787")), limit=5)
        assert page.rows[0].caller == "12103355787"


def test_packets_over_tcp_are_stored_however_they_are_cut(tmp_path: Path) -> None:
    stream = b"".join(packets(3000))
    with collector(tmp_path) as running:
        with socket.create_connection(("127.0.0.1", running.port("tcp"))) as out:
            for start in range(0, len(stream), 7777):
                out.sendall(stream[start : start + 7777])
            running.wait(lambda status: status.stored == 3000 and status.connections == 1)
        status = running.wait(lambda status: status.connections == 0)
        assert status.received == status.stored == 3000


def test_packets_over_tls_are_stored(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subject = [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-out",
        str(certificate),
        "-keyout",
        str(key),
    ]
    subprocess.run([*make, *subject], check=True, capture_output=True)
    settings = {
        "RINGBACK_HEP_TLS": "127.0.0.1:0", "RINGBACK_TLS_CERT": str(certificate), "RINGBACK_TLS_KEY": str(key),
    }  # fmt: skip
    trusting = ssl.create_default_context(cafile=certificate)
    with collector(tmp_path, **settings) as running:
        address = ("127.0.0.1", running.port("tls"))
        with (
            socket.create_connection(address) as bare,
            trusting.wrap_socket(bare, server_hostname="localhost") as out,
        ):
            out.sendall(b"".join(packets(500)))
            running.wait(lambda status: status.stored == 500)
        with socket.create_connection(address) as plain:
            plain.sendall(packets(1)[0])
            assert plain.recv(100)[:1] in (b"", b"\x15")  # an alert, or just the end
        assert running.status.stored == 500


def test_a_stream_with_a_wrong_magic_is_closed_and_counted(tmp_path: Path) -> None:
    with collector(tmp_path) as running, socket.create_connection(("127.0.0.1", running.port("tcp"))) as out:
        out.sendall(b"".join(packets(3)) + b"GET / HTTP/1.1\r\n\r\n")
        out.settimeout(10)
        assert out.recv(10) == b""
        status = running.wait(lambda status: status.stored == 3)
        assert status.lost == {"bad magic": 1}


def test_a_stream_that_ends_inside_a_packet_is_counted(tmp_path: Path) -> None:
    with collector(tmp_path) as running:
        with socket.create_connection(("127.0.0.1", running.port("tcp"))) as out:
            out.sendall(b"".join(packets(2))[:-10])
        status = running.wait(lambda status: accounted(status) == 2)
        assert (status.stored, status.lost) == (1, {"cut packet": 1})


def test_only_packets_with_the_key_are_stored(tmp_path: Path) -> None:
    with collector(tmp_path, RINGBACK_HEP_KEY="s3cret") as running:
        running.send([*packets(5, key=b"s3cret"), *packets(3, start=5, key=b"guess"), *packets(2, start=8)])
        status = running.wait(lambda status: accounted(status) == 10)
        assert (status.stored, status.lost) == (5, {"bad key": 5})


def test_strangers_are_refused_counted_and_named(tmp_path: Path) -> None:
    with collector(tmp_path, RINGBACK_HEP_ALLOW="127.0.0.1,10.0.0.0/8") as running:
        running.send(packets(4))
        running.send(packets(6, start=4), source="127.0.0.2")
        status = running.wait(lambda status: accounted(status) == 10)
        assert (status.stored, status.lost, status.strangers) == (4, {"unknown sender": 6}, {"127.0.0.2": 6})


def test_whatever_is_not_stored_is_counted_by_its_reason(tmp_path: Path) -> None:
    good = packets(1)[0]
    empty_call_id = options("").replace(b"Call-ID: \r\n", b"")
    sent = [
        good, b"nonsense", good[:50], b"HEP3\x00\x06",
        encode(1_700_000_000_000_000, PHONE, b"\r\n\r\n"),
        encode(1_700_000_000_000_000, PHONE, b"not sip at all"),
        encode(1_700_000_000_000_000, PHONE, empty_call_id),
        encode(1_700_000_000_000_000, PHONE, options("x" * 600)),
    ]  # fmt: skip
    with collector(tmp_path) as running:
        running.send(sent)
        status = running.wait(lambda status: accounted(status) == len(sent))
        assert status.stored == 1
        assert status.lost.keys() >= {
            "bad magic",
            "bad length",
            "keep-alive",
            "not SIP",
            "no Call-ID",
            "Call-ID too long",
        }
        assert accounted(status) == status.received


def test_log_lines_over_hep_are_stored_with_their_session(tmp_path: Path) -> None:
    with collector(tmp_path) as running:
        now = time.time_ns() // 1000
        running.send([encode(now, PHONE, b"edge: no route for 1866", payload_type=LOG, correlation="call-1@h")])
        running.wait(lambda status: status.logs == 1)
    with opened(tmp_path) as store:
        (record,) = store.search_logs(LogQuery(("default",), 0, EVER, call_ids=("call-1@h",))).records
        assert (record.text, record.kind, record.node) == ("edge: no route for 1866", "node", "101")


def test_what_the_kernel_drops_is_counted_exactly(tmp_path: Path) -> None:
    settings = load_settings({"RINGBACK_HEP": "127.0.0.1:0", "RINGBACK_HEP_WORKERS": "1"}, data=tmp_path)
    with udp_socket(settings.hep_udp[0]) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        with run(replace(settings, hep_udp=(bound_endpoint(bound),))) as running:
            assert running.port_udp
            (receiver,) = (
                child
                for child in psutil.Process(running.process.pid).children()
                if "udp_receiver" in child.cmdline()[-1]
            )
            receiver.suspend()
            running.send(packets(1000))
            receiver.resume()
            status = running.wait(lambda status: accounted(status) == 1000)
            assert status.lost["socket drop"] > 0
            assert status.stored + status.lost["socket drop"] == 1000


def test_on_sigterm_everything_received_is_stored(tmp_path: Path) -> None:
    with collector(tmp_path) as running:
        with socket.create_connection(("127.0.0.1", running.port("tcp"))) as out:
            out.sendall(b"".join(packets(2000)))
            running.send(packets(2000, start=2000))
            running.wait(lambda status: status.received >= 2000)
            status = running.stop()
        assert (status.stored, status.waiting, status.stopped) == (4000, 0, True)
        assert not status.running
    with opened(tmp_path) as store:
        assert len(stored_payloads(store)) == 4000


def test_totals_go_on_over_restarts(tmp_path: Path) -> None:
    for round_ in range(2):
        with collector(tmp_path) as running:
            running.send([*packets(10, start=10 * round_), b"nonsense"])
            running.wait(lambda status, round_=round_: accounted(status) == 11 * (round_ + 1))  # type: ignore[misc]
            status = running.stop()
    assert (status.received, status.stored, status.lost) == (22, 20, {"bad magic": 2})
    assert [(each.agent, each.packets) for each in status.senders] == [("101", 20), ("", 2)]


def test_when_a_part_dies_the_whole_ends(tmp_path: Path) -> None:
    with collector(tmp_path) as running:
        assert running.port_udp
        for child in psutil.Process(running.process.pid).children():
            if "worker" in child.cmdline()[-1]:
                child.kill()
                break
        assert running.process.wait(PATIENCE) != 0


def test_when_the_collector_is_killed_its_processes_store_what_they_have_and_end(tmp_path: Path) -> None:
    with collector(tmp_path) as running:
        running.send(packets(300))
        running.wait(lambda status: status.received == 300)
        children = psutil.Process(running.process.pid).children()
        running.process.kill()
        _, alive = psutil.wait_procs(children, timeout=PATIENCE)
        assert not alive
    with opened(tmp_path) as store:
        assert len(stored_payloads(store)) == 300


def test_nothing_acknowledged_is_missing_after_kill_9_under_load(tmp_path: Path) -> None:
    sent = 0
    acknowledged = 0
    for _ in range(KILLS):
        with collector(tmp_path) as running:
            before = acknowledged
            assert running.port_udp
            deadline = time.monotonic() + PATIENCE
            while running.status.stored <= before + 500 and time.monotonic() < deadline:
                running.send(packets(100, start=sent))
                sent += 100
                time.sleep(0.1)  # a thousand a second: what it took is read and compared after each kill
            running.kill()
            acknowledged = running.status.stored
        assert acknowledged > before
        with opened(tmp_path) as store:
            found = stored_payloads(store)
            assert acknowledged <= sum(map(len, found.values())) <= sent
            assert all(payload == options(call_id) for call_id, own in found.items() for payload in own)


def test_what_kamailio_sends_is_stored(tmp_path: Path) -> None:
    if not SAMPLES.exists():
        pytest.skip(f"no {SAMPLES}")
    sent: dict[str, list[bytes]] = {}
    for sample in sorted(SAMPLES.glob("*.bin")):
        data, at = sample.read_bytes(), 0
        while at < len(data):
            (size,) = struct.unpack_from(">I", data, at)
            sent.setdefault(sample.stem, []).append(data[at + 4 : at + 4 + size])
            at += 4 + size
    total = sum(map(len, sent.values()))
    with collector(tmp_path) as running:
        with socket.create_connection(("127.0.0.1", running.port("tcp"))) as out:
            out.sendall(b"".join(sent.pop("kamailio_tcp")))
        running.send([packet for each in sent.values() for packet in each])
        status = running.wait(lambda status: accounted(status) == total)
        assert status.lost == {}
        assert {each.agent for each in status.senders} >= {"101", "102"}
    with opened(tmp_path) as store:
        assert sum(map(len, stored_payloads(store).values())) == status.stored


def test_an_interrupt_from_the_terminal_is_as_good_as_sigterm(tmp_path: Path) -> None:
    with collector(tmp_path) as running:
        running.send(packets(50))
        running.wait(lambda status: status.received == 50)
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.process.wait(PATIENCE) == 0
        assert running.status.stored == 50
