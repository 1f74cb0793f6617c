"""Nodes of a provider that ask the billing engine. No test of this folder may leave one behind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import psutil
import pytest
from provider import Provider, provider

PROGRAMS = ("kamailio", "sipp", "freeradius", "radclient")


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)} (see scripts/debian-packages)")
    yield
    assert not [child for child in psutil.Process().children(recursive=True) if child.name() in PROGRAMS]


@pytest.fixture(scope="session")
def books(nothing_is_left_behind: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with provider(tmp_path_factory.mktemp("provider") / "data") as running:
        yield running
