"""The process that takes HEP datagrams from the kernel, as fast as they come, and hands them to the workers.

It decodes nothing. What the workers do not take in time waits here, up to QUEUE_BYTES; beyond that the datagrams stay
in the sockets' buffers, and what those cannot hold the kernel drops and counts (see `sockets.dropped`).

Started as ``python -m ringback.sessions.ingest.udp_receiver``: configuration on standard input (whose end means that
the collector is gone), a report as a line of JSON on standard output several times a second. SIGTERM drains.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import select
import signal
import socket
import struct
import sys
import time
from collections import Counter, deque
from ipaddress import ip_address, ip_network

import orjson

from ringback import clock
from ringback.sessions.ingest.chunks import pack, worker_of

QUEUE_BYTES = 96 * 1024 * 1024
REPORT_SECONDS = 0.25
DRAIN_SECONDS = 0.5  # of reading on after SIGTERM, where packets do not stop coming
_BATCH = 512  # datagrams one system call takes
_SLOT = 65_536  # bytes: no datagram is longer
_NAME = 32  # bytes: holds a sockaddr_in6
_CALM = 256  # fewer datagrams than this at once: wait a little, so that the next call takes more of them
_CALM_SECONDS = 0.004
_ROOMY = 4 * 1024 * 1024  # bytes of a socket's buffer that make waiting safe
_MSG_DONTWAIT = socket.MSG_DONTWAIT
_MOST_SENDERS = 4096  # remembered; spoofed ones cost only time


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _MsgHdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32), ("iov", ctypes.c_void_p), ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t), ("flags", ctypes.c_int),
    )  # fmt: skip


class _MMsgHdr(ctypes.Structure):
    _fields_ = (("header", _MsgHdr), ("length", ctypes.c_uint))


class _Receive:
    """recvmmsg(2) into buffers that are used again and again."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _BATCH * _SLOT)  # touched only as far as datagrams reach
        self._names = bytearray(_BATCH * _NAME)
        self._headers = (_MMsgHdr * _BATCH)()
        self._vectors = (_IoVec * _BATCH)()
        memory = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        names = ctypes.addressof(ctypes.c_char.from_buffer(self._names))
        for index in range(_BATCH):
            self._vectors[index] = _IoVec(memory + index * _SLOT, _SLOT)
            header = self._headers[index].header
            header.name, header.namelen = names + index * _NAME, _NAME
            header.iov, header.iovlen = ctypes.addressof(self._vectors[index]), 1
        words = memoryview(self._headers).cast("B").cast("I")
        self._lengths = words[_MMsgHdr.length.offset // 4 :: ctypes.sizeof(_MMsgHdr) // 4]
        self._view = memoryview(self._memory)
        self._starts = range(0, _BATCH * _SLOT, _SLOT)
        self._call = ctypes.CDLL(None, use_errno=True).recvmmsg

    def __call__(self, fd: int) -> tuple[list[memoryview], bytes]:
        """The datagrams that wait, at most _BATCH, and their senders' socket addresses in slots of _NAME bytes.
        They are valid until the next call."""
        count = self._call(fd, ctypes.byref(self._headers), _BATCH, _MSG_DONTWAIT, None)
        if count < 0:
            code = ctypes.get_errno()
            if code in (errno.EAGAIN, errno.EINTR, errno.ECONNREFUSED):
                return [], b""
            raise OSError(code, os.strerror(code))
        view = self._view
        packets = [
            view[start : start + length]
            for start, length in zip(self._starts, self._lengths[:count].tolist(), strict=False)
        ]
        return packets, bytes(self._names[: count * _NAME])


class _Senders:
    """Socket addresses in the kernel's form -> the address as text, and whether it may send."""

    def __init__(self, allowed: list[str]) -> None:
        self._networks = [ip_network(each) for each in allowed]
        self._known: dict[bytes, tuple[str, bool]] = {}

    def __call__(self, name: bytes) -> tuple[str, bool]:
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= _MOST_SENDERS:
                self._known.clear()
            (family,) = struct.unpack_from("=H", name)
            address = ip_address(name[8:24] if family == socket.AF_INET6 else name[4:8])
            address = getattr(address, "ipv4_mapped", None) or address
            inside = not self._networks or any(address in network for network in self._networks)
            known = self._known[name] = (str(address), inside)
        return known


class Receiver:
    def __init__(self, sockets: list[int], pipes: list[int], allowed: list[str]) -> None:
        """`sockets` and `pipes` (one a worker) are file descriptors."""
        self._sockets = sockets
        self._pipes = pipes
        self._queues: list[deque[memoryview]] = [deque() for _ in pipes]
        self._senders = _Senders(allowed)
        self._receive = _Receive()
        self._received = 0
        self._refused: Counter[str] = Counter()
        self._strangers: Counter[str] = Counter()  # address -> packets of senders that may not send
        self._queued_bytes = 0
        self._stopping = False
        buffers = [socket.socket(fileno=os.dup(fd)) for fd in sockets]
        self._roomy = all(each.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= _ROOMY for each in buffers)
        for each in buffers:
            each.close()
        for pipe in pipes:
            os.set_blocking(pipe, False)

    def stop(self, *_: object) -> None:
        self._stopping = True

    def run(self) -> None:
        """Until SIGTERM (drained then), or until the collector or a worker is gone."""
        poller = select.poll()
        poller.register(0, select.POLLIN)
        report_at = 0.0
        while not self._stopping:
            full = self._queued_bytes > QUEUE_BYTES
            for fd in self._sockets:
                poller.register(fd, 0 if full else select.POLLIN)
            for pipe, queue in zip(self._pipes, self._queues, strict=True):
                poller.register(pipe, select.POLLOUT if queue else 0)
            events = dict(poller.poll(REPORT_SECONDS * 1000))
            if 0 in events:
                return
            taken = max((self._take(fd) for fd in self._sockets if events.get(fd, 0) & select.POLLIN), default=0)
            self._hand_on()
            now = time.monotonic()
            if now >= report_at:
                report_at = now + REPORT_SECONDS
                self._report()
            if 0 < taken < _CALM and self._roomy:
                time.sleep(_CALM_SECONDS)
        self._drain()

    def _take(self, fd: int) -> int:
        packets, names = self._receive(fd)
        if not packets:
            return 0
        taken = len(packets)
        first = names[:_NAME]
        if names == first * len(packets):
            address, inside = self._senders(first)
            if inside:
                self._queue(packets, [address], [])
            else:
                self._refuse(address, len(packets))
            return taken
        table: dict[str, int] = {}
        sender_of, good = [], []
        for index, packet in enumerate(packets):
            address, inside = self._senders(names[index * _NAME : (index + 1) * _NAME])
            if inside:
                good.append(packet)
                sender_of.append(table.setdefault(address, len(table)))
            else:
                self._refuse(address, 1)
        if good:
            self._queue(good, list(table), sender_of)
        return taken

    def _refuse(self, address: str, count: int) -> None:
        self._received += count
        self._refused["unknown sender"] += count
        if address in self._strangers or len(self._strangers) < _MOST_SENDERS:
            self._strangers[address] += count

    def _queue(self, packets: list[memoryview], senders: list[str], sender_of: list[int]) -> None:
        self._received += len(packets)
        now = clock.now_us()
        workers = len(self._pipes)
        if workers == 1:
            self._append(0, pack(now, senders, sender_of, packets))
            return
        shares: list[list[int]] = [[] for _ in range(workers)]
        for index, packet in enumerate(packets):
            shares[worker_of(packet, workers)].append(index)
        for worker, share in enumerate(shares):
            if share:
                indexes = [sender_of[index] for index in share] if sender_of else []
                self._append(worker, pack(now, senders, indexes, [packets[index] for index in share]))

    def _append(self, worker: int, chunk: bytes) -> None:
        self._queues[worker].append(memoryview(chunk))
        self._queued_bytes += len(chunk)

    def _hand_on(self) -> None:
        for pipe, queue in zip(self._pipes, self._queues, strict=True):
            while queue:
                try:
                    written = os.write(pipe, queue[0])
                except BlockingIOError:
                    break
                self._queued_bytes -= written
                if written < len(queue[0]):
                    queue[0] = queue[0][written:]
                    break
                queue.popleft()

    def _drain(self) -> None:
        deadline = time.monotonic() + DRAIN_SECONDS
        for fd in self._sockets:
            while time.monotonic() < deadline and self._queued_bytes < QUEUE_BYTES and self._take(fd):
                self._hand_on()
        for pipe, queue in zip(self._pipes, self._queues, strict=True):
            os.set_blocking(pipe, True)
            while queue:
                piece = queue.popleft()
                while piece:
                    written = os.write(pipe, piece)
                    self._queued_bytes -= written
                    piece = piece[written:]
        self._report()

    def _report(self) -> None:
        report = {
            "received": self._received,
            "refused": self._refused,
            "strangers": self._strangers.most_common(50),
            "queued_bytes": self._queued_bytes,
        }
        os.write(1, orjson.dumps(report) + b"\n")


def main() -> None:
    configuration = orjson.loads(sys.stdin.buffer.readline())
    receiver = Receiver(configuration["sockets"], configuration["pipes"], configuration["allowed"])
    signal.signal(signal.SIGTERM, receiver.stop)
    try:
        receiver.run()
    except BrokenPipeError:
        os._exit(1)  # a worker or the collector died; nobody is left to tell


if __name__ == "__main__":
    main()
