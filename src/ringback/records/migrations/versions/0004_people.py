"""People: roles, environments they belong to, second factors, tokens with scopes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.BigInteger()  # microseconds since the epoch, UTC
_LIVE = sa.text("revoked_at IS NULL")
_OF_NOBODY = sa.text("revoked_at IS NULL AND user_id IS NULL")
_ADDED = (
    "full_name", "email", "role", "environments", "everywhere", "sees_personal", "active", "must_change_password",
    "totp_secret", "totp_confirmed_at", "oidc_issuer", "oidc_subject", "version",
)  # fmt: skip
# What every token could do so far.
_SCOPES = (
    "sessions.read sessions.export sessions.share captures.write logs.write capture.read customers.read "
    "customers.write catalogue.read catalogue.write network.read network.write audit.read configuration.read "
    "personal.read"
)


def upgrade() -> None:
    """Who could sign in could do everything, everywhere, and still can."""
    with _kept("login_sessions"):
        with op.batch_alter_table("users") as batch:
            batch.add_column(_new("full_name", sa.String(120), ""))
            batch.add_column(_new("email", sa.String(254), ""))
            batch.add_column(_new("role", sa.String(16), "administrator"))
            batch.add_column(_new("environments", sa.Text(), ""))
            batch.add_column(_new("everywhere", sa.Boolean(), sa.true()))
            batch.add_column(sa.Column("sees_personal", sa.Boolean()))
            batch.add_column(_new("active", sa.Boolean(), sa.true()))
            batch.alter_column("password_hash", existing_type=sa.String(255), nullable=True)
            batch.alter_column("password_changed_at", existing_type=_TIME, nullable=True)
            batch.add_column(_new("must_change_password", sa.Boolean(), sa.false()))
            batch.add_column(sa.Column("totp_secret", sa.Text()))
            batch.add_column(sa.Column("totp_confirmed_at", _TIME))
            batch.add_column(sa.Column("oidc_issuer", sa.String(255)))
            batch.add_column(sa.Column("oidc_subject", sa.String(255)))
            batch.add_column(_new("version", sa.BigInteger(), "1"))
            batch.create_unique_constraint(op.f("uq_users_oidc_issuer_oidc_subject"), ["oidc_issuer", "oidc_subject"])
        op.execute("UPDATE users SET environments = ' ' || environment || ' '")
        with op.batch_alter_table("users") as batch:
            batch.drop_column("environment")
            for name in (
                "full_name",
                "email",
                "role",
                "environments",
                "everywhere",
                "active",
                "must_change_password",
            ):
                batch.alter_column(name, server_default=None)
            batch.alter_column("version", server_default=None)
    with op.batch_alter_table("login_sessions") as batch:
        batch.drop_column("environment")
        batch.add_column(_new("code_due", sa.Boolean(), sa.false()))
    with op.batch_alter_table("login_sessions") as batch:
        batch.alter_column("code_due", server_default=None)
    with op.batch_alter_table("login_throttles") as batch:
        batch.drop_column("environment")
    op.create_table(
        "sign_ins",
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("last_at", _TIME, nullable=True),
        sa.Column("last_address", sa.String(64), nullable=False),
        sa.Column("totp_step", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_sign_ins")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sign_ins_user_id"), ondelete="CASCADE"),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("code_hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "code_hash", name=op.f("pk_recovery_codes")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_recovery_codes_user_id"), ondelete="CASCADE"
        ),
    )
    _upgrade_tokens()


def _upgrade_tokens() -> None:
    op.drop_index("uq_api_tokens_live_name", "api_tokens")
    with op.batch_alter_table("api_tokens") as batch:
        batch.add_column(sa.Column("user_id", _ID))
        batch.add_column(_new("scopes", sa.Text(), f" {_SCOPES} "))
        batch.add_column(_new("environments", sa.Text(), ""))
        batch.add_column(_new("version", sa.BigInteger(), "1"))
        batch.create_foreign_key(op.f("fk_api_tokens_user_id"), "users", ["user_id"], ["id"])
    op.execute("UPDATE api_tokens SET environments = ' ' || environment || ' '")
    with op.batch_alter_table("api_tokens") as batch:
        batch.drop_column("environment")
        for name in ("scopes", "environments", "version"):
            batch.alter_column(name, server_default=None)
    op.create_table(
        "token_uses",
        sa.Column("token_id", _ID, nullable=False),
        sa.Column("last_at", _TIME, nullable=True),
        sa.Column("last_address", sa.String(64), nullable=False),
        sa.Column("refused_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_token_uses")),
        sa.ForeignKeyConstraint(
            ["token_id"], ["api_tokens.id"], name=op.f("fk_token_uses_token_id"), ondelete="CASCADE"
        ),
    )
    op.execute(
        "INSERT INTO token_uses (token_id, last_at, last_address) "
        "SELECT id, last_used_at, '' FROM api_tokens WHERE last_used_at IS NOT NULL"
    )
    with _kept("token_uses"), op.batch_alter_table("api_tokens") as batch:
        batch.drop_column("last_used_at")
    _index_tokens()


def _index_tokens() -> None:
    op.create_index(op.f("ix_api_tokens_user_id"), "api_tokens", ["user_id"])
    for name, columns, which in (
        ("uq_api_tokens_live_name", ["user_id", "name"], _LIVE),
        ("uq_api_tokens_installation_name", ["name"], _OF_NOBODY),
    ):
        op.create_index(name, "api_tokens", columns, unique=True, sqlite_where=which, postgresql_where=which)


def downgrade() -> None:
    """Who has a password may do everything again; programs, people without one, and tokens of people go."""
    for index in ("uq_api_tokens_installation_name", "uq_api_tokens_live_name", "ix_api_tokens_user_id"):
        op.drop_index(index, "api_tokens")
    op.execute("DELETE FROM api_tokens WHERE user_id IS NOT NULL")
    op.execute("CREATE TABLE used AS SELECT token_id, last_at FROM token_uses")
    op.drop_table("token_uses")
    with op.batch_alter_table("api_tokens") as batch:
        batch.drop_constraint(op.f("fk_api_tokens_user_id"), type_="foreignkey")
        for name in ("user_id", "scopes", "environments", "version"):
            batch.drop_column(name)
        batch.add_column(_new("environment", sa.String(64), "default"))
        batch.add_column(sa.Column("last_used_at", _TIME))
    with op.batch_alter_table("api_tokens") as batch:
        batch.alter_column("environment", server_default=None)
    op.execute("UPDATE api_tokens SET last_used_at = (SELECT last_at FROM used WHERE token_id = api_tokens.id)")
    op.drop_table("used")
    op.create_index(
        "uq_api_tokens_live_name", "api_tokens", ["environment", "name"],
        unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE,
    )  # fmt: skip
    for table in ("recovery_codes", "sign_ins"):
        op.drop_table(table)
    op.execute("DELETE FROM login_sessions WHERE code_due")  # else their password alone would have been enough
    with op.batch_alter_table("login_sessions") as batch:
        batch.drop_column("code_due")
    for table in ("login_sessions", "login_throttles"):
        with op.batch_alter_table(table) as batch:
            batch.add_column(_new("environment", sa.String(64), "default"))
        with op.batch_alter_table(table) as batch:
            batch.alter_column("environment", server_default=None)
    op.execute("DELETE FROM users WHERE password_hash IS NULL")
    op.execute("UPDATE users SET password_changed_at = created_at WHERE password_changed_at IS NULL")
    with _kept("login_sessions"):
        with op.batch_alter_table("users") as batch:
            batch.drop_constraint(op.f("uq_users_oidc_issuer_oidc_subject"), type_="unique")
            for name in _ADDED:
                batch.drop_column(name)
            batch.alter_column("password_hash", existing_type=sa.String(255), nullable=False)
            batch.alter_column("password_changed_at", existing_type=_TIME, nullable=False)
            batch.add_column(_new("environment", sa.String(64), "default"))
        with op.batch_alter_table("users") as batch:
            batch.alter_column("environment", server_default=None)


def _new(name: str, kind: sa.types.TypeEngine[Any], value: str | sa.ColumnElement[bool]) -> sa.Column[Any]:
    """With a value for the rows that are there; the table has no default afterwards."""
    return sa.Column(name, kind, nullable=False, server_default=value)


@contextmanager
def _kept(table: str) -> Iterator[None]:
    """SQLite changes a table by making it anew, and with the old one go the rows of `table` that refer to it."""
    if op.get_bind().dialect.name != "sqlite":
        yield
        return
    op.execute(f"CREATE TABLE kept AS SELECT * FROM {table}")  # noqa: S608
    yield
    op.execute(f"INSERT INTO {table} SELECT * FROM kept")  # noqa: S608
    op.execute("DROP TABLE kept")
