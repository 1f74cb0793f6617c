"""Signing in and out: cookies, their end, redirects, and forms that another site cannot send."""

from __future__ import annotations

import re

import pytest
from access_clock import Clock
from fastapi import FastAPI
from sqlalchemy import Engine, select
from starlette.testclient import TestClient

from actors import by_tester
from databases import SQLITE
from ringback.access.dependencies import COOKIE
from ringback.access.models import LoginSession, User
from ringback.access.pages import safe_next
from ringback.access.service import ensure_first_user, reset_password
from ringback.records.engine import open_engine, reading
from ringback.records.schema import migrate

PASSWORD = "correct horse battery"


@pytest.fixture
def database() -> str:
    """What both have to say alike is said by the other tests."""
    return SQLITE


def csrf(client: TestClient) -> str:
    found = re.search(r'name="csrf-token" content="([^"]+)"', client.get("/account/password").text)
    assert found
    return found[1]


def sign_in(client: TestClient, password: str = PASSWORD, name: str = "ann", **form: str) -> int:
    return client.post("/login", data={"name": name, "password": password, **form}).status_code


def test_the_right_password_signs_in(client: TestClient) -> None:
    answer = client.post("/login", data={"name": " Ann ", "password": PASSWORD})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sessions")
    assert client.get("/sessions").json()["name"] == "ann"


def test_the_cookie_is_kept_from_scripts_and_other_sites(client: TestClient) -> None:
    cookie = client.post("/login", data={"name": "ann", "password": PASSWORD}).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "path=/" in cookie
    assert "secure" not in cookie  # plain http on loopback would lose it


def test_the_cookie_is_secure_over_https(app: FastAPI) -> None:
    with TestClient(app, base_url="https://ringback.test", follow_redirects=False) as client:
        answer = client.post("/login", data={"name": "ann", "password": PASSWORD})
    assert "secure" in answer.headers["set-cookie"].lower()
    assert "max-age" in answer.headers["strict-transport-security"]


def test_the_records_hold_no_secret_of_a_cookie(ann: TestClient, engine: Engine) -> None:
    with reading(engine) as session:
        stored = session.scalars(select(LoginSession.id_hash)).one()
    assert ann.cookies[COOKIE] != stored
    assert ann.cookies[COOKIE] not in stored


@pytest.mark.parametrize("name", ["ann", "nobody", "", "a" * 900])
def test_wrong_name_and_wrong_password_are_answered_alike(client: TestClient, name: str) -> None:
    answer = client.post("/login", data={"name": name, "password": "not this one"})
    assert answer.status_code == 401
    assert "Name or password is wrong." in answer.text
    assert COOKIE not in answer.cookies


def test_an_unknown_name_costs_a_hash_too(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from ringback.access import passwords

    verified: list[str] = []
    real = passwords.verify_password

    def noting(password_hash: str, password: str) -> bool:
        verified.append(password_hash)
        return real(password_hash, password)

    monkeypatch.setattr(passwords, "verify_password", noting)
    sign_in(client, "x", name="nobody")
    sign_in(client, "x", name="ann")
    assert len(verified) == 2
    assert verified[0].split("$")[1:4] == verified[1].split("$")[1:4]  # same algorithm and cost


def test_nobody_is_sent_to_the_login_and_back(client: TestClient) -> None:
    answer = client.get("/sessions?q=1866%25")
    assert answer.status_code == 303
    login = client.get(answer.headers["location"])
    assert 'name="next" value="/sessions?q=1866%25"' in login.text
    assert sign_in(client, next="/sessions?q=1866%25") == 303


def test_a_part_of_a_page_sends_the_whole_page_to_the_login(client: TestClient) -> None:
    answer = client.get(
        "/sessions", headers={"HX-Request": "true", "HX-Current-URL": "http://ringback.test/capture?x=1"}
    )
    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == "/login?next=%2Fcapture%3Fx%3D1"


def test_who_is_signed_in_already_goes_on(ann: TestClient) -> None:
    answer = ann.get("/login?next=/capture")
    assert (answer.status_code, answer.headers["location"]) == (303, "/capture")


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.test/",
        "//evil.test/",
        "/\\evil.test",
        "\\\\evil.test",
        "/a\\..\\b",
        "javascript:alert(1)",
        "http:/evil.test",
        "evil.test",
        "/\tevil",
        "/\r\nSet-Cookie: x=1",
        "",
        "/" + "a" * 3000,
    ],
)
def test_a_login_leads_nowhere_else(client: TestClient, target: str) -> None:
    assert safe_next(target) == "/sessions"
    answer = client.post("/login", data={"name": "ann", "password": PASSWORD, "next": target[:900]})
    assert answer.headers["location"] == safe_next(target[:900])
    assert answer.headers["location"].startswith("/")


@pytest.mark.parametrize("target", ["/sessions", "/sessions/abc?view=nodes#m7", "/?x=//y", "/nodes/"])
def test_a_path_of_this_site_is_kept(target: str) -> None:
    assert safe_next(target) == target


