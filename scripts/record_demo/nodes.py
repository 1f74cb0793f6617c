"""Starts and stops the chain of two Kamailio proxies, each in a run folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.record_demo.dialogue import PASSWORD
from scripts.record_demo.plan import Plan

CONFIGURATION = Path(__file__).parent / "kamailio"
CAPTURE_IDS = {"edge": 101, "core": 102}


class NodeFailed(Exception):
    """A proxy did not start; the text has the end of its log."""


@dataclass(frozen=True, slots=True)
class Route:
    """Gateways that core1 tries for one called number."""

    first: str
    second: str = ""


@dataclass(frozen=True, slots=True)
class Timers:
    """tm's timers and the life of a nonce. Tests shorten them."""

    no_response_ms: int = 6000
    no_answer_ms: int = 18000
    nonce_s: int = 300


@dataclass(frozen=True, slots=True)
class Collector:
    """Where the proxies send HEP3."""

    address: str
    port: int
    tcp: bool = False
    key: str = ""  # authentication key, chunk 0x000e

    @property
    def settings(self) -> dict[str, str]:
        """Documented line of hep.cfg -> what it is here."""
        transport = ";transport=tcp" if self.tcp else ""
        key = f'\nmodparam("siptrace", "auth_key", "{self.key}")' if self.key else ""
        documented = 'modparam("siptrace", "duplicate_uri", "sip:127.0.0.1:9060")'
        return {documented: documented.replace("127.0.0.1:9060", f"{self.address}:{self.port}{transport}") + key}


@contextmanager
def chain(
    plan: Plan, collector: Collector, folder: Path, routes: Mapping[str, Route], timers: Timers = Timers()
) -> Iterator[None]:
    """edge1 and core1 run and answer while the context lasts; all they see goes to `collector`.

    Raises NodeFailed when one does not answer OPTIONS within 10 s.
    """
    with ExitStack() as running:
        for name, address in (("edge", plan.edge), ("core", plan.core)):
            running.enter_context(_kamailio(name, plan, collector, folder / name, routes, timers))
            await_answer(address, folder / name / "log")
        yield


@contextmanager
def _kamailio(
    name: str, plan: Plan, collector: Collector, folder: Path, routes: Mapping[str, Route], timers: Timers
) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    for source in CONFIGURATION.glob("*.cfg"):
        shutil.copy(source, folder)
    _point_at(folder / "hep.cfg", CAPTURE_IDS[name], collector)
    (folder / "site.cfg").write_text(_site(plan, timers, inv_margin_ms=0 if name == "core" else 4000))
    (folder / "routes.cfg").write_text(_routes(routes))
    with kamailio(folder / f"{name}.cfg"):
        yield


@contextmanager
def kamailio(configuration: Path) -> Iterator[None]:
    """One Kamailio while the context lasts. Its folder is its run folder as well, and has its `log`."""
    folder = configuration.parent
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("kamailio", "-DD", "-E", "-m", "32", "-M", "8", "-f", str(configuration)),
                *("-Y", str(folder), "-w", str(folder)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)


def _point_at(file: Path, capture_id: int, collector: Collector) -> None:
    """The documented hep.cfg with this node's capture id and this run's collector."""
    text = file.read_text()
    changes = {'"hep_capture_id", 101': f'"hep_capture_id", {capture_id}', **collector.settings}
    for documented, here in changes.items():
        if documented not in text:
            raise NodeFailed(f"{file.name} no longer says {documented}: adapt nodes.py")
        text = text.replace(documented, here)
    file.write_text(text)


def _site(plan: Plan, timers: Timers, inv_margin_ms: int) -> str:
    values = {
        "EDGE_IP": plan.edge,
        "CORE_IP": plan.core,
        "FR_TIMER_MS": timers.no_response_ms + inv_margin_ms,
        "FR_INV_TIMER_MS": timers.no_answer_ms + inv_margin_ms,
        "NONCE_EXPIRE_S": timers.nonce_s,
        "PASSWORD": PASSWORD,
    }
    return "".join(f'#!substdef "!{name}!{value}!g"\n' for name, value in values.items())


def _routes(routes: Mapping[str, Route]) -> str:
    lines = [f'    $sht(first=>{number}) = "{route.first}";' for number, route in routes.items()]
    lines += [f'    $sht(second=>{number}) = "{route.second}";' for number, route in routes.items() if route.second]
    return "\n".join(["event_route[htable:mod-init] {", *lines, "    return;", "}", ""])


def await_answer(address: str, log: Path, deadline_s: float = 10.0) -> None:
    """Until it answers OPTIONS. Raises NodeFailed with the end of its log."""
    end = time.monotonic() + deadline_s
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        probe.settimeout(0.2)
        me = "{}:{}".format(*probe.getsockname())
        for attempt in range(1, 1000):
            request = (
                f"OPTIONS sip:{address} SIP/2.0\r\nVia: SIP/2.0/UDP {me};rport;branch=z9hG4bKprobe{attempt}\r\n"
                f"From: <sip:probe@{me}>;tag=probe\r\nTo: <sip:{address}>\r\nCall-ID: probe{attempt}@{me}\r\n"
                f"CSeq: {attempt} OPTIONS\r\nMax-Forwards: 5\r\nContent-Length: 0\r\n\r\n"
            )
            try:
                probe.sendto(request.encode(), (address, 5060))
                if probe.recv(4096).startswith(b"SIP/2.0 200"):
                    return
            except (TimeoutError, ConnectionRefusedError):
                pass
            if time.monotonic() > end:
                break
            time.sleep(0.05)
    raise NodeFailed(f"Kamailio at {address} does not answer:\n{log.read_text(errors='replace')[-3000:]}")
