"""Plays scenarios on a running chain: every side of a scenario is a sipp process that starts at its moment."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from scripts.record_demo.nodes import Route
from scripts.record_demo.pbx import Forward
from scripts.record_demo.plan import Plan
from scripts.record_demo.scenarios import SCENARIOS
from scripts.record_demo.sipp import start
from scripts.record_demo.stage import Counters, Stage


def set_stages(plan: Plan, scenarios: Iterable[str]) -> dict[str, Stage]:
    """Writes the scenarios, by id. Their routes must be known before the chain starts: see `routes`."""
    counters = Counters()
    stages: dict[str, Stage] = {}
    for name in scenarios:
        stages[name] = Stage(plan, counters)
        SCENARIOS[name].write(stages[name])
    return stages


def routes(stages: Iterable[Stage]) -> dict[str, Route]:
    return {number: route for stage in stages for number, route in stage.routes.items()}


def forwards(stages: Iterable[Stage]) -> dict[str, Forward]:
    return {number: forward for stage in stages for number, forward in stage.forwards.items()}


def play(stage: Stage, folder: Path, limit_s: int = 130) -> None:
    """Plays one scenario to its end. Raises SippFailed when a side saw something else than it was written to see."""
    begun = time.monotonic()
    with ExitStack() as running:
        processes = []
        for number, side in enumerate(sorted(stage.sides, key=lambda side: side.starts_after_s)):
            time.sleep(max(0.0, begun + side.starts_after_s - time.monotonic()))
            at_edge = side.me.address.startswith(stage.plan.phones) and side.me.address not in _gateways(stage.plan)
            target = stage.plan.edge if at_edge else stage.plan.core
            processes.append(running.enter_context(start(side, target, folder / str(number), limit_s=limit_s)))
        for process in processes:
            process.wait(max(1.0, begun + limit_s - time.monotonic()))


def _gateways(plan: Plan) -> set[str]:
    return {plan.gateway(index) for index in range(100)}
