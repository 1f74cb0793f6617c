"""Story 1 by the API alone: a call is refused, the billing log says why, the rate is allowed, the next call is charged."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ringback import clock
from ringback.events import open_store
from ringback.events.store import LogQuery, LogRecord
from ringback.settings import load_settings
from running import PATIENCE, command, serving, until

pytestmark = pytest.mark.story1

JOHN, CALLED = "12103355787", "18660333777"


def test_the_forbidden_destination(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data, wait_for="HEP: tcp") as server:
        settings = load_settings({}, data=data)
        token = command("token", "create", "story", "--data", str(data)).stdout.strip()
        headers = {"Authorization": f"Bearer {token}"}
        api = httpx2.Client(base_url=f"{server.web}/api/v1", headers=headers, timeout=PATIENCE)
        node = httpx2.Client(base_url=f"{server.engine}/aaa/v1", headers=headers, timeout=PATIENCE)
        until(lambda: server.get("/readyz").status_code == 200)

        def make(path: str, **given: object) -> int:
            made = api.post(f"/{path}", json=given)
            assert made.status_code == 201, made.text
            return int(made.json()[ID[path]])

        def ask(path: str, **given: object) -> Any:
            answer = node.post(f"/{path}", json={"node": "edge-1", "caller": JOHN, "called": CALLED} | given)
            assert answer.status_code == 200, answer.text
            return answer.json()

        def logged(call_id: str, lines: int) -> list[LogRecord]:
            deadline = time.monotonic() + PATIENCE
            query = LogQuery(("default",), 0, clock.now_us() + 10**9, call_ids=(call_id,), kinds=("billing",))
            with closing(open_store(settings.store_url)) as events:
                while len(found := events.search_logs(query).records) < lines and time.monotonic() < deadline:
                    time.sleep(0.05)
            return found

        with api, node:
            make("nodes", name="edge-1", kind="edge", addresses=["192.0.2.1"])
            tariff = make("tariffs", name="Home", currency="USD", service="voice")
            rate = make("rates", i_tariff=tariff, prefix="1866", destination="USA toll-free", forbidden=True,
                        price_first="0.03", price_next="0.03", effective_from="2026-01-01T00:00:00Z")  # fmt: skip
            product = make("products", name="Home Phone", currency="USD")
            make("rating-entries", i_product=product, i_tariff=tariff, service="voice")
            customer = make("customers", name="John Doe", currency="USD")
            account = make("accounts", id=JOHN, i_customer=customer, i_product=product)

            refused = ask("authorize", call_id="first", account=JOHN)
            assert (refused["allowed"], refused["reason"], refused["sip_code"]) == (
                False,
                "destination-forbidden",
                403,
            )
            steps = logged("first", 7)
            assert [line.fields["step"] for line in steps] == [
                "request", "account", "status", "balance", "product", "rate", "decision",
            ]  # fmt: skip
            decision = steps[-1]
            assert decision.text == (
                "The call is refused: Calls to USA toll-free (prefix 1866) are forbidden by the tariff Home of the "
                "product Home Phone."
            )
            assert (decision.fields["link_type"], decision.fields["link_id"]) == ("rate", str(rate))
            assert decision.account == JOHN

            mended = f"/rates/{decision.fields['link_id']}"
            changed = api.patch(mended, json={"forbidden": False, "version": api.get(mended).json()["version"]})
            assert changed.status_code == 200, changed.text
            allowed = ask("authorize", call_id="second", account=JOHN)
            assert allowed["allowed"], allowed["text"]
            session = allowed["session"]
            ask("accounting", event="start", call_id="second", session=session)
            done = ask("accounting", event="stop", call_id="second", session=session, seconds=61, cause="16")
            assert (done["xdr"]["amount"], done["xdr"]["charged_seconds"]) == ("0.06", 120)

            (xdr,) = api.get(f"/accounts/{account}/xdrs").json()["xdrs"]
            assert (xdr["i_xdr"], xdr["called"]) == (done["xdr"]["id"], CALLED)
            balance = api.get(f"/customers/{customer}/balance").json()
            assert float(balance["balance"]) == 0.06
            assert logged("second", 10)[-1].fields["xdr"] == str(xdr["i_xdr"])


ID = {
    "nodes": "i_node", "tariffs": "i_tariff", "rates": "i_rate", "products": "i_product", "customers": "i_customer",
    "rating-entries": "i_rating_entry", "accounts": "i_account",
}  # fmt: skip
