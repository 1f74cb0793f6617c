"""The API of every entity type, as a program uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from goods import HOME, NAMES, World, changed
from ringback.access.dependencies import require_login, require_user
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.app import create_app
from ringback.audit.models import AuditRecord
from ringback.billing.entities.documents import list_name
from ringback.billing.entities.models import TYPES
from ringback.records.engine import reading
from ringback.records.wall import EVERYWHERE
from ringback.settings import load_settings

every_type = pytest.mark.parametrize("name", NAMES)
ALL = frozenset(Permission)
ADMIN = Principal("user", "ann", (HOME,), ALL, 1, belongs_to=(HOME,), everywhere=True)


class Site:
    """The application, and who asks it."""

    def __init__(self, app: FastAPI, client: TestClient) -> None:
        self.app, self.client, self.asks = app, client, ADMIN
        app.dependency_overrides[require_login] = lambda: self.asks
        app.dependency_overrides[require_user] = lambda: self.asks
        self.world = World(app.state.records)

    def call(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        answer = self.client.request(method, f"/api/v1/{path}", **more)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.headers.get("content-type", "").endswith("json") else answer

    def reads(self) -> list[AuditRecord]:
        with reading(self.app.state.records, EVERYWHERE) as session:
            return list(
                session.scalars(select(AuditRecord).where(AuditRecord.action == "read").order_by(AuditRecord.id))
            )


@contextmanager
def started(folder: Path) -> Iterator[Site]:
    """On SQLite: what both databases have to say alike is said by the other tests."""
    app = create_app(load_settings({}, data=folder / "data"))
    with TestClient(app, base_url="http://ringback.test", raise_server_exceptions=False) as client:
        yield Site(app, client)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with started(tmp_path_factory.mktemp("api")) as site:
        yield site


@pytest.fixture
def site(running: Site) -> Site:
    """Used by all tests of one type, with what others left in it."""
    running.asks = ADMIN
    return running


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Site]:
    with started(tmp_path) as site:
        yield site


@every_type
def test_a_program_makes_reads_changes_and_deletes(site: Site, name: str) -> None:
    kind = TYPES[name]
    path = kind.about.path
    made = site.call("POST", path, 201, json=site.world.given(name))
    id_ = made[kind.about.id_name]
    if name == "environment":
        site.asks = replace(ADMIN, belongs_to=(HOME, made["key"]))
    assert site.call("GET", f"{path}/{id_}") == made
    assert made["version"] == 1
    assert not [field.api for field in kind.fields if field.secret and field.api in made]
    listed = site.call("GET", path)
    assert made in listed[list_name(kind)]
    theirs = changed(name, site.world)
    after = site.call("PATCH", f"{path}/{id_}", json={**theirs, "version": 1})
    assert after["version"] == 2
    stale = site.call("PATCH", f"{path}/{id_}", 409, json={**theirs, "version": 1})
    assert {each["field"] for each in stale["changes"]} == {kind[key].name for key in theirs}
    assert all(each["who"] == "ann" and each["at"] for each in stale["changes"])
    assert stale["version"] == 2
    site.call("DELETE", f"{path}/{id_}?version=1", 409)
    site.call("DELETE", f"{path}/{id_}?version=2", 204)
    site.call("GET", f"{path}/{id_}", 404)
    site.call("DELETE", f"{path}/{id_}", 404)


@every_type
def test_all_errors_are_told_at_once(site: Site, name: str) -> None:
    kind = TYPES[name]
    answer = site.call("POST", kind.about.path, 422, json={})
    assert answer["errors"].keys() >= {field.name for field in kind.fields if field.needed}
    unknown = site.call("POST", kind.about.path, 422, json={"nonsense": 1})
    assert "nonsense" in unknown["detail"]
    site.call("PATCH", f"{kind.about.path}/1", 422, json={})
    for wrong in ("0", "-1", str(2**70), "99999"):
        site.call("GET", f"{kind.about.path}/{wrong}", 404)


@every_type
def test_who_may_not_is_refused(site: Site, name: str) -> None:
    kind = TYPES[name]
    site.asks = replace(ADMIN, permissions=ALL - {kind.write})
    site.call("POST", kind.about.path, 403, json={})
    site.call("PATCH", f"{kind.about.path}/1", 403, json={"version": 1})
    site.call("DELETE", f"{kind.about.path}/1", 403)
    if name != "environment":
        site.call("POST", f"{kind.about.path}/bulk", 403, json={"action": "delete", "count": 0, "filter": {}})
        site.call("POST", f"{kind.about.path}/import", 403, content=b"x")
    site.call("GET", kind.about.path)
    site.asks = replace(ADMIN, permissions=ALL - {kind.read})
    for path in ("", "/1", "/export?how=csv"):
        site.call("GET", f"{kind.about.path}{path}", 403)


@every_type
def test_another_environment_is_not_there(site: Site, name: str) -> None:
    kind = TYPES[name]
    id_ = site.world.make(name)
    site.asks = replace(ADMIN, environments=("elsewhere",), belongs_to=("elsewhere",))
    assert site.call("GET", kind.about.path)[list_name(kind)] == []
    site.call("GET", f"{kind.about.path}/{id_}", 404)
    site.call("PATCH", f"{kind.about.path}/{id_}", 404, json={"version": 1})
    site.call("DELETE", f"{kind.about.path}/{id_}", 404)
    assert site.call("GET", f"{kind.about.path}/export?how=csv").text.count("\n") == 1
    if name != "environment":
        bulk = {"action": "delete", "count": 1, "ids": [id_]}
        site.call("POST", f"{kind.about.path}/bulk", 409, json=bulk)


def test_environments_are_made_by_who_stands_above_all(site: Site) -> None:
    site.asks = replace(ADMIN, everywhere=False)
    site.call("POST", "environments", 403, json=site.world.given("environment"))


def test_reading_personal_data_is_a_fact(empty: Site) -> None:
    customer = empty.world.make("customer", name="Jerry Price")
    product = empty.world.make("product")
    empty.call("GET", f"products/{product}")
    assert empty.reads() == []
    empty.call("GET", f"customers/{customer}")
    empty.call("GET", "customers?q=jerry&currency=USD")
    empty.call("GET", "customers/export?how=xlsx&currency=USD")
    one, list_, export = empty.reads()
    assert (one.entity_type, one.entity_id, one.customer_id, one.actor) == (
        "customer",
        str(customer),
        customer,
        "ann",
    )
    assert orjson.loads(list_.arguments) == {"filter": {"currency": "USD", "q": "jerry"}, "count": 1, "how": "list"}
    assert orjson.loads(export.arguments) == {"filter": {"currency": "USD"}, "count": 1, "how": "xlsx"}
    empty.asks = replace(ADMIN, permissions=ALL - {Permission.PERSONAL_READ})
    masked = empty.call("GET", f"customers/{customer}")
    assert "Jerry" not in str(masked)
    assert "Jerry" not in str(empty.call("GET", "customers"))
    assert "Jerry" not in empty.call("GET", "customers/export?how=csv").text
    assert len(empty.reads()) == 3, "masks are no personal data"
    kept = empty.call("PATCH", f"customers/{customer}", json={"name": masked["name"], "city": "Prague", "version": 1})
    assert kept["version"] == 2
    assert empty.world.read("customer", customer).name == "Jerry Price"


def test_what_is_in_use_says_by_what(empty: Site) -> None:
    empty.world.make("account")
    customer = empty.world.one("customer")
    answer = empty.call("DELETE", f"customers/{customer}", 409)
    assert answer["uses"] == [{"type": "account", "count": 1, "url": f"/api/v1/accounts?i_customer={customer}"}]
    assert len(empty.call("GET", answer["uses"][0]["url"].removeprefix("/api/v1/"))["accounts"]) == 1


def test_bulk_takes_the_count_that_was_seen(empty: Site) -> None:
    for _ in range(3):
        empty.world.make("account")
    path, product = "accounts/bulk", empty.world.make("product")
    block = {"action": "change", "values": {"blocked": True, "i_product": product}, "filter": {"blocked": "no"}}
    empty.call("POST", path, 409, json={**block, "count": 2})
    tried = empty.call("POST", path, json={**block, "count": 3, "dry_run": True})
    assert (tried["applied"], tried["counts"]) == (False, {"changed": 3})
    assert tried["rows"][0]["changes"]["blocked"] == [False, True]
    done = empty.call("POST", path, json={**block, "count": 3})
    assert (done["applied"], done["counts"]) == (True, {"changed": 3})
    empty.call("POST", path, 422, json={"action": "change", "count": 0, "filter": {}})
    empty.call("POST", path, 422, json={"action": "delete", "count": 0})
    empty.call("POST", path, 422, json={"action": "delete", "count": 0, "ids": [1], "filter": {}})
    gone = empty.call("POST", path, json={"action": "delete", "count": 3, "filter": {}})
    assert gone["counts"] == {"deleted": 3}


def test_a_file_is_imported_and_exported(empty: Site) -> None:
    text = b"name,currency,email\r\nJerry Price,USD,j@example.net\r\nBroken,USD,nothing\r\n"
    tried = empty.call("POST", "customers/import", content=text, headers={"Content-Type": "text/csv"})
    assert (tried["dry_run"], tried["applied"], tried["counts"]) == (True, False, {"created": 1, "refused": 1})
    assert tried["rows"][1]["errors"]["email"] == "'nothing' is no e-mail address such as jerry@example.net."
    whole = empty.call("POST", "customers/import?dry_run=false", content=text)
    assert whole["applied"] is False
    done = empty.call("POST", "customers/import?dry_run=false&all_or_nothing=false&file=crm.csv", content=text)
    assert (done["applied"], done["counts"]) == (True, {"created": 1, "refused": 1})
    exported = empty.call("GET", "customers/export?how=csv")
    assert exported.headers["content-disposition"].startswith('attachment; filename="customers-')
    again = empty.call("POST", "customers/import", content=exported.content)
    assert again["counts"] == {"unchanged": 1}
    empty.call("POST", "customers/import", 422, content=b"nonsense\r\n1\r\n")


def test_a_list_that_cannot_be_shown_says_why(site: Site) -> None:
    for query, field in (("cursor=x", "cursor"), ("sort=nonsense", "sort"), ("blocked=maybe", "blocked")):
        assert site.call("GET", f"customers?{query}", 422)["field"] == field
    site.call("GET", "customers?nonsense=1", 422)
    site.call("GET", "customers?limit=501", 422)


def test_the_description_tells_every_field(site: Site) -> None:
    schemas = site.call("GET", "openapi.json")["components"]["schemas"]
    account = schemas["AccountNew"]["properties"]
    assert set(schemas["AccountNew"]["required"]) == {"id", "i_customer", "i_product"}
    assert account["service_password"]["writeOnly"] is True
    assert "service_password" not in schemas["AccountDocument"]["properties"]
    assert account["billing_model"]["enum"][0] == "debit"
    assert schemas["CustomerNew"]["properties"]["due_days"]["maximum"] == 365
    assert account["credit_limit"]["type"] == ["string", "null"]
    assert schemas["AccountNew"]["additionalProperties"] is False
    assert "i_customer" not in schemas["AccountChange"]["properties"], "fixed"
    for kind in TYPES.values():
        name = "".join(word.capitalize() for word in kind.name.split("_"))
        named = schemas[f"{name}Document"]["properties"].keys() | schemas[f"{name}New"]["properties"].keys()
        assert {field.api for field in kind.fields} <= named


def test_the_node_register_is_put_whole(empty: Site) -> None:
    nodes = {"nodes": [{"name": "edge", "agents": ["1"]}, {"name": "core", "addresses": ["192.0.2.2"]}]}
    empty.call("PUT", "nodes", json=nodes)
    assert {each["name"] for each in empty.call("GET", "nodes")["nodes"]} == {"edge", "core"}
    swapped = {"nodes": [{"name": "edge", "addresses": ["192.0.2.2"]}, {"name": "new", "agents": ["1"]}]}
    empty.call("PUT", "nodes", json=swapped)
    found = {each["name"]: each for each in empty.call("GET", "nodes?sort=name")["nodes"]}
    assert found["edge"]["addresses"] == ["192.0.2.2"]
    assert found["edge"]["version"] == 2
    assert found.keys() == {"edge", "new"}
    with reading(empty.app.state.records, EVERYWHERE) as session:
        told = select(AuditRecord.entity_name, AuditRecord.action).where(AuditRecord.entity_type == "node")
        assert [tuple(row) for row in session.execute(told.order_by(AuditRecord.id))] == [
            ("edge", "created"), ("core", "created"), ("core", "deleted"), ("edge", "changed"), ("new", "created"),
        ]  # fmt: skip
