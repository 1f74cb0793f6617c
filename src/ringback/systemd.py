"""What systemd wants to hear of a service of Type=notify (sd_notify(3)); nothing where it did not start us."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """``READY=1``, ``WATCHDOG=1``, ``STOPPING=1``. A service manager that cannot be told is no reason to stop."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@"):
        return
    address = "\0" + path[1:] if path[0] == "@" else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        try:
            manager.sendto(state.encode(), address)
        except OSError:
            return


def watchdog_seconds() -> float | None:
    """How often to say WATCHDOG=1: half of what WatchdogSec= allows. None: nobody waits for it."""
    allowed = os.environ.get("WATCHDOG_USEC", "")
    ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(allowed) / 2_000_000 if allowed.isdigit() and int(allowed) and ours else None
