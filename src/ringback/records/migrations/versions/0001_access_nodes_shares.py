"""Users, logins, tokens; the node register; share links and views."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.BigInteger()  # microseconds since the epoch, UTC
_LIVE = sa.text("revoked_at IS NULL")


def _environment() -> sa.Column[str]:
    return sa.Column("environment", sa.String(64), nullable=False)


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", _ID, nullable=False),
        _environment(),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("password_changed_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
    )
    op.create_table(
        "login_sessions",
        sa.Column("id_hash", sa.String(64), nullable=False),
        _environment(),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("user_agent", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id_hash", name=op.f("pk_login_sessions")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_login_sessions_user_id"), ondelete="CASCADE"
        ),
    )
    op.create_index(op.f("ix_login_sessions_user_id"), "login_sessions", ["user_id"])
    op.create_index(op.f("ix_login_sessions_expires_at"), "login_sessions", ["expires_at"])
    op.create_table(
        "login_throttles",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        _environment(),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("last_failed_at", _TIME, nullable=False),
        sa.Column("blocked_until", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name=op.f("pk_login_throttles")),
    )
    op.create_index(op.f("ix_login_throttles_last_failed_at"), "login_throttles", ["last_failed_at"])
    op.create_table(
        "api_tokens",
        sa.Column("id", _ID, nullable=False),
        _environment(),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("start", sa.String(16), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=True),
        sa.Column("last_used_at", _TIME, nullable=True),
        sa.Column("revoked_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_tokens_token_hash")),
    )
    op.create_index(
        "uq_api_tokens_live_name",
        "api_tokens",
        ["environment", "name"],
        unique=True,
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    )
    op.create_table(
        "nodes",
        sa.Column("id", _ID, nullable=False),
        _environment(),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("cluster", sa.Boolean(), nullable=False),
        sa.Column("colour", sa.String(7), nullable=False),
        sa.Column("changed_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nodes")),
        sa.UniqueConstraint("environment", "name", name=op.f("uq_nodes_environment_name")),
    )
    op.create_table(
        "node_senders",
        sa.Column("id", _ID, nullable=False),
        _environment(),
        sa.Column("node_id", _ID, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("value", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_node_senders")),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name=op.f("fk_node_senders_node_id"), ondelete="CASCADE"),
        sa.UniqueConstraint("environment", "kind", "value", name=op.f("uq_node_senders_environment_kind_value")),
        sa.CheckConstraint("kind IN ('agent', 'address')", name=op.f("ck_node_senders_kind")),
    )
    op.create_index(op.f("ix_node_senders_node_id"), "node_senders", ["node_id"])
    op.create_table(
        "share_links",
        sa.Column("id", _ID, nullable=False),
        _environment(),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("session_id", sa.String(255), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("revoked_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_share_links")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_share_links_token_hash")),
    )
    op.create_index("ix_share_links_session", "share_links", ["environment", "session_id"])
    op.create_table(
        "session_views",
        sa.Column("id", _ID, nullable=False),
        _environment(),
        sa.Column("viewed_at", _TIME, nullable=False),
        sa.Column("session_id", sa.String(255), nullable=False),
        sa.Column("how", sa.String(32), nullable=False),
        sa.Column("viewer_kind", sa.String(16), nullable=False),
        sa.Column("viewer", sa.String(64), nullable=False),
        sa.Column("share_link_id", _ID, nullable=True),
        sa.Column("address", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session_views")),
        sa.ForeignKeyConstraint(["share_link_id"], ["share_links.id"], name=op.f("fk_session_views_share_link_id")),
    )
    op.create_index("ix_session_views_session", "session_views", ["environment", "session_id", "viewed_at"])
    op.create_index(op.f("ix_session_views_viewed_at"), "session_views", ["viewed_at"])


def downgrade() -> None:
    for table in (
        "session_views",
        "share_links",
        "node_senders",
        "nodes",
        "api_tokens",
        "login_throttles",
        "login_sessions",
        "users",
    ):
        op.drop_table(table)
