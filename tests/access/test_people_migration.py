"""What there was of people before they had roles is theirs afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alembic import command
from sqlalchemy import Engine, text

from ringback.access import passwords
from ringback.access.permissions import PERMISSIONS, Permission, Role
from ringback.access.schemas import Visitor
from ringback.access.service import log_in, principal_of_login, secret_hash
from ringback.access.tokens import list_tokens, principal_of_token
from ringback.records import schema
from ringback.records.engine import UNTRACKED, open_engine
from ringback.records.schema import migrate

PASSWORD = "correct horse battery"


@pytest.fixture
def engine(blank_url: str) -> Iterator[Engine]:
    """Records as the version before had them: a user who is signed in, a token that was used, one that is revoked."""
    engine = open_engine(blank_url)
    with schema._locked(engine) as (config, _):
        command.upgrade(config, "0003")
    far = 4_000_000_000_000_000
    with engine.execution_options(**{UNTRACKED: True}).begin() as connection:
        run = connection.execute
        run(
            text("INSERT INTO users (environment, name, password_hash, created_at, password_changed_at) "
                 "VALUES ('default', 'admin', :hash, 1, 1)"),
            {"hash": passwords.hash_password(PASSWORD)},
        )  # fmt: skip
        run(
            text("INSERT INTO login_sessions VALUES (:hash, 'default', 1, 1, :far, :far, '192.0.2.1', 'test')"),
            {"hash": secret_hash("cookie"), "far": far},
        )
        tokens = (
            "INSERT INTO api_tokens (environment, name, start, token_hash, created_at, last_used_at, revoked_at) "
        )
        run(text(tokens + "VALUES ('default', 'crm', 'rb_crm', :hash, 1, 7, NULL)"), {"hash": secret_hash("rb_crm")})
        run(text(tokens + "VALUES ('default', 'old', 'rb_old', 'x', 1, NULL, 2)"))
    migrate(engine)
    yield engine
    engine.dispose()


def test_the_user_looks_after_everything_and_stays_signed_in(engine: Engine) -> None:
    admin = principal_of_login(engine, "cookie")
    assert admin
    assert admin.permissions == frozenset(Permission)
    assert admin.belongs_to == ("default", "unassigned")
    assert admin.everywhere
    assert not admin.due
    assert log_in(engine, "admin", PASSWORD, Visitor("", "")).secret


def test_tokens_may_what_they_could(engine: Engine) -> None:
    crm = principal_of_token(engine, "rb_crm")
    assert crm
    assert (crm.name, crm.environments, crm.permissions) == ("crm", ("default",), PERMISSIONS[Role.API])
    listed = {each.name: each for each in list_tokens(engine)}
    assert listed["old"].revoked_at
    assert listed["old"].last_used_at is None
