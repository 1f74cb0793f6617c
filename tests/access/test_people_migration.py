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
from ringback.records.engine import UNTRACKED, open_engine, reading
from ringback.records.schema import migrate, migrate_down

PASSWORD = "correct horse battery"
LATER = {Permission.MONEY_WRITE, Permission.ENGINE_ASK}  # an old token gains nothing by a new version


FAR = 4_000_000_000_000_000


@pytest.fixture
def engine(blank_url: str) -> Iterator[Engine]:
    """Records as the version before had them: a user who is signed in, a token that was used, one that is revoked."""
    engine = open_engine(blank_url)
    with schema._locked(engine) as (config, _):
        command.upgrade(config, "0003")
    with engine.execution_options(**{UNTRACKED: True}).begin() as connection:
        run = connection.execute
        run(
            text("INSERT INTO users (environment, name, password_hash, created_at, password_changed_at) "
                 "VALUES ('default', 'admin', :hash, 1, 1)"),
            {"hash": passwords.hash_password(PASSWORD)},
        )  # fmt: skip
        run(
            text("INSERT INTO login_sessions VALUES (:hash, 'default', 1, 1, :far, :far, '192.0.2.1', 'test')"),
            {"hash": secret_hash("cookie"), "far": FAR},
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
    assert (crm.name, crm.environments, crm.permissions) == ("crm", ("default",), PERMISSIONS[Role.API] - LATER)
    listed = {each.name: each for each in list_tokens(engine)}
    assert listed["old"].revoked_at
    assert listed["old"].last_used_at is None


def test_the_step_can_be_undone_with_people_in_it(blank_url: str) -> None:
    engine = open_engine(blank_url)
    with schema._locked(engine) as (config, _):
        command.upgrade(config, "0004")
    insert = {
        "users": "(id, name, full_name, email, role, environments, everywhere, sees_personal, active, password_hash, "
        "password_changed_at, must_change_password, totp_secret, totp_confirmed_at, version, created_at)",
        "login_sessions": "(id_hash, user_id, created_at, seen_at, expires_at, address, user_agent, code_due)",
        "api_tokens": "(id, user_id, name, start, token_hash, scopes, environments, version, created_at)",
        "token_uses": "(token_id, last_at, last_address)",
        "sign_ins": "(user_id, last_at, last_address)",
        "recovery_codes": "(user_id, code_hash)",
    }
    rows = [
        ("users", (1, "ann", "", "", "noc", " acme ", False, True, True, "hash", 1, False, "sealed", 1, 3, 1)),
        ("users", (2, "bot", "", "", "api", " acme ", False, None, True, None, None, False, None, None, 1, 1)),
        ("login_sessions", ("full", 1, 1, 1, FAR, "", "", False)),
        ("login_sessions", ("half", 1, 1, 1, FAR, "", "", True)),
        ("login_sessions", ("bots", 2, 1, 1, FAR, "", "", False)),
        ("api_tokens", (1, 1, "ann's", "rb_1", "1", " audit.read ", "", 1, 1)),
        ("api_tokens", (2, 2, "bot's", "rb_2", "2", " audit.read ", "", 1, 1)),
        ("api_tokens", (3, None, "crm", "rb_3", "3", " audit.read ", " acme ", 2, 1)),
        *[("token_uses", (token, 7, "192.0.2.1")) for token in (1, 2, 3)],
        *[("sign_ins", (user, 1, "192.0.2.1")) for user in (1, 2)],
        ("recovery_codes", (1, "code")),
    ]
    with engine.execution_options(**{UNTRACKED: True}).begin() as connection:
        for table, values in rows:
            marks = ", ".join(f":v{at}" for at in range(len(values)))
            given = {f"v{at}": value for at, value in enumerate(values)}
            connection.execute(text(f"INSERT INTO {table} {insert[table]} VALUES ({marks})"), given)
    migrate_down(engine, "0003")
    with reading(engine) as session:
        found = {
            asked: [tuple(row) for row in session.execute(text(f"SELECT {asked}"))]
            for asked in (
                "environment, id, name, password_hash, password_changed_at FROM users",
                "environment, id_hash, user_id FROM login_sessions",
                "environment, id, name, last_used_at FROM api_tokens",
            )
        }
    assert list(found.values()) == [
        [("default", 1, "ann", "hash", 1)],
        [("default", "full", 1)],
        [("default", 3, "crm", 7)],
    ]
    migrate(engine)
    assert [(token.name, token.environments) for token in list_tokens(engine)] == [("crm", ("default",))]
    engine.dispose()
