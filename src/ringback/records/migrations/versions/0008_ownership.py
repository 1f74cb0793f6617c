"""Rules that say which traffic belongs to which environment. Until an administrator says otherwise: all to the default."""

import sqlalchemy as sa
from alembic import op

from ringback import clock

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    rules = op.create_table(
        "traffic_rules",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("value", sa.String(255), nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("senders", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_traffic_rules")),
        sa.CheckConstraint(
            "kind IN ('node', 'address', 'domain', 'account', 'everything')", name=op.f("ck_traffic_rules_kind")
        ),
    )
    everything = {"position": 1, "kind": "everything", "value": "", "target": "default", "senders": ""}
    op.bulk_insert(rules, [everything | {"changed_at": clock.now_us(), "version": 1}])


def downgrade() -> None:
    op.drop_table("traffic_rules")
