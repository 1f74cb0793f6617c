"""No test of this folder may leave a node behind."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    yield
    left = [
        child for child in psutil.Process().children(recursive=True) if child.name() in ("kamailio", "sipp", "sngrep")
    ]
    assert not left
