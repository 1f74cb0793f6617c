"""Fixtures of all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringback.audit import writer
from ringback.records import secrets

pytest_plugins = ["databases"]


@pytest.fixture(scope="session", autouse=True)
def composed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `ringback.composition` does for a door: changes are recorded, secrets sealed with a key of this run."""
    writer.connect()
    path = tmp_path_factory.mktemp("keys") / "secrets.key"
    secrets.ring.use(path)
    return path
