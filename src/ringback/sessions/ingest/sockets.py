"""What the kernel tells of UDP sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import Path

_TABLES = (Path("/proc/net/udp"), Path("/proc/net/udp6"))
_INODE, _DROPS = 9, 12  # columns


def receive_buffer(fds: Iterable[int]) -> int:
    """Bytes that the kernel grants the smallest of these sockets; it needs about twice of that for bookkeeping. 0: none."""
    granted = []
    for fd in fds:
        with socket.socket(fileno=os.dup(fd)) as each:
            granted.append(each.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2)  # it tells the double
    return min(granted, default=0)


def dropped(fds: Iterable[int]) -> dict[str, int]:
    """Datagrams the kernel has dropped for each socket since it was made, by inode; {} where there is no /proc.

    The file is used and not SO_RXQ_OVFL: that counter only comes with a next datagram.
    """
    wanted = {str(os.fstat(fd).st_ino) for fd in fds}
    found = {}
    for table in _TABLES:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue  # no such protocol on this machine
        for line in lines:
            columns = line.split()
            if len(columns) > _DROPS and columns[_INODE] in wanted:
                found[columns[_INODE]] = int(columns[_DROPS])
    return found
