"""Nobody sees or changes what is another environment's: every page and every call of the API is tried, with ids of the
other environment, by an administrator of one environment and by their token. A new route is tried without being named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import Engine, Table, select
from starlette.testclient import TestClient

from goods import ANN, World
from ringback import clock
from ringback.access.models import ApiToken
from ringback.access.permissions import Permission, Role
from ringback.access.service import add_user
from ringback.access.tokens import create_token
from ringback.app import create_app
from ringback.audit.models import AuditRecord
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.service import create
from ringback.billing.ledger.schemas import Line
from ringback.billing.ledger.service import draft, pay, post_usage
from ringback.changes.service import changing
from ringback.events.store import EventStore, LogRecord
from ringback.records.engine import reading
from ringback.records.tables import InEnvironment, Record
from ringback.records.wall import EVERYWHERE
from ringback.sessions.ingest.legs import LegTable
from ringback.sessions.ingest.packing import batches
from ringback.sessions.ownership.rules import Rule, TrafficRules
from ringback.sessions.search import session_id
from ringback.sessions.share.service import create_share
from ringback.settings import load_settings
from scenario import play

PASSWORD = "correct horse battery"
MINE, OTHER = "default", "walled-off"
MARK = "zebrafinch"  # in every text of the other environment
PART = "zebraf"  # finds it, and is no telling where a page repeats what was searched for
NUMBER = "493077770815"
CALL = f"""
    alice = 198.51.100.77:5060
    edge  = 203.0.113.99:5060  agent=909
    0.000  alice -> edge  INVITE sip:{NUMBER}@{MARK}.example  from={NUMBER}1 callid={MARK}@call
    +.002  edge -> alice  403 {MARK}
    +.002  alice -> edge  ACK
