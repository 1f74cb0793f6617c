"""The process that takes HEP datagrams from the kernel, as fast as they come, and hands them to the workers.

It decodes nothing. What the workers do not take in time waits here, up to SPILL_BYTES; then everything goes to the spool
on disk, unsplit, until the workers have read all of it. Without a spool QUEUE_BYTES wait here and then the datagrams stay in
the sockets' buffers; what those cannot hold the kernel drops and counts (see `sockets.dropped`).

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
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import ip_address, ip_network
from pathlib import Path

import orjson

from ringback import clock
from ringback.logs import configure_logs
from ringback.sessions.ingest.chunks import chunks_of, pack, pack_reference, pack_shares, packets_in, split
from ringback.sessions.ingest.spool import Board
from ringback.sessions.ingest.spooler import Spooler
from ringback.sessions.ingest.status import CountFile, Totals

SPILL_BYTES = 16 * 1024 * 1024
QUEUE_BYTES = 96 * 1024 * 1024
HAND_ON_SECONDS = 3.0  # that the workers have, at the end, to take what waits here; the rest is spooled
REPORT_SECONDS = 0.25
DRAIN_SECONDS = 0.5  # of reading on after SIGTERM, where packets do not stop coming
_BATCH = 512  # datagrams one system call takes
_SLOT = 2048  # bytes of most datagrams; what is longer goes on in a place of its own
_REST = 65_536 - _SLOT  # bytes: no datagram is longer than both
_NAME = 32  # bytes: holds a sockaddr_in6
_CALM = 256  # fewer datagrams than this at once: wait a little, so that the next call takes more of them
_CALM_SECONDS = 0.004
_SPOOL_MS = 10  # between looks at how far the workers are with the spool
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


class _Socket:
    """recvmmsg(2) on a socket into buffers that are used again and again: slots that fit into the processor's cache."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._slots = bytearray(_BATCH * _SLOT)
        self._rests = mmap.mmap(-1, _BATCH * _REST)  # touched only as far as datagrams reach
        self._names = bytearray(_BATCH * _NAME)
        self._headers = (_MMsgHdr * _BATCH)()
        self._vectors = (_IoVec * (2 * _BATCH))()
        slots = ctypes.addressof(ctypes.c_char.from_buffer(self._slots))
        rests = ctypes.addressof(ctypes.c_char.from_buffer(self._rests))
        names = ctypes.addressof(ctypes.c_char.from_buffer(self._names))
        for index in range(_BATCH):
            self._vectors[2 * index] = _IoVec(slots + index * _SLOT, _SLOT)
            self._vectors[2 * index + 1] = _IoVec(rests + index * _REST, _REST)
            header = self._headers[index].header
            header.name, header.namelen = names + index * _NAME, _NAME
            header.iov, header.iovlen = ctypes.addressof(self._vectors[2 * index]), 2
        words = memoryview(self._headers).cast("B").cast("I")
        self._lengths = words[_MMsgHdr.length.offset // 4 :: ctypes.sizeof(_MMsgHdr) // 4]
        self._view = memoryview(self._slots)
        self._starts = range(0, _BATCH * _SLOT, _SLOT)
        self._call = ctypes.PyDLL(None, use_errno=True).recvmmsg  # it never waits: no need to let go of the lock
        self._where = ctypes.byref(self._headers)

    def receive(self) -> tuple[list[memoryview | bytes], bytes]:
        """The datagrams that wait, at most _BATCH, and their senders' socket addresses in slots of _NAME bytes.
        They are valid until the next call."""
        count = self._call(self.fd, self._where, _BATCH, _MSG_DONTWAIT, None)
        if count < 0:
            code = ctypes.get_errno()
            if code in (errno.EAGAIN, errno.EINTR, errno.ECONNREFUSED):
                return [], b""
            raise OSError(code, os.strerror(code))
        view = self._view
        lengths = self._lengths[:count].tolist()
        packets: list[memoryview | bytes] = [
            view[start : start + length] for start, length in zip(self._starts, lengths, strict=False)
        ]
        if max(lengths) > _SLOT:
            for index, length in enumerate(lengths):
                if length > _SLOT:
                    rest = index * _REST
                    packets[index] = (
                        bytes(view[index * _SLOT : (index + 1) * _SLOT]) + self._rests[rest : rest + length - _SLOT]
                    )
        return packets, bytes(self._names[: count * _NAME])


@lru_cache(maxsize=_BATCH)
def _names(count: int) -> struct.Struct:
    return struct.Struct(f"{_NAME}s" * count)


class _Senders:
    """Socket addresses in the kernel's form -> the address as text, and whether it may send."""

    def __init__(self, allowed: list[str]) -> None:
        self._networks = [ip_network(each) for each in allowed]
        self._known: dict[bytes, tuple[str, bool]] = {}

    def __call__(self, names: bytes) -> list[tuple[str, bool]]:
        """Of each slot of `names`."""
        known = self._known
        return [known.get(name) or self._learn(name) for name in _names(len(names) // _NAME).unpack(names)]

    def _learn(self, name: bytes) -> tuple[str, bool]:
        if len(self._known) >= _MOST_SENDERS:
            self._known.clear()
        (family,) = struct.unpack_from("=H", name)
        address = ip_address(name[8:24] if family == socket.AF_INET6 else name[4:8])
        address = getattr(address, "ipv4_mapped", None) or address
        inside = not self._networks or any(address in network for network in self._networks)
        known = self._known[name] = (str(address), inside)
        return known


class Receiver:
    def __init__(
        self,
        sockets: list[int],
        pipes: list[int],
        allowed: list[str],
        *,
        spooler: Spooler | None = None,
        spilling: bool = False,
        counts: CountFile | None = None,
    ) -> None:
        """`sockets` and `pipes` (one a worker) are file descriptors. `spilling`: the spooler takes new packets too, not
        only those that earlier collectors left."""
        self._sockets = {fd: _Socket(fd) for fd in sockets}
        self._pipes = pipes
        self._queues: list[deque[bytes]] = [deque() for _ in pipes]
        self._done = [0] * len(pipes)  # bytes of each queue's first chunk that are in the pipe already
        self._senders = _Senders(allowed)
        self._received = 0
        self._refused: Counter[str] = Counter()
        self._strangers: Counter[str] = Counter()  # address -> packets of senders that may not send
        self._queued_bytes = 0
        self._stopping = False
        self._spooler = spooler
        self._spilling = spilling
        self._spooling = spilling and spooler is not None and spooler.kept > 0
        self._counts = counts
        self._counted = (-1, 0)
        buffers = [socket.socket(fileno=os.dup(fd)) for fd in sockets]
        self._roomy = all(each.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= _ROOMY for each in buffers)
        for each in buffers:
            each.close()
        for pipe in pipes:
            os.set_blocking(pipe, False)

    def stop(self, *_: object) -> None:
        self._stopping = True

    def run(self) -> None:
        """Until SIGTERM (drained then), or until the collector is gone. Raises BrokenPipeError where a worker is."""
        poller = select.poll()
        poller.register(0, select.POLLIN)
        report_at = 0.0
        self._turn()  # what waits on disk is older than anything that comes now
        while not self._stopping:
            full = self._is_full()
            for fd in self._sockets:
                poller.register(fd, 0 if full else select.POLLIN)
            for pipe, queue in zip(self._pipes, self._queues, strict=True):
                poller.register(pipe, select.POLLOUT if queue else 0)
            events = dict(poller.poll(_SPOOL_MS if self._spooling else REPORT_SECONDS * 1000))
            if 0 in events:
                break  # whoever comes after this collector reads the sockets
            taken = max(
                (self._take(each) for fd, each in self._sockets.items() if events.get(fd, 0) & select.POLLIN),
                default=0,
            )
            self._turn()
            self._hand_on()
            self._count()
            now = time.monotonic()
            if now >= report_at:
                report_at = now + REPORT_SECONDS
                self._report()
            if 0 < taken < _CALM and self._roomy:
                time.sleep(_CALM_SECONDS)
        else:
            self._read_on()
        self._drain()

    def save(self) -> None:
        """What waits here goes to the spool: nobody is left to take it."""
        spooler = self._spooler
        if spooler is None or not self._spilling:
            return
        self._spill(whole=True)
        spooler.finish()
        self._count()

    def _is_full(self) -> bool:
        if self._spooler and self._spilling:
            return self._spooler.limit_reached
        return self._queued_bytes > QUEUE_BYTES

    def _take(self, each: _Socket) -> int:
        packets, names = each.receive()
        if not packets:
            return 0
        taken = len(packets)
        first = names[:_NAME]
        if names == first * taken:
            ((address, inside),) = self._senders(first)
            if inside:
                self._queue(packets, [address], ())
            else:
                self._refuse(address, taken)
            return taken
        senders = self._senders(names)
        kinds = dict.fromkeys(senders)
        if not all(inside for _, inside in kinds):
            good = []
            for packet, sender in zip(packets, senders, strict=True):
                if sender[1]:
                    good.append(packet)
                else:
                    self._refuse(sender[0], 1)
            packets, senders = good, [sender for sender in senders if sender[1]]
            kinds = dict.fromkeys(senders)
        if packets:
            index = {sender: number for number, sender in enumerate(kinds)}
            self._queue(packets, [address for address, _ in kinds], [index[sender] for sender in senders])
        return taken

    def _refuse(self, address: str, count: int) -> None:
        self._received += count
        self._refused["unknown sender"] += count
        if address in self._strangers or len(self._strangers) < _MOST_SENDERS:
            self._strangers[address] += count

    def _queue(self, packets: list[memoryview | bytes], senders: list[str], sender_of: Sequence[int]) -> None:
        self._received += len(packets)
        now = clock.now_us()
        if self._spooling and self._spooler:
            self._spooler.add(pack(now, senders, sender_of, packets))
            return
        self._append(pack_shares(now, senders, sender_of, packets, len(self._pipes)))
        if self._spilling and self._queued_bytes > SPILL_BYTES:
            self._spooling = True
            self._spill()

    def _append(self, chunks: Iterable[bytes]) -> None:
        """One chunk a worker."""
        for queue, chunk in zip(self._queues, chunks, strict=True):
            if chunk:
                queue.append(chunk)
                self._queued_bytes += len(chunk)

    def _spill(self, *, whole: bool = False) -> None:
        """The queues go to the spool, but for chunks that are in the pipe in part. `whole`: these too, for the worker
        that got a part throws it away."""
        if self._spooler is None:
            return
        for number, queue in enumerate(self._queues):
            begun = queue.popleft() if self._done[number] and not whole else None
            self._queued_bytes -= sum(map(len, queue)) - (self._done[number] if whole else 0)
            for chunk in queue:
                if packets_in(chunk)[0]:
                    self._spooler.add(chunk)
            queue.clear()
            if begun is not None:
                queue.append(begun)
            else:
                self._done[number] = 0

    def _turn(self) -> None:
        """What the spool has become since the last time."""
        spooler = self._spooler
        if spooler is None:
            return
        for reference in spooler.turn():
            self._append([pack_reference(reference)] * len(self._pipes))
        if self._spooling and spooler.caught_up:
            self._spooling = False
            for packed in spooler.withdraw():
                for chunk in chunks_of(packed):
                    self._append(split(chunk, len(self._pipes)))

    def _hand_on(self) -> None:
        for number, (pipe, queue) in enumerate(zip(self._pipes, self._queues, strict=True)):
            while queue:
                done = self._done[number]
                try:
                    written = os.write(pipe, memoryview(queue[0])[done:] if done else queue[0])
                except BlockingIOError:
                    break
                self._queued_bytes -= written
                if done + written < len(queue[0]):
                    self._done[number] = done + written
                    break
                queue.popleft()
                self._done[number] = 0

    def _read_on(self) -> None:
        deadline = time.monotonic() + DRAIN_SECONDS
        for each in self._sockets.values():
            while time.monotonic() < deadline and not self._is_full() and self._take(each):
                self._turn()
                self._hand_on()

    def _drain(self) -> None:
        """To the workers; what they do not take stays in the spool for the next start, where there is one."""
        if self._spooling:
            self.save()
        elif self._spilling:
            deadline = time.monotonic() + HAND_ON_SECONDS
            while any(self._queues) and (left := deadline - time.monotonic()) > 0:
                waiting = [pipe for pipe, queue in zip(self._pipes, self._queues, strict=True) if queue]
                select.select((), waiting, (), left)
                self._hand_on()
            self.save()
        else:
            for pipe in self._pipes:
                os.set_blocking(pipe, True)
            while any(self._queues):
                self._hand_on()
        self._report()

    def _report(self) -> None:
        spooler = self._spooler
        report = {
            "received": self._received,
            "lost": self._lost,
            "strangers": self._strangers.most_common(50),
            "spooled": spooler.spooled if spooler else 0,
            "kept": spooler.kept if spooler else 0,
            "spool": [spooler.size, spooler.packets, spooler.oldest_us] if spooler else [0, 0, 0],
        }
        os.write(1, orjson.dumps(report) + b"\n")

    @property
    def _lost(self) -> Counter[str]:
        return self._refused + self._spooler.refused if self._spooler else self._refused

    def _count(self) -> None:
        """For the time after a crash."""
        spooled = self._spooler.spooled if self._spooler else 0
        if self._counts and self._counted != (self._received, spooled):
            self._counted = (self._received, spooled)
            self._counts.write(Totals(received=self._received, spooled=spooled, lost=dict(self._lost)))


def main() -> None:
    configuration = orjson.loads(sys.stdin.buffer.readline())
    configure_logs(configuration["log_format"], "collect-receiver")
    pipes = configuration["pipes"]
    folder, board = configuration["spool"], Board(configuration["board"], len(pipes))
    limit = configuration["spool_bytes"]
    receiver = Receiver(
        configuration["sockets"],
        pipes,
        configuration["allowed"],
        spooler=Spooler(Path(folder), limit, board) if folder else None,
        spilling=bool(folder and limit),
        counts=CountFile(Path(configuration["counts"]), configuration["life"]),
    )
    signal.signal(signal.SIGTERM, receiver.stop)
    try:
        receiver.run()
    except BrokenPipeError:
        receiver.save()
        os._exit(1)  # a worker or the collector died; nobody is left to tell


if __name__ == "__main__":
    main()
