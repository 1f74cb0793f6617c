"""Customers, accounts, products, tariffs, nodes and the other entities."""

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
