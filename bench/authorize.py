"""The billing engine's answers to authorize, beside a plain SELECT of an account over the same kind of connection.

A real `ringback serve --role engine` on PostgreSQL, with accounts, a tariff of many prefixes and the billing log written;
the load comes from this machine over kept connections: RATE a second with times counted from when each request was due,
then as many as CONNECTIONS can ask one after the other. The limit is an ASGI application that selects an account by its
id and gives it as JSON, with as many processes, under the same load. BENCH_SCALE shortens; BENCH_POSTGRES=URL of an empty
database uses that server.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

from sqlalchemy import Engine, insert, make_url
from sqlalchemy.orm import Session

from ringback import clock
from ringback.access.tokens import create_token
from ringback.audit import writer
from ringback.billing.entities.models import Account, Customer, Product, Rate, RatingEntry, Tariff
from ringback.billing.entities.node import Node
from ringback.changes.schemas import Actor
from ringback.changes.service import changing
from ringback.records import secrets
from ringback.records.engine import UNTRACKED, open_engine
from ringback.records.schema import migrate

SCALE = float(os.environ.get("BENCH_SCALE", "1"))
SECONDS = max(2.0, 20 * SCALE)
RATE = 500  # requests a second
CONNECTIONS = 32
ACCOUNTS, PREFIXES = 20_000, 5_000
PROCESSES = min(8, max(2, os.cpu_count() or 1))  # as the supervisor has it where PostgreSQL is on the same machine
MOST_P99_MS, LEAST_RATE, MOST_RATIO = 10.0, 2000, 4.0


def run() -> None:
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="ringback-bench-")))
        url = os.environ.get("BENCH_POSTGRES") or held.enter_context(_postgresql())
        secrets.ring.use(folder / "keys" / "secrets.key")
        writer.connect()
        token, numbers = _fill(url)
        environ = {"RINGBACK_DATABASE_URL": url, "RINGBACK_ENGINE_PROCESSES": str(PROCESSES)}
        with _engine(folder, environ) as address:
            ask = _asking(token, numbers)
            asyncio.run(_closed(address, ask, 2.0))
            steady = asyncio.run(_open(address, ask, SECONDS))
            full = asyncio.run(_closed(address, ask, SECONDS))
            time.sleep(1.0)
            figures = urlopen(f"http://{address[0]}:{address[1]}/metrics").read().decode()
        with _plain(folder, url) as address:
            select = _selecting(numbers)
            asyncio.run(_closed(address, select, 1.0))
            plain_steady = asyncio.run(_open(address, select, SECONDS / 2))
            plain = asyncio.run(_closed(address, select, SECONDS / 2))
    print(f"{ACCOUNTS:,} accounts, {PREFIXES:,} prefixes, {os.cpu_count()} cores, {PROCESSES} processes, PostgreSQL;"
          f" load from the same machine\n")  # fmt: skip
    print(f"{'':34}{'per second':>12}{'p50 ms':>9}{'p99 ms':>9}{'most ms':>9}{'errors':>8}")
    for name, found in (
        (f"authorize, {RATE}/s", steady), (f"authorize, {CONNECTIONS} connections", full),
        (f"plain SELECT, {RATE}/s", plain_steady), (f"plain SELECT, {CONNECTIONS} connections", plain),
    ):  # fmt: skip
        print(
            f"{name:34}{found.rate:12,.0f}{found.at(0.5):9.2f}{found.at(0.99):9.2f}{found.at(1):9.2f}{found.errors:8}"
        )
    print(f"  targets: p99 {MOST_P99_MS} ms at {RATE}/s, {LEAST_RATE:,} a second, within {MOST_RATIO:.0f} times of the plain "
          f"SELECT: {plain.rate / full.rate:.2f}")  # fmt: skip
    for line in figures.splitlines():
        if line.startswith("ringback_engine_log_lines"):
            print(f"  {line}")


@dataclass
class Found:
    seconds: float
    times: list[float] = field(default_factory=list)  # of good answers
    errors: int = 0

    @property
    def rate(self) -> float:
        return len(self.times) / self.seconds

    def at(self, share: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.times) or [float("nan")]
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


class _Connection(asyncio.Protocol):
    """HTTP/1.1 by hand, one request at a time: the load costs little beside what it measures."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[bool] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, request: bytes) -> asyncio.Future[bool]:
        """Whether it was answered as it should."""
        self._answer = asyncio.get_running_loop().create_future()
        assert self._transport is not None
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = self._buffer.index(b"content-length: ") + 16
        whole = head + 4 + int(self._buffer[length : self._buffer.index(b"\r", length)])
        if len(self._buffer) >= whole and self._answer is not None:
            good = self._buffer.startswith(b"HTTP/1.1 200") and (
                b'"allowed":true' in self._buffer or b'"plain":true' in self._buffer
            )
            self._buffer = b""
            self._answer.set_result(good)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(False)


async def _connections(address: tuple[str, int], count: int) -> list[_Connection]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(_Connection, *address))[1] for _ in range(count)]


async def _closed(address: tuple[str, int], request: Callable[[], bytes], seconds: float) -> Found:
    """Each connection asks again when it is answered."""
    found = Found(seconds)
    until = time.perf_counter() + seconds

    async def keep(connection: _Connection) -> None:
        while (began := time.perf_counter()) < until:
            good = await connection.ask(request())
            found.times.append(time.perf_counter() - began) if good else _count(found)

    await asyncio.gather(*(keep(each) for each in await _connections(address, CONNECTIONS)))
    return found