"""


@dataclass
class Site:
    app: FastAPI
    client: TestClient  # signed in, of MINE alone
    ids: dict[str, int] = field(default_factory=dict)  # path of an entity type -> id of the other environment's row
    record: int = 0
    session: str = ""
    share: int = 0
    user: int = 0
    of_owner: int = 0  # a token of that user
    token: str = ""

    def filled(self, path: str) -> str:
        """With what the other environment has in the place of each parameter."""
        first = path.removeprefix("/api/v1").split("/")[1]
        values = {
            "row_id": self.ids.get(first, 1), "id": self.ids.get(first, 1), "record_id": self.record,
            "session_id": self.session, "share_id": self.share, "user_id": self.user, "token_id": self.of_owner,
            "number": 1, "how": "csv", "group": "Tasks",
            "name": "blocked", "value": "yes", "issue": "x", "token": "x",
        }  # fmt: skip
        return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: str(values.get(found[1], 1)), path)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    app = create_app(load_settings({}, data=tmp_path_factory.mktemp("wall") / "data"))
    with TestClient(
        app, base_url="http://ringback.test", follow_redirects=False, raise_server_exceptions=False
    ) as client:
        made = Site(app, client)
        _fill(made, app.state.records, app.state.events)
        answer = client.post("/login", data={"name": "mallory", "password": PASSWORD})
        assert answer.status_code == 303
        page = client.get("/sessions").text
        found = re.search(r'name="csrf-token" content="([^"]+)"', page)
        assert found
        client.headers["X-CSRF-Token"] = found[1]
        yield made


def _fill(site: Site, records: Engine, events: EventStore) -> None:
    world = World(records)
    given = world.given("environment", key=OTHER, name=f"{MARK} telecom")
    with changing(records, ANN, EVERYWHERE) as work:
        site.ids["environments"] = create(work, TYPES["environment"], OTHER, given).id
    other = World(records, OTHER)
    for name, kind in TYPES.items():
        if name == "environment":
            continue
        given = other.given(name)
        title = next((each for each in kind.fields if each.name == kind.about.title and each.kind == "text"), None)
        if title is not None:
            given[title.api] = f"{MARK}-{name}"
        site.ids[kind.about.path] = other.make(name, **given)
    customer, account = site.ids["customers"], site.ids["accounts"]
    with changing(records, ANN, (OTHER,)) as work:
        used = post_usage(
            work, OTHER, account, Decimal(1), session_key="a", service="voice", caller=NUMBER, called=NUMBER,
            call_id=f"{MARK}@call",
        )  # fmt: skip
        assert used is not None
        site.ids["xdrs"] = used.id
        fee = Line(f"{MARK} fee", Decimal(9))
        site.ids["invoices"] = draft(work, OTHER, customer, lines=[fee], issued=True).invoice_id or 0
        paid = pay(work, OTHER, customer, Decimal(5), method="card", reference=f"{MARK} card", comment=MARK)
        site.ids["payments"] = paid.payment_id or 0
    with changing(records, ANN, EVERYWHERE) as work:
        add_user(work, "mallory", PASSWORD, Role.ADMINISTRATOR, (MINE,), everywhere=False)
        owner = add_user(work, "owner", PASSWORD, Role.ADMINISTRATOR, (OTHER,), everywhere=False)
        owner.full_name = f"{MARK} owner"
        work.flush()
        site.user = owner.id
        create_token(work, f"{MARK} token", environments=(OTHER,), user_id=owner.id)
        site.of_owner = work.scalars(select(ApiToken.id).where(ApiToken.user_id == owner.id)).one()
        site.token = create_token(work, "mallory token", scopes=tuple(Permission), environments=(MINE,))
    with reading(records, (OTHER,)) as session:
        site.record = session.scalars(select(AuditRecord.id).limit(1)).one()
    with changing(records, ANN, (OTHER,)) as work:
        share, _ = create_share(work, OTHER, f"{MARK}-session", "ann", timedelta(days=1))
        site.share = share.id
    played = play(CALL, start_us=clock.now_us() - 60_000_000)
    table = LegTable(owners=TrafficRules([Rule("everything", "", OTHER)]))
    table.add(played.sightings)
    taken = table.take(played.sightings[-1].time_us)
    for batch in batches(taken).values():
        events.write(batch)
    site.session = session_id(taken.legs[0].row)
    line = LogRecord(OTHER, clock.now_us(), "node", MARK, "info", f"{MARK} {NUMBER}", call_id=f"{MARK}@call")
    events.write_logs([line])


def of_each_type(path: str) -> list[str]:
    """One route serves the pages of all entity types: it is tried with each."""
    return (
        [path.replace("{kind:entity_path}", kind.about.path) for kind in TYPES.values()]
        if "{kind:" in path
        else [path]
    )


def every_route(app: FastAPI) -> list[tuple[str, str]]:
    found = {
        (method, path)
        for each in iter_route_contexts(app.routes)
        for method in each.methods or ()
        if method not in ("HEAD", "OPTIONS")
        for path in of_each_type(each.path or "")
    }
    return sorted(found - OUTSIDE)


MONEY: dict[str, dict[str, object]] = {  # the last part of a command's path -> what would be done, were it theirs
    "payments": {"amount": "5", "method": "card"}, "refund": {}, "issue": {}, "void": {}, "allocate": {"invoice": 1},
    "adjustments": {"amount": "-5", "description": "x"}, "adjust": {"amount": "-5", "description": "x"},
    "charges": {"amount": "5", "description": "x"}, "invoices": {"lines": [{"amount": "5", "description": "x"}]},
}  # fmt: skip
NOT_OF_ONE = {"/configuration/groups/{group}"}  # no object of an environment
OUTSIDE = {("POST", "/logout"), ("POST", "/login"), ("GET", "/metrics"), ("GET", "/healthz"), ("GET", "/readyz")}


def others(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    """Every row of the other environment, of every table that stands behind the wall."""
    found = {}
    with reading(engine, EVERYWHERE) as session:
        for mapper in Record.registry.mappers:
            table = mapper.local_table
            if issubclass(mapper.class_, InEnvironment) and isinstance(table, Table):
                rows = session.execute(select(table).where(table.c.environment == OTHER).order_by(*table.primary_key))
                found[table.name] = [tuple(row) for row in rows]
    return found


def asked(site: Site, method: str, path: str, token: bool) -> Any:
    headers = {"Authorization": f"Bearer {site.token}"} if token else {}
    first = path.removeprefix("/api/v1").split("/")[1]
    id_ = site.ids.get(first, 1)
    target = site.filled(path)
    if method == "GET":
        window = {
            "from": "-24h",
            "start": "-24h",
            "q": PART,
            "number": f"{NUMBER[:-2]}%",
            "session": f"{MARK}-session",
        }
        return site.client.get(target, params=window if not path.startswith("/api") else None, headers=headers)
    command = MONEY.get(path.removesuffix("/preview").rpartition("/")[2]) if "{id}/" in path else None
    if command is not None and path.startswith("/api/"):
        return site.client.request(method, target, json=command, headers=headers)
    if path.startswith(("/api/", "/ingest/")):
        body = {
            "ids": [id_], "version": 1, "action": "delete", "name": "x", "count": 1, "act": "delete", "changes": {},
            "session": site.session, "id": id_,
        }  # fmt: skip
        return site.client.request(method, target, json=body, headers=headers)
    form = {
        "ids": str(id_), "id": str(id_), "version": "1", "act": "delete", "action": "delete", "count": "1", "hours": "1",
        "was": f"{MARK}-node", "name": "x", "confirm": "yes",
    }  # fmt: skip
    return site.client.request(method, target, data=form, headers=headers)


@pytest.mark.parametrize("token", [False, True], ids=["login", "token"])
def test_no_page_and_no_call_crosses(site: Site, token: bool) -> None:
    before = others(site.app.state.records)
    assert len(before["audit_records"]) > len(TYPES)
    assert all(before[kind.model.__tablename__] for kind in TYPES.values())
    told = []
    for method, path in every_route(site.app):
        if token and not path.startswith(("/api/", "/ingest/")):
            continue
        answer = asked(site, method, path, token)
        assert answer.status_code < 500, (method, path, answer.text)
        if path.startswith("/api/v1/") and path.split("/")[-1] in MONEY and "{id}/" in path:
            assert answer.status_code == 404 or method == "GET", (method, path, answer.text)
        text = answer.text.replace(site.filled(path), "")
        if MARK in text or NUMBER in text:
            told.append((method, path, answer.status_code))
        if "{" in path and method != "GET" and path not in NOT_OF_ONE:
            assert answer.status_code >= 400, (method, path, answer.status_code)
    assert told == []
    assert others(site.app.state.records) == before


def test_lists_are_empty_of_the_other_environment_also_when_nothing_is_searched_for(site: Site) -> None:
    for path in sorted({path for method, path in every_route(site.app) if method == "GET" and "{" not in path}):
        answer = site.client.get(path)
        assert MARK not in answer.text, path
        assert NUMBER not in answer.text, path


def test_an_environment_of_others_cannot_be_chosen(site: Site) -> None:
    answer = site.client.get(
        "/api/v1/customers", headers={"Authorization": f"Bearer {site.token}", "Ringback-Environment": OTHER}
    )
    assert answer.status_code == 403
    site.client.cookies.set("ringback_environment", OTHER, domain="ringback.test")
    try:
        assert MARK not in site.client.get("/customers").text
    finally:
        site.client.cookies.delete("ringback_environment", domain="ringback.test")


def test_who_belongs_to_it_finds_all_that_the_others_do_not(site: Site) -> None:
    """Else the tests above would be content with an empty installation."""
    with TestClient(site.app, base_url="http://ringback.test", follow_redirects=False) as owner:
        owner.post("/login", data={"name": "owner", "password": PASSWORD})
        for kind in TYPES.values():
            answer = owner.get(site.filled(f"/{kind.about.path}/{{row_id:int}}"))
            assert answer.status_code == 200, kind.name
        assert MARK in owner.get("/customers").text
        for name in ("xdrs", "payments", "invoices"):
            assert MARK in owner.get(f"/api/v1/{name}/{site.ids[name]}").text
        assert MARK in owner.get(f"/sessions/{site.session}").text
        assert owner.get(f"/audit/{site.record}").status_code == 200
