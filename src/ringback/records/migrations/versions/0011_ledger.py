"""The ledger: xDRs, payments and their allocations, invoices, and the answers to commands."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.BigInteger()
_MONEY = sa.BigInteger()


def upgrade() -> None:
    op.create_table(
        "commands",
        sa.Column("id", _ID, nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("done_at", _TIME, nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commands")),
        sa.UniqueConstraint("environment", "key", name=op.f("uq_commands_environment_key")),
    )
    op.create_index(op.f("ix_commands_done_at"), "commands", ["done_at"])
    op.create_table(
        "invoice_numbers",
        sa.Column("id", _ID, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice_numbers")),
        sa.UniqueConstraint("environment", name=op.f("uq_invoice_numbers_environment")),
    )
    op.create_table(
        "invoices",
        sa.Column("id", _ID, nullable=False),
        sa.Column("customer_id", _ID, nullable=False),
        sa.Column("number", sa.BigInteger()),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("period_from", sa.Date()),
        sa.Column("period_to", sa.Date()),
        sa.Column("issued_on", sa.Date()),
        sa.Column("due_on", sa.Date()),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("issued_at", _TIME),
        sa.Column("voided_at", _TIME),
        sa.Column("void_reason", sa.String(255), nullable=False),
        sa.Column("total", _MONEY, nullable=False),
        sa.Column("adjusted", _MONEY, nullable=False),
        sa.Column("allocated", _MONEY, nullable=False),
        sa.Column("noticed", sa.String(24), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_invoices_customer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoices")),
        sa.UniqueConstraint("environment", "number", name=op.f("uq_invoices_environment_number")),
    )
    op.create_index("ix_invoices_customer", "invoices", ["environment", "customer_id", "id"])
    op.create_index("ix_invoices_due", "invoices", ["environment", "state", "due_on"])
    op.create_table(
        "invoice_lines",
        sa.Column("id", _ID, nullable=False),
        sa.Column("invoice_id", _ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("description", sa.String(255), nullable=False),
        sa.Column("account_id", _ID),
        sa.Column("service", sa.String(32), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.BigInteger()),
        sa.Column("amount", _MONEY, nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_invoice_lines_account_id")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_invoice_lines_invoice_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice_lines")),
        sa.UniqueConstraint("invoice_id", "position", name=op.f("uq_invoice_lines_invoice_id_position")),
    )
    op.create_table(
        "xdrs",
        sa.Column("id", _ID, nullable=False),
        sa.Column("customer_id", _ID, nullable=False),
        sa.Column("account_id", _ID),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("service", sa.String(32), nullable=False),
        sa.Column("amount", _MONEY, nullable=False),
        sa.Column("balance_after", _MONEY, nullable=False),
        sa.Column("account_balance_after", _MONEY),
        sa.Column("occurred_at", _TIME, nullable=False),
        sa.Column("recorded_at", _TIME, nullable=False),
        sa.Column("description", sa.String(255), nullable=False),
        sa.Column("corrects_id", _ID),
        sa.Column("payment_id", sa.BigInteger()),
        sa.Column("invoice_id", sa.BigInteger()),
        sa.Column("session_key", sa.String(300)),
        sa.Column("call_id", sa.String(255), nullable=False),
        sa.Column("conf_id", sa.String(255), nullable=False),
        sa.Column("caller", sa.String(64), nullable=False),
        sa.Column("called", sa.String(64), nullable=False),
        sa.Column("node", sa.String(64), nullable=False),
        sa.Column("prefix", sa.String(20), nullable=False),
        sa.Column("destination", sa.String(120), nullable=False),
        sa.Column("rate_id", sa.BigInteger()),
        sa.Column("seconds", sa.Integer()),
        sa.Column("charged_seconds", sa.Integer()),
        sa.Column("cause", sa.String(32), nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_xdrs_account_id")),
        sa.ForeignKeyConstraint(["corrects_id"], ["xdrs.id"], name=op.f("fk_xdrs_corrects_id")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_xdrs_customer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_xdrs")),
        sa.UniqueConstraint("environment", "session_key", name=op.f("uq_xdrs_environment_session_key")),
    )
    op.create_index("ix_xdrs_account", "xdrs", ["environment", "account_id", "occurred_at", "id"])
    op.create_index("ix_xdrs_call", "xdrs", ["environment", "call_id"])
    op.create_index(op.f("ix_xdrs_corrects_id"), "xdrs", ["corrects_id"])
    op.create_index("ix_xdrs_customer", "xdrs", ["environment", "customer_id", "occurred_at", "id"])
    op.create_index(op.f("ix_xdrs_invoice_id"), "xdrs", ["invoice_id"])
    op.create_index(op.f("ix_xdrs_payment_id"), "xdrs", ["payment_id"])
    op.create_table(
        "billed_xdrs",
        sa.Column("xdr_id", _ID, nullable=False),
        sa.Column("invoice_id", _ID, nullable=False),
        sa.Column("line_id", _ID, nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_billed_xdrs_invoice_id")),
        sa.ForeignKeyConstraint(["line_id"], ["invoice_lines.id"], name=op.f("fk_billed_xdrs_line_id")),
        sa.ForeignKeyConstraint(["xdr_id"], ["xdrs.id"], name=op.f("fk_billed_xdrs_xdr_id")),
        sa.PrimaryKeyConstraint("xdr_id", name=op.f("pk_billed_xdrs")),
    )
    op.create_index(op.f("ix_billed_xdrs_invoice_id"), "billed_xdrs", ["invoice_id"])
    op.create_table(
        "payments",
        sa.Column("id", _ID, nullable=False),
        sa.Column("customer_id", _ID, nullable=False),
        sa.Column("account_id", _ID),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("reference", sa.String(120), nullable=False),
        sa.Column("amount", _MONEY, nullable=False),
        sa.Column("unallocated", _MONEY, nullable=False),
        sa.Column("refunded", _MONEY, nullable=False),
        sa.Column("xdr_id", _ID, nullable=False),
        sa.Column("received_at", _TIME, nullable=False),
        sa.Column("recorded_at", _TIME, nullable=False),
        sa.Column("comment", sa.String(255), nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.CheckConstraint("unallocated >= 0 AND refunded >= 0 AND amount > 0", name=op.f("ck_payments_parts")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_payments_account_id")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_payments_customer_id")),
        sa.ForeignKeyConstraint(["xdr_id"], ["xdrs.id"], name=op.f("fk_payments_xdr_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payments")),
    )
    op.create_index("ix_payments_customer", "payments", ["environment", "customer_id", "id"])
    op.create_index(
        "ix_payments_unallocated",
        "payments",
        ["environment", "customer_id"],
        sqlite_where=sa.text("unallocated > 0"),
        postgresql_where=sa.text("unallocated > 0"),
    )
    op.create_table(
        "allocations",
        sa.Column("id", _ID, nullable=False),
        sa.Column("payment_id", _ID, nullable=False),
        sa.Column("invoice_id", _ID, nullable=False),
        sa.Column("amount", _MONEY, nullable=False),
        sa.Column("made_at", _TIME, nullable=False),
        sa.Column("reversed_at", _TIME),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_allocations_invoice_id")),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_allocations_payment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_allocations")),
    )
    op.create_index(op.f("ix_allocations_invoice_id"), "allocations", ["invoice_id"])
    op.create_index(op.f("ix_allocations_payment_id"), "allocations", ["payment_id"])


def downgrade() -> None:
    for table in (
        "allocations",
        "payments",
        "billed_xdrs",
        "xdrs",
        "invoice_lines",
        "invoices",
        "invoice_numbers",
        "commands",
    ):
        op.drop_table(table)
