"""Single sign-on with a real OpenID Provider, another process, as a browser goes through it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi import FastAPI
from scripts.oidc_provider import running
from sqlalchemy import Engine, select
from starlette.testclient import TestClient

from actors import by_tester
from databases import SQLITE
from ringback.access import oidc_pages
from ringback.access.models import User
from ringback.access.oidc import CALLBACK, SignIn, parse_grants, sign_in_of
from ringback.access.permissions import Role
from ringback.access.service import new_user
from ringback.audit.models import AuditRecord
from ringback.records.engine import reading
from ringback.records.wall import EVERYWHERE
from ringback.settings import SettingsError, load_settings

PEOPLE = {
    "nora": {"email": "nora@acme.example", "email_verified": True, "name": "Nora Noc", "groups": ["noc-team"]},
    "adam": {"email": "adam@acme.example", "email_verified": True, "name": "Adam", "groups": ["it", "noc-team"]},
    "otto": {"email": "otto@acme.example", "email_verified": True, "name": "Otto", "groups": ["sales"]},
    "fake": {"email": "nora@acme.example", "email_verified": False, "name": "Not Nora", "groups": []},
}
SITE = "http://ringback.test"
SECRET = "s3cret"


@pytest.fixture
def database() -> str:
    """What both have to say alike is said by the other tests."""
    return SQLITE


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with running(PEOPLE, SITE + CALLBACK, SECRET) as made:
        yield made


def provider(issuer: str, tmp_path: Path, grants: str = "", **changed: str) -> SignIn:
    environ = {
        "RINGBACK_OIDC_ISSUER": issuer,
        "RINGBACK_OIDC_CLIENT_ID": "ringback",
        "RINGBACK_OIDC_CLIENT_SECRET": SECRET,
        "RINGBACK_OIDC_NAME": "Acme",
        "RINGBACK_OIDC_SCOPES": "openid email profile groups",
        "RINGBACK_OIDC_GRANTS": grants,
        **changed,
    }
    made = sign_in_of(load_settings(environ, data=tmp_path))
    assert made is not None
    return made


@pytest.fixture
def app(app: FastAPI, issuer: str, tmp_path: Path) -> FastAPI:
    app.include_router(oidc_pages.router)
    app.state.sign_in = provider(issuer, tmp_path)
    return app


def answer_of(login: str, url: str) -> str:
    """Where the provider sends the browser of `login` in the end: the path and query of our callback."""
    with httpx2.Client(follow_redirects=False) as browser:
        page = browser.get(url)
        for _ in range(12):
            if page.is_redirect:
                target = page.headers["location"]
                if target.startswith(SITE):
                    return target.removeprefix(SITE)
                page = browser.get(httpx2.URL(url).join(target))
                continue
            action = re.search(r'action="([^"]+)"', page.text)
            assert action, page.text
            asked = "login" if 'name="login"' in page.text else "consent"
            page = browser.post(action[1], data={"prompt": asked, "login": login, "password": "x"})
    raise AssertionError("the provider never sent the browser back")


def go(client: TestClient, login: str, target: str = "/sessions") -> httpx2.Response:
    begun = client.get("/login/oidc", params={"next": target})
    assert begun.status_code == 303, begun.text
    finished: httpx2.Response = client.get(answer_of(login, begun.headers["location"]))
    return finished


def known(engine: Engine) -> dict[str, User]:
    with reading(engine) as session:
        return {user.name: user for user in session.scalars(select(User)) if user.name != "ann"}


def test_groups_make_a_person_and_say_what_they_may_do(
    app: FastAPI, client: TestClient, issuer: str, tmp_path: Path
) -> None:
    app.state.sign_in = provider(issuer, tmp_path, "noc-team=noc@default; it=administrator@*")
    finished = go(client, "nora", "/audit?q=1")
    assert (finished.status_code, finished.headers["location"]) == (303, "/audit?q=1")
    assert client.get("/sessions").json() == {"name": "nora", "kind": "user", "environments": ["default"]}
    nora = known(app.state.records)["nora"]
    assert (nora.role, nora.environments, nora.everywhere) == ("noc", ("default",), False)
    assert (nora.full_name, nora.email, nora.password_hash) == ("Nora Noc", "nora@acme.example", None)


def test_rights_follow_the_groups_at_each_sign_in(
    app: FastAPI, client: TestClient, issuer: str, tmp_path: Path
) -> None:
    app.state.sign_in = provider(issuer, tmp_path, "noc-team=noc@default; it=administrator@*")
    go(client, "adam")
    assert known(app.state.records)["adam"].everywhere  # the highest of several groups
    app.state.sign_in = provider(issuer, tmp_path, "noc-team=support@default")
    client.cookies.clear()
    go(client, "adam")
    adam = known(app.state.records)["adam"]
    assert (adam.role, adam.everywhere, len(known(app.state.records))) == ("support", False, 1)


def test_who_is_in_no_group_is_not_let_in(app: FastAPI, client: TestClient, issuer: str, tmp_path: Path) -> None:
    app.state.sign_in = provider(issuer, tmp_path, "noc-team=noc@default")
    finished = go(client, "otto")
    assert finished.status_code == 401
    assert "none of your groups may use Ringback" in finished.text
    assert known(app.state.records) == {}
    with reading(app.state.records, EVERYWHERE) as session:
        [failed] = session.scalars(select(AuditRecord).where(AuditRecord.action == "login.failed"))
        assert "otto" not in failed.arguments + failed.entity_name


def test_without_groups_an_administrator_makes_people_first(app: FastAPI, client: TestClient) -> None:
    refused = go(client, "nora")
    assert refused.status_code == 401
    assert "ask an administrator" in refused.text
    with by_tester(app.state.records) as work:
        new_user(work, "n.noc", None, Role.NOC).email = "nora@acme.example"
    assert go(client, "nora").status_code == 303
    assert client.get("/sessions").json()["name"] == "n.noc"
    assert known(app.state.records)["n.noc"].oidc_subject == "nora"


def test_an_address_that_was_not_verified_is_nobodys(app: FastAPI, client: TestClient) -> None:
    with by_tester(app.state.records) as work:
        new_user(work, "n.noc", None, Role.NOC).email = "nora@acme.example"
    assert go(client, "fake").status_code == 401


def test_who_has_a_password_is_not_taken_over_by_an_address(app: FastAPI, client: TestClient) -> None:
    with by_tester(app.state.records) as work:
        work.scalars(select(User).where(User.name == "ann")).one().email = "nora@acme.example"
    assert go(client, "nora").status_code == 401


def test_who_is_deactivated_stays_out(app: FastAPI, client: TestClient, issuer: str, tmp_path: Path) -> None:
    app.state.sign_in = provider(issuer, tmp_path, "noc-team=noc@default")
    go(client, "nora")
    with by_tester(app.state.records) as work:
        work.scalars(select(User).where(User.name == "nora")).one().active = False
    client.cookies.clear()
    assert go(client, "nora").status_code == 401
    assert not known(app.state.records)["nora"].active


def test_an_answer_counts_once_and_in_the_browser_that_began(
    app: FastAPI, client: TestClient, issuer: str, tmp_path: Path
) -> None:
    app.state.sign_in = provider(issuer, tmp_path, "noc-team=noc@default")
    begun = client.get("/login/oidc")
    cookie = client.cookies["ringback_oidc"]
    answer = answer_of("nora", begun.headers["location"])
    with TestClient(app, base_url=SITE, follow_redirects=False) as another:
        refused = another.get(answer)
        assert (refused.status_code, "not begun in this browser" in refused.text) == (401, True)
    assert client.get(answer).status_code == 303
    client.cookies.clear()
    client.cookies.set("ringback_oidc", cookie, domain="ringback.test", path="/login/oidc")
    again = client.get(answer)
    assert (again.status_code, "cannot be trusted" in again.text) == (401, True)


def test_what_another_sign_in_was_told_is_refused(client: TestClient) -> None:
    first = client.get("/login/oidc").headers["location"]
    client.get("/login/oidc")
    refused = client.get(answer_of("nora", first))
    assert (refused.status_code, "another sign-in" in refused.text) == (401, True)


def test_what_the_provider_refuses_is_told_and_escaped(client: TestClient) -> None:
    client.get("/login/oidc")
    refused = client.get(CALLBACK, params={"error": "access_denied", "error_description": "<b>no</b>"})
    assert refused.status_code == 401
    assert "&lt;b&gt;no" in refused.text


def test_a_wrong_secret_lets_nobody_in(app: FastAPI, client: TestClient, issuer: str, tmp_path: Path) -> None:
    app.state.sign_in = provider(issuer, tmp_path, "noc-team=noc@default", RINGBACK_OIDC_CLIENT_SECRET="another one")
    assert go(client, "nora").status_code == 401
    assert known(app.state.records) == {}


def test_a_provider_that_is_away_is_told(app: FastAPI, client: TestClient, tmp_path: Path) -> None:
    app.state.sign_in = provider("http://127.0.0.1:9", tmp_path)
    answer = client.get("/login/oidc")
    assert (answer.status_code, "Acme cannot be reached" in answer.text) == (401, True)


def test_one_that_calls_itself_otherwise_is_not_believed(
    app: FastAPI, client: TestClient, issuer: str, tmp_path: Path
) -> None:
    app.state.sign_in = provider(f"http://localhost:{urlsplit(issuer).port}", tmp_path)
    answer = client.get("/login/oidc")
    assert (answer.status_code, "calls itself" in answer.text) == (401, True)


def test_the_login_page_offers_it(client: TestClient) -> None:
    page = client.get("/login", params={"next": "/audit?a=1&b=2"}).text
    assert 'href="/login/oidc?next=/audit%3Fa%3D1%26b%3D2"' in page
    assert "Sign in with Acme" in page


def test_grants_that_cannot_be_meant_are_refused() -> None:
    for text in ("noc", "noc=noc", "noc=king@default", "noc=noc@*", "=noc@default", "noc=noc@"):
        with pytest.raises(ValueError, match=r"is no grant|only administrators"):
            parse_grants(text)
    with pytest.raises(SettingsError, match="RINGBACK_OIDC_CLIENT_ID"):
        load_settings({"RINGBACK_OIDC_ISSUER": "https://login.example"}, data=Path("/nowhere"))
