"""The edge proxy of deploy/kamailio on addresses of its own, the phones before it and the gateway behind it."""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil
from scripts.record_demo.dialogue import Party, Side
from scripts.record_demo.nodes import await_answer, kamailio
from scripts.record_demo.plan import Plan, loopback
from scripts.record_demo.sipp import start

from ringback.demo.cast import DOMAIN
from running import until

SHIPPED = Path(__file__).parents[2] / "deploy" / "kamailio"
LIMIT_S = 40


@dataclass
class Edge:
    """A running edge proxy."""

    plan: Plan
    folder: Path
    played: int = 0
    caller: str = "12105550100"
    called: str = "12103355787"
    password: str = "correct-horse"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def phone(self, password: str = "", *, index: int = 0) -> Side:
        """A phone that calls; write its steps, then `play` it. The one with index 1 is known by its address."""
        me = Party(self.caller, self.plan.phone(index), "Yealink SIP-T46U 108.86.0.70")
        side = Side(me, Party(self.called, self.plan.gateway(0), ""), True, secrets.token_hex(5), "")
        side.call_id = f"{secrets.token_hex(8)}@{me.host}"
        side.password = password or self.password
        return side

    def gateway(self, phone: Side) -> Side:
        """The other end of the phone's call, at the next hop."""
        me = Party(self.called, self.plan.gateway(0), "Sonus SBC 5400 V09.02")
        return Side(me, phone.me, False, phone.seed, "")

    def play(self, *sides: Side) -> None:
        """Each side is a sipp process; the called ones start first. Raises SippFailed."""
        self.played += 1
        with ExitStack() as running:
            processes = []
            for number, side in enumerate(sorted(sides, key=lambda side: side.calls)):
                folder = self.folder / f"play{self.played}" / str(number)
                process = running.enter_context(start(side, self.plan.edge, folder, limit_s=LIMIT_S))
                processes.append(process)
                if not side.calls:
                    sipp = psutil.Process(process.process.pid)
                    until(lambda sipp=sipp: sipp.net_connections("udp") or not sipp.is_running())
            for process in processes:
                process.wait(LIMIT_S)

    @property
    def asks_nothing_until(self) -> datetime | None:
        """To when it leaves the engine alone, which did not answer."""
        found = re.search(r"expire: (.*)", self._control("htable.get", "pause", "engine"))
        return datetime.fromisoformat(found[1]).astimezone() if found else None

    def forget_failures(self) -> None:
        """Of the engine."""
        for table in ("failures", "pause"):
            self._control("htable.flush", table)

    def _control(self, *command: str) -> str:
        socket = f"unixs:{self.folder / 'kamailio_ctl'}"
        return subprocess.run(
            ["kamcmd", "-s", socket, *command], capture_output=True, text=True, timeout=LIMIT_S
        ).stdout

    def refused(self, code: int, *, password: str = "", index: int = 0) -> Side:
        """A call that is refused after its credentials were sent."""
        side = self.phone(password, index=index)
        side.call()
        side.refused(code)
        self.play(side)
        return side

    def answered(self, seconds: float = 0.5) -> Side:
        """A call that the phone ends after `seconds`."""
        side = self.phone()
        side.call()
        side.answered()
        side.talk(seconds)
        side.hang_up('Reason: Q.850;cause=16;text="Normal call clearing"')
        other = self.gateway(side)
        other.rings(0.1)
        other.answers(0.1)
        other.is_hung_up()
        self.play(side, other)
        return side


@contextmanager
def edge(folder: Path, billing: str, token: str, *switches: str, **settings: str) -> Iterator[Edge]:
    """`switches` of site.cfg are turned on, `settings` are its parameters; those that a machine of its own needs are set
    here."""
    plan = loopback()
    configuration = folder / "kamailio"
    shutil.copytree(SHIPPED, configuration)
    settings = {
        "LISTEN_SOCKET": f"{plan.edge}:5060",
        "SIP_REALM": DOMAIN,
        "NEXT_HOP": f"{plan.gateway(0)}:5060",
        "ADDRESS_FILE": str(configuration / "addresses.list"),
        "SIP_WORKERS": "2",
        "BILLING_URL": billing,
        "BILLING_WORKERS": "4",
    } | settings
    site = (configuration / "site.cfg").read_text()
    for name, value in settings.items():
        site = _replace(rf'(?<=#!substdef "!{name}!)[^!]*(?=!g")', value, site)
    for switch in switches:
        site = _replace(rf"(?m)^##(?=!define {switch}$)", "#", site)
    (configuration / "site.cfg").write_text(site)
    kept = configuration / "secrets.cfg"
    kept.write_text(_replace('(?<=#!substdef "!BILLING_TOKEN!)[^!]*(?=!g")', token, kept.read_text()))
    addresses = configuration / "addresses.list"
    addresses.write_text(
        _replace(r"(?m)^1 192\.0\.2\.20 32 0 core1$", f"1 {plan.gateway(0)} 32 0 core1", addresses.read_text())
        + f"2 {plan.phone(1)} 32 0 trunk\n"
    )
    with kamailio(configuration / "kamailio.cfg"):
        await_answer(plan.edge, configuration / "log")
        yield Edge(plan, configuration)


def _replace(pattern: str, value: str, text: str) -> str:
    """Raises ValueError where what is shipped no longer has it."""
    changed, times = re.subn(pattern, lambda _: value, text)
    if times != 1:
        raise ValueError(f"{pattern} stands {times} times in what is shipped: adapt tests/nodes_engine/edge.py")
    return changed
