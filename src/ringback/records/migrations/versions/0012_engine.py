"""The billing engine: sessions that go on, how many at once, and accounts by the addresses they call from."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("accounts", sa.Column("simultaneous_calls", sa.BigInteger()))
    op.add_column("products", sa.Column("simultaneous_calls", sa.BigInteger()))
    op.create_table(
        "engine_sessions",
        sa.Column("id", _ID, nullable=False),
        sa.Column("key", sa.String(40), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("charging_id", sa.String(64), nullable=False),
        sa.Column("node", sa.String(64), nullable=False),
        sa.Column("call_id", sa.String(255), nullable=False),
        sa.Column("conf_id", sa.String(255), nullable=False),
        sa.Column("service", sa.String(32), nullable=False),
        sa.Column("direction", sa.String(16), nullable=False),
        sa.Column("caller", sa.String(64), nullable=False),
        sa.Column("called", sa.String(64), nullable=False),
        sa.Column("authorized_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("lapses_at", sa.BigInteger(), nullable=False),
        sa.Column("max_seconds", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("told", sa.Integer(), nullable=False),
        sa.Column("rate_id", sa.BigInteger()),
        sa.Column("prefix", sa.String(20), nullable=False),
        sa.Column("destination", sa.String(120), nullable=False),
        sa.Column("price_first", sa.BigInteger(), nullable=False),
        sa.Column("price_next", sa.BigInteger(), nullable=False),
        sa.Column("interval_first", sa.Integer(), nullable=False),
        sa.Column("interval_next", sa.Integer(), nullable=False),
        sa.Column("xdr_id", sa.BigInteger()),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_engine_sessions_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_engine_sessions")),
        sa.UniqueConstraint("environment", "key", name=op.f("uq_engine_sessions_environment_key")),
    )
    op.create_index("ix_engine_sessions_call", "engine_sessions", ["environment", "call_id"])
    open_ = sa.text("ended_at IS NULL")
    op.create_index(
        "ix_engine_sessions_open", "engine_sessions", ["account_id"], sqlite_where=open_, postgresql_where=open_
    )
    op.create_index("ix_engine_sessions_lapsing", "engine_sessions", ["state", "lapses_at"])
    addresses = op.create_table(
        "account_addresses",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("value", sa.String(64), nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_account_addresses_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_addresses")),
    )
    op.create_index("ix_account_addresses_value", "account_addresses", ["environment", "value"])
    op.create_index(op.f("ix_account_addresses_account_id"), "account_addresses", ["account_id"])
    accounts = sa.table(
        "accounts", sa.column("id"), sa.column("environment"), sa.column("allowed_addresses", sa.JSON())
    )
    for row in op.get_bind().execute(sa.select(accounts)).all():
        values = row.allowed_addresses if isinstance(row.allowed_addresses, list) else []
        one = {"account_id": row.id, "environment": row.environment}
        op.bulk_insert(addresses, [one | {"value": value} for value in dict.fromkeys(values)])


def downgrade() -> None:
    op.drop_table("account_addresses")
    op.drop_table("engine_sessions")
    op.drop_column("products", "simultaneous_calls")
    op.drop_column("accounts", "simultaneous_calls")
