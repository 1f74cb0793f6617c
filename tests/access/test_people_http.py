"""People, profiles, tokens and the chosen environment over HTTP, for those who may and those who may not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from access_clock import Clock
from fastapi import FastAPI
from people_made import PASSWORD, add, add_environment, add_program, told, user
from sqlalchemy import Engine
from starlette.testclient import TestClient

from actors import by_tester
from databases import SQLITE
from ringback.access.permissions import Permission, Role
from ringback.access.tokens import create_token

pytestmark = pytest.mark.parametrize("database", [SQLITE])  # what both have to say alike is said by the other tests

Clients = Callable[[str], TestClient]


@pytest.fixture
def as_(app: FastAPI) -> Clients:
    """Signed in by name, with the token of forms in a header."""

    def sign_in(name: str) -> TestClient:
        client = TestClient(
            app, base_url="http://ringback.test", follow_redirects=False, raise_server_exceptions=False
        )
        assert client.post("/login", data={"name": name, "password": PASSWORD}).status_code == 303
        found = re.search(r'name="csrf-token" content="([^"]+)"', client.get("/account/password").text)
        assert found
        client.headers["X-CSRF-Token"] = found[1]
        return client

    return sign_in


@pytest.fixture
def acme(engine: Engine) -> None:
    add_environment(engine, "acme")


def bearer(token: str, **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", **headers}


def token_of(engine: Engine, name: str, *scopes: Permission, environments: tuple[str, ...] = ()) -> str:
    with by_tester(engine) as work:
        return create_token(work, "made", None, environments, tuple(scopes), user(engine, name).id)


PEOPLE_CALLS = [
    ("GET", "/people"),
    ("GET", "/people/roles"),
    ("GET", "/people/new"),
    ("GET", "/people/1"),
    ("POST", "/people"),
    ("POST", "/people/1"),
    ("POST", "/people/1/password"),
    ("POST", "/people/1/deactivate"),
    ("POST", "/people/1/activate"),
    ("POST", "/people/1/end-logins"),
    ("POST", "/people/1/reset-second-factor"),
    ("POST", "/people/1/tokens"),
    ("POST", "/people/1/tokens/1/revoke"),
    ("GET", "/api/v1/users"),
    ("POST", "/api/v1/users"),
    ("GET", "/api/v1/users/1"),
    ("PUT", "/api/v1/users/1"),
    ("POST", "/api/v1/users/1/password"),
    ("DELETE", "/api/v1/users/1/second-factor"),
    ("DELETE", "/api/v1/users/1/logins"),
]


@pytest.mark.parametrize("role", [role for role in Role if role not in (Role.ADMINISTRATOR, Role.API)])
def test_people_are_for_administrators_only(as_: Clients, engine: Engine, role: Role) -> None:
    add(engine, "bob", role)
    bob = as_("bob")
    body = {"role": "administrator", "name": "new", "everywhere": True}
    for method, path in PEOPLE_CALLS:
        sent: dict[str, Any] = {"json": body} if path.startswith("/api/") and method in ("POST", "PUT") else {}
        answer = bob.request(method, path, **sent)
        assert answer.status_code == 403, (method, path)
        assert "users." in answer.text, (method, path)
    assert bob.get("/profile").status_code == 200
    assert user(engine, "ann").active
    assert bob.get("/api/v1/tokens?user=1").status_code == 403


def test_somebody_is_added_and_changed_on_pages(as_: Clients, engine: Engine, app: FastAPI) -> None:
    ann = as_("ann")
    assert (
        "There is a user ann already."
        in ann.post("/people", data={"name": "ann", "role": "noc", "environment": "default"}).text
    )
    page = ann.post("/people", data={"name": "Bob", "role": "noc", "environment": "default", "personal": "granted"})
    assert page.status_code == 200
    shown = re.search(r"<code>([\w-]{23})</code>", page.text)
    assert shown
    bob_id = user(engine, "bob").id
    assert shown[1] not in ann.get(f"/people/{bob_id}").text, "shown once"
    bob = TestClient(app, base_url="http://ringback.test", follow_redirects=False)
    bob.post("/login", data={"name": "bob", "password": shown[1]})
    assert bob.get("/sessions").headers["location"] == "/account/password"
    assert bob.get("/sessions", headers={"HX-Request": "true"}).headers["hx-redirect"] == "/account/password"
    assert bob.get("/api/v1/whoami").status_code == 403
    form_page = bob.get("/account/password").text
    assert "choose a new one" in form_page
    csrf = re.search(r'name="csrf-token" content="([^"]+)"', form_page)
    assert csrf
    form = {
        "csrf_token": csrf[1],
        "current_password": shown[1],
        "new_password": PASSWORD,
        "repeated_password": PASSWORD,
    }
    assert bob.post("/account/password", data=form).status_code == 303
    assert bob.get("/sessions").status_code == 200

    changed = {"role": "billing", "environment": "default", "personal": "role", "version": "1"}
    stale = ann.post(f"/people/{bob_id}", data=changed)
    assert stale.status_code == 409
    assert "changed meanwhile" in stale.text
    changed["version"] = str(user(engine, "bob").version)
    assert ann.post(f"/people/{bob_id}", data=changed).status_code == 303
    assert user(engine, "bob").role == "billing"
    assert bob.get("/people").status_code == 403
    assert ann.post(f"/people/{bob_id}/deactivate").status_code == 303
    assert bob.get("/sessions").status_code == 303


@pytest.mark.parametrize(
    ("sent", "status", "field"),
    [
        ({"name": "bob", "role": "noc", "environments": ["default"]}, 201, ""),
        ({"name": "Bob B", "role": "noc", "environments": ["default"]}, 422, "name"),
        ({"name": "bob", "role": "boss", "environments": ["default"]}, 422, "role"),
        ({"name": "bob", "role": "noc"}, 422, "environments"),
        ({"name": "bob", "role": "noc", "environments": ["default"], "more": 1}, 422, "more"),
        ({"name": "bob", "role": "noc", "environments": ["default"], "email": "x\0y@example.com"}, 422, "email"),
    ],
)
def test_the_api_adds_people_or_says_the_field(
    as_: Clients, sent: dict[str, object], status: int, field: str
) -> None:
    answer = as_("ann").post("/api/v1/users", json=sent)
    assert answer.status_code == status, answer.text
    assert answer.json().get("field", "") == field
    if status == 201:
        assert len(answer.json()["password"]) == 23


def test_the_api_changes_people(as_: Clients, engine: Engine) -> None:
    ann = as_("ann")
    bob = add(engine, "bob")
    path = f"/api/v1/users/{bob}"
    read = ann.get(path).json()
    body = {"role": "noc", "environments": ["default"], "version": read["version"], "full_name": "Bob"}
    assert ann.put(path, json=body).json()["role"] == "noc"
    assert ann.put(path, json=body).status_code == 409
    assert len(ann.post(f"{path}/password").json()["password"]) == 23
    assert ann.delete(f"{path}/logins").status_code == 204
    assert ann.delete(f"{path}/second-factor").status_code == 204
    assert ann.put(path, json={**body, "version": None, "active": False}).json()["active"] is False
    assert ann.get("/api/v1/users?state=inactive").json()["users"][0]["name"] == "bob"
    assert ann.get("/api/v1/users/999").status_code == 404
    assert ann.get("/api/v1/users/99999999999999999999").status_code == 422
    assert ann.put("/api/v1/users/1", json={"role": "noc", "environments": ["default"]}).status_code == 422
    assert ann.delete("/api/v1/users/1/logins").status_code == 403


def test_the_chosen_environment_is_what_a_page_and_a_request_see(as_: Clients, engine: Engine, acme: None) -> None:
    add(engine, "bob", Role.SUPPORT, ("acme", "default"))
    add(engine, "cyd", Role.SUPPORT, ("default",))
    bob, cyd = as_("bob"), as_("cyd")

    def where(client: TestClient, **headers: str) -> object:
        answer = client.get("/api/v1/whoami", headers=headers)
        return answer.json()["environments"] if answer.status_code == 200 else answer.status_code

    assert where(bob) == ["acme"], "the first of theirs"
    answer = bob.post("/profile/environment", data={"environment": "default", "next": "/capture"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/capture")
    assert where(bob) == ["default"]
    assert where(bob, **{"Ringback-Environment": "acme"}) == ["acme"]
    assert where(bob, **{"Ringback-Environment": "nosuch"}) == 403
    assert where(cyd, **{"Ringback-Environment": "acme"}) == 403
    assert where(cyd, **{"Ringback-Environment": "unassigned"}) == 403
    assert cyd.post("/profile/environment", data={"environment": "acme"}).status_code == 403
    cyd.cookies.set("ringback_environment", "acme")
    assert where(cyd) == ["default"], "a cookie that is not theirs is passed over"
    ann = as_("ann")
    assert where(ann) == ["default"]
    assert where(ann, **{"Ringback-Environment": "unassigned"}) == ["unassigned"]


def test_who_belongs_nowhere_is_told(as_: Clients, engine: Engine) -> None:
    add(engine, "bob", Role.SUPPORT, ())
    bob = as_("bob")
    for path in ("/sessions", "/api/v1/whoami", "/profile"):
        answer = bob.get(path)
        assert answer.status_code == 403
        assert "no environment" in answer.text
    assert bob.post("/logout").status_code == 303


def test_a_token_may_do_what_its_scopes_and_its_owner_may_now(
    as_: Clients, client: TestClient, engine: Engine, acme: None
) -> None:
    add(engine, "bob", Role.SUPPORT, ("default", "acme"))
    token = token_of(engine, "bob", Permission.SESSIONS_READ, Permission.PERSONAL_READ, Permission.USERS_WRITE)
    me = client.get("/api/v1/me", headers=bearer(token)).json()
    assert me["permissions"] == ["personal.read", "sessions.read"]
    assert [each["key"] for each in me["environments"]] == ["default", "acme"]
    ann, bob = as_("ann"), user(engine, "bob")
    changed = {"role": "noc", "environments": ["acme"]}
    assert ann.put(f"/api/v1/users/{bob.id}", json=changed).status_code == 200
    me = client.get("/api/v1/me", headers=bearer(token)).json()
    assert (me["permissions"], me["environment"]) == (["sessions.read"], "acme")
    assert client.get("/api/v1/me", headers=bearer(token, **{"Ringback-Environment": "default"})).status_code == 403
    assert ann.post(f"/people/{bob.id}/deactivate").status_code == 303
    assert client.get("/api/v1/me", headers=bearer(token)).status_code == 401
    assert [one.action for one in told(engine, "token.refused")] == ["token.refused"]


def test_ones_own_token_is_shown_once_and_revoked(as_: Clients, client: TestClient, engine: Engine) -> None:
    add(engine, "bob", Role.SUPPORT)
    bob = as_("bob")
    refused = bob.post("/profile/tokens", data={"token_name": "x", "scope": "users.write"})
    assert refused.status_code == 422
    assert "cannot have users.write" in refused.text
    assert "Choose what" in bob.post("/profile/tokens", data={"token_name": "x"}).text
    assert (
        bob.post(
            "/profile/tokens", data={"token_name": "x", "scope": "sessions.read", "token_expires": "soon"}
        ).status_code
        == 422
    )
    page = bob.post("/profile/tokens", data={"token_name": "x", "scope": "sessions.read", "token_expires": "7"}).text
    token = re.search(r'id="made-token">(rb_[\w-]+)<', page)
    assert token
    assert token[1] not in bob.get("/profile").text
    assert client.get("/api/v1/me", headers=bearer(token[1])).json()["name"] == "bob: x"
    listed = bob.get("/api/v1/tokens").json()["tokens"]
    assert [(each["name"], each["scopes"], bool(each["last_used_at"])) for each in listed] == [
        ("x", ["sessions.read"], True)
    ]
    add(engine, "cyd", Role.SUPPORT)
    assert as_("cyd").delete(f"/api/v1/tokens/{listed[0]['id']}").status_code == 404
    assert bob.post(f"/profile/tokens/{listed[0]['id']}/revoke").status_code == 303
    assert client.get("/api/v1/me", headers=bearer(token[1])).status_code == 401
    made = [one for one in told(engine) if one.entity == "token"]
    assert [(one.action, one.actor) for one in made] == [
        ("created", "bob"),
        ("changed", "bob"),
        ("token.refused", "x"),
    ]
    assert not any(token[1] in one.text for one in made)


def test_a_token_makes_none_that_is_mightier_or_lasts_longer(
    client: TestClient, engine: Engine, acme: None, frozen: Clock
) -> None:
    add(engine, "bob", Role.SUPPORT, ("default", "acme"))
    with by_tester(engine) as work:
        scopes = (Permission.TOKENS_OWN, Permission.SESSIONS_READ)
        token = create_token(work, "short", 2, ("default",), scopes, user(engine, "bob").id)

    def make(**more: object) -> Any:
        body = {"name": "long", "scopes": ["sessions.read"], "environments": ["default"], **more}
        return client.post("/api/v1/tokens", json=body, headers=bearer(token)).json()

    assert make(scopes=["customers.read"])["field"] == "scopes"
    assert make(environments=["acme"])["field"] == "environments"
    assert make(environments=[])["field"] == "environments"
    made = make(expires_in_days=365)
    assert made["expires_at"] == "2026-11-24T12:00:00.000000Z"


def test_a_program_gets_its_tokens_from_who_looks_after_it(as_: Clients, client: TestClient, engine: Engine) -> None:
    crm = add_program(engine, "crm")
    bob = add(engine, "bob", Role.SUPPORT)
    ann = as_("ann")
    page = ann.post(f"/people/{crm}/tokens", data={"token_name": "prod", "scope": "customers.write"}).text
    token = re.search(r'id="made-token">(rb_[\w-]+)<', page)
    assert token
    assert client.get("/api/v1/me", headers=bearer(token[1])).json()["permissions"] == ["customers.write"]
    assert ann.post(f"/people/{bob}/tokens", data={"token_name": "x", "scope": "customers.write"}).status_code == 403
    body = {"name": "x", "scopes": ["customers.write"], "user": crm}
    assert as_("bob").post("/api/v1/tokens", json=body).status_code == 403
    listed = ann.get(f"/api/v1/tokens?user={crm}").json()["tokens"]
    assert ann.post(f"/people/{crm}/tokens/{listed[0]['id']}/revoke").status_code == 303
    assert client.get("/api/v1/me", headers=bearer(token[1])).status_code == 401


def test_logins_are_listed_and_ended(as_: Clients, engine: Engine) -> None:
    here, there, elsewhere = as_("ann"), as_("ann"), as_("ann")
    page = here.get("/profile").text
    handles = re.findall(r'/profile/logins/([0-9a-f]{16})/end"', page)
    assert len(handles) == 2
    assert page.count("this one") == 1
    add(engine, "bob")
    assert as_("bob").post(f"/profile/logins/{handles[0]}/end").status_code == 303
    assert [client.get("/sessions").status_code for client in (there, elsewhere)] == [200, 200], "not bob's to end"
    assert here.post(f"/profile/logins/{handles[0]}/end").status_code == 303
    assert sorted(client.get("/sessions").status_code for client in (there, elsewhere)) == [200, 303]
    assert here.post("/profile/logins/end-others").status_code == 303
    assert [client.get("/sessions").status_code for client in (here, there, elsewhere)] == [200, 303, 303]


def test_everybody_says_who_they_are(as_: Clients, engine: Engine) -> None:
    add(engine, "bob", Role.READ_ONLY)
    bob = as_("bob")
    assert bob.post("/profile", data={"full_name": " Bob  B. ", "email": "bob@example.com"}).status_code == 303
    assert (user(engine, "bob").full_name, user(engine, "bob").email) == ("Bob B.", "bob@example.com")
    wrong = bob.post("/profile", data={"full_name": "Bob", "email": "nonsense"})
    assert wrong.status_code == 422
    assert 'aria-invalid="true"' in wrong.text
    assert "makes no tokens" in bob.get("/profile").text
    assert bob.post("/profile/tokens", data={"token_name": "x", "scope": "sessions.read"}).status_code == 403


def test_each_answer_tells_the_id_of_its_request(as_: Clients, engine: Engine) -> None:
    ann = as_("ann")
    given = ann.post("/profile", data={"full_name": "Ann"}, headers={"X-Request-ID": "trace-7"})
    assert given.headers["x-request-id"] == "trace-7"
    for insane in ("", "x" * 65, "a b", "a<b>"):
        made = ann.get("/profile", headers={"X-Request-ID": insane})
        assert re.fullmatch(r"[\w-]{16}", made.headers["x-request-id"])
