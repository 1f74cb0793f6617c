"""Inputs that once broke a reader, and the seeds of the fuzzer: none may break it (again)."""

from __future__ import annotations

import time

import pytest

from fuzz.targets import SECONDS_PER_INPUT, TARGETS, inputs


@pytest.mark.parametrize("target", TARGETS)
def test_every_seed_and_every_input_that_broke_a_reader_is_borne(target: str) -> None:
    paths = inputs("seeds", target) + inputs("regressions", target)
    assert paths
    for path in paths:
        started = time.perf_counter()
        TARGETS[target](path.read_bytes())
        assert time.perf_counter() - started < SECONDS_PER_INPUT, path