async def _open(address: tuple[str, int], request: Callable[[], bytes], seconds: float) -> Found:
    """A request is due every 1/RATE s, whether those before are answered or not; what waits for a connection waits."""
    found = Found(seconds)
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    for each in await _connections(address, CONNECTIONS * 2):
        free.put_nowait(each)
    running: set[asyncio.Task[None]] = set()

    async def one(due: float) -> None:
        connection = await free.get()
        good = await connection.ask(request())
        found.times.append(time.perf_counter() - due) if good else _count(found)
        free.put_nowait(connection)

    began = time.perf_counter()
    for number in range(int(seconds * RATE)):
        due = began + number / RATE
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(due))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    return found


def _count(found: Found) -> None:
    found.errors += 1


def _asking(token: str, numbers: list[str]) -> Callable[[], bytes]:
    shared = random.Random(7)
    count = iter(range(10**9))

    def request() -> bytes:
        number = shared.choice(numbers)
        body = json.dumps({
            "node": "edge-1", "call_id": f"{next(count)}-{os.getpid()}-{time.monotonic_ns()}@192.0.2.1", "account": number,
            "caller": number, "called": f"42{shared.randrange(10**9, 10**10)}",
        }).encode()  # fmt: skip
        return _post("/aaa/v1/authorize", body, token)

    return request


def _selecting(numbers: list[str]) -> Callable[[], bytes]:
    shared = random.Random(7)
    return lambda: _post("/", json.dumps({"account": shared.choice(numbers)}).encode(), "none")


def _post(path: str, body: bytes, token: str) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: engine\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def _fill(url: str) -> tuple[str, list[str]]:
    """A token, and the accounts' ids."""
    engine = open_engine(url)
    try:
        migrate(engine)
        numbers = _books(engine)
        with changing(engine, Actor("user", "bench", "cli"), None) as work:
            return create_token(work, "bench", scopes=("engine.ask",)), numbers
    finally:
        engine.dispose()


def _books(engine: Engine) -> list[str]:
    now = clock.now()
    common = {"environment": "default", "created_at": now, "version": 1}
    numbers = [f"1210{number:07}" for number in range(ACCOUNTS)]
    with Session(engine.execution_options(**{UNTRACKED: True})) as session:

        def add(model: type, *rows: dict[str, object]) -> list[int]:
            made = session.execute(insert(model).returning(model.id), [common | row for row in rows])  # type: ignore[attr-defined]
            return list(made.scalars())

        tariff = add(Tariff, {"name": "Home", "currency": "USD", "service": "voice"})[0]
        product = add(Product, {"name": "Home Phone", "currency": "USD"})[0]
        add(Node, {"name": "edge-1", "kind": "edge", "agents": [], "addresses": []})
        add(RatingEntry, {"product_id": product, "service": "voice", "direction": "any", "tariff_id": tariff})
        price = {"price_first": 0, "price_next": 0, "interval_first": 60, "interval_next": 60, "effective_from": now}
        prefixes = {"42", *(f"42{number}" for number in range(PREFIXES))}
        add(Rate, *({"tariff_id": tariff, "prefix": prefix, "destination": "Somewhere", "forbidden": False} | price
                    | {"price_first": 1, "price_next": 1} for prefix in sorted(prefixes)))  # fmt: skip
        customers = add(Customer, *({"name": f"Customer {number}", "currency": "USD", "balance": 0, "due_days": 14}
                                    for number in range(ACCOUNTS // 4)))  # fmt: skip
        for start in range(0, ACCOUNTS, 5000):
            add(Account, *({"charging_id": number, "customer_id": customers[(start + place) // 4], "product_id": product,
                            "billing_model": "credit", "balance": 0, "allowed_addresses": []}
                           for place, number in enumerate(numbers[start : start + 5000])))  # fmt: skip
        session.commit()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    return numbers


@contextmanager
def _postgresql() -> Iterator[str]:
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from postgres_server import connect, running_server

    with running_server() as url:
        with connect(url) as admin:
            admin.execute("CREATE DATABASE bench ENCODING UTF8 TEMPLATE template0")
        yield url.set(database="bench", drivername="postgresql").render_as_string(hide_password=False)


@contextmanager
def _engine(folder: Path, environ: dict[str, str]) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-m", "ringback.cli", "serve", "--role", "engine", "--data", str(folder), "--engine",
               "127.0.0.1:0", "--admin", "127.0.0.1:0"]  # fmt: skip
    with _process(command, environ, "Engine: http://") as address:
        yield address


@contextmanager
def _plain(folder: Path, url: str) -> Iterator[tuple[str, int]]:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    command = [sys.executable, "-m", "bench.plain_select", plain, str(PROCESSES)]
    with _process(command, {}, "Listens: ") as address:
        yield address


@contextmanager
def _process(command: list[str], environ: dict[str, str], begins: str) -> Iterator[tuple[str, int]]:
    """Until it says its address on a line that begins so, and answers."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | environ, start_new_session=True
    )
    try:
        for line in process.stdout or ():
            if line.startswith(begins):
                host, _, port = line.removeprefix(begins).strip().rpartition(":")
                time.sleep(3.0)
                yield host, int(port)
                return
        raise RuntimeError(f"{command} ended")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
