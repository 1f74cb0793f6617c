"""A provider for tests: `ringback serve`, and two Kamailio proxies that send it HEP, on addresses of its own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from scripts.record_demo import nodes
from scripts.record_demo.pbx import Pbx
from scripts.record_demo.plan import Plan, loopback
from scripts.record_demo.play import forwards, play, routes, set_stages
from scripts.record_demo.stage import Stage

from running import Server, command, serving

TOOLS = ("kamailio", "sipp")
TIMERS = nodes.Timers(no_response_ms=2500, no_answer_ms=5000)


def missing_tools(*names: str) -> str:
    """Which of these are not installed, in words; "" when all are."""
    missing = [name for name in names if shutil.which(name) is None]
    return f"not installed: {', '.join(missing)} (see scripts/debian-packages)" if missing else ""


@dataclass(frozen=True, slots=True)
class Provider:
    server: Server
    plan: Plan
    stages: dict[str, Stage]
    folder: Path
    api: httpx2.Client

    def play(self, scenario: str) -> float:
        """Plays it to its end; returns that moment (monotonic)."""
        play(self.stages[scenario], self.folder / scenario, limit_s=60)
        return time.monotonic()

    def numbers(self, scenario: str) -> tuple[str, str]:
        """(caller, called) of its first leg; a registration's are the same."""
        return next((side.me.number, side.peer.number) for side in self.stages[scenario].sides if side.calls)

    def ask(self, path: str, **query: Any) -> Any:
        answer = self.api.get(path, params=query)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def provider(folder: Path, scenarios: list[str], *, tcp: bool = False, key: str = "") -> Iterator[Provider]:
    """Everything runs while the context lasts, and nothing afterwards. `tcp`: the proxies send HEP over TCP; `key`: they
    give it, and the server wants it."""
    plan = loopback()
    stages = set_stages(plan, scenarios)
    data = folder / "data"
    with serving(data, wait_for="HEP: tcp", environ={"RINGBACK_HEP_KEY": key}) as server:
        token = command("token", "create", "tests", "--data", str(data))
        assert token.returncode == 0, token.stderr
        bearer = {"Authorization": f"Bearer {token.stdout.strip()}"}
        host, _, port = server.hep["tcp" if tcp else "udp"].rpartition(":")
        with (
            httpx2.Client(base_url=f"{server.web}/api/v1", headers=bearer, timeout=30) as api,
            nodes.chain(plan, nodes.Collector(host, int(port), tcp, key), folder, routes(stages.values()), TIMERS),
            Pbx(plan.pbx, plan.core, forwards(stages.values())),
        ):
            api.put("/nodes", json={"nodes": _register(plan)}).raise_for_status()
            yield Provider(server, plan, stages, folder, api)


def _register(plan: Plan) -> list[dict[str, Any]]:
    """With ports: a loopback host alone is nobody's."""
    east, west = ([f"{plan.gateway(n)}:5060" for n in indexes] for indexes in (range(60), range(60, 100)))
    edge, core, pbx = (f"{address}:5060" for address in (plan.edge, plan.core, plan.pbx))
    return [
        {"name": "edge1", "kind": "edge", "cluster": True, "agents": ["101"], "addresses": [edge]},
        {"name": "core1", "kind": "core", "cluster": True, "agents": ["102"], "addresses": [core]},
        {"name": "pbx1", "kind": "core", "cluster": True, "addresses": [pbx]},
        {"name": "gw-east", "kind": "gateway", "addresses": east},
        {"name": "gw-west", "kind": "gateway", "addresses": west},
    ]
