"""How often a share link was opened is found without a look at every view."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_BY_LINK = sa.text("share_link_id IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        "ix_session_views_share_link",
        "session_views",
        ["share_link_id", "viewed_at"],
        sqlite_where=_BY_LINK,
        postgresql_where=_BY_LINK,
    )


def downgrade() -> None:
    op.drop_index("ix_session_views_share_link", "session_views")
