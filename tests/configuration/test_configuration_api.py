"""/api/v1/configuration: the three steps for programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from httpx2 import Response
from starlette.testclient import TestClient

from actors import by_tester
from databases import SQLITE
from ringback.access import passwords
from ringback.access.service import add_user
from ringback.access.tokens import create_token
from ringback.app import create_app
from ringback.options import OPTIONS
from ringback.settings import load_settings

pytestmark = pytest.mark.parametrize("database", [SQLITE])  # what both have to say alike is said by the other tests

AT = "/api/v1/configuration"
AGE, KEYS = "Tasks.Log_Max_Age", "Capture.HEP_Keys"
PASSWORD = "correct horse battery"


class Api:
    """Signed in as an administrator."""

    def __init__(self, client: TestClient, name: str = "ann") -> None:
        self._client = client
        assert client.post("/login", data={"name": name, "password": PASSWORD}).status_code == 303
        page = client.get("/configuration").text
        self._headers = {"X-CSRF-Token": page.partition('name="csrf-token" content="')[2].partition('"')[0]}

    def get(self, tail: str = "", **query: Any) -> Any:
        answer = self._client.get(AT + tail, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, method: str, tail: str, body: Any = None, **query: Any) -> Response:
        answer: Response = self._client.request(method, AT + tail, json=body, params=query, headers=self._headers)
        return answer

    def send_raw(self, method: str, tail: str, body: bytes) -> Response:
        headers = self._headers | {"Content-Type": "application/json"}
        answer: Response = self._client.request(method, AT + tail, content=body, headers=headers)
        return answer

    def version(self, **query: Any) -> int:
        found: int = self.get(**query)["draft"]["version"]
        return found

    def save(self, values: dict[str, Any], **query: Any) -> Response:
        return self.send("PUT", "", {"version": self.version(**query), "values": values}, **query)

    def applied(self, values: dict[str, Any], **query: Any) -> Any:
        assert self.save(values, **query).status_code == 200
        verified = self.send("POST", "/verify", **query).json()
        body = {"verification": verified["verification"], "reason": "by a program"}
        answer = self.send("POST", "/apply", body, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def client(tmp_path: Path, records_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))  # quickly
    app = create_app(load_settings({"RINGBACK_DATABASE_URL": records_url}, data=tmp_path / "data"))
    with TestClient(app, base_url="http://ringback.test", follow_redirects=False) as client:
        with by_tester(app.state.records) as work:
            add_user(work, "ann", PASSWORD)
            add_user(work, "tom", PASSWORD, everywhere=False)
            client.headers["X-Test-Token"] = create_token(work, "crm")
        yield client


@pytest.fixture
def api(client: TestClient) -> Api:
    return Api(client)


def option(document: Any, name: str) -> Any:
    return next(each for each in document["options"] if each["name"] == name)


def test_three_steps(api: Api) -> None:
    saved = api.save({AGE: 90}).json()
    assert saved["draft"]["values"][AGE] | {"saved_at": ""} == {
        "value": 90, "error": "", "saved_by": "ann", "saved_at": ""
    }  # fmt: skip
    assert option(saved, AGE)["value"] == 180
    verified = api.send("POST", "/verify").json()
    assert verified["errors"] == {}
    assert verified["changes"] == [
        {"option": AGE, "old": None, "new": 90, "old_told": "180 days (default)", "new_told": "90 days"}
    ]
    assert verified["touches"] == {AGE: ["Nothing is older than 90 days yet."]}
    entry = api.send("POST", "/apply", {"verification": verified["verification"], "reason": "less disk"}).json()
    assert (entry["by"], entry["realm"], entry["reason"]) == ("ann", "api", "less disk")
    now = api.get()
    assert (option(now, AGE)["value"], option(now, AGE)["source"], option(now, AGE)["applied_by"]) == (
        90, "applied", "ann"
    )  # fmt: skip
    assert now["last_entry"] == entry["id"]
    assert now["draft"]["values"] == {}
    assert api.get("/history")["entries"] == [entry]


def test_a_put_replaces_the_whole_draft(api: Api) -> None:
    api.save({AGE: 90, "Sessions.Max_Age": 10})
    assert set(api.save({AGE: 60}).json()["draft"]["values"]) == {AGE}
    assert api.save({}).json()["draft"]["values"] == {}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"No.Such": 1}, "no option No.Such"),
        ({AGE: [1]}, "Give a text, a number"),
        ({AGE: 1.5}, "Give a text, a number"),
        ({AGE: {"a": 1}}, "Give a text, a number"),
        ({KEYS: "clear"}, "keep"),
        ({KEYS: {"keep": ["nothing"]}}, "There is no key"),
        ({KEYS: {"add": ["x" * 300]}}, "one line"),
    ],
)
def test_what_cannot_be_kept_is_refused(api: Api, values: dict[str, Any], said: str) -> None:
    answer = api.save(values)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert answer.json()["field"] == next(iter(values))


def test_what_is_out_of_bounds_is_kept_and_told(api: Api) -> None:
    assert api.save({AGE: 7}).json()["draft"]["values"][AGE]["error"] == "The least is 30."
    assert api.send("POST", "/verify").json() == {
        "verification": "", "errors": {AGE: "The least is 30."}, "changes": [], "touches": {}
    }  # fmt: skip
    refused = api.send("POST", "/apply", {"verification": "1-0", "reason": "x"})
    assert (refused.status_code, refused.json()["title"]) == (409, "Not verified")


def test_stale_requests_are_refused(api: Api) -> None:
    version = api.version()
    api.save({AGE: 90})
    for method, tail, body in (
        ("PUT", "", {"version": version, "values": {AGE: 60}}),
        ("POST", "/rollback", {"version": version, "to": 0}),
    ):
        answer = api.send(method, tail, body)
        assert (answer.status_code, answer.json()["title"]) == (409, "The draft was changed")
        assert "ann saved" in answer.json()["detail"]


def test_secrets_are_told_by_their_ids(api: Api) -> None:
    entry = api.applied({KEYS: {"add": ["s3cret-one", "s3cret-two"]}})
    ids = option(api.get(), KEYS)["value"]
    assert len(ids) == 2
    assert entry["changes"][0]["new"] == ids
    api.applied({KEYS: {"keep": ids[1:]}})
    assert option(api.get(), KEYS)["value"] == ids[1:]
    assert "s3cret" not in str(api.get()) + str(api.get("/history"))


def test_rolling_back(api: Api) -> None:
    first = api.applied({AGE: 90})
    api.applied({AGE: 60})
    draft = api.send("POST", "/rollback", {"version": api.version(), "to": first["id"]}).json()["draft"]
    assert (draft["back_to"], draft["values"][AGE]["value"]) == (first["id"], 90)
    missing = api.send("POST", "/rollback", {"version": api.version(), "to": 999})
    assert (missing.status_code, missing.json()["title"]) == (404, "No such entry")


def test_history_is_read_in_pages(api: Api) -> None:
    ids = [api.applied({AGE: days})["id"] for days in (40, 50, 60)]
    first = api.get("/history", limit=2)
    assert ([each["id"] for each in first["entries"]], first["before"]) == ([ids[2], ids[1]], ids[1])
    rest = api.get("/history", limit=2, before=first["before"])
    assert ([each["id"] for each in rest["entries"]], rest["before"]) == ([ids[0]], None)


def test_an_environment_has_its_own(api: Api) -> None:
    api.applied({"Sessions.Share_Link_Life": 2}, scope="environment")
    shown = {each["name"] for each in api.get(scope="environment")["options"]}
    assert shown == {each.name for each in OPTIONS if each.scope == "environment"}
    assert option(api.get(scope="environment"), "Sessions.Share_Link_Life")["value"] == 2
    assert option(api.get(), "Sessions.Share_Link_Life")["value"] == 7
    assert api.get("/history")["entries"] == []
    refused = api.save({AGE: 90}, scope="environment")
    assert refused.status_code == 422
    assert "whole installation" in refused.json()["detail"]


def test_who_may_read_may_not_write(client: TestClient) -> None:
    reader = {"Authorization": f"Bearer {client.headers['X-Test-Token']}"}
    assert client.get(AT, headers=reader).status_code == 200
    assert client.get(f"{AT}/history", headers=reader).status_code == 200
    for method, tail, body in (
        ("PUT", "", {"version": 0, "values": {}}),
        ("POST", "/verify", None),
        ("POST", "/apply", {"verification": "1-0", "reason": "x"}),
        ("POST", "/rollback", {"version": 0, "to": 0}),
    ):
        answer = client.request(method, AT + tail, json=body, headers=reader)
        assert answer.status_code == 403
        assert "configuration.write" in answer.json()["detail"]
    assert client.get(AT).status_code == 401


def test_an_administrator_of_an_environment_changes_its_options_alone(client: TestClient) -> None:
    theirs = Api(client, "tom")
    assert option(theirs.get(), AGE)["value"] == 180
    refused = theirs.save({AGE: 90})
    assert refused.status_code == 403
    assert "administrators of the whole installation" in refused.json()["detail"]
    entry = theirs.applied({"Sessions.Share_Link_Life": 2}, scope="environment")
    assert (entry["scope"], entry["by"]) == ("default", "tom")


@pytest.mark.parametrize(
    "body",
    [
        rb'{"version": 0, "values": {"\ud800": 1}}',
        rb'{"version": 0, "values": {"Tasks.Log_Max_Age": "\ud800"}}',
        rb'{"version": 0, "values": {"Tasks.Log_Max_Age": "9\u0000"}}',
        rb'{"version": 0, "values": {"Tasks.Log_Max_Age": NaN}}',
        rb'{"version": 0, "values": {"Capture.HEP_Keys": {"keep": ["\ud800"]}}}',
        rb'{"version": 0, "values": {"Capture.HEP_Keys": {"add": ["\u0000"]}}}',
        rb'{"version": 99999999999999999999, "values": {}}',
        b"[]",
    ],
)
def test_odd_bodies_are_refused(api: Api, body: bytes) -> None:
    answer = api.send_raw("PUT", "", body)
    assert answer.status_code in (400, 422), answer.text
    assert api.get()["draft"]["version"] == 0
