"""The engine's HTTP: a bare ASGI application, since it is in the call path. Accounting runs in
threads; authorize too, where the records are a SQLite file, whose one writer may have to be waited for.

POST /aaa/v1/authorize, POST /aaa/v1/accounting (also `?format=radius`), GET /healthz, /readyz, /metrics.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ringback.access.schemas import Visitor
from ringback.billing.engine import accounting, radius
from ringback.billing.engine.authorize import Limits, TokenChanged, authorize, broken, trail_of
from ringback.billing.engine.billing_log import BillingLog
from ringback.billing.engine.counters import Counters
from ringback.billing.engine.direct import Direct, RecordsAway
from ringback.billing.engine.documents import Answer, Asked, Told, as_json, read_asked, read_told
from ringback.billing.engine.options import LONGEST_CALL, LONGEST_RINGING, SILENCE, SIMULTANEOUS_CALLS
from ringback.billing.engine.queries import Statements
from ringback.billing.engine.reserving import Reservations
from ringback.billing.engine.tokens import Caller, Tokens
from ringback.configuration.reader import Current
from ringback.problem import MEDIA_TYPE, Problem
from ringback.records.engine import RecordsUnavailable
from ringback.records.secrets import SecretsUnavailable

LARGEST_BODY = 64 * 1024
ASKING_THREADS, TELLING_THREADS = (
    4,
    4,
)  # that answer authorize, and accounting: a lock that is waited for holds up no call
ENVIRONMENT_HEADER = b"ringback-environment"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Reply = tuple[int, str, bytes, Mapping[str, str]]  # status, media type, body, further headers
_JSON = "application/json"
_UNKNOWN = "The records cannot be asked just now."
_log = structlog.get_logger()


class BillingEngine:
    """What the endpoints do; thread-safe."""

    def __init__(self, engine: Engine, configuration: Current, log: BillingLog, counters: Counters) -> None:
        self._engine = engine
        self._configuration = configuration
        self._log = log
        self._counters = counters
        self._direct = Direct(engine)
        self._statements = Statements(engine)
        self._tokens = Tokens(engine)
        self._reservations = Reservations(self._direct, self._statements)
        self._reservations.start()

    @property
    def answers_at_once(self) -> bool:
        """Whether nothing is waited for but the answers of a database server, which are awaited for so short a time that to
        hand them to a thread would cost more: other processes answer meanwhile."""
        return self._engine.dialect.name == "postgresql"

    def close(self) -> None:
        self._reservations.close()
        with suppress(RecordsAway):
            self._reservations.flush()
        self._direct.close()

    def warm_up(self) -> None:
        """This thread connects now, not in its first call."""
        self._direct.rows(self._statements.probe, {})

    def authorize(self, authorization: str, environment: str, visitor: Visitor, asked: Asked) -> Answer:
        """Raises Problem."""
        began = time.perf_counter()
        answer = None
        for again in (False, True):
            try:
                caller = self._tokens.caller(authorization, environment, visitor, again=again)
            except (SQLAlchemyError, RecordsUnavailable) as error:
                raise Problem(503, _UNKNOWN) from error
            trail = trail_of(caller, asked)
            try:
                limits = self._limits(caller.environment)
                answer = authorize(self._direct, self._statements, self._reservations, caller, asked, limits, trail)
            except TokenChanged:
                continue
            except (RecordsAway, SecretsUnavailable) as error:
                _log.error("a call cannot be decided", problem=str(error))
                answer = broken(trail, _UNKNOWN if isinstance(error, RecordsAway) else str(error))
            break
        if answer is None:
            raise Problem(503, "The token changes too often to be read.")
        self._log.put(trail)
        self._counters.authorized(answer.reason or "allowed", time.perf_counter() - began)
        return answer

    def account(self, authorization: str, environment: str, visitor: Visitor, told: Told) -> Any:
        """Raises Problem."""
        try:
            caller = self._caller(authorization, environment, visitor)
            trail = accounting.trail_of(caller, told)
            try:
                taken = accounting.take(
                    self._engine, self._direct, self._statements, self._reservations, caller, told,
                    self._limits(caller.environment), caller.actor(visitor), trail,
                )  # fmt: skip
            finally:
                self._log.put(trail)
        except (RecordsAway, SQLAlchemyError, RecordsUnavailable) as error:
            _log.error("accounting cannot be taken", problem=str(getattr(error, "orig", None) or error))
            raise Problem(503, f"{_UNKNOWN} Send it again.", headers={"Retry-After": "1"}) from error
        self._counters.told(told.event)
        return taken

    def _caller(self, authorization: str, environment: str, visitor: Visitor) -> Caller:
        for again in (False, True):
            caller = self._tokens.caller(authorization, environment, visitor, again=again)
            if caller.holds(self._direct.rows(self._statements.token, caller.ids)[0]):
                return caller
        raise Problem(503, "The token changes too often to be read.")

    def _limits(self, environment: str) -> Limits:
        value = self._configuration.value
        return Limits(
            *(value(each, environment) for each in (LONGEST_CALL, LONGEST_RINGING, SILENCE, SIMULTANEOUS_CALLS))
        )


class EngineApp:
    """`readiness`: each check, "ok" or what is wrong."""

    def __init__(
        self, engine: BillingEngine, log: BillingLog, counters: Counters, registry: CollectorRegistry,
        readiness: Callable[[], Mapping[str, str]],
    ) -> None:  # fmt: skip
        self._engine = engine
        self._log = log
        self._counters = counters
        self._registry = registry
        self._readiness = readiness
        self._asking = None if engine.answers_at_once else ThreadPoolExecutor(ASKING_THREADS, "authorize")
        self._telling = ThreadPoolExecutor(TELLING_THREADS, "accounting")
        self.stopping = False  # set by the server that runs us

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            status, media_type, body, more = await self._answer(scope, receive)
            headers = [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(body))]
            headers += [(name.lower().encode(), value.encode()) for name, value in more.items()]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
        else:
            await send({"type": "websocket.close"})

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                with suppress(RecordsAway):  # who cannot connect yet says so when asked
                    self._engine.warm_up()
                await send({"type": "lifespan.startup.complete"})
            else:
                if self._asking is not None:
                    self._asking.shutdown()
                self._telling.shutdown()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        path, method = scope["path"], scope["method"]
        try:
            handler, wanted = _PATHS[path]
        except KeyError:
            return _problem(
                Problem(404, f"There is no {path[:100]} here: POST /aaa/v1/authorize and /aaa/v1/accounting.")
            )
        if method not in wanted:
            return _problem(Problem(405, f"{path} takes {wanted[0]}.", headers={"Allow": ", ".join(wanted)}))
        try:
            return await handler(self, scope, receive)
        except Problem as problem:
            self._counters.refused_request()
            return _problem(problem)
        except Exception:  # noqa: BLE001 -- answered and logged: the next request is another one
            _log.exception("a request broke", path=path)
            return _problem(Problem(500, "Something unexpected happened; it is in the log."))

    async def _authorize(self, scope: Scope, receive: Receive) -> Reply:
        body = await _body(scope, receive)
        work = partial(self._authorize_now, body, *_sender(scope), _as_radius(scope))
        if self._asking is None:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._asking, work)

    def _authorize_now(
        self, body: bytes, authorization: str, wanted: str, visitor: Visitor, as_radius: bool
    ) -> Reply:
        asked = radius.asked(body) if as_radius else read_asked(body)
        answer = self._engine.authorize(authorization, wanted, visitor, asked)
        return 200, _JSON, radius.answered(answer) if as_radius else as_json(answer), {}

    async def _account(self, scope: Scope, receive: Receive) -> Reply:
        body = await _body(scope, receive)
        work = partial(self._account_now, body, *_sender(scope), _as_radius(scope))
        return await asyncio.get_running_loop().run_in_executor(self._telling, work)

    def _account_now(self, body: bytes, authorization: str, wanted: str, visitor: Visitor, as_radius: bool) -> Reply:
        told = radius.told(body) if as_radius else read_told(body)
        taken = self._engine.account(authorization, wanted, visitor, told)
        return 200, _JSON, radius.taken(taken) if as_radius else as_json(taken), {}

    async def _healthz(self, _scope: Scope, _receive: Receive) -> Reply:
        return 200, "text/plain; charset=utf-8", b"ok", {}

    async def _readyz(self, _scope: Scope, _receive: Receive) -> Reply:
        """The billing log makes nobody unready: calls go on without it."""
        found = dict(await asyncio.to_thread(self._readiness))
        if self.stopping:
            found["server"] = "is stopping; what is under way is finished"
        ready = all(each == "ok" for each in found.values())
        document = {"ready": ready, "checks": found,
                    "billing_log": {"waiting": self._log.waiting, "problem": self._log.problem}}  # fmt: skip
        return 200 if ready else 503, _JSON, orjson.dumps(document), {}

    async def _metrics(self, _scope: Scope, _receive: Receive) -> Reply:
        return 200, CONTENT_TYPE_LATEST, generate_latest(self._registry), {}


_PATHS: dict[str, tuple[Callable[[EngineApp, Scope, Receive], Awaitable[Reply]], tuple[str, ...]]] = {
    "/aaa/v1/authorize": (EngineApp._authorize, ("POST",)),
    "/aaa/v1/accounting": (EngineApp._account, ("POST",)),
    "/healthz": (EngineApp._healthz, ("GET", "HEAD")),
    "/readyz": (EngineApp._readyz, ("GET", "HEAD")),
    "/metrics": (EngineApp._metrics, ("GET", "HEAD")),
}


async def _body(scope: Scope, receive: Receive) -> bytes:
    """Raises Problem."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "The request ended before its body was whole.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST_BODY:
            raise Problem(413, f"A body has at most {LARGEST_BODY} bytes.")
        if not message.get("more_body"):
            return b"".join(parts)


def _sender(scope: Scope) -> tuple[str, str, Visitor]:
    """(Authorization, the environment it names, where it comes from)"""
    authorization = wanted = agent = ""
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization = value.decode("latin-1")
        elif name == ENVIRONMENT_HEADER:
            wanted = value.decode("latin-1")
        elif name == b"user-agent":
            agent = value.decode("latin-1")
    client = scope.get("client")
    return authorization, wanted, Visitor(client[0] if client else "", agent)


def _as_radius(scope: Scope) -> bool:
    """Raises Problem."""
    query = scope["query_string"].decode("latin-1")
    if query not in ("", "format=radius", "format=json"):
        raise Problem(422, f"?{query[:50]} is not known: ?format=radius is.", field="format")
    return bool(query == "format=radius")


def _problem(problem: Problem) -> Reply:
    content: dict[str, object] = {
        "type": "about:blank", "title": problem.title or HTTPStatus(problem.status).phrase, "status": problem.status,
        "detail": problem.detail,
    }  # fmt: skip
    if problem.field is not None:
        content["field"] = problem.field
    return problem.status, MEDIA_TYPE, orjson.dumps(content), problem.headers
