"""Scenarios by id. The name of a function is the id, with hyphens; its docstring tells what happens."""

from __future__ import annotations

from collections.abc import Callable

from scripts.record_demo.stage import Scenario, Stage

SCENARIOS: dict[str, Scenario] = {}


def scenario(write: Callable[[Stage], None]) -> Callable[[Stage], None]:
    name = write.__name__.replace("_", "-")
    SCENARIOS[name] = Scenario(name, (write.__doc__ or "").strip(), write)
    return write
