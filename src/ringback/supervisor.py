"""One child process a role, so that a flood of packets does not slow a page: started, started again, stopped.

The supervisor itself decodes no packet and answers no page; besides its children it keeps a `Watch`, whose threads may
hang without harm, and tells systemd that it lives.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from types import FrameType
from typing import IO
from urllib.parse import urlsplit

import structlog

from ringback import systemd
from ringback.settings import Settings
from ringback.watch import RoleLife, Watch

FIRST_BACK_OFF = 0.5  # seconds before a role that died is started again; doubles
LONGEST_BACK_OFF = 30.0
STEADY = 60.0  # a role that lived so long begins with the first back-off again
DRAIN_SECONDS = 20.0  # and the time to be seen stopping; then what still runs is killed

_log = structlog.get_logger()


class Supervisor:
    """Keeps the roles running until SIGTERM or SIGINT. To be used by the main thread."""

    def __init__(self, settings: Settings, roles: Sequence[str], lock_fds: Sequence[int]) -> None:
        """`settings` has its endpoints bound; the children inherit those sockets and the locks."""
        self._settings = settings
        self._lock_fds = lock_fds
        self._roles = [Role(name, number) for name in roles for number in range(_processes(settings, name))]
        self._happened: SimpleQueue[Role | None] = SimpleQueue()  # a role's process ended; None: a signal says stop
        self._watch = Watch(settings, self._lives)

    def run(self) -> None:
        """Returns when every child has ended."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._start_due()
            self._watch.start()
            self._keep_running()
        finally:
            self._watch.note_stopping()
            systemd.notify("STOPPING=1")
            self._stop_all()
            self._watch.stop()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _lives(self) -> dict[str, RoleLife]:
        """Of a role with several processes: whether all run, and how often any of them died."""
        found: dict[str, RoleLife] = {}
        for role in self._roles:
            life, others = role.life, found.get(role.name, RoleLife(running=True, restarts=0))
            found[role.name] = RoleLife(life.running and others.running, life.restarts + others.restarts)
        return found

    def _keep_running(self) -> None:
        alive_every = systemd.watchdog_seconds()
        state = "READY=1"
        while True:
            self._start_due()
            systemd.notify(state)
            state = "WATCHDOG=1"
            waits = [max(0.0, role.due_at - time.monotonic()) for role in self._roles if role.due_at is not None]
            try:
                ended = self._happened.get(
                    timeout=min([*waits, *([alive_every] if alive_every else [])], default=None)
                )
            except Empty:
                continue
            if ended is None:
                return
            ended.note_death()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._happened.put(None)

    def _start_due(self) -> None:
        now = time.monotonic()
        for role in self._roles:
            if role.due_at is not None and role.due_at <= now:
                self._start(role)

    def _start(self, role: Role) -> None:
        settings = self._settings
        endpoints = [
            settings.web,
            settings.engine,
            *settings.hep_udp,
            *settings.hep_tcp,
            *settings.hep_tls,
        ]  # not the watch's
        role.start(settings, [*(each.fd for each in endpoints if each.fd is not None), *self._lock_fds])
        threading.Thread(target=self._wait_for, args=(role,), daemon=True).start()

    def _wait_for(self, role: Role) -> None:
        role.process.wait()
        self._happened.put(role)

    def _stop_all(self) -> None:
        running = [role for role in self._roles if role.due_at is None and role.process.poll() is None]
        for role in running:
            role.process.terminate()
        deadline = time.monotonic() + DRAIN_SECONDS + self._settings.drain_seconds
        for role in running:
            try:
                role.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _log.error("a role did not stop in time and is killed", name=role.name, after_s=DRAIN_SECONDS)
                role.process.kill()
                role.process.wait()
            if role.process.returncode not in (0, -signal.SIGTERM):
                _log.error("a role stopped badly", name=role.name, exit_code=role.process.returncode)


def _processes(settings: Settings, role: str) -> int:
    """That do the same beside each other: only the engine has several. One a core where the records are on this machine too;
    else two, of which one answers while the other waits for them."""
    if role != "engine":
        return 1
    near = urlsplit(settings.records_url).hostname in (None, "localhost", "127.0.0.1", "::1")
    return settings.engine_processes or min(8, max(2, (os.cpu_count() or 1) * (1 if near else 2)))


class Role:
    """One role over the lives of its processes. `due_at` (monotonic) says when it is to be started; None: it runs."""

    process: subprocess.Popen[bytes]  # the present or last one; there is none before the first start
    _lifeline: IO[bytes]  # the child's stdin: brings the settings, and its end tells the child that we are gone

    def __init__(self, name: str, number: int = 0) -> None:
        """`number`: of the process, where the role has several."""
        self.name = name
        self._number = number
        self.due_at: float | None = time.monotonic()
        self._started_at = 0.0
        self._back_off = FIRST_BACK_OFF
        self._deaths = 0

    @property
    def life(self) -> RoleLife:
        return RoleLife(running=self.due_at is None and self.process.poll() is None, restarts=self._deaths)

    def start(self, settings: Settings, fds: Sequence[int]) -> None:
        reading, writing = os.pipe()
        self.process = subprocess.Popen(  # noqa: S603 -- ourselves
            [sys.executable, "-P", "-m", "ringback.role", self.name, *([str(self._number)] if self._number else [])],
            stdin=reading,
            stdout=2,  # standard output is for the lines that scripts read
            pass_fds=fds,
            process_group=0,  # Ctrl-C in a terminal is for us; we tell the children
        )
        os.close(reading)
        self.due_at = None
        self._started_at = time.monotonic()
        self._lifeline = os.fdopen(writing, "wb", buffering=0)
        try:
            self._lifeline.write(pickle.dumps(settings))
        except BrokenPipeError:
            _log.warning("a role died before it read its settings", name=self.name)

    def note_death(self) -> None:
        """The next start is after the back-off, which doubles while the lives are short."""
        self._deaths += 1
        lived = time.monotonic() - self._started_at
        if lived >= STEADY:
            self._back_off = FIRST_BACK_OFF
        code = self.process.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        _log.error("a role died", name=self.name, how=how, lived_s=round(lived, 1), again_in_s=self._back_off)
        self._lifeline.close()
        self.due_at = time.monotonic() + self._back_off
        self._back_off = min(self._back_off * 2, LONGEST_BACK_OFF)
