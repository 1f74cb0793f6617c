"""Beside the roles of one server, in its supervisor's process: signs of life for the other hosts, and the admin listener.

Both run in threads, so that a store that hangs holds up neither the roles nor the supervisor.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import orjson
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ringback import checks, clock
from ringback.events import EventStore, EventStoreError, open_store
from ringback.hosts.service import BEAT_SECONDS, tell
from ringback.listen import tcp_socket
from ringback.metrics import AuditMetrics, make_registry
from ringback.records.engine import RecordsUnavailable, open_engine
from ringback.sessions.ingest.status import read_collector_status
from ringback.settings import Settings

_STORE_ROLES = frozenset({"web", "work"})  # those that are of no use without both stores
_LAST_WORD_SECONDS = 3.0  # that a stopping server waits for the records

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RoleLife:
    """What the supervisor knows of a role."""

    running: bool
    restarts: int


class Watch:
    """`lives` is asked at any time by any thread."""

    def __init__(self, settings: Settings, lives: Callable[[], Mapping[str, RoleLife]]) -> None:
        self._settings = settings
        self._lives = lives
        self._run = clock.random_token(12)
        self._started_at = clock.now()
        self._opening = threading.Lock()
        self._engine: Engine | None = None
        self._store: EventStore | None = None
        self._stopping = False
        self._ended = threading.Event()
        self._told: str | None = None  # what was last logged of telling: "" fine, else why not
        self._beats = threading.Thread(target=self._tell_always, name="signs of life", daemon=True)
        self._listener: _Listener | None = None

    def start(self) -> None:
        self._beats.start()
        if self._settings.admin is not None:
            self._listener = _Listener(self, self._settings)
            threading.Thread(target=self._listener.serve_forever, name="admin listener", daemon=True).start()

    def note_stopping(self) -> None:
        """From now on the server is not ready, though its roles still work."""
        self._stopping = True

    def stop(self) -> None:
        """The roles have ended: the last word is that they were stopped in order."""
        self._ended.set()
        self._beats.join(_LAST_WORD_SECONDS)
        if self._listener:
            self._listener.shutdown()
            self._listener.server_close()
        if self._beats.is_alive():
            return  # it hangs in the records: to the other hosts we are silent
        if self._engine:
            self._engine.dispose()
        if self._store:
            self._store.close()

    def readiness(self) -> tuple[bool, dict[str, str]]:
        """Whether all is well; each check: "ok", or what is wrong."""
        lives = self._lives()
        found = {name: checks.OK if life.running else "does not run" for name, life in lives.items()}
        if "collect" in lives:
            found |= checks.collector(read_collector_status(self._settings.data))
        if lives.keys() & _STORE_ROLES:
            found |= {"records": self._records_check(), "events": self._events_check()}
        if self._stopping:
            found["server"] = checks.STOPPING
        return checks.ready(found), found

    def behind(self) -> dict[str, float]:
        return checks.behind(read_collector_status(self._settings.data))

    def metrics(self) -> bytes:
        registry = make_registry(self._settings.data)
        lives = self._lives()
        registry.register(_Lives(lives))
        if "work" in lives:
            with suppress(RecordsUnavailable):
                registry.register(AuditMetrics(self._records(), self._settings))
        return generate_latest(registry)

    def _tell_always(self) -> None:
        while True:
            self._tell(stopped=self._ended.is_set())
            if self._ended.is_set():
                return
            self._ended.wait(BEAT_SECONDS)

    def _tell(self, *, stopped: bool) -> None:
        host, problem = self._settings.host_name, ""
        try:
            for role, life in self._lives().items():
                if not life.running and not stopped:
                    continue  # silence is what the others shall hear
                last = tell(
                    self._records(), host, role,
                    run=self._run, started_at=self._started_at, status=self._status(role), stopped=stopped,
                )  # fmt: skip
                if last != self._run:
                    problem = f"another server also tells as {host}: give each its own RINGBACK_HOST"
        except RecordsUnavailable as error:
            problem = str(error)
        except SQLAlchemyError as error:
            problem = str(getattr(error, "orig", None) or error)
        if problem and problem != self._told:
            _log.warning("other hosts do not see what runs here", problem=problem)
        elif self._told:
            _log.info("other hosts see what runs here")
        self._told = problem

    def _status(self, role: str) -> str:
        if role == "collect":
            status = read_collector_status(self._settings.data)
            return orjson.dumps(asdict(status)).decode() if status else "{}"
        return json.dumps({"address": f"http://{self._settings.web}"} if role == "web" else {})

    def _records(self) -> Engine:
        """Raises RecordsUnavailable."""
        with self._opening:
            if self._engine is None:
                self._engine = open_engine(self._settings.records_url)
            return self._engine

    def _events(self) -> EventStore:
        """Raises EventStoreError."""
        with self._opening:
            if self._store is None:
                self._store = open_store(self._settings.store_url)
            return self._store

    def _records_check(self) -> str:
        try:
            return checks.records(self._records())
        except RecordsUnavailable as error:
            return str(error)

    def _events_check(self) -> str:
        try:
            return checks.events(self._events())
        except EventStoreError as error:
            return str(error)


class _Lives(Collector):
    def __init__(self, lives: Mapping[str, RoleLife]) -> None:
        self._lives = lives

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("ringback_role_up", "1: the role's process runs", labels=["role"])
        restarts = CounterMetricFamily("ringback_role_restarts", "Times that the role died", labels=["role"])
        for name, life in self._lives.items():
            up.add_metric([name], life.running)
            restarts.add_metric([name], life.restarts)
        yield up
        yield restarts


class _Listener(ThreadingHTTPServer):
    """/healthz, /readyz and /metrics, and nothing else."""

    daemon_threads = True

    def __init__(self, watch: Watch, settings: Settings) -> None:
        if settings.admin is None:
            raise ValueError("no address to listen on")
        self.watch = watch
        super().__init__((settings.admin.host, settings.admin.port), _Answer, bind_and_activate=False)
        self.socket.close()
        bound = settings.admin.fd
        self.socket = tcp_socket(settings.admin) if bound is None else socket.socket(fileno=os.dup(bound))

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("an answer of the admin listener broke", exc_info=True)


class _Answer(BaseHTTPRequestHandler):
    server: _Listener
    timeout = 10  # seconds for a request to arrive
    server_version = "Ringback"
    sys_version = ""

    def do_GET(self) -> None:
        watch = self.server.watch
        match urlsplit(self.path).path:
            case "/healthz":
                self._answer(200, "text/plain; charset=utf-8", b"ok")
            case "/readyz":
                ready, found = watch.readiness()
                document = {"ready": ready, "checks": found, "spool": watch.behind()}
                self._answer(200 if ready else 503, "application/json", orjson.dumps(document))
            case "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, watch.metrics())
            case _:
                self._answer(404, "text/plain; charset=utf-8", b"here are /healthz, /readyz and /metrics")

    do_HEAD = do_GET  # noqa: N815 -- the name that http.server asks for

    def _answer(self, status: int, media_type: str, body: bytes) -> None:
        self.send_response(HTTPStatus(status))
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nobody wants a line a scrape."""
