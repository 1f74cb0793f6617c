"""`ringback serve`: the data folder is taken, the sockets are bound, the stores made ready, the roles kept running.

The lines that it says on standard output are a promise to scripts:
``Web: http://127.0.0.1:8080``, ``Engine: http://127.0.0.1:8082``, ``Admin: http://127.0.0.1:9091`` (of a server without
pages), ``HEP: udp 127.0.0.1:9060``, ``HEP: tcp ...``, ``HEP: tls ...``, and on the first start ``User: admin``,
``Password: ...``. The same addresses stand in DATA/run/serve.json while it runs.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import IO

import structlog

from ringback import clock
from ringback.listen import Endpoint, ListenError, bound_endpoint, shared_socket, tcp_socket, udp_socket
from ringback.settings import Settings, SettingsError
from ringback.supervisor import Supervisor

ROLES = ("web", "collect", "work", "engine")
ADMIN = Endpoint("127.0.0.1", 9091)  # of a server without pages that is not told another

_log = structlog.get_logger()


class CannotServe(Exception):
    """Why the server does not start, and what to do."""


def serve(settings: Settings, roles: Sequence[str] = ROLES, say: Callable[[str], None] = print) -> None:
    """Runs until SIGTERM or SIGINT. Raises CannotServe. `say` gets the lines for whoever started it."""
    with ExitStack() as held:
        locks = [held.enter_context(_lock(settings, role)) for role in roles]
        _check_certificate(settings)
        bound = _bind(held, settings, roles)
        password = _prepare(settings, roles)
        if password is not None:
            say("User: admin")
            say(f"Password: {password}")
            say("(shown this once; a new one: ringback user reset-password admin)")
        for line in addresses(bound, roles):
            say(line)
        if "web" in roles and not bound.web.is_loopback:
            _log.warning(
                "pages are plain http on the network: put a TLS reverse proxy before them", web=str(bound.web)
            )
        if "engine" in roles and not bound.engine.is_loopback:
            _log.warning(
                "the billing engine is plain http on the network: let nodes reach it by a private network or a TLS proxy",
                engine=str(bound.engine),
            )
        with _published(bound, roles):
            Supervisor(bound, roles, [lock.fileno() for lock in locks]).run()


def addresses(settings: Settings, roles: Sequence[str] = ROLES) -> list[str]:
    lines = [f"Web: http://{settings.web}"] if "web" in roles else []
    if "engine" in roles:
        lines.append(f"Engine: http://{settings.engine}")
    if settings.admin:
        lines.append(f"Admin: http://{settings.admin}")
    if "collect" in roles:
        lines += [f"HEP: {transport} {endpoint}" for transport, endpoint in hep_endpoints(settings)]
    return lines


def hep_endpoints(settings: Settings) -> list[tuple[str, Endpoint]]:
    """(transport, endpoint), udp first."""
    kinds = {"udp": settings.hep_udp, "tcp": settings.hep_tcp, "tls": settings.hep_tls}
    return [(transport, endpoint) for transport, endpoints in kinds.items() for endpoint in endpoints]


@contextmanager
def _lock(settings: Settings, role: str) -> Iterator[IO[str]]:
    """One server a role and data folder. The children hold the lock too: it lasts as long as any of them works."""
    path = settings.run_folder / f"{role}.lock"
    try:
        settings.data.mkdir(mode=0o750, parents=True, exist_ok=True)
        settings.run_folder.mkdir(exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise CannotServe(f"the data folder {settings.data} cannot be used: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise CannotServe(f"{path} cannot be locked: {error.strerror}") from error
            file.seek(0)
            holder = file.read().strip()
            raise CannotServe(
                f"another Ringback ({role}{f', process {holder}' if holder else ''}) already serves {settings.data}. "
                "Stop it, or choose another --data. (`ringback import` works beside a running server.)"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield file


def _check_certificate(settings: Settings) -> None:
    if not settings.hep_tls or settings.tls_cert is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise CannotServe(
            f"HEP over TLS: certificate {settings.tls_cert} with key {settings.tls_key} cannot be used: {error}"
        ) from error


def _bind(held: ExitStack, settings: Settings, roles: Sequence[str]) -> Settings:
    """The settings with every address bound: ports that were 0 are known now, and the children inherit the sockets."""
    try:
        if "web" in roles:
            settings = replace(settings, web=bound_endpoint(held.enter_context(tcp_socket(settings.web))))
        if "engine" in roles:
            tcp_socket(settings.engine).close()  # nobody else has it
            settings = replace(settings, engine=bound_endpoint(held.enter_context(shared_socket(settings.engine))))
        settings = _bind_admin(held, settings, roles)
        if "collect" in roles:
            udp = tuple(bound_endpoint(held.enter_context(udp_socket(each))) for each in settings.hep_udp)
            picked = {each.host: each.port for each in udp}
            tcp = tuple(_bind_like(held, each, picked.get(each.host, 0)) for each in settings.hep_tcp)
            tls = tuple(bound_endpoint(held.enter_context(tcp_socket(each))) for each in settings.hep_tls)
            settings = replace(settings, hep_udp=udp, hep_tcp=tcp, hep_tls=tls)
    except ListenError as error:
        raise CannotServe(str(error)) from error
    return settings


def _bind_admin(held: ExitStack, settings: Settings, roles: Sequence[str]) -> Settings:
    """Raises ListenError for an address that was asked for; the usual one is only tried."""
    if settings.admin is None and "web" in roles:
        return settings
    try:
        return replace(settings, admin=bound_endpoint(held.enter_context(tcp_socket(settings.admin or ADMIN))))
    except ListenError as error:
        if settings.admin is not None:
            raise
        _log.warning("no /healthz, /readyz and /metrics: set RINGBACK_ADMIN to a free address", problem=str(error))
        return settings


def _bind_like(held: ExitStack, endpoint: Endpoint, port: int) -> Endpoint:
    """Where any port will do: the one that UDP was given, if TCP has it free, so that one number is both."""
    if endpoint.port == 0 and port:
        try:
            return bound_endpoint(held.enter_context(tcp_socket(replace(endpoint, port=port))))
        except ListenError:
            _log.info("HEP over TCP takes another port than UDP", taken=port)
    return bound_endpoint(held.enter_context(tcp_socket(endpoint)))


def _prepare(settings: Settings, roles: Sequence[str]) -> str | None:
    """Issues and stores can be read, the records are up to date. Returns the first user's password where one was made.

    A collector alone starts also while a store cannot be reached: the packets do not wait.
    """
    from ringback.access.oidc import sign_in_of
    from ringback.events import EventStoreError, StoreAway, open_store
    from ringback.sessions.diagnose import CatalogueError, load_catalogue
    from ringback.sessions.keys import KeyRulesError, load_rules

    try:
        load_catalogue(settings.issues_folder)
        load_rules(settings.correlation_file)
        if "web" in roles:
            sign_in_of(settings)
    except (CatalogueError, KeyRulesError, SettingsError, OSError) as error:
        raise CannotServe(str(error)) from error
    try:
        open_store(settings.store_url).close()
    except EventStoreError as error:
        if set(roles) != {"collect"} or not isinstance(error, StoreAway):
            raise CannotServe(str(error)) from error
        _log.warning("the event store cannot be reached yet", problem=str(error))
    return None if set(roles) == {"collect"} else _prepare_records(settings)


def _prepare_records(settings: Settings) -> str | None:
    from sqlalchemy.exc import DatabaseError

    from ringback.access.service import ensure_first_user
    from ringback.composition import compose
    from ringback.records.engine import RecordsUnavailable, open_engine
    from ringback.records.schema import SchemaTooNew, migrate

    compose(settings)
    try:
        engine = open_engine(settings.records_url)
        try:
            migrate(engine)
            return ensure_first_user(engine)
        finally:
            engine.dispose()
    except (RecordsUnavailable, SchemaTooNew) as error:
        raise CannotServe(str(error)) from error
    except DatabaseError as error:
        raise CannotServe(f"the records cannot be brought up to date: {error.orig}") from error


@contextmanager
def _published(settings: Settings, roles: Sequence[str]) -> Iterator[None]:
    """DATA/run/serve.json says where the server listens, for as long as it runs."""
    path = settings.run_folder / "serve.json"
    content = {
        "process": os.getpid(),
        "started_at": clock.isoformat(clock.now_us()),
        "roles": list(roles),
        "web": f"http://{settings.web}" if "web" in roles else None,
        "engine": f"http://{settings.engine}" if "engine" in roles else None,
        "admin": f"http://{settings.admin}" if settings.admin else None,
        "hep": [
            {"transport": transport, "address": str(endpoint)}
            for transport, endpoint in (hep_endpoints(settings) if "collect" in roles else [])
        ],
    }
    written = path.with_name(f"serve.json.{os.getpid()}")
    written.write_text(json.dumps(content, indent=1) + "\n")
    written.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
