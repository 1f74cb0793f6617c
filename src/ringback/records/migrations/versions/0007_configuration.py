"""Options: drafts, applied values, history."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TIME = sa.BigInteger()  # microseconds since the epoch, UTC


def upgrade() -> None:
    op.create_table(
        "configuration_applies",
        sa.Column("id", _ID, nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("applied_at", _TIME, nullable=False),
        sa.Column("applied_by", sa.String(255), nullable=False),
        sa.Column("realm", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("back_to", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_configuration_applies")),
    )
    op.create_index(op.f("ix_configuration_applies_environment"), "configuration_applies", ["environment"])
    op.create_table(
        "configuration_changes",
        sa.Column("apply_id", _ID, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("old", sa.Text(), nullable=True),
        sa.Column("new", sa.Text(), nullable=True),
        sa.Column("old_told", sa.Text(), nullable=False),
        sa.Column("new_told", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["apply_id"], ["configuration_applies.id"], name=op.f("fk_configuration_changes_apply_id")
        ),
        sa.PrimaryKeyConstraint("apply_id", "name", name=op.f("pk_configuration_changes")),
    )
    op.create_table(
        "configuration_values",
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("apply_id", _ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["apply_id"], ["configuration_applies.id"], name=op.f("fk_configuration_values_apply_id")
        ),
        sa.PrimaryKeyConstraint("environment", "name", name=op.f("pk_configuration_values")),
    )
    op.create_table(
        "configuration_drafts",
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("saved_at", _TIME, nullable=False),
        sa.Column("saved_by", sa.String(255), nullable=False),
        sa.Column("back_to", sa.BigInteger(), nullable=True),
        sa.Column("verified", sa.String(64), nullable=True),
        sa.Column("verified_at", _TIME, nullable=True),
        sa.Column("verified_by", sa.String(255), nullable=True),
        sa.PrimaryKeyConstraint("environment", name=op.f("pk_configuration_drafts")),
    )
    op.create_table(
        "configuration_draft_values",
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("saved_at", _TIME, nullable=False),
        sa.Column("saved_by", sa.String(255), nullable=False),
        sa.ForeignKeyConstraint(
            ["environment"],
            ["configuration_drafts.environment"],
            name=op.f("fk_configuration_draft_values_environment"),
        ),
        sa.PrimaryKeyConstraint("environment", "name", name=op.f("pk_configuration_draft_values")),
    )
    op.create_table(
        "configuration_seen",
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("apply_id", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("host", "role", name=op.f("pk_configuration_seen")),
    )


def downgrade() -> None:
    for table in (
        "configuration_seen",
        "configuration_draft_values",
        "configuration_drafts",
        "configuration_values",
        "configuration_changes",
        "configuration_applies",
    ):
        op.drop_table(table)
