"""Environments and the audit log: records of every change, their chains and anchors."""

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
