"""An HTTP server in the engine's place that keeps what nodes ask and answers what a test wants.

It shows the wire form, and what the engine itself never does: hang, fail, answer nonsense.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from running import until

ALLOWED = {
    "allowed": True, "session": "s-1", "account": "12105550100", "i_account": 7, "i_customer": 3, "currency": "USD",
    "max_seconds": 600, "rate": None, "reason": None, "text": "", "sip_code": None, "sip_reason": None,
    "h323_return_code": 0, "error_name": None,
}  # fmt: skip
REFUSED = ALLOWED | {
    "allowed": False, "session": None, "max_seconds": None, "reason": "destination-forbidden",
    "text": "The rate for 1210 is forbidden.", "sip_code": 403, "sip_reason": "Destination forbidden",
    "h323_return_code": 9, "error_name": "cld_blocked",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    status: int  # of the answer


@dataclass
class Recorder:
    url: str = ""
    answer: tuple[int, Any] = (200, ALLOWED)  # status and body of what authorize answers
    report_answer: tuple[int, Any] = (200, {"session": "s-1", "state": "open", "xdr": None})
    asked: list[Asked] = field(default_factory=list)
    _may_answer: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._may_answer.set()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Meanwhile authorize does not answer: whatever happens inside happens without an answer."""
        self._may_answer.clear()
        try:
            yield
        finally:
            self._may_answer.set()

    def wait(self) -> None:
        self._may_answer.wait()

    def of(self, endpoint: str, *, status: int = 0) -> list[dict[str, Any]]:
        """What was asked; `status`: only what was answered so."""
        return [
            one.body
            for one in list(self.asked)
            if one.path.split("?")[0] == f"/aaa/v1/{endpoint}" and status in (0, one.status)
        ]

    def reports(self, call_id: str, *, last: str = "stop", status: int = 0) -> list[dict[str, Any]]:
        """Those of a call up to the event `last`, waited for. `status`: only those that were answered so."""

        def told() -> list[dict[str, Any]]:
            return [one for one in self.of("accounting", status=status) if one["call_id"] == call_id]

        until(lambda: any(one["event"] == last for one in told()))
        return told()


@contextmanager
def recorder(tls: ssl.SSLContext | None = None) -> Iterator[Recorder]:
    kept = Recorder()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = kept.answer if "authorize" in self.path else kept.report_answer
            kept.asked.append(Asked(self.path, dict(self.headers), json.loads(body), status))
            if "authorize" in self.path:
                kept.wait()
            data = json.dumps(answer).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                pass  # who asked did not wait

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        kept.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield kept
        finally:
            server.shutdown()
            thread.join()
