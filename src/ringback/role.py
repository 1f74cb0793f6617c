"""The process of one role, started by the supervisor as `python -m ringback.role NAME` with its settings on stdin."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
import tempfile
import threading
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import socket

    import uvicorn

    from ringback.settings import Settings

GRACE_SECONDS = 10  # that answers under way have when the server stops
LOOK_SECONDS = 60.0  # between two looks of the work role for what is due
_STDIN = 0


def main() -> None:
    gc.disable()  # nothing of what is imported is garbage, and to look for some takes a fifth of the start: see `_ready`
    from ringback.composition import compose
    from ringback.logs import configure_logs

    name, number = sys.argv[1], int(next(iter(sys.argv[2:]), "0"))
    with open(_STDIN, "rb", closefd=False) as stdin:
        settings: Settings = pickle.load(stdin)  # noqa: S301 -- from the supervisor, our parent
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    configure_logs(settings.log_format, name)
    compose(settings)
    match name:
        case "web":
            run_web(settings)
        case "work":
            run_work(settings)
        case "engine":
            run_engine(settings, number)
        case _:
            from ringback.sessions.ingest.collector import run_collector

            _ready()
            run_collector(settings)


def _ready() -> None:
    """All is imported: it stays, and what comes from now on is searched for garbage."""
    gc.freeze()
    gc.enable()


def run_web(settings: Settings) -> None:
    """Pages and API, until SIGTERM; answers under way are finished."""
    import uvicorn

    from ringback.app import create_app
    from ringback.listen import tcp_socket
    from ringback.sessions.uploads.service import upload_folder

    _ready()
    tempfile.tempdir = str(upload_folder(settings))  # where the files of a form are kept while they arrive

    app = create_app(settings)

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # paths hold numbers and share links
        server_header=False,
        loop="asyncio",
        lifespan="on",
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    _answer(config, tcp_socket(settings.web), app.state, settings.drain_seconds)


class _Stopping(Protocol):
    stopping: bool  # still answering, no longer ready


def _answer(config: uvicorn.Config, at: socket.socket, state: _Stopping, drain_seconds: float) -> None:
    """Until SIGTERM. The first signal makes us not ready; we stop once load balancers had the time to see it."""
    import uvicorn

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if state.stopping or not drain_seconds:
                super().handle_exit(sig, frame)
                return
            state.stopping = True
            later = threading.Timer(drain_seconds, super().handle_exit, (sig, frame))
            later.daemon = True  # a second signal ends the process before
            later.start()

    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again once it has drained
    Server(config).run(sockets=[at])


def run_work(settings: Settings) -> None:
    """What one host at a time has to do, until SIGTERM: now and then retention and anchors, at once copying audit records."""
    from ringback.audit.anchors import anchoring
    from ringback.audit.relay import AuditRelay
    from ringback.billing.engine.lost import lost_sessions
    from ringback.billing.ledger.commands import overdue
    from ringback.configuration.reader import Current
    from ringback.retention import retention
    from ringback.sessions.ownership import models as _rules  # noqa: F401 -- of them too it is copied what is personal

    _ready()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    configuration = Current(settings, role="work")
    configuration.start()

    def copy_audit() -> None:
        try:
            AuditRelay(settings).run(stop)
        finally:
            stop.set()  # what nobody foresaw ends the process, which is started again

    relay = threading.Thread(target=copy_audit, name="audit relay")
    relay.start()
    looks = (retention(settings, configuration), anchoring(settings), overdue(settings), lost_sessions(settings))
    while True:
        for each in looks:
            each.run_if_due()
        if stop.wait(LOOK_SECONDS):
            relay.join()
            configuration.close()
            return


def run_engine(settings: Settings, number: int = 0) -> None:
    """The billing engine's answers to nodes, until SIGTERM. `number`: of this process; all listen at one address."""
    import uvicorn
    from prometheus_client import CollectorRegistry

    from ringback import checks
    from ringback.billing.engine.app import BillingEngine, EngineApp
    from ringback.billing.engine.billing_log import BillingLog
    from ringback.billing.engine.counters import Counters, EngineMetrics
    from ringback.billing.engine.one_packet import OnePacketProtocol
    from ringback.configuration.reader import Current
    from ringback.events import open_store
    from ringback.listen import shared_socket
    from ringback.records.engine import open_engine

    sys.setswitchinterval(0.0001)  # an answer does not wait long for what else this process does
    records = open_engine(settings.records_url)
    configuration = Current(settings, records, role="engine" if number == 0 else "")
    configuration.start()
    events = open_store(settings.store_url)
    counters = Counters(settings.run_folder, number)
    log = BillingLog(events, dropped=counters.lines_dropped, written=counters.lines_written)
    registry = CollectorRegistry()
    registry.register(EngineMetrics(settings.run_folder))
    engine = BillingEngine(records, configuration, log, counters)
    app = EngineApp(engine, log, counters, registry, lambda: {"records": checks.records(records)})

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # figures are in /metrics, steps in the billing log
        server_header=False,
        date_header=False,
        lifespan="on",
        interface="asgi3",
        http=OnePacketProtocol,
        loop="uvloop",
        proxy_headers=False,
        timeout_keep_alive=75,  # nodes keep their connections
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    log.start()
    gc.collect()
    _ready()
    gc.set_threshold(50_000, 20, 20)
    try:
        endpoint = settings.engine if number == 0 else replace(settings.engine, fd=None)
        _answer(config, shared_socket(endpoint), app, settings.drain_seconds)
    finally:
        log.close()
        configuration.close()
        engine.close()
        events.close()
        records.dispose()


def _stop_with_parent() -> None:
    """The supervisor's end of our stdin closes when it dies, however it dies."""
    os.read(_STDIN, 1)  # not sys.stdin: its lock must be free when the interpreter ends
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
