"""A provider with the billing engine: `ringback serve`, its books made over the API, and tokens for nodes."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from edge import Edge, edge
from radius import NODE, Radius, freeradius

from running import PATIENCE, Server, command, serving, until

PASSWORD = "correct-horse"
CALLER, TOLL_FREE, PREMIUM = "12105550100", "18660333777", "19000333777"


@dataclass
class Provider:
    server: Server
    api: httpx2.Client
    token: str  # for nodes
    made: dict[str, int] = field(default_factory=dict)

    def make(self, name: str, path: str, /, **document: object) -> int:
        """An entity; `name` is what it is called in `made`."""
        answer = self.api.post(f"/{path}", json=document)
        assert answer.status_code == 201, answer.text
        id_: int = answer.json()[f"i_{path.replace('ies', 'ys').removesuffix('s').replace('-', '_')}"]
        self.made[name] = id_
        return id_

    def rate(self, prefix: str, *, forbidden: bool = False) -> None:
        """A cent a second, second by second."""
        self.make(
            prefix, "rates", i_tariff=self.made["tariff"], prefix=prefix, destination="USA", price_first="0.6",
            price_next="0.6", interval_first=1, interval_next=1, effective_from="2026-01-01T00:00:00Z",
            forbidden=forbidden,
        )  # fmt: skip

    def account(self, number: str, **more: object) -> int:
        given = {"id": number, "i_customer": self.made["customer"], "i_product": self.made["product"],
                 "service_password": PASSWORD} | more  # fmt: skip
        return self.make(number, "accounts", **given)

    def prepaid(self, number: str, amount: str) -> None:
        """An account with such funds."""
        body = {"amount": amount, "method": "cash", "account": self.account(number, billing_model="debit")}
        key = {"Idempotency-Key": f"top-up-{number}"}
        paid = self.api.post(f"/customers/{self.made['customer']}/payments", json=body, headers=key)
        assert paid.is_success, paid.text

    def get(self, path: str, **query: Any) -> Any:
        answer = self.api.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def xdrs(self, number: str) -> list[dict[str, Any]]:
        """What an account was charged for calls, the last first."""
        found: list[dict[str, Any]] = self.get(f"/accounts/{self.made[number]}/xdrs")["xdrs"]
        return [one for one in found if one["call_id"]]

    def charged(self, number: str, count: int) -> dict[str, Any]:
        """The last of so many charges, waited for."""
        until(lambda: len(self.xdrs(number)) >= count)
        found = self.xdrs(number)
        assert len(found) == count
        return found[0]

    def allow(self, prefix: str) -> None:
        found = self.get(f"/rates/{self.made[prefix]}")
        answer = self.api.patch(f"/rates/{self.made[prefix]}", json={"forbidden": False, "version": found["version"]})
        assert answer.status_code == 200, answer.text

    @contextmanager
    def away(self) -> Iterator[None]:
        """The engine's processes stand still: who asks gets no answer."""
        stopped = [child for role, child in self.server.children().items() if role.startswith("engine")]
        assert stopped
        for process in stopped:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in stopped:
                process.send_signal(signal.SIGCONT)

    @contextmanager
    def away_once_a_call_began(self) -> Iterator[None]:
        """`away`, from when the engine is told that the next call has begun, to the end of the block."""
        before, over = self._calls_begun(), threading.Event()

        def stand_still() -> None:
            until(lambda: self._calls_begun() > before)
            with self.away():
                over.wait()

        thread = threading.Thread(target=stand_still)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _calls_begun(self) -> float:
        figures = httpx2.get(f"{self.server.engine}/metrics", timeout=PATIENCE).text
        (line,) = re.findall(r'^ringback_engine_accounting_total\{event="start"\} (\S+)$', figures, re.MULTILINE)
        return float(line)

    def told(self, number: str, called: str, code: int, phrase: str, issue: str = "") -> None:
        """Waits for the last session between two numbers to have ended so, and to be told so: its messages and the lines of
        its billing log are stored one after the other."""
        end = time.monotonic() + PATIENCE
        while True:
            rows = self.get("/sessions", number=called)["sessions"]
            told: dict[str, Any] = self.get(f"/sessions/{rows[0]['id']}") if rows else {"issues": []}
            issues = [each["id"] for each in told["issues"]]
            found = (told.get("caller"), told.get("final_code"), told.get("final_phrase"))
            if found == (number, code, phrase) and issues and issue in ("", issues[0]):
                return
            assert time.monotonic() < end, (found, issues)
            time.sleep(0.2)

    @contextmanager
    def edge(self, folder: Path) -> Iterator[Edge]:
        hep = self.server.hep["udp"]
        patient = {"BILLING_TIMEOUT_SECONDS": "6", "BILLING_PAUSE_SECONDS": "1"}  # a real engine on a busy machine
        with edge(folder, self.server.engine, self.token, HEP_COLLECTOR=hep, **patient) as node:
            register = [
                {"name": "edge1", "kind": "edge", "cluster": True, "agents": ["101"], "addresses": [f"{node.plan.edge}:5060"]},
                {"name": NODE, "kind": "gateway", "addresses": ["192.0.2.20"]},
            ]  # fmt: skip
            self.api.put("/nodes", json={"nodes": register}).raise_for_status()
            yield node

    @contextmanager
    def radius(self, folder: Path) -> Iterator[Radius]:
        with freeradius(folder, self.server.engine, self.token, timeout="6.0") as node:
            yield node


@contextmanager
def provider(data: Path) -> Iterator[Provider]:
    with serving(data, wait_for="HEP: tcp", environ={"RINGBACK_ENGINE_PROCESSES": "2"}) as server:
        made = command("token", "create", "tests", "--data", str(data))
        assert made.returncode == 0, made.stderr
        token = made.stdout.strip()
        bearer = {"Authorization": f"Bearer {token}"}
        with httpx2.Client(base_url=f"{server.web}/api/v1", headers=bearer, timeout=2 * PATIENCE) as api:
            until(lambda: api.get(f"{server.web}/readyz").status_code == 200)
            books = Provider(server, api, token)
            books.api.put("/nodes", json={"nodes": [{"name": NODE, "kind": "gateway", "addresses": ["192.0.2.20"]}]})
            books.make("tariff", "tariffs", name="Home", currency="USD")
            books.rate("1")
            books.rate("1866", forbidden=True)
            books.rate("1900", forbidden=True)
            books.make("product", "products", name="Home Phone", currency="USD")
            books.make(
                "entry",
                "rating-entries",
                i_product=books.made["product"],
                i_tariff=books.made["tariff"],
                service="voice",
            )
            books.make("customer", "customers", name="John Doe", currency="USD", credit_limit="100")
            books.account(CALLER)
            yield books
