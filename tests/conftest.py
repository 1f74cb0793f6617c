"""Fixtures of all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from ringback.audit import writer
from ringback.records import secrets
from ringback.settings import Settings

pytest_plugins = ["chromium", "databases", "opensearch_server"]

# Of the hundreds of processes that tests start none compiles what another has compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# How long an example takes says what else the machine does, not what is wrong. What a commit is tested with is the same
# wherever and whenever; HYPOTHESIS_PROFILE=explore looks further.
settings.register_profile("explore", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ringback", settings.get_profile("explore"), derandomize=True, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ringback"))


@pytest.fixture(scope="session", autouse=True)
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """As `ringback.composition` does for a door: changes are recorded, secrets sealed with the key of this run.

    A process has one ring: applications of several tests that live in it at once seal with that key too, each data
    folder's own would close the others' secrets.
    """
    writer.connect()
    path = tmp_path_factory.mktemp("keys") / "secrets.key"
    secrets.ring.use(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Settings, "secrets_key_file", property(lambda settings: settings.secrets_key or path))
        yield path


@pytest.fixture(autouse=True)
def _own_key(composed: Path) -> Iterator[None]:
    """A test that opens the ring of another key leaves it to the next as it was."""
    yield
    if secrets.ring._path != composed:
        secrets.ring.use(composed)
