"""A PostgreSQL of the tests' own: one for all workers of a run, in a folder that is removed, stopped however pytest ends.

RINGBACK_TEST_POSTGRES_URL names another server to use (its user may create databases). Run as a script this module is
the keeper of one server: ``postgres_server.py PROCESS`` prints the URL and stops the server when the process has ended.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path

import psycopg
from sqlalchemy import URL, make_url

VARIABLE = "RINGBACK_TEST_POSTGRES_URL"
PATIENCE = 60.0  # seconds; two cores may be shared with much else
_QUICK = (  # what is lost with the machine was never wanted
    "fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off", "wal_level=minimal",
    "max_wal_senders=0", "max_wal_size=2GB", "shared_buffers=32MB", "max_connections=200", "listen_addresses=",
)  # fmt: skip


def shared_server(folder: Path) -> URL | None:
    """Its database `postgres`, for the one who may create others; None: PostgreSQL is not installed.

    `folder` is the same for all workers of a run: the first who asks starts the server.
    """
    given = os.environ.get(VARIABLE)
    if given:
        return make_url(given).set(drivername="postgresql+psycopg")
    if _programs() is None:
        return None
    with (folder / "postgres.lock").open("a+") as lock:
        flock(lock, LOCK_EX)
        lock.seek(0)
        url = lock.read()
        if not url:
            url = _kept_server()
            lock.write(url)
        return make_url(url)


def _kept_server() -> str:
    """Lives as long as the pytest that people started, of which xdist's workers are children."""
    pytest_process = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    keeper = subprocess.Popen(
        [sys.executable, __file__, str(pytest_process)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with keeper.stdout:  # type: ignore[union-attr] # it is a pipe
        url = keeper.stdout.readline().strip()  # type: ignore[union-attr]
    keeper.returncode = 0  # it outlives us: nobody waits for it
    if not url:
        raise RuntimeError("PostgreSQL does not start; what it said is above")
    return url


def keep(process: int) -> None:
    """Run a server until `process` has ended."""
    waiting = select.poll()
    waiting.register(os.pidfd_open(process), select.POLLIN)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    with running_server() as url:
        print(url.render_as_string(hide_password=False), flush=True)
        sys.stdout.close()
        waiting.poll()


@contextmanager
def running_server() -> Iterator[URL]:
    """A server with a folder and a socket of its own, as `postgres` where root runs the tests: it refuses root."""
    programs = _programs()
    if programs is None:
        raise RuntimeError("PostgreSQL is not installed (Debian package postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="ringback-postgres-", dir="/dev/shm" if _roomy("/dev/shm") else None))
    user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    if user:
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"
    server: subprocess.Popen[str] | None = None
    try:
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
            check=True, cwd="/", stdout=subprocess.DEVNULL, **user,  # type: ignore[call-overload]
        )  # fmt: skip
        options = [part for setting in _QUICK for part in ("-c", setting)]
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", folder, *options], cwd="/", stdout=log, stderr=log, **user
            )  # type: ignore[call-overload]
        url = URL.create("postgresql+psycopg", "postgres", database="postgres", query={"host": str(folder)})
        _wait_until_it_answers(url, server, folder / "log")
        yield url
    finally:
        if server:
            server.send_signal(signal.SIGINT)  # ends its sessions too
            try:
                server.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_it_answers(url: URL, server: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connect(url).close()
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text()) from error
            time.sleep(0.02)
        else:
            return


def connect(url: URL) -> psycopg.Connection[tuple[object, ...]]:
    """Each statement commits."""
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True, connect_timeout=60)


def _programs() -> Path | None:
    """Debian keeps initdb and postgres off the PATH, by version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    anywhere = shutil.which("initdb")
    return found[-1].parent if found else Path(anywhere).parent if anywhere else None


def _roomy(folder: str) -> bool:
    return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > 2 << 30


if __name__ == "__main__":
    keep(int(sys.argv[1]))
