"""API tokens and how the API answers who has none."""

from __future__ import annotations

import pytest
from access_clock import Clock
from people_made import add_environment
from sqlalchemy import Engine, select
from starlette.testclient import TestClient

from actors import by_tester
from ringback.access.models import ApiToken
from ringback.access.schemas import AccessError
from ringback.access.tokens import create_token, list_tokens, principal_of_token, revoke_token
from ringback.billing.entities.models import Environment
from ringback.records.engine import reading


def make(engine: Engine, name: str = "grafana", days: int | None = None) -> str:
    with by_tester(engine) as work:
        return create_token(work, name, days)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_token_opens_the_api(client: TestClient, engine: Engine) -> None:
    token = make(engine)
    assert token.startswith("rb_")
    assert client.get("/api/v1/whoami", headers=bearer(token)).json() == {
        "name": "grafana",
        "kind": "token",
        "environments": ["default"],
    }


def test_a_token_changes_things_without_a_form(client: TestClient, engine: Engine) -> None:
    assert client.put("/api/v1/whoami", headers=bearer(make(engine))).status_code == 200


def test_a_cookie_does_not_make_up_for_a_wrong_token(ann: TestClient) -> None:
    assert ann.get("/api/v1/whoami").status_code == 200
    assert ann.get("/api/v1/whoami", headers=bearer("rb_wrong")).status_code == 401


@pytest.mark.parametrize("value", ["Bearer rb_wrong", "Bearer ", "Bearer", "Basic YW5uOng=", "rb_wrong", ""])
def test_what_is_no_token_is_answered_with_a_problem(client: TestClient, value: str) -> None:
    answer = client.get("/api/v1/whoami", headers={"Authorization": value})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == 'Bearer realm="ringback"'
    assert answer.json() | {"detail": ""} == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "",
    }


def test_the_api_does_not_redirect(client: TestClient) -> None:
    answer = client.get("/api/v1/whoami")
    assert answer.status_code == 401
    assert "Authorization: Bearer" in answer.json()["detail"]


def test_a_revoked_token_is_refused_at_once_and_its_name_is_free(client: TestClient, engine: Engine) -> None:
    token = make(engine)
    assert client.get("/api/v1/whoami", headers=bearer(token)).status_code == 200
    with by_tester(engine) as work:
        revoke_token(work, "grafana")
    assert client.get("/api/v1/whoami", headers=bearer(token)).status_code == 401
    make(engine)
    assert len(list_tokens(engine)) == 2


def test_an_expired_token_is_refused(client: TestClient, engine: Engine, frozen: Clock) -> None:
    token = make(engine, days=1)
    frozen.passes(hours=23, minutes=59)
    assert client.get("/api/v1/whoami", headers=bearer(token)).status_code == 200
    frozen.passes(minutes=1)
    assert client.get("/api/v1/whoami", headers=bearer(token)).status_code == 401


def test_its_last_use_is_kept_to_the_minute(client: TestClient, engine: Engine, frozen: Clock) -> None:
    token = make(engine)
    assert list_tokens(engine)[0].last_used_at is None
    began = frozen.now
    for seconds in (0, 59, 1):
        frozen.passes(seconds=seconds)
        client.get("/api/v1/whoami", headers=bearer(token))
        expected = began if seconds != 1 else frozen.now
        assert list_tokens(engine)[0].last_used_at == expected


def test_the_records_hold_no_token(engine: Engine) -> None:
    token = make(engine)
    with reading(engine) as session:
        row = session.scalars(select(ApiToken)).one()
    assert token not in (row.token_hash, row.start)
    assert token.startswith(row.start)
    assert len(row.start) == 8


@pytest.mark.parametrize(
    ("name", "days", "field"),
    [("", None, "name"), ("a\nb", None, "name"), ("x" * 65, None, "name"), ("ok", 0, "expires")],
)
def test_a_token_that_cannot_be_made_is_told_why(engine: Engine, name: str, days: int | None, field: str) -> None:
    with pytest.raises(AccessError) as caught:
        make(engine, name, days)
    assert caught.value.field == field


def test_a_token_does_not_wait_for_an_environment_that_is_gone(engine: Engine) -> None:
    add_environment(engine, "acme")
    with by_tester(engine) as work:
        token = create_token(work, "both", environments=("acme", "default"))
        alone = create_token(work, "alone", environments=("acme",))
    with by_tester(engine) as work:
        work.delete(work.scalars(select(Environment).where(Environment.key == "acme")).one())
    of_both, of_none = principal_of_token(engine, token), principal_of_token(engine, alone)
    assert of_both
    assert of_none
    assert (of_both.belongs_to, of_none.belongs_to) == (("default",), ())


def test_two_live_tokens_do_not_share_a_name(engine: Engine) -> None:
    make(engine)
    with pytest.raises(AccessError, match="already"):
        make(engine)


def test_only_a_live_token_can_be_revoked(engine: Engine) -> None:
    with pytest.raises(AccessError, match="no live token"), by_tester(engine) as work:
        revoke_token(work, "nosuch")


def test_a_token_has_no_password(client: TestClient, engine: Engine) -> None:
    assert client.get("/account/password", headers=bearer(make(engine))).status_code == 403
