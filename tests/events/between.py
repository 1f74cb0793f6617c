"""A server between store and engine that a test lets interfere: it forwards, answers for the engine, or says nothing."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2


@dataclass
class Asked:
    """One request of the store."""

    method: str
    path: str  # with its query
    headers: dict[str, str]
    body: bytes

    @property
    def documents(self) -> list[Any]:
        """Of a bulk request: actions and documents in turn."""
        return [json.loads(line) for line in self.body.splitlines()]


@dataclass
class Answer:
    status: int = 200
    body: Any = None


SILENCE = Answer(0)  # the connection is closed instead of an answer
Interfere = Callable[[Asked, Callable[[], Answer]], Answer]


def forward(_asked: Asked, engine: Callable[[], Answer]) -> Answer:
    return engine()


@dataclass
class Between:
    url: str
    interfere: Interfere = forward
    asked: list[Asked] = field(default_factory=list)

    def of(self, part: str) -> list[Asked]:
        """Requests whose path has `part`."""
        return [each for each in self.asked if part in each.path]


@dataclass
class Engine:
    """The real one, asked without the store; `url` is a store's, with a prefix of the test's own."""

    address: str
    prefix: str

    @property
    def options(self) -> str:
        return f"prefix={self.prefix}&replicas=0&refresh=true"

    @property
    def url(self) -> str:
        return f"{self.address}/?{self.options}"

    def ask(self, method: str, path: str, body: object = None) -> Any:
        answer = httpx2.request(method, f"{self.address}/{path}", json=body, timeout=60)
        answer.raise_for_status()
        return answer.json() if answer.content else None


@contextmanager
def between(
    engine: str, *, address: tuple[str, int] = ("127.0.0.1", 0), tls: ssl.SSLContext | None = None
) -> Iterator[Between]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            asked = Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            state.asked.append(asked)
            answer = state.interfere(asked, lambda: _of_engine(engine, asked))
            if answer.status == 0:
                self.close_connection = True
                return
            data = b"" if answer.body is None else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else data)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(address, Handler)
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    state = Between(f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _of_engine(engine: str, asked: Asked) -> Answer:
    headers = {"content-type": "application/json"}
    answer = httpx2.request(asked.method, engine + asked.path, content=asked.body, headers=headers, timeout=60)
    return Answer(answer.status_code, answer.json() if answer.content else None)
