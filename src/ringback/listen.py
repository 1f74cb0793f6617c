"""Addresses to listen on, and the sockets bound to them.

The supervisor binds every socket once and hands it down, so that a role that is restarted keeps its port (also one
that was picked by the kernel) and packets wait in the socket's buffer meanwhile.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

RECEIVE_BUFFER = (
    32 * 1024 * 1024
)  # bytes asked for; without CAP_NET_ADMIN the kernel grants net.core.rmem_max at most
_SO_RCVBUFFORCE = 33
_BACKLOG = 512


class ListenError(OSError):
    """An address cannot be listened on: which, why and what to do."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An IP address and port. Port 0 lets the kernel pick; `fd` is an inherited socket already bound to it."""

    host: str
    port: int
    fd: int | None = None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        return ip_address(self.host).is_loopback


def parse_endpoint(text: str) -> Endpoint:
    """``127.0.0.1:9060``, ``[::1]:9060`` or ``localhost:9060``. Raises ValueError, its text fit to be shown."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"{text!r} is no address:port, such as 127.0.0.1:9060 or [::1]:9060")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: write an IPv6 address in brackets, such as [::1]:9060")
    if host == "localhost":
        host = "127.0.0.1"
    try:
        ip_address(host)
    except ValueError:
        raise ValueError(
            f"{text!r}: {host!r} is no IP address; to listen on every interface write 0.0.0.0:{port}"
        ) from None
    return Endpoint(host, int(port))


def udp_socket(endpoint: Endpoint) -> socket.socket:
    """The bound, blocking socket of `endpoint`. Raises ListenError."""
    return _inherited(endpoint) or _bind(endpoint, socket.SOCK_DGRAM)


def tcp_socket(endpoint: Endpoint) -> socket.socket:
    """The listening, blocking socket of `endpoint`. Raises ListenError."""
    return _inherited(endpoint) or _bind(endpoint, socket.SOCK_STREAM)


def shared_socket(endpoint: Endpoint) -> socket.socket:
    """As `tcp_socket`, one of several on the same address: the kernel deals out connections among them. Whether somebody
    else has the address is asked before, with `tcp_socket`. Raises ListenError."""
    return _inherited(endpoint) or _bind(endpoint, socket.SOCK_STREAM, shared=True)


def bound_endpoint(bound: socket.socket) -> Endpoint:
    """Where `bound` listens; its descriptor is named, for a child process to inherit."""
    host, port = bound.getsockname()[:2]
    return Endpoint(host, port, bound.fileno())


def _inherited(endpoint: Endpoint) -> socket.socket | None:
    return None if endpoint.fd is None else socket.socket(fileno=endpoint.fd)


def _enlarge(made: socket.socket) -> None:
    try:
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except OSError:  # not for us, or no Linux
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def _bind(endpoint: Endpoint, kind: socket.SocketKind, *, shared: bool = False) -> socket.socket:
    ipv6 = isinstance(ip_address(endpoint.host), IPv6Address)
    stream = kind is socket.SOCK_STREAM
    made = socket.socket(
        socket.AF_INET6 if ipv6 else socket.AF_INET,
        kind,
        socket.IPPROTO_TCP if stream else 0,  # named, or asyncio does not know what it may send without delay
    )
    try:
        if stream:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        else:
            _enlarge(made)
        made.bind((endpoint.host, endpoint.port))
        if stream:
            made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        transport = "TCP" if stream else "UDP"
        raise ListenError(
            f"cannot listen on {transport} {endpoint}: {error.strerror or error}. "
            "Stop what uses it, or choose another address (port 0 picks a free one)."
        ) from error
    return made
