"""The audit log: records of every change, their chains and anchors."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_HASH = sa.LargeBinary(32)
_KEPT = "COALESCE((SELECT trimmed_seq FROM audit_chains WHERE environment = OLD.environment), 0)"
_TABLES = ("audit_records", "audit_chains", "audit_anchors", "audit_verifications")


def upgrade() -> None:
    for table in ("role_runs", "leases"):  # of the installation, not of an environment
        with op.batch_alter_table(table) as batch:
            batch.drop_column("environment")
    op.create_table(
        "audit_records",
        sa.Column("id", _ID, nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("entity_type", sa.String(32), nullable=False),
        sa.Column("entity_id", sa.String(64), nullable=False),
        sa.Column("entity_name", sa.String(255), nullable=False),
        sa.Column("version", sa.BigInteger()),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("changes", sa.Text(), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.BigInteger()),
        sa.Column("account_id", sa.BigInteger()),
        sa.Column("amount", sa.BigInteger()),
        sa.Column("balance_before", sa.BigInteger()),
        sa.Column("balance_after", sa.BigInteger()),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("actor_kind", sa.String(16), nullable=False),
        sa.Column("actor_id", sa.String(64), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("realm", sa.String(16), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("cause_id", sa.BigInteger()),
        sa.Column("root_id", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(255), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("hash", _HASH, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_records")),
        sa.UniqueConstraint("environment", "seq", name=op.f("uq_audit_records_environment_seq")),
    )
    by = {
        "customer": ("customer_id IS NOT NULL", ["environment", "customer_id", "id"]),
        "account": ("account_id IS NOT NULL", ["environment", "account_id", "id"]),
        "root": ("cause_id IS NOT NULL", ["root_id", "id"]),
    }
    op.create_index("ix_audit_records_entity", "audit_records", ["environment", "entity_type", "entity_id", "id"])
    for name, (condition, columns) in by.items():
        where = sa.text(condition)
        op.create_index(
            f"ix_audit_records_{name}", "audit_records", columns, sqlite_where=where, postgresql_where=where
        )
    op.create_table(
        "audit_chains",
        sa.Column("id", _ID, nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", _HASH, nullable=False),
        sa.Column("trimmed_seq", sa.BigInteger(), nullable=False),
        sa.Column("trimmed_hash", _HASH, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_chains")),
        sa.UniqueConstraint("environment", name=op.f("uq_audit_chains_environment")),
    )
    op.create_table(
        "audit_anchors",
        sa.Column("id", _ID, nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", _HASH, nullable=False),
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("signature", sa.LargeBinary(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_anchors")),
        sa.UniqueConstraint("environment", "seq", name=op.f("uq_audit_anchors_environment_seq")),
    )
    op.create_table(
        "audit_verifications",
        sa.Column("id", _ID, nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("started_by", sa.String(255), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger()),
        sa.Column("checked", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("anchors", sa.BigInteger(), nullable=False),
        sa.Column("unknown_anchors", sa.BigInteger(), nullable=False),
        sa.Column("wrong", sa.String(16), nullable=False),
        sa.Column("seq", sa.BigInteger()),
        sa.Column("record_id", sa.BigInteger()),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_verifications")),
    )
    op.create_index(op.f("ix_audit_verifications_environment"), "audit_verifications", ["environment"])
    _guard(op.get_bind().dialect.name)


def _guard(dialect: str) -> None:
    """The database itself refuses to change a record, or to delete one that its chain still needs."""
    if dialect == "sqlite":
        op.execute(
            "CREATE TRIGGER audit_records_stay BEFORE UPDATE ON audit_records "
            "BEGIN SELECT RAISE(ABORT, 'audit records are never changed'); END"
        )
        op.execute(
            f"CREATE TRIGGER audit_records_kept BEFORE DELETE ON audit_records WHEN OLD.seq > {_KEPT} "  # noqa: S608
            "BEGIN SELECT RAISE(ABORT, 'audit records are trimmed from the oldest, or kept'); END"
        )
        return
    op.execute(
        f"""
        CREATE FUNCTION audit_records_guard() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'UPDATE' THEN RAISE EXCEPTION 'audit records are never changed'; END IF;
            IF TG_OP = 'TRUNCATE' THEN RAISE EXCEPTION 'audit records are trimmed from the oldest, or kept'; END IF;
            IF OLD.seq > {_KEPT} THEN
                RAISE EXCEPTION 'audit records are trimmed from the oldest, or kept';
            END IF;
            RETURN OLD;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER audit_records_stay BEFORE UPDATE OR DELETE ON audit_records "
        "FOR EACH ROW EXECUTE FUNCTION audit_records_guard()"
    )
    op.execute(
        "CREATE TRIGGER audit_records_kept BEFORE TRUNCATE ON audit_records "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_records_guard()"
    )


def downgrade() -> None:
    for table in _TABLES:
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_records_guard()")
    for table in ("role_runs", "leases"):
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column("environment", sa.String(64), nullable=False, server_default="default"))
        with op.batch_alter_table(table) as batch:
            batch.alter_column("environment", server_default=None)