def test_logging_out_ends_the_login_on_the_server(ann: TestClient) -> None:
    secret = ann.cookies[COOKIE]
    answer = ann.post("/logout", data={"csrf_token": csrf(ann)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert COOKIE not in ann.cookies
    ann.cookies.set(COOKIE, secret)
    assert ann.get("/sessions").status_code == 303


def test_a_login_ends_when_unused(ann: TestClient, frozen: Clock) -> None:
    frozen.now = frozen.now.replace(year=2027)
    assert sign_in(ann) == 303
    for _ in range(3):
        frozen.passes(hours=11, minutes=59)
        assert ann.get("/sessions").status_code == 200
    frozen.passes(hours=12)
    assert ann.get("/sessions").status_code == 303


def test_a_login_ends_after_a_week_however_used(client: TestClient, frozen: Clock) -> None:
    assert sign_in(client) == 303
    for _ in range(7 * 3 - 1):
        frozen.passes(hours=8)
        assert client.get("/sessions").status_code == 200
    frozen.passes(hours=8)
    assert client.get("/sessions").status_code == 303


# Forms that another site made a browser send


def test_a_change_without_the_token_of_the_login_is_refused(ann: TestClient) -> None:
    assert ann.post("/sessions").status_code == 403
    assert ann.post("/sessions", data={"csrf_token": "guessed"}).status_code == 403
    assert ann.put("/api/v1/whoami", headers={"X-CSRF-Token": "guessed"}).json()["status"] == 403


def test_a_change_with_the_token_is_taken_from_field_or_header(ann: TestClient) -> None:
    token = csrf(ann)
    assert ann.post("/sessions", data={"csrf_token": token}).status_code == 200
    assert ann.post("/sessions", files={"csrf_token": (None, token), "file": b"x"}).status_code == 200
    assert ann.put("/api/v1/whoami", headers={"X-CSRF-Token": token}).status_code == 200


def test_the_token_of_an_earlier_login_is_refused(ann: TestClient) -> None:
    token = csrf(ann)
    ann.cookies.clear()
    sign_in(ann)
    assert csrf(ann) != token
    assert ann.post("/sessions", data={"csrf_token": token}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://ringback.test:8080"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_change_from_another_site_is_refused_even_with_the_token(ann: TestClient, headers: dict[str, str]) -> None:
    assert ann.post("/sessions", data={"csrf_token": csrf(ann)}, headers=headers).status_code == 403
    assert ann.post("/login", data={"name": "ann", "password": PASSWORD}, headers=headers).status_code == 403


@pytest.mark.parametrize("headers", [{"Origin": "http://ringback.test"}, {"Sec-Fetch-Site": "same-origin"}])
def test_a_change_from_this_site_is_taken(ann: TestClient, headers: dict[str, str]) -> None:
    assert ann.post("/sessions", data={"csrf_token": csrf(ann)}, headers=headers).status_code == 200


def test_the_public_url_is_this_site_too(app: FastAPI, ann: TestClient) -> None:
    from dataclasses import replace

    token = csrf(ann)
    app.state.settings = replace(app.state.settings, public_url="https://console.example.net")
    answer = ann.post("/sessions", data={"csrf_token": token}, headers={"Origin": "https://console.example.net"})
    assert answer.status_code == 200


# Passwords


def test_changing_the_password_signs_every_other_browser_out(app: FastAPI, ann: TestClient) -> None:
    with TestClient(app, base_url="http://ringback.test", follow_redirects=False) as other:
        assert sign_in(other) == 303
        form = {
            "csrf_token": csrf(ann),
            "current_password": PASSWORD,
            "new_password": "a new and longer one",
            "repeated_password": "a new and longer one",
        }
        assert ann.post("/account/password", data=form).status_code == 303
        assert ann.get("/sessions").status_code == 200
        assert other.get("/sessions").status_code == 303
        assert sign_in(other) == 401
        assert sign_in(other, "a new and longer one") == 303


@pytest.mark.parametrize(
    ("current", "new", "repeated", "said"),
    [
        ("wrong", "a new and longer one", "a new and longer one", "not your current password"),
        (PASSWORD, "a new and longer one", "another one here", "differ"),
        (PASSWORD, "short", "short", "at least 10"),
        (PASSWORD, PASSWORD, PASSWORD, "is the current one"),
        (PASSWORD, "ann is my name", "ann is my name", "too easy"),
        (PASSWORD, "aaaaaaaaaaaa", "aaaaaaaaaaaa", "too easy"),
        (PASSWORD, "Password123!", "Password123!", "guessed too quickly"),
        (PASSWORD, "qwertyuiop12", "qwertyuiop12", "guessed too quickly"),
        (PASSWORD, "ringback2026", "ringback2026", "guessed too quickly"),
        (PASSWORD, "x1y2z3" * 100, "x1y2z3" * 100, "at most 256"),
    ],
)
def test_a_password_that_will_not_do_is_told_why(
    ann: TestClient, current: str, new: str, repeated: str, said: str
) -> None:
    form = {"current_password": current, "new_password": new, "repeated_password": repeated}
    answer = ann.post("/account/password", data={"csrf_token": csrf(ann), **form})
    assert answer.status_code == 422
    assert said in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert new not in answer.text


def test_the_first_start_makes_one_admin_with_a_random_password(tmp_path: object) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/first.sqlite")
    migrate(engine)
    password = ensure_first_user(engine)
    assert password is not None
    assert len(password) == 23
    assert ensure_first_user(engine) is None
    with reading(engine) as session:
        assert session.scalars(select(User.name)).all() == ["admin"]
        assert password not in (session.scalars(select(User.password_hash)).one() or "")
    engine.dispose()


def test_a_reset_password_ends_logins_and_waits(ann: TestClient, engine: Engine) -> None:
    for _ in range(5):
        sign_in(ann, "wrong")
    with by_tester(engine) as work:
        password = reset_password(work, "ann")
    assert ann.get("/sessions").status_code == 303
    assert sign_in(ann) == 401
    assert sign_in(ann, password) == 303
