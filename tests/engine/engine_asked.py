"""A billing engine that runs, a provider's books for it, and a node that asks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine, select

from goods import ANN, HOME, World
from ringback import checks, clock
from ringback.access.tokens import create_token
from ringback.billing.engine import options
from ringback.billing.engine.app import BillingEngine, EngineApp
from ringback.billing.engine.billing_log import BillingLog
from ringback.billing.engine.counters import Counters, EngineMetrics
from ringback.billing.engine.one_packet import OnePacketProtocol
from ringback.billing.ledger.models import Xdr
from ringback.billing.ledger.service import charge, pay
from ringback.changes.service import changing
from ringback.configuration.options import Option
from ringback.configuration.reader import Current
from ringback.events import open_store
from ringback.events.store import LogQuery, LogRecord
from ringback.records.engine import reading
from ringback.settings import Settings
from running import PATIENCE, until

JOHN, TOLL_FREE, PRAGUE = "12103355787", "18660333777", "420222333444"


class Asking:
    """A node with a token of its environment."""

    def __init__(self, url: str, token: str, node: str = "edge-1") -> None:
        self.client = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE)
        self.node = node

    def post(self, path: str, document: Any, **more: Any) -> httpx2.Response:
        return self.client.post(f"/aaa/v1/{path}", json=document, **more)

    def authorize(self, **asked: object) -> dict[str, Any]:
        body = {"node": self.node, "call_id": clock.random_token(8), "caller": JOHN, "called": PRAGUE} | asked
        if not {"account", "authorization", "username", "ip"} & body.keys():
            body["account"] = JOHN
        answer = self.post("authorize", body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def tell(self, event: str, **told: object) -> dict[str, Any]:
        body = {"event": event, "node": self.node, "caller": JOHN, "called": PRAGUE} | told
        answer = self.post("accounting", body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@dataclass
class Books:
    """John's account with a tariff that knows Prague and forbids a toll-free prefix, in one environment."""

    world: World
    made: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, engine: Engine, environment: str = "default", **account: object) -> Books:
        books = cls(World(engine, environment))
        if environment != HOME:
            books.world.make("environment", key=environment, name=environment, currency="USD")
        world, made = books.world, books.made
        made["node"] = world.make("node", name="edge-1", addresses=["192.0.2.1"])
        made["tariff"] = world.make("tariff", name="Home", currency="USD")
        made["rate"] = books.rate("420", "Czech Republic", "0.12", "0.10", 60, 60)
        made["forbidden"] = books.rate("1866", "USA toll-free", "0", "0", 60, 60, forbidden=True)
        made["product"] = world.make("product", name="Home Phone", currency="USD")
        made["entry"] = world.make("rating_entry", i_product=made["product"], i_tariff=made["tariff"], i_node=None,
                                   service="voice")  # fmt: skip
        made["customer"] = world.make("customer", name="John Doe", currency="USD")
        made["account"] = books.account(JOHN, **account)
        return books

    def rate(self, prefix: str, destination: str, first: str, then: str, interval: int, following: int,
             tariff: int | None = None, since: str = "2026-01-01T00:00:00Z", **more: object) -> int:  # fmt: skip
        return self.world.make(
            "rate", i_tariff=tariff or self.made["tariff"], prefix=prefix, destination=destination, price_first=first,
            price_next=then, interval_first=interval, interval_next=following, effective_from=since, **more,
        )  # fmt: skip

    def account(self, charging_id: str, **more: object) -> int:
        given = {"id": charging_id, "i_customer": self.made["customer"], "i_product": self.made["product"],
                 "service_password": "geheim", "allowed_addresses": []} | more  # fmt: skip
        return self.world.make("account", **given)

    def change(self, name: str, **given: object) -> None:
        """`name`: of what was made, which is of the type of that name unless it is a rate."""
        kind = {"forbidden": "rate", "entry": "rating_entry"}.get(name, name)
        self.world.change(kind, self.made[name], given)

    def owe(self, amount: str, account: int | None = None) -> None:
        with changing(self.world.engine, ANN, (self.world.environment,)) as work:
            charge(work, self.world.environment, self.made["customer"], Decimal(amount), "Before", account_id=account)

    def top_up(self, amount: str, account: int) -> None:
        with changing(self.world.engine, ANN, (self.world.environment,)) as work:
            pay(
                work,
                self.world.environment,
                self.made["customer"],
                Decimal(amount),
                method="cash",
                account_id=account,
            )

    def token(self, *scopes: str, environments: tuple[str, ...] = (), name: str = "") -> str:
        with changing(self.world.engine, ANN, None) as work:
            return create_token(
                work, name or f"edge {clock.now_us()}", environments=environments or (self.world.environment,),
                scopes=scopes or ("engine.ask",),
            )  # fmt: skip


class Configured(Current):
    """Options as the test sets them, without the records."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.given: dict[str, int] = {}

    def value(self, option: Option[Any], environment: str = "") -> Any:
        return self.given.get(option.name, option.default)


@dataclass
class Running:
    engine: Engine
    url: str
    configured: Configured
    log: BillingLog
    data: Path
    limits: Any = options

    def node(self, token: str, node: str = "edge-1") -> Asking:
        return Asking(self.url, token, node)

    def lines(self, call_id: str, environment: str = "default", step: str = "") -> list[LogRecord]:
        """Of the billing log, from the event store, once what waits is written."""
        until(lambda: not self.log.waiting)
        store = open_store(f"sqlite:{self.data / 'events'}")
        try:
            query = LogQuery((environment,), 0, clock.now_us() + 10**9, call_ids=(call_id,), kinds=("billing",))
            found = store.search_logs(query).records
        finally:
            store.close()
        return [each for each in found if not step or each.fields["step"] == step]

    def xdrs(self, environment: str = "default") -> Sequence[Xdr]:
        with reading(self.engine, (environment,)) as session:
            return session.scalars(select(Xdr).where(Xdr.session_key.is_not(None)).order_by(Xdr.id)).all()


@contextmanager
def running(engine: Engine, data: Path) -> Iterator[Running]:
    """As the role does it, in a thread."""
    settings = Settings(data=data)
    configured = Configured(settings)
    store = open_store(f"sqlite:{data / 'events'}")
    counters = Counters(data / "run", 0)
    log = BillingLog(store, dropped=counters.lines_dropped, written=counters.lines_written)
    registry = CollectorRegistry()
    registry.register(EngineMetrics(data / "run"))
    billing = BillingEngine(engine, configured, log, counters)
    app = EngineApp(billing, log, counters, registry, lambda: {"records": checks.records(engine)})
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="on", interface="asgi3", http=OnePacketProtocol)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    log.start()
    thread.start()
    try:
        until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Running(engine, f"http://127.0.0.1:{port}", configured, log, data)
    finally:
        server.should_exit = True
        thread.join()
        log.close()
        billing.close()
        store.close()
        counters.close()
