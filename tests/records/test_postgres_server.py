"""The tests' own PostgreSQL is gone with whoever needed it, however that ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

import postgres_server


def test_a_server_ends_with_the_tests_it_is_for() -> None:
    if postgres_server._programs() is None:
        pytest.skip("PostgreSQL is not installed (Debian package postgresql)")
    tests = subprocess.Popen(["sleep", "600"])
    keeper = subprocess.Popen(
        [sys.executable, postgres_server.__file__, str(tests.pid)], stdout=subprocess.PIPE, text=True
    )
    with keeper, tests:
        assert keeper.stdout
        url = make_url(keeper.stdout.readline().strip())
        with postgres_server.connect(url) as connection:
            (folder,) = connection.execute("SHOW data_directory").fetchone() or ("",)
            assert Path(str(folder)).is_dir()
            tests.kill()
            assert tests.wait() < 0
            assert keeper.wait(60) == 0, "sessions that are open do not keep it"
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        assert not Path(str(folder)).parent.exists()
    with pytest.raises(psycopg.OperationalError):
        postgres_server.connect(url)
