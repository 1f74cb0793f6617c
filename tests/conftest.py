"""Fixtures of all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from ringback.audit import writer
from ringback.records import secrets

pytest_plugins = ["databases", "opensearch_server"]

# Of the hundreds of processes that tests start none compiles what another has compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# How long an example takes says what else the machine does, not what is wrong.
settings.register_profile("ringback", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ringback")


@pytest.fixture(scope="session", autouse=True)
def composed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `ringback.composition` does for a door: changes are recorded, secrets sealed with a key of this run."""
    writer.connect()
    path = tmp_path_factory.mktemp("keys") / "secrets.key"
    secrets.ring.use(path)
    return path
